"""`luxor revenue schemes`: the register of scheme numbers, loaded from a table and listed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console


@click.group("schemes", short_help="Maintain the register of scheme numbers.")
def schemes() -> None:
    """Maintain the register of scheme numbers: which vendors' and carriers' numbers may be used, and when.

    A number that is unknown or has run out collects nothing: tax is due at the border, and the assessment says why.
    """


@command("load", group=schemes, short_help="Put numbers into the register, from a CSV.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("operator")
def load(context: Context, path: Path, ident: str) -> None:
    """Put the numbers of the CSV file PATH into the register, or change how long they hold.

    Columns: scheme (such as IOSS), number, holder, from, to. Numbers that are not in the file stay as they are. Exits with 1
    where a number is refused; the others are taken.
    """
    from libs.client.revenue.schemes import read_numbers, refused, register

    numbers = read_numbers(path)
    if not numbers:
        fail("FILE_EMPTY", f"{path} holds no numbers.", "Write a line for each number.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("operator", ident) as client:
            return await register(client, numbers)

    told = run(work())
    counts: dict[str, int] = {}
    for each in told:
        counts[each["outcome"]] = counts.get(each["outcome"], 0) + 1
    wrong = list(refused(told))
    context.emit({"counts": counts, "numbers": told}, lambda out: _loaded(out, counts, wrong))
    if wrong:
        raise click.exceptions.Exit(REFUSED)


@command("list", group=schemes, short_help="Tell the register.")
@click.option("--scheme", default="", metavar="NAME", help="Only of this scheme, such as IOSS.")
@click.option("--number", default="", help="Only this number.")
@acting("analyst")
def list_(context: Context, scheme: str, number: str, ident: str) -> None:
    """List the numbers of the register with their holders and days, by scheme and number."""
    from libs.client.revenue.schemes import numbers_of, scheme_of

    wanted = scheme_of(scheme) if scheme else 0
    if wanted < 0:
        raise click.BadParameter(f"{scheme!r} is no scheme", param_hint="--scheme")

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await numbers_of(client, scheme=wanted, number=number)

    told = run(work())
    context.emit({"numbers": told}, lambda out: _list(out, told))


def _loaded(out: "Console", counts: dict[str, int], wrong: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    names = {"REGISTERED": "registered", "CHANGED": "changed", "KNOWN": "known already", "REFUSED": "refused"}
    out.print(", ".join(f"{counts[outcome]:,} {text}" for outcome, text in names.items() if outcome in counts))
    for each in wrong:
        error = each["error"]
        out.print(
            f"[bold red]{error['reason']}[/]  {safe(each['scheme'])} {safe(each['number'])}: {safe(error['sentence'])}"
        )
        out.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}")


def _list(out: "Console", told: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, table

    if not told:
        out.print("The register holds no such number; `luxor revenue schemes load FILE` puts numbers in.")
        return
    shown = table("scheme", "number", "holder", "from", "to")
    for each in told:
        shown.add_row(
            each["scheme"],
            safe(each["number"]),
            safe(each["holder"]),
            each["from"],
            each.get("to", "until further notice"),
        )
    out.print(shown)

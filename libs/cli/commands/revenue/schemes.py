"""`luxor revenue schemes`: loads and lists the register of scheme numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, fail, run

if TYPE_CHECKING:
    from rich.console import Console


@click.group("schemes", short_help="Maintain the register of scheme numbers.")
def schemes() -> None:
    """Maintain the register of scheme numbers: the numbers of vendors and carriers, and the days on which they are valid.

    Under a number that is unknown or expired, nothing is collected at the sale: tax is due at the border, and the assessment states the reason.
    """


@command("load", group=schemes, short_help="Register numbers from a CSV.")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@acting("operator")
def load(context: Context, path: Path, ident: str) -> None:
    """Register the numbers of the CSV file PATH, or change their days.

    Columns: scheme (such as IOSS), number, holder, from, to. Numbers that are not in the file stay as they are. Exits with 1
    if a number is refused; the others are registered.
    """
    from libs.client.revenue.schemes import read_numbers, refused, register

    numbers = read_numbers(path)
    if not numbers:
        fail("FILE_EMPTY", f"{path} has no numbers.", "Write a line for each number.", as_json=context.as_json)

    async def work() -> list[dict[str, Any]]:
        async with context.client("operator", ident) as client:
            return await register(client, numbers)

    results = run(work())
    counts: dict[str, int] = {}
    for each in results:
        counts[each["outcome"]] = counts.get(each["outcome"], 0) + 1
    refusals = list(refused(results))
    context.emit({"counts": counts, "numbers": results}, lambda terminal: _loaded(terminal, counts, refusals))
    if refusals:
        raise click.exceptions.Exit(REFUSED)


@command("list", group=schemes, short_help="List the register.")
@click.option("--scheme", default="", metavar="NAME", help="Only of this scheme, such as IOSS.")
@click.option("--number", default="", help="Only this number.")
@acting("analyst")
def list_(context: Context, scheme: str, number: str, ident: str) -> None:
    """List the numbers of the register with their holders and days, by scheme and number."""
    from libs.client.revenue.schemes import numbers_of, scheme_of

    scheme_number = scheme_of(scheme) if scheme else 0
    if scheme_number < 0:
        raise click.BadParameter(f"{scheme!r} is no scheme", param_hint="--scheme")

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await numbers_of(client, scheme=scheme_number, number=number)

    rows = run(work())
    context.emit({"numbers": rows}, lambda terminal: _list(terminal, rows))


def _loaded(terminal: "Console", counts: dict[str, int], refusals: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe
    from libs.server.catalogue import command_hint

    names = {"REGISTERED": "registered", "CHANGED": "changed", "KNOWN": "already registered", "REFUSED": "refused"}
    terminal.print(", ".join(f"{counts[outcome]:,} {text}" for outcome, text in names.items() if outcome in counts))
    for each in refusals:
        error = each["error"]
        terminal.print(
            f"[bold red]{error['reason']}[/]  {safe(each['scheme'])} {safe(each['number'])}: {safe(error['sentence'])}"
        )
        terminal.print(f"  [dim]→[/] {safe(command_hint(error['reason'], error['hint']))}")


def _list(terminal: "Console", rows: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, table

    if not rows:
        terminal.print("The register has no such number; `luxor revenue schemes load FILE` registers numbers.")
        return
    shown = table("scheme", "number", "holder", "from", "to")
    for each in rows:
        shown.add_row(
            each["scheme"],
            safe(each["number"]),
            safe(each["holder"]),
            each["from"],
            each.get("to", "until further notice"),
        )
    terminal.print(shown)

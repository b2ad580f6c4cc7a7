"""`luxor revenue rulebooks`: which law is loaded, and how much of it nobody has verified."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("rulebooks", short_help="Tell which law is loaded, and how much of it nobody has verified.")
@click.argument("jurisdiction", required=False)
@acting("analyst")
def rulebooks(context: Context, jurisdiction: str | None, ident: str) -> None:
    """Tell the rulebooks with their days, values and lines of tariff, and how many of those nobody checked against the law's text.

    With a JURISDICTION, such as EU, its charges and references too.
    """
    from libs.client.rulebooks import rulebooks as ask

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await ask(client, jurisdiction or "")

    told = run(work())
    context.emit(told, lambda out: _show(out, told, jurisdiction))
    if jurisdiction and not told["rulebooks"]:
        raise click.exceptions.Exit(REFUSED)


def _show(out: "Console", told: dict[str, Any], jurisdiction: str | None) -> None:
    from libs.cli.text import safe, table

    if jurisdiction and not told["rulebooks"]:
        out.print(f"No rulebook of {safe(jurisdiction)} is loaded; `luxor revenue rulebooks` lists those that are.")
        return
    shown = table("law", "areas", "days", "version", "values", "unverified", "tariff lines", "unverified",
                  right=(4, 5, 6, 7))  # fmt: skip
    shown.columns[3].no_wrap = True  # it is copied whole
    for book in told["rulebooks"]:
        areas = book["areas"]
        told_areas = " ".join(areas) if len(areas) <= 3 else f"{areas[0]} and {len(areas) - 1} more"
        shown.add_row(
            safe(f"{book['jurisdiction']}  {book['name']}"), told_areas, f"{book['from']} to {book['to'] or '…'}",
            safe(book["version"]), *(f"{book[name]:,}" for name in _NUMBERS),
        )  # fmt: skip
    if len(told["rulebooks"]) > 1:
        shown.add_section()
        shown.add_row("all", "", "", "", *(f"{told['totals'][name]:,}" for name in _NUMBERS))
    out.print(shown)
    for book in told["rulebooks"] if jurisdiction else ():
        for charge in book["charges"]:
            out.print(f"  {safe(charge)}")
        for reference in book["references"]:
            doubt = "" if reference["verified"] else "  [yellow]not verified[/]"
            where = ", ".join(each for each in (reference["law"], reference["article"]) if each)
            out.print(f"  [dim]{safe(reference['id'])}: {safe(where)}  {safe(reference['address'])}[/]{doubt}")
            if reference["note"]:
                out.print(f"    [dim]{safe(reference['note'])}[/]")


_NUMBERS = ("values", "unverified_values", "tariff_lines", "unverified_tariff_lines")

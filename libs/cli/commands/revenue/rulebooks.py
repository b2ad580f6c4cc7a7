"""`luxor revenue rulebooks`: which law is loaded, and how much of it nobody has verified."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("rulebooks", short_help="Show which law is loaded, and how much of it is not verified.")
@click.argument("jurisdiction", required=False)
@acting("analyst")
def rulebooks(context: Context, jurisdiction: str | None, ident: str) -> None:
    """List the rulebooks with their days, values and lines of tariff, and how many of those are not verified against the law's text.

    With a JURISDICTION, such as EU, or a country in which its law holds, such as DE, its charges and references too.
    """
    from libs.client.revenue.rulebooks import rulebooks as ask

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await ask(client, jurisdiction or "")

    told = run(work())
    context.emit(told, lambda out: _show(out, told, jurisdiction))
    if jurisdiction and not told["rulebooks"]:
        raise click.exceptions.Exit(REFUSED)


def _show(out: "Console", told: dict[str, Any], jurisdiction: str | None) -> None:
    from libs.cli.views.text import print_whole, safe, table

    if jurisdiction and not told["rulebooks"]:
        out.print(f"No rulebook of {safe(jurisdiction)} is loaded; `luxor revenue rulebooks` lists those that are.")
        return
    shown = table("law", "of", "version", "holds from", "unverified\nvalues", "unverified\ntariff lines", right=(4, 5))
    for place in (0, 2, 3):
        shown.columns[place].no_wrap = True  # they are copied whole
    for book in told["rulebooks"]:
        until = f"\nto {book['to_day']}" if book["to_day"] else ""
        shown.add_row(
            safe(book["jurisdiction"]),
            safe(_of(book)),
            safe(book["version"]),
            f"{book['from_day']}{until}",
            *_shares(book),
        )
    if len(told["rulebooks"]) > 1:
        shown.add_section()
        shown.add_row("all", "", "", "", *_shares(told["totals"]))
    # Names are broken between words alone.
    shown.columns[1].min_width = max(len(word) for book in told["rulebooks"] for word in _of(book).split())
    print_whole(out, shown)
    for book in told["rulebooks"] if jurisdiction else ():
        _show_whole(out, book)


def _of(book: dict[str, Any]) -> str:
    """Whose law it is, and where it holds if that is not its own country alone."""
    areas = book["areas"]
    if areas == [book["jurisdiction"]]:
        return str(book["name"])
    return f"{book['name']}\n{' '.join(areas) if len(areas) <= _AREAS_TOLD else f'{len(areas)} countries'}"


def _shares(numbers: dict[str, Any]) -> tuple[str, str]:
    """How many values and lines of tariff nobody has verified, of how many."""
    values, lines = ((numbers[f"unverified_{name}"], numbers[name]) for name in ("values", "tariff_lines"))
    return f"{values[0]:,} of {values[1]:,}", f"{lines[0]:,} of {lines[1]:,}"


def _show_whole(out: "Console", book: dict[str, Any]) -> None:
    """Show the charges of a rulebook, and the texts of law that its values rest on."""
    from libs.cli.views.text import paragraph, safe

    paragraph(out, f"Holds in {safe(' '.join(book['areas']))}; amounts are in {safe(book['currency'])}.", 0)
    # Names of charges have commas of their own.
    paragraph(out, f"Charges: {safe('; '.join(book['charges']))}.", 0)
    out.print("References:")
    for reference in book["references"]:
        out.print(
            f"  {safe(reference['id'])}{'' if reference['verified'] else '  [yellow]not verified[/]'}", soft_wrap=True
        )
        where = ", ".join(each for each in (reference["law"], reference["article"]) if each)
        paragraph(out, f"[dim]{safe(where)}[/]", 4)
        if reference["address"]:
            # An address is not broken, or it could not be opened.
            out.print(f"    [dim]{safe(reference['address'])}[/]", soft_wrap=True)
        if reference["note"]:
            paragraph(out, f"[dim]{safe(reference['note'])}[/]", 4)


_AREAS_TOLD = 3

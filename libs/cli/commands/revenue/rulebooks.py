"""`luxor revenue rulebooks`: lists the loaded law, and how much of it is not verified."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("rulebooks", short_help="Show which law is loaded, and how much of it is not verified.")
@click.argument("jurisdiction", required=False)
@acting("analyst")
def rulebooks(context: Context, jurisdiction: str | None, ident: str) -> None:
    """List the rulebooks with their days, values and tariff lines, and how many of these were not compared with the text of the law.

    For a JURISDICTION, such as EU, or a country where its law applies, such as DE, it also lists charges and references.
    """
    from libs.client.revenue.rulebooks import rulebooks as ask

    async def work() -> dict[str, Any]:
        async with context.client("analyst", ident) as client:
            return await ask(client, jurisdiction or "")

    answer = run(work())
    context.emit(answer, lambda terminal: show_rulebooks(terminal, answer, jurisdiction))
    if jurisdiction and not answer["rulebooks"]:
        raise click.exceptions.Exit(REFUSED)


def show_rulebooks(terminal: "Console", answer: dict[str, Any], jurisdiction: str | None) -> None:
    """Print the rulebooks, or one of them in full."""
    from libs.cli.views.text import print_whole, safe, table

    if jurisdiction and not answer["rulebooks"]:
        terminal.print(
            f"No rulebook of {safe(jurisdiction)} is loaded; `luxor revenue rulebooks` lists the loaded ones."
        )
        return
    shown = table(
        "law", "name", "version", "valid from", "unverified\nvalues", "unverified\ntariff lines", right=(4, 5)
    )
    for place in (0, 2, 3):
        shown.columns[place].no_wrap = True  # people copy them, so they stay in one line
    for book in answer["rulebooks"]:
        until = f"\nto {book['to_day']}" if book["to_day"] else ""
        shown.add_row(
            safe(book["jurisdiction"]),
            safe(_name_and_areas(book)),
            safe(book["version"]),
            f"{book['from_day']}{until}",
            *_shares(book),
        )
    if len(answer["rulebooks"]) > 1:
        shown.add_section()
        shown.add_row("all", "", "", "", *_shares(answer["totals"]))
    # Names are broken only between words.
    shown.columns[1].min_width = max(
        len(word) for book in answer["rulebooks"] for word in _name_and_areas(book).split()
    )
    print_whole(terminal, shown)
    for book in answer["rulebooks"] if jurisdiction else ():
        _show_whole(terminal, book)


def _name_and_areas(book: dict[str, Any]) -> str:
    """Return the name of a rulebook, and its countries unless it is valid only in its own."""
    areas = book["areas"]
    if areas == [book["jurisdiction"]]:
        return str(book["name"])
    return f"{book['name']}\n{' '.join(areas) if len(areas) <= _AREAS_SHOWN else f'{len(areas)} countries'}"


def _shares(numbers: dict[str, Any]) -> tuple[str, str]:
    """Return the unverified values and tariff lines, each with the total."""
    values, lines = ((numbers[f"unverified_{name}"], numbers[name]) for name in ("values", "tariff_lines"))
    return f"{values[0]:,} of {values[1]:,}", f"{lines[0]:,} of {lines[1]:,}"


def _show_whole(terminal: "Console", book: dict[str, Any]) -> None:
    """Print the charges and references of a rulebook."""
    from libs.cli.views.text import paragraph, safe

    paragraph(terminal, f"Valid in {safe(' '.join(book['areas']))}; amounts are in {safe(book['currency'])}.", 0)
    # Names of charges have commas of their own.
    paragraph(terminal, f"Charges: {safe('; '.join(book['charges']))}.", 0)
    terminal.print("References:")
    for reference in book["references"]:
        terminal.print(
            f"  {safe(reference['id'])}{'' if reference['verified'] else '  [yellow]not verified[/]'}", soft_wrap=True
        )
        where = ", ".join(each for each in (reference["law"], reference["article"]) if each)
        paragraph(terminal, f"[dim]{safe(where)}[/]", 4)
        if reference["address"]:
            # An address is not broken, or it could not be opened.
            terminal.print(f"    [dim]{safe(reference['address'])}[/]", soft_wrap=True)
        if reference["note"]:
            paragraph(terminal, f"[dim]{safe(reference['note'])}[/]", 4)


_AREAS_SHOWN = 3

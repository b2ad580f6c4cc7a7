"""`luxor show`: shows consignments."""

from typing import Any

import click

from libs.cli.common import IDS, REFUSED, Context, caller_of, caller_option, command, run


@command("show", short_help="Show consignments: state, reasons, charges and law.")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@click.option("--filer", default=IDS["filer"], show_default=True, help="The filer of a local reference REF.")
@caller_option(
    "The caller: officer, analyst, filer, carrier or agency; filers see their own consignments, carriers and agencies those that concern them."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Maximum of consignments for a house or master document.",
)
@click.option("--history", is_flag=True, help="Show earlier states too.")
def show(context: Context, references: tuple[str, ...], filer: str, caller: str, limit: int, history: bool) -> None:
    """Show the consignments of each REF: an MRN, a local reference, a house or a master document; for carriers a house or master document."""
    from rich.console import Console

    from libs.cli.views.consignment import render, render_many
    from libs.cli.views.text import print_words
    from libs.client.clearance.lookup import find
    from libs.client.errors import LuxorError

    role, ident = caller_of(caller, ("officer", "analyst", "filer", "carrier", "agency"))
    if role == "filer":
        ident, filer = ident or filer, ""

    async def work() -> dict[str, list[dict[str, Any]]]:
        async with context.client(role, ident) as client:
            return await find(client, references, filer=filer, limit=limit, history=history)

    found = run(work())

    def draw(terminal: Console) -> None:
        for consignments in found.values():
            if len(consignments) > 3:
                print_words(terminal, render_many(consignments))
                terminal.print(f"[dim]luxor show MRN shows a consignment in full; at most {limit} are listed here.[/]")
                continue
            for each in consignments:
                terminal.print(render(each))

    if any(found.values()):
        context.emit([each for consignments in found.values() for each in consignments], draw)
    missing = [reference for reference, consignments in found.items() if not consignments]
    if missing:
        error = LuxorError.from_reason("NOTHING_FOUND", value=", ".join(missing))
        from libs.cli.common import fail

        fail(error.reason, error.sentence, error.hint, code=REFUSED, as_json=context.as_json)

"""`luxor show`: everything that is known about consignments."""

from typing import Any

import click

from libs.cli.common import IDS, REFUSED, Context, caller_of, command, run


@command("show", short_help="Tell all that is known about consignments, and why.")
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@click.option("--filer", default=IDS["filer"], show_default=True, help="Whose local reference REF is.")
@click.option(
    "--as",
    "caller",
    default="officer",
    metavar="ROLE, ROLE/ID or ID",
    show_default=True,
    help="Look as officer, analyst, filer or carrier; each is told what is its own.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Consignments at most for a house or master document.",
)
@click.option("--history", is_flag=True, help="Tell the former states as well.")
def show(context: Context, references: tuple[str, ...], filer: str, caller: str, limit: int, history: bool) -> None:
    """Show all that is known under each REF: an MRN, a local reference, a house or a master document."""
    from rich.console import Console

    from libs.cli.views.consignment import render, render_many
    from libs.client.clearance.lookup import find
    from libs.client.errors import LuxorError

    role, ident = caller_of(caller, ("officer", "analyst", "filer", "carrier"))
    if role == "filer":
        ident, filer = ident or filer, ""

    async def work() -> dict[str, list[dict[str, Any]]]:
        async with context.client(role, ident) as client:
            return await find(client, references, filer=filer, limit=limit, history=history)

    found = run(work())

    def draw(out: Console) -> None:
        for consignments in found.values():
            if len(consignments) > 3:
                out.print(render_many(consignments))
                out.print(f"[dim]luxor show MRN tells all about one; at most {limit} are listed here.[/]")
                continue
            for each in consignments:
                out.print(render(each))

    if any(found.values()):
        context.emit([each for consignments in found.values() for each in consignments], draw)
    missing = [reference for reference, consignments in found.items() if not consignments]
    if missing:
        error = LuxorError.of("NOTHING_FOUND", value=", ".join(missing))
        from libs.cli.common import fail

        fail(error.reason, error.sentence, error.hint, code=REFUSED, as_json=context.as_json)

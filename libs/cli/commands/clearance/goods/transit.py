"""`luxor transit`: goods that move to another office under customs control."""

from typing import Any

import click

from libs.cli.commands.clearance.officer import act_on_goods, goods_options
from libs.cli.common import Context, acting, caller_option, command, run

_ROLES = ("officer", "carrier")


@click.group("transit", short_help="Move goods to another office under customs control.")
def transit() -> None:
    """Move goods that arrived and are not released to another office of the administration, under customs control.

    Nothing releases, seizes or disposes of goods in transit. Every command has --json, for programs.
    """


@command("start", group=transit, short_help="Begin the movement of goods to another office.")
@goods_options
@click.option("--to", "office", required=True, metavar="OFFICE", help="Office of destination.")
@click.option(
    "--days",
    default=0,
    type=click.IntRange(0, 366),
    help="Time limit in whole days (default: the usual one of the jurisdiction).",
)
@click.option("--seal", default="", help="Seal.")
@click.option("--document", default="", metavar="NUMBER", help="Transport document of the movement.")
@click.option("--guarantee", default="", metavar="REFERENCE", help="Reference of the guarantee.")
@click.option("--note", default="", help="An officer's note; filers do not see it.")
@caller_option("The caller: an officer; a carrier, of its own goods that nothing but their debt holds.")
def start(
    context: Context, office: str, days: int, seal: str, document: str, guarantee: str, note: str, **goods: Any
) -> None:
    """Begin the movement of goods to another office, where they have to arrive within the time limit."""
    from libs.client.clearance.goods.transit import start_of

    request = start_of(office, limit_days=days, seal=seal, document=document, guarantee=guarantee, note=note)
    _take(context, request, "moving", **goods)


@command("arrive", group=transit, short_help="Report that goods arrived at the office of destination.")
@goods_options
@click.option(
    "--at", "office", default="", metavar="OFFICE",
    help="Where the goods arrived; required with --master and of carriers. Another office than that of destination: an officer names the goods.",
)  # fmt: skip
@click.option("--document", default="", metavar="NUMBER", help="Only goods that move under this transport document.")
@click.option(
    "--difference", default="", metavar="WHAT", help="seal, missing, seal_and_missing or other: an officer decides."
)
@click.option("--note", default="", help="An officer's note; filers do not see it.")
@caller_option(
    "The caller: an officer; a carrier, of its own goods or those under a document of movement that is bound to it."
)
def arrive(context: Context, office: str, document: str, difference: str, note: str, **goods: Any) -> None:
    """Report that goods arrived at the office of destination, which handles them from then on."""
    from libs.client.clearance.goods.transit import arrival_of
    from libs.client.row_errors import ElementError

    try:
        request = arrival_of(office=office, difference=difference, document=document, note=note)
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _take(context, request, "arrived", **goods)


@command("end", group=transit, short_help="End a movement without an arrival, as an officer.")
@goods_options
@click.option("--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE, such as GOODS_NOT_FOUND.")
@click.option("--lost", is_flag=True, help="The goods are lost: what is owed stays due unless they turn up.")
@click.option("--note", default="", help="A note; filers do not see it.")
@acting("officer")
def end(context: Context, reason: str, lost: bool, note: str, ident: str, **goods: Any) -> None:
    """End a movement without an arrival: the goods are lost, or stay at the office of departure.

    An officer holds them, and what is owed stays owed until an officer disposes of them; of lost goods also after it.
    """
    from libs.client.clearance.goods.transit import end_of

    _take(
        context,
        end_of(reason, lost=lost, note=note),
        "ended",
        caller=f"officer/{ident}" if ident else "officer",
        **goods,
    )


@command("list", group=transit, short_help="List goods in transit.")
@click.option("--office", default="", help="The office (default: all).")
@click.option("--departing", is_flag=True, help="Those that left the office, in place of those that move to it.")
@click.option("--overdue", is_flag=True, help="Only those that are overdue.")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def list_(context: Context, office: str, departing: bool, overdue: bool, first: int, ident: str) -> None:
    """List goods in transit, the earliest end of the time limit first."""
    from libs.client.clearance.goods.transit import transit_list

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await transit_list(client, office, departing=departing, overdue=overdue, items_max=first)

    items = run(ask())

    def show(terminal: Any) -> None:
        from libs.cli.views.text import STATES, coloured, minute, print_words, safe, short, stacked, table

        shown = table("MRN, master document", "state now", "from", "to", "began", "until", "document", "seal")
        for each in items:
            moves = each.get("transit", {})
            shown.add_row(
                stacked(each.get("mrn", ""), safe(each.get("master_document_number", ""))), coloured(short(each.get("state", ""), "STATE_"), STATES),
                safe(moves.get("departure_office", "")) or "–", safe(moves.get("destination_office", "")), minute(moves.get("started_at", "")),
                minute(moves.get("due_at", "")) + (" [yellow]overdue[/]" if moves.get("overdue_at") else ""),
                safe(moves.get("document_number", "")) or "–", safe(moves.get("seal", "")) or "–",
            )  # fmt: skip
        print_words(terminal, shown)

    context.emit(items, show)


def _take(context: Context, request: Any, done: str, **goods: Any) -> None:
    """Take a step of the goods that are named, and print what was done."""
    from libs.client.clearance.goods.transit import take_transit_step

    act_on_goods(context, request, take_transit_step, {"done": done}, roles=_ROLES, **goods)

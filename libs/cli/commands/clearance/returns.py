"""`luxor returns`: goods of many consignments that are undelivered or sent back, and returns that are ordered beforehand."""

import time
from collections.abc import Sequence
from typing import Any, Final

import click

from libs.cli.commands.clearance.officer import PAGE_MAX, act_on_goods, goods_options
from libs.cli.common import REFUSED, Context, caller_of, caller_option, command, run
from libs.cli.views.text import refusal

_NUMBERS = {
    "returned": "released goods returned: refunds follow",
    "re_exported": "re-exported without a release",
    "invalidated": "not arrived: declarations invalidated",
    "final_before": "had ended before",
}
"""The texts of the numbers in the answer to a bulk return."""


@click.group("returns", short_help="Return the goods of many consignments, or order it beforehand.")
def returns() -> None:
    """Return the goods of many consignments that are undelivered or sent back, or order their return beforehand.

    `luxor return` reports items of released consignments. Every command has --json, for programs.
    """


@command("bulk", group=returns, short_help="Return whole consignments under one transport document.")
@goods_options
@click.option("--document", required=True, metavar="NUMBER", help="Transport document under which the goods leave.")
@click.option(
    "--reason", required=True, metavar="REASON", help="undelivered, withdrawn, faulty or refused; refunds depend on it."
)
@click.option("--note", default="", help="An officer's note; filers do not see it.")
@click.option(
    "--override-officers", is_flag=True, help="With --master: goods that an officer holds too, also your colleagues'."
)
@caller_option("The caller: an officer; the filer or the carrier, of released goods.")
def bulk(context: Context, document: str, reason: str, note: str, override_officers: bool, **goods: Any) -> None:
    """Return consignments by MRN or house document, or all goods under a master document.

    Released goods are returned with the refunds of the law. As an officer, goods that arrived and are not released are re-exported, and the
    declarations of goods that did not arrive are invalidated. Name goods that a screening match or an alarm holds one by one, with --if-version.
    """
    from libs.client.clearance.returns import bulk_return, bulk_return_of
    from libs.client.row_errors import ElementError

    if override_officers and not goods["master"]:
        raise click.UsageError("--override-officers belongs to --master")
    try:
        order = bulk_return_of(
            document=document, reason=reason, note=note, override_officers=override_officers, page_size=PAGE_MAX
        )
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    act_on_goods(context, order, bulk_return, _NUMBERS, roles=("officer", "filer", "carrier"), **goods)


@command("order", group=returns, short_help="Order returns beforehand.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--reason", required=True, metavar="REASON", help="undelivered, withdrawn, faulty or refused; refunds depend on it."
)
@click.option("--document", default="", metavar="NUMBER", help="Transport document under which the goods leave.")
@click.option(
    "--days",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0, 366, min_open=True),
    help="The goods leave within so many days.",
)
@click.option("--note", default="", help="A note for yourself and for officers.")
@caller_option("The caller: an officer, or the filer of the consignments.")
def order(
    context: Context, mrns: tuple[str, ...], reason: str, document: str, days: float, note: str, caller: str
) -> None:
    """Order that consignments are returned once their departure is recorded: refunds and the release of securities then follow by themselves."""
    from libs.client.clearance.returns import order_returns
    from libs.client.row_errors import ElementError

    role, ident = caller_of(caller, ("officer", "filer"))
    until = time.time_ns() // 1_000 + round(days * 86_400_000_000)

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await order_returns(
                client, mrns, reason=reason, valid_until_micros=until, document=document, note=note
            )

    try:
        results = run(work())
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    _show_results(context, results)


@command("cancel", group=returns, short_help="Cancel return orders.")
@click.argument("orders", metavar="ORDER...", nargs=-1, required=True)
@caller_option("The caller: an officer, or the filer who ordered.")
def cancel(context: Context, orders: tuple[str, ...], caller: str) -> None:
    """Cancel open return orders by their ids. A filer cannot once a departure is recorded."""
    from libs.client.clearance.returns import cancel_return_orders

    role, ident = caller_of(caller, ("officer", "filer"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await cancel_return_orders(client, orders)

    _show_results(context, run(work()))


@command("list", group=returns, short_help="List return orders.")
@click.option("--status", default="", metavar="STATUS", help="Only ordered, fulfilled, expired or cancelled ones.")
@click.option("--departed", is_flag=True, help="Only those whose goods left and could not be returned.")
@click.option("--document", default="", metavar="NUMBER", help="Only open ones under this transport document.")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@caller_option("The caller: an officer or analyst; the filer who ordered; a carrier, with --document.")
def list_(context: Context, status: str, departed: bool, document: str, first: int, caller: str) -> None:
    """List return orders, the oldest consignment first."""
    from libs.client.clearance.returns import return_orders
    from libs.client.row_errors import ElementError

    role, ident = caller_of(caller, ("officer", "analyst", "filer", "carrier"))

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await return_orders(client, status=status, departed=departed, document=document, orders_max=first)

    try:
        found = run(work())
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None

    def show(terminal: Any) -> None:
        from libs.cli.views.text import minute, print_words, safe, short, stacked, table, words

        shown = table("order, document", "status", "reason", "valid until", "ordered by", "left", "not returned for")
        for each in found:
            shown.add_row(
                stacked(each["order_id"], safe(each.get("transport_document_number", ""))),
                words(short(each.get("status", ""), "RETURN_ORDER_STATUS_")),
                words(short(each.get("reason", ""), "RETURN_REASON_")),
                minute(each.get("valid_until", "")), safe(each.get("ordered_by", "")), minute(each.get("departed_at", "")) or "–",
                each.get("obstacle", ""),
            )  # fmt: skip
        print_words(terminal, shown)

    context.emit(found, show)


_EXITS: Final = {"exited": "exports left", "not_exited": "exports not released before it, report it again then"}
"""What is printed of the exports that a departure concerns, by field of its result."""


@command("depart", group=returns, short_help="Report that a transport document left.")
@click.argument("document", metavar="NUMBER")
@click.option(
    "--mrn",
    "mrns",
    multiple=True,
    metavar="MRN",
    help="A consignment whose order names no document, or an export filed under another one.",
)
@click.option("--at", default="", metavar="TIME", help="When it left, ISO 8601 with its zone (default: now).")
@caller_option("The caller: an officer or a carrier.")
def depart(context: Context, document: str, mrns: tuple[str, ...], at: str, caller: str) -> None:
    """Report that a transport document left.

    The open return orders that name it are fulfilled within seconds, and the exit of the exports under it is confirmed.
    """
    from libs.client.clearance.returns import record_departure
    from libs.customs.time import parse_instant

    role, ident = caller_of(caller, ("officer", "carrier"))
    try:
        left = parse_instant(at) if at else time.time_ns() // 1_000
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None

    async def work() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await record_departure(client, document, departed_at_micros=left, mrns=mrns)

    result = run(work())
    exits = [f"{result[name]} {words}" for name, words in _EXITS.items() if result.get(name)]
    context.emit(result, lambda terminal: terminal.print(refusal(result) or ", ".join(["recorded", *exits])))
    if result.get("error"):
        raise click.exceptions.Exit(REFUSED)


def _show_results(context: Context, results: Sequence[dict[str, Any]]) -> None:
    """Print the result of each order; refusals end with exit code 1."""

    def show(terminal: Any) -> None:
        from libs.cli.views.text import print_words, short, table, words

        shown = table("order", "MRN", "status now", "")
        for each in results:
            status = words(short(each.get("order_status", ""), "RETURN_ORDER_STATUS_"))
            shown.add_row(each.get("order_id", ""), each.get("mrn", ""), status, refusal(each))
        print_words(terminal, shown)

    context.emit(results, show)
    if any(each.get("error") for each in results):
        raise click.exceptions.Exit(REFUSED)

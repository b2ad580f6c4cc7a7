"""`luxor carriers`: bindings of master documents to carriers, refused arrivals, what an arrival released, its reversal, and presentations."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.commands.clearance.officer import PAGE_MAX, act_on_goods, goods_options
from libs.cli.common import REFUSED, Context, acting, caller_of, caller_option, command, run
from libs.cli.views.text import refusal

if TYPE_CHECKING:
    from rich.console import Console

_PRESENTED = {
    "presented": "presented",
    "released": "of which released by it",
    "presented_before": "needed no presentation any more",
}
"""The texts of the numbers in the answer to a presentation."""


@click.group("carriers", short_help="Bind master documents to carriers; list and reverse arrivals; present goods.")
def carriers() -> None:
    """Bind master documents to carriers; list and reverse arrivals; present goods.

    A carrier may report the arrival of a master document, and see the consignments under it, if the document is bound to it: by an entry that
    customs made (luxor carriers bind), by the carrier that the filing names, or by a registered prefix. The first of these that applies decides.
    Every command has --json, for programs.
    """


@command("bind", group=carriers, short_help="Bind master documents to a carrier.")
@click.argument("carrier")
@click.option("--document", "documents", multiple=True, metavar="NUMBER", help="A master document; may be repeated.")
@click.option("--prefix", "prefixes", multiple=True, metavar="TEXT", help="First characters, such as 020 or MAEU.")
@click.option(
    "--identifier", "identifiers", multiple=True, metavar="TEXT", help="Its name in filings, such as an EORI number."
)
@click.option("--from", "from_day", metavar="DAY", help="First day, such as 2026-07-01 (default: always).")
@click.option("--to", "to_day", metavar="DAY", help="Last day (default: no end); a past day ends the binding.")
@acting("officer")
def bind(
    context: Context,
    carrier: str,
    documents: tuple[str, ...],
    prefixes: tuple[str, ...],
    identifiers: tuple[str, ...],
    from_day: str | None,
    to_day: str | None,
    ident: str,
) -> None:
    """Bind master documents to CARRIER, the id of its certificate, or change the days of its bindings."""
    from libs.client.clearance import carriers as client_carriers

    values = [
        *(("document", each) for each in documents),
        *(("prefix", each) for each in prefixes),
        *(("identifier", each) for each in identifiers),
    ]
    if not values:
        raise click.UsageError("Give --document, --prefix or --identifier.")
    bindings_wanted = client_carriers.bindings_of(
        carrier, values, from_day=_day(from_day, "--from"), to_day=_day(to_day, "--to")
    )

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await client_carriers.bind(client, bindings_wanted)

    results = run(work())
    context.emit(results, lambda terminal: _bindings(terminal, results))
    _exit(results)


@command("list", group=carriers, short_help="List the bindings.")
@click.option("--carrier", default="", help="Only of this carrier.")
@acting("officer")
def list_(context: Context, carrier: str, ident: str) -> None:
    """List the bindings of master documents to carriers."""
    from libs.client.clearance import carriers as client_carriers

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await client_carriers.bindings(client, carrier)

    results = run(work())
    context.emit(results, lambda terminal: _bindings(terminal, results))


@command("refused", group=carriers, short_help="List refused arrivals, and arrivals without effect.")
@click.option("--carrier", default="", help="Only of this carrier.")
@acting("officer")
def refused(context: Context, carrier: str, ident: str) -> None:
    """List arrivals that were refused or had no effect, because the master document is not bound to the carrier."""
    from libs.client.clearance import carriers as client_carriers

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await client_carriers.refused(client, carrier)

    results = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import minute, print_words, safe, table

        shown = table("master document", "carrier", "", "times", "last", right=(3,))
        for each in results:
            shown.add_row(
                safe(each.get("master_document_number") or "documents that are not listed"),
                safe(each["carrier"]),
                "without effect" if each.get("recorded") else "refused",
                f"{each.get('times', 0):,}",
                minute(each.get("refused_at", "")),
            )
        print_words(terminal, shown)

    context.emit(results, show)


@command("arrivals", group=carriers, short_help="Show the arrivals of a master document and what they released.")
@click.argument("master")
@acting("officer")
def arrivals(context: Context, master: str, ident: str) -> None:
    """Show the arrivals of MASTER, with the number of consignments of each and how many of them it released."""
    from libs.client.clearance import carriers as client_carriers

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await client_carriers.arrivals(client, master)

    results = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import minute, print_words, safe, table

        names = ("consignments", "released", "held")
        shown = table("carrier", "arrived", "recorded", *names, "reversed", right=(3, 4, 5))
        for each in results:
            counts = (f"{int(each.get(name, 0)):,}" for name in names)
            by = f"{minute(each['reversed_at'])} by {each.get('reversed_by', '')}" if "reversed_at" in each else ""
            shown.add_row(
                safe(each["carrier"]),
                minute(each.get("arrived_at", "")),
                minute(each.get("recorded_at", "")),
                *counts,
                safe(by),
            )
        print_words(terminal, shown)

    context.emit(results, show)


@command("released", group=carriers, short_help="List the consignments that an arrival released.")
@click.argument("master")
@click.argument("carrier")
@acting("officer")
def released(context: Context, master: str, carrier: str, ident: str) -> None:
    """List the consignments that the arrival of MASTER by CARRIER released."""
    from libs.client.clearance import carriers as client_carriers

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await client_carriers.released(client, master, carrier)

    results = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import STATES, coloured, minute, print_words, safe, short, table

        shown = table("MRN", "house document", "state now", "released")
        for each in results:
            shown.add_row(
                each["mrn"],
                safe(each.get("house_document_number", "")),
                coloured(short(each.get("state", ""), "STATE_"), STATES),
                minute(each.get("released_at", "")),
            )
        print_words(terminal, shown)

    context.emit(results, show)


@command("reverse", group=carriers, short_help="Reverse arrivals that were recorded by mistake.")
@click.argument("masters", metavar="MASTER...", nargs=-1, required=True)
@click.option("--carrier", default="", help="The carrier that recorded them; only with --as officer.")
@caller_option("The caller: the carrier, or an officer.", "carrier")
def reverse(context: Context, masters: tuple[str, ...], carrier: str, caller: str) -> None:
    """Reverse the arrivals of MASTERs: the goods have not arrived.

    Refused if an arrival has released a consignment, and of a carrier if its goods were presented (ARRIVAL_PRESENTED): ask an officer.
    """
    from libs.client.clearance import carriers as client_carriers

    role, ident = caller_of(caller, ("carrier", "officer"))
    if (role == "officer") != bool(carrier):
        raise click.UsageError("An officer names the --carrier that recorded the arrivals; a carrier reverses its own.")

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await client_carriers.reverse(client, masters, carrier)

    results = run(work())

    def show(terminal: "Console") -> None:
        from libs.cli.views.text import print_words, safe, table

        shown = table("master document", "", "consignments", "not reversed", right=(2, 3))
        for each in results:
            numbers = [
                "" if "error" in each else f"{int(each.get(name, 0)):,}" for name in ("consignments", "released")
            ]
            shown.add_row(safe(each["master_document_number"]), _outcome(each, "reversed"), *numbers)
        print_words(terminal, shown)

    context.emit(results, show)
    _exit(results)


@command("present", group=carriers, short_help="Present goods that have arrived to customs.")
@goods_options
@caller_option("The caller: the carrier or the holder of the storage, or an officer.", "carrier")
def present(context: Context, **goods: Any) -> None:
    """Present goods that have arrived to customs, where that is an act of its own: by MRN or house document, or all under a master document.

    From then on the filer can no longer amend or withdraw the declaration. What waits for nothing else is released. A repetition changes nothing.
    """
    from libs.client.clearance import carriers as client_carriers
    from luxor.clearance.v1.carriers_pb2 import PresentConsignmentsRequest

    request = PresentConsignmentsRequest(page_size=PAGE_MAX)
    act_on_goods(context, request, client_carriers.present, _PRESENTED, roles=("carrier", "officer"), **goods)


def _bindings(terminal: "Console", results: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import print_words, safe, short, table, words

    shown = table("carrier", "by", "value", "from", "to", "")
    for each in results:
        shown.add_row(
            safe(each.get("carrier", "")),
            words(short(each.get("kind", ""), "BINDING_KIND_")),
            safe(each.get("value", "")),
            each.get("from_day", "always"),
            each.get("to_day", "without end"),
            _outcome(each, ""),
        )
    print_words(terminal, shown)


def _outcome(each: dict[str, Any], done: str) -> str:
    return refusal(each) or done


def _exit(results: list[dict[str, Any]]) -> None:
    if any(each.get("error") for each in results):
        raise click.exceptions.Exit(REFUSED)


def _day(text: str | None, option: str) -> int | None:
    from datetime import date

    from libs.customs.time import day_of_date

    if text is None:
        return None
    try:
        return day_of_date(date.fromisoformat(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day such as 2026-07-01", param_hint=option) from None

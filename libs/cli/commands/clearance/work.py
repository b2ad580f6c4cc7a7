"""`luxor work`: the officers' lists of held goods by office, and who works on them."""

from typing import TYPE_CHECKING, Any

import click

from libs.cli.commands.clearance.officer import act
from libs.cli.common import Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@click.group("work", short_help="List, claim and hand over held goods, as an officer.")
def work() -> None:
    """List, claim and hand over held goods, as an officer.

    A claim says which officer works on a consignment; no other officer releases it or decides on its goods. It stops nothing automatic, and ends with
    the hold. Every command has --json, for programs.
    """


@command("list", group=work, short_help="List the held goods of an office.")
@click.option("--office", default="", help="The office (default: none; with --claim own: all).")
@click.option("--claim", default="", metavar="WHICH", help="Only unclaimed, own or claimed ones.")
@click.option("--lane", default="", metavar="LANE", help="Only those of this lane.")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def list_(context: Context, office: str, claim: str, lane: str, first: int, ident: str) -> None:
    """List the held goods of an office: the highest lane first, then the oldest; or your claims, also on controlled and seized goods."""
    from libs.client.clearance.work import work_list
    from libs.client.row_errors import ElementError

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await work_list(client, office, claim=claim, lane=lane, items_max=first)

    try:
        items = run(ask())
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    context.emit(items, lambda terminal: _show(terminal, items))


@command("storage", group=work, short_help="List goods whose presentation or temporary storage is overdue or soon due.")
@click.option("--office", default="", help="The office (default: consignments that belong to no office).")
@click.option(
    "--within",
    default=0,
    metavar="DAYS",
    type=click.IntRange(0, 400),
    help="Also those whose limit ends within so many days.",
)
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def storage(context: Context, office: str, within: int, first: int, ident: str) -> None:
    """List the goods of an office whose time limit has ended, the earliest end first: of their presentation, or of their temporary storage.

    Goods that are not presented wait for the carrier. On goods in temporary storage an officer decides (`luxor dispose`).
    """
    from libs.client.clearance.work import storage_list

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await storage_list(client, office, within_days=within, items_max=first)

    items = run(ask())
    context.emit(items, lambda terminal: _show(terminal, items))


@command("unjudged", group=work, short_help="List goods that risk could not judge before loading.")
@click.option("--office", default="", help="Only those of this office (default: all).")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def unjudged(context: Context, office: str, first: int, ident: str) -> None:
    """List goods before loading of which rules of risk have no result by the filing, the oldest first, with the number of these rules.

    Request what the filing lacks (`luxor control order MRN --form information`), and conclude the request as CONFORM once you judged the data.
    """
    from libs.client.clearance.work import unjudged_list

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await unjudged_list(client, office, items_max=first)

    items = run(ask())
    context.emit(items, lambda terminal: _show_unjudged(terminal, items))


@command("contradicted", group=work, short_help="List goods whose filing contradicts parts of other parties.")
@click.option("--office", default="", help="Only those of this office (default: all).")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def contradicted(context: Context, office: str, first: int, ident: str) -> None:
    """List goods of whose filing parts of other parties state other values, the oldest first, with both values and who stated them.

    Goods leave the list when the last contradiction ends, with their release, and with a final state.
    """
    from libs.client.clearance.work import contradicted_list

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await contradicted_list(client, office, items_max=first)

    items = run(ask())
    context.emit(items, lambda terminal: _show_contradicted(terminal, items))


@command("claim", group=work, short_help="Claim held goods.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--note", default="", help="A note for colleagues.")
@acting("officer")
def claim(context: Context, mrns: tuple[str, ...], note: str, ident: str) -> None:
    """Claim held goods: from now on only you release them or decide on them."""
    from libs.client.clearance.work import claim as claim_goods

    act(context, "officer", ident, lambda client: claim_goods(client, mrns, note=note))


@command("hand-over", group=work, short_help="Give claims to another officer, or end them.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--to", "officer", default="", metavar="ID", help="The officer (default: nobody; the claims end).")
@click.option("--note", default="", help="A note; required for claims of a colleague.")
@acting("officer")
def hand_over(context: Context, mrns: tuple[str, ...], officer: str, note: str, ident: str) -> None:
    """Give claims to another officer, or back to the office. With a note, also those of a colleague."""
    from libs.client.clearance.work import hand_over as hand_over_goods

    act(context, "officer", ident, lambda client: hand_over_goods(client, mrns, officer, note=note))


@command("proposals", group=work, short_help="List decisions that wait for a second person.")
@click.option("--office", default="", help="Only those of this office (default: all).")
@click.option("--own", is_flag=True, help="Those that you proposed, in place of those that you may confirm.")
@click.option("--first", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@acting("officer")
def proposals(context: Context, office: str, own: bool, first: int, ident: str) -> None:
    """List decisions of other officers that wait for a second person, by acceptance, with reason, officer and the time at which each lapses."""
    from libs.client.clearance.work import proposals as list_proposals

    async def ask() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await list_proposals(client, office, own=own, items_max=first)

    items = run(ask())
    context.emit(items, lambda terminal: _show_proposals(terminal, items))


@command("confirm", group=work, short_help="Confirm what another officer decided, so that it takes effect.")
@click.argument("mrn", metavar="MRN")
@click.option(
    "--if-version",
    type=click.IntRange(1),
    required=True,
    metavar="VERSION",
    help="The version that you saw (luxor show and luxor work proposals print it).",
)
@click.option("--reason", default="CHECKED_AND_IN_ORDER", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note for colleagues.")
@acting("officer")
def confirm(context: Context, mrn: str, if_version: int, reason: str, note: str, ident: str) -> None:
    """Confirm a decision that another officer proposed: it takes effect now."""
    _decide(context, "confirm", (mrn,), reason, note, ident, if_version)


@command("refuse", group=work, short_help="Refuse what another officer decided.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note for colleagues.")
@acting("officer")
def refuse(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Refuse decisions that other officers proposed: the goods stay held."""
    _decide(context, "refuse", mrns, reason, note, ident)


@command("withdraw", group=work, short_help="Withdraw what you proposed.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", default="OFFICER_DECISION", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note for colleagues.")
@acting("officer")
def withdraw(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Withdraw decisions that you proposed and that nobody confirmed: the goods stay held."""
    _decide(context, "withdraw", mrns, reason, note, ident)


def _decide(
    context: Context,
    verdict: str,
    mrns: tuple[str, ...],
    reason: str,
    note: str,
    ident: str,
    if_version: int | None = None,
) -> None:
    from libs.client.clearance.work import decide_proposals

    act(
        context,
        "officer",
        ident,
        lambda client: decide_proposals(client, verdict, mrns, reason=reason, note=note, expected_version=if_version),
    )


def _show_proposals(terminal: "Console", items: list[dict[str, Any]]) -> None:
    from libs.cli.views.clearance.proposals import proposal_words
    from libs.cli.views.text import LANES, coloured, minute, print_words, safe, short, table

    shown = table("MRN", "version", "lane", "decision", "by", "since", "lapses", "note", right=(1,))
    for each in items:
        proposal = each.get("proposal", {})
        shown.add_row(
            each.get("mrn", ""), str(each.get("version", "")), coloured(short(each.get("lane", ""), "LANE_"), LANES), proposal_words(proposal),
            safe(proposal.get("proposed_by", "")), minute(proposal.get("proposed_at", "")), minute(proposal.get("due_at", "")),
            safe(proposal.get("note", "")),
        )  # fmt: skip
    print_words(terminal, shown)


def _show(terminal: "Console", items: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import LANES, coloured, minute, print_words, safe, short, stacked, table

    shown = table(
        "MRN, house document", "lane", "held by", "reasons", "accepted", "arrived", "time limit", "claimed by"
    )
    for each in items:
        shown.add_row(
            stacked(each.get("mrn", ""), safe(each.get("house_document_number", ""))), coloured(short(each.get("lane", ""), "LANE_"), LANES),
            _cause(each), stacked(*each.get("reasons", ())), minute(each.get("accepted_at", "")), minute(each.get("arrived_at", "")) or "–",
            _limit(each), stacked(safe(each.get("claimed_by", "")) or "–", safe(each.get("claim_note", ""))),
        )  # fmt: skip
    print_words(terminal, shown)


def _show_unjudged(terminal: "Console", items: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import LANES, coloured, minute, print_words, safe, short, stacked, table

    shown = table(
        "MRN, house document", "office", "lane", "held by", "rules without result", "accepted", "claimed by", right=(4,)
    )
    for each in items:
        shown.add_row(
            stacked(each.get("mrn", ""), safe(each.get("house_document_number", ""))), safe(each.get("office", "")) or "–",
            coloured(short(each.get("lane", ""), "LANE_"), LANES), _cause(each) or "–", str(each.get("unjudged_rules", "unknown")),
            minute(each.get("accepted_at", "")), safe(each.get("claimed_by", "")) or "–",
        )  # fmt: skip
    print_words(terminal, shown)
    if items:
        terminal.print("Request what a filing lacks: luxor control order MRN --form information")


def _show_contradicted(terminal: "Console", items: list[dict[str, Any]]) -> None:
    from libs.cli.views.clearance.contradictions import contradiction_lines
    from libs.cli.views.text import STATES, coloured, minute, print_words, safe, short, stacked, table

    shown = table("MRN, house document", "state", "accepted", "element: value of the consignment; of the part")
    for each in items:
        shown.add_row(
            stacked(each.get("mrn", ""), safe(each.get("house_document_number", ""))),
            coloured(short(each.get("state", ""), "STATE_"), STATES),
            minute(each.get("accepted_at", "")),
            stacked(*contradiction_lines(each)),
        )
    print_words(terminal, shown)


def _limit(item: dict[str, Any]) -> str:
    """Return in words which time limit of goods runs, and until when: that of their presentation, or of their temporary storage."""
    from libs.cli.views.text import minute

    if item.get("presentation_due_at"):
        return f"present by {minute(item['presentation_due_at'])}"
    return f"storage until {minute(item['storage_ends_at'])}" if item.get("storage_ends_at") else "–"


def _cause(item: dict[str, Any]) -> str:
    """Return what holds goods, in words, and who decided what a second person is to confirm."""
    from libs.cli.views.text import safe, short, words

    cause = words(short(item.get("cause", ""), "HOLD_CAUSE_"))
    proposer = item.get("proposal", {}).get("proposed_by", "")
    return f"{cause}; {safe(proposer)} waits for a second person" if proposer else cause

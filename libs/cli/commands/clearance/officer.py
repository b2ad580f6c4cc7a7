"""`luxor hold`, `luxor release`, `luxor inspect` and `luxor dispose`: the commands of officers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, caller_of, command, run
from libs.cli.views.text import refusal

if TYPE_CHECKING:
    from libs.client.client import Client

PAGE_MAX = 1_000
"""Consignments that the answer to a command on all goods of a transport lists: those that stay held, or were refused."""


def act(context: Context, role: str, ident: str, send: Callable[["Client"], Awaitable[list[dict[str, Any]]]]) -> None:
    """Send what a party asks for, and print the result of each consignment; refusals end with exit code 1."""

    async def work() -> list[dict[str, Any]]:
        async with context.client(role, ident) as client:
            return await send(client)

    show_results(context, run(work()))


def show_results(context: Context, results: list[dict[str, Any]]) -> None:
    """Print the result of each consignment; refusals end with exit code 1."""

    def show(terminal: Any) -> None:
        from libs.cli.views.text import STATES, coloured, print_words, short, table

        shown = table("MRN", "state now", "version", "", right=(2,))
        for each in results:
            waits = "waits for a second person: another officer confirms it (luxor work confirm)"
            shown.add_row(
                each.get("mrn", ""),
                coloured(short(each.get("state", ""), "STATE_"), STATES),
                str(each.get("version", "–")),
                refusal(each) or (waits if each.get("awaits_second_person") else ""),
            )
        print_words(terminal, shown)

    context.emit(results, show)
    if any(each.get("error") for each in results):
        raise click.exceptions.Exit(REFUSED)


def goods_options(step: Callable[..., None]) -> Callable[..., None]:
    """Add the options that name the goods of a command, for `act_on_goods`."""
    for option in (
        click.option("--request-id", default="", metavar="ID", help="Continue a request that failed, which prints its id (default: a new one)."),
        click.option("--if-version", type=click.IntRange(1), metavar="VERSION", help="Only if VERSION is still the version of the one consignment."),
        click.option("--master", default="", metavar="NUMBER", help="All goods under this master document or receptacle."),
        click.option("--house", "houses", multiple=True, metavar="NUMBER", help="House document; may be repeated."),
        click.argument("mrns", metavar="[MRN...]", nargs=-1),
    ):  # fmt: skip
        step = option(step)
    return step


def act_on_goods(
    context: Context,
    request: Any,
    send: Callable[["Client", Any], Awaitable[dict[str, Any]]],
    counts: Mapping[str, str],
    *,
    roles: Sequence[str],
    caller: str,
    mrns: tuple[str, ...],
    houses: tuple[str, ...],
    master: str,
    if_version: int | None,
    request_id: str,
) -> None:
    """Send a request on goods, and print the result of each that is named, or the counts of all under a master document by their texts.

    Refusals end with exit code 1.
    """
    from libs.client.clearance.goods.named import name_goods

    role, ident = caller_of(caller, roles)
    if bool(mrns or houses) == bool(master):
        raise click.UsageError("name MRNs or --house, or --master")
    if if_version is not None and len(mrns) + len(houses) != 1:
        raise click.UsageError("--if-version is the version of one consignment: name one MRN")
    name_goods(request, mrns, house_documents=houses, master=master, expected_version=if_version, request_id=request_id)

    async def work() -> dict[str, Any]:
        async with context.client(role, ident) as client:
            return await send(client, request)

    try:
        answer = run(work())
    except BaseException:
        click.echo(f"To continue this request, repeat the command with --request-id {request.request_id}", err=True)
        raise
    if master:
        show_counts(context, answer, counts)
    else:
        show_results(context, answer.get("results", []))


def show_counts(context: Context, answer: dict[str, Any], counts: Mapping[str, str]) -> None:
    """Print what was done with the goods under a master document, and the first that were refused; refusals end with exit code 1."""

    def show(terminal: Any) -> None:
        from libs.cli.views.text import table

        shown = table("consignments", "", right=(0,))
        shown.add_row(f"{int(answer.get('consignments', 0)):,}", "under the document")
        for name, text in {**counts, "refused": "[yellow]refused[/]"}.items():
            if answer.get(name):
                shown.add_row(f"{int(answer[name]):,}", text)
        terminal.print(shown)
        for each in answer.get("results", ()):
            terminal.print(f"{each.get('mrn', '')} {refusal(each)}")

    context.emit(answer, show)
    if int(answer.get("refused", 0)):
        raise click.exceptions.Exit(REFUSED)


@command("hold", short_help="Hold goods, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", default="OFFICER_DECISION", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note; filers do not see it.")
@acting("officer")
def hold(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Hold goods, also released ones."""
    from libs.client.clearance.officers import act as decide

    act(context, "officer", ident, lambda client: decide(client, "hold", mrns, reason=reason, note=note))


@command("release", short_help="Lift holds, as an officer.")
@click.argument("mrns", metavar="[MRN...]", nargs=-1)
@click.option("--master", default="", metavar="NUMBER", help="All that is held under this master document.")
@click.option("--flight", default="", metavar="TEXT", help="All that is held of this flight, voyage or trip.")
@click.option("--arrived", default="", metavar="DAY", help="Day (UTC) of the flight's arrival, such as 2026-11-30.")
@click.option("--lane", "lanes", multiple=True, metavar="LANE", help="In bulk: only this lane; may be repeated.")
@click.option(
    "--only-reason",
    "only_reasons",
    multiple=True,
    metavar="REASON",
    help="In bulk: only holds for this reason; may be repeated.",
)
@click.option(
    "--override-officers", is_flag=True, help="In bulk: lift holds by officers too, also those of your colleagues."
)
@click.option("--end-delays", is_flag=True, help="In bulk: end the time in which an officer may inspect green goods.")
@click.option("--count", is_flag=True, help="With --master: release nothing, and count what is held, and why.")
@click.option("--reason", default="CHECKED_AND_IN_ORDER", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note; filers do not see it.")
@click.option(
    "--if-version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if VERSION is still the current version of MRN (luxor show prints it); required if a screening match or an alarm holds the goods.",
)
@acting("officer")
def release(
    context: Context,
    mrns: tuple[str, ...],
    master: str,
    flight: str,
    arrived: str,
    reason: str,
    note: str,
    if_version: int | None,
    count: bool,
    ident: str,
    **selection: Any,
) -> None:
    """Lift holds: goods that have arrived are released now, the others when they arrive.

    Name consignments by MRN, or all goods of a transport by --master, or by --flight and --arrived. In bulk only holds by the decision on a lane are
    lifted; screening matches, violations, seizures, open debts and goods that need a second person are never released in bulk. Goods of which a rule
    requires a second person wait until another officer confirms the release (`luxor work confirm`).
    """
    from libs.client.clearance.officers import act as decide
    from libs.client.clearance.officers import bulk_release, bulk_release_of, transport_summary
    from libs.client.row_errors import ElementError

    if sum((bool(mrns), bool(master), bool(flight))) != 1 or bool(flight) != bool(arrived):
        raise click.UsageError("name MRNs, or --master, or --flight with --arrived")
    if if_version is not None and len(mrns) != 1:
        raise click.UsageError("--if-version is the version of one consignment: name one MRN")
    if count and (not master or any(selection.values())):
        raise click.UsageError("--count belongs to --master alone")
    if mrns:
        if any(selection.values()):
            raise click.UsageError(
                "--lane, --only-reason, --override-officers and --end-delays belong to --master and --flight"
            )
        act(
            context,
            "officer",
            ident,
            lambda client: decide(client, "release", mrns, reason=reason, note=note, expected_version=if_version),
        )
        return
    try:
        order = bulk_release_of(
            master=master, flight=flight, arrived=arrived, reason=reason, note=note, page_size=PAGE_MAX, **selection
        )
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None

    async def work() -> dict[str, Any]:
        async with context.client("officer", ident) as client:
            return await (transport_summary(client, master) if count else bulk_release(client, order))

    answer = run(work())

    def show(terminal: Any) -> None:
        from libs.cli.views.consignment import render_bulk_release

        terminal.print(render_bulk_release(answer, summary=count))

    context.emit(answer, show)


@command("inspect", short_help="Record the result of an inspection, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--method", default="physical", show_default=True, metavar="METHOD", help="documents, scan, physical or laboratory."
)
@click.option("--result", type=click.Choice(("conform", "violation")), help="Result for the whole consignment.")
@click.option(
    "--violation",
    default="",
    metavar="VIOLATION",
    help="Violation of the whole consignment: value, description, origin, quantity, prohibited, documents, counterfeit, unsafe, parties, other.",
)
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="N=VALUE",
    help="Result for item N, instead of --result: conform, or a violation, such as 2=counterfeit; may be repeated.",
)
@click.option("--note", default="", help="A note; filers do not see it.")
@acting("officer")
def inspect(
    context: Context,
    mrns: tuple[str, ...],
    method: str,
    result: str | None,
    violation: str,
    items: tuple[str, ...],
    note: str,
    ident: str,
) -> None:
    """Record the result of an inspection of held goods, or of released goods (an audit). It neither holds nor releases the goods."""
    from libs.client.clearance.officers import VIOLATIONS, inspection_of
    from libs.client.clearance.officers import inspect as record
    from libs.client.row_errors import ElementError

    if not result and not items:
        raise click.UsageError("give --result, or --item for each inspected item")
    if result == "violation" and not violation and not items:
        raise click.UsageError(f"give the --violation: {', '.join(VIOLATIONS)}")
    try:
        inspections = [
            inspection_of(each, method=method, result=result or "", violation=violation, items=items, note=note)
            for each in mrns
        ]
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    act(context, "officer", ident, lambda client: record(client, inspections))


@command("dispose", short_help="Seize goods, or decide what becomes of them, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--kind",
    required=True,
    metavar="KIND",
    help="seized, seizure_lifted, confiscated, destroyed, re_exported, abandoned or invalidated.",
)
@click.option(
    "--reason",
    default="OFFICER_DECISION",
    show_default=True,
    help="Stable reason, UPPER_SNAKE_CASE; filers read it.",
)
@click.option("--document", default="", metavar="NUMBER", help="Transport document of a re-export; required for it.")
@click.option("--note", default="", help="A note; filers do not see it.")
@click.option(
    "--if-version",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Only if VERSION is still the current version of MRN (luxor show prints it); required for a final decision if a screening match or an alarm "
    "holds the goods.",
)
@acting("officer")
def dispose(
    context: Context,
    mrns: tuple[str, ...],
    kind: str,
    reason: str,
    document: str,
    note: str,
    if_version: int | None,
    ident: str,
) -> None:
    """Seize goods that are not released, lift a seizure, or record their end: confiscated, destroyed under supervision, re-exported, abandoned to the
    State, or the declaration invalidated because the goods never came or it was lodged twice. Hold released goods first."""
    from libs.client.clearance.officers import disposal_of
    from libs.client.clearance.officers import dispose as record
    from libs.client.row_errors import ElementError

    if if_version is not None and len(mrns) > 1:
        raise click.UsageError("--if-version is the version of one consignment: name one MRN")
    try:
        disposals = [
            disposal_of(each, kind=kind, reason=reason, document=document, note=note, expected_version=if_version)
            for each in mrns
        ]
    except ElementError as error:
        raise click.UsageError(f"{error.sentence} {error.hint}") from None
    act(context, "officer", ident, lambda client: record(client, disposals))

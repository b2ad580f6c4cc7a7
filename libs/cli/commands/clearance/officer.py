"""`luxor hold`, `luxor release`, `luxor inspect` and `luxor dispose`: the commands of officers."""

from typing import Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

PAGE_MAX = 1_000
"""Consignments that stay held and that a bulk release lists."""


def _act(
    context: Context,
    verb: str,
    mrns: tuple[str, ...],
    reason: str,
    note: str,
    ident: str,
    if_version: int | None = None,
) -> None:
    from libs.client.clearance.officers import act

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await act(client, verb, mrns, reason=reason, note=note, expected_version=if_version)

    show_results(context, run(work()))


def show_results(context: Context, results: list[dict[str, Any]]) -> None:
    """Print the result of each consignment; refusals end with exit code 1."""

    def show(terminal: Any) -> None:
        from libs.cli.views.text import STATES, coloured, safe, short, table
        from libs.server.catalogue import command_hint

        shown = table("MRN", "state now", "version", "", right=(2,))
        for each in results:
            error = each.get("error")
            refusal = (
                f"[red]{error['reason']}[/] {safe(error.get('message', ''))}\n"
                f"[dim]→ {safe(command_hint(error['reason'], error.get('hint', '')))}[/]"
                if error
                else "waits for a second person: another officer confirms it (luxor work confirm)"
                if each.get("awaits_second_person")
                else ""
            )
            shown.add_row(
                each.get("mrn", ""),
                coloured(short(each.get("state", ""), "STATE_"), STATES),
                str(each.get("version", "–")),
                refusal,
            )
        terminal.print(shown)

    context.emit(results, show)
    if any(each.get("error") for each in results):
        raise click.exceptions.Exit(REFUSED)


@command("hold", short_help="Hold goods, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", default="OFFICER_DECISION", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="A note; filers do not see it.")
@acting("officer")
def hold(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Hold goods, also released ones."""
    _act(context, "hold", mrns, reason, note, ident)


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
        _act(context, "release", mrns, reason, note, ident, if_version)
        return
    from libs.client.clearance.officers import bulk_release, bulk_release_of, transport_summary
    from libs.client.row_errors import ElementError

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

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record(client, inspections)

    show_results(context, run(work()))


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

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record(client, disposals)

    show_results(context, run(work()))

"""`luxor hold`, `luxor release` and `luxor inspect`: what officers do."""

from typing import Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run


def _act(
    context: Context, verb: str, mrns: tuple[str, ...], reason: str, note: str, ident: str, seen: int | None = None
) -> None:
    from libs.client.clearance.officers import act

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await act(client, verb, mrns, reason=reason, note=note, seen=seen)

    tell(context, run(work()))


def tell(context: Context, told: list[dict[str, Any]]) -> None:
    """Tell what became of each consignment that was acted on; refusals end with exit code 1."""

    def show(out: Any) -> None:
        from libs.cli.views.text import STATES, coloured, safe, short, table
        from libs.server.catalogue import command_hint

        shown = table("MRN", "state now", "version", "", right=(2,))
        for each in told:
            error = each.get("error")
            why = (
                f"[red]{error['reason']}[/] {safe(error.get('message', ''))}\n"
                f"[dim]→ {safe(command_hint(error['reason'], error.get('hint', '')))}[/]"
                if error
                else ""
            )
            shown.add_row(
                each.get("mrn", ""),
                coloured(short(each.get("state", ""), "STATE_"), STATES),
                str(each.get("version", "–")),
                why,
            )
        out.print(shown)

    context.emit(told, show)
    if any(each.get("error") for each in told):
        raise click.exceptions.Exit(REFUSED)


@command("hold", short_help="Hold goods, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", default="OFFICER_DECISION", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="What is noted beside it; filers do not see it.")
@acting("officer")
def hold(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Hold goods, also ones that were released."""
    _act(context, "hold", mrns, reason, note, ident)


@command("release", short_help="Lift holds, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option("--reason", default="CHECKED_AND_IN_ORDER", show_default=True, help="Stable reason, UPPER_SNAKE_CASE.")
@click.option("--note", default="", help="What is noted beside it; filers do not see it.")
@click.option(
    "--seen",
    type=click.IntRange(1),
    metavar="VERSION",
    help="Release MRN only if it is still at the version that you looked at (luxor show tells it); needed where a hit on a list or an alarm holds.",
)
@acting("officer")
def release(context: Context, mrns: tuple[str, ...], reason: str, note: str, seen: int | None, ident: str) -> None:
    """Lift holds: goods that have arrived are released, others will be on arrival."""
    if seen is not None and len(mrns) > 1:
        raise click.UsageError("--seen is the version of one consignment: name one MRN")
    _act(context, "release", mrns, reason, note, ident, seen)


@command("inspect", short_help="Record what an inspection found, as an officer.")
@click.argument("mrns", metavar="MRN...", nargs=-1, required=True)
@click.option(
    "--method", default="physical", show_default=True, metavar="METHOD", help="documents, scan, physical or laboratory."
)
@click.option("--result", type=click.Choice(("conform", "violation")), help="What was found of the whole consignment.")
@click.option(
    "--violation",
    default="",
    metavar="VIOLATION",
    help="What was wrong with the whole: value, description, origin, quantity, prohibited, papers, counterfeit, unsafe, parties, other.",
)
@click.option(
    "--item",
    "items",
    multiple=True,
    metavar="N=VALUE",
    help="What was found of item N, in place of --result: conform, or what was wrong, such as 2=counterfeit; may be given several times.",
)
@click.option("--note", default="", help="What is noted beside it; filers do not see it.")
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
    """Record what an inspection of goods found that are held, or that were released (an audit). It releases and holds nothing."""
    from libs.client.clearance.officers import VIOLATIONS, inspection_of
    from libs.client.clearance.officers import inspect as record
    from libs.client.problem import Fault

    if not result and not items:
        raise click.UsageError("tell --result, or --item for each item that was inspected")
    if result == "violation" and not violation and not items:
        raise click.UsageError(f"tell by --violation what was wrong: {', '.join(VIOLATIONS)}")
    try:
        told = [
            inspection_of(each, method=method, result=result or "", violation=violation, items=items, note=note)
            for each in mrns
        ]
    except Fault as fault:
        raise click.UsageError(f"{fault.sentence} {fault.hint}") from None

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await record(client, told)

    tell(context, run(work()))

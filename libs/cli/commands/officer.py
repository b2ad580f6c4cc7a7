"""`luxor hold` and `luxor release`: what officers do."""

from typing import Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run


def _act(context: Context, verb: str, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    from libs.client.officers import act

    async def work() -> list[dict[str, Any]]:
        async with context.client("officer", ident) as client:
            return await act(client, verb, mrns, reason=reason, note=note)

    told = run(work())

    def show(out: Any) -> None:
        from libs.cli.text import STATES, coloured, safe, short, table

        shown = table("MRN", "state now", "version", "", right=(2,))
        for each in told:
            error = each.get("error")
            why = (
                f"[red]{error['reason']}[/] {safe(error.get('message', ''))}\n[dim]→ {safe(error.get('hint', ''))}[/]"
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
@acting("officer")
def release(context: Context, mrns: tuple[str, ...], reason: str, note: str, ident: str) -> None:
    """Lift holds: goods that have arrived are released, others will be on arrival."""
    _act(context, "release", mrns, reason, note, ident)

"""`luxor arrive`: reports the arrival of goods."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console


@command("arrive", short_help="Report that the goods under master documents or in receptacles have arrived.")
@click.argument("masters", metavar="[NUMBER]...", nargs=-1)
@click.option(
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Report all master documents of this file.",
)
@click.option("--receptacles", is_flag=True, help="Report the receptacles of the --manifest instead.")
@click.option("--conveyance", default="", help="Flight, voyage or trip, such as LX0188.")
@click.option("--place", default="", help="UN/LOCODE of the place of arrival, such as DEFRA.")
@click.option("--at", help="Time of arrival, such as 2026-07-01T08:30:00Z (default: now).")
@acting("carrier")
def arrive(
    context: Context,
    masters: tuple[str, ...],
    manifest: Path | None,
    receptacles: bool,
    conveyance: str,
    place: str,
    at: str | None,
    ident: str,
) -> None:
    """Report arrivals by the numbers of master transport documents or receptacles. Decided consignments that wait for them are released."""
    from libs.client.filing import arrivals
    from libs.client.plain import plain

    if bool(masters) == (manifest is not None):
        raise click.UsageError("Name master documents or receptacles, or a --manifest.")
    if receptacles and manifest is None:
        raise click.UsageError("--receptacles selects what is reported of a --manifest. Name one.")
    moment = _moment(at)

    async def work() -> list[dict[str, Any]]:
        if manifest is not None:
            requests = arrivals.of_manifest(manifest, at=moment, receptacles=receptacles)
        else:
            requests = (arrivals.arrival(each, at=moment, conveyance=conveyance, place=place) for each in masters)
        outcomes: list[dict[str, Any]] = []
        async with context.client("carrier", ident) as client:
            for batch in arrivals.in_calls(requests):
                answer = await client.record_arrivals(batch)
                for each, result in zip(batch, answer.results, strict=True):
                    outcomes.append({"master_document_number": each.master_document_number} | plain(result))
        return outcomes

    outcomes = run(work())
    context.emit(outcomes, lambda terminal: show_arrivals(terminal, outcomes))
    if any(each.get("errors") for each in outcomes):
        raise click.exceptions.Exit(REFUSED)


def _moment(at: str | None) -> int:
    from libs.customs.time import parse_instant

    if at is None:
        return time.time_ns() // 1000
    try:
        return parse_instant(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from None


def show_arrivals(terminal: "Console", outcomes: list[dict[str, Any]]) -> None:
    """Print the result of each arrival."""
    from libs.cli.views.text import print_words, safe, short, table, words
    from libs.server.catalogue import command_hint

    shown = table("master document", "outcome", "consignments", "released", "held", "waiting", right=(2, 3, 4, 5))
    for each in outcomes:
        shown.add_row(
            safe(each["master_document_number"]), words(short(each.get("outcome", ""), "ARRIVAL_OUTCOME_")),
            f"{each.get('consignments', 0):,}", f"{each.get('released', 0):,}", f"{each.get('held', 0):,}",
            f"{each.get('waiting', 0):,}",
        )  # fmt: skip
    print_words(terminal, shown)
    for each in outcomes:
        if each.get("not_arrived"):
            terminal.print(
                f"{each['not_arrived']:,} in {safe(each['master_document_number'])} did not arrive by it: they are in other receptacles as well, or "
                "bound to the carrier by their master document alone. Report their master document once all of them came.",
                soft_wrap=True,
            )
    for error in (error for each in outcomes for error in each.get("errors", ())):
        hint = command_hint(error["reason"], error.get("hint", ""))
        terminal.print(f"[red]{error['reason']}[/] {safe(error.get('message', ''))}", soft_wrap=True)
        terminal.print(f"[dim]→ {safe(hint)}[/]", soft_wrap=True)

"""`luxor risk seeds`: lists the published seeds of draws, and proves the draw of a consignment."""

from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

_SAYS: Final = {
    "PROVED": "[green]proved[/]: the draw is below the probability in the answer",
    "REFUTED": "[bold red]refuted[/]",
    "NOT_DRAWN": "[green]not drawn[/]: the lane has another cause; compare these draws with the rates of the office",
    "NOTHING_DRAWN": "[green]no draws[/] at the office",
    "SEED_NOT_PUBLISHED": "[yellow]not yet[/]: the seed is still secret",
    "SEED_UNKNOWN": "[bold red]unknown[/]: the seed of this commitment is not stored",
}


@command("seeds", cls=click.Group, invoke_without_command=True, short_help="List the seeds of draws, and prove a draw.")
@acting("analyst")
def seeds(context: Context, ident: str) -> None:
    """List for each day the commitment to the seed of its draws, the latest day first, and the seed itself if it is published.

    A second party should archive the commitments, which are published a week ahead.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    from libs.client.risk import draws

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [draws.plain_seed(each) for each in await draws.seeds(client)]

    published = run(work())
    context.emit({"seeds": published}, lambda terminal: _list(terminal, published))


@command("verify", group=seeds, short_help="Prove the draw of a consignment.")  # type: ignore[arg-type]
@click.argument("mrn")
@acting("analyst")
def verify(context: Context, mrn: str, ident: str) -> None:
    """Repeat the draw of the consignment MRN from the seed of its day and compare it with each stored answer.

    Exits with 1 unless every draw is proved.
    """
    from libs.client.risk import draws

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return await draws.verified(client, mrn)

    answers = run(work())
    context.emit({"answers": answers}, lambda terminal: _show(terminal, mrn, answers))
    if not draws.decided(answers):
        raise click.exceptions.Exit(REFUSED)


def _list(terminal: "Console", published: list[dict[str, Any]]) -> None:
    for each in published:
        late = "" if each["made_before_its_day"] else f"  [yellow]made on {each['made_at'][:10]}, not before its day[/]"
        terminal.print(f"{each['day']}  {each['commitment']}{late}", soft_wrap=True)
        if "seed" in each:
            terminal.print(f"            [dim]seed[/] {each['seed']}", soft_wrap=True)


def _show(terminal: "Console", mrn: str, answers: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, words

    if not answers:
        terminal.print(f"Risk never assessed {safe(mrn)} for clearance, or no longer stores the assessment.")
    for each in answers:
        terminal.print(f"version {each['version']}, {words(each['lane'])}: {_SAYS[each['verdict']]}")
        if "why" in each:
            terminal.print(f"  {safe(each['why'])}")
        if "draw" in each:
            terminal.print(
                f"  {words(each['cause'])}: draw {each['draw']:.9f}, probability {each['chance_ppm'] / 1e6:.6f}"
            )
        if "published_from" in each:
            terminal.print(f"  the seed of {each['day']} is published from {each['published_from']} on")
        elif not each.get("made_before_its_day", True):
            terminal.print(f"  [yellow]the seed of {each['day']} was not published before its day[/]")
        for name, share in each.get("draws", {}).items():
            terminal.print(f"  [dim]{words(name)}: {share:.9f}[/]")

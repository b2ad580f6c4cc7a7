"""`luxor risk seeds`: what is published of the seeds of the draws, and the proof of a consignment's draw."""

from typing import TYPE_CHECKING, Any, Final

import click

from libs.cli.common import REFUSED, Context, acting, command, run

if TYPE_CHECKING:
    from rich.console import Console

_SAYS: Final = {
    "PROVED": "[green]proved[/]: the draw is below the chance that the answer tells",
    "REFUTED": "[bold red]refuted[/]",
    "NOT_DRAWN": "[green]not drawn[/]: something else chose the lane; these were its draws, to be compared with the rates of the office",
    "NOTHING_DRAWN": "[green]nothing is drawn[/] at the office",
    "SEED_NOT_TOLD": "[yellow]not yet[/]: the seed is still secret",
    "SEED_UNKNOWN": "[bold red]unknown[/]: no seed is kept that this was published of",
}


@command("seeds", cls=click.Group, invoke_without_command=True, short_help="Tell the seeds of draws, and prove a draw.")
@acting("analyst")
def seeds(context: Context, ident: str) -> None:
    """Show for each day what is published of the seed that consignments accepted on it are drawn by, the latest day first, and
    the seed itself once the day is long past. What is published a week ahead is worth archiving by somebody else.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    from libs.client.risk import draws

    async def work() -> list[dict[str, Any]]:
        async with context.client("analyst", ident) as client:
            return [draws.plain_seed(each) for each in await draws.seeds(client)]

    found = run(work())
    context.emit({"seeds": found}, lambda out: _list(out, found))


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

    found = run(work())
    context.emit({"answers": found}, lambda out: _show(out, mrn, found))
    if not draws.decided(found):
        raise click.exceptions.Exit(REFUSED)


def _list(out: "Console", found: list[dict[str, Any]]) -> None:
    for each in found:
        late = "" if each["made_before_its_day"] else f"  [yellow]made on {each['made_at'][:10]}, not before its day[/]"
        out.print(f"{each['day']}  {each['commitment']}{late}", soft_wrap=True)
        if "seed" in each:
            out.print(f"            [dim]seed[/] {each['seed']}", soft_wrap=True)


def _show(out: "Console", mrn: str, found: list[dict[str, Any]]) -> None:
    from libs.cli.views.text import safe, words

    if not found:
        out.print(f"Risk never assessed {safe(mrn)} for clearance, or no longer keeps it.")
    for each in found:
        out.print(f"version {each['version']}, {words(each['lane'])}: {_SAYS[each['verdict']]}")
        if "why" in each:
            out.print(f"  {safe(each['why'])}")
        if "draw" in each:
            out.print(
                f"  {words(each['cause'])}: drew {each['draw']:.9f}, the chance was {each['chance_ppm'] / 1e6:.6f}"
            )
        if "told_from" in each:
            out.print(f"  the seed of {each['day']} is published from {each['told_from']} on")
        elif not each.get("made_before_its_day", True):
            out.print(f"  [yellow]the seed of {each['day']} was not published before its day[/]")
        for name, share in each.get("draws", {}).items():
            out.print(f"  [dim]{words(name)}: {share:.9f}[/]")

"""`luxor simulate`: writes simulated traffic to a file."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from libs.cli.common import IDS, Context, command, console

if TYPE_CHECKING:
    from libs.simulator import SimulatedConsignment


@command("simulate", short_help="Write a manifest of simulated consignments.")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same traffic."
)
@click.option("--scenario", default="everyday", show_default=True, help="A scenario's name, or a YAML file.")
@click.option("--count", type=click.IntRange(0), help="Consignments of the first day (default: 10,000).")
@click.option("--days", type=click.IntRange(1), help="Instead of --count: number of days of the scenario.")
@click.option(
    "--carrier",
    default=IDS["carrier"],
    show_default=True,
    metavar="ID",
    help="Carrier in the filings: the id of the certificate that may report their arrival. Empty: the carriers of the scenario.",
)
def simulate(
    context: Context, path: Path, seed: int, scenario: str, count: int | None, days: int | None, carrier: str
) -> None:
    """Write PATH as JSON Lines, ready to be filed, and two further files with its labels and its arrivals.

    The labels state which consignments are in violation, and of which kind; the manifest itself does not.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from libs.simulator import ScenarioError, Simulator, write_manifest

    if count is not None and days is not None:
        raise click.UsageError("Give --count or --days, not both.")
    try:
        simulator = Simulator(seed, scenario)
    except ScenarioError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from None
    if days is None:
        total = 10_000 if count is None else count
        consignments = simulator.manifest(total)
    else:
        whole = min(days, simulator.scenario.days)
        total = whole * simulator.scenario.daily_volume
        consignments = (each for day in range(whole) for each in simulator.day(day))
    if carrier:
        consignments = (_carried(each, carrier) for each in consignments)
    columns = (TextColumn("Simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(errors=True), transient=True) as bar:
        task = bar.add_task("simulate", total=total)
        written = write_manifest(path, islice(consignments, total), progress=lambda rows: bar.advance(task, rows))
    result = msgspec.to_builtins(written)
    result["arrivals"] = len(written.arrivals)

    def show(_terminal: object) -> None:
        here = console()
        here.print(
            f"{written.consignments:,} consignments on {len(written.arrivals):,} flights: [bold]{written.path}[/]",
            soft_wrap=True,
        )
        here.print(f"Labels of the {written.labelled:,} in violation: {written.truth_path}", soft_wrap=True)
        here.print(
            f"Next:  [bold]luxor file {written.path}[/]  and  [bold]luxor arrive --manifest {written.path}[/]",
            soft_wrap=True,
        )

    context.emit(result, show)


def _carried(each: "SimulatedConsignment", carrier: str) -> "SimulatedConsignment":
    each.message.carrier_identifier = carrier
    return each

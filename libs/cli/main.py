"""The `luxor` command. Each command is a module of its own, imported when it is called, so that `--help` is quick."""

import sys
from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final = {
    "demo": ("simulation.demo", "See the whole system at work on simulated traffic, then stop it."),
    "up": ("operations.system", "Start the whole system and leave it serving."),
    "down": ("operations.system", "Stop what `up` started."),
    "status": ("operations.system", "Tell which processes run and whether they are ready."),
    "file": ("filing.file", "File consignments from a CSV or JSON Lines file."),
    "arrive": ("filing.arrive", "Announce that the goods under master documents have arrived."),
    "carriers": ("clearance.carriers", "Which carriers may report which arrivals; what arrivals released."),
    "show": ("filing.show", "Tell all that is known about consignments, and why."),
    "assessment": ("risk.assessment", "Tell what risk answered for a consignment, and why."),
    "trace": ("operations.trace", "Tell where a consignment's time went, service by service."),
    "notices": ("filing.notices", "Read a filer's or carrier's notices."),
    "quote": ("filing.quote", "Tell what goods would cost landed."),
    "goods": ("filing.goods", "Tell whether goods may be sent, and with what papers."),
    "risk": ("risk.group", "What analysts do: rule sets, models, backtests, seeds of draws."),
    "revenue": ("revenue.group", "What treasuries do: rulebooks, scheme numbers, ledger, what-if."),
    "jobs": ("operations.jobs", "List, show and cancel backtests, trainings and what-if runs."),
    "hold": ("clearance.officer", "Hold goods, as an officer."),
    "release": ("clearance.officer", "Lift holds, as an officer."),
    "inspect": ("clearance.officer", "Record what an inspection found, as an officer."),
    "return": ("clearance.corrections", "Tell that released goods went back or were destroyed."),
    "adjust": ("clearance.corrections", "Correct value or goods, as an officer, and have them assessed again."),
    "stats": ("operations.stats", "Count what crossed the border, what it brought in, and how long it took."),
    "recount": ("operations.stats", "Count everything again that clearance still knows, as an operator."),
    "dead-letters": ("operations.dead_letters", "Look at events that could not be applied, and replay them."),
    "migrate": ("operations.migrate", "Bring a service's database to the schema of this release."),
    "simulate": ("simulation.simulate", "Write a manifest of simulated consignments."),
    "load": ("simulation.load", "File simulated consignments at a bounded rate, for a bounded time."),
    "prepare": ("operations.prepare", "Write the certificates and passwords that containers start with."),
    "certificate": ("operations.certificate", "Issue certificates from the local certificate authority."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class Commands(LazyGroup):
    """All commands."""

    modules = COMMANDS


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="luxor", prog_name="luxor")
def luxor() -> None:
    """Luxor clears cross-border parcels. Begin with `luxor demo`, or with `luxor up` and `luxor file`.

    Every command takes --json, for machines. Exit codes: 0 done, 1 something was refused or not found, 2 wrong use,
    3 the system cannot be reached, 130 interrupted.
    """


def main() -> None:
    """Run the command line."""
    try:
        # Outside of its standalone mode click returns the code of an Exit, and None where a command just ends.
        sys.exit(luxor(prog_name="luxor", standalone_mode=False) or 0)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader has seen enough (head, less).
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()

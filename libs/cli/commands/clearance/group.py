"""`luxor clearance`: what operators do with the stored consignments. Each command is in a module of its own, imported when it is called."""

from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "check": ("clearance.check", "Check the stored consignments against their events."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class ClearanceCommands(LazyGroup):
    """Commands on the stored consignments."""

    modules = COMMANDS


@click.command(cls=ClearanceCommands)
def clearance() -> None:
    """For operators: check the stored consignments.

    Every command has --json, for programs.
    """

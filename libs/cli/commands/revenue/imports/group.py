"""`luxor revenue import`: the group of its commands."""

from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "bank-statement": ("revenue.imports.bank_statement", "Post the payments of a bank statement (camt.053)."),
    "tariff": ("revenue.imports.tariff", "Import a published tariff as law files."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class ImportCommands(LazyGroup):
    """The commands that import published files."""

    modules = COMMANDS


@click.command("import", cls=ImportCommands, short_help="Import bank statements and published tariffs.")
def import_() -> None:
    """Import files as banks and authorities write them. A file with an error changes nothing.

    Every command has --json, for programs.
    """

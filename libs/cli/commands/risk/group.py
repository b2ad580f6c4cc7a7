"""`luxor risk`: what analysts do. Each command is in a module of its own, imported when it is called."""

from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "rules": ("risk.rules", "Check, propose and activate rule sets."),
    "seeds": ("risk.seeds", "List the seeds of draws, and prove a draw."),
    "backtest": ("risk.backtest", "Apply a rule set or a model to stored assessments."),
    "train": ("risk.models", "Train a model on outcomes of inspections, or on a labelled file."),
    "models": ("risk.models", "List, propose and activate models."),
    "violations": ("risk.models", "Estimate the share of violations among all consignments."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class RiskCommands(LazyGroup):
    """Analysts' commands."""

    modules = COMMANDS


@click.command(cls=RiskCommands)
def risk() -> None:
    """For analysts: rule sets, models, backtests, seeds of draws.

    Every command has --json, for programs.
    """

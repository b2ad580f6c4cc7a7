"""`luxor risk`: what analysts do. Each command is in a module of its own, imported when it is called."""

import importlib
from typing import Any, Final

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "rules": ("risk_rules", "Check, propose and activate rule sets."),
    "seeds": ("risk_seeds", "Tell the seeds of draws, and prove a draw."),
    "backtest": ("risk_backtest", "Try a rule set or a model on stored assessments."),
    "train": ("risk_models", "Train a model on outcomes of inspections, or on a labelled file."),
    "models": ("risk_models", "Tell the models that are kept, and where each stands."),
    "model-show": ("risk_models", "Tell a model, its drift, and how it does beside the champion."),
    "model-propose": ("risk_models", "Hand in a model file as a candidate."),
    "model-challenge": ("risk_models", "Let a model score beside the champion, without effect."),
    "model-activate": ("risk_models", "Put the challenger in force, as a second person."),
    "model-retire": ("risk_models", "Take a model out."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class RiskCommands(click.Group):
    """Imports a command when it is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in their order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            return None
        module: Any = importlib.import_module(f"libs.cli.commands.{COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=RiskCommands)
def risk() -> None:
    """What analysts do: propose and activate rule sets, train and try models, run backtests, tell seeds of draws.

    Every command takes --json, for machines.
    """

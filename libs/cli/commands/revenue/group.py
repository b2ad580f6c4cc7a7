"""`luxor revenue`: what treasuries and those who look after law do. Each command is in a module of its own, imported when it is called."""

from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "schemes": ("revenue.schemes", "Keep the register of scheme numbers."),
    "rulebooks": ("revenue.rulebooks", "Tell which law is loaded, and how much of it nobody has verified."),
    "account": ("revenue.ledger", "Open a deferred account or a guarantee, or change it."),
    "accounts": ("revenue.ledger", "Tell the deferred accounts and guarantees that were opened."),
    "open": ("revenue.ledger", "Tell which consignments of an account are open."),
    "balances": ("revenue.ledger", "Tell what accounts stand at, now or at a past moment."),
    "entries": ("revenue.ledger", "Tell the entries of a consignment or an account."),
    "statement": ("revenue.ledger", "Tell an account's statement for a month."),
    "payments": ("revenue.ledger", "Book payments, from a CSV."),
    "payouts": ("revenue.payouts", "Book payouts, from a CSV, or tell those that are booked."),
    "unmatched": ("revenue.ledger", "Tell payments that nothing was found for."),
    "reconcile": (
        "revenue.reconcile",
        "Prove that ledger, assessments and statistics agree, and name each difference.",
    ),
    "chains": ("revenue.reconcile", "Prove that no entry of the ledger was altered."),
    "check": ("revenue.check", "Tell the mistakes of law files, with file, line and rule."),
    "what-if": ("revenue.what_if", "Try a reform on consignments that were assessed."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class RevenueCommands(LazyGroup):
    """The commands of revenue."""

    modules = COMMANDS


@click.command(cls=RevenueCommands)
def revenue() -> None:
    """What treasuries and those who look after law do: see which law is loaded, keep scheme numbers, look into the ledger, try reforms.

    Every command takes --json, for machines.
    """

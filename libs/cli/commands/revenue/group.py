"""`luxor revenue`: the commands of treasuries and of analysts of law. Each command is in a module of its own, imported when it is called."""

from typing import Final

import click

from libs.cli.lazy import LazyGroup

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "schemes": ("revenue.schemes", "Maintain the register of scheme numbers."),
    "rulebooks": ("revenue.rulebooks", "Show which law is loaded, and how much of it is not verified."),
    "account": ("revenue.ledger", "Open a deferred account or a guarantee, or change it."),
    "accounts": ("revenue.ledger", "List the deferred accounts and guarantees."),
    "open-items": ("revenue.ledger", "List the open items of an account."),
    "ageing": ("revenue.accounting.ageing", "Show the open items of an account by days overdue."),
    "dunning": ("revenue.accounting.ageing", "List the overdue items of an account by level."),
    "balances": ("revenue.ledger", "Show the balances of accounts, now or at an earlier moment."),
    "entries": ("revenue.ledger", "List the entries of a consignment or an account."),
    "statement": ("revenue.ledger", "Show an account's statement for a month."),
    "closes": ("revenue.closes", "List what accounts owe for a month, and when it is due."),
    "payments": ("revenue.ledger", "Post payments from a CSV."),
    "payouts": ("revenue.payouts", "Post payouts from a CSV, or list the posted ones."),
    "unmatched": ("revenue.ledger", "List payments that match no open item."),
    "journal": ("revenue.accounting.journal", "Export the entries of some days, with control totals."),
    "check-return": (
        "revenue.accounting.vendor_return",
        "Compare a vendor's return with the statement of its scheme number.",
    ),
    "reconcile": (
        "revenue.reconcile",
        "Prove that ledger, assessments and statistics agree, and name each difference.",
    ),
    "chains": ("revenue.reconcile", "Prove that no entry of the ledger was altered."),
    "import": ("revenue.imports.group", "Import bank statements and published tariffs."),
    "check": ("revenue.check", "List the errors of law files, with file, line and rule."),
    "law": ("revenue.law", "Propose, review and confirm versions of law."),
    "what-if": ("revenue.what_if", "Apply a reform to consignments that were assessed."),
}
"""Commands in the order of the help: module under libs.cli.commands and short help."""


class RevenueCommands(LazyGroup):
    """The commands of revenue."""

    modules = COMMANDS


@click.command(cls=RevenueCommands)
def revenue() -> None:
    """For analysts of law, officers and treasuries: loaded law, scheme numbers, the ledger, what-if.

    Every command has --json, for programs.
    """

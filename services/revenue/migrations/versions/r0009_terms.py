"""Columns get the terms of the glossary: jobs, payments and payouts, positions, reassessments, the periodic proof of the whole ledger."""

from typing import Final

from alembic import op

revision = "0009"
down_revision = "0008"

RENAMED: Final = (
    ("job", "told", "summary"),
    ("ledger_payment", "takes_back", "reverses_id"),
    ("ledger_payment", "taken_back_by", "reversed_by"),
    ("ledger_payment", "sent_back_by", "returned_by"),
    ("ledger_payout", "takes_back", "reverses_id"),
    ("ledger_payout", "taken_back_by", "reversed_by"),
    ("ledger_payout", "sends_back", "returns_payment_id"),
    ("ledger_position", "told", "announced"),
    ("reassessed", "told_at", "announced_at"),
    *(
        ("ledger_proof_state", f"again_{name}", f"full_{name}")
        for name in ("partition", "number", "hash", "day", "after", "began_at", "ended_at")
    ),
)
"""Table, column, and its new name."""


def upgrade() -> None:
    """Rename the columns; their content stays."""
    for table, column, name in RENAMED:
        op.alter_column(table, column, new_column_name=name)

"""Columns get the terms of the glossary: jobs, payments and payouts, positions, reassessments, the periodic proof of the whole ledger."""

from typing import Final

from alembic import op

revision = "0009"
down_revision = "0008"

RENAMES: Final = (
    "alter table job rename column told to summary",
    "alter table ledger_payment rename column takes_back to reverses_id",
    "alter table ledger_payment rename column taken_back_by to reversed_by",
    "alter table ledger_payment rename column sent_back_by to returned_by",
    "alter table ledger_payout rename column takes_back to reverses_id",
    "alter table ledger_payout rename column taken_back_by to reversed_by",
    "alter table ledger_payout rename column sends_back to returns_payment_id",
    "alter table ledger_position rename column told to announced",
    "alter table reassessed rename column told_at to announced_at",
    "alter table ledger_proof_state rename column again_partition to full_partition",
    "alter table ledger_proof_state rename column again_number to full_number",
    "alter table ledger_proof_state rename column again_hash to full_hash",
    "alter table ledger_proof_state rename column again_day to full_day",
    "alter table ledger_proof_state rename column again_after to full_after",
    "alter table ledger_proof_state rename column again_began_at to full_began_at",
    "alter table ledger_proof_state rename column again_ended_at to full_ended_at",
)


def upgrade() -> None:
    """Rename the columns; their content stays."""
    for statement in RENAMES:
        op.execute(statement)

"""Columns get the terms of the glossary: the summary of a job and of a model."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Rename the columns; their content stays."""
    for table in ("job", "model"):
        op.alter_column(table, "told", new_column_name="summary")

"""Columns get the terms of the glossary: the summary of a job."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Rename the columns; their content stays."""
    op.alter_column("job", "told", new_column_name="summary")

"""Assessments by pages: where the answers to a block of consignments stand is one row for each call."""

from alembic import op

from libs.store.tables import schema

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Create the pages and the view of both forms; rows that are stored already stay."""
    schema.create_assessment_pages(op)

"""Receptacles. Replicas of the release before do not know by which number goods travel and arrived, so none starts again."""

from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    """Change no table: states are stored as columns, and receptacles are found where master documents are."""
    op.execute("comment on column master_document.document_number is 'of a master document or of a receptacle'")

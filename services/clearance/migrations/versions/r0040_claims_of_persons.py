"""Claims by person: the list of own claims has all ids that differ in capitals alone. Replicas of the release before work beside it."""

from alembic import op

revision = "0040"
down_revision = "0039"
works_from = "0039"


def upgrade() -> None:
    """Create the index."""
    op.execute("create index claim_person on claim (lower(officer), day, mrn)")

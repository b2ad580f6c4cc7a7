"""How far the expiry of each day's declarations without an arrival has come.

Replicas of the release before do not know the change EXPIRED, as in 0012, so none starts again.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
works_from = "0012"


def upgrade() -> None:
    """Create the table: one row for each day of acceptance that is over the limit."""
    op.execute('create table expiry_pass (day integer primary key, mrn text collate "C" not null, passed_at bigint)')

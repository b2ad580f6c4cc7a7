"""Seized goods, listed apart from the table of states as held ones are.

Replicas of the release before do not know the states and changes of disposals, so none starts again.
"""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the list; nothing is seized in stores of earlier releases."""
    op.execute('create table seized (day integer not null, mrn text collate "C" not null, primary key (day, mrn))')

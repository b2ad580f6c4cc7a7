"""Room in the pages of states, so that the second version of a consignment is written beside the first and its key is not written again."""

from alembic import op

from libs.store.tables import schema

revision = "0010"
down_revision = "0009"
works_from = "0001"


def upgrade() -> None:
    """Set it for the days that are there; new days get it from the newest one."""
    schema.set_parameter(op, "consignment", "fillfactor", 50)

"""Consignments are bound to sales that are filed after them, and those before a platform's first sale are searched for."""

from alembic import op

from libs.store.database import NOW_MICROS

revision = "0015"
down_revision = "0014"
works_from = "0012"


def upgrade() -> None:
    """Add the columns."""
    # What the consignment states, as text, until its sale is filed (sale_version 0 until then).
    op.execute("alter table sale_binding add column trade text")
    # How often the goods that were assessed before `since` were searched for.
    op.execute("alter table sale_platform add column searches smallint not null default 0")
    op.execute(f"alter table sale_platform add column since bigint not null default {NOW_MICROS}")

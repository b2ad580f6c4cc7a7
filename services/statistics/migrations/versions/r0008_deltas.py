"""What pages changed in the cells, until it is folded into them; and room in the pages of tables whose rows are updated."""

from alembic import op

from libs.store.tables import schema

revision = "0008"
down_revision = "0007"
# The release before would answer and clear the cells without what is not folded yet.
works_from = "0008"


def upgrade() -> None:
    """Add the table. Its payload is compressed already."""
    op.execute(
        'create table cell_delta (cells text collate "C" not null, id bigint generated always as identity, payload bytea not null, '
        "primary key (cells, id))"
    )
    op.execute("alter table cell_delta alter column payload set storage external")
    for table in ("counted", "count_cell", "revenue_cell", "time_cell", "inspection_cell"):
        schema.set_parameter(op, table, "fillfactor", 50)

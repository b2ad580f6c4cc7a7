"""The first schema: what was counted, the daily cells, the feed's cursors and dead letters."""

from alembic import op

from libs.feed import schema as feed
from libs.store.tables import schema

revision = "0001"
down_revision = None

_CELL = (
    'day integer not null, destination text collate "C" not null, origin text collate "C" not null, '
    'chapter text collate "C" not null, lane text collate "C" not null, '
)
_KEY = "day, destination, origin, chapter, lane, "


def upgrade() -> None:
    """Create it all."""
    op.execute("create sequence counted_batch_id")
    schema.create_day_partitioned(
        op, "counted_batch", "day integer not null, id bigint not null, payload bytea not null", key="day, id"
    )
    schema.create_day_partitioned(
        op,
        "counted",
        'day integer not null, mrn text collate "C" not null, version integer not null, batch_day integer not null, '
        'batch bigint not null, "row" integer not null',
        key="day, mrn",
    )
    schema.create_day_partitioned(
        op,
        "count_cell",
        _CELL + 'state text collate "C" not null, currency text collate "C" not null, consignments bigint not null, '
        "items bigint not null, value_minor bigint not null, net_mass_mg bigint not null",
        key=_KEY + "state, currency",
    )
    schema.create_day_partitioned(
        op,
        "revenue_cell",
        _CELL + 'kind text collate "C" not null, collector text collate "C" not null, '
        'currency text collate "C" not null, charges bigint not null, amount_minor bigint not null',
        key=_KEY + "kind, collector, currency",
    )
    schema.create_day_partitioned(
        op,
        "time_cell",
        _CELL + "stretch smallint not null, bucket smallint not null, consignments bigint not null, "
        "sum_micros bigint not null, clamped bigint not null",
        key=_KEY + "stretch, bucket",
    )
    schema.create_request_log(op)
    schema.create_job_lease(op)
    feed.create_consumer(op)

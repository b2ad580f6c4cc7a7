"""The log of what was assessed, for history and selection; its epochs; and the deployment's own secrets."""

from alembic import op

from libs.store import schema

revision = "0003"
down_revision = "0002"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it, and what it assesses is not in the log."""
    schema.create_day_partitioned(
        op,
        "assessed",
        "day integer not null, epoch bigint not null, xid bigint not null, count integer not null, "
        "record bytea not null, tally bytea not null",
        key="epoch, xid, day",
        external=("record", "tally"),
    )
    op.execute(
        "create table assessed_epoch (epoch bigint primary key, reason text not null, "
        "begun_at timestamptz not null default clock_timestamp())"
    )
    op.execute("insert into assessed_epoch (epoch, reason) values (1, 'the first')")
    op.execute(
        "create table deployment_secret (name text primary key, value bytea not null, "
        "made_at timestamptz not null default clock_timestamp())"
    )

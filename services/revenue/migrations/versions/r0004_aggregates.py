"""What consignments were assessed on, what several of them make together, and the register of scheme numbers."""

from alembic import op

from libs.store.tables import schema

revision = "0004"
down_revision = "0003"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it: what it assesses has no input kept and takes no share of a sum."""
    # What a batch was assessed on: the columns that the law reads, and the sums and register numbers that it was told, compressed.
    # Batches are those of assessment_batch.
    schema.create_day_partitioned(
        op,
        "assessed_input",
        "day integer not null, batch bigint not null, purpose smallint not null, count integer not null, "
        "columns bytea not null, facts bytea not null",
        key="day, batch",
        external=("columns", "facts"),
    )
    op.execute(
        "create table deployment_secret (name text primary key, value bytea not null, "
        "made_at timestamptz not null default clock_timestamp())"
    )
    # Sums over several consignments: a row for each thing that is summed up (one person in one year, one recipient on one day),
    # which is locked while its sum changes. `changes` rises with every change of a share.
    schema.create_hash_partitioned(
        op,
        "share_sum",
        "key bytea not null, total numeric(30) not null, count integer not null, least bigint not null, "
        "limit_id text not null, bundled boolean not null, changes bigint not null, day integer not null",
        key="key",
        by="key",
    )
    # What each consignment adds to a sum. Positions rise in the order in which consignments came first.
    op.execute("create sequence share_position as bigint cache 1")
    schema.create_hash_partitioned(
        op,
        "share",
        'key bytea not null, mrn text collate "C" not null, amount bigint not null, position bigint not null, '
        "day integer not null",
        key="key, mrn",
        by="key",
    )
    # Which version of a consignment holds shares, of which sums, and whether clearance confirmed it.
    schema.create_hash_partitioned(
        op,
        "share_holder",
        'mrn text collate "C" not null, version integer not null, state smallint not null, keys bytea[] not null, '
        "day integer not null",
        key="mrn",
        by="mrn",
    )
    for table in ("share_sum", "share", "share_holder"):
        op.execute(f"create index {table}_day on {table} using brin (day) with (pages_per_range = 32)")
    # Sums whose earlier consignments are to be assessed again, and what came of it: the newest generation of each version.
    op.execute(
        "create table reassessment_due (key bytea primary key, noted_at timestamptz not null default clock_timestamp())"
    )
    schema.create_hash_partitioned(
        op,
        "reassessed",
        'mrn text collate "C" not null, version integer not null, generation integer not null, day integer not null, '
        "reason text not null, sums bytea not null, payload bytea not null, told_at timestamptz not null default clock_timestamp()",
        key="mrn, version, generation",
        by="mrn",
    )
    op.execute("create index reassessed_day on reassessed using brin (day) with (pages_per_range = 32)")
    # The register of scheme numbers; `changed` rises with every change, so that replicas read only what is new.
    op.execute("create sequence scheme_number_changed as bigint cache 1")
    op.execute(
        'create table scheme_number (scheme smallint not null, number text collate "C" not null, holder text not null, '
        "first_day integer not null, last_day integer, changed bigint not null, put_by text not null, "
        "put_at timestamptz not null default clock_timestamp(), primary key (scheme, number))"
    )
    op.execute("create index scheme_number_newest on scheme_number (changed)")
    # Each version of them: who told what, and when.
    op.execute(
        'create table scheme_number_version (scheme smallint not null, number text collate "C" not null, '
        "holder text not null, first_day integer not null, last_day integer, changed bigint not null, "
        "put_by text not null, put_at timestamptz not null, primary key (scheme, number, changed))"
    )

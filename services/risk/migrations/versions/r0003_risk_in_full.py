"""Risk in full: the log of what was assessed and what it was assessed on, rule sets, models, outcomes of inspections,
jobs, seeds of draws, and risk's own feed."""

from alembic import op

from libs.feed import schema as feed
from libs.store.tables import schema

revision = "0003"
down_revision = "0002"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it, and what it assesses is not in the log."""
    schema.create_day_partitioned(
        op,
        "assessed",
        "day integer not null, epoch bigint not null, xid bigint not null, count integer not null, "
        "record bytea not null, tally bytea not null, outcomes bytea not null default ''::bytea, "
        # Which row this is, where a store was set back and gave its number a second time.
        "stamp uuid not null default gen_random_uuid()",
        key="epoch, xid, day",
        external=("record", "tally", "outcomes"),
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
    # What a batch was assessed on: its columns and what history said, compressed. Batches are those of assessment_batch.
    schema.create_day_partitioned(
        op,
        "assessed_input",
        "day integer not null, batch bigint not null, purpose smallint not null, count integer not null, "
        'lists text collate "C" not null, columns bytea not null, history bytea not null',
        key="day, batch",
        external=("columns", "history"),
    )
    # By list version, so that looking for what was screened against older lists costs nothing where there is none.
    op.execute("create index assessed_input_lists on assessed_input (lists, batch)")
    # What screening again found after an assessment: the hits of a filing that its answer does not have.
    schema.create_hash_partitioned(
        op,
        "screening_hit",
        'mrn text collate "C" not null, filing_version integer not null, screened_at bigint not null, '
        "day integer not null, payload bytea not null",
        key="mrn, filing_version, screened_at",
        by="mrn",
    )
    # Which versions of lists came into force, in their order, and when some replica had them last: only the newest screen again.
    op.execute(
        'create table lists_in_force (lists text collate "C" primary key, number bigint generated always as identity, '
        "seen_at timestamptz not null default clock_timestamp())"
    )
    op.execute("create index screening_hit_day on screening_hit using brin (day) with (pages_per_range = 32)")
    op.execute(
        "create table rule_set (version text primary key, state smallint not null, content bytea not null, "
        "report bytea not null, note text not null, proposed_by text not null, "
        "proposed_at timestamptz not null default clock_timestamp(), activated_by text, activated_at timestamptz, "
        "retired_by text, retired_at timestamptz)"
    )
    op.execute("create unique index rule_set_in_force on rule_set (state) where state = 2")
    # Files of models, megabytes each, are written before the row that makes them known, so that no change waits for one.
    op.execute(
        "create table model_file (version text primary key, content bytea not null, "
        "written_at timestamptz not null default clock_timestamp())"
    )
    op.execute("alter table model_file alter column content set storage external")
    op.execute(
        "create table model (version text primary key references model_file, state smallint not null, "
        "told bytea not null, note text not null, proposed_by text not null, "
        "proposed_at timestamptz not null default clock_timestamp(), challenged_by text, challenged_at timestamptz, "
        "activated_by text, activated_at timestamptz, retired_by text, retired_at timestamptz)"
    )
    # State 2 is the challenger, 3 the champion: one each.
    op.execute("create unique index model_in_force on model (state) where state in (2, 3)")
    schema.create_hash_partitioned(
        op,
        "outcome",
        'mrn text collate "C" not null, filing_version integer not null, state_version bigint not null, '
        "day integer not null, result smallint not null, items bytea not null, inspected_at bigint not null, "
        "method smallint not null, assessed_day integer, assessed_batch bigint, assessed_row integer",
        key="mrn",
        by="mrn",
    )
    op.execute("create index outcome_day on outcome (day)")
    # Where what was inspected stands among the stored batches, so that whoever reads those need not look up MRNs.
    op.execute(
        "create index outcome_assessed on outcome (assessed_day, assessed_batch) where assessed_batch is not null"
    )
    schema.create_jobs(op)
    op.execute(
        "create table draw_seed (period integer primary key, seed bytea not null, "
        "made_at timestamptz not null default clock_timestamp())"
    )
    # What consignments were drawn into, so that an amendment does not undo it; a few of a hundred have a row.
    schema.create_hash_partitioned(
        op,
        "drawn",
        'mrn text collate "C" not null, day integer not null, lane smallint not null, cause smallint not null, '
        "chance_ppm integer not null",
        key="mrn",
        by="mrn",
    )
    schema.create_request_log(op)
    feed.create_outbox(op)
    feed.create_consumer(op)

"""The audit trail: a record for each stored batch of states and each access by a person, in one chain of hashes with seals.

A trigger notes each batch, so that replicas of the release before are recorded as well while they run beside this one. What was stored
before is not covered: the first record of the chain has the last number of those batches.
"""

from alembic import op

from libs.store.tables import schema

revision = "0019"
down_revision = "0018"
works_from = "0012"

_RECORD = """
    kind smallint not null, at bigint not null, actor text not null, method text not null, reason text not null, about text not null,
    batch_day integer not null, batch_id bigint not null, "rows" integer not null, digest bytea not null, row_digest bytea not null,
    subjects text[] not null, salt bytea not null
"""
# `luxor.batch_note` is what the transaction says of the batch: {actor, method, reason, row_digest}. Before the row is stored, since the
# payload is at hand then. 1 is a decision. The digest is that of `libs.chain.audit.batch_digest`.
_NOTE = """
    create function audit_batch() returns trigger language plpgsql as $body$
    declare
        note json := nullif(current_setting('luxor.batch_note', true), '')::json;
    begin
        insert into audit_pending
            (kind, at, actor, method, reason, about, batch_day, batch_id, "rows", digest, row_digest, subjects, salt)
        values (
            1, new.created_at, coalesce(note ->> 'actor', 'clearance'), coalesce(note ->> 'method', ''), coalesce(note ->> 'reason', ''),
            '', new.day, new.id, new.row_count,
            sha256(convert_to(concat_ws(
                ' ', new.day, new.id, new.created_at, new.row_count, new.schema_version, new.schema, new.traceparent, ''
            ), 'UTF8') || new.payload),
            decode(coalesce(note ->> 'row_digest', ''), 'hex'), '{}', ''
        );
        return new;
    end
    $body$
"""


def upgrade() -> None:
    """Create the records, the chain's head and its seals, and note each batch from now on."""
    # What is not chained yet: its rows are deleted as they are chained, in the order of their numbers.
    op.execute(f"create table audit_pending (number bigint generated always as identity primary key, {_RECORD})")
    schema.create_day_partitioned(
        op,
        "audit_record",
        f"day integer not null, number bigint not null, hash bytea not null, {_RECORD}",
        key="number, day",
    )
    op.execute("create index audit_record_batch on audit_record (batch_day, batch_id) where kind = 1")
    op.execute("create index audit_record_subjects on audit_record using gin (subjects) with (fastupdate = off)")
    schema.forbid_changes(op, "audit_record")
    # One row: the last record, what was stored before the trail began, and up to which record days were dropped.
    op.execute(
        "create table audit_head (partition smallint primary key, number bigint not null, hash bytea not null, day integer not null, "
        "since bigint not null, dropped_number bigint not null, dropped_hash bytea not null, dropped_record bigint not null) "
        "with (fillfactor = 20)"
    )
    op.execute(
        "create table audit_seal (number bigint primary key, sealed_at bigint not null, hash bytea not null, numbers bigint[] not null, "
        "hashes bytea not null)"
    )
    # In which day's part a record is, by its number.
    op.execute(
        "create table audit_day (day integer primary key, first_number bigint not null, last_number bigint not null)"
    )
    op.execute(_NOTE)
    # Waits for the writers of the moment; those behind it are noted, so that every batch with a greater number than this has a record.
    op.execute("create trigger audit before insert on batch for each row execute function audit_batch()")
    op.execute(
        "insert into audit_head select 0, 0, decode(repeat('00', 32), 'hex'), 0, case when is_called then last_value else 0 end, 0, "
        "decode(repeat('00', 32), 'hex'), 0 from batch_id"
    )

"""Stores in which earlier forms of migrations 0019 and 0021 ran: the audit trail with causes and without salts, and marks of release lists without
the MRN in their key. A store with the present forms is not changed.

Records of the former form are stored as they are, also those that are not chained yet: they have no salt, by which their hashed form is known.
Replicas of that version record no accesses any more and refuse them, and do not chain, until this release replaces them.
"""

from alembic import op
from sqlalchemy import text

revision = "0029"
down_revision = "0028"
works_from = "0027"

_HAS_CAUSES = "select count(*) from pg_attribute where attrelid = 'audit_pending'::regclass and attname = 'cause' and not attisdropped"
_KEY_COLUMNS = "select indnkeyatts from pg_index where indrelid = 'release_list_mark'::regclass and indisprimary"
# As in 0019.
_NOTE = """
    create or replace function audit_batch() returns trigger language plpgsql as $body$
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
# The first record of a trail stated that batch 1 is from before it, also where there was none.
_SINCE = """
    update audit_head set since = 0 where number = 0 and since = 1 and not exists (
        select from batch b where b.id = 1 and not exists (select from audit_pending p where p.kind = 1 and p.batch_id = 1)
    )
"""


def upgrade() -> None:
    """Bring former tables to the present form; their rows stay."""
    connection = op.get_bind()
    if connection.execute(text(_HAS_CAUSES)).scalar():
        # As the chaining does, before the tables: a replica that chains at this moment ends its work first.
        op.execute("select from audit_head for update")
        # Waits for the writers of the moment: none runs the former function behind this.
        op.execute("lock table batch in share row exclusive mode")
        for table in ("audit_pending", "audit_record"):
            op.execute(f"alter table {table} rename column cause to about")
            op.execute(f"alter table {table} add column salt bytea")
            op.execute(f"comment on column {table}.salt is 'null: a record of the former form'")
        op.execute(_NOTE)
        op.execute(_SINCE)
    if connection.execute(text(_KEY_COLUMNS)).scalar() == 4:
        op.execute("alter table release_list_mark drop constraint release_list_mark_pkey")
        op.execute("alter table release_list_mark add primary key (serial, line, house_document, mrn, decision)")

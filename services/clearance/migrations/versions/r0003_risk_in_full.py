"""What goes on by itself and when, and hits of the screening that came before the decision."""

from alembic import op

revision = "0003"
down_revision = "0002"
works_from = "0001"

# Apart from the table of states for the same reason as what is held: only the few that wait pay for the index.
_DUE = """
    create table due (
        day integer not null,
        mrn text collate "C" not null,
        due_at bigint not null,
        primary key (day, mrn)
    )
"""
_EARLY = """
    create table early_hit (
        mrn text collate "C" not null,
        screened_at bigint not null,
        day integer not null,
        payload bytea not null,
        traceparent text not null,
        primary key (mrn, screened_at)
    )
"""
_FIND = """
    create function due_find(until bigint, up_to integer) returns table (mrn text)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query select d.mrn from due d where d.due_at <= until order by d.due_at limit up_to;
    end
    $body$
"""


def upgrade() -> None:
    """Create it all; the release before goes on beside it."""
    for statement in (_DUE, "create index due_at on due (due_at)", _EARLY, _FIND):
        op.execute(statement)
    op.execute(
        "comment on table due is 'consignments that are released or re-routed by themselves, and when, microseconds since 1970-01-01 UTC'"
    )
    op.execute(
        "comment on table early_hit is 'hits of the screening as risk told them, of consignments that are not decided yet'"
    )

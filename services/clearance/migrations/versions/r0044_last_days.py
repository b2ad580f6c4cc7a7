"""Notices about the last day of a licence. Replicas of the release before cannot read them, so none starts again."""

from alembic import op

revision = "0044"
down_revision = "0042"


def upgrade() -> None:
    """Store when the agency of each licence is next notified: 30 days before the end and at the end, unless that has passed."""
    op.execute("alter table licence add column next_at bigint")
    op.execute(
        "comment on column licence.next_at is 'when the agency is next notified of the last day; null: no such notice follows'"
    )
    op.execute(
        """
        update licence l
        set next_at = 86400000000 * case when moment.at < 86400000000 * (l.to_day + 1 - 30) then l.to_day + 1 - 30 else l.to_day + 1 end
        from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint as at) moment
        where l.authority <> '' and l.revoked_at is null and moment.at < 86400000000 * (l.to_day + 1)
        """
    )
    op.execute("create index licence_next on licence (next_at) where next_at is not null")
    # As transit_find: a plan that does not depend on statistics.
    op.execute(
        """
        create function licence_find(until bigint, up_to integer) returns table (authority text, type text, number text)
        language plpgsql stable set enable_seqscan = off as $body$
        begin
            return query select l.authority, l.type, l.number from licence l where l.next_at <= until order by l.next_at limit up_to;
        end
        $body$
        """
    )

"""References and requests of new filings have no digest of each consignment any more, except while the release before may run beside this one."""

from alembic import op

revision = "0005"
down_revision = "0004"
works_from = "0001"


def upgrade() -> None:
    """Say until when digests are stored: for a week, and not at all in a store that this very session made."""
    op.execute(
        """
        create table digest_upgrade as
            select case when s.backend_start < h.applied_at then 0
                else floor(extract(epoch from clock_timestamp() + interval '7 days') * 1000000)::bigint end as until_micros
            from schema_history h, pg_stat_activity s where h.position = 1 and s.pid = pg_backend_pid()
        """
    )
    op.execute(
        "comment on table digest_upgrade is 'until when digests are stored, since the release before may still compare them'"
    )

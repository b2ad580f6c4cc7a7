"""The office in the list of held goods, and the officers who claim them. Replicas of the release before work beside both."""

from alembic import op

revision = "0022"
down_revision = "0021"
works_from = "0021"


def upgrade() -> None:
    """Create both. Entries of before are listed without an office until their consignments change."""
    op.execute("""alter table held add column office text collate "C" not null default ''""")
    op.execute("create index held_office on held (office, lane desc, day, mrn)")
    op.execute(
        'create table claim (day integer not null, mrn text collate "C" not null, officer text collate "C" not null, '
        'claimed_at bigint not null, handed_by text collate "C" not null, note text not null, primary key (day, mrn))'
    )
    op.execute("comment on table claim is 'officers who work on held or seized goods; a claim ends with the hold'")

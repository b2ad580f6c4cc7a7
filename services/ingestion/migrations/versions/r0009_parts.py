"""Parts of filings: the roles of the parties that file them, the parts, the links of consignments, and what was joined."""

from alembic import op

from libs.store.tables import schema

revision = "0009"
down_revision = "0008"
works_from = "0001"


def upgrade() -> None:
    """Create the tables; the release before reads and writes nothing of them, and its entries of filers have no roles."""
    op.execute("alter table filer add column party_roles text not null default ''")
    op.execute("comment on column filer.party_roles is 'numbers of luxor.ingestion.v1.PartyRole, rising'")
    op.execute("create index filer_party on filer (id) where party_roles <> ''")
    op.execute("alter table amendment add column is_joined boolean not null default false")
    op.execute(
        "comment on column amendment.is_joined is 'whether the version adds parts, and no filer stated it as a whole'"
    )
    schema.create_day_partitioned(
        op,
        "part",
        'day integer not null, number bigint not null, filer text collate "C" not null, reference text collate "C" not null, '
        'role smallint not null, key bytea not null, consignment_filer text collate "C" not null, filed_at bigint not null, '
        "content bytea not null, state smallint not null default 1",
        key="day, number",
        span=64,
    )
    op.execute("create sequence part_number")
    op.execute("create index part_key on part (key)")
    op.execute("create index part_filer on part (filer, number)")
    op.execute("create index part_waiting on part (day, number) where state = 1")
    op.execute("comment on column part.state is 'luxor.ingestion.v1.PartState'")
    op.execute(
        'create table part_count (filer text collate "C" not null, day integer not null, filed integer not null, '
        "primary key (filer, day))"
    )
    op.execute("comment on table part_count is 'parts of a filer on a day'")
    schema.create_day_partitioned(
        op,
        "part_link",
        'day integer not null, mrn text collate "C" not null, key bytea not null, is_secret boolean not null',
        key="day, mrn, key",
        span=64,
    )
    op.execute("create index part_link_key on part_link (key)")
    op.execute("comment on column part_link.is_secret is 'whether it is a linking key; others follow from the content'")
    op.execute("comment on table part_link is 'by what consignments are linked to parts; the day is that of the MRN'")
    schema.create_day_partitioned(
        op,
        "part_join",
        'day integer not null, mrn text collate "C" not null, part_day integer not null, part_number bigint not null, '
        "version integer not null, result bytea not null",
        key="day, mrn, part_day, part_number",
        span=64,
    )
    op.execute("create index part_join_part on part_join (part_day, part_number)")
    op.execute("comment on table part_join is 'what became of a part in a consignment; the day is that of the MRN'")
    op.execute(
        "create table part_due (id bigint generated always as identity primary key, "
        "mrn text collate \"C\" not null default '', key bytea, tries smallint not null default 0)"
    )
    op.execute("comment on table part_due is 'consignments, or keys of parts, that are to be joined'")

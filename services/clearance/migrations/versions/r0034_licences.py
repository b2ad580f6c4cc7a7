"""The register of licences and certificates, and the list of their uses.

Replicas of the release before know neither the column of states nor the lists, so none starts again; none of their states needs a licence.
"""

from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Create both; the register is empty."""
    op.execute(
        """
        create table licence (
            authority text collate "C" not null,
            type text collate "C" not null,
            number text collate "C" not null,
            holder text collate "C" not null,
            jurisdiction text collate "C" not null,
            from_day integer not null,
            to_day integer not null,
            goods text not null,
            quantity bigint,
            unit text not null,
            written_off bigint not null default 0 check (written_off >= 0 and (quantity is null or written_off <= quantity)),
            version integer not null,
            revoked_at bigint,
            revoked_reason text not null default '',
            changed_at bigint not null,
            changed_by text not null,
            primary key (authority, type, number)
        )
        """
    )
    op.execute(
        "comment on table licence is 'licences and certificates; quantities are millionths of the unit, null is not limited'"
    )
    op.execute("comment on column licence.goods is 'beginnings of commodity codes, with commas between them'")
    op.execute("create index licence_holder on licence (holder, authority, type, number)")
    op.execute(
        """
        create table licence_use (
            day integer not null,
            mrn text collate "C" not null,
            item integer not null,
            authority text collate "C" not null,
            type text collate "C" not null,
            version integer not null,
            number text collate "C" not null,
            quantity bigint,
            used_at bigint not null,
            restored_at bigint,
            primary key (day, mrn, item, authority, type, version)
        )
        """
    )
    op.execute(
        "comment on table licence_use is 'append only, but for restored_at; what was not restored adds up to written_off of the licence'"
    )
    op.execute(
        "create index licence_use_licence on licence_use (authority, type, number, used_at, day, mrn, item, version)"
    )
    op.execute(
        "create unique index licence_use_once on licence_use (day, mrn, item, authority, type) where restored_at is null"
    )

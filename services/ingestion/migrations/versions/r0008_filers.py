"""The register of filers, empty, and who filed a later version of a filing if it was not the filer of the first one."""

from alembic import op

from libs.store.tables import schema

revision = "0008"
down_revision = "0007"
works_from = "0001"


def upgrade() -> None:
    """Create the register; the release before reads and writes nothing of it."""
    op.execute(
        """
        create table filer (
            id text collate "C" not null,
            version integer not null,
            name text not null,
            identifiers text not null,
            certificates text not null,
            representatives text not null,
            suspension_reason text not null,
            trusted text not null,
            changed_at bigint not null,
            changed_by text not null,
            primary key (id, version)
        )
        """
    )
    op.execute("comment on table filer is 'versions of the entries of filers, for ever; the newest one is in force'")
    op.execute(
        "comment on column filer.representatives is 'a line each: id, first and last day since 1970; certificates have the serial number in place "
        "of the id'"
    )
    op.execute(
        "comment on column filer.trusted is 'first and last day since 1970, and the decision; empty: not trusted'"
    )
    op.execute("alter table amendment add column changed_by text collate \"C\" not null default ''")
    op.execute("comment on column amendment.changed_by is 'the filer of this version; empty: that of the first one'")
    schema.create_page_keys(op)

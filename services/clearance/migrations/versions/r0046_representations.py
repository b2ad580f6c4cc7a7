"""Representations, as ingestion's register of filers states them.

Replicas of the release before do not know the column of states for the representative, so none starts again.
"""

from alembic import op

revision = "0046"
down_revision = "0045"

# As master_document_seek, of one of several filers.
_SEEK_MASTER = """
    create function master_document_filed(
        number text, after_day integer, after_id bigint, up_to integer, of_filers text[]
    )
    returns table (batch_day integer, batch_id bigint, mrns text[])
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select m.batch_day, m.batch_id, m.mrns from master_document m
        where m.document_number = number and (m.batch_day, m.batch_id) > (after_day, after_id)
            and (m.filers is null or m.filers && of_filers)
        order by m.batch_day, m.batch_id limit up_to;
    end
    $body$
"""
# A plan that does not depend on statistics.
_FIND = """
    create function representation_find(of_caller text, not_before bigint)
    returns table (owner text, declarants text, representatives text, since bigint)
    language plpgsql stable set enable_seqscan = off as $body$
    begin
        return query
        select r.owner, r.declarants, r.representatives, g.since
        from representation r join representation_reading g on g.read_at >= not_before where r.caller = of_caller
        order by r.owner, r.is_represented;
    end
    $body$
"""


def upgrade() -> None:
    """Create the tables; nothing is entrusted until the register was read."""
    op.execute(
        """
        create table representation (
            caller text collate "C" not null,
            owner text collate "C" not null,
            is_represented boolean not null,
            declarants text not null,
            representatives text not null,
            primary key (caller, owner, is_represented)
        )
        """
    )
    op.execute(
        "comment on table representation is 'whose declarations are entrusted to whom today, as read from ingestion'"
    )
    op.execute("comment on column representation.is_represented is 'whether the caller is the one that is represented'")
    op.execute("comment on column representation.declarants is 'identifiers of the represented filer, one a line'")
    op.execute("comment on column representation.representatives is 'identifiers of its representative, one a line'")
    op.execute(
        """
        create table representation_reading (
            is_only boolean primary key default true check (is_only),
            since bigint not null,
            read_at bigint not null
        )
        """
    )
    op.execute(
        "comment on column representation_reading.since is "
        "'acceptance from which states name their representative, microseconds since 1970: no earlier declaration is entrusted'"
    )
    op.execute(
        "insert into representation_reading (since, read_at) values ((extract(epoch from clock_timestamp()) * 1000000)::bigint, 0)"
    )
    op.execute(_SEEK_MASTER)
    op.execute(_FIND)

"""Cases of officers with their consignments and events. Replicas of the release before work beside them and do not know them."""

from alembic import op

revision = "0030"
down_revision = "0029"
works_from = "0027"


def upgrade() -> None:
    """Create the tables. A row of `case_file` is what the events of the case leave, and only new events are written."""
    op.execute("create sequence case_number")
    op.execute(
        """
        create table case_file (
            number bigint primary key,
            version bigint not null,
            state smallint not null,
            title text not null,
            office text collate "C" not null,
            officer text collate "C" not null,
            relation smallint not null,
            relation_key text collate "C" not null,
            opened_at bigint not null,
            opened_by text not null,
            changed_at bigint not null,
            consignments integer not null,
            outcome smallint not null,
            outcome_reason text not null,
            closed_at bigint,
            closed_by text not null,
            hash bytea not null
        )
        """
    )
    op.execute("comment on table case_file is 'cases of officers, as their events leave them'")
    for name, columns in {
        "state": "state, number",
        "office": "office, state, number",
        "officer": "officer, state, number",
        "relation": "relation, relation_key, state, number",
    }.items():
        op.execute(f"create index case_file_{name} on case_file ({columns})")
    op.execute("create index case_file_closed on case_file (closed_at) where closed_at is not null")
    op.execute(
        "create table case_event (number bigint not null, version bigint not null, payload bytea not null, primary key (number, version))"
    )
    op.execute(
        """
        create table case_consignment (
            number bigint not null,
            mrn text collate "C" not null,
            added_at bigint not null,
            added_by text not null,
            primary key (number, mrn)
        )
        """
    )
    op.execute("create index case_consignment_mrn on case_consignment (mrn, number)")
    # Deleted with the whole case after its retention, and never changed: rows_are_final is that of the audit trail.
    op.execute("create trigger final before update on case_event for each row execute function rows_are_final()")

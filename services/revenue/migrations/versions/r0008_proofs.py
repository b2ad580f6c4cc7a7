"""Entries and postings that nobody changes, and up to where the ledger is proven."""

from alembic import op

from libs.store.tables import schema

revision = "0008"
down_revision = "0007"
works_from = "0003"


def upgrade() -> None:
    """Forbid changes of what is booked, and begin the proofs: all of a ledger that exists is still to be proven."""
    for table in ("ledger_entry", "ledger_posting"):
        schema.forbid_changes(op, table)
    # Of each partition the last entry that is proven, its hash, and the last day whose balances are proven.
    op.execute(
        "create table ledger_proof (partition smallint primary key, number bigint not null, hash bytea not null, "
        "day integer not null) with (fillfactor = 20)"
    )
    op.execute(
        "insert into ledger_proof (partition, number, hash, day) "
        "select p, 0, decode(repeat('00', 32), 'hex'), -1 from generate_series(0, 63) as p"
    )
    # One row: what is proven in all, what that covers, and how far the periodic proof of everything has come. `moves` rises with each change.
    op.execute(
        "create table ledger_proof_state (one boolean primary key default true check (one), moves bigint not null, "
        "entries bigint not null, postings bigint not null, comparisons bigint not null, assessed_day integer not null, "
        "assessed_batch bigint not null, seal bigint not null, seal_hash bytea not null, complete_at bigint not null, "
        "positions bytea not null, again_partition smallint not null, again_number bigint not null, "
        "again_hash bytea not null, again_day integer not null, again_after text not null, again_began_at bigint not null, "
        "again_ended_at bigint not null) with (fillfactor = 20)"
    )
    op.execute(
        "insert into ledger_proof_state values (true, 0, 0, 0, 0, 0, 0, 0, ''::bytea, 0, ''::bytea, 0, 0, "
        "decode(repeat('00', 32), 'hex'), 0, '', 0, 0)"
    )
    # What the proofs found and did not find right since. A fault of a chain has the last number of the part in which it was found.
    op.execute(
        "create table ledger_fault (id bigint generated always as identity primary key, partition smallint not null, "
        'number bigint not null, mrn text collate "C" not null, reason text not null, sentence text not null, '
        "currency text not null, assessed bigint, posted bigint, found_at bigint not null)"
    )
    op.execute("create index ledger_fault_number on ledger_fault (partition, number)")
    op.execute("create index ledger_fault_mrn on ledger_fault (mrn)")

"""Revenue's side of clearance's feed, its own feed, and the ledger."""

from alembic import op

from libs.feed import schema as feed
from libs.store.tables import schema

revision = "0003"
down_revision = "0002"
works_from = "0001"


def upgrade() -> None:
    """Create it all; the release before goes on beside it, and what it assesses is posted when clearance tells of it."""
    schema.create_request_log(op)
    feed.create_outbox(op)
    feed.create_consumer(op)
    _names()
    _entries()
    _balances()
    _positions()
    _payments()
    op.execute(
        "create table ledger_seal (number bigint primary key, sealed_at bigint not null, hash bytea not null, "
        "numbers bigint[] not null, hashes bytea not null)"
    )
    # What was told last of each consignment, by slot: its debt, what was refunded, what it owes anew.
    schema.create_hash_partitioned(
        op,
        "news",
        'mrn text collate "C" not null, partition smallint not null, number bigint not null, day integer not null, '
        "debt bytea, refund bytea, reassessment bytea",
        key="mrn",
        by="mrn",
    )
    op.execute("create index news_partition on news (partition, mrn)")


def _names() -> None:
    # Names of accounts and of charges, once: a posting has their numbers.
    op.execute(
        "create table ledger_name (id integer generated always as identity primary key, "
        'name text collate "C" not null unique)'
    )
    op.execute(
        'create table ledger_account (name text collate "C" primary key, currency text not null, limit_minor bigint, '
        "closed boolean not null, holder text not null, filers text[] not null, changed_by text not null, "
        "changed_at timestamptz not null default clock_timestamp())"
    )
    op.execute("create index ledger_account_filers on ledger_account using gin (filers)")
    # Each version of them: who told what, and when.
    op.execute(
        "create table ledger_account_version (id bigint generated always as identity primary key, "
        'name text collate "C" not null, currency text not null, limit_minor bigint, closed boolean not null, '
        "holder text not null, filers text[] not null, changed_by text not null, changed_at timestamptz not null)"
    )
    op.execute("create index ledger_account_version_name on ledger_account_version (name, id)")


def _entries() -> None:
    # One row for each of the 64 partitions is what all who book in it wait for; nobody waits for another partition's.
    op.execute(
        "create table ledger_head (partition smallint primary key, number bigint not null, hash bytea not null, "
        "booked_at bigint not null) with (fillfactor = 20)"
    )
    op.execute(
        "insert into ledger_head (partition, number, hash, booked_at) "
        "select p, 0, decode(repeat('00', 32), 'hex'), 0 from generate_series(0, 63) as p"
    )
    # In which day's part an entry stands, by its number.
    op.execute(
        "create table ledger_day (partition smallint not null, day integer not null, first_number bigint not null, "
        "last_number bigint not null, primary key (partition, day)) with (fillfactor = 50)"
    )
    # Which days there are, whatever the ledger's age: for statements and the sums of days.
    op.execute("create index ledger_day_day on ledger_day (day)")
    schema.create_day_partitioned(
        op,
        "ledger_entry",
        "day integer not null, partition smallint not null, number bigint not null, kind smallint not null, "
        "reverses smallint not null, booked_at bigint not null, mrn text not null, version bigint not null, "
        "reference text not null, currency text not null, destination text not null, hash bytea not null",
        key="partition, number, day",
    )
    schema.create_day_partitioned(
        op,
        "ledger_posting",
        "day integer not null, booked_at bigint not null, number bigint not null, amount bigint not null, "
        "account integer not null, partition smallint not null, place smallint not null, kind smallint not null, "
        "currency text not null",
        key="partition, number, place, day",
    )
    # Within a day alone, so that it is as small in ten years as it is today; new rows come at the end of each account.
    op.execute("create index ledger_posting_account on ledger_posting (account, booked_at, partition, number, place)")


def _balances() -> None:
    # What an account came to by the end of a day, in a partition: a row for days on which something was booked.
    schema.create_hash_partitioned(
        op,
        "ledger_balance",
        "account integer not null, currency text not null, partition smallint not null, day integer not null, "
        "debit bigint not null, credit bigint not null",
        key="account, currency, partition, day",
        by="account",
    )
    # For the proof, which reads all of a day; it costs next to nothing to keep.
    op.execute("create index ledger_balance_day on ledger_balance using brin (day) with (pages_per_range = 32)")
    # Which accounts there are, by name, each in its currencies.
    op.execute(
        'create table ledger_holding (name text collate "C" not null, currency text not null, account integer not null, '
        "primary key (name, currency))"
    )
    # Sums of days that are over, for statements; made once a day from the day's postings.
    schema.create_hash_partitioned(
        op,
        "ledger_turnover",
        "account integer not null, currency text not null, day integer not null, destination text not null, "
        "kind smallint not null, consignments bigint not null, debit bigint not null, credit bigint not null",
        key="account, currency, day, destination, kind",
        by="account",
    )
    op.execute("create index ledger_turnover_day_range on ledger_turnover using brin (day) with (pages_per_range = 32)")
    op.execute("create table ledger_turnover_day (day integer primary key)")


def _positions() -> None:
    # What is held of a consignment: the version of clearance's state that it follows, and its lines, packed.
    schema.create_hash_partitioned(
        op,
        "ledger_position",
        'mrn text collate "C" not null, version bigint not null, filing_version integer not null, day integer not null, '
        "destination text not null, currency text not null, jurisdiction text not null, paid bigint not null, "
        "open bigint not null, refunded bigint not null, told smallint not null, lines bytea not null, "
        "standing smallint not null, generation integer not null, adjusted bigint not null, adjusted_at bigint not null, "
        "paid_out bigint not null, payee integer not null, entries bigint[] not null, days integer[] not null",
        key="mrn",
        by="mrn",
    )
    for number in range(schema.HASH_PARTITIONS):
        op.execute(f"alter table ledger_position_h{number} set (fillfactor = 80), alter column lines set storage main")
    # For comparing day by day. The day never changes, so that a new version of a row stays on its page.
    op.execute("create index ledger_position_day on ledger_position (day, mrn)")
    # What is open on accounts that pay consignment by consignment: as many rows as there are open debts. An account's
    # credit pays those alone of which nobody else owes a part.
    op.execute(
        "create table ledger_open (account integer not null, currency text not null, day integer not null, "
        'mrn text collate "C" not null, minor bigint not null, alone boolean not null, '
        "primary key (account, currency, day, mrn))"
    )
    op.execute("create index ledger_open_alone on ledger_open (account, currency, day, mrn) where alone")
    # What stands to a declarant's credit beside its debts; below nothing where credit that paid a debt was taken back.
    op.execute(
        "create table ledger_credit (account integer not null, currency text not null, minor bigint not null, "
        "primary key (account, currency)) with (fillfactor = 50)"
    )
    op.execute("create index ledger_credit_left on ledger_credit (account, currency) where minor <> 0")
    # What of that credit paid which consignment.
    op.execute(
        "create table ledger_drawn (account integer not null, currency text not null, day integer not null, "
        'mrn text collate "C" not null, minor bigint not null, primary key (account, currency, day, mrn))'
    )


def _payments() -> None:
    schema.create_hash_partitioned(
        op,
        "ledger_payment",
        'jurisdiction text collate "C" not null, id text collate "C" not null, reference text not null, '
        "currency text not null, amount bigint not null, account text not null, outcome smallint not null, "
        "matched bigint not null, over bigint not null, still_owed bigint not null, booked_at bigint not null, "
        "booked_by text not null, request text not null, takes_back text not null, taken_back_by text not null, "
        "sent_back_by text not null default '', mrns text[] not null, amounts bigint[] not null",
        key="jurisdiction, id",
        by="jurisdiction, id",
    )
    # For the proof, which reads all of a day, as that of balances does.
    op.execute(
        "create index ledger_payment_booked on ledger_payment using brin (booked_at) with (pages_per_range = 32)"
    )
    # What payers wrote of payments that nothing was found for: it is forgotten after its days.
    op.execute(
        "create index ledger_payment_text on ledger_payment (booked_at, jurisdiction, id) "
        "where outcome = 4 and reference <> ''"
    )
    # 4 is PAYMENT_OUTCOME_UNMATCHED: what somebody must look at.
    op.execute(
        "create index ledger_payment_unmatched on ledger_payment (jurisdiction, id) "
        "where outcome = 4 and taken_back_by = '' and sent_back_by = ''"
    )
    # What left the bank account; paid_at is 0 where the bank did not tell it.
    schema.create_hash_partitioned(
        op,
        "ledger_payout",
        'jurisdiction text collate "C" not null, id text collate "C" not null, reference text not null, '
        "currency text not null, amount bigint not null, paid_at bigint not null, takes_back text not null, "
        "sends_back text not null, account text not null, outcome smallint not null, credit bigint not null, "
        "booked_at bigint not null, booked_by text not null, request text not null, taken_back_by text not null",
        key="jurisdiction, id",
        by="jurisdiction, id",
    )
    # For those of some days; new rows come at the end.
    op.execute("create index ledger_payout_booked on ledger_payout (booked_at, jurisdiction, id)")
    # Unmatched payments that name an MRN: its debt may come yet.
    schema.create_hash_partitioned(
        op,
        "ledger_waiting",
        'mrn text collate "C" not null, jurisdiction text collate "C" not null, id text collate "C" not null, '
        "currency text not null, amount bigint not null",
        key="mrn, jurisdiction, id",
        by="mrn",
    )

"""What balances and statements are computed from, and payments and payouts, compared day by day with what was booked."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from libs.customs.partitions import PARTITIONS
from libs.store.database import Transaction
from libs.store.tables.schema import today
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.ledger.balances import CONSIGNMENTS, LAST_DAY, on_account
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.names import Names

DIFFERENCES_MAX: Final = 20
"""Differences of one kind that are told of a day."""
_UNFINISHED_DAYS: Final = 2
"""So many days back sums may be half made: housekeeping makes them after midnight, in several transactions."""
_EPOCH: Final = date(1970, 1, 1)
_END: Final = 2**63 - 1

# Rows of days between the one before and this one belong to nothing: on them nothing was booked.
_STRAY: Final = """
select (
    select count(*) from ledger_entry where partition = $1 and day > $2 and day < $3
) + (
    select count(*) from ledger_entry where partition = $1 and day = $3 and (number < $4 or number > $5)
) as entries, (
    select count(*) from ledger_posting where partition = $1 and day > $2 and day < $3
) + (
    select count(*) from ledger_posting where partition = $1 and day = $3 and (number < $4 or number > $5)
) as postings, (
    select count(*) from ledger_page where partition = $1 and day > $2 and day < $3
) + (
    select count(*) from ledger_page where partition = $1 and day = $3 and (first_number < $4 or last_number > $5)
) as pages
"""
# The chain finds each number of a day at least once; here it is found once. A page belongs to a batch of a partition that booked that
# day, so that the day of its slot is compared; a former posting belongs to an entry.
_WHOLE: Final = """
select (
    select count(*) from ledger_entry where partition = $1 and day = $2
) + (
    select coalesce(sum(greatest(last_number - first_number + 1, 1)), 0) from ledger_page where partition = $1 and day = $2
) as numbers, (
    select count(*) from ledger_page p where p.partition = $1 and p.day = $2 and not exists (
        select from ledger_day d
        where d.partition = p.slot and d.day = p.day and p.batch between d.first_number and d.last_number
    )
) as pages, (
    select count(*) from ledger_posting p where p.partition = $1 and p.day = $2 and not exists (
        select from ledger_entry e where e.day = p.day and e.partition = p.partition and e.number = p.number
    )
) as postings
"""
# What no partition's comparison reads: rows of a day and of days before it on which nothing was booked.
_OUTSIDE: Final = f"""
select (
    select count(*) from ledger_page where day > $1 and day <= $2
        and not (partition between 0 and {PARTITIONS - 1} and slot between 0 and {PARTITIONS - 1})
) + (
    select count(*) from ledger_account_page where day > $1 and day <= $2 and not slot between 0 and {PARTITIONS - 1}
)
"""  # noqa: S608  # numbers of our own
# A slot has the name of the lowest partition of its transactions, so its days are among those of that partition. What pages post is read from
# the list of accounts, which is compared with them.
_BALANCES: Final = """
with booked as (
    select account, currency, day, debit, credit from ledger_account_page where slot = $1 and day = $3
    union all
    select account, currency, day, greatest(amount, 0), greatest(-amount, 0) from row_postings where partition = $1 and day = $3
), made as materialized (
    select account, currency, day, sum(debit)::numeric as debit, sum(credit)::numeric as credit
    from booked group by account, currency, day
), kept as materialized (
    select account, currency, day, debit, credit from ledger_balance where slot = $1 and day > $2 and day <= $3
)
select account, currency, day, kept.debit as debit, kept.credit as credit,
    made.debit + coalesce(before.debit, 0) as made_debit, made.credit + coalesce(before.credit, 0) as made_credit
from made full join kept using (account, currency, day)
left join lateral (
    select b.debit, b.credit from ledger_balance b
    where b.account = coalesce(kept.account, made.account) and b.currency = coalesce(kept.currency, made.currency)
        and b.slot = $1 and b.day < coalesce(kept.day, made.day) order by b.day desc limit 1
) before on true
where kept.debit is distinct from made.debit + coalesce(before.debit, 0)
    or kept.credit is distinct from made.credit + coalesce(before.credit, 0)
order by account, currency, day limit $4
"""
# The list of the pages of each account, by batch; it has days of the slot alone, as the balances do.
_LISTS: Final = """
with made as materialized (
    select account, currency, day, booked_at, batch, bit_or(1::bigint << partition::integer) as partitions, count(*) as lines,
        sum(greatest(amount, 0))::numeric as debit, sum(greatest(-amount, 0))::numeric as credit
    from page_postings where slot = $1 and day = $3 group by account, currency, day, booked_at, batch
), kept as materialized (
    select account, currency, day, booked_at, batch, partitions, lines, debit, credit
    from ledger_account_page where slot = $1 and day > $2 and day <= $3
)
select account, currency, count(*) as differences, min(batch) as batch
from made full join kept using (account, currency, day, booked_at, batch)
where (kept.partitions, kept.lines, kept.debit, kept.credit)
    is distinct from (made.partitions, made.lines, made.debit, made.credit)
group by account, currency order by account, currency limit $4
"""
_UNLISTED: Final = """
select p.account, p.currency from (
    select distinct account, currency from all_postings where partition = $1 and day = $2
) p
where not exists (
    select from ledger_name n join ledger_holding h on h.name = n.name and h.account = n.id
    where n.id = p.account and h.currency = p.currency
) order by p.account, p.currency limit $3
"""
_TURNOVER: Final = f"""
with made as materialized (
    select account, currency, day, destination, charge as kind, sum({CONSIGNMENTS})::numeric as consignments,
        sum(greatest(amount, 0))::numeric as debit, sum(greatest(-amount, 0))::numeric as credit
    from all_postings where day = $2 and $3 group by account, currency, day, destination, charge
), kept as materialized (
    select account, currency, day, destination, kind, consignments, debit, credit
    from ledger_turnover where day > $1 and (day < $2 or $3 and day = $2)
)
select account, currency, day, destination, kind, kept.consignments, kept.debit, kept.credit,
    made.consignments as made_consignments, made.debit as made_debit, made.credit as made_credit
from made full join kept using (account, currency, day, destination, kind)
where kept.consignments is distinct from made.consignments or kept.debit is distinct from made.debit
    or kept.credit is distinct from made.credit
order by account, currency, day, destination, kind limit $4
"""  # noqa: S608  # an expression of our own
# What went over the treasuries' bank accounts by entries, and by the rows of payments and payouts; those have the time of their entries.
# Offset and limits keep looks into an index what they are, where tables were never analysed.
_MONEY: Final = f"""
with banks as materialized (
    select id, substr(name, 6) as jurisdiction from ledger_name where name > 'bank:' and name < 'bank;'
), made as materialized (
    select $1::integer as day, banks.jurisdiction, p.reference collate "C" as id,
        coalesce(nullif(p.reverses, 0), p.kind) as kind, p.currency, sum(p.amount)::numeric as minor
    from banks cross join lateral (
        select distinct currency from ledger_account_page where day = $1 and account = banks.id
        union select distinct currency from ledger_posting where day = $1 and account = banks.id
    ) own
    cross join lateral ({on_account("$1", "banks.id", "own.currency")}) p
    group by banks.jurisdiction, p.reference, coalesce(nullif(p.reverses, 0), p.kind), p.currency
), kept as materialized (
    select (booked_at / {MICROS_A_DAY})::integer as day, jurisdiction, id, {pb.ENTRY_KIND_PAID}::smallint as kind, currency,
        case reverses_id when '' then amount else -amount end as minor
    from ledger_payment where booked_at >= $2 and booked_at < $3
    union all
    select (booked_at / {MICROS_A_DAY})::integer, jurisdiction, id, {pb.ENTRY_KIND_PAID_OUT}::smallint, currency,
        case reverses_id when '' then -amount else amount end
    from ledger_payout where booked_at >= $2 and booked_at < $3
)
select day, jurisdiction, id, kind, currency, kept.minor, made.minor as made_minor
from made full join kept using (day, jurisdiction, id, kind, currency)
where kept.minor is distinct from made.minor order by jurisdiction, id, kind, currency, day limit $4
"""  # noqa: S608  # numbers of our own
# Whoever is said to have been taken back or sent back is named by what did that, and the other way round.
_MARKS: Final = f"""
with paid as materialized (
    select jurisdiction, id, reverses_id, reversed_by, returned_by from ledger_payment
    where booked_at >= $1 and booked_at < $2 and (reverses_id <> '' or reversed_by <> '' or returned_by <> '')
), gone as materialized (
    select jurisdiction, id, reverses_id, reversed_by, returns_payment_id from ledger_payout
    where booked_at >= $1 and booked_at < $2 and (reverses_id <> '' or reversed_by <> '' or returns_payment_id <> '')
)
select paid.jurisdiction, paid.id, {pb.ENTRY_KIND_PAID}::smallint as kind from paid
left join lateral (
    select reversed_by from ledger_payment where jurisdiction = paid.jurisdiction and id = paid.reverses_id limit 1
) taken on true
left join lateral (
    select reverses_id from ledger_payment where jurisdiction = paid.jurisdiction and id = paid.reversed_by limit 1
) taking on true
left join lateral (
    select returns_payment_id, reversed_by from ledger_payout where jurisdiction = paid.jurisdiction and id = paid.returned_by limit 1
) sending on true
where paid.reverses_id <> '' and taken.reversed_by is distinct from paid.id
    or paid.reversed_by <> '' and taking.reverses_id is distinct from paid.id
    or paid.returned_by <> '' and (sending.returns_payment_id is distinct from paid.id or sending.reversed_by <> '')
union all
select gone.jurisdiction, gone.id, {pb.ENTRY_KIND_PAID_OUT}::smallint from gone
left join lateral (
    select reversed_by from ledger_payout where jurisdiction = gone.jurisdiction and id = gone.reverses_id limit 1
) taken on true
left join lateral (
    select reverses_id from ledger_payout where jurisdiction = gone.jurisdiction and id = gone.reversed_by limit 1
) taking on true
left join lateral (
    select returned_by from ledger_payment where jurisdiction = gone.jurisdiction and id = gone.returns_payment_id limit 1
) sent on true
where gone.reverses_id <> '' and taken.reversed_by is distinct from gone.id
    or gone.reversed_by <> '' and taking.reverses_id is distinct from gone.id
    or gone.returns_payment_id <> '' and gone.reversed_by = '' and sent.returned_by is distinct from gone.id
order by jurisdiction, id, kind limit $3
"""  # noqa: S608  # numbers of our own
# What a declarant's account stands at is what is open of it less its credit; each partition's end looks at its share of the accounts.
_CREDIT: Final = f"""
with booked as materialized (
    select account, currency from ledger_holding
    where name > 'declarant:' and name < 'declarant;' and account % {PARTITIONS} = $1
), mine as materialized (
    select account, currency from booked
    union select account, currency from ledger_credit where minor <> 0 and account % {PARTITIONS} = $1
    union select account, o.currency from (select distinct account from booked) b cross join lateral (
        select distinct currency from ledger_open where account = b.account
    ) o
)
select mine.account, mine.currency, stands.minor, opened.minor as open, coalesce(credit.minor, 0) as credit from mine
cross join lateral (
    select coalesce(sum(last.debit - last.credit), 0)::numeric as minor from generate_series(0, {PARTITIONS - 1}) as s(slot)
    cross join lateral (
        select debit::numeric, credit from ledger_balance b
        where b.account = mine.account and b.currency = mine.currency and b.slot = s.slot order by b.day desc limit 1
    ) last
) stands
cross join lateral (
    select coalesce(sum(minor), 0)::numeric as minor from ledger_open o
    where o.account = mine.account and o.currency = mine.currency
) opened
left join lateral (
    select minor from ledger_credit c where c.account = mine.account and c.currency = mine.currency limit 1
) credit on true
where stands.minor <> opened.minor - coalesce(credit.minor, 0) order by mine.account, mine.currency limit $2
"""  # noqa: S608  # numbers of our own
_BEFORE: Final = "select coalesce(max(day), -1) from ledger_day where partition = $1 and day < $2"
_BEFORE_ANY: Final = "select coalesce(max(day), -1) from ledger_day where day < $1"
_FIRST: Final = "select min(partition) from ledger_day where day = $1"
_SUMMED: Final = "select exists(select from ledger_turnover_day where day = $1)"
_TOTALS_EXIST: Final = "select exists(select from ledger_turnover where day = $1)"


async def compare_day(
    reader: Transaction, names: Names, partition: int, day: int, first: int, last: int, *, entries_max: int
) -> list[str]:
    """Return the differences between a partition's day and its postings: stray rows, balances at its end, the list of accounts, totals, money.

    The entries `first` to `last` are all that were booked on it. Sums, payments and payouts are of all partitions together, so
    the first partition in which something was booked that day compares them. At most `entries_max` sentences.
    """
    before = await reader.raw.fetchval(_BEFORE, partition, day)
    discrepancies = await _stray(reader, partition, before, day, first, last)
    if day != LAST_DAY:
        discrepancies += await _once(reader, partition, day, last - first + 1)
    rows = await reader.raw.fetch(_BALANCES, partition, before, day, DIFFERENCES_MAX)
    named = await names.texts(reader, {row["account"] for row in rows})
    discrepancies += [_balance(partition, row, _name(named, row)) for row in rows]
    rows = await reader.raw.fetch(_LISTS, partition, before, day, DIFFERENCES_MAX)
    named = await names.texts(reader, {row["account"] for row in rows})
    discrepancies += [
        f"partition {partition}: the list of pages of {_name(named, row)} in {row['currency']} differs from the pages of "
        f"{row['differences']} batches by the end of {_date(day)}; the first batch begins with entry {row['batch']}"
        for row in rows
    ]
    rows = await reader.raw.fetch(_UNLISTED, partition, day, DIFFERENCES_MAX)
    named = await names.texts(reader, {row["account"] for row in rows})
    discrepancies += [
        f"partition {partition}: {_name(named, row)} in {row['currency']} is missing among the accounts that are listed"
        for row in rows
    ]
    if await reader.raw.fetchval(_FIRST, day) == partition:
        discrepancies += await _outside(reader, day)
        discrepancies += await _turnover(reader, names, day)
        discrepancies += await _money(reader, day)
    return discrepancies[:entries_max]


async def compare_end(reader: Transaction, names: Names, partition: int, *, entries_max: int) -> list[str]:
    """Return stray rows of days after the last posting of a partition; there must be none.

    And of the accounts that this partition looks at, whether what is open and what stands to their credit is what they stand at.
    """
    discrepancies = await compare_day(reader, names, partition, LAST_DAY, 0, -1, entries_max=entries_max)
    discrepancies += await _outside(reader, LAST_DAY)
    discrepancies += await _turnover(reader, names, LAST_DAY)
    rows = await reader.raw.fetch(_CREDIT, partition, DIFFERENCES_MAX)
    named = await names.texts(reader, {row["account"] for row in rows})
    discrepancies += [
        f"{_name(named, row)} stands at {row['minor']} minor units of {row['currency']}, but {row['open']} of it is open and "
        f"{row['credit']} is its credit"
        for row in rows
    ]
    return (discrepancies + await _money(reader, LAST_DAY))[:entries_max]


async def _stray(reader: Transaction, partition: int, before: int, day: int, first: int, last: int) -> list[str]:
    row = await reader.raw.fetchrow(_STRAY, partition, before, day, first, last)
    until = "the end" if day == LAST_DAY else f"{_date(day)}"
    return [
        f"partition {partition}: {row[what]} {what} up to {until} stand where nothing of that number was booked"
        for what in ("entries", "postings", "pages")
        if row[what]
    ]


async def _once(reader: Transaction, partition: int, day: int, count: int) -> list[str]:
    row = await reader.raw.fetchrow(_WHOLE, partition, day)
    discrepancies = []
    if row["numbers"] != count:
        discrepancies.append(
            f"partition {partition}: {count} entries were booked on {_date(day)}, and pages and rows have {row['numbers']} numbers"
        )
    if row["pages"]:
        discrepancies.append(
            f"partition {partition}: {row['pages']} pages of {_date(day)} belong to a batch that was not booked on that day"
        )
    if row["postings"]:
        discrepancies.append(f"partition {partition}: {row['postings']} postings of {_date(day)} belong to no entry")
    return discrepancies


async def _outside(reader: Transaction, day: int) -> list[str]:
    before = await reader.raw.fetchval(_BEFORE_ANY, day)
    count = await reader.raw.fetchval(_OUTSIDE, before, day)
    until = "the end" if day == LAST_DAY else f"{_date(day)}"
    return [f"{count} pages or rows of lists up to {until} have a partition that does not exist"] if count else []


async def _turnover(reader: Transaction, names: Names, day: int) -> list[str]:
    """Compare the sums of a day, all partitions together, where they are made; and of days before it without bookings."""
    settled = await today(reader) - day > _UNFINISHED_DAYS and await reader.raw.fetchval(_TOTALS_EXIST, day)
    judged = settled or await reader.raw.fetchval(_SUMMED, day)
    before = await reader.raw.fetchval(_BEFORE_ANY, day)
    rows = await reader.raw.fetch(_TURNOVER, before, day, judged, DIFFERENCES_MAX)
    named = await names.texts(reader, {row["account"] for row in rows})
    return [
        f"sums of {_date(row['day'])}: {_name(named, row)} in {row['currency']}, destination {row['destination'] or 'none'}, "
        f"kind {row['kind']}: {_sides(row['debit'], row['credit'])} of {row['consignments'] or 0} consignments are stored, "
        f"{_sides(row['made_debit'], row['made_credit'])} of {row['made_consignments'] or 0} were booked"
        for row in rows
    ]


async def _money(reader: Transaction, day: int) -> list[str]:
    """Compare payments and payouts of a day, and of days before it without bookings, with the entries of them."""
    before = await reader.raw.fetchval(_BEFORE_ANY, day)
    since, until = (before + 1) * MICROS_A_DAY, min((day + 1) * MICROS_A_DAY, _END)
    rows = await reader.raw.fetch(_MONEY, day, since, until, DIFFERENCES_MAX)
    discrepancies = [
        f"{_payment_name(row)}: {_minor(row['minor'], row['currency'])} is stored for it on {_date(row['day'])}, "
        f"{_minor(row['made_minor'], row['currency'])} was booked"
        for row in rows
    ]
    rows = await reader.raw.fetch(_MARKS, since, until, DIFFERENCES_MAX)
    return discrepancies + [
        f"{_payment_name(row)}: it and the payment or payout that it reverses or returns, or that reversed or returned it, do not name each other"
        for row in rows
    ]


def _payment_name(row: Any) -> str:
    return f"{'payment' if row['kind'] == pb.ENTRY_KIND_PAID else 'payout'} {row['id']} of {row['jurisdiction']}"


def _minor(minor: Any, currency: str) -> str:
    return "nothing" if minor is None else f"{minor} minor units of {currency}"


def _balance(partition: int, row: Any, name: str) -> str:
    return (
        f"partition {partition}: {name} in {row['currency']} is stored as {_sides(row['debit'], row['credit'])} by the end "
        f"of {_date(row['day'])}; what was booked comes to {_sides(row['made_debit'], row['made_credit'])}"
    )


def _sides(debit: Any, credit: Any) -> str:
    return "nothing" if debit is None else f"{debit} debit and {credit} credit"


def _name(named: dict[int, str], row: Any) -> str:
    return named.get(row["account"], f"?{row['account']}")


def _date(day: int) -> str:
    try:
        return (_EPOCH + timedelta(days=day)).isoformat()
    except OverflowError:
        return f"day {day}"

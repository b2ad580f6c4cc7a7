"""What accounts stand at, now and at any past moment, and the statement of a month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from libs.customs.partitions import PARTITIONS
from libs.store.database import Database, Transaction
from libs.store.tables import schema
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.pages import row_postings

SETTLE_MICROS: Final = 600_000_000
"""So long after midnight the sums of the day before are made: whatever was being booked then is booked or gone."""
LAST_DAY: Final = 2**31 - 1

# Of each slot the last row up to the day before: as many looks as there are partitions, whatever the ledger's age.
_CLOSING: Final = f"""
select given.place, sum(last.debit)::numeric as debit, sum(last.credit)::numeric as credit
from unnest($1::integer[], $2::text[]) with ordinality as given(account, currency, place)
cross join generate_series(0, {PARTITIONS - 1}) as s(slot)
cross join lateral (
    select debit, credit from ledger_balance b
    where b.account = given.account and b.currency = given.currency and b.slot = s.slot and b.day <= $3
    order by b.day desc limit 1
) last group by given.place
"""  # noqa: S608  # a number of our own
_SINCE: Final = """
select given.place, since.debit, since.credit
from unnest($1::integer[], $2::text[]) with ordinality as given(account, currency, place)
cross join lateral (
    select sum(debit)::numeric as debit, sum(credit)::numeric as credit from (
        select debit, credit from ledger_account_page
        where day = $3 and account = given.account and currency = given.currency and booked_at <= $4
        union all
        select greatest(amount, 0), greatest(-amount, 0) from ledger_posting
        where day = $3 and account = given.account and currency = given.currency and booked_at <= $4
    ) booked
) since where since.debit is not null
"""
# Names that begin alike stand together, in the order of their bytes.
_NAMED: Final = 1_000
_HOLDINGS: Final = """
select name, currency, account from ledger_holding
where (name, currency) > ($1::text, $2::text) and name >= $3::text and name < $4::text
order by name, currency limit $5
"""
_OWN: Final = """
select name, currency, account from ledger_holding
where name = any($1::text[]) and (name, currency) > ($2::text, $3::text) order by name, currency limit $4
"""
_OF_NAMES: Final = "select name, currency, account from ledger_holding where name = any($1::text[])"
_DRAWN_ON: Final = """
with mine(name) as (
    select 'deferred:' || $1::text union select 'carrier:' || $1::text union select 'carrier:' || $7::text
    union select name from ledger_account where filers @> array[$1::text]
)
select held.name, held.currency, held.account from mine join ledger_holding held on held.name = mine.name
where (held.name, held.currency) > ($2::text, $3::text) and held.name >= $4::text and held.name < $5::text
order by held.name, held.currency limit $6
"""
_TOTALS: Final = """
select destination, kind, sum(consignments)::bigint as consignments, sum(debit)::numeric as debit,
    sum(credit)::numeric as credit
from ledger_turnover where account = $1 and currency = $2 and day between $3 and $4
group by destination, kind
"""
_DAYS_LEFT: Final = """
select d.day from generate_series($1::integer, $2::integer) as d(day)
where exists (select from ledger_day where day = d.day) and not exists (
    select from ledger_turnover_day t where t.day = d.day
)
"""
# A consignment counts once where it begins to owe, and is taken off where that is undone.
CONSIGNMENTS: Final = (
    f"case when mrn = '' then 0 when kind in ({pb.ENTRY_KIND_ASSESSED}, {pb.ENTRY_KIND_SECURED}) and amount > 0 "
    f"then 1 when reverses in ({pb.ENTRY_KIND_ASSESSED}, {pb.ENTRY_KIND_SECURED}) and amount < 0 then -1 else 0 end"
)
# Pages of a batch in which it posts on an account.
_OF_ACCOUNT: Final = (
    "day {days} and day = l.day and slot = l.slot and batch = l.batch and (l.partitions >> partition::integer) & 1 = 1"
)


def on_account(day: str, account: str, currency: str) -> str:
    """Return a query for the postings on an account in a currency on a day, with the columns of all_postings.

    It reads the pages alone that the list of the account names. The arguments are SQL expressions.
    """
    return f"""
    select p.* from ledger_account_page l cross join lateral (
        select * from page_postings where {_OF_ACCOUNT.format(days=f"= {day}")} and account = {account} and currency = {currency} offset 0
    ) p where l.day = {day} and l.account = {account} and l.currency = {currency}
    union all
    select * from row_postings where day = {day} and account = {account} and currency = {currency}
    """  # noqa: S608  # expressions of our own


_DAY_TOTALS: Final = f"""
select destination, charge as kind, sum({CONSIGNMENTS})::bigint as consignments,
    sum(greatest(amount, 0))::numeric as debit, sum(greatest(-amount, 0))::numeric as credit
from ({on_account("$3", "$1", "$2")}) booked group by destination, charge
"""  # noqa: S608  # an expression of our own
# Money has no kind of charge.
_BY_DAY: Final = """
select given.place, t.day, sum(case when t.kind = 0 then t.credit - t.debit else 0 end)::numeric as paid,
    sum(case when t.kind = 0 then 0 else t.debit - t.credit end)::numeric as charged
from unnest($1::integer[], $2::text[]) with ordinality as given(account, currency, place)
cross join lateral (
    select day, kind, credit, debit from ledger_turnover k
    where k.account = given.account and k.currency = given.currency and k.day between $3 and $4
) t group by given.place, t.day
"""
# Of the list of an account the batches that have the lines that are asked for, up to a moment and all of that moment, since the
# lines of one moment are in the order of their partitions.
_LINES: Final = f"""
with ahead as materialized (
    select l.* from generate_series($3::integer, $4::integer) as d(day)
    cross join lateral (
        select booked_at, lines from ledger_account_page
        where day between $3 and $4 and day = d.day and account = $1 and currency = $2 and booked_at > $5::bigint order by booked_at limit $9::integer
    ) l order by booked_at limit $9::integer
), reached as materialized (
    select coalesce(min(booked_at), {2**63 - 1}) as moment
    from (select booked_at, sum(lines) over (order by booked_at) as lines from ahead) counted where lines >= $9
), booked as (
    select p.* from reached cross join generate_series($3::integer, $4::integer) as d(day)
    cross join lateral (
        select day, slot, batch, partitions from ledger_account_page
        where day between $3 and $4 and day = d.day and account = $1 and currency = $2 and booked_at between $5 and reached.moment offset 0
    ) l cross join lateral (
        select booked_at, partition, number, place, kind, reverses, mrn, reference, destination, charge, amount from page_postings
        where {_OF_ACCOUNT.format(days="between $3 and $4")} and account = $1 and currency = $2 offset 0
    ) p
    union all
    select p.* from generate_series($3::integer, $4::integer) as d(day)
    cross join lateral (
        select r.booked_at, r.partition, r.number, r.place, e.kind, e.reverses, e.mrn, e.reference, e.destination, r.kind as charge, r.amount
        from {row_postings("between $3 and $4")} where r.day = d.day and r.account = $1 and r.currency = $2
            and (r.booked_at, r.partition, r.number, r.place) > ($5::bigint, $6::smallint, $7::bigint, $8::smallint)
        order by r.booked_at, r.partition, r.number, r.place limit $9
    ) p
)
select booked_at, partition, number, place, kind, reverses, mrn, reference, destination, charge, amount from booked
where (booked_at, partition, number, place) > ($5::bigint, $6::smallint, $7::bigint, $8::smallint)
order by booked_at, partition, number, place limit $9
"""  # noqa: S608  # conditions and numbers of our own
_STATEMENT_MILLIS: Final = 60_000
"""A first page sums the postings of the days whose sums are not made yet, two at most where housekeeping runs."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An account in one of its currencies."""

    name: str
    currency: str
    account: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account stands at, minor units; both sums are positive."""

    name: str
    currency: str
    debit: int
    credit: int

    @property
    def minor(self) -> int:
        """Debits less credits: positive where the holder owes."""
        return self.debit - self.credit


@dataclass(frozen=True, slots=True)
class StatementSum:
    """A sum of a statement by destination and kind of charge."""

    destination: str
    kind: int
    consignments: int
    amount: int


@dataclass(frozen=True, slots=True, order=True)
class LinePlace:
    """Where a line stands: lines are read in this order."""

    booked_at: int = 0
    partition: int = 0
    number: int = 0
    place: int = 0


BEGINNING: Final = LinePlace()


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A line of a statement."""

    at: LinePlace
    entry_kind: int
    reverses: int
    """Kind of the entry that it undoes; 0 for none."""
    mrn: str
    reference: str
    destination: str
    kind: int
    amount: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What an account did in a month; amounts in minor units, positive where the holder owes."""

    opening: int
    closing: int
    debit: int
    credit: int
    totals: list[StatementSum]
    lines: list[StatementLine]


@dataclass(frozen=True, slots=True)
class Close:
    """What an account owed at the end of a month, and what of it is not paid; minor units, positive where the holder owes."""

    opening: Balance
    closing: Balance
    present: Balance
    outstanding: int
    today: int
    """The day on which it was read, days since 1970."""


class Balances:
    """Reads balances and statements."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database

    async def holdings(
        self,
        *,
        after: tuple[str, str] = ("", ""),
        prefix: str = "",
        names: Sequence[str] | None = None,
        drawn_on_by: str | None = None,
        carries_as: str | None = None,
        rows_max: int,
    ) -> list[Holding]:
        """Return accounts by name and currency: those that begin with `prefix`, of them those alone that a filer or carrier may draw
        on, told by its id, a carrier also by the code that declarations name it by; or those called `names` alone.
        """
        first, behind = prefix, prefix + "\U0010ffff"
        async with self._database.connection() as reader:
            if names is not None:
                rows = await reader.raw.fetch(_OWN, list(names), *after, rows_max)
            elif drawn_on_by is not None:
                rows = await reader.raw.fetch(_DRAWN_ON, drawn_on_by, *after, first, behind, rows_max, carries_as)
            else:
                rows = await reader.raw.fetch(_HOLDINGS, *after, first, behind, rows_max)
        return [Holding(**dict(row)) for row in rows]

    async def current(self, currencies: Mapping[str, str]) -> dict[str, int]:
        """Return the current balances of accounts, each in one currency; accounts without a posting in it are omitted."""
        found: list[Holding] = []
        after = ("", "")
        while page := await self.holdings(after=after, names=list(currencies), rows_max=_NAMED):
            after = (page[-1].name, page[-1].currency)
            found += [each for each in page if each.currency == currencies[each.name]]
        return {each.name: each.minor for each in await self.at(found)} if found else {}

    async def at(self, holdings: Sequence[Holding], moment: int | None = None) -> list[Balance]:
        """Return the balances of accounts at a moment (microseconds since 1970-01-01 UTC; None: now), as of one instant."""
        async with self._database.connection(snapshot=True) as reader:
            return await balances_at(reader, holdings, moment)

    async def closes(self, holdings: Sequence[Holding], first_day: int, last_day: int) -> list[Close]:
        """Return the closes of accounts for the days from first to last, as of one instant."""
        async with self._database.connection(snapshot=True, timeout_millis=_STATEMENT_MILLIS) as reader:
            today = await schema.today(reader)
            opening = await _closings(reader, holdings, first_day - 1)
            closing = await _closings(reader, holdings, last_day)
            present = await _closings(reader, holdings, LAST_DAY)
            owing = [place for place, each in enumerate(closing) if each.minor > 0 and last_day < today]
            later = dict(
                zip(owing, await _later(reader, [holdings[place] for place in owing], last_day + 1, today), strict=True)
            )
        return [
            Close(*three, max(0, min(three[1].minor - later.get(place, 0), three[2].minor)), today)
            for place, three in enumerate(zip(opening, closing, present, strict=True))
        ]

    async def statement(
        self, account: int, currency: str, first_day: int, last_day: int, *, after: LinePlace = BEGINNING, rows_max: int
    ) -> Statement:
        """Return the statement of an account for the days from first to last, with up to `rows_max` lines after a place.

        Behind the beginning there are lines alone, and all sums are nothing. All of it is as of one instant.
        Days are since 1970-01-01 UTC, at most 31.
        """
        holding = [Holding("", currency, account)]
        async with self._database.connection(snapshot=True, timeout_millis=_STATEMENT_MILLIS) as reader:
            # Sums belong to the first page: to make them again for each page of a long month would cost the month each time.
            if after != BEGINNING:
                lines = await lines_of(reader, account, currency, first_day, last_day, after=after, rows_max=rows_max)
                return Statement(0, 0, 0, 0, [], lines)
            opening = (await _closings(reader, holding, first_day - 1))[0]
            closing = (await _closings(reader, holding, last_day))[0]
            sums = await _totals_of(reader, account, currency, first_day, last_day)
            lines = await lines_of(reader, account, currency, first_day, last_day, after=after, rows_max=rows_max)
        return Statement(
            opening.minor,
            closing.minor,
            closing.debit - opening.debit,
            closing.credit - opening.credit,
            sums,
            lines,
        )


async def holdings_of(reader: Transaction, names: Sequence[str]) -> list[Holding]:
    """Return the accounts of some names in all their currencies, in any order."""
    return [Holding(**dict(row)) for row in await reader.raw.fetch(_OF_NAMES, list(names))]


async def balances_at(reader: Transaction, holdings: Sequence[Holding], moment: int | None = None) -> list[Balance]:
    """Return the balances of accounts: the closings of the days before, and the day's own postings up to the moment."""
    if moment is None:
        return await _closings(reader, holdings, LAST_DAY)
    day = moment // MICROS_A_DAY
    accounts, currencies = [each.account for each in holdings], [each.currency for each in holdings]
    since = await reader.raw.fetch(_SINCE, accounts, currencies, day, moment)
    return await _closings(reader, holdings, day - 1, since)


async def _closings(
    reader: Transaction, holdings: Sequence[Holding], day: int, since: Sequence[Any] = ()
) -> list[Balance]:
    """Return the balances of accounts at the end of a day, from the rows of that end, with totals of later postings."""
    accounts, currencies = [each.account for each in holdings], [each.currency for each in holdings]
    closed = await reader.raw.fetch(_CLOSING, accounts, currencies, day)
    debits, credits_ = [0] * len(holdings), [0] * len(holdings)
    for row in (*closed, *since):
        debits[row["place"] - 1] += int(row["debit"])
        credits_[row["place"] - 1] += int(row["credit"])
    return [
        Balance(each.name, each.currency, debit, credit)
        for each, debit, credit in zip(holdings, debits, credits_, strict=True)
    ]


async def _later(reader: Transaction, holdings: Sequence[Holding], first_day: int, last_day: int) -> list[int]:
    """Return what postings on some days took from the balances before them: what was paid, less what was paid back, and corrections.

    A correction takes from these balances as far as all charges and corrections up to some day were less than nothing together: one of
    a later charge takes nothing.
    """
    accounts, currencies = [each.account for each in holdings], [each.currency for each in holdings]
    days: list[dict[int, tuple[int, int]]] = [{} for _ in holdings]
    if not holdings:
        return []
    for row in await reader.raw.fetch(_BY_DAY, accounts, currencies, first_day, last_day):
        days[row["place"] - 1][row["day"]] = int(row["paid"]), int(row["charged"])
    for left in await reader.raw.fetch(_DAYS_LEFT, first_day, last_day):
        for place, each in enumerate(holdings):
            rows = await reader.raw.fetch(_DAY_TOTALS, each.account, each.currency, left["day"])
            paid = sum(int(row["credit"] - row["debit"]) for row in rows if row["kind"] == 0)
            charged = sum(int(row["debit"] - row["credit"]) for row in rows if row["kind"] != 0)
            days[place][left["day"]] = paid, charged
    taken = []
    for found in days:
        charges = accumulate(charged for _, (_, charged) in sorted(found.items()))
        taken.append(max(0, sum(paid for paid, _ in found.values())) - min(0, min(charges, default=0)))
    return taken


async def _totals_of(
    reader: Transaction, account: int, currency: str, first_day: int, last_day: int
) -> list[StatementSum]:
    """Return the totals of an account by destination and kind: stored totals of past days, and postings of the other days."""
    rows = list(await reader.raw.fetch(_TOTALS, account, currency, first_day, last_day))
    for left in await reader.raw.fetch(_DAYS_LEFT, first_day, last_day):
        rows += await reader.raw.fetch(_DAY_TOTALS, account, currency, left["day"])
    found: dict[tuple[str, int], StatementSum] = {}
    for row in rows:
        key = (row["destination"], row["kind"])
        before = found.get(key, StatementSum(*key, 0, 0))
        amount = int(row["debit"] - row["credit"])
        found[key] = StatementSum(*key, before.consignments + row["consignments"], before.amount + amount)
    return [found[key] for key in sorted(found)]


async def lines_of(
    reader: Transaction,
    account: int,
    currency: str,
    first_day: int,
    last_day: int,
    *,
    after: LinePlace = BEGINNING,
    rows_max: int,
) -> list[StatementLine]:
    """Return lines of an account in their order, after a place."""
    first = max(first_day, after.booked_at // MICROS_A_DAY)
    place = (after.booked_at, after.partition, after.number, after.place)
    return [_line(row) for row in await reader.raw.fetch(_LINES, account, currency, first, last_day, *place, rows_max)]


def _line(row: Any) -> StatementLine:
    return StatementLine(
        LinePlace(row["booked_at"], row["partition"], row["number"], row["place"]),
        row["kind"],
        row["reverses"],
        row["mrn"],
        row["reference"],
        row["destination"],
        row["charge"],
        row["amount"],
    )

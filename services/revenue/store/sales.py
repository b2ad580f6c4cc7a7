"""The tables sale_batch, sale and sale_document: the sales of a call with their answers in one row, where each version of an order number stands, and
which versions name a house document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.columns import Table
from libs.columns.stored import compressed, decompressed, reading
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import NOW_MICROS, Database, Transaction
from libs.store.tables.schema import TODAY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1.revenue_pb2 import LandedCost, QuoteConsignmentsResponse
from services.revenue.sales.comparison import Trade, packed_trade, unpacked_trade
from services.revenue.sales.documents import Document, PlatformDocument, packed_documents, unpacked_documents
from services.revenue.sales.versions import SaleKey, StoredVersion

REFERENCE_DAYS: Final = 400
"""Days for which an order number is unique at least, as long as answers of assessments are stored."""
REFERENCE_SPAN: Final = 100
"""Days of one partition of order numbers."""
TERM_DAYS: Final = 200
"""Days after which a sale without consignments expires, unless the administration sets another number."""
SALE_DAYS: Final = REFERENCE_DAYS + REFERENCE_SPAN
"""Days for which sales are stored: no order number leads to a sale that is dropped."""
BATCHES_MAX: Final = 64
"""Batches that are read at once."""
PAGE_BATCHES_MAX: Final = 8
"""Batches of a list that are read at once: a page seldom needs more."""
PLACES_MAX: Final = 100
"""Places of batches that are looked up at once."""

Place = tuple[int, int, int]
"""Day, batch and row of a sale: the order of filing."""

# The calls of a platform wait for each other until the commit: an order number is unique over all partitions, which no index can enforce.
_LOCK: Final = "select pg_advisory_xact_lock(hashtextextended('luxor sales ' || $1, 0))"
_FIND: Final = """
select s.order_number, s.version, s.digest, s.day, s.batch, s."row", s.documents
from unnest((select $2::text[])) as given(order_number)
cross join lateral (select * from sale k where k.platform = $1 and k.order_number = given.order_number offset 0) s
"""
_CURRENT: Final = f"""
select s.platform, s.order_number, s.version, s.trade, s.day, {TODAY} as today
from unnest((select $1::text[]), (select $2::text[])) as given(platform, order_number) cross join lateral (
    select * from sale k where k.platform = given.platform and k.order_number = given.order_number order by k.version desc limit 1
) s
"""  # noqa: S608  # an expression of our own
# A document belongs to the last sale that names it in its current version and has not expired: it was free then, because the sale before had expired.
_OF_DOCUMENTS: Final = f"""
select d.platform, d.carrier, d.document, d.order_number
from unnest((select $1::text[]), (select $2::text[]), (select $3::text[])) as given(platform, carrier, document) cross join lateral (
    select * from sale_document k where k.platform = given.platform and k.carrier = given.carrier and k.document = given.document
        and not exists (select from sale s where s.platform = k.platform and s.order_number = k.order_number and s.version > k.version)
        and (k.day + $6::integer >= {TODAY} or exists (
            select from sale_binding b where b.platform = k.platform and b.order_number = k.order_number and not b.withdrawn offset 0))
    order by k.day desc, k.batch desc limit 1
) d
"""  # noqa: S608  # an expression of our own
_DROPPED: Final = """
select d.platform, d.carrier, d.document, d.order_number
from unnest((select $1::text[]), (select $2::text[]), (select $3::text[])) as given(platform, carrier, document) cross join lateral (
    select k.platform, k.carrier, k.document, k.order_number, max(k.version) as version from sale_document k
    where k.platform = given.platform and k.carrier = given.carrier and k.document = given.document
    group by k.platform, k.carrier, k.document, k.order_number offset 0
) d
where exists (select from sale s where s.platform = d.platform and s.order_number = d.order_number and s.version > d.version offset 0)
order by d.platform, d.carrier, d.document, d.order_number
"""
_CURRENT_WITH_DOCUMENTS: Final = f"""
with named as materialized ({_OF_DOCUMENTS})
select s.platform, s.order_number, s.version, s.trade, s.day, {TODAY} as today, wanted.documents
from (
    select platform, order_number, array_agg(document) filter (where document is not null) as documents from (
        select platform collate "C" as platform, order_number collate "C" as order_number, null::text as document
        from unnest((select $4::text[]), (select $5::text[])) as given(platform, order_number)
        union all select platform, order_number, carrier || ' ' || document from named
    ) each group by platform, order_number
) wanted cross join lateral (
    select * from sale k where k.platform = wanted.platform and k.order_number = wanted.order_number order by k.version desc limit 1
) s
"""  # noqa: S608  # expressions of our own
# The day is that of the clock under the lock, not of the transaction's begin: days rise with numbers, so no page of a list misses a batch.
_ADD: Final = f"""
with numbered as materialized (
    select nextval('sale_batch_number') as batch, {NOW_MICROS} as filed_at
), taken as (
    select batch, (filed_at / {MICROS_PER_DAY})::integer as day, filed_at from numbered
), stored as (
    insert into sale_batch (day, batch, platform, filed_at, sales, costs)
    select taken.day, taken.batch, $1, taken.filed_at, $2, $3 from taken
), named as (
    insert into sale_platform values ($1) on conflict do nothing
), referred as (
    insert into sale (platform, order_number, version, digest, day, batch, "row", trade, documents)
    select $1, given.order_number, given.version, given.digest, taken.day, taken.batch, given.place - 1, given.trade,
        string_to_array(nullif(given.documents, ''), chr(10))
    from taken, unnest($4::text[], $5::smallint[], $6::bytea[], $7::text[], $8::text[]) with ordinality
        as given(order_number, version, digest, trade, documents, place)
    returning order_number, version, day, batch, documents
), travelling as (
    insert into sale_document (platform, carrier, document, order_number, version, day, batch)
    select $1, split_part(each, ' ', 1), split_part(each, ' ', 2), order_number, version, day, batch
    from referred cross join unnest(documents) each
)
select from taken
"""  # noqa: S608  # expressions of our own
# The days are in sight, so that a plan has their partitions alone.
_AT: Final = """
select b.day, b.batch, b.platform, b.filed_at, b.sales, b.costs
from unnest((select $2::integer[]), (select $3::bigint[])) as given(day, batch)
cross join lateral (
    select * from sale_batch k where k.day = any($1::integer[]) and k.day = given.day and k.batch = given.batch offset 0
) b
"""
# A plan of it has the partitions of all days, so it is made for many batches, and these are read by their days.
_NEXT: Final = """
select day, batch from sale_batch where platform = $1 and day >= $2 and (day, batch) >= ($2, $3) order by day, batch limit $4
"""


@dataclass(frozen=True, slots=True)
class PackedSales:
    """Sales of one platform and their answers, as they are stored."""

    sales: bytes
    costs: bytes


def pack_sales(sales: Table, costs: Iterable[LandedCost]) -> PackedSales:
    """Pack sales, a table of ConsignmentColumns, and the answer to each."""
    answers = QuoteConsignmentsResponse(quotes=costs)
    return PackedSales(compressed(sales.serialize(ConsignmentColumns)), compressed(answers.SerializeToString()))


@dataclass(frozen=True, slots=True)
class SaleBatch:
    """The sales of one call."""

    day: int
    batch: int
    platform: str
    filed_at: int
    """Microseconds since 1970-01-01 UTC."""
    packed_sales: bytes
    packed_costs: bytes

    def table(self) -> Table:
        """Return the sales as a table of ConsignmentColumns. Raises InputError."""
        with reading("the stored sales"):
            return Table.parse(ConsignmentColumns, decompressed(self.packed_sales))

    def costs(self) -> Sequence[LandedCost]:
        """Return the answer to each. Raises InputError."""
        with reading("the stored answers to sales"):
            return QuoteConsignmentsResponse.FromString(decompressed(self.packed_costs)).quotes


@dataclass(frozen=True, slots=True)
class CurrentSale:
    """The current version of a sale."""

    version: int
    trade: Trade
    """What it is compared by."""
    last_day: int
    """The day after which it expires if no consignment was declared, days since 1970."""
    today: int
    """The day on which it was read."""
    documents: tuple[Document, ...] = ()
    """Of the house documents by which it was looked up, those that belong to it; none of a sale that has expired."""


class SaleStore:
    """Revenue's own database."""

    def __init__(self, database: Database, term_days: int = TERM_DAYS) -> None:
        """Store sales in a database; they expire after `term_days` without a consignment."""
        self.database = database
        self.term_days = term_days

    async def lock(self, tx: Transaction, platform: str) -> None:
        """Wait for other calls of a platform, until the end of the transaction."""
        await tx.raw.execute(_LOCK, platform)

    async def find(
        self, reader: Transaction, platform: str, numbers: Iterable[str]
    ) -> Mapping[str, Sequence[StoredVersion]]:
        """Return all stored versions of a platform's order numbers, by number; numbers without any are left out."""
        found: dict[str, list[StoredVersion]] = {}
        for number, version, digest, day, batch, row, documents in await reader.raw.fetch(
            _FIND, platform, sorted(set(numbers))
        ):
            found.setdefault(number, []).append(
                StoredVersion(version, digest, day, batch, row, unpacked_documents(documents or ()))
            )
        return found

    async def current(
        self,
        reader: Transaction,
        orders: Iterable[tuple[str, str]],
        documents: Iterable[PlatformDocument] = (),
    ) -> Mapping[tuple[str, str], CurrentSale]:
        """Return by order the current sales of orders, platforms with order numbers, and those that house documents belong to.

        Orders and documents without a sale are left out. To a sale that has expired no document belongs.
        """
        given, named = _columns(set(orders), 2), _columns(set(documents), 3)
        if named[0]:
            rows = await reader.raw.fetch(_CURRENT_WITH_DOCUMENTS, *named, *given, self.term_days)
        else:
            rows = [(*row, None) for row in await reader.raw.fetch(_CURRENT, *given)]
        return {
            (platform, number): CurrentSale(
                version, unpacked_trade(trade), day + self.term_days, today, unpacked_documents(found or ())
            )
            for platform, number, version, trade, day, today, found in rows
        }

    async def dropped(
        self, reader: Transaction, documents: Iterable[PlatformDocument]
    ) -> list[tuple[PlatformDocument, tuple[str, str]]]:
        """Return which of some house documents sales named in a version before their current one alone, each with the order of the sale."""
        rows = await reader.raw.fetch(_DROPPED, *_columns(set(documents), 3))
        return [
            (PlatformDocument(platform, carrier, document), (platform, number))
            for platform, carrier, document, number in rows
        ]

    async def add(
        self, tx: Transaction, platform: str, keys: Sequence[SaleKey], trades: Sequence[Trade], packed: PackedSales
    ) -> None:
        """Store the sales of a call, row by row those of `keys` and of `trades`. The caller has the lock."""
        await tx.raw.execute(
            _ADD,
            platform,
            packed.sales,
            packed.costs,
            [each.order_number for each in keys],
            [each.version for each in keys],
            [each.digest for each in keys],
            [packed_trade(each) for each in trades],
            [packed_documents(each.documents) for each in keys],
        )

    async def batches(self, places: Iterable[tuple[int, int]], at_once: int = BATCHES_MAX) -> AsyncIterator[SaleBatch]:
        """Yield batches by day and number, in this order; `at_once` are read together."""
        wanted = sorted(set(places))
        for start in range(0, len(wanted), at_once):
            days, numbers = (list(each) for each in zip(*wanted[start : start + at_once], strict=True))
            async with self.database.connection() as reader:
                rows = await reader.raw.fetch(_AT, sorted(set(days)), days, numbers)
            for batch in sorted(map(_batch, rows), key=lambda each: (each.day, each.batch)):
                yield batch

    async def of_platform(self, platform: str, day: int, number: int) -> AsyncIterator[SaleBatch]:
        """Yield the batches of a platform from a day and number on, in this order."""
        while True:
            async with self.database.connection() as reader:
                rows = await reader.raw.fetch(_NEXT, platform, day, number, PLACES_MAX)
            places = [(row["day"], row["batch"]) for row in rows]
            async for batch in self.batches(places, PAGE_BATCHES_MAX):
                yield batch
            if len(places) < PLACES_MAX:
                return
            day, number = places[-1][0], places[-1][1] + 1


def _columns(keys: Iterable[tuple[str, ...]], width: int) -> list[list[str]]:
    rows = sorted(keys)
    return [[each[place] for each in rows] for place in range(width)]


def _batch(row: Any) -> SaleBatch:
    day, batch, platform, filed_at, sales, costs = row
    return SaleBatch(day, batch, platform, filed_at, sales, costs)

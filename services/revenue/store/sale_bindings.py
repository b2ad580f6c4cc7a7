"""The tables sale_platform and sale_binding: which consignments were declared under the order number or a house document of a sale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.store.database import NOW_MICROS, Transaction
from libs.store.tables.schema import TODAY
from services.revenue.sales.comparison import (
    EXPIRED,
    NOT_COMPARED,
    Amounts,
    Finding,
    Trade,
    packed_trade,
    sum_amounts,
    unpacked_trade,
)
from services.revenue.sales.documents import Document, PlatformDocument

Order = tuple[str, str]
"""Platform and order number."""

NO_VERSION: Final = 0
"""Stands for the version of a consignment of which none counts."""
NOT_FILED: Final = 0
"""Stands for the version of a sale that is not filed yet, so that nothing was compared."""
NO_ORDER: Final = ""
"""Stands for the order number of a consignment that is declared under a house document alone, until a sale names it."""
CONTRADICTED_MAX: Final = 1_000
"""Order numbers with a contradiction that are returned."""
BOUND_MAX: Final = 1_000
"""Consignments of one order that are returned; anybody who files may name an order number in any number of consignments."""

_PLATFORMS: Final = "select platform, documents from sale_platform where platform = any($1::text[])"
_ANY_PLATFORM: Final = "select count(*) > 0, coalesce(bool_or(documents), false) from sale_platform"
_LOCK: Final = """
select pg_advisory_xact_lock(key) from (
    select distinct hashtextextended('luxor order ' || given.platform || ' ' || given.order_number, 0) & 255 as key
    from unnest($1::text[], $2::text[]) as given(platform, order_number) order by key
) keys
"""
# Beside the locks of orders, which are taken after these: what holds the lock of an order never waits for that of a document.
_LOCK_DOCUMENTS: Final = """
select pg_advisory_xact_lock(key) from (
    select distinct 256 + (hashtextextended(concat_ws(' ', 'luxor house document', given.platform, given.carrier, given.document), 0) & 255) as key
    from unnest($1::text[], $2::text[], $3::text[]) as given(platform, carrier, document) order by key
) keys
"""
_OF_ORDERS: Final = f"""
select b.platform, b.order_number, b.bound, b.mrn, b.filing_version, b.sale_version, b.bound_at, b.currency, b.net, b.gross, b.unit, b.quantity,
    b.findings, b.withdrawn, b.carrier, b.document
from unnest((select $1::text[]), (select $2::text[])) as given(platform, order_number) cross join lateral (
    select *, count(*) over () as bound from (
        select distinct on (k.mrn) * from sale_binding k where k.platform = given.platform and k.order_number = given.order_number
        order by k.mrn, k.withdrawn, k.filing_version desc offset 0
    ) newest order by bound_at desc, mrn desc limit {BOUND_MAX}
) b order by b.bound_at, b.mrn
"""  # noqa: S608  # a number of our own
# Summed by the store: whoever files may declare any number of consignments under one order number.
_COUNTED: Final = """
select given.platform, given.order_number, b.currency, case when count(b.net) = count(*) then sum(b.net) end,
    case when count(b.gross) = count(*) then sum(b.gross) end, b.unit, case when count(b.quantity) = count(*) then sum(b.quantity) end
from unnest((select $1::text[]), (select $2::text[])) as given(platform, order_number) cross join lateral (
    select * from sale_binding k where k.platform = given.platform and k.order_number = given.order_number and not k.withdrawn
        and k.sale_version >= $4 and k.mrn not in (select unnest($3::text[])) offset 0
) b group by given.platform, given.order_number, b.currency, b.unit
"""
_DECLARED: Final = """
select platform, order_number from unnest($1::text[], $2::text[]) as given(platform, order_number) where exists (
    select from sale_binding k where k.platform = given.platform and k.order_number = given.order_number and not k.withdrawn)
"""
_LATE: Final = f"""
select given.platform, given.order_number, k.mrn from unnest($1::text[], $2::text[]) as given(platform, order_number) cross join lateral (
    select * from sale_binding k where k.platform = given.platform and k.order_number = given.order_number
        and k.mrn = any($3::text[]) and not k.withdrawn offset 0
) k where exists (select from unnest(k.findings) finding where finding ~ '^{EXPIRED}')
"""  # noqa: S608  # a word of our own
_ADD: Final = f"""
insert into sale_binding (platform, order_number, mrn, filing_version, sale_version, currency, net, gross, unit, quantity,
    findings, withdrawn, trade, carrier, document, arrived, day, bound_at)
select given.platform, given.order_number, given.mrn, given.filing_version, given.sale_version, given.currency, given.net, given.gross,
    given.unit, given.quantity, string_to_array(given.findings, chr(10)), given.withdrawn, given.trade, given.carrier, given.document,
    given.arrived, {TODAY}, {NOW_MICROS}
from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::smallint[], $6::text[], $7::bigint[], $8::bigint[], $9::text[],
    $10::bigint[], $11::text[], $12::boolean[], $13::text[], $14::text[], $15::text[],
    $16::boolean[])
    as given(platform, order_number, mrn, filing_version, sale_version, currency, net, gross, unit, quantity, findings, withdrawn, trade, carrier,
        document, arrived)
"""  # noqa: S608  # expressions of our own
_EARLIER: Final = f"""
select k.platform, k.order_number, k.sold, k.mrn, k.filing_version, k.trade, k.withdrawn, k.carrier, k.document
from (
    select given.order_number collate "C" as sold, k.* from unnest($1::text[], $2::text[]) as given(platform, order_number) cross join lateral (
        select * from sale_binding b where b.platform = given.platform and b.order_number = given.order_number
            and b.sale_version = {NOT_FILED} offset 0
    ) k
    union all
    select given.order_number collate "C", k.* from unnest($4::text[], $5::text[], $6::text[], $7::text[])
        as given(platform, carrier, document, order_number) cross join lateral (
        select * from sale_binding b where b.platform = given.platform and b.carrier = given.carrier and b.document = given.document
            and b.order_number = '{NO_ORDER}' offset 0
    ) k
) k order by k.platform, k.sold, k.bound_at, k.mrn, k.filing_version limit $3
"""  # noqa: S608  # words and a number of our own
# Whatever the statistics say, each row is looked up by its MRN: no other condition can use an index, and none is about the stored row alone.
_COMPARED: Final = f"""
update sale_binding b set order_number = given.sold, sale_version = given.sale_version, findings = string_to_array(given.findings, chr(10)),
    trade = case when b.order_number = '{NO_ORDER}' and not b.arrived then b.trade end,
    carrier = case when b.order_number = '{NO_ORDER}' then b.carrier end,
    document = case when b.order_number = '{NO_ORDER}' then b.document end
from (
    select *, {NOT_FILED} as before from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[], $6::smallint[], $7::text[])
        as given(platform, order_number, sold, mrn, filing_version, sale_version, findings) offset 0
) given
where b.mrn = any(array[given.mrn]) and (b.platform, b.order_number, b.filing_version, b.sale_version)
    is not distinct from (given.platform, given.order_number, given.filing_version, given.before)
"""  # noqa: S608  # words and a number of our own
# Goods of which another version arrived have arrived; some may arrive at this moment.
# What has no `trade` was compared by its order number, by a replica of the release before.
_UNBIND: Final = f"""
with bound as materialized (
    select k.platform, k.order_number, k.mrn, k.filing_version, k.arrived
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as given(platform, carrier, document, order_number) cross join lateral (
        select * from sale_binding k where k.platform = given.platform and k.order_number = given.order_number
            and k.carrier = given.carrier and k.document = given.document and k.sale_version > {NOT_FILED} and k.trade is not null and not k.arrived
            and not exists (select from sale_binding other where other.mrn = any(array[k.mrn]) and other.arrived offset 0) offset 0
    ) k limit $5
), freed as (
    update sale_binding b set order_number = '{NO_ORDER}', sale_version = {NOT_FILED}, findings = '{{}}' from bound
    where b.mrn = any(array[bound.mrn]) and (b.platform, b.order_number, b.filing_version, b.arrived)
        is not distinct from (bound.platform, bound.order_number, bound.filing_version, bound.arrived)
)
select count(*) from bound
"""  # noqa: S608  # words and a number of our own
_ARRIVED: Final = f"""
update sale_binding set arrived = true, trade = case when sale_version = {NOT_FILED} then trade end
where mrn = any($1::text[]) and document is not null and not arrived
"""  # noqa: S608  # a number of our own
_BOUND: Final = "select mrn, filing_version from sale_binding where mrn = any($1::text[])"
_LOCK_VERSIONS: Final = "select from sale_binding where mrn = any($1::text[]) order by mrn, filing_version for update"
_COUNT: Final = """
update sale_binding b set withdrawn = b.filing_version <> given.version from unnest($1::text[], $2::integer[]) as given(mrn, version)
where b.mrn = any(array[given.mrn]) and b.withdrawn <> (b.filing_version <> given.version)
"""
_CONTRADICTED: Final = f"""
select distinct order_number from (
    select order_number from sale_binding where platform = $1 and findings <> '{{}}' and not withdrawn
        and exists (select from unnest(findings) finding where finding !~ '^({"|".join(NOT_COMPARED)})')
    order by bound_at desc limit {CONTRADICTED_MAX}
) newest
"""  # noqa: S608  # a number of our own
_VALUES, _FINDINGS = "\t", "\n"
"""What separates the parts of a finding, and findings: no text of a filing has either."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A consignment under the order number of a sale."""

    order: Order
    mrn: str
    filing_version: int
    sale_version: int
    amounts: Amounts
    findings: Sequence[Finding]
    bound_at: int = 0
    """Microseconds since 1970-01-01 UTC."""
    is_withdrawn: bool = False
    """Whether it does not count for the order: the goods never came, or another version of the declaration is active."""
    trade: Trade | None = None
    """What it states, while its sale is not filed yet, or while it may be bound to another one by its house document."""
    document: Document | None = None
    """The house document by which it is bound, or waits with NO_ORDER; while it waits with an order number, the one that it states."""
    may_have_arrived: bool = False
    """Whether its goods may have arrived: an amendment of the sale without the document does not unbind it any more."""


async def platforms_with_sales(reader: Transaction, platforms: Iterable[str]) -> dict[str, bool]:
    """Return those of some platforms that ever filed a sale, with whether one of their sales ever named a house document."""
    return {row["platform"]: row["documents"] for row in await reader.raw.fetch(_PLATFORMS, list(platforms))}


async def has_sales(reader: Transaction) -> tuple[bool, bool]:
    """Return whether any platform ever filed a sale, and whether any sale ever named a house document."""
    any_sale, any_document = await reader.raw.fetchrow(_ANY_PLATFORM)
    return any_sale, any_document


async def lock_orders(tx: Transaction, orders: Iterable[Order]) -> None:
    """Wait for other transactions that bind consignments to these orders, until the end of the transaction."""
    await tx.raw.execute(_LOCK, *_columns(orders))


async def lock_documents(tx: Transaction, documents: Iterable[PlatformDocument]) -> None:
    """Wait for other transactions that bind consignments by these house documents, until the end of the transaction. Before lock_orders."""
    rows = list(documents)
    await tx.raw.execute(_LOCK_DOCUMENTS, *([row[place] for row in rows] for place in range(3)))


@dataclass(frozen=True, slots=True)
class BoundConsignments:
    """The consignments under the order number of a sale."""

    count: int
    """How many there are."""
    newest: list[Binding]
    """The last BOUND_MAX of them, in the order of binding: of each the version that counts, else its last one."""


async def bindings_of(reader: Transaction, orders: Iterable[Order]) -> Mapping[Order, BoundConsignments]:
    """Return the consignments under order numbers; those without any are left out."""
    found: dict[Order, BoundConsignments] = {}
    for platform, number, count, mrn, version, sale_version, at, *row in await reader.raw.fetch(
        _OF_ORDERS, *_columns(orders)
    ):
        *amounts, texts, withdrawn, carrier, document = row
        order, findings = (platform, number), [Finding(*each.split(_VALUES)) for each in texts]
        found.setdefault(order, BoundConsignments(count, [])).newest.append(
            Binding(
                order,
                mrn,
                version,
                sale_version,
                Amounts(*amounts),
                findings,
                at,
                withdrawn,
                document=_document(carrier, document),
            )
        )
    return found


async def amounts_of(
    reader: Transaction, orders: Iterable[Order], without: Iterable[str], *, compared: bool = False
) -> dict[Order, Amounts]:
    """Return what counts for orders together, of all consignments under them but those `without`; orders without any are left out.

    With `compared`, those alone count that were compared with a sale.
    """
    found: dict[Order, Amounts] = {}
    for platform, number, currency, net, gross, unit, quantity in await reader.raw.fetch(
        _COUNTED, *_columns(orders), list(without), NOT_FILED + compared
    ):
        # Sums of the store are decimal numbers.
        own = Amounts(currency, _whole(net), _whole(gross), unit, _whole(quantity))
        before = found.get((platform, number))
        found[platform, number] = own if before is None else sum_amounts(before, own)
    return found


async def declared(reader: Transaction, orders: Iterable[Order]) -> set[Order]:
    """Return those of some orders for which a consignment counts."""
    return {(platform, number) for platform, number in await reader.raw.fetch(_DECLARED, *_columns(orders))}


async def late_among(reader: Transaction, orders: Iterable[Order], mrns: Iterable[str]) -> set[tuple[Order, str]]:
    """Return those of some consignments under orders whose version that counts was declared when the sale had expired."""
    rows = await reader.raw.fetch(_LATE, *_columns(orders), list(mrns))
    return {((platform, number), mrn) for platform, number, mrn in rows}


async def add_bindings(tx: Transaction, bindings: Sequence[Binding]) -> None:
    """Store bindings. The caller has locked the orders."""
    await tx.raw.execute(
        _ADD,
        *_columns(each.order for each in bindings),
        [each.mrn for each in bindings],
        [each.filing_version for each in bindings],
        [each.sale_version for each in bindings],
        *([getattr(each.amounts, name) for each in bindings] for name in Amounts.__slots__),
        [_text(each.findings) for each in bindings],
        [each.is_withdrawn for each in bindings],
        [None if each.trade is None else packed_trade(each.trade) for each in bindings],
        [each.document and each.document.carrier for each in bindings],
        [each.document and each.document.number for each in bindings],
        [each.may_have_arrived for each in bindings],
    )


@dataclass(frozen=True, slots=True)
class EarlierGoods:
    """A version of a consignment that was assessed before its sale was filed."""

    order: Order
    """Of the sale."""
    binding: Binding
    """As it waits: with the order number that it states, or with NO_ORDER and its house document."""


async def earlier_bindings(
    tx: Transaction, orders: Iterable[Order], documents: Mapping[PlatformDocument, Order], rows_max: int
) -> list[EarlierGoods]:
    """Return versions of consignments that were assessed before the sale of their order, or of their house document, was filed.

    They come by the order of the sale and in the order of assessment. `documents` has the orders of the sales that documents belong to.
    """
    named = [(*document, number) for document, (_, number) in documents.items()]
    rows = await tx.raw.fetch(
        _EARLIER, *_columns(orders), rows_max, *([row[place] for row in named] for place in range(4))
    )
    found = []
    for platform, number, sold, mrn, version, text, withdrawn, carrier, document in rows:
        trade, order = unpacked_trade(text), (platform, number)
        own = _document(carrier, document)
        waiting = Binding(
            order, mrn, version, NOT_FILED, trade.amounts, [], is_withdrawn=withdrawn, trade=trade, document=own
        )
        found.append(EarlierGoods((platform, sold), waiting))
    return found


async def write_comparisons(tx: Transaction, compared: Sequence[tuple[Order, Binding]]) -> None:
    """Store what was found in versions of consignments whose sale is filed now, each with the order under which it waited.

    The caller has locked the orders and the house documents.
    """
    await tx.raw.execute(
        _COMPARED,
        *_columns(before for before, _ in compared),
        [each.order[1] for _, each in compared],
        [each.mrn for _, each in compared],
        [each.filing_version for _, each in compared],
        [each.sale_version for _, each in compared],
        [_text(each.findings) for _, each in compared],
    )


async def unbind(tx: Transaction, freed: Iterable[tuple[PlatformDocument, Order]], rows_max: int) -> bool:
    """Have goods wait for another sale that were bound by house documents to sales which name them no more, unless the goods may have arrived.

    These are `rows_max` versions at most; return whether more may be left. The caller has locked the documents and the orders.
    """
    rows = [(*document, number) for document, (_, number) in freed]
    count: int = await tx.raw.fetchval(_UNBIND, *([row[place] for row in rows] for place in range(4)), rows_max)
    return count == rows_max


async def note_arrivals(tx: Transaction, mrns: Sequence[str]) -> None:
    """Note that the goods of consignments have arrived, of those that are declared under a house document."""
    await tx.raw.execute(_ARRIVED, mrns)


async def versions_bound(reader: Transaction, mrns: Iterable[str]) -> set[tuple[str, int]]:
    """Return the versions of some consignments that are bound to an order, or wait for one."""
    return {(mrn, version) for mrn, version in await reader.raw.fetch(_BOUND, list(mrns))}


async def lock_versions(tx: Transaction, mrns: Iterable[str]) -> None:
    """Wait for other transactions that note which versions of these consignments count, until the end of the transaction."""
    await tx.raw.execute(_LOCK_VERSIONS, list(mrns))


async def count_versions(tx: Transaction, versions: Mapping[str, int]) -> None:
    """Note which version of each consignment counts for its order, NO_VERSION for none; other versions of it do not count."""
    await tx.raw.execute(
        _COUNT, *(list(each) for each in zip(*sorted(versions.items()), strict=True)) if versions else ([], [])
    )


async def contradicted(reader: Transaction, platform: str) -> list[str]:
    """Return the order numbers of a platform with contradictions, the last CONTRADICTED_MAX."""
    return [row["order_number"] for row in await reader.raw.fetch(_CONTRADICTED, platform)]


def _text(findings: Sequence[Finding]) -> str:
    return _FINDINGS.join(_VALUES.join((each.reason, each.declared, each.sold)) for each in findings)


def _whole(number: Decimal | None) -> int | None:
    return None if number is None else int(number)


def _document(carrier: str | None, number: str | None) -> Document | None:
    return None if carrier is None or number is None else Document(carrier, number)


def _columns(orders: Iterable[Order]) -> tuple[list[str], list[str]]:
    pairs = list(orders)
    return [platform for platform, _ in pairs], [number for _, number in pairs]

"""The gRPC edge of sales."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

import grpc.aio
import numpy as np

from libs.columns import Table
from libs.columns.digest import row_digests
from libs.customs.time import day_of
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of, recalled
from libs.store.tables import schema
from libs.telemetry import counter
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import LandedCost
from luxor.revenue.v1.sales_pb2_grpc import SaleServiceServicer
from services.revenue.api.batch_size import check_batch_size
from services.revenue.api.quote_codes import errors_of, normalised
from services.revenue.api.quotes import landed_costs, quote_batch
from services.revenue.assessment.batch import ActiveLaw
from services.revenue.commands.sales.file import FiledBatch, FileSales
from services.revenue.sales.content import order_number_of, sale_messages, sale_table
from services.revenue.sales.documents import content_digest, document_errors, documents_of
from services.revenue.sales.versions import SaleKey, StoredVersion
from services.revenue.store.sale_bindings import NOT_FILED, Binding, bindings_of, contradicted, declared
from services.revenue.store.sales import Place, SaleBatch, SaleStore

SALES_MAX: Final = 1_000
ITEMS_MAX: Final = 10_000
DOCUMENTS_MAX: Final = 2_000
"""House documents of a request together: looking one up costs as much as several items, in the transaction as well."""
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 2_000_000
"""Bytes of a page from which on it ends: one sale has at most some hundred thousand."""
BATCHES_MAX: Final = 100
"""Batches that are read for a page: all sales of a batch may have been replaced."""
SALES_AT_ONCE: Final = 20
"""Sales of which the consignments are read at once: one sale may have a thousand."""
LINES_AT_ONCE: Final = 100
"""After so many lines are explained other calls have their turn: some milliseconds."""
PLATFORM_CHARACTERS_MAX: Final = 35
"""Of the platform that a consignment names (Order.platform): none can be declared under the orders of a platform with a longer id."""
FUTURE_DAYS: Final = 1
"""Days that a payment may lie ahead, for the clocks of platforms."""
_DAY: Final = 86_400_000_000

_filed = counter("luxor_revenue_sales_filed_total", "Sales that were filed, by result", ("outcome",))


class SaleService(SaleServiceServicer):
    """Files and lists sales."""

    def __init__(
        self,
        store: SaleStore,
        active_law: Callable[[], ActiveLaw],
        *,
        now_micros: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        """Assess by the law in force here."""
        self._store = store
        self._active_law = active_law
        self._now_micros = now_micros
        self._pages = PageTokens(store.database)
        self._file = FileSales(store, self._assess)

    async def FileSales(
        self, request: pb.FileSalesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.FileSalesResponse:
        """File sales of the caller, once per request; each has its own result."""
        platform = call.current().identity.id
        before = await recalled(self._store.database, pb.FileSalesResponse, request)
        if before is not None:
            return await self._file.completed(platform, before)
        check_batch_size(len(request.sales), SALES_MAX)
        items = sum(len(each.items) for each in request.sales)
        if items > ITEMS_MAX:
            raise Refusal("BATCH_ITEMS_TOO_MANY", path="sales", count=items, count_max=ITEMS_MAX)
        documents = sum(len(each.house_documents) for each in request.sales)
        if documents > DOCUMENTS_MAX:
            raise Refusal("BATCH_DOCUMENTS_TOO_MANY", path="sales", count=documents, count_max=DOCUMENTS_MAX)
        errors = _element_errors(request.sales, platform, self._now_micros())
        places = [place for place in range(len(request.sales)) if place not in errors]
        table = normalised(sale_table((request.sales[place] for place in places), platform))
        errors |= {places[row]: each for row, each in self._code_errors(table, places).items()}
        rows = np.array([row for row, place in enumerate(places) if place not in errors], np.int64)
        table, places = table.take(rows), [places[row] for row in rows.tolist()]
        sales = [request.sales[place] for place in places]
        batch = FiledBatch(platform, table, _keys(table, sales), [documents_of(each) for each in sales], places)
        return await self._file.run(request, batch, errors, _count)

    async def ListSales(
        self, request: pb.ListSalesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSalesResponse:
        """Return a page of a platform's sales: a filer's own, for officers those of the platform that they name."""
        identity = call.current().identity
        own = identity.role is Role.FILER
        if not own and not request.platform:
            raise Refusal("ELEMENT_MISSING", path="platform")
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        after = await self._pages.place(request, (0, 0, -1))
        response = pb.ListSalesResponse()
        if own and request.platform not in ("", identity.id):
            return response
        platform, size, read = identity.id if own else request.platform, 0, 0
        last: Place | None = None
        numbers: Sequence[str] | None = [each.strip() for each in request.order_numbers] or None
        if request.contradicted:
            async with self._store.database.connection() as reader:
                numbers = await contradicted(reader, platform)
        async for place, sale in self._current(
            platform, numbers, after, state=request.state, with_consignments=not own
        ):
            if sale is None:
                read += 1
                if read == BATCHES_MAX:
                    response.next_page_token = await self._pages.token(request, *place)
                    break
                continue
            if len(response.sales) == limit or size > PAGE_BYTES_MAX:
                assert last is not None
                response.next_page_token = await self._pages.token(request, *last)
                break
            response.sales.append(sale)
            last, size = place, size + sale.ByteSize()
        return response

    async def _current(
        self,
        platform: str,
        numbers: Sequence[str] | None,
        after: Place,
        *,
        state: pb.SaleState.ValueType,
        with_consignments: bool,
    ) -> AsyncIterator[tuple[Place, pb.FiledSale | None]]:
        """Yield the sales of a platform behind a place in their current version, all or those with some order numbers or in a state.

        After those of each batch follows the last place of the batch, with None.
        """
        if numbers is not None:
            current = await self._current_versions(platform, numbers)
            batches = self._store.batches((each.day, each.batch) for each in current.values() if _place(each) > after)
        else:
            current, batches = {}, self._store.of_platform(platform, after[0], after[1])
        async for batch in batches:
            table = batch.table()
            held = table.strings("order_number").tolist()
            versions = current or await self._current_versions(platform, held)
            rows = sorted(
                each.row for number, each in versions.items() if (each.day, each.batch) == (batch.day, batch.batch)
            )
            behind = [row for row in rows if (batch.day, batch.batch, row) > after]
            filed = await self._in_state(_filed_sales(batch, table, behind, versions), state)
            for start in range(0, len(filed), SALES_AT_ONCE):
                part = filed[start : start + SALES_AT_ONCE]
                if with_consignments:
                    await self._add_consignments([sale for _, sale in part])
                for each in part:
                    yield each
            yield (batch.day, batch.batch, SALES_MAX), None
            await asyncio.sleep(0)

    async def _in_state(
        self, filed: Sequence[tuple[Place, pb.FiledSale]], state: pb.SaleState.ValueType
    ) -> list[tuple[Place, pb.FiledSale]]:
        """Write their states into sales, and return those in a state, all where it is not specified."""
        orders = {place: (sale.receipt.platform, sale.receipt.order_number) for place, sale in filed}
        async with self._store.database.connection() as reader:
            is_declared = await declared(reader, orders.values())
            today = await schema.today(reader)
        for place, sale in filed:
            if orders[place] in is_declared:
                sale.state = pb.SALE_STATE_DECLARED
            else:
                sale.state = pb.SALE_STATE_EXPIRED if today > place[0] + self._store.term_days else pb.SALE_STATE_OPEN
        return [each for each in filed if state in (pb.SALE_STATE_UNSPECIFIED, each[1].state)]

    async def _add_consignments(self, sales: Sequence[pb.FiledSale]) -> None:
        """Add the consignments that were declared under the order numbers, or house documents, of sales."""
        orders = [(each.receipt.platform, each.receipt.order_number) for each in sales]
        async with self._store.database.connection() as reader:
            bound = await bindings_of(reader, orders)
        for sale, order in zip(sales, orders, strict=True):
            if order in bound:
                sale.consignments.extend(map(_bound_consignment, bound[order].newest))
                sale.consignments_count = bound[order].count

    async def _current_versions(self, platform: str, numbers: Sequence[str]) -> Mapping[str, StoredVersion]:
        async with self._store.database.connection() as reader:
            found = await self._store.find(reader, platform, numbers)
        return {number: max(each, key=lambda one: one.version) for number, each in found.items()}

    def _code_errors(self, table: Table, places: Sequence[int]) -> dict[int, ItemError]:
        """Return the errors of codes, by row."""
        errors = {}
        days = [day_of(paid) for paid in table.ints("order_time").values.tolist()]
        # The day decides only about codes that were withdrawn since, so there are one or two.
        for day in set(days):
            rows = np.array([row for row, each in enumerate(days) if each == day], np.int64)
            for at, error in errors_of(table.take(rows), day, self._active_law().program.areas).items():
                row = int(rows[at])
                errors[row] = item_error(error.reason, f"sales[{places[row]}].{error.path}", error.value)
        return errors

    async def _assess(self, table: Table) -> Sequence[LandedCost]:
        """Return the landed cost of sales by the law of the day of their payment, each as if it came alone."""
        costs: list[LandedCost] = []
        if not table.rows:
            return costs
        law, lines = self._active_law(), 0
        done = quote_batch(law.program, law.register, table, table.ints("order_time"), summed=False)
        for cost in landed_costs(done.assessment, done.summed):
            costs.append(cost)
            lines += 1 + len(cost.lines)
            if lines > LINES_AT_ONCE:
                lines = 0
                await asyncio.sleep(0)
        return costs


def _element_errors(sales: Sequence[pb.Sale], platform: str, now: int) -> dict[int, ItemError]:
    """Return the errors of what identifies a sale, by place."""
    errors = {}
    for place, sale in enumerate(sales):
        path = f"sales[{place}]"
        if sale.platform not in ("", platform):
            errors[place] = item_error("PLATFORM_NOT_OWN", f"{path}.platform", sale.platform)
        elif len(platform) > PLATFORM_CHARACTERS_MAX:
            errors[place] = item_error(
                "TEXT_TOO_LONG",
                f"{path}.platform",
                platform,
                characters=len(platform),
                characters_max=PLATFORM_CHARACTERS_MAX,
            )
        elif not order_number_of(sale):
            errors[place] = item_error("ELEMENT_MISSING", f"{path}.order_number")
        elif not sale.HasField("paid_at"):
            errors[place] = item_error("ELEMENT_MISSING", f"{path}.paid_at")
        elif sale.paid_at.ToMicroseconds() > now + FUTURE_DAYS * _DAY:
            errors[place] = item_error("TIME_IN_FUTURE", f"{path}.paid_at", days=FUTURE_DAYS)
        elif not (sale.destination_country or sale.consignee.address.country):
            errors[place] = item_error("ELEMENT_MISSING", f"{path}.destination_country")
        elif not sale.items:
            errors[place] = item_error("ELEMENT_MISSING", f"{path}.items")
        elif len({each.scheme for each in sale.fiscal_references}) < len(sale.fiscal_references):
            errors[place] = item_error("SCHEME_REPEATED", f"{path}.fiscal_references")
        elif found := next(document_errors(documents_of(sale)), None):
            reason, element, value = found
            errors[place] = item_error(reason, f"{path}.{element}", value)
    return errors


def _keys(table: Table, sales: Sequence[pb.Sale]) -> list[SaleKey]:
    keys = []
    for sale, digest in zip(sales, row_digests(table), strict=True):
        documents = tuple(sorted(set(documents_of(sale))))
        keys.append(SaleKey(order_number_of(sale), sale.amended_version, content_digest(digest, documents), documents))
    return keys


def _place(version: StoredVersion) -> Place:
    return version.day, version.batch, version.row


def _filed_sales(
    batch: SaleBatch, table: Table, rows: Sequence[int], versions: Mapping[str, StoredVersion]
) -> list[tuple[Place, pb.FiledSale]]:
    """Return some sales of a batch with their receipts."""
    costs = batch.costs()
    filed = []
    for row, sale in zip(rows, sale_messages(table.take(np.array(rows, np.int64))), strict=True):
        version = versions[sale.order_number]
        for carrier, number in version.documents:
            sale.house_documents.add(carrier_identifier=carrier, number=number)
        receipt = pb.SaleReceipt(
            platform=batch.platform,
            order_number=sale.order_number,
            version=version.version,
            landed_cost=costs[row],
        )
        receipt.filed_at.FromMicroseconds(batch.filed_at)
        filed.append(((batch.day, batch.batch, row), pb.FiledSale(sale=sale, receipt=receipt)))
    return filed


def _bound_consignment(binding: Binding) -> pb.BoundConsignment:
    bound = pb.BoundConsignment(
        mrn=binding.mrn,
        filing_version=binding.filing_version,
        sale_version=binding.sale_version,
        withdrawn=binding.is_withdrawn,
        findings=[
            pb.SaleFinding(reason=each.reason, declared=each.declared, sold=each.sold) for each in binding.findings
        ],
    )
    if binding.document is not None and binding.sale_version != NOT_FILED:
        bound.house_document.carrier_identifier, bound.house_document.number = binding.document
    bound.bound_at.FromMicroseconds(binding.bound_at)
    return bound


def _count(new: int, repeated: int, refused: int) -> None:
    for outcome, number in (("accepted", new), ("repeated", repeated), ("refused", refused)):
        if number:
            _filed.labels(outcome).inc(number)

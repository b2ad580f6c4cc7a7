"""File the sales of a platform, once per request: what is stored already has its first answer, what is new is assessed and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Table
from libs.server.errors import item_error
from libs.server.requests import once
from libs.store.database import Transaction
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.revenue.v1 import sales_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import LandedCost
from services.revenue.commands.sales.bind import bind_earlier
from services.revenue.sales.comparison import trades_of
from services.revenue.sales.documents import Document, PlatformDocument
from services.revenue.sales.versions import Decided, SaleKey, StoredVersion, decide
from services.revenue.store.sale_searches import note_documents, request_search
from services.revenue.store.sales import SaleStore, pack_sales

Assess = Callable[[Table], Awaitable[Sequence[LandedCost]]]
"""Answers new sales, a table of ConsignmentColumns, each by itself."""
Errors = Mapping[int, ItemError]
"""Why sales are refused, by their places in the request."""
_PATH: Final = {"ORDER_REUSED": "order_number"}
"""The element at fault; of other reasons it is amended_version."""
_DOCUMENT_REUSED: Final = "HOUSE_DOCUMENT_REUSED"
_REUSED: Final = ("ORDER_REUSED", "VERSION_REPLACED")
"""Reasons of sales whose version another one has, stored or of the same request."""


@dataclass(frozen=True, slots=True)
class FiledBatch:
    """The sales of a request that are not refused for what they state; a row each."""

    platform: str
    table: Table
    """A table of ConsignmentColumns."""
    keys: Sequence[SaleKey]
    documents: Sequence[Sequence[Document]]
    """The house documents of each as the request has them."""
    places: Sequence[int]
    """Their places in the request, rising."""


class FileSales:
    """Files sales."""

    def __init__(self, store: SaleStore, assess: Assess) -> None:
        """Store sales that `assess` can assess."""
        self._store = store
        self._assess = assess

    async def run(
        self,
        request: pb.FileSalesRequest,
        batch: FiledBatch,
        errors: Errors,
        committed: Callable[[int, int, int], None],
    ) -> pb.FileSalesResponse:
        """File the sales of a request; return its answer, or the stored one of a repeated request. Raises Refusal.

        `errors` are those of the other sales of the request. After the commit of a new answer `committed` is called with the number of
        sales that are new, were stored before, and are refused.
        """
        async with self._store.database.connection() as reader:
            stored, holders = await self._stored(reader, batch)
        first = decide(batch.keys, range(len(batch.keys)), stored, holders)
        doubtful = sorted([*first.fresh, *_reused_in_request(batch, first, stored)])
        if any(each.documents for each in batch.keys):
            # Any of them may be new, if another one that names its house document cannot be assessed.
            doubtful = [row for row in range(len(batch.keys)) if not _is_stored(batch.keys[row], stored)]
        costs = dict(zip(doubtful, await self._assess(batch.table.take(_rows(doubtful))), strict=True))
        unassessed = _unassessed(batch, costs)
        for row, equal in first.same.items():
            if equal in unassessed:
                unassessed[row] = _error(batch, row, unassessed[equal].reason)
        # A sale that cannot be assessed leaves its order number free, also for another one of the same request.
        assessed = [row for row in range(len(batch.keys)) if row not in unassessed]
        first = decide(batch.keys, assessed, stored, holders)
        refused = _errors_of(batch, first) | unassessed
        rows = [row for row in range(len(batch.keys)) if row not in refused]
        expected = first.fresh
        packed = pack_sales(batch.table.take(_rows(expected)), [costs[row] for row in expected])
        known = [row for row in rows if row in costs]
        trades = dict(zip(known, trades_of(batch.table.take(_rows(known))), strict=True))

        async def work(tx: Transaction) -> pb.FileSalesResponse:
            await self._store.lock(tx, batch.platform)
            stored, holders = await self._stored(tx, batch)
            decided = decide(batch.keys, rows, stored, holders)
            content = packed
            if decided.fresh != expected:
                # Another call stored some of them meanwhile.
                content = pack_sales(batch.table.take(_rows(decided.fresh)), [costs[row] for row in decided.fresh])
            if decided.fresh:
                keys, stated = [batch.keys[row] for row in decided.fresh], [trades[row] for row in decided.fresh]
                await self._store.add(tx, batch.platform, keys, stated, content)
                await self._bind_earlier(tx, batch.platform, keys, _freed(stored, keys))
            of_rows = refused | _errors_of(batch, decided)
            by_place = {**errors, **{batch.places[row]: error for row, error in of_rows.items()}}
            repeated = len(decided.stored) + len(decided.same)
            tx.after_commit(lambda: committed(len(decided.fresh), repeated, len(by_place)))
            return _answer(len(request.sales), batch, by_place)

        return await self.completed(
            batch.platform, await once(self._store.database, pb.FileSalesResponse, request, work)
        )

    async def _bind_earlier(
        self, tx: Transaction, platform: str, stored: Sequence[SaleKey], freed: Sequence[tuple[Document, str]]
    ) -> None:
        """Bind goods that were declared before their sale, or its house document, was filed; `stored` are the new sales.

        Goods of the `freed` documents are unbound from the sale of the order number that named each before.
        """
        first_versions = [(platform, each.order_number) for each in stored if each.version == 1]
        named = {PlatformDocument(platform, *document) for each in stored for document in each.documents}
        if named:
            await note_documents(tx, platform)
        unbound = [(PlatformDocument(platform, *document), (platform, number)) for document, number in freed]
        if await bind_earlier(tx, self._store, first_versions, named, unbound):
            await request_search(tx, platform)

    async def completed(self, platform: str, response: pb.FileSalesResponse) -> pb.FileSalesResponse:
        """Write into the receipts of an answer when the sales were filed and what they cost, which is stored once, with the sales."""
        receipts: dict[tuple[str, int], list[pb.SaleReceipt]] = {}
        for each in response.results:
            if each.status == pb.SALE_STATUS_ACCEPTED:
                receipts.setdefault((each.receipt.order_number, each.receipt.version), []).append(each.receipt)
        async with self._store.database.connection() as reader:
            found = await self._store.find(reader, platform, (number for number, _ in receipts))
        at: dict[tuple[int, int], list[tuple[int, pb.SaleReceipt]]] = {}
        for (number, version), mine in receipts.items():
            stored = next(each for each in found[number] if each.version == version)
            at.setdefault((stored.day, stored.batch), []).extend((stored.row, each) for each in mine)
        async for sales in self._store.batches(at):
            costs = sales.costs()
            for row, receipt in at[sales.day, sales.batch]:
                receipt.filed_at.FromMicroseconds(sales.filed_at)
                receipt.landed_cost.CopyFrom(costs[row])
            await asyncio.sleep(0)
        return response

    async def _stored(
        self, reader: Transaction, batch: FiledBatch
    ) -> tuple[Mapping[str, Sequence[StoredVersion]], Mapping[Document, str]]:
        """Return the stored versions of the order numbers of a request, and the order number that each of its house documents belongs to.

        Documents of sales that have expired belong to none.
        """
        stored = await self._store.find(reader, batch.platform, (each.order_number for each in batch.keys))
        named = {PlatformDocument(batch.platform, *document) for each in batch.keys for document in each.documents}
        owners = await self._store.current(reader, (), named) if named else {}
        return stored, {document: order[1] for order, sale in owners.items() for document in sale.documents}


def _freed(stored: Mapping[str, Sequence[StoredVersion]], new: Sequence[SaleKey]) -> list[tuple[Document, str]]:
    """Return the house documents that sales named in their last stored version and name in their new one no more, each with the order number."""
    last = {each.order_number: each for each in new}
    return [
        (document, number)
        for number, key in last.items()
        if stored.get(number)
        for document in max(stored[number], key=lambda each: each.version).documents
        if document not in key.documents
    ]


def _rows(rows: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    return np.array(rows, np.intp)


def _answer(count: int, batch: FiledBatch, errors: Errors) -> pb.FileSalesResponse:
    """Return the answer as it is stored: receipts name the versions alone."""
    keys = dict(zip(batch.places, batch.keys, strict=True))
    response = pb.FileSalesResponse()
    for place in range(count):
        if place in errors:
            response.results.add(status=pb.SALE_STATUS_REFUSED, error=errors[place])
        else:
            number, version = keys[place].order_number, keys[place].version
            receipt = pb.SaleReceipt(platform=batch.platform, order_number=number, version=version)
            response.results.add(status=pb.SALE_STATUS_ACCEPTED, receipt=receipt)
    return response


def _reused_in_request(
    batch: FiledBatch, decided: Decided, stored: Mapping[str, Sequence[StoredVersion]]
) -> Iterator[int]:
    """Yield the sales that are refused because of another one of their request, not because of what is stored."""
    for row, (reason, _) in decided.refused.items():
        if reason in _REUSED and not _is_stored(batch.keys[row], stored):
            yield row


def _is_stored(key: SaleKey, stored: Mapping[str, Sequence[StoredVersion]]) -> bool:
    """Return whether the version that a sale is to be is stored, with its content or another one."""
    return any(each.version == key.version for each in stored.get(key.order_number, ()))


def _unassessed(batch: FiledBatch, costs: Mapping[int, LandedCost]) -> dict[int, ItemError]:
    return {row: _error(batch, row, cost.reason) for row, cost in costs.items() if cost.reason}


def _error(batch: FiledBatch, row: int, reason: str) -> ItemError:
    return item_error(reason, f"sales[{batch.places[row]}]")


def _errors_of(batch: FiledBatch, decided: Decided) -> dict[int, ItemError]:
    """Return the errors of sales that contradict what is stored, or other sales of their request."""
    errors = {}
    for row, (reason, version) in decided.refused.items():
        key = batch.keys[row]
        if reason == _DOCUMENT_REUSED:
            document, owner = decided.reused[row]
            path = f"sales[{batch.places[row]}].house_documents[{batch.documents[row].index(document)}].number"
            errors[row] = item_error(reason, path, document.number, carrier=document.carrier, order_number=owner)
            continue
        element = _PATH.get(reason, "amended_version")
        value: str | int = key.order_number if element == "order_number" else key.replaced
        errors[row] = item_error(
            reason, f"sales[{batch.places[row]}].{element}", value, version=version, order_number=key.order_number
        )
    return errors

"""Search the consignments that were assessed before the first sale of their platform, or its first house document, and bind them to its sales.

When a batch is assessed, the orders of platforms without sales are not stored, nor the house documents of those whose sales name none, which spares
a row for each consignment. So when a platform files its first sale, and the first one that names a document, the inputs of assessments are read once.
Of all replicas one at a time searches; a search that was interrupted begins anew, and what is bound is not bound twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.stored import InputError, decompressed, reading
from libs.store.database import Database, Transaction
from libs.store.tables import schema
from libs.store.tables.inputs import BatchPlace
from libs.store.tables.leases import release_lease, require_lease, try_lease
from libs.telemetry import get_logger
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE
from services.revenue.commands.sales.bind import bind_earlier, binding_before_sale, orders_in
from services.revenue.ledger.charge import WITHDRAWN
from services.revenue.sales.comparison import Trade, trades_of
from services.revenue.sales.documents import Document, PlatformDocument
from services.revenue.store.assessments.inputs import Inputs, StoredBatch
from services.revenue.store.positions import positions
from services.revenue.store.sale_bindings import (
    NO_ORDER,
    NO_VERSION,
    Order,
    add_bindings,
    count_versions,
    lock_documents,
    lock_orders,
    lock_versions,
    versions_bound,
)
from services.revenue.store.sale_searches import complete_searches, due_searches
from services.revenue.store.sales import SaleStore

LEASE: Final = "sale-search"
LEASE_SECONDS: Final = 60.0
WRITE_MAX: Final = 500
"""Consignments that are bound in one transaction, which must not hold the feeds' horizon for long."""
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Declared:
    """A version of a consignment that names a platform that is searched for, with an order or a house document."""

    order: Order
    """With NO_ORDER where it states none."""
    document: Document | None
    mrn: str
    version: int
    trade: Trade


class GoodsSearch:
    """Searches for the goods of platforms that filed their first sale after them."""

    def __init__(self, database: Database, sales: SaleStore, replica: str) -> None:
        """Search the inputs of a database for the goods of its sales."""
        self._database = database
        self._sales = sales
        self._inputs = Inputs(database)
        self._replica = replica

    async def run(self) -> bool:
        """Do the searches that are due; return False if none is, or another replica is at it. Raises what the store raises."""
        async with self._database.connection() as reader:
            due = await due_searches(reader)
            until = await schema.today(reader)
        if not due or await self._lease() is None:
            return False
        platforms = {each.platform: each.names_documents for each in due}
        # A sale expires after its term, and so do its goods.
        place = BatchPlace(until - self._sales.term_days, 0)
        while batches := await self._inputs.batches.read(place, until, purpose=PURPOSE_CLEARANCE):
            token = await self._lease()
            if token is None:
                return False
            for each in batches:
                await self._bind(token, await asyncio.to_thread(_declared, each, platforms))
            place = batches[-1].place
        async with self._database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
            if token is not None:
                await complete_searches(tx, due)
                await release_lease(tx, LEASE, token)
        return token is not None

    async def _lease(self) -> int | None:
        """Acquire or renew the lease; return its token, or None while another replica has it."""
        async with self._database.transaction() as tx:
            return await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)

    async def _bind(self, token: int, declared: Sequence[Declared]) -> None:
        for start in range(0, len(declared), WRITE_MAX):
            part = declared[start : start + WRITE_MAX]
            async with self._database.transaction() as tx:
                await require_lease(tx, LEASE, token)
                await self._add(tx, part)
            async with self._database.transaction() as tx:
                await require_lease(tx, LEASE, token)
                await self._count(tx, [each.mrn for each in part])
            more = True
            while more:
                async with self._database.transaction() as tx:
                    await require_lease(tx, LEASE, token)
                    orders = {each.order for each in part if each.order[1] != NO_ORDER}
                    sold = await self._sales.current(tx, orders)
                    documents = _documents(part)
                    await lock_documents(tx, documents)
                    # What a call did not unbind, because it was too much at once, is unbound here.
                    freed = await self._sales.dropped(tx, documents) if documents else []
                    more = await bind_earlier(tx, self._sales, sold, documents, freed)

    async def _active_versions(self, mrns: Sequence[str]) -> Mapping[str, int]:
        """Return the version of each consignment that clearance announced as active, NO_VERSION for one that never came."""
        async with self._database.connection(snapshot=True) as reader:
            stored = await positions.read(reader, mrns)
        active = np.where(stored.basis.status == WITHDRAWN, NO_VERSION, stored.filing_version).tolist()
        # A state of an earlier release does not name the version of the filing.
        named = stored.exists & ((stored.basis.status == WITHDRAWN) | (stored.filing_version > 0))
        return {mrn: active[row] for row, mrn in enumerate(mrns) if named[row]}

    async def _add(self, tx: Transaction, declared: Sequence[Declared]) -> None:
        """Bind the versions that are not bound yet to their orders, or have them wait for their house documents."""
        await lock_documents(tx, _documents(declared))
        await lock_orders(tx, {each.order for each in declared})
        bound = await versions_bound(tx, {each.mrn for each in declared})
        fresh = {(each.mrn, each.version): each for each in declared if (each.mrn, each.version) not in bound}
        await add_bindings(
            tx,
            [
                # Their states were announced before.
                binding_before_sale(
                    each.order, each.mrn, each.version, each.trade, each.document, may_have_arrived=True
                )
                for each in fresh.values()
            ],
        )

    async def _count(self, tx: Transaction, mrns: Sequence[str]) -> None:
        """Note which versions of consignments count.

        Positions are read once no state of these consignments can be announced meanwhile: what clearance announced later must not be undone.
        """
        await lock_versions(tx, mrns)
        await count_versions(tx, await self._active_versions(mrns))


def _documents(declared: Sequence[Declared]) -> set[PlatformDocument]:
    """Return the house documents of those that state no order."""
    return {
        PlatformDocument(each.order[0], *each.document)
        for each in declared
        if each.document is not None and each.order[1] == NO_ORDER
    }


def _declared(batch: StoredBatch, platforms: Mapping[str, bool]) -> list[Declared]:
    """Return the versions of a stored batch that can be bound to sales of some platforms; none of one that cannot be read."""
    try:
        with reading("the stored batch"):
            content = decompressed(batch.columns)
            # A batch that has none of the names anywhere is not decoded.
            if not any(each.encode() in content for each in platforms):
                return []
            table = Table.parse(ConsignmentColumns, content)
            stated = orders_in(table, platforms)
            mrns, versions = table.strings("mrn"), table.ints("version").values
            rows, platform = stated.rows(), table.strings("order_platform")
            return [
                Declared(
                    stated.orders.get(row, (platform[row], NO_ORDER)),
                    stated.document(row),
                    mrns[row],
                    int(versions[row]),
                    trade,
                )
                for row, trade in zip(rows, trades_of(table.take(np.array(rows, np.intp))), strict=True)
            ]
    except InputError as error:
        _log.error("SALE_SEARCH_UNREADABLE", error, day=batch.place.day, batch=batch.place.batch)
        return []

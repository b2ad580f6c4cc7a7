"""The assessment log, in which the first answer stays the answer, and beside it what was assessed on and shares of sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.digest import row_digests
from libs.store.database import Database, Transaction
from libs.store.tables.assessments import AssessmentLog, Settled, first_answers
from libs.store.tables.secrets import deployment_secret
from libs.telemetry import traceparent
from luxor.revenue.v1.revenue_pb2 import PURPOSE_ADJUSTMENT, PURPOSE_CLEARANCE, AssessmentColumns
from services.revenue.assessment.aggregates import Aggregates, RequestedShares
from services.revenue.assessment.batch import Batch, ReassessedBatch
from services.revenue.commands.sales.bind import SoldOrders, bind, sold_orders
from services.revenue.store.assessments.aggregates import count_in, shareholders_of, write
from services.revenue.store.assessments.inputs import Inputs, add_input, filings_assessed
from services.revenue.store.sales import SaleStore

_NAMED: Final = "sums"

EncodeStored = Callable[[npt.NDArray[np.intp]], tuple[bytes, bytes]]


class Assessments:
    """Revenue's own database."""

    def __init__(self, database: Database, sales: SaleStore | None = None) -> None:
        """Store the log in a database, and bind its consignments to `sales`, which are in the same one."""
        self.database = database
        self.sales = sales or SaleStore(database)
        self.inputs = Inputs(database)
        self._log = AssessmentLog()
        self._secret: bytes | None = None

    async def assess(self, batch: Batch, message: AssessmentColumns | None = None) -> AssessmentColumns:
        """Answer a batch for clearance; what was assessed before keeps its first answer.

        The answer is written into `message`, such as an empty part of a larger one, where it is given.

        Where consignments are tested on sums they are counted in and answered in one transaction, one after another with
        all other replicas; else nothing is asked before the answer.
        """
        wanted = batch.requested_shares(await self.secret() if batch.summed else b"")
        also = set()
        if amended := batch.amended:
            async with self.database.connection() as reader:
                also = await shareholders_of(reader, amended)
        orders = await sold_orders(self.sales, batch.table)
        batch.pack()
        if any(wanted.key) or also:
            return await self._counted(batch, wanted, also, orders, message)
        named = np.zeros(len(wanted.row), dtype=np.bool_)
        return await self.settle(
            batch.mrns,
            batch.versions,
            PURPOSE_CLEARANCE,
            batch.answer(Aggregates(wanted.row, wanted.limit, np.zeros(len(named), np.int64), named)),
            batch.encode_stored,
            message,
            orders,
        )

    async def settle(
        self,
        mrns: list[str],
        versions: npt.NDArray[np.int64],
        purpose: int,
        answer: Table,
        encode_stored: EncodeStored,
        message: AssessmentColumns | None = None,
        orders: SoldOrders | None = None,
    ) -> AssessmentColumns:
        """Store the answers and inputs of consignments without an earlier answer; return the first answer of each row.

        It is written into `message`, as of `assess`. Rows of `orders` without an earlier answer are bound to their sales.
        """
        message = _written(answer, message)
        payload = message.SerializeToString()
        async with self.database.transaction() as tx:
            settled = await self._settle(tx, mrns, versions, purpose, payload, encode_stored, orders)
        return _first(settled, answer, message)

    async def adjust(self, reassessed: ReassessedBatch, answer: Table) -> AssessmentColumns:
        """Store the answers and inputs of corrected filings; return the valid answer of each row.

        That is the first one where the same was assessed under the version before. Other content under a version, which
        clearance uses twice after its store was set back, has an answer of its own, which takes the place of the former one.
        """
        message = _written(answer, None)
        payload = message.SerializeToString()
        mrns, versions = reassessed.table.strings("mrn").tolist(), reassessed.table.ints("version").values
        async with self.database.transaction() as tx:
            settled = await self._settle(tx, mrns, versions, PURPOSE_ADJUSTMENT, payload, reassessed.encode_stored)
            if not settled.all_fresh:
                settled = await self._compare(tx, settled, reassessed, payload)
        return _first(settled, answer, message)

    async def _compare(self, tx: Transaction, settled: Settled, reassessed: ReassessedBatch, payload: bytes) -> Settled:
        """Replace the answers before that are not to the same content; return what counts now."""
        before = np.flatnonzero(~settled.fresh)
        mrns = [reassessed.table.strings("mrn")[row] for row in before.tolist()]
        versions = reassessed.table.ints("version").values[before]
        await self._log.lock(tx, mrns)
        stored: dict[int, bytes] = {}
        for places, table in await filings_assessed(tx, mrns, versions.tolist(), PURPOSE_ADJUSTMENT):
            stored |= zip(places, row_digests(table), strict=True)
        asked = row_digests(reassessed.table.take(before))
        same = np.array([stored.get(place) == digest for place, digest in enumerate(asked)], np.bool_)
        other = np.flatnonzero(~same)
        if len(other):
            place = await self._log.replace(
                tx,
                [mrns[row] for row in other.tolist()],
                versions[other],
                PURPOSE_ADJUSTMENT,
                before[other],
                payload,
                trace=traceparent(),
            )
            await add_input(tx, place, PURPOSE_ADJUSTMENT, len(other), reassessed.encode_stored(before[other]))
        # What another call replaced before it was locked here is read again.
        looked_up = await self._log.lookup(
            tx, reassessed.table.strings("mrn").tolist(), reassessed.table.ints("version").values, PURPOSE_ADJUSTMENT
        )
        own = settled.fresh.copy()
        own[before[other]] = True
        return replace(looked_up, fresh=own, stored=settled.stored)

    async def _counted(
        self,
        batch: Batch,
        shares: RequestedShares,
        holders: set[str],
        orders: SoldOrders | None,
        message: AssessmentColumns | None,
    ) -> AssessmentColumns:
        async with self.database.transaction() as tx:
            counted = await count_in(tx, batch.mrns, batch.versions.tolist(), shares, holders)
            answer = batch.answer(counted.aggregates)
            message = _written(answer, message)
            payload = message.SerializeToString()
            settled = await self._settle(
                tx, batch.mrns, batch.versions, PURPOSE_CLEARANCE, payload, batch.encode_stored, orders
            )
            await write(tx, counted.counting)
        return _first(settled, answer, message)

    async def _settle(
        self,
        tx: Transaction,
        mrns: list[str],
        versions: npt.NDArray[np.int64],
        purpose: int,
        payload: bytes,
        encode_stored: EncodeStored,
        orders: SoldOrders | None = None,
    ) -> Settled:
        settled = await self._log.settle(tx, mrns, versions, purpose, payload, trace=traceparent())
        if settled.stored is not None:
            fresh = np.flatnonzero(settled.fresh)
            await add_input(tx, settled.stored, purpose, len(fresh), encode_stored(fresh))
            if orders is not None:
                await bind(tx, orders, fresh)
        return settled

    async def secret(self) -> bytes:
        """Return the deployment's secret for the keys of aggregates."""
        if self._secret is None:
            self._secret = await deployment_secret(self.database, _NAMED)
        return self._secret


def _written(answer: Table, message: AssessmentColumns | None) -> AssessmentColumns:
    message = AssessmentColumns() if message is None else message
    answer.write(message)
    return message


def _first(settled: Settled, answer: Table, message: AssessmentColumns) -> AssessmentColumns:
    """Return the answer's message, with the first answers in the place of later ones."""
    if not settled.all_fresh:
        message.Clear()
        first_answers(settled, answer, AssessmentColumns).write(message)
    return message

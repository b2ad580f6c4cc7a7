"""What clearance's tests share: filings as ingestion tells them, neighbours that answer as the reference asks, and a hand that feeds the intake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.partitions import partitions_of
from libs.feed.types import BatchRef, Cursor, FeedBatch
from libs.filing_stages.direction import exports
from libs.store.database import Database
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceServicer, add_RevenueServiceServicer_to_server
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1.risk_pb2_grpc import RiskServiceServicer, add_RiskServiceServicer_to_server
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.consistency.check import Check
from services.clearance.commands.consistency.inconsistencies import Inconsistency
from services.clearance.commands.decide import Decide
from services.clearance.feeds.filings import Intake, Prepared
from services.clearance.store import Store
from tests.ingestion.consignments import consignment

DAY = int(time.time() // 86_400) - 1
"""Yesterday: what is older than a year and a month is forgotten, by the store's clock."""
ACCEPTED_AT = DAY * 86_400_000_000 + 36_000_000_000
LANES = {"GREEN": 1, "BLUE": 2, "YELLOW": 3, "RED": 4}
CARRIER = "wings"
"""Who carries, by the filings: the id of its certificate."""
MASTER = "16012345675"
"""Document of carriage of a filing that names no other."""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ASSESS_SECONDS = 60.0
"""What a call to a neighbour may take: no test waits for its end, so it is more than a busy machine needs."""


def filings(
    references: Sequence[str],
    *,
    filer: str = "shop",
    master: str = MASTER,
    version: int = 1,
    change: Callable[[int, consignment_pb2.Consignment], None] | None = None,
    day: int = DAY,
) -> Table:
    """Make filings as ingestion's feed tells them; `GREEN-1`, `RED-2` and so on tell the neighbours what to answer."""
    rows = []
    for number, reference in enumerate(references):
        row = consignment(number)
        row.local_reference = reference
        row.house_document.number = f"H-{reference}"
        row.master_document.number = master
        row.carrier_identifier = CARRIER
        row.destination_country = "DE"
        row.declarant.name, row.declarant.identifier = "Broker", "DE123456789012345"
        if change is not None:
            change(number, row)
        rows.append(row)
    table = Table.from_messages(rows, ConsignmentColumns, consignment_pb2.Consignment)
    count = len(rows)
    partitions = partitions_of(filer, list(references))
    # The serial comes from the reference, so that the same reference always has the same MRN.
    serials = np.array([int.from_bytes(f"{filer}{each}".encode()[-7:], "big") % 36**7 for each in references], np.int64)
    return table.with_columns(
        {
            "mrn": Strings.of(make_mrns(["DE"] * count, partitions, day, serials, exported=exports(table))),
            "version": Ints.constant(version, count),
            "filer": Strings.constant(filer, count),
            "accepted_at": Ints.constant(day * 86_400_000_000 + 36_000_000_000, count),
            "partition": Ints.of(partitions),
        }
    )


def completing(table: Table, *versions: int) -> Table:
    """Return versions of filings that complete earlier ones, as ingestion states them."""
    numbers = Ints.of(list(versions) * table.rows)
    return table.with_columns({"completed_versions": Ragged.of_lengths([len(versions)] * table.rows, numbers)})


def mrns(table: Table) -> list[str]:
    """Give the MRNs of filings or states."""
    return table.strings("mrn").tolist()


def batch(table: Table, trace: str = TRACE) -> FeedBatch:
    """Wrap filings as an event batch of the feed."""
    return FeedBatch(
        table, table.ints("partition").values, Cursor(1, DAY, 1, 1), np.arange(table.rows), ACCEPTED_AT, trace, "", 1
    )


def risk_answer(table: Table) -> Table:
    """Answer as risk would: the lane that the reference begins with, and a finding for all but green."""
    words = [reference.split("-")[0] for reference in table.strings("local_reference").tolist()]
    lanes = [LANES.get(word, 1) for word in words]
    hits = [lane for lane in lanes if lane > 1]
    found = len(hits)
    findings = Table(
        schema_of(risk_pb2.AssessmentColumns).children["findings"],
        found,
        {
            "rule": Strings.constant("PRICE_BELOW_FLOOR", found),
            "rule_version": Ints.constant(3, found),
            "points": Ints.constant(400, found),
            "item_number": Ints.constant(1, found),
            "reason": Strings.constant("VALUE_IMPLAUSIBLY_LOW", found),
            "lane": Ints.of(hits),
            "sentence": Strings.constant("Price per kilogram below the floor of the chapter.", found),
        },
    )
    return Table.of(
        risk_pb2.AssessmentColumns,
        table.rows,
        {
            "lane": Ints.of(lanes),
            "score": Ints.of([400 if lane > 1 else 0 for lane in lanes]),
            "unjudged": Ints.constant(0, table.rows),
            "rule_set": Strings.constant("first-light/1+abc", table.rows),
            "findings": Ragged.of_lengths([int(lane > 1) for lane in lanes], findings),
        },
    )


def item_values(table: Table, valued: NDArray[np.bool_], value: int) -> Ragged:
    """Value each consignment's first item, and the others at nothing."""
    lengths = np.where(valued, table.ragged("items").lengths, 0)
    first = np.zeros(int(lengths.sum()), np.int64)
    first[(np.cumsum(lengths) - lengths)[lengths > 0]] = value
    return Ragged.of_lengths(lengths, Ints.of(first))


def revenue_answer(table: Table) -> Table:
    """Answer as revenue would: `NORULEBOOK-…` and `NORATE-…` have no figures, `VENDOR-…` is collected at sale, `BARE-…` has no account."""
    words = [reference.split("-")[0] for reference in table.strings("local_reference").tolist()]
    reasons = [{"NORULEBOOK": "NO_RULEBOOK", "NORATE": "NO_EXCHANGE_RATE"}.get(word, "") for word in words]
    valued = np.array([not reason for reason in reasons])
    vendor = np.array([word == "VENDOR" for word in words]) & valued
    bare = np.array([word == "BARE" for word in words])
    rows, count = table.rows, int(valued.sum())

    def money(amount: int, there: Any = valued) -> Ints:
        return Ints.of(np.where(there, amount, 0), valued)

    charges = Table(
        schema_of(revenue_pb2.AssessmentColumns).children["charges"],
        count,
        {
            "item_number": Ints.constant(1, count),
            "charge": Strings.constant("EU.vat_low_value", count),
            "kind": Ints.constant(common_pb2.CHARGE_KIND_TAX, count),
            "basis": Ints.constant(1999, count),
            "rate_ppm": Ints.constant(190_000, count),
            "amount": Ints.constant(380, count),
            "currency": Strings.constant("EUR", count),
            "collector": Ints.of(np.where(vendor[valued], 2, 1)),
            "reference": Strings.constant("EU:vat-de", count),
            "sentence": Strings.constant("percent", count),
        },
    )
    account = np.where(valued & ~vendor & ~bare, "deferred:DE123456789012345", "").tolist()
    return Table.of(
        revenue_pb2.AssessmentColumns,
        rows,
        {
            "reason": Strings.of(reasons),
            "currency": Strings.of(np.where(valued, "EUR", "").tolist()),
            "intrinsic_value": money(1999),
            "customs_value": money(1999),
            "item_customs_values": item_values(table, valued, 1999),
            "duty": money(0),
            "tax": money(380),
            "fee": money(0),
            "collected_by_customs": money(380, valued & ~vendor),
            "collected_by_vendor": money(380, vendor),
            "collected_by_carrier": money(0),
            "collected_by_postal_operator": money(0),
            "deferred_account": Strings.of(account),
            "rulebook_version": Strings.constant("EU/2026.1/1f0c9a2b", rows),
            "charges": Ragged.of_lengths(valued.astype(np.int64), charges),
        },
    )


class Neighbours(RiskServiceServicer, RevenueServiceServicer):
    """Both neighbours on one real server. Set `risk`, `revenue` or `gate` to make them fail on demand."""

    def __init__(self) -> None:
        self.risk: Callable[[Table], Table] = risk_answer
        self.revenue: Callable[[Table], Table] = revenue_answer
        self.loading: Callable[[Table], Table] = risk_answer
        """The answer of risk before loading."""
        self.calls = 0
        self.refuse: grpc.StatusCode | None = None
        self.refuse_reference = ""
        self.gate = asyncio.Event()
        self.gate.set()
        self.target = ""
        """Where they serve."""
        self.asked = asyncio.Event()
        """Set with each call that comes in."""

    async def _before(self, request: Any, context: Any) -> Table:
        self.calls += 1
        self.asked.set()
        await self.gate.wait()
        table = Table.decode(request.consignments)
        if self.refuse is not None and self.refuse_reference in ("", *table.strings("local_reference").tolist()):
            await context.abort(self.refuse, "asked to refuse")
        return table


class _Risk(RiskServiceServicer):
    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours

    async def AssessConsignments(self, request: Any, context: Any) -> Any:
        table = await self._neighbours._before(request, context)
        loading = request.purpose == risk_pb2.PURPOSE_PRE_LOADING
        answer = self._neighbours.loading(table) if loading else self._neighbours.risk(table)
        return risk_pb2.AssessConsignmentsResponse(assessments=answer.encode(risk_pb2.AssessmentColumns))


class _Revenue(RevenueServiceServicer):
    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours

    async def AssessConsignments(self, request: Any, context: Any) -> Any:
        table = await self._neighbours._before(request, context)
        answer = self._neighbours.revenue(table).encode(revenue_pb2.AssessmentColumns)
        return revenue_pb2.AssessConsignmentsResponse(assessments=answer)


@asynccontextmanager
async def neighbours_at_work() -> AsyncIterator[tuple[Neighbours, grpc.aio.Channel]]:
    """Serve both neighbours over a real socket."""
    neighbours = Neighbours()
    server = grpc.aio.server()
    add_RiskServiceServicer_to_server(_Risk(neighbours), server)
    add_RevenueServiceServicer_to_server(_Revenue(neighbours), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    neighbours.target = f"127.0.0.1:{port}"
    channel = grpc.aio.insecure_channel(neighbours.target)
    try:
        yield neighbours, channel
    finally:
        neighbours.gate.set()
        await channel.close()
        await server.stop(None)


class Desk:
    """Clearance's office with its intake, over a database."""

    def __init__(self, database: Database, neighbours: Neighbours, channel: grpc.aio.Channel) -> None:
        self.store = Store(database)
        self.decide = Decide(self.store)
        self.arrive = Arrive(self.store)
        self.neighbours = neighbours
        self.channel = channel
        self.intake = Intake(self.decide, channel, channel, assess_seconds=ASSESS_SECONDS)
        self.consistent = True
        """Whether the store is to be consistent when the test ends; a test that changes rows itself sets it to False."""

    async def consume(self, *tables: Table) -> None:
        """Decide on filings as the feed's runner does: prepare outside, apply in one transaction."""
        prepared = await self.prepare(*tables)
        async with self.store.database.transaction() as tx:
            await self.intake.apply(tx, prepared)

    async def prepare(self, *tables: Table) -> Prepared:
        """Have filings assessed and decided, and put nothing into force."""
        return await self.intake.prepare([batch(table) for table in tables])

    async def states(self, numbers: Sequence[str]) -> Table:
        """Give the states in force, in the order of the MRNs."""
        async with self.store.database.connection() as reading:
            rows = await self.store.find(reading, numbers)
            return await self.store.states(reading, [rows[number] for number in numbers])

    async def inconsistencies(self, limit: int = 1_000) -> list[Inconsistency]:
        """Check the whole store, page by page."""
        check, after, found = Check(self.store), (0, ""), []
        while True:
            page = await check.page(after, limit)
            assert not page.unsettled
            found += page.inconsistencies
            if page.following is None:
                return found
            after = page.following

    async def told(self) -> None:
        """Wait until readers see all that is committed by now: a transaction begun before it and still open holds it back.

        A service's own work in the background, its leases for instance, is such a transaction every now and then.
        """
        async with self.store.database.connection() as reading:
            end = await reading.raw.fetchval("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            while (  # noqa: ASYNC110  # the store has no event for it
                await reading.raw.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint") < end
            ):
                await asyncio.sleep(0.005)

    async def events(self) -> list[Table]:
        """Give all that was announced, batch by batch."""
        async with self.store.database.connection() as reading:
            refs = await reading.raw.fetch(
                "select distinct b.day, b.id from batch b join outbox o on o.seq = b.id order by 2"
            )
            return [
                self.store.outbox.payloads.table(stored)
                for stored in (
                    await self.store.outbox.payloads.fetch(reading.raw, [_ref(row) for row in refs])
                ).values()
            ]


def _ref(row: Any) -> Any:
    return BatchRef(row["day"], row["id"])

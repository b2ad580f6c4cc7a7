"""A process of clearance that a test may kill: its consumers, handlers of calls and jobs over a store, without a socket of its own.

`work` is what such a process does in its life: one batch of a kind. A process that is started again does the same once more, as a service that reads
its feeds from the committed cursors, a client that repeats its request, or a job at its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
import numpy as np
from google.protobuf.message import Message

from libs.columns import Table
from libs.feed.consume.consumer import Consumer
from libs.feed.types import Cursor, FeedBatch, Page, SnapshotPage
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role
from libs.store.database import Database
from luxor.clearance.v1 import (
    bulk_release_pb2,
    carriers_pb2,
    controls_pb2,
    licences_pb2,
    release_lists_pb2,
    returns_pb2,
    transit_pb2,
    work_pb2,
)
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Money
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.clearance.api.audit.access import origin
from services.clearance.api.bulk_release_service import BulkReleaseService
from services.clearance.api.carrier_service import CarrierService
from services.clearance.api.controls.service import ControlService
from services.clearance.api.licences.service import LicenceService
from services.clearance.api.release_lists.service import ReleaseListService
from services.clearance.api.returns.service import ReturnService
from services.clearance.api.service import ClearanceService
from services.clearance.api.transit.service import TransitService
from services.clearance.api.work.service import WorkService
from services.clearance.commands.adjust import Adjusting
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.commands.decide import Decide
from services.clearance.feeds.debt_events import DebtEventHandler
from services.clearance.feeds.filings import Intake
from services.clearance.feeds.screening_matches import Rescreening
from services.clearance.jobs.expiry import Expiry
from services.clearance.jobs.waits import Waits
from services.clearance.notices.texts import INCLUDED, load_texts
from services.clearance.pre_loading.parameters import included
from services.clearance.store import Store
from tests.clearance.debt_events import debt
from tests.clearance.desk import ASSESS_SECONDS, batch, completing, filings, mrns
from tests.clearance.events import WITHDRAWN
from tests.clearance.goods import ARMS, MEAT, goods, law
from tests.clearance.risk_answers import screening
from tests.clearance.transits import RULES
from tests.support.contradicting import PAYER, contradicting

TEXTS: Final = load_texts(INCLUDED)
DAY_MICROS: Final = 86_400_000_000
AMENDED, ARRIVING, LISTED, BULK, MOVED, BACK, PIER = (f"1609999999{number}" for number in range(1, 8))
"""Master documents: of goods that did not arrive, of those that do, of those on a release list, of those that are released or moved in bulk, of those
in transit, of those that are sent back, of those that are to be presented."""
WAYBILL: Final = "T1-9"
"""Document of each movement, bound to the carrier `rails`."""
CITES: Final = [("C401", "L1")]
"""The licence that arms need."""


@dataclass
class Feed:
    """A port to a feed that has these events and nothing else."""

    batches: Sequence[FeedBatch] = ()

    async def pull(
        self, after: Mapping[int, Cursor], max_events: int, wait_millis: int, committed: object = None
    ) -> Page:
        found = []
        for each in self.batches:
            new = [after.get(int(at), each.cursor).place < each.cursor.place for at in each.partitions]
            if any(new):
                found.append(each.take(np.flatnonzero(new)))
        cursors = [each.cursor for each in self.batches]
        following = {at: max([cursor, *cursors], key=lambda each: each.place) for at, cursor in after.items()}
        events = sum(each.table.rows for each in found)
        return Page(found, following, max(cursors, default=Cursor(1)), events)

    async def snapshot(
        self, partitions: Sequence[int], token: bytes, max_rows: int, day: int | None = None
    ) -> SnapshotPage:
        return SnapshotPage(None, Cursor(1), b"")


@dataclass
class Process:
    """What a process has in memory: nothing of an earlier one."""

    database: Database
    channel: grpc.aio.Channel
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the test found out before: the page of a release list, the time of the timers."""

    def __post_init__(self) -> None:
        self.store = store = Store(self.database, origin)
        adjusting = Adjusting(store, self.channel, assess_seconds=ASSESS_SECONDS)
        self.clearance = ClearanceService(store, adjusting, TEXTS)
        self.controls = ControlService(store, included())
        self.work = WorkService(store)
        self.lists = ReleaseListService(store)
        self.bulk = BulkReleaseService(store)
        self.transit = TransitService(store, RULES)
        self.carriers = CarrierService(store)
        self.returns = ReturnService(store)
        self.licences = LicenceService(store)

    async def follow(self, source: str, handler: Any, message_class: type[Message], *batches: FeedBatch) -> None:
        """Follow a feed until it has no event left."""
        consumer = Consumer(
            source, database=self.database, pull=Feed(batches), handler=handler, key=mrns, message_class=message_class, replica="one",
            continues_after_restore=True, prepares_ahead=source == "ingestion",
        )  # fmt: skip
        try:
            while await consumer.step():
                pass
        finally:
            await consumer.close()

    async def ask(self, role: Role, ident: str, service: object, method: str, request: Message) -> Any:
        """Answer a call."""
        enter(Call(Identity(role, ident), f"/luxor/{method}", "", "", float("inf")))
        return await getattr(service, method)(request, None)

    async def officer(self, service: object, method: str, request: Message) -> None:
        """Answer an officer; no order is refused, neither at first nor when it is repeated."""
        answer = await self.ask(Role.OFFICER, "olga", service, method, request)
        assert not [each.error for each in answer.results if each.HasField("error")], answer


def ref(reference: str, version: int | None = None) -> pb.ConsignmentRef:
    (mrn,) = mrns(filings([reference]))
    return pb.ConsignmentRef(mrn=mrn) if version is None else pb.ConsignmentRef(mrn=mrn, expected_version=version)


async def decide(process: Process) -> None:
    """One of the new ones needs a licence, an agency examines the other one. Of the others one adds what it lacked when its goods came.

    A part contradicts the one that is amended.
    """
    command = Decide(process.store, included(), law())
    intake = Intake(command, process.channel, process.channel, assess_seconds=ASSESS_SECONDS)
    arms, meat = (
        goods(["GREEN-new"], ARMS, cites=CITES, master=AMENDED),
        goods(["RED-new"], MEAT, cites=(), master=AMENDED),
    )
    new = Table.concat([arms, meat])
    amended = contradicting(filings(["GREEN-amend"], version=2, master=AMENDED), [PAYER])
    completed = completing(filings(["GREEN-adds"], version=2), 1)
    await process.follow("ingestion", intake, ConsignmentColumns, batch(new), batch(amended), batch(completed))


async def withdraw(process: Process) -> None:
    """End a declaration that its filer invalidates, of goods that use a licence."""
    withdrawn = filings(["GREEN-arms"], version=2, master=AMENDED).with_columns(WITHDRAWN)
    intake = Intake(Decide(process.store, goods=law()), process.channel, process.channel, assess_seconds=ASSESS_SECONDS)
    await process.follow("ingestion", intake, ConsignmentColumns, batch(withdrawn))


async def hear_debts(process: Process) -> None:
    heard = debt(mrns(filings(["BARE-debt"])), 1)
    await process.follow("revenue", DebtEventHandler(process.store), RevenueColumns, heard)


async def hear_matches(process: Process) -> None:
    heard = screening(filings(["GREEN-match"]))
    await process.follow("risk", Rescreening(process.store), ScreeningColumns, heard)


async def arrive(process: Process) -> None:
    request = pb.RecordArrivalsRequest(request_id="arrive")
    request.arrivals.add(master_document_number=ARRIVING, conveyance_reference="LX0188", place="DEFRA").arrived_at.FromMicroseconds(
        process.given["now"]
    )  # fmt: skip
    await process.ask(Role.CARRIER, "wings", process.clearance, "RecordArrivals", request)


async def hold(process: Process) -> None:
    request = pb.HoldConsignmentsRequest(request_id="hold", reason="LOOKED_AT", consignments=[ref("GREEN-hold")])
    await process.officer(process.clearance, "HoldConsignments", request)


async def release(process: Process) -> None:
    request = pb.ReleaseConsignmentsRequest(request_id="release", reason="LOOKED_AT", consignments=[ref("RED-release")])
    await process.officer(process.clearance, "ReleaseConsignments", request)


async def seize(process: Process) -> None:
    request = pb.DisposeConsignmentsRequest(request_id="seize")
    request.disposals.add(consignment=ref("RED-seize"), kind=pb.DISPOSAL_KIND_SEIZED, reason="PROHIBITED_GOODS")
    await process.officer(process.clearance, "DisposeConsignments", request)


async def adjust(process: Process) -> None:
    item = pb.ItemAdjustment(number=1, price=Money(minor=50_000, currency="EUR"))
    adjustment = pb.Adjustment(consignment=ref("RED-adjust"), items=[item])
    request = pb.AdjustConsignmentsRequest(request_id="adjust", adjustments=[adjustment])
    await process.officer(process.clearance, "AdjustConsignments", request)


async def give_back(process: Process) -> None:
    request = pb.RecordReturnsRequest(request_id="back")
    request.returns.add(
        consignment=ref("GREEN-back"), reason=pb.RETURN_REASON_FAULTY, transport_document_number="AWB-8"
    )
    await process.ask(Role.FILER, "shop", process.clearance, "RecordReturns", request)


async def discharge(process: Process) -> None:
    request = transit_pb2.RecordTransitArrivalsRequest(
        request_id="there", master_document_number=MOVED, office="DE004600"
    )
    await process.ask(Role.CARRIER, "wings", process.transit, "RecordTransitArrivals", request)


async def set_out(process: Process) -> None:
    request = transit_pb2.StartTransitRequest(
        request_id="out", master_document_number=BULK, destination_office="DE004600", document_number=WAYBILL
    )
    await process.ask(Role.OFFICER, "olga", process.transit, "StartTransit", request)


async def lose(process: Process) -> None:
    request = transit_pb2.EndTransitRequest(
        request_id="lose", master_document_number=MOVED, reason="GOODS_NOT_FOUND", lost=True
    )
    await process.ask(Role.OFFICER, "olga", process.transit, "EndTransit", request)


async def dispose_lost(process: Process) -> None:
    """One is certainly destroyed, the other one turns up; nobody re-exports a third."""
    request = pb.DisposeConsignmentsRequest(request_id="dispose")
    kinds = {
        "BARE-lost": pb.DISPOSAL_KIND_DESTROYED,
        "RED-lost": pb.DISPOSAL_KIND_SEIZED,
        "RED-stray": pb.DISPOSAL_KIND_RE_EXPORTED,
    }
    for reference, kind in kinds.items():
        document = "AWB-9" if kind == pb.DISPOSAL_KIND_RE_EXPORTED else ""
        request.disposals.add(
            consignment=ref(reference), kind=kind, reason="GOODS_NOT_FOUND", transport_document_number=document
        )
    await process.ask(Role.OFFICER, "olga", process.clearance, "DisposeConsignments", request)


async def present(process: Process) -> None:
    request = carriers_pb2.PresentConsignmentsRequest(request_id="present", master_document_number=PIER)
    await process.ask(Role.CARRIER, "wings", process.carriers, "PresentConsignments", request)


async def return_bulk(process: Process) -> None:
    request = returns_pb2.BulkReturnRequest(
        request_id="back", master_document_number=BACK, transport_document_number="AWB-7", reason=pb.RETURN_REASON_UNDELIVERED
    )  # fmt: skip
    await process.ask(Role.OFFICER, "olga", process.returns, "BulkReturn", request)


async def write_off(process: Process) -> None:
    request = licences_pb2.WriteOffLicencesRequest(request_id="write")
    request.items.add(consignment=ref("GREEN-lacks"), item_number=1, type="C401", number="L2")
    await process.officer(process.licences, "WriteOffLicences", request)


async def order(process: Process) -> None:
    request = controls_pb2.OrderControlsRequest(request_id="order")
    request.orders.add(consignment=ref("GREEN-order"), form=3, reason="LOOKED_AT")
    await process.officer(process.controls, "OrderControls", request)


async def answer(process: Process) -> None:
    request = controls_pb2.AnswerControlsRequest(request_id="answer")
    request.answers.add(consignment=ref("GREEN-answer"), number=1, text="See the invoice.")
    await process.ask(Role.FILER, "shop", process.controls, "AnswerControls", request)


async def conclude(process: Process) -> None:
    request = controls_pb2.ConcludeControlsRequest(request_id="conclude")
    request.conclusions.add(consignment=ref("GREEN-conclude"), number=1, result=1, reason="INVOICE_MATCHES")
    await process.officer(process.controls, "ConcludeControls", request)


async def claim(process: Process) -> None:
    request = work_pb2.ClaimConsignmentsRequest(request_id="claim", consignments=[ref("RED-claim")], note="mine")
    await process.officer(process.work, "ClaimConsignments", request)


async def hand_over(process: Process) -> None:
    request = work_pb2.HandOverConsignmentsRequest(
        request_id="hand", consignments=[ref("RED-hand")], officer="otto", note="yours"
    )
    await process.officer(process.work, "HandOverConsignments", request)


async def confirm(process: Process) -> None:
    request = work_pb2.DecideProposalsRequest(
        request_id="confirm", consignments=[ref("RED-confirm-two", 3)], verdict=work_pb2.PROPOSAL_VERDICT_CONFIRM, reason="SEEN"
    )  # fmt: skip
    await process.officer(process.work, "DecideProposals", request)


async def release_bulk(process: Process) -> None:
    request = bulk_release_pb2.BulkReleaseRequest(request_id="bulk", master_document_number=BULK, reason="LOOKED_AT")
    await process.ask(Role.OFFICER, "olga", process.bulk, "BulkRelease", request)


async def import_list(process: Process) -> None:
    request = release_lists_pb2.ImportReleaseListRequest.FromString(process.given["list"])
    await process.ask(Role.OFFICER, "olga", process.lists, "ImportReleaseList", request)


async def end_timers(process: Process) -> None:
    await Waits(process.store, "one").step(at=process.given["now"] + 80 * DAY_MICROS)


async def expire(process: Process) -> None:
    await Expiry(process.store, "one", arrival_days=200).step(at=process.given["now"] + 200 * DAY_MICROS)


async def chain(process: Process) -> None:
    await ChainRecords(process.store).finish()


WORK: Final[Mapping[str, Callable[[Process], Awaitable[None]]]] = {
    each.__name__: each
    for each in (
        decide, withdraw, hear_debts, hear_matches, arrive, hold, release, seize, adjust, give_back, discharge, set_out, lose, dispose_lost, present,
        return_bulk, write_off, order, answer, conclude, claim, hand_over, confirm, release_bulk, import_list, end_timers, expire, chain,
    )
}  # fmt: skip
"""One batch of each kind."""


async def run(url: str, target: str, name: str, given: Mapping[str, Any]) -> None:
    """Start, work and end."""
    async with Database(url, name="clearance", pool_size=4) as database, grpc.aio.insecure_channel(target) as channel:
        await WORK[name](Process(database, channel, given))


def main(url: str, target: str, name: str, given: Mapping[str, Any]) -> None:
    """Do so in a process of its own."""
    asyncio.run(run(url, target, name, given))

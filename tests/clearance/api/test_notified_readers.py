"""Who is notified of which change: the table of docs/notices.md, each line carried out over gRPC and read by the filer and by the carrier."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import carriers_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.consignment.transitions import Debt
from services.clearance.jobs.expiry import Expiry
from services.clearance.jobs.waits import Waits
from services.clearance.store.arrivals import ArrivalTable
from tests.clearance import screening_matches
from tests.clearance.debt_events import OPENED, REFUNDED, anew, debt, hear
from tests.clearance.desk import MASTER, TRACE, filings
from tests.clearance.disposals import (
    ABANDONED,
    CONFISCATED,
    DESTROYED,
    INVALIDATED,
    LIFTED,
    RE_EXPORTED,
    SEIZED,
    disposal,
    dispose,
)
from tests.clearance.inspections import inspection
from tests.clearance.inspections import record as record_inspection
from tests.clearance.risk_answers import screening
from tests.clearance.service_client import SECONDS, House, arrivals
from tests.support.contradicting import BUYER, PAYER, Differing, contradicting


@dataclass
class Case:
    """One consignment of a filer, carried by a carrier, and how far each has read its notices."""

    house: House
    reference: str
    mrn: str = ""
    commands: int = 0
    cursors: dict[str, str] = field(default_factory=dict)

    def request_id(self) -> str:
        self.commands += 1
        return f"q{self.commands}"

    async def pulled(self, role: str) -> list[pb.Notice]:
        """Return the new notices of the filer or of the carrier."""
        await self.house.desk.told()
        stub = await self.house.stub(role, {"filer": "shop", "carrier": "wings"}[role])
        request = pb.PullNoticesRequest(cursor=self.cursors.get(role, ""), language="en")
        page = await stub.PullNotices(request, timeout=SECONDS)
        self.cursors[role] = page.next_cursor
        return list(page.notices)

    async def news(self) -> tuple[str, str]:
        """Return the kinds of the new notices of the filer and of the carrier."""
        filer, carrier = [
            " ".join(pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_") for each in await self.pulled(role))
            for role in ("filer", "carrier")
        ]
        return filer, carrier


Step = Callable[[Case], Awaitable[object]]


async def file(case: Case) -> None:
    (case.mrn,) = await case.house.filed([case.reference])


async def amend(case: Case) -> None:
    await case.house.desk.consume(filings([case.reference], version=2))


def contradict(version: int, *differing: Differing) -> Step:
    async def step(case: Case) -> None:
        table = filings([case.reference], version=version)
        await case.house.desk.consume(contradicting(table, differing, unchanged_since=1))

    return step


async def arrive(case: Case) -> None:
    stub = await case.house.stub("carrier", "wings")
    await stub.RecordArrivals(arrivals(MASTER, request_id=case.request_id()), timeout=SECONDS)


async def expire(case: Case) -> None:
    store = case.house.desk.store
    assert await Expiry(store, "r", arrival_days=200).step(at=await store.database.now() + 210 * MICROS_PER_DAY) == 1


def store_until(days: int) -> Step:
    async def step(case: Case) -> None:
        # Waiting lanes would end as well: these goods are held by a decision on red, which no time ends.
        store = case.house.desk.store
        assert await Waits(store, "r").step(at=await store.database.now() + days * MICROS_PER_DAY) == 1

    return step


async def reverse(case: Case) -> None:
    stub = CarrierServiceStub(await case.house.service.channel("officer", "olga"))
    request = carriers_pb2.ReverseArrivalsRequest(request_id=case.request_id())
    request.arrivals.add(master_document_number=MASTER, carrier="wings")
    (result,) = (await stub.ReverseArrivals(request, timeout=SECONDS)).results
    assert result.consignments == 1


async def hold(case: Case) -> None:
    request = pb.HoldConsignmentsRequest(request_id=case.request_id(), reason="TIP")
    request.consignments.add(mrn=case.mrn)
    await (await case.house.stub("officer", "olga")).HoldConsignments(request, timeout=SECONDS)


async def release(case: Case) -> None:
    request = pb.ReleaseConsignmentsRequest(request_id=case.request_id(), reason="FINE")
    ref = request.consignments.add(mrn=case.mrn)
    ref.expected_version = int((await case.house.desk.states([case.mrn])).ints("version").values[0])
    await (await case.house.stub("officer", "olga")).ReleaseConsignments(request, timeout=SECONDS)


async def inspect(case: Case) -> None:
    await record_inspection(case.house, inspection(case.mrn), request_id=case.request_id())


def decide(kind: int) -> Step:
    async def step(case: Case) -> None:
        (result,) = await dispose(case.house, disposal(case.mrn, kind), request_id=case.request_id())
        assert not result.error.reason, result.error

    return step


def give_back(*items: int, reason: int = pb.RETURN_REASON_WITHDRAWN) -> Step:
    async def step(case: Case) -> None:
        request = pb.RecordReturnsRequest(request_id=case.request_id())
        each = request.returns.add(reason=reason, item_numbers=items)
        each.consignment.mrn = case.mrn
        if reason != pb.RETURN_REASON_DESTROYED:
            each.transport_document_number = "RET-1"
        (result,) = (await (await case.house.stub()).RecordReturns(request, timeout=SECONDS)).results
        assert not result.error.reason, result.error

    return step


def debt_event(number: int, status: int = Debt.PAID, **event: Any) -> Step:
    async def step(case: Case) -> None:
        await hear(case.house.desk, debt([case.mrn], number, status, **event))

    return step


async def reassess(case: Case) -> None:
    await hear(case.house.desk, anew([case.mrn], 1, 1, 900))


async def match(case: Case) -> None:
    await screening_matches.hear(case.house.desk, screening(filings([case.reference])))


PAID: Final = debt_event(1, paid=380)
REOPENED: Final = debt_event(2, status=Debt.OPEN, kind=OPENED, paid=0)
REFUND: Final = debt_event(3, kind=REFUNDED, paid=400, refunded=20)
NOBODY: Final = ""
BOTH_ARRIVED: Final[list[tuple[Step, str, str]]] = [(file, "HELD", NOBODY), (arrive, "ARRIVED", "ARRIVED")]
BOTH_SEIZED: Final[list[tuple[Step, str, str]]] = [*BOTH_ARRIVED, (decide(SEIZED), "SEIZED", "SEIZED")]
RELEASED: Final[list[tuple[Step, str, str]]] = [(file, "DECIDED", NOBODY), (arrive, "RELEASED", "RELEASED")]

# By name: the reference, which says what risk and revenue answer, and the steps: what happens, and what the filer and the carrier are told.
LINES: Final[dict[str, tuple[str, list[tuple[Step, str, str]]]]] = {
    "decision and release on arrival": ("GREEN-1", RELEASED),
    "hold and its lifting before the arrival": (
        "GREEN-1",
        [(file, "DECIDED", NOBODY), (hold, "HELD", NOBODY), (release, "DECIDED", NOBODY), (arrive, "RELEASED", "RELEASED")],
    ),
    "release by an officer after the arrival, and a later hold": (
        "RED-1", [*BOTH_ARRIVED, (release, "RELEASED", "RELEASED"), (hold, "HELD", "HELD"), (release, "RELEASED", "RELEASED")],
    ),
    "amendment, in time and too late": (
        "RED-1", [(file, "HELD", NOBODY), (amend, "HELD", NOBODY), (arrive, "ARRIVED", "ARRIVED")],
    ),
    "amendment too late": ("RED-1", [*BOTH_ARRIVED, (amend, "AMENDMENT_REFUSED", NOBODY)]),
    "contradictions of goods that arrived": (
        "RED-1", [*BOTH_ARRIVED, (contradict(2, PAYER), "CONTRADICTED", NOBODY), (contradict(3, PAYER, BUYER), "CONTRADICTED", NOBODY)],
    ),
    "inspection": ("RED-1", [*BOTH_ARRIVED, (inspect, NOBODY, NOBODY)]),
    "reversal of an arrival, and the true one": (
        "RED-1",
        [*BOTH_ARRIVED, (reverse, "ARRIVAL_REVERSED", "ARRIVAL_REVERSED"), (arrive, "ARRIVED", "ARRIVED")],
    ),
    "end of temporary storage": (
        "RED-1", [*BOTH_ARRIVED, (store_until(80), "STORAGE_REMINDED", "STORAGE_REMINDED"), (store_until(95), "STORAGE_ENDED", "STORAGE_ENDED")],
    ),
    "debt settled before the arrival": (
        "BARE-1", [(file, "HELD", NOBODY), (PAID, "DEBT_SETTLED", NOBODY), (arrive, "RELEASED", "RELEASED")],
    ),
    "debt settled after the arrival": (
        "BARE-1", [*BOTH_ARRIVED, (PAID, "RELEASED", "RELEASED"), (REOPENED, "DEBT_OPENED", NOBODY), (REFUND, "DEBT_SETTLED", NOBODY)],
    ),
    "charges changed": ("RED-1", [*BOTH_ARRIVED, (reassess, "CHARGES_CHANGED", NOBODY)]),
    "screening match": ("GREEN-1", [(file, "DECIDED", NOBODY), (match, "HELD", NOBODY), (arrive, "ARRIVED", "ARRIVED")]),
    "screening match of released goods": ("GREEN-1", [*RELEASED, (match, NOBODY, NOBODY)]),
    "return": ("GREEN-1", [*RELEASED, (give_back(), "RETURNED", "RETURNED")]),
    "destruction after release": ("GREEN-1", [*RELEASED, (give_back(reason=pb.RETURN_REASON_DESTROYED), "RETURNED", "RETURNED")]),
    "seizure and its lifting": ("RED-1", [*BOTH_SEIZED, (decide(LIFTED), "HELD", "HELD")]),
    "confiscation": ("RED-1", [*BOTH_SEIZED, (decide(CONFISCATED), "DISPOSED", "DISPOSED")]),
    "destruction": ("RED-1", [*BOTH_ARRIVED, (decide(DESTROYED), "DISPOSED", "DISPOSED")]),
    "re-export": ("RED-1", [*BOTH_ARRIVED, (decide(RE_EXPORTED), "DISPOSED", "DISPOSED")]),
    "abandonment": ("RED-1", [*BOTH_ARRIVED, (decide(ABANDONED), "DISPOSED", "DISPOSED")]),
    "invalidation of the declaration of goods that arrived": (
        "RED-1", [*BOTH_ARRIVED, (decide(INVALIDATED), "INVALIDATED", "INVALIDATED")],
    ),
    "arrival of goods whose declaration was invalidated before": (
        "BARE-1",
        [
            (file, "HELD", NOBODY), (decide(INVALIDATED), "INVALIDATED", NOBODY), (arrive, "ARRIVED", "INVALIDATED"),
            (arrive, NOBODY, NOBODY), (debt_event(1, paid=380, refunded=380), "DEBT_SETTLED", NOBODY),
        ],
    ),
    "arrival of goods whose declaration expired before": (
        "BARE-1", [(file, "HELD", NOBODY), (expire, "EXPIRED", NOBODY), (arrive, "ARRIVED", "EXPIRED"), (arrive, NOBODY, NOBODY)],
    ),
    "arrival of goods whose declaration was invalidated, after a refund": (
        "BARE-1",
        [
            (file, "HELD", NOBODY), (decide(INVALIDATED), "INVALIDATED", NOBODY),
            (debt_event(1, paid=380, refunded=380), "DEBT_SETTLED", NOBODY), (arrive, "ARRIVED", "INVALIDATED"),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
async def test_each_change_is_a_notice_to_those_whom_it_concerns(house: House, line: str) -> None:
    reference, steps = LINES[line]
    case = Case(house, reference)
    for number, (step, filer, carrier) in enumerate(steps):
        await step(case)
        assert await case.news() == (filer, carrier), (line, number)


async def invalidated(house: House, reference: str = "RED-1") -> Case:
    """File a consignment whose declaration customs invalidates before the goods come."""
    case = Case(house, reference)
    await file(case)
    await decide(INVALIDATED)(case)
    await case.news()
    return case


async def test_the_carrier_reads_what_the_notice_of_an_invalidated_declaration_means(house: House) -> None:
    case = await invalidated(house)
    before = (await house.desk.states([case.mrn])).ints("version").tolist()
    await arrive(case)
    (to_filer,) = await case.pulled("filer")
    assert (to_filer.state, to_filer.title) == (pb.STATE_INVALIDATED, "Goods arrived without a valid declaration")
    assert "File a new declaration under a new reference." in to_filer.text
    (notice,) = await case.pulled("carrier")
    assert (notice.mrn, notice.state, notice.title) == (case.mrn, pb.STATE_INVALIDATED, "Declaration invalidated")
    assert "the goods may not be delivered" in notice.text
    assert (await house.desk.states([case.mrn])).ints("version").tolist() == before, "it is a notice and no version"


async def test_a_notice_of_an_invalidated_declaration_is_written_once_by_racing_and_repeated_work(house: House) -> None:
    case = await invalidated(house)
    await asyncio.gather(*(arrive(case) for _ in range(3)))
    await asyncio.gather(*(Arrive(house.desk.store).run([MASTER], trace=TRACE) for _ in range(3)))
    assert await case.news() == ("ARRIVED", "INVALIDATED")


async def test_a_notice_of_an_invalidated_declaration_follows_a_call_that_died(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await invalidated(house)
    done = ArrivalTable.done

    async def dies(*_arguments: object, **_options: object) -> list[tuple[str, str]]:
        raise RuntimeError("the process ends behind the notice and before the commit")

    monkeypatch.setattr(ArrivalTable, "done", dies)
    with pytest.raises(Exception, match=r"INTERNAL|error"):
        await arrive(case)
    assert await case.news() == ("", "")
    monkeypatch.setattr(ArrivalTable, "done", done)
    assert await Arrive(house.desk.store).finish(2**62, 10) == 1
    assert await case.news() == ("ARRIVED", "INVALIDATED")
    assert await Arrive(house.desk.store).finish(2**62, 10) == 0
    assert await case.news() == ("", "")


async def test_an_arrival_that_is_reversed_and_recorded_again_is_a_new_one(house: House) -> None:
    case = await invalidated(house)
    await arrive(case)
    assert await case.news() == ("ARRIVED", "INVALIDATED")
    stub = CarrierServiceStub(await house.service.channel("officer", "olga"))
    request = carriers_pb2.ReverseArrivalsRequest(request_id="v1")
    request.arrivals.add(master_document_number=MASTER, carrier="wings")
    await stub.ReverseArrivals(request, timeout=SECONDS)
    assert await case.news() == ("", "")
    await arrive(case)
    assert await case.news() == ("ARRIVED", "INVALIDATED")


async def test_another_carrier_reads_nothing(house: House) -> None:
    case = await invalidated(house)
    await arrive(case)
    await house.desk.told()
    stub = await house.stub("carrier", "rival")
    assert not (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices


async def test_the_filer_reads_which_version_of_its_filing_a_notice_is_about(house: House) -> None:
    """Two decisions read alike but for the version that was decided, and a refusal names the version that came too late."""
    case = Case(house, "GREEN-1")
    await file(case)
    await amend(case)
    versions = [(pb.NoticeKind.Name(each.kind), each.filing_version) for each in await case.pulled("filer")]
    assert versions == [("NOTICE_KIND_DECIDED", 1), ("NOTICE_KIND_DECIDED", 2)]
    await arrive(case)
    await house.desk.consume(filings([case.reference], version=3))
    released, late = await case.pulled("filer")
    assert (released.kind, released.filing_version) == (pb.NOTICE_KIND_RELEASED, 2)
    assert (late.kind, late.filing_version) == (pb.NOTICE_KIND_AMENDMENT_REFUSED, 3)
    assert "version 3 of its filing" in late.text
    assert [each.filing_version for each in await case.pulled("carrier")] == [0]

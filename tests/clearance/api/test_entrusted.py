"""What a representation entrusts: each call that a filer may make, for a representative, for its declarant, and after the representation ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
import pytest

from libs.customs.time import day_text
from libs.store.tables.leases import try_lease
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import controls_pb2, returns_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.ingestion.v1 import filers_pb2
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceServicer, add_FilerServiceServicer_to_server
from services.clearance.jobs.representations import LEASE, LEASE_SECONDS, Representations, representations
from services.clearance.store.parties.representations import AGE_MICROS_MAX, Representation
from tests.clearance import controls, returns
from tests.clearance.desk import ACCEPTED_AT, DAY, MASTER, filings, mrns
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with

SHOP, BROKER, OTHER = "DE111", "DE999", "DE555"


def entry(
    ident: str, *identifiers: str, by: Iterable[tuple[str, int, int]] = (), suspended: str = ""
) -> filers_pb2.Filer:
    """An entry of the register; `by` are representatives with the first and the last day, 0 for an open end."""
    agents = [
        filers_pb2.Representative(id=agent, from_day=day_text(first), to_day=day_text(last) if last else "")
        for agent, first, last in by
    ]
    return filers_pb2.Filer(id=ident, identifiers=identifiers, representatives=agents, suspension_reason=suspended)


REGISTER = [entry("shop", SHOP, by=[("broker", DAY, 0)]), entry("broker", BROKER), entry("other", OTHER)]


async def registered(house: House, entries: Iterable[filers_pb2.Filer], *, since: int = 0, age: int = 0) -> None:
    """Store what the register states today, as read `age` microseconds ago."""
    store = house.desk.store
    async with store.database.transaction() as tx:
        now = await store.now(tx)
        await store.representations.replace(tx, representations(entries, now // 86_400_000_000), now - age)
        await tx.raw.execute("update representation_reading set since = $1", since)


async def filed(house: House, reference: str, filer: str = "shop", declarant: str = SHOP, agent: str = "") -> str:
    """File a declaration that names a declarant and a representative; return its MRN."""

    def change(_: int, row: consignment_pb2.Consignment) -> None:
        row.declarant.identifier = declarant
        if agent:
            row.representative.identifier = agent

    told = filings([reference], filer=filer, change=change)
    await house.desk.consume(told)
    return mrns(told)[0]


async def found(house: House, filer: str, **reference: str) -> list[str]:
    """The MRNs that a filer finds; none where the answer is that of an unknown consignment."""
    result = (await ask(await house.stub("filer", filer), asking(**reference)))[0]
    assert result.error.reason in ("", "CONSIGNMENT_UNKNOWN")
    return [each.mrn for each in result.consignments]


async def control_asked(house: House, mrn: str) -> None:
    """Order a control whose answer the filer owes."""
    request = controls_pb2.OrderControlsRequest(request_id=f"o{mrn}", orders=[controls.order(mrn)])
    answer = await (await controls.controls(house)).OrderControls(request, timeout=SECONDS)
    assert [each.error.reason for each in answer.results] == [""]


async def reached(house: House, caller: str, owner: str, mrn: str, request: str) -> dict[str, Any]:
    """Return what each call that a filer may make answers it about a consignment of `owner`: MRNs, or the reason of a refusal."""
    stub, ref = await house.stub("filer", caller), pb.ConsignmentRef(mrn=mrn)
    answer = controls_pb2.AnswerControlsRequest(request_id=request, answers=[controls.answer(mrn)])
    answered = await (await controls.controls(house, "filer", caller)).AnswerControls(answer, timeout=SECONDS)
    await house.desk.told()
    notices = await stub.PullNotices(pb.PullNoticesRequest(filer=owner), timeout=SECONDS)
    back = pb.RecordReturnsRequest(request_id=f"{request}-back")
    back.returns.add(consignment=ref, reason=pb.RETURN_REASON_FAULTY, transport_document_number="AWB-8")
    returned = await stub.RecordReturns(back, timeout=SECONDS)
    bulk = [
        await returns.bulk_return(house, each, role="filer", ident=caller, request_id=f"{request}-{place}")
        for place, each in enumerate((mrn, returns_pb2.GoodsRef(house_document_number="H-RED-1")))
    ]
    ordered = (await returns.order(house, mrn, ident=caller, request_id=f"{request}-order"))[0]
    return {
        "mrn": await found(house, caller, mrn=mrn),
        "house": await found(house, caller, house_document_number="H-RED-1"),
        "master": await found(house, caller, master_document_number=MASTER),
        "notices": sorted({each.mrn for each in notices.notices}),
        "AnswerControls": answered.results[0].error.reason,
        "RecordReturns": returned.results[0].error.reason,
        "BulkReturn": [returns.refusals(each) for each in bulk],
        "OrderReturns": ordered.error.reason,
    }


UNKNOWN = {
    "mrn": [],
    "house": [],
    "master": [],
    "notices": [],
    "AnswerControls": "CONSIGNMENT_UNKNOWN",
    "RecordReturns": "CONSIGNMENT_UNKNOWN",
    "BulkReturn": [["CONSIGNMENT_UNKNOWN"], ["CONSIGNMENT_UNKNOWN"]],
    "OrderReturns": "CONSIGNMENT_UNKNOWN",
}


def entrusted(mrn: str) -> dict[str, Any]:
    """Return what the calls answer about a consignment that is entrusted. Orders of returns are the filer's own alone."""
    return UNKNOWN | {
        **{name: [mrn] for name in ("mrn", "house", "master", "notices")},
        "AnswerControls": "",
        "RecordReturns": "NOT_RELEASED",
        "BulkReturn": [["NOT_RELEASED"], ["NOT_RELEASED"]],
    }


@pytest.mark.parametrize(("owner", "caller"), [("shop", "broker"), ("broker", "shop")])
async def test_a_filer_reaches_what_is_entrusted_to_it_in_each_call_until_the_representation_ends(
    house: House, owner: str, caller: str
) -> None:
    mrn = await filed(house, "RED-1", owner)
    await control_asked(house, mrn)
    await registered(house, [])
    assert await reached(house, caller, owner, mrn, "q1") == UNKNOWN
    await registered(house, REGISTER)
    assert await reached(house, "other", owner, mrn, "q2") == UNKNOWN
    assert await reached(house, caller, owner, mrn, "q3") == entrusted(mrn)
    await registered(house, [entry("shop", SHOP), entry("broker", BROKER)])
    assert await reached(house, caller, owner, mrn, "q4") == UNKNOWN
    assert (await found(house, owner, mrn=mrn)) == [mrn]


async def test_nothing_else_of_the_same_filer_is_entrusted(house: House) -> None:
    await registered(house, REGISTER)
    own = await filed(house, "RED-0", "broker", declarant=OTHER)
    named = await filed(house, "RED-1", agent=BROKER)
    hidden = [
        await filed(house, "RED-2", declarant=OTHER),
        await filed(house, "RED-3", agent=OTHER),
        await filed(house, "RED-4", "other"),
    ]
    assert await found(house, "broker", master_document_number=MASTER) == [own, named]
    assert [await found(house, "broker", mrn=each) for each in (named, *hidden)] == [[named], [], [], []]
    assert await found(house, "other", master_document_number=MASTER) == hidden[2:]
    await house.desk.told()
    stub = await house.stub("filer", "broker")
    page = await stub.PullNotices(pb.PullNoticesRequest(filer="shop"), timeout=SECONDS)
    assert [each.mrn for each in page.notices] == [named]
    mine = await stub.PullNotices(pb.PullNoticesRequest(filer="broker"), timeout=SECONDS)
    assert mine.notices == (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
    assert [each.mrn for each in mine.notices] == [own]


async def test_notices_behind_many_that_are_not_entrusted_are_reached_by_further_calls(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.clearance.api.service.NOTICE_PAGES_MAX", 2)
    await registered(house, REGISTER)
    for number in range(5):
        await filed(house, f"RED-{number}", declarant=OTHER)
        await house.desk.told()
    named = await filed(house, "RED-9", agent=BROKER)
    await house.desk.told()
    stub = await house.stub("filer", "broker")
    found, cursors = [], [""]
    while True:
        asked = pb.PullNoticesRequest(filer="shop", cursor=cursors[-1], page_size=1)
        page = await stub.PullNotices(asked, timeout=SECONDS)
        assert page.next_cursor not in cursors
        assert not (page.incomplete and page.notices)
        found += [each.mrn for each in page.notices]
        if not page.incomplete:
            break
        cursors.append(page.next_cursor)
    assert len(cursors) > 2
    assert set(found) == {named}


async def test_notices_of_a_filer_that_entrusted_nothing_are_those_of_an_unknown_one(house: House) -> None:
    await filed(house, "RED-1")
    await house.desk.told()
    await registered(house, REGISTER)
    for caller, filer in (("other", "shop"), ("other", "nobody"), ("broker", "nobody"), ("broker", "other")):
        stub = await house.stub("filer", caller)
        assert not (await stub.PullNotices(pb.PullNoticesRequest(filer=filer), timeout=SECONDS)).notices
    for role, ident in (("carrier", "wings"), ("agency", "vets")):
        refused = (await house.stub(role, ident)).PullNotices(pb.PullNoticesRequest(filer="shop"), timeout=SECONDS)
        assert (await refused_with(refused))[1] == "FILER_FOREIGN"


async def test_all_goods_under_a_master_document_are_those_of_the_caller_alone(house: House) -> None:
    await registered(house, REGISTER)
    own, other = await filed(house, "GREEN-1", "broker"), await filed(house, "GREEN-2")
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    answer = await returns.bulk_return(house, role="filer", ident="broker", master_document_number=MASTER)
    assert returns.counted(answer) == {"consignments": 1, "returned": 1}
    officer = await house.stub("officer", "olga")
    first, second = [(await ask(officer, asking(mrn=each)))[0].consignments[0].version for each in (own, other)]
    assert first == second + 1


@pytest.mark.parametrize(
    ("since", "age", "is_found"),
    [
        (ACCEPTED_AT, 0, True),
        (ACCEPTED_AT + 1, 0, False),
        (0, AGE_MICROS_MAX - 60_000_000, True),
        (0, AGE_MICROS_MAX + 1, False),
    ],
)
async def test_neither_declarations_of_earlier_releases_nor_a_register_that_was_read_long_ago_entrust_anything(
    house: House, since: int, age: int, is_found: bool
) -> None:
    mrn = await filed(house, "RED-1")
    await registered(house, REGISTER, since=since, age=age)
    assert await found(house, "broker", mrn=mrn) == [mrn] * is_found


def test_a_representation_entitles_both_filers_on_its_days_unless_they_are_suspended() -> None:
    def made(*entries: filers_pb2.Filer, day: int = DAY) -> set[tuple[str, str]]:
        return {(each.caller, each.owner) for each in representations(entries, day)}

    broker, both = entry("broker", BROKER, "A"), {("broker", "shop"), ("shop", "broker")}
    shop = entry("shop", SHOP, by=[("broker", DAY - 1, DAY + 1), ("nobody", DAY, 0)])
    assert [made(shop, broker, day=DAY + each) for each in (-2, -1, 1, 2)] == [set(), both, both, set()]
    assert made(entry("shop", SHOP, by=[("broker", DAY, 0)]), broker, day=DAY + 100_000) == both
    assert made(shop, entry("broker", BROKER, suspended="fraud")) == {("shop", "broker")}
    assert made(entry("shop", SHOP, by=[("broker", DAY, 0)], suspended="fraud"), broker) == {("broker", "shop")}
    assert made(shop) == set()
    assert representations([shop, broker], DAY) == {
        Representation("broker", "shop", False, SHOP, f"A\n{BROKER}"),
        Representation("shop", "broker", True, SHOP, f"A\n{BROKER}"),
    }


class _Register(FilerServiceServicer):
    """Answers pages of entries of the register."""

    def __init__(self) -> None:
        self.pages: list[list[filers_pb2.Filer]] = [[]]
        self.requests: list[filers_pb2.ListFilersRequest] = []

    async def ListFilers(self, request: filers_pb2.ListFilersRequest, _: Any) -> filers_pb2.ListFilersResponse:
        self.requests.append(request)
        place = int(request.page_token or 0)
        following = str(place + 1) if place + 1 < len(self.pages) else ""
        return filers_pb2.ListFilersResponse(filers=self.pages[place], next_page_token=following)


async def test_the_register_is_read_page_by_page_by_one_replica_and_replaces_what_was_stored(house: House) -> None:
    mrn = await filed(house, "RED-1")
    await registered(house, [])
    register, server = _Register(), grpc.aio.server()
    add_FilerServiceServicer_to_server(register, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        # The service's own job, which reads from nobody, has the lease.
        async with house.desk.store.database.transaction() as tx:
            await tx.raw.execute("delete from job_lease where name = $1", LEASE)
            assert await try_lease(tx, LEASE, "a", LEASE_SECONDS)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            job = Representations(house.desk.store, channel, "a")
            register.pages = [REGISTER[:1], REGISTER[1:]]
            assert await job.step()
            assert [each.in_representations for each in register.requests] == [True, True]
            assert await found(house, "broker", mrn=mrn) == [mrn]
            assert not await Representations(house.desk.store, channel, "b").step()
            register.pages = [[]]
            assert await job.step()
            assert await found(house, "broker", mrn=mrn) == []
    finally:
        await server.stop(None)

"""Goods that are undelivered or sent back are returned in bulk: by state, by who asks, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
import pytest
import pytest_asyncio

from libs.server.identity import Identity, Role
from libs.store.database import Database
from libs.store.errors import StoreError
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.returns_pb2 import BulkReturnRequest, GoodsRef
from luxor.common.v1 import common_pb2
from services.clearance.commands.act import Request
from services.clearance.commands.returns.bulk_return import BulkReturn, ReturnProgress
from services.clearance.consignment.returns import BulkOrder
from services.clearance.consignment.transitions import State
from services.clearance.store import Store
from tests.clearance.controls import SCAN, order, ordered
from tests.clearance.desk import MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import arrival, arrive, check_versions
from tests.clearance.disposals import SEIZED, disposal, dispose
from tests.clearance.inspections import VIOLATION, inspection, status
from tests.clearance.returns import NEW_DOCUMENT, bulk_return, caller, counted, refusals
from tests.clearance.risk_answers import screening
from tests.clearance.screening_matches import hear
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy

ELSEWHERE = "16000000009"


async def land(house: House, *masters: str, request_id: str = "a1") -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(*masters or (MASTER,), request_id=request_id), timeout=SECONDS
    )


async def hold(house: House, mrn: str, by: str = "olga") -> None:
    request = pb.HoldConsignmentsRequest(
        request_id=f"h-{mrn}", consignments=[pb.ConsignmentRef(mrn=mrn)], reason="SEEN"
    )
    (result,) = (await (await house.stub("officer", by)).HoldConsignments(request, timeout=SECONDS)).results
    assert not result.HasField("error")


async def states(house: House, *numbers: str) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


CASES: dict[str, tuple[str, str, str]] = {
    # By case the filing, and the refusal of an officer who names it and of one who names the document alone; "" where it is returned.
    "released": ("GREEN-1", "", ""),
    "held by its lane": ("RED-1", "", ""),
    "held for its debt": ("BARE-1", "", ""),
    "held by an officer": ("RED-2", "", "HELD_BY_OFFICER"),
    "controlled": ("RED-3", "", "CONTROL_OPEN"),
    "matched": ("GREEN-2", "SCREENING_MATCH_UNSEEN", "SCREENING_MATCH_UNSEEN"),
    "violation of the caller": ("RED-4", "VIOLATION_OPEN", "VIOLATION_OPEN"),
    "violation of another": ("RED-5", "", ""),
    "seized": ("RED-6", "GOODS_SEIZED", "GOODS_SEIZED"),
    "claimed": ("RED-7", "CLAIMED", "CLAIMED"),
    "held after release": ("GREEN-3", "RETURN_AFTER_RELEASE", "RETURN_AFTER_RELEASE"),
}


async def one_of_each(house: House) -> dict[str, str]:
    """File and arrive goods of each case; return their MRNs."""
    numbers = dict(zip(CASES, await house.filed([each for each, _, _ in CASES.values()]), strict=True))
    await hear(house.desk, screening(filings(["GREEN-2"])))
    await land(house)
    await hold(house, numbers["held by an officer"])
    await hold(house, numbers["held after release"])
    await ordered(house, order(numbers["controlled"], SCAN))
    for place, (case, officer) in enumerate((("violation of the caller", "otto"), ("violation of another", "olga"))):
        found = inspection(numbers[case], result=VIOLATION, violation=pb.VIOLATION_VALUE)
        request = pb.RecordInspectionsRequest(request_id=f"i{place}", inspections=[found])
        await (await house.stub("officer", officer)).RecordInspections(request, timeout=SECONDS)
    await dispose(house, disposal(numbers["seized"], SEIZED), by="anna")
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute(
            "insert into claim select day, mrn, 'anna', 1, 'anna', '' from consignment where mrn = $1",
            numbers["claimed"],
        )
    return numbers


@pytest.mark.parametrize("named", [True, False])
async def test_each_consignment_is_returned_as_its_state_asks_or_refused_by_itself(house: House, named: bool) -> None:
    numbers = await one_of_each(house)
    expected = {case: by_name if named else by_document for case, (_, by_name, by_document) in CASES.items()}
    before = await house.desk.states(list(numbers.values()))
    answer = (
        await bulk_return(house, *numbers.values())
        if named
        else await bulk_return(house, master_document_number=MASTER)
    )
    done = [case for case, refusal in expected.items() if not refusal]
    assert counted(answer) == {
        "consignments": len(CASES), "returned": 1, "re_exported": len(done) - 1, "refused": len(CASES) - len(done),
    }  # fmt: skip
    by_mrn = {each.mrn: each.error.reason for each in answer.results}
    assert by_mrn == {numbers[case]: refusal for case, refusal in expected.items() if named or refusal}, (
        "under a document only the refused ones are listed"
    )
    after = await house.desk.states(list(numbers.values()))
    rises = (after.ints("version").values - before.ints("version").values).tolist()
    for row, (case, refusal) in enumerate(expected.items()):
        moved = rises[row]
        assert (case, moved) == (case, 0 if refusal else 1)
        if not refusal:
            assert (case, after.ints("state")[row]) == (case, State.RE_EXPORTED)
            assert after.strings("return_document_number").tolist()[row] == NEW_DOCUMENT
    # Released goods are a return with its refunds, and the others a disposal, which has none of them.
    returned, disposed = [await status(house, numbers[case]) for case in ("released", "held for its debt")]
    assert (returned.change, disposed.change) == (pb.CHANGE_RETURNED, pb.CHANGE_DISPOSED)
    assert all(item.returned and item.return_reason == pb.RETURN_REASON_UNDELIVERED for item in returned.items)
    assert not any(item.returned for item in disposed.items)
    assert disposed.debt.status == common_pb2.DEBT_STATUS_NONE
    assert list(disposed.decision.reasons) == ["RETURNED_UNDELIVERED"]
    assert not disposed.movement.HasField("returned_at"), "revenue takes goods with this time for released ones"
    # An officer's hold is lifted in bulk only if the request says so.
    again = await bulk_return(house, request_id="r2", master_document_number=MASTER, override_officers=True)
    assert again.final_before == len(done)
    assert again.re_exported == (0 if named else 1)


async def test_declarations_of_goods_that_did_not_arrive_are_invalidated_unless_an_arrival_is_recorded(
    house: House,
) -> None:
    awaiting, held = await house.filed(["GREEN-1", "RED-1"])
    (elsewhere,) = await house.filed(["GREEN-2"], master=ELSEWHERE)
    answer = await bulk_return(house, awaiting, held)
    assert counted(answer) == {"consignments": 2, "invalidated": 2}
    assert await states(house, awaiting, held) == ["INVALIDATED", "INVALIDATED"]
    # The goods came with a carrier that the document is not bound to: the arrival has no effect yet.
    async with house.desk.store.database.transaction() as tx:
        now = await house.desk.store.now(tx)
        await house.desk.store.arrivals.record(tx, [arrival(ELSEWHERE)], request_id="a1", at=now)
    answer = await bulk_return(house, master_document_number=ELSEWHERE, request_id="r2")
    assert (counted(answer), refusals(answer)) == ({"consignments": 1, "refused": 1}, ["ARRIVAL_WITHOUT_EFFECT"])
    assert await states(house, elsewhere) == ["AWAITING_ARRIVAL"]


@pytest.mark.parametrize("named", [True, False])
async def test_no_declaration_is_invalidated_while_the_arrival_of_its_goods_is_recorded(
    house: House, named: bool
) -> None:
    """The return waits for the arrival that is being recorded, or would see it."""
    (mrn,) = await house.filed(["GREEN-1"])
    database = house.desk.store.database
    async with database.transaction() as tx:
        await house.desk.store.arrivals.lock_documents(tx, [MASTER])
        now = await house.desk.store.now(tx)
        await house.desk.store.arrivals.record(tx, [arrival()], request_id="a1", at=now)
        goods, fields = ((mrn,), {}) if named else ((), {"master_document_number": MASTER})
        returning = asyncio.create_task(bulk_return(house, *goods, **fields))
        waits = False
        while not (waits or returning.done()):
            async with database.connection() as reading:
                waits = await reading.raw.fetchval(
                    "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
                )
    answer = await returning
    assert (counted(answer), refusals(answer)) == ({"consignments": 1, "refused": 1}, ["ARRIVAL_WITHOUT_EFFECT"])
    assert await states(house, mrn) == ["AWAITING_ARRIVAL"]


async def test_filers_and_carriers_return_released_goods_of_theirs_alone(house: House) -> None:
    released, held = await house.filed(["GREEN-1", "RED-1"])
    (foreign,) = await house.filed(["GREEN-2"], filer="other")
    (later,) = await house.filed(["GREEN-3"], master=ELSEWHERE)
    await land(house)
    for role, ident in (("filer", "third"), ("carrier", "rails")):
        by_name = await bulk_return(house, released, held, role=role, ident=ident)
        assert (counted(by_name), set(refusals(by_name))) == ({"refused": 2}, {"CONSIGNMENT_UNKNOWN"}), role
        assert not any(each.state or each.version for each in by_name.results)
        assert (
            counted(await bulk_return(house, role=role, ident=ident, master_document_number=MASTER, request_id="r2"))
            == {}
        )
    (early,) = (await bulk_return(house, later, role="carrier", ident="wings", request_id="r3")).results
    assert early.error.reason == "CONSIGNMENT_UNKNOWN", "a carrier returns goods whose arrival it recorded"
    by_name = await bulk_return(house, foreign, held, role="filer", ident="shop")
    assert refusals(by_name) == ["CONSIGNMENT_UNKNOWN", "NOT_RELEASED"]
    answer = await bulk_return(house, role="filer", ident="shop", master_document_number=MASTER, request_id="r4")
    assert counted(answer) == {"consignments": 2, "returned": 1, "refused": 1}
    assert await states(house, released, held, foreign) == ["RE_EXPORTED", "HELD", "RELEASED"]
    answer = await bulk_return(house, role="carrier", ident="wings", master_document_number=MASTER)
    assert counted(answer) == {"consignments": 3, "returned": 1, "final_before": 1, "refused": 1}
    assert await states(house, foreign) == ["RE_EXPORTED"]
    await house.desk.told()
    for role, ident, kinds in (
        ("filer", "shop", [pb.NOTICE_KIND_RETURNED]),
        ("carrier", "wings", [pb.NOTICE_KIND_RETURNED] * 2),
    ):
        notices = (await (await house.stub(role, ident)).PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
        assert [each.kind for each in notices if each.kind == pb.NOTICE_KIND_RETURNED] == kinds, role
    for role in ("analyst", "agency", "operator", "gateway"):
        stub = await caller(house, role, "x")
        assert await refused_with(stub.BulkReturn(BulkReturnRequest(), timeout=SECONDS)) == (
            grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
        )  # fmt: skip


async def test_goods_are_named_by_their_house_document_if_it_leads_to_one_consignment(house: House) -> None:
    first, second = await house.filed(["GREEN-1", "GREEN-2"])
    (twin,) = await house.filed(["GREEN-1"], filer="other")
    await land(house)

    def under(number: str, **fields: Any) -> GoodsRef:
        return GoodsRef(house_document_number=number, **fields)

    goods = (
        under("H-GREEN-1"), under("H-GREEN-2", expected_version=9), under("H-NONE"), under("x" * 71), GoodsRef(), GoodsRef(mrn="26DE"),
        GoodsRef(mrn=second), under("H-GREEN-2"),
    )  # fmt: skip
    answer = await bulk_return(house, *goods)
    assert refusals(answer) == [
        "REFERENCE_AMBIGUOUS", "VERSION_CHANGED", "CONSIGNMENT_UNKNOWN", "REFERENCE_MALFORMED", "QUERY_MALFORMED", "MRN_MALFORMED",
        "CONSIGNMENT_REPEATED", "CONSIGNMENT_REPEATED",
    ]  # fmt: skip
    assert answer.results[0].error.path == "consignments[0].house_document_number"
    assert all(each.error.hint for each in answer.results)
    # For its filer the document leads to one consignment, and so it does for an officer once the other one has ended.
    answer = await bulk_return(house, under("H-GREEN-1"), under("H-GREEN-2"), role="filer", ident="shop")
    assert (counted(answer), refusals(answer)) == ({"consignments": 2, "returned": 2}, ["", ""])
    assert [each.mrn for each in answer.results] == [first, second]
    answer = await bulk_return(house, under("H-GREEN-1"), request_id="r2")
    assert [each.mrn for each in answer.results] == [twin]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "GOODS_NOT_NAMED"),
    ({"master_document_number": MASTER, "consignments": [GoodsRef(mrn="x")]}, "GOODS_NOT_NAMED"),
    ({"consignments": [GoodsRef()] * 1_001}, "BATCH_TOO_LARGE"),
    ({"master_document_number": "x" * 71}, "MASTER_DOCUMENT_MALFORMED"),
    ({"master_document_number": MASTER, "transport_document_number": ""}, "RETURN_DOCUMENT_MALFORMED"),
    ({"master_document_number": MASTER, "transport_document_number": "x" * 71}, "RETURN_DOCUMENT_MALFORMED"),
    ({"master_document_number": MASTER, "transport_document_number": " \u00a0"}, "RETURN_DOCUMENT_MALFORMED"),
    ({"master_document_number": MASTER, "note": "x", "role": "filer", "ident": "shop"}, "RETURN_FIELD_UNUSED"),
    ({"consignments": [GoodsRef(mrn="x")], "override_officers": True}, "RETURN_FIELD_UNUSED"),
    ({"master_document_number": MASTER, "reason": 0}, "RETURN_REASON_MISSING"),
    ({"master_document_number": MASTER, "reason": pb.RETURN_REASON_DESTROYED}, "RETURN_REASON_MISSING"),
    ({"master_document_number": MASTER, "note": "x" * 513}, "NOTE_TOO_LONG"),
    ({"master_document_number": MASTER, "page_size": -1}, "NUMBER_NEGATIVE"),
    ({"master_document_number": MASTER, "request_id": ""}, "REQUEST_ID_MISSING"),
]


async def test_a_request_that_cannot_be_read_is_refused_as_a_whole(house: House) -> None:
    for fields, reason in WRONG:
        assert (await refused_with(bulk_return(house, **fields)))[1] == reason, fields


async def test_a_request_is_carried_out_once_and_its_id_belongs_to_its_content(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await land(house)
    first = await asyncio.gather(*(bulk_return(house, mrn) for _ in range(4)))
    assert all(each == first[0] for each in first)
    assert counted(first[0]) == {"consignments": 1, "returned": 1}
    assert (await refused_with(bulk_return(house, mrn, reason=pb.RETURN_REASON_FAULTY)))[1] == "REQUEST_REUSED"
    racing = await asyncio.gather(*(bulk_return(house, mrn, request_id=f"s{n}") for n in range(3)))
    assert [refusals(each) for each in racing] == [["ALREADY_RETURNED"]] * 3
    await check_versions(house.desk)


async def test_goods_do_not_leave_under_a_document_under_which_they_came(house: House) -> None:
    released, held, other = await house.filed(["GREEN-1", "RED-1", "GREEN-2"])
    await land(house)
    for place, document in enumerate((MASTER, "H-GREEN-1")):
        answer = await bulk_return(house, released, held, transport_document_number=document, request_id=f"r{place}")
        assert refusals(answer) == ["RETURN_DOCUMENT_OWN", ["RETURN_DOCUMENT_OWN", ""][place]]
    shop = await house.stub("filer", "shop")
    for place, (document, reason) in enumerate(
        (
            (MASTER, "RETURN_DOCUMENT_OWN"),
            ("H-GREEN-2", "RETURN_DOCUMENT_OWN"),
            (" ", "RETURN_DOCUMENT_MALFORMED"),
            ("H-GREEN-1", ""),
        )
    ):
        back = pb.Return(
            consignment=pb.ConsignmentRef(mrn=other), reason=pb.RETURN_REASON_FAULTY, transport_document_number=document
        )
        request = pb.RecordReturnsRequest(request_id=f"s{place}", returns=[back])
        (result,) = (await shop.RecordReturns(request, timeout=SECONDS)).results
        assert (document, result.error.reason) == (document, reason)
    assert await states(house, released, held, other) == ["RELEASED", "RE_EXPORTED", "RE_EXPORTED"]


async def test_what_is_within_its_bounds_counts_and_the_list_of_refusals_is_cut(house: House) -> None:
    matched, first, second, moved = await house.filed(["GREEN-1", "RED-1", "RED-2", "GREEN-2"])
    await hear(house.desk, screening(filings(["GREEN-1"])))
    await house.desk.consume(filings(["GREEN-2"], version=2, master=ELSEWHERE))
    await land(house)
    await land(house, ELSEWHERE, request_id="a2")
    for mrn in (first, second):
        await hold(house, mrn)
    longest = {"transport_document_number": "d" * 70, "note": "n" * 512}
    # What an amendment moved to another document does not travel under the first one.
    answer = await bulk_return(house, master_document_number=MASTER, page_size=1, **longest)
    assert (counted(answer), len(answer.results)) == ({"consignments": 3, "refused": 3}, 1)
    assert await states(house, moved) == ["RELEASED"]
    # Who names the version has viewed the match.
    version = (await status(house, matched)).version
    answer = await bulk_return(
        house, GoodsRef(mrn=matched, expected_version=version), first, request_id="r2", **longest
    )
    assert refusals(answer) == ["", ""]
    for mrn in (matched, first):
        shown = await status(house, mrn)
        assert (shown.note, shown.movement.return_document_number) == ("n" * 512, "d" * 70)
    for place, text in enumerate(("a\x1f", "a\x7f", "a\n")):
        for name, reason in (("transport_document_number", "RETURN_DOCUMENT_MALFORMED"), ("note", "NOTE_TOO_LONG")):
            fields: dict[str, Any] = {"request_id": f"{name[0]}{place}", name: text}
            assert (await refused_with(bulk_return(house, second, **fields)))[1] == reason, (name, text)
    await check_versions(house.desk)


async def test_an_officers_note_is_stored_with_released_goods_too(house: House) -> None:
    released, held = await house.filed(["GREEN-1", "RED-1"])
    await land(house)
    await bulk_return(house, released, held, note="The addressee moved.")
    for mrn in (released, held):
        assert (await status(house, mrn)).note == "The addressee moved."
        assert (await status(house, mrn, "filer", "shop")).note == ""
    await check_versions(house.desk)


async def test_a_house_document_of_many_ended_consignments_leads_to_the_open_one(house: House) -> None:
    *ended, last, newest = [(await house.filed(["GREEN-1"], filer=f"l{number}"))[0] for number in range(14)]
    await land(house)
    await bulk_return(house, *ended)
    ambiguous = await bulk_return(house, GoodsRef(house_document_number="H-GREEN-1"), request_id="r2")
    assert refusals(ambiguous) == ["REFERENCE_AMBIGUOUS"]
    await bulk_return(house, newest, request_id="r3")
    (found,) = (await bulk_return(house, GoodsRef(house_document_number="H-GREEN-1"), request_id="r4")).results
    assert (found.mrn, found.error.reason) == (last, "")


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database_url) as opened:
        yield opened


@pytest.mark.parametrize(
    "lost", [Cut(sent=0), Cut(sent=len(COMMIT) - 1), Cut(answered=0), Cut(answered=len(ANSWER) - 1)]
)
async def test_a_repeat_after_a_lost_commit_returns_each_consignment_once(
    desk: Desk, proxy: CuttingProxy, lost: Cut
) -> None:
    """Seven consignments in chunks of three: the COMMIT of the look for a stored answer, of each of three chunks."""
    officer = Identity(Role.OFFICER, "otto")
    order_ = BulkOrder(pb.RETURN_REASON_UNDELIVERED, NEW_DOCUMENT, "otto", named=False)

    async def run(store: Store, master: str) -> ReturnProgress:
        answer = await BulkReturn(store, order_, chunk_rows=3).under(
            master, caller=officer, refusals_max=9, encode=msgspec.json.encode,
            request=Request("officer/otto", master, b"d", TRACE),
        )  # fmt: skip
        return msgspec.json.decode(answer, type=ReturnProgress)

    for commit in range(4):
        master = f"160-{commit}"
        filed = filings([f"{'GREEN' if number % 2 else 'RED'}-{commit}{number}" for number in range(7)], master=master)
        await desk.consume(filed)
        await arrive(desk, arrival(master), request_id=master)
        database = Database(proxy.url, name="clearance")
        await database.open()
        try:
            proxy.plan([*[None] * commit, lost])
            with pytest.raises(StoreError):
                await run(Store(database), master)
        finally:
            await database.close()
        found = await run(desk.store, master)
        assert (found.consignments, found.returned, found.re_exported, found.refused) == (7, 3, 4, 0)
        assert (await desk.states(mrns(filed))).ints("version").values.tolist() == [3] * 7
    await check_versions(desk)

"""Controls: who orders, answers and concludes them, what follows, and that nothing is released meanwhile."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, controls_pb2
from services.clearance.commands.end_deadlines import EndDeadlines
from services.clearance.consignment.controls.control import CONTROLS_MAX
from services.clearance.consignment.transitions import Debt
from services.clearance.jobs.waits import Waits
from tests.clearance import debt_events
from tests.clearance.controls import (
    CARRIER,
    CONFORM,
    DAY_MICROS,
    DOCUMENTS,
    EXAMINATION,
    FILER,
    NOT_CONFORM,
    SCAN,
    WITHDRAWN,
    answer,
    answered,
    concluded,
    conclusion,
    controls,
    listed,
    order,
    ordered,
)
from tests.clearance.debt_events import debt
from tests.clearance.desk import MASTER, filings
from tests.clearance.disposals import DESTROYED, INVALIDATED, LIFTED, SEIZED, disposal, dispose, outcomes
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.service_client import SECONDS, House, arrivals, ask, refused_with

MINUTE = 60_000_000


async def arrive(house: House, request_id: str = "a1") -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(MASTER, request_id=request_id), timeout=SECONDS
    )


async def state(house: House, mrn: str) -> str:
    return pb.State.Name((await status(house, mrn)).state).removeprefix("STATE_")


async def release(house: House, *mrns: str, request_id: str = "r1") -> list[tuple[str, str]]:
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs, reason="IN_ORDER")
    stub = await house.stub("officer", "olga")
    return outcomes(list((await stub.ReleaseConsignments(request, timeout=SECONDS)).results))


async def notices(house: House, role: str = "filer", ident: str = "shop") -> list[pb.Notice]:
    await house.desk.told()
    return list((await (await house.stub(role, ident)).PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices)


def words(found: list[pb.Notice]) -> list[tuple[str, str]]:
    return [
        (pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"), pb.State.Name(each.state).removeprefix("STATE_"))
        for each in found
    ]


async def now(house: House) -> int:
    return await house.desk.store.database.now()


@pytest.mark.parametrize(
    ("form", "name"), [(DOCUMENTS, "DOCUMENTS_REQUESTED"), (SCAN, "EXAMINATION"), (EXAMINATION, "EXAMINATION")]
)
async def test_free_goods_with_a_control_stop_and_continue_with_its_conclusion(
    house: House, form: int, name: str
) -> None:
    waiting, arrived = await house.filed(["GREEN-1"], master="020-1"), await house.filed(["GREEN-2"])
    house.desk.neighbours.risk = answering({"GREEN-3": ServiceSpan(delay_minutes=60)})
    look = await house.filed(["GREEN-3"])
    assert (
        outcomes(await ordered(house, *(order(mrn, form) for mrn in (*waiting, *arrived, *look)))) == [(name, "")] * 3
    )
    await arrive(house)
    assert [await state(house, mrn) for mrn in (*waiting, *arrived, *look)] == [name] * 3, "an arrival releases nothing"
    assert await release(house, *waiting, *arrived) == [(name, "CONTROL_OPEN")] * 2
    told = await concluded(house, *(conclusion(mrn) for mrn in (*waiting, *arrived, *look)))
    # A control ends no delay: the time for an officer's look goes on.
    assert outcomes(told) == [("AWAITING_ARRIVAL", ""), ("RELEASED", ""), ("AWAITING_ARRIVAL", "")]
    assert await Waits(house.desk.store, "r1").step(at=await now(house) + 61 * MINUTE) == 1
    assert await state(house, look[0]) == "RELEASED"
    seen = await status(house, arrived[0])
    (control,) = seen.controls
    assert (control.number, control.result, control.concluded_by) == (1, CONFORM, "olga")
    assert control.concluded_at == seen.changed_at == seen.movement.released_at
    assert await listed(house) == []


async def test_goods_that_were_held_before_stay_held_after_their_control(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    before = await status(house, mrn)
    await ordered(house, order(mrn))
    assert outcomes(await concluded(house, conclusion(mrn))) == [("HELD", "")]
    after = await status(house, mrn)
    assert after.decision.reasons == before.decision.reasons
    assert not after.decision.officer_hold
    assert await release(house, mrn) == [("RELEASED", "")]


@pytest.mark.parametrize("result", [NOT_CONFORM, WITHDRAWN])
async def test_a_result_that_is_not_in_order_holds_for_an_officer_and_a_withdrawn_control_does_not(
    house: House, result: int
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await arrive(house, "a0")
    # Released goods are held first.
    assert outcomes(await ordered(house, order(mrn))) == [("RELEASED", "NOT_CONTROLLABLE")]
    (other,) = await house.filed(["GREEN-2"], master="020-9")
    await ordered(house, order(other), request_id="o2")
    told = await concluded(house, conclusion(other, result=result))
    seen = await status(house, other)
    if result == WITHDRAWN:
        assert outcomes(told) == [("AWAITING_ARRIVAL", "")]
        assert not seen.decision.officer_hold
    else:
        assert outcomes(told) == [("HELD", "")]
        assert seen.decision.officer_hold
        assert list(seen.decision.reasons) == ["OFFICER_HOLD"]


async def test_several_controls_end_one_by_one_and_only_the_last_frees_the_goods(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    steps = [("o1", DOCUMENTS, "DOCUMENTS_REQUESTED"), ("o2", SCAN, "EXAMINATION"), ("o3", DOCUMENTS, "EXAMINATION"),
             ("o4", EXAMINATION, "EXAMINATION")]  # fmt: skip
    for request_id, form, name in steps:
        assert outcomes(await ordered(house, order(mrn, form), request_id=request_id)) == [(name, "")]
    await arrive(house)
    ends = [(2, "EXAMINATION"), (4, "DOCUMENTS_REQUESTED"), (1, "DOCUMENTS_REQUESTED"), (3, "RELEASED")]
    for number, name in ends:
        told = await concluded(house, conclusion(mrn, number), request_id=f"c{number}")
        assert outcomes(told) == [(name, "")]
        again = await concluded(house, conclusion(mrn, number), request_id=f"d{number}")
        assert outcomes(again) == [(name, "CONTROL_CONCLUDED")]
    assert [each.number for each in (await status(house, mrn)).controls] == [1, 2, 3, 4]


async def test_one_failed_control_of_several_holds_the_goods_in_the_end(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await arrive(house, "a0")
    (mrn,) = await house.filed(["GREEN-2"], master="020-9")
    await ordered(house, order(mrn), request_id="o1")
    await ordered(house, order(mrn, SCAN), request_id="o2")
    assert outcomes(await concluded(house, conclusion(mrn, 1, NOT_CONFORM), request_id="c1")) == [("EXAMINATION", "")]
    assert outcomes(await concluded(house, conclusion(mrn, 2), request_id="c2")) == [("HELD", "")]


async def test_a_debt_that_opens_or_stays_open_holds_after_the_last_control_and_frees_once_it_is_settled(
    house: House,
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn))
    await debt_events.hear(house.desk, debt([mrn], 1, Debt.OPEN, kind=debt_events.OPENED))
    await arrive(house)
    assert await state(house, mrn) == "DOCUMENTS_REQUESTED"
    assert outcomes(await concluded(house, conclusion(mrn))) == [("HELD", "")]
    seen = await status(house, mrn)
    assert seen.decision.debt_hold
    assert "DEBT_OPEN" in seen.decision.reasons
    # A control of goods that only the debt holds: the debt is settled while it is open.
    await ordered(house, order(mrn, SCAN), request_id="o2")
    await debt_events.hear(house.desk, debt([mrn], 2, Debt.PAID, kind=debt_events.SETTLED))
    assert await state(house, mrn) == "EXAMINATION"
    assert outcomes(await concluded(house, conclusion(mrn, 2), request_id="c2")) == [("RELEASED", "")]


async def test_a_screening_match_or_a_violation_meanwhile_holds_after_the_last_control(house: House) -> None:
    first, second = await house.filed(["GREEN-1", "GREEN-2"])
    await ordered(house, order(first), order(second, EXAMINATION))
    await hear(house.desk, screening(filings(["GREEN-1"])))
    assert await state(house, first) == "DOCUMENTS_REQUESTED"
    assert [
        each.error.reason
        for each in await record(house, inspection(second, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    ] == [""]
    await arrive(house)
    told = await concluded(house, conclusion(first), conclusion(second))
    assert outcomes(told) == [("HELD", ""), ("HELD", "")]
    assert "CUSTOMS_CHECK" in (await status(house, first)).decision.reasons
    assert await release(house, first, second) == [("HELD", "SCREENING_MATCH_UNSEEN"), ("HELD", "VIOLATION_OPEN")]


@pytest.mark.parametrize(("kind", "name"), [(SEIZED, "SEIZED"), (DESTROYED, "DESTROYED"), (INVALIDATED, "INVALIDATED")])
async def test_goods_that_are_seized_or_end_while_a_control_is_open_end_their_controls(
    house: House, kind: int, name: str
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    deadline = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, due_at=deadline))
    await arrive(house)
    assert outcomes(await dispose(house, disposal(mrn, kind))) == [(name, "")]
    (control,) = (await status(house, mrn)).controls
    assert (control.result, control.concluded_by) == (control_pb2.CONTROL_RESULT_ENDED, "automatic")
    assert await listed(house) == []
    assert await Waits(house.desk.store, "r1").step(at=deadline) == 0
    refused = await answered(house, answer(mrn))
    assert [each.error.reason for each in refused] == ["CONTROL_CONCLUDED"]
    if kind == SEIZED:
        await dispose(house, disposal(mrn, LIFTED), request_id="d2")
        assert outcomes(await ordered(house, order(mrn), request_id="o2")) == [("DOCUMENTS_REQUESTED", "")]


async def test_the_filer_reads_what_is_requested_and_answers_and_the_officer_reads_the_answer(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    deadline = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, pointer="items[0].price", due_at=deadline, text="Send the invoice of the order."))
    seen = await status(house, mrn, "filer", "shop")
    (control,) = seen.controls
    assert (control.text, control.pointer, control.reason) == (
        "Send the invoice of the order.",
        "items[0].price",
        "INVOICE_MISSING",
    )
    assert control.due_at.ToMicroseconds() == deadline
    assert (control.ordered_by, control.when_overdue) == ("", 0)
    document = controls_pb2.ControlDocument(type="N380", number="INV-2026-17")
    told = await answered(house, answer(mrn, text="It costs 12 EUR. See the invoice.", documents=[document]))
    assert outcomes(told) == [("DOCUMENTS_REQUESTED", "")]
    assert told[0].version == seen.version + 1
    (listed_control,) = await listed(house, answered=True)
    assert (listed_control.mrn, listed_control.control.answer) == (mrn, "It costs 12 EUR. See the invoice.")
    assert list(listed_control.control.documents) == ["N380 INV-2026-17"]
    # A later answer replaces the one before, until the control is concluded.
    await answered(house, answer(mrn, text="Corrected."), request_id="w2")
    await concluded(house, conclusion(mrn, note="Looks genuine."))
    (control,) = (await status(house, mrn, "filer", "shop")).controls
    assert (control.answer, control.note, control.result, control.concluded_by) == ("Corrected.", "", 0, "")
    assert control.HasField("concluded_at")
    kinds = words(await notices(house))
    assert kinds == [
        ("DECIDED", "AWAITING_ARRIVAL"), ("CONTROL_ORDERED", "DOCUMENTS_REQUESTED"), ("CONTROL_ANSWERED", "DOCUMENTS_REQUESTED"),
        ("CONTROL_ANSWERED", "DOCUMENTS_REQUESTED"), ("DECIDED", "AWAITING_ARRIVAL"),
    ]  # fmt: skip
    about = [list(each.controls) for each in await notices(house)]
    assert [len(each) for each in about] == [0, 1, 1, 1, 1]
    assert about[1][0].text == "Send the invoice of the order."


async def test_only_the_addressee_answers(house: House) -> None:
    own, others = await house.filed(["GREEN-1"]), await house.filed(["GREEN-2"], filer="rival")
    await ordered(house, order(own[0], addressee=CARRIER, text="Screen it."), order(others[0]))
    to_carrier = await answered(house, answer(own[0]), answer(others[0]))
    assert [each.error.reason for each in to_carrier] == ["CONTROL_UNKNOWN", "CONSIGNMENT_UNKNOWN"]
    assert (to_carrier[1].state, to_carrier[1].version) == (0, 0)
    by_carrier = await answered(house, answer(own[0]), answer(others[0]), role="carrier", by="wings", request_id="w2")
    assert [each.error.reason for each in by_carrier] == ["", "CONTROL_UNKNOWN"]
    foreign = await answered(house, answer(own[0]), role="carrier", by="rails", request_id="w3")
    assert [each.error.reason for each in foreign] == ["CONSIGNMENT_UNKNOWN"]
    missing = await answered(house, answer(others[0], 2), by="rival", request_id="w4")
    assert [each.error.reason for each in missing] == ["CONTROL_UNKNOWN"]


async def test_a_carrier_reads_examinations_and_what_is_addressed_to_it_and_no_request_to_the_filer(
    house: House,
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, text="The price, please."), request_id="o1")
    await ordered(house, order(mrn, SCAN), request_id="o2")
    await ordered(house, order(mrn, addressee=CARRIER, text="Screen it."), request_id="o3")
    stub = await house.stub("carrier", "wings")
    (result,) = await ask(stub, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    seen = result.consignments[0]
    assert [(each.number, each.text) for each in seen.controls] == [(2, ""), (3, "Screen it.")]
    await arrive(house)
    await concluded(house, conclusion(mrn, 1), request_id="c1")
    heard = await notices(house, "carrier", "wings")
    assert words(heard)[-1] == ("CONTROL_CONCLUDED", "EXAMINATION")
    assert [list(each.controls) for each in heard if each.kind == pb.NOTICE_KIND_CONTROL_CONCLUDED] == [[]]


async def test_an_agency_sees_and_concludes_what_it_was_asked_to_control_and_nothing_else(house: House) -> None:
    first, second, third = await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    await ordered(house, order(first, EXAMINATION, authority="food"), order(second, EXAMINATION), request_id="o1")
    await ordered(house, order(first), request_id="o2")
    seen = await status(house, first, "agency", "food")
    assert [(each.number, each.authority) for each in seen.controls] == [(1, "food")]
    assert not seen.HasField("debt")
    assert (seen.filing.filer, seen.filing.local_reference, list(seen.decision.reasons)) == ("", "", [])
    assert seen.items[0].commodity_code
    assert not seen.items[0].HasField("price")
    for mrn in (second, third):
        (result,) = await ask(
            await house.stub("agency", "food"), pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=mrn)])
        )
        assert result.error.reason == "CONSIGNMENT_UNKNOWN"
    assert [each.mrn for each in await listed(house, "agency", "food")] == [first]
    assert await listed(house, "agency", "toys") == []
    foreign = await concluded(
        house, conclusion(first, 1), conclusion(second, 1), role="agency", by="toys", request_id="c1"
    )
    assert [(each.error.reason, each.state, each.version) for each in foreign] == [("CONSIGNMENT_UNKNOWN", 0, 0)] * 2
    customs = await concluded(house, conclusion(first, 2), role="agency", by="food", request_id="c2")
    assert [each.error.reason for each in customs] == ["CONTROL_UNKNOWN"]
    # Customs does not find an agency's control in order, and may withdraw it.
    officer = await concluded(house, conclusion(first, 1), request_id="c3")
    assert [each.error.reason for each in officer] == ["CONTROL_OF_AGENCY"]
    assert outcomes(await concluded(house, conclusion(first, 2), request_id="c4")) == [("EXAMINATION", "")]
    further = await ordered(house, order(first, SCAN), role="agency", by="food", request_id="o3")
    assert outcomes(further) == [("EXAMINATION", "")]
    unknown = await ordered(house, order(second, SCAN), role="agency", by="food", request_id="o4")
    assert [(each.error.reason, each.state) for each in unknown] == [("CONSIGNMENT_UNKNOWN", 0)]
    own = await concluded(house, conclusion(first, 1), role="agency", by="food", request_id="c5")
    assert outcomes(own) == [("EXAMINATION", "")]
    assert outcomes(await concluded(house, conclusion(first, 3, WITHDRAWN), request_id="c6")) == [
        ("AWAITING_ARRIVAL", "")
    ]
    seen = await status(house, first, "agency", "food")
    assert [each.number for each in seen.controls] == [1, 3], "what it controlled stays visible to it"


@pytest.mark.parametrize("past", [False, True])
async def test_a_version_that_is_not_known_to_the_agency_gives_nothing_away(house: House, past: bool) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    made = conclusion(mrn)
    made.consignment.expected_version = 1 if past else 99
    told = await concluded(house, made, role="agency", by="food")
    assert [(each.error.reason, each.state, each.version) for each in told] == [("CONSIGNMENT_UNKNOWN", 0, 0)]


async def test_reminders_and_deadlines_come_at_their_time_once(house: House) -> None:
    keep, conclude = await house.filed(["GREEN-1", "GREEN-2"])
    begin = await now(house)
    remind, deadline = begin + DAY_MICROS, begin + 2 * DAY_MICROS
    times = {"remind_at": remind, "due_at": deadline}
    ends = control_pb2.CONTROL_OVERDUE_CONCLUDE
    await ordered(house, order(keep, **times), order(conclude, when_overdue=ends, **times))
    waits = Waits(house.desk.store, "r1")
    assert await waits.step(at=remind - 1) == 0
    assert await waits.step(at=remind) == 2
    assert await waits.step(at=remind) == 0
    assert await waits.step(at=deadline - 1) == 0
    assert await listed(house, overdue=True) == []
    assert await waits.step(at=deadline) == 2
    assert await waits.step(at=deadline + 400 * DAY_MICROS) == 0
    assert [await state(house, mrn) for mrn in (keep, conclude)] == ["DOCUMENTS_REQUESTED", "HELD"]
    (late,) = await listed(house, overdue=True)
    assert (late.mrn, late.control.overdue_at.ToMicroseconds()) == (keep, deadline)
    (over,) = (await status(house, conclude)).controls
    assert (over.result, over.concluded_by) == (control_pb2.CONTROL_RESULT_UNANSWERED, "automatic")
    assert (await status(house, conclude)).decision.officer_hold
    found = await notices(house)
    heard = [(each.mrn, word) for each, (word, _) in zip(found, words(found), strict=True)]
    assert [word for mrn, word in heard if mrn == keep] == [
        "DECIDED",
        "CONTROL_ORDERED",
        "CONTROL_REMINDED",
        "CONTROL_REMINDED",
    ]
    assert [word for mrn, word in heard if mrn == conclude][-1] == "CONTROL_CONCLUDED"
    # A late answer is taken, and the list says that it is the officers' turn.
    assert outcomes(await answered(house, answer(keep))) == [("DOCUMENTS_REQUESTED", "")]
    (late,) = await listed(house, overdue=True, answered=True)
    assert outcomes(await concluded(house, conclusion(keep))) == [("AWAITING_ARRIVAL", "")]


async def test_an_answer_in_time_stops_the_deadline(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = await now(house)
    ends = control_pb2.CONTROL_OVERDUE_CONCLUDE
    await ordered(house, order(mrn, remind_at=begin + DAY_MICROS, due_at=begin + 2 * DAY_MICROS, when_overdue=ends))
    await answered(house, answer(mrn))
    assert await Waits(house.desk.store, "r1").step(at=begin + 9 * DAY_MICROS) == 0
    assert await state(house, mrn) == "DOCUMENTS_REQUESTED"


async def test_a_deadline_of_an_examination_is_for_the_authority_alone(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    deadline = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, EXAMINATION, due_at=deadline))
    public = await status(house, mrn, "filer", "shop")
    assert await Waits(house.desk.store, "r1").step(at=deadline) == 1
    assert (await status(house, mrn)).version == public.version + 1
    assert (await status(house, mrn, "filer", "shop")).version == public.version
    assert "CONTROL_REMINDED" not in [word for word, _ in words(await notices(house))]
    assert [each.mrn for each in await listed(house, overdue=True)] == [mrn]


async def test_a_second_replica_and_a_stale_list_repeat_no_reminder(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = await now(house)
    await ordered(house, order(mrn, remind_at=begin + DAY_MICROS, due_at=begin + 2 * DAY_MICROS))
    first, second = Waits(house.desk.store, "r1"), Waits(house.desk.store, "r2")
    done = await asyncio.gather(first.step(at=begin + DAY_MICROS), second.step(at=begin + DAY_MICROS))
    assert sum(done) == 1
    version = (await status(house, mrn)).version
    # A list that is older than the states, as after a restore of the one table: it is corrected, and nothing happens twice.
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update control set next_at = $1", begin + DAY_MICROS)
    assert await first.step(at=begin + DAY_MICROS + 1) == 0
    assert (await status(house, mrn)).version == version
    async with house.desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select next_at from control") == begin + 2 * DAY_MICROS


async def test_repeated_requests_have_one_effect_and_an_id_is_not_used_twice(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    first = await ordered(house, order(mrn))
    assert await ordered(house, order(mrn)) == first
    assert len((await status(house, mrn)).controls) == 1
    stub = await controls(house)
    request = controls_pb2.OrderControlsRequest(request_id="o1", orders=[order(mrn, SCAN)])
    assert await refused_with(stub.OrderControls(request, timeout=SECONDS)) == (
        grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED",
    )  # fmt: skip


async def test_two_officers_who_conclude_one_control_have_one_conclusion(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn))
    told = await asyncio.gather(
        concluded(house, conclusion(mrn, result=NOT_CONFORM), by="anna", request_id="c1"),
        concluded(house, conclusion(mrn), by="olga", request_id="c2"),
    )
    reasons = sorted(each.error.reason for (each,) in told)
    assert reasons == ["", "CONTROL_CONCLUDED"]
    winner = "anna" if not told[0][0].error.reason else "olga"
    (control,) = (await status(house, mrn)).controls
    assert control.concluded_by == winner
    assert await state(house, mrn) == ("HELD" if winner == "anna" else "AWAITING_ARRIVAL")


async def test_a_consignment_has_twenty_controls_at_most(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    for number in range(CONTROLS_MAX):
        assert not (await ordered(house, order(mrn), request_id=f"o{number}"))[0].error.reason
    assert [each.error.reason for each in await ordered(house, order(mrn), request_id="x")] == ["CONTROLS_TOO_MANY"]


async def test_open_controls_are_listed_by_authority_form_and_office_in_pages(house: House) -> None:
    mrns = await house.filed([f"GREEN-{number}" for number in range(5)])
    await ordered(house, *(order(mrn, SCAN if place % 2 else DOCUMENTS) for place, mrn in enumerate(mrns)))
    await ordered(house, order(mrns[0], EXAMINATION, authority="food"), request_id="o2")
    every = [(each.mrn, each.control.number) for each in await listed(house, page_size=2)]
    assert every == sorted([*((mrn, 1) for mrn in mrns), (mrns[0], 2)])
    assert [each.mrn for each in await listed(house, form=SCAN)] == sorted([mrns[1], mrns[3]])
    assert [each.control.authority for each in await listed(house, authority="food")] == ["food"]
    assert len(await listed(house, authority="customs")) == 5
    assert await listed(house, office="NOWHERE") == []
    assert len(await listed(house, "analyst", "ana")) == 6
    stub = await controls(house, "agency", "toys")
    request = controls_pb2.ListControlsRequest(authority="food")
    assert (await refused_with(stub.ListControls(request, timeout=SECONDS)))[1] == "CONTROL_AUTHORITY_MALFORMED"


BAD_ORDERS = {
    "CONTROL_FORM_MISSING": {"form": 0},
    "REASON_MALFORMED": {"reason": "lower case"},
    "CONTROL_ADDRESSEE_UNCLEAR": {"form": SCAN, "addressee": FILER},
    "CONTROL_TEXT_MALFORMED": {"text": " "},
    "CONTROL_POINTER_MALFORMED": {"pointer": "a\x00"},
    "CONTROL_AUTHORITY_MALFORMED": {"authority": "customs"},
}


@pytest.mark.parametrize("reason", list(BAD_ORDERS))
async def test_malformed_orders_are_refused_and_their_neighbours_are_not(house: House, reason: str) -> None:
    bad, good = await house.filed(["GREEN-1", "GREEN-2"])
    told = await ordered(house, order(bad, **BAD_ORDERS[reason]), order(good))  # type: ignore[arg-type]
    assert [each.error.reason for each in told] == [reason, ""]
    assert await state(house, bad) == "AWAITING_ARRIVAL"


@pytest.mark.parametrize(
    ("remind", "due", "refused"),
    [
        (None, 59, True), (None, 62, False), (None, 180 * 86_400 + 60, True), (None, 180 * 86_400 - 60, False),
        (-1, 3_600, True), (3_600, 3_600, True), (3_599, 3_600, False), (60, None, True),
    ],
)  # fmt: skip
async def test_deadlines_and_reminders_have_bounds(
    house: House, remind: int | None, due: int | None, refused: bool
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    begin = await now(house)
    times = {name: begin + at * 1_000_000 for name, at in (("remind_at", remind), ("due_at", due)) if at is not None}
    told = await ordered(house, order(mrn, **times))
    assert [each.error.reason for each in told] == ["CONTROL_DUE_OUT_OF_BOUNDS" if refused else ""]


async def test_malformed_answers_and_conclusions_are_refused(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn))
    many = [controls_pb2.ControlDocument(type="N380", number=str(number)) for number in range(21)]
    bad_answers = [
        ({"text": ""}, "CONTROL_TEXT_MALFORMED"), ({"text": "x" * 2_001}, "CONTROL_TEXT_MALFORMED"),
        ({"text": "a\nb"}, "CONTROL_TEXT_MALFORMED"), ({"documents": many}, "CONTROL_DOCUMENTS_MALFORMED"),
        ({"documents": [controls_pb2.ControlDocument(type="n380", number="1")]}, "CONTROL_DOCUMENTS_MALFORMED"),
        ({"documents": [controls_pb2.ControlDocument(type="N380", number="")]}, "CONTROL_DOCUMENTS_MALFORMED"),
        ({"documents": [controls_pb2.ControlDocument(type="N380", number="x" * 141)]}, "CONTROL_DOCUMENTS_MALFORMED"),
    ]  # fmt: skip
    for place, (fields, reason) in enumerate(bad_answers):
        told = await answered(house, answer(mrn, **fields), request_id=f"w{place}")
        assert [each.error.reason for each in told] == [reason], fields
    assert not (await answered(house, answer(mrn, text="x" * 2_000, documents=many[:20]), request_id="w"))[
        0
    ].error.reason
    bad_conclusions = [
        ({"result": 0}, "CONTROL_RESULT_MISSING"), ({"result": control_pb2.CONTROL_RESULT_UNANSWERED}, "CONTROL_RESULT_MISSING"),
        ({"reason": ""}, "REASON_MALFORMED"), ({"note": "x" * 513}, "NOTE_TOO_LONG"),
    ]  # fmt: skip
    for place, (fields, reason) in enumerate(bad_conclusions):
        told = await concluded(house, conclusion(mrn, **fields), request_id=f"c{place}")  # type: ignore[arg-type]
        assert [each.error.reason for each in told] == [reason], fields


@pytest.mark.parametrize(
    ("method", "roles"),
    [
        ("OrderControls", {"officer", "agency"}), ("AnswerControls", {"filer", "carrier"}),
        ("ConcludeControls", {"officer", "agency"}), ("ListControls", {"officer", "analyst", "agency"}),
    ],
)  # fmt: skip
async def test_each_call_is_for_its_roles_alone(house: House, method: str, roles: set[str]) -> None:
    request = getattr(controls_pb2, f"{method}Request")()
    for role in ("filer", "carrier", "officer", "analyst", "agency", "operator", "gateway"):
        stub = await controls(house, role, "somebody")
        if role in roles:
            if method == "ListControls":
                await stub.ListControls(request, timeout=SECONDS)
            else:
                assert (await refused_with(getattr(stub, method)(request, timeout=SECONDS)))[1] == "BATCH_EMPTY"
        else:
            assert (await refused_with(getattr(stub, method)(request, timeout=SECONDS)))[1] == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize("first", [None, CONFORM])
async def test_an_amendment_ends_no_control_and_forgets_none(house: House, first: int | None) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, authority="food"))
    if first is not None:
        await concluded(house, conclusion(mrn, result=first), role="agency", by="food")
    await house.desk.consume(filings(["GREEN-1"], version=2))
    seen = await status(house, mrn, "agency", "food")
    assert [(each.number, each.HasField("concluded_at")) for each in seen.controls] == [(1, first is not None)]
    assert await house.desk.inconsistencies() == []
    assert await state(house, mrn) == ("DOCUMENTS_REQUESTED" if first is None else "AWAITING_ARRIVAL")
    again = await ordered(house, order(mrn), request_id="o2")
    assert outcomes(again) == [("DOCUMENTS_REQUESTED", "")]
    assert [each.number for each in (await status(house, mrn)).controls] == [1, 2]


async def hold(house: House, mrn: str) -> None:
    request = pb.HoldConsignmentsRequest(
        request_id="h1", consignments=[pb.ConsignmentRef(mrn=mrn)], reason="OFFICER_DECISION"
    )
    await (await house.stub("officer", "otto")).HoldConsignments(request, timeout=SECONDS)


def public(seen: pb.ConsignmentStatus) -> tuple[object, ...]:
    decision = seen.decision
    return (
        pb.State.Name(seen.state), seen.version, pb.Change.Name(seen.change), list(decision.reasons), decision.decided_by,
        decision.officer_hold, decision.screening_hold, [pb.Change.Name(each.change) for each in seen.history],
    )  # fmt: skip


async def test_filers_cannot_distinguish_a_match_during_a_control_from_an_officers_hold(house: House) -> None:
    matched, held = await house.filed(["GREEN-1", "GREEN-2"])
    await ordered(house, order(matched), order(held))
    await hear(house.desk, screening(filings(["GREEN-1"])))
    await hold(house, held)

    async def both() -> list[tuple[object, ...]]:
        return [public(await status(house, mrn, "filer", "shop")) for mrn in (matched, held)]

    first, second = await both()
    assert first == second
    await concluded(house, conclusion(matched, result=NOT_CONFORM), conclusion(held, result=NOT_CONFORM))
    first, second = await both()
    assert first == second
    assert first[3] == ["OFFICER_DECISION", "OFFICER_HOLD"]


async def test_a_match_that_is_cleared_during_a_control_reads_as_an_officers_release_and_leaves_the_controls_alone(
    house: House,
) -> None:
    matched, held = await house.filed(["GREEN-1", "GREEN-2"])
    # The match is there before the control: without it, the clearing would release the goods.
    await hear(house.desk, screening(filings(["GREEN-1"])))
    await hold(house, held)
    await ordered(house, order(matched), order(held))
    await hear(house.desk, clearing(filings(["GREEN-1"])))
    assert await release(house, held) == [("DOCUMENTS_REQUESTED", "")]
    first, second = [await status(house, mrn, "filer", "shop") for mrn in (matched, held)]
    assert (first.version, first.change) == (second.version, second.change)
    assert first.decision.officer_hold == second.decision.officer_hold is False
    assert await release(house, held, request_id="r2") == [("DOCUMENTS_REQUESTED", "CONTROL_OPEN")]
    assert outcomes(await concluded(house, conclusion(matched), conclusion(held))) == [("AWAITING_ARRIVAL", "")] * 2
    assert await house.desk.inconsistencies() == []


async def test_a_yellow_one_becomes_blue_after_its_days_though_a_control_was_withdrawn(house: House) -> None:
    house.desk.neighbours.risk = answering({"YELLOW-1": ServiceSpan(days=3)})
    (mrn,) = await house.filed(["YELLOW-1"])
    await arrive(house)
    await ordered(house, order(mrn))
    later = await now(house) + 4 * DAY_MICROS
    assert await Waits(house.desk.store, "r1").step(at=later) == 0, "not while the control is open"
    assert outcomes(await concluded(house, conclusion(mrn, result=WITHDRAWN))) == [("HELD", "")]
    assert await Waits(house.desk.store, "r1").step(at=later) == 1
    assert await state(house, mrn) == "RELEASED"
    assert (await status(house, mrn)).decision.audit


async def test_agencies_name_and_read_versions_without_gaps(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, EXAMINATION, authority="food"))
    await hold(house, mrn)
    before = await status(house, mrn, "agency", "food")
    await hear(house.desk, screening(filings(["GREEN-1"])))
    after = await status(house, mrn, "agency", "food")
    assert (await status(house, mrn)).version == before.version + 1
    assert after.version == before.version == len(after.history)
    made = conclusion(mrn)
    made.consignment.expected_version = before.version
    assert outcomes(await concluded(house, made, role="agency", by="food")) == [("HELD", "")]
    stub = await controls(house, "agency", "food")
    request = controls_pb2.ListControlsRequest(office="FRA")
    assert (await refused_with(stub.ListControls(request, timeout=SECONDS)))[1] == "CONTROL_AUTHORITY_MALFORMED"


async def test_a_clock_that_was_set_back_leaves_no_deadline_undone(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    deadline = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, due_at=deadline))
    end = EndDeadlines(house.desk.store)
    async with house.desk.store.database.connection() as reading:
        mrns = await end.due(reading, deadline, 10)
    assert await end.run(mrns, deadline, None, "") == 1
    assert [each.mrn for each in await listed(house, overdue=True)] == [mrn]


async def test_carriers_are_not_reminded_of_requests_to_others(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    remind = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, remind_at=remind, due_at=remind + DAY_MICROS))
    await Waits(house.desk.store, "r1").step(at=remind)
    await answered(house, answer(mrn))
    kinds = [word for word, _ in words(await notices(house, "carrier", "wings"))]
    assert kinds == ["ARRIVED", "CONTROL_ORDERED"]

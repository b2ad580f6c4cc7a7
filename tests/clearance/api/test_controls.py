"""Controls: who orders, answers and concludes them, what follows, and that nothing is released meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, controls_pb2
from services.clearance.commands.end_deadlines import EndDeadlines
from services.clearance.consignment.controls.control import CONTROLS_MAX
from services.clearance.consignment.transitions import Debt
from services.clearance.jobs.waits import Waits
from services.clearance.store import gauges
from tests.clearance import debt_events
from tests.clearance.controls import (
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
    arrive,
    concluded,
    conclusion,
    controls,
    hold,
    listed,
    notices,
    now,
    order,
    ordered,
    release,
    state,
    words,
)
from tests.clearance.debt_events import debt
from tests.clearance.desk import filings
from tests.clearance.disposals import DESTROYED, INVALIDATED, LIFTED, SEIZED, disposal, dispose, outcomes
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import hear
from tests.clearance.service_client import SECONDS, House, refused_with

MINUTE = 60_000_000


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
    results = await concluded(house, *(conclusion(mrn) for mrn in (*waiting, *arrived, *look)))
    # A control ends no delay: the time for an officer's look goes on.
    assert outcomes(results) == [("AWAITING_ARRIVAL", ""), ("RELEASED", ""), ("AWAITING_ARRIVAL", "")]
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
    results = await concluded(house, conclusion(other, result=result))
    seen = await status(house, other)
    if result == WITHDRAWN:
        assert outcomes(results) == [("AWAITING_ARRIVAL", "")]
        assert not seen.decision.officer_hold
    else:
        assert outcomes(results) == [("HELD", "")]
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
        results = await concluded(house, conclusion(mrn, number), request_id=f"c{number}")
        assert outcomes(results) == [(name, "")]
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
    # A release meanwhile lifts an officer's hold with its reasons, and leaves the debt.
    await hold(house, mrn)
    assert await release(house, mrn) == [("DOCUMENTS_REQUESTED", "")]
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
    results = await concluded(house, conclusion(first), conclusion(second))
    assert outcomes(results) == [("HELD", ""), ("HELD", "")]
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
    results = await asyncio.gather(
        concluded(house, conclusion(mrn, result=NOT_CONFORM), by="anna", request_id="c1"),
        concluded(house, conclusion(mrn), by="olga", request_id="c2"),
    )
    reasons = sorted(each.error.reason for (each,) in results)
    assert reasons == ["", "CONTROL_CONCLUDED"]
    winner = "anna" if not results[0][0].error.reason else "olga"
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


BAD_ORDERS: dict[str, Any] = {
    "CONTROL_FORM_MISSING": {"form": 0},
    "REASON_MALFORMED": {"reason": "lower case"},
    "CONTROL_ADDRESSEE_UNCLEAR": {"form": SCAN, "addressee": FILER},
    "CONTROL_TEXT_MALFORMED": {"text": " "},
    "CONTROL_POINTER_MALFORMED": {"pointer": "a\x00"},
    "CONTROL_AUTHORITY_MALFORMED": {"authority": "customs"},
}


async def test_malformed_orders_are_refused_and_their_neighbours_are_not(house: House) -> None:
    bad, *good = await house.filed([f"GREEN-{number}" for number in range(len(BAD_ORDERS) + 1)])
    for neighbour, (reason, fields) in zip(good, BAD_ORDERS.items(), strict=True):
        results = await ordered(house, order(bad, **fields), order(neighbour), request_id=reason)
        assert [each.error.reason for each in results] == [reason, ""]
        assert await state(house, bad) == "AWAITING_ARRIVAL"


BOUNDS = [
        (None, 59, True), (None, 62, False), (None, 180 * 86_400 + 60, True), (None, 180 * 86_400 - 60, False),
        (-1, 3_600, True), (3_600, 3_600, True), (3_599, 3_600, False), (60, None, True),
    ]  # fmt: skip


async def test_deadlines_and_reminders_have_bounds(house: House) -> None:
    filed = await house.filed([f"GREEN-{number}" for number in range(len(BOUNDS))])
    begin = await now(house)
    for mrn, (remind, due, refused) in zip(filed, BOUNDS, strict=True):
        times = {
            name: begin + at * 1_000_000 for name, at in (("remind_at", remind), ("due_at", due)) if at is not None
        }
        results = await ordered(house, order(mrn, **times), request_id=mrn)
        reason = "CONTROL_DUE_OUT_OF_BOUNDS" if refused else ""
        assert [each.error.reason for each in results] == [reason], (remind, due)


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
        results = await answered(house, answer(mrn, **fields), request_id=f"w{place}")
        assert [each.error.reason for each in results] == [reason], fields
    assert not (await answered(house, answer(mrn, text="x" * 2_000, documents=many[:20]), request_id="w"))[
        0
    ].error.reason
    bad_conclusions = [
        ({"result": 0}, "CONTROL_RESULT_MISSING"), ({"result": control_pb2.CONTROL_RESULT_UNANSWERED}, "CONTROL_RESULT_MISSING"),
        ({"reason": ""}, "REASON_MALFORMED"), ({"note": "x" * 513}, "NOTE_TOO_LONG"),
    ]  # fmt: skip
    for place, (fields, reason) in enumerate(bad_conclusions):
        results = await concluded(house, conclusion(mrn, **fields), request_id=f"c{place}")  # type: ignore[arg-type]
        assert [each.error.reason for each in results] == [reason], fields


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


async def test_a_clock_that_was_set_back_leaves_no_deadline_undone(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    deadline = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, due_at=deadline))
    end = EndDeadlines(house.desk.store)
    async with house.desk.store.database.connection() as reading:
        mrns = await end.due(reading, deadline, 10)
    assert await end.run(mrns, deadline, None, "") == 1
    assert [each.mrn for each in await listed(house, overdue=True)] == [mrn]


async def test_the_oldest_control_that_no_timer_ends_ages_visibly(house: House) -> None:
    """It waits for its authority since the answer, and without a deadline since the order; a do-not-load waits for nobody."""
    timed, untimed, forbidden = await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    due_at = await now(house) + DAY_MICROS
    forbids = order(forbidden, control_pb2.CONTROL_FORM_DO_NOT_LOAD)
    await ordered(house, order(timed, due_at=due_at), order(untimed), forbids)

    async def since() -> dict[str, int | None]:
        async with house.desk.store.database.connection() as reading:
            rows = await reading.raw.fetch("select mrn, waits_since from control")
        return {row["mrn"]: row["waits_since"] for row in rows}

    (control,) = (await status(house, untimed)).controls
    assert await since() == {timed: None, untimed: control.ordered_at.ToMicroseconds(), forbidden: None}
    await answered(house, answer(timed))
    (control,) = (await status(house, timed)).controls
    assert (await since())[timed] == control.answered_at.ToMicroseconds()
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update control set waits_since = waits_since - $1 where mrn = $2", 20 * DAY_MICROS, timed)
    await gauges.look(house.desk.store.database)
    waiting = REGISTRY.get_sample_value("luxor_clearance_controls_waiting_seconds")
    assert waiting is not None
    assert 20 * 86_400 <= waiting < 20 * 86_400 + 60

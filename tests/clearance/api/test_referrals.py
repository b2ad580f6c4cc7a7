"""Referrals before loading and do-not-load: who orders, answers and lifts them, who is notified, and that such goods never slip through.

The definition is docs/preloading.md.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, controls_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.jobs.waits import Waits
from tests.clearance.controls import (
    CARRIER,
    CONFORM,
    DAY_MICROS,
    EXAMINATION,
    FILER,
    NOT_CONFORM,
    WITHDRAWN,
    answer,
    answered,
    arrive,
    concluded,
    conclusion,
    listed,
    notices,
    now,
    order,
    ordered,
    release,
    state,
)
from tests.clearance.desk import MASTER, filings
from tests.clearance.disposals import INVALIDATED, disposal, dispose, outcomes
from tests.clearance.inspections import status
from tests.clearance.loading import SCREENING as RECOMMENDED_SCREENING
from tests.clearance.loading import parameters, recommending
from tests.clearance.service_client import House, arrivals, ask

INFORMATION = control_pb2.CONTROL_FORM_INFORMATION
SCREENING = control_pb2.CONTROL_FORM_SCREENING
DO_NOT_LOAD = control_pb2.CONTROL_FORM_DO_NOT_LOAD
REFERRED = control_pb2.PRE_LOADING_REFERRED
FORBIDDEN = control_pb2.PRE_LOADING_DO_NOT_LOAD
NOT_ASSESSED = control_pb2.PRE_LOADING_UNSPECIFIED
"""The stage after the last referral: risk assesses none of these filings before loading."""
CLEAR = consignment_pb2.SCREENING_RESULT_CLEAR
INCONCLUSIVE = consignment_pb2.SCREENING_RESULT_INCONCLUSIVE
ALARM = consignment_pb2.SCREENING_RESULT_ALARM


def information(mrn: str, **fields: Any) -> controls_pb2.ControlOrder:
    """Request information from the filer before the goods are loaded."""
    text = "Name the goods more exactly."
    return order(mrn, INFORMATION, **{"reason": "DESCRIPTION_TOO_VAGUE", "text": text, "addressee": FILER} | fields)


def screening(mrn: str, **fields: Any) -> controls_pb2.ControlOrder:
    """Request a screening from the carrier before the goods are loaded."""
    return order(mrn, SCREENING, **{"reason": "GOODS_DANGEROUS", "text": "Screen it.", "addressee": CARRIER} | fields)


def forbid(mrn: str, **fields: Any) -> controls_pb2.ControlOrder:
    """Forbid the loading."""
    return order(mrn, DO_NOT_LOAD, **{"reason": "DO_NOT_LOAD_ORDER"} | fields)


async def loading(house: House, mrn: str, role: str = "officer", ident: str = "olga") -> int:
    """Return how far the assessment before loading has come."""
    return (await read(house, mrn, role, ident)).pre_loading


async def read(house: House, mrn: str, role: str, ident: str) -> pb.ConsignmentStatus:
    """Return the status as a role reads it: carriers ask by the master document."""
    if role != "carrier":
        return await status(house, mrn, role, ident)
    query = pb.StatusQuery(master_document_number=MASTER)
    (result,) = await ask(await house.stub(role, ident), pb.GetStatusRequest(queries=[query]))
    return next(each for each in result.consignments if each.mrn == mrn)


async def heard(house: House, role: str, ident: str) -> list[tuple[str, int]]:
    """Return kind and stage of a reader's notices about loading."""
    kinds = pb.NoticeKind
    return [
        (kinds.Name(each.kind).removeprefix("NOTICE_KIND_"), each.pre_loading)
        for each in await notices(house, role, ident)
        if each.pre_loading
    ]


async def test_referrals_run_in_parallel_and_without_an_assessment_the_last_one_completes_nothing(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    assert await loading(house, mrn) == 0
    due = await now(house) + DAY_MICROS
    asked = information(mrn, pointer="items[0].description", due_at=due, remind_at=due - DAY_MICROS // 2)
    assert outcomes(await ordered(house, asked)) == [("DOCUMENTS_REQUESTED", "")]
    assert outcomes(await ordered(house, screening(mrn), request_id="o2")) == [("DOCUMENTS_REQUESTED", "")]
    # Both parties read of both requests, the carrier without what customs writes to the filer, and each answers its own alone.
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        seen = await read(house, mrn, role, ident)
        assert seen.pre_loading == REFERRED
        first, second = seen.controls
        written = ("DESCRIPTION_TOO_VAGUE", "Name the goods more exactly.", "items[0].description")
        assert (first.reason, first.text, first.pointer) == (written if role == "filer" else ("", "", ""))
        assert (first.form, first.due_at.ToMicroseconds()) == (INFORMATION, due)
        assert (second.text, second.reason) == ("Screen it.", "GOODS_DANGEROUS")
    document = controls_pb2.ControlDocument(type="N380", number="INV-17", sha256="0123456789abcdef" * 4)
    by_filer = await answered(house, answer(mrn, 1, documents=[document]))
    assert outcomes(by_filer) == [("DOCUMENTS_REQUESTED", "")]
    not_its_own = await answered(house, answer(mrn, 2, screening_result=CLEAR), request_id="w2")
    assert [each.error.reason for each in not_its_own] == ["CONTROL_UNKNOWN"]
    texts = [text for title, text in await house_texts(house, "carrier", "wings") if title == "Request before loading"]
    assert ["Name the goods" in text for text in texts] == [False, False]
    assert ["Screen it" in text for text in texts] == [False, True]
    by_carrier = answer(mrn, 2, text="", screening_result=CLEAR)
    assert outcomes(await answered(house, by_carrier, role="carrier", by="wings", request_id="w3")) == [
        ("DOCUMENTS_REQUESTED", "")
    ]
    first, second = (await status(house, mrn)).controls
    assert list(first.documents) == [f"N380 INV-17 sha256:{'0123456789abcdef' * 4}"]
    assert second.screening_result == CLEAR
    assert len(await listed(house, answered=True)) == 2, "an officer judges the answers"
    await concluded(house, conclusion(mrn, 1), request_id="c1")
    assert await loading(house, mrn) == REFERRED
    assert outcomes(await concluded(house, conclusion(mrn, 2), request_id="c2")) == [("AWAITING_ARRIVAL", "")]
    assert await loading(house, mrn, "carrier", "wings") == NOT_ASSESSED
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        title, text = (await house_texts(house, role, ident))[-1]
        assert (title, "may be loaded" in text) == ("Request before loading ended", False)
    # The answers are the addressee's: the carrier hears of its own, the filer of all.
    ordered_twice = [("CONTROL_ORDERED", REFERRED)] * 2
    ends = [("CONTROL_CONCLUDED", REFERRED)]
    of_answers = [("CONTROL_ANSWERED", REFERRED)]
    assert await heard(house, "filer", "shop") == [*ordered_twice, *of_answers * 2, *ends]
    assert await heard(house, "carrier", "wings") == [*ordered_twice, *of_answers, *ends]
    first, second = (await read(house, mrn, "carrier", "wings")).controls
    assert (first.answer, list(first.documents), second.screening_result) == ("", [], CLEAR)
    await arrive(house)
    assert await state(house, mrn) == "RELEASED"


async def test_goods_that_may_not_be_loaded_are_held_if_they_arrive_and_only_an_officer_lifts_it(
    house: House,
) -> None:
    early, late = await house.filed(["GREEN-1"], master="020-1"), await house.filed(["GREEN-2"])
    await ordered(house, forbid(early[0]), forbid(late[0]))
    assert [await loading(house, mrn) for mrn in (*early, *late)] == [FORBIDDEN] * 2
    again = await ordered(house, forbid(early[0]), request_id="o2")
    assert [each.error.reason for each in again] == ["DO_NOT_LOAD_STANDS"]
    for role, by in (("filer", "shop"), ("carrier", "wings")):
        said = await answered(house, answer(early[0]), role=role, by=by, request_id=f"w-{role}")
        assert [each.error.reason for each in said] == ["CONTROL_UNKNOWN"], "nobody is to answer it"
    assert await release(house, *early) == [("DOCUMENTS_REQUESTED", "CONTROL_OPEN")]
    confirmed = await concluded(house, conclusion(early[0], result=NOT_CONFORM))
    assert [each.error.reason for each in confirmed] == ["DO_NOT_LOAD_STANDS"]
    # It travels all the same.
    await arrive(house)
    assert await state(house, late[0]) == "DOCUMENTS_REQUESTED"
    assert await loading(house, late[0]) == FORBIDDEN
    by_result = [
        conclusion(early[0], result=CONFORM, reason="ALERT_ENDED"),
        conclusion(late[0], result=WITHDRAWN, reason="ALERT_ENDED"),
    ]
    lifted = await concluded(house, *by_result, request_id="c2")
    assert outcomes(lifted) == [("AWAITING_ARRIVAL", ""), ("RELEASED", "")]
    assert await loading(house, early[0]) == NOT_ASSESSED
    for mrn, result in ((early[0], CONFORM), (late[0], WITHDRAWN)):
        (control,) = (await status(house, mrn)).controls
        assert (control.result, control.result_reason, control.concluded_by) == (result, "ALERT_ENDED", "olga")
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        assert (await heard(house, role, ident)).count(("CONTROL_ORDERED", FORBIDDEN)) == 2
        titles = [title for title, _ in await house_texts(house, role, ident)]
        assert "Request before loading ended" in titles
        assert any(title.startswith("Consignment released") for title in titles)


async def test_a_do_not_load_beside_a_request_stands_until_it_is_lifted(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    for number, made in enumerate((information(mrn), forbid(mrn))):
        await ordered(house, made, request_id=f"o{number}")
    await concluded(house, conclusion(mrn, 1), request_id="c1")
    assert await loading(house, mrn) == FORBIDDEN
    await ordered(house, screening(mrn), request_id="o3")
    assert await loading(house, mrn) == FORBIDDEN
    await concluded(house, conclusion(mrn, 2), request_id="c2")
    assert await loading(house, mrn) == REFERRED
    texts = await house_texts(house, "filer", "shop")
    assert texts[-1][0] == "Do-not-load lifted, request open"
    assert [title for title, _ in texts if title == "Do not load"] == ["Do not load"]


async def house_texts(house: House, role: str, ident: str) -> list[tuple[str, str]]:
    """Return title and text of a reader's notices in English."""
    await house.desk.told()
    stub = await house.stub(role, ident)
    pulled = await stub.PullNotices(pb.PullNoticesRequest(language="en"), timeout=30)
    return [(each.title, each.text) for each in pulled.notices]


async def test_the_alarm_of_a_screening_forbids_the_loading_at_once_and_an_inconclusive_one_leaves_the_request_open(
    house: House,
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, screening(mrn))
    for number, (result, stage) in enumerate(((INCONCLUSIVE, REFERRED), (ALARM, FORBIDDEN), (CLEAR, FORBIDDEN))):
        made = answer(mrn, text="", screening_result=result)
        done = await answered(house, made, role="carrier", by="wings", request_id=f"w{number}")
        assert outcomes(done) == [("DOCUMENTS_REQUESTED", "")]
        assert await loading(house, mrn) == stage, "a later clear result lifts nothing"
    request, order_made = (await status(house, mrn)).controls
    assert (request.result, order_made.form, order_made.reason) == (0, DO_NOT_LOAD, "SCREENING_ALARM")
    assert order_made.ordered_by == "automatic"
    assert ("CONTROL_ORDERED", FORBIDDEN) in await heard(house, "filer", "shop")
    # A result is required of a screening, and of nothing else.
    (mrn,) = await house.filed(["GREEN-2"])
    await ordered(house, information(mrn), request_id="o1b")
    await ordered(house, screening(mrn, addressee=FILER), request_id="o2b")
    cases = (answer(mrn, 1, screening_result=CLEAR), answer(mrn, 2), answer(mrn, 2, screening_result=9))
    for number, made in enumerate(cases):
        (refused,) = await answered(house, made, request_id=f"x{number}")
        assert refused.error.reason == "SCREENING_RESULT_UNFIT"
    document = controls_pb2.ControlDocument(type="N380", number="INV-17", sha256="ABC")
    (refused,) = await answered(house, answer(mrn, 1, documents=[document]), request_id="x9")
    assert refused.error.reason == "CONTROL_DOCUMENTS_MALFORMED"


async def test_a_request_without_an_answer_ends_as_it_says_and_a_late_answer_changes_only_what_is_open(
    house: House,
) -> None:
    escalate, concludes, forbids = (
        control_pb2.CONTROL_OVERDUE_ESCALATE,
        control_pb2.CONTROL_OVERDUE_CONCLUDE,
        control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD,
    )
    (here,) = await house.filed(["GREEN-4"], master="16099999999")
    cases = dict(zip(await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"]), (escalate, concludes, forbids), strict=True))
    cases[here] = forbids
    due = await now(house) + DAY_MICROS
    terms = {"due_at": due, "remind_at": due - 1_000}
    await ordered(house, *(information(mrn, when_overdue=ends, **terms) for mrn, ends in cases.items()))
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals("16099999999"), timeout=30)
    waits = Waits(house.desk.store, "r1")
    assert await waits.step(at=due - 1_001) == 0
    assert await waits.step(at=due - 1_000) == 4, "the reminders"
    assert [await loading(house, mrn) for mrn in cases] == [REFERRED] * 4
    assert await waits.step(at=due) == 4
    assert await Waits(house.desk.store, "r2").step(at=due) == 0, "once, whichever replica"
    after = [
        ("DOCUMENTS_REQUESTED", REFERRED),
        ("HELD", NOT_ASSESSED),
        ("DOCUMENTS_REQUESTED", FORBIDDEN),
        ("HELD", NOT_ASSESSED),
    ]
    assert [(await state(house, mrn), await loading(house, mrn)) for mrn in cases] == after
    for mrn in cases:
        first, *others = (await status(house, mrn)).controls
        assert first.overdue_at.ToMicroseconds() == due
        rule = [(DO_NOT_LOAD, "REFERRAL_UNANSWERED")] if cases[mrn] == forbids and mrn != here else []
        assert [(each.form, each.reason) for each in others] == rule
    assert ("CONTROL_ORDERED", FORBIDDEN) in await heard(house, "carrier", "wings")
    late = await answered(house, *(answer(mrn) for mrn in cases))
    assert [each.error.reason for each in late] == ["", *["CONTROL_CONCLUDED"] * 3]
    await arrive(house, "a2")
    assert [(await state(house, mrn), await loading(house, mrn)) for mrn in cases] == after, (
        "nothing is released on arrival"
    )


async def test_an_amendment_ends_no_referral_and_lifts_no_do_not_load_and_the_filer_may_withdraw(house: House) -> None:
    referred, forbidden = await house.filed(["GREEN-1", "GREEN-2"])
    await ordered(house, information(referred), forbid(forbidden))
    await house.desk.consume(filings(["GREEN-1", "GREEN-2"], version=2))
    assert [await loading(house, mrn) for mrn in (referred, forbidden)] == [REFERRED, FORBIDDEN]
    assert (await status(house, forbidden)).filing.version == 2
    assert [await state(house, mrn) for mrn in (referred, forbidden)] == ["DOCUMENTS_REQUESTED"] * 2
    done = await dispose(house, disposal(referred, INVALIDATED), disposal(forbidden, INVALIDATED))
    assert outcomes(done) == [("INVALIDATED", "")] * 2
    # What ended before its assessment was complete may not read as complete.
    assert [await loading(house, mrn) for mrn in (referred, forbidden)] == [0, 0]


async def test_referrals_are_of_customs_and_of_goods_that_have_not_arrived_and_foreign_parties_read_nothing(
    house: House,
) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await ordered(house, order(mrn, EXAMINATION, authority="food"))
    by_agency = await ordered(house, information(mrn), role="agency", by="food", request_id="o2")
    for_agency = await ordered(house, forbid(mrn, authority="food"), request_id="o3")
    for (refused,) in (by_agency, for_agency):
        assert refused.error.reason == "CONTROL_AUTHORITY_MALFORMED"
    faults = {
        "CONTROL_ADDRESSEE_UNCLEAR": forbid(mrn, addressee=FILER),
        "CONTROL_DUE_OUT_OF_BOUNDS": forbid(mrn, due_at=await now(house) + DAY_MICROS),
        "CONTROL_OVERDUE_UNFIT": forbid(mrn, when_overdue=control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD),
        "CONTROL_TEXT_MALFORMED": screening(mrn, text=" "),
    }
    for number, (reason, made) in enumerate(faults.items()):
        (refused,) = await ordered(house, made, request_id=f"f{number}")
        assert refused.error.reason == reason
    assert outcomes(await ordered(house, forbid(mrn), request_id="o4")) == [("EXAMINATION", "")]
    seen = await status(house, mrn, "agency", "food")
    assert ([each.form for each in seen.controls], seen.pre_loading) == ([EXAMINATION], 0)
    for role, ident in (("filer", "rival"), ("carrier", "rails")):
        said = await answered(house, answer(mrn, 2), role=role, by=ident, request_id=f"w-{ident}")
        assert [each.error.reason for each in said] == ["CONSIGNMENT_UNKNOWN"]
        assert await notices(house, role, ident) == []
    await arrive(house)
    for number, made in enumerate((information(mrn), screening(mrn), forbid(mrn))):
        (refused,) = await ordered(house, made, request_id=f"l{number}")
        assert refused.error.reason == "REFERRAL_AFTER_ARRIVAL"


async def test_twenty_referrals_are_possible_beside_twenty_other_controls(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    for number in range(20):
        await ordered(house, order(mrn), request_id=f"o{number}")
    (full,) = await ordered(house, order(mrn), request_id="o20")
    assert full.error.reason == "CONTROLS_TOO_MANY"
    for number in range(20):
        made = information(mrn) if number else forbid(mrn)
        assert outcomes(await ordered(house, made, request_id=f"r{number}")) == [("DOCUMENTS_REQUESTED", "")]
    (full,) = await ordered(house, screening(mrn), request_id="r20")
    assert full.error.reason == "CONTROLS_TOO_MANY"
    # What risk requests beyond that forbids the loading for a reason of its own, once, beside the do-not-load that stands.
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: RECOMMENDED_SCREENING, [])
    for version in (2, 3):
        await house.desk.consume(filings(["GREEN-1"], version=version))
    stand = [each for each in (await status(house, mrn)).controls if each.form == DO_NOT_LOAD]
    assert [(each.number, each.reason) for each in stand] == [(21, "DO_NOT_LOAD_ORDER"), (41, "REFERRALS_TOO_MANY")]
    await concluded(house, conclusion(mrn, 21))
    assert await loading(house, mrn) == FORBIDDEN


async def test_repeats_have_one_effect_and_two_officers_lift_once(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    for _ in range(2):
        assert outcomes(await ordered(house, forbid(mrn))) == [("DOCUMENTS_REQUESTED", "")]
    assert len((await status(house, mrn)).controls) == 1
    calls = [concluded(house, conclusion(mrn), by=by, request_id=f"c-{by}") for by in ("olga", "oscar")]
    results = [each for (each,) in await asyncio.gather(*calls)]
    assert sorted(each.error.reason for each in results) == ["", "CONTROL_CONCLUDED"]
    assert await loading(house, mrn) == NOT_ASSESSED
    with pytest.raises(grpc.aio.AioRpcError):
        await ordered(house, information(mrn), request_id="o1")


async def test_the_last_examination_and_an_unanswered_request_that_end_together_leave_the_do_not_load_alone(
    house: House,
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    due = await now(house) + DAY_MICROS
    ends = control_pb2.CONTROL_OVERDUE_CONCLUDE
    await ordered(house, order(mrn, EXAMINATION, due_at=due, when_overdue=ends))
    forbids = information(mrn, due_at=due, when_overdue=control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD)
    await ordered(house, forbids, request_id="o2")
    assert await Waits(house.desk.store, "r1").step(at=due) == 1
    assert (await state(house, mrn), await loading(house, mrn)) == ("DOCUMENTS_REQUESTED", FORBIDDEN)
    assert outcomes(await concluded(house, conclusion(mrn, 3))) == [("HELD", "")]

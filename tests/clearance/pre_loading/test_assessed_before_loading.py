"""Filings that are assessed before loading: what risk recommends becomes referrals, answers and amendments loop until the assessment is complete.

The definition is docs/preloading.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc
import numpy as np
import pytest

from libs.columns import Bools, Ints, Ragged, Table
from libs.server.errors import Refusal
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.jobs.waits import Waits
from services.clearance.pre_loading.parameters import Parameters
from tests.clearance.controls import (
    CARRIER,
    CONFORM,
    FILER,
    WITHDRAWN,
    answer,
    answered,
    arrive,
    concluded,
    conclusion,
    notices,
    now,
    order,
    ordered,
    state,
)
from tests.clearance.desk import filings, mrns
from tests.clearance.disposals import INVALIDATED, disposal, dispose, outcomes
from tests.clearance.inspections import status
from tests.clearance.loading import FORBIDDEN, INFORMATION, NONE, SCORED, SCREENING, parameters, recommending
from tests.clearance.risk_answers import answering
from tests.clearance.second_person import CONFIRM, decided
from tests.clearance.second_person import outcomes as waits
from tests.clearance.service_client import House

REFERRED = control_pb2.PRE_LOADING_REFERRED
DO_NOT_LOAD = control_pb2.PRE_LOADING_DO_NOT_LOAD
COMPLETE = control_pb2.PRE_LOADING_COMPLETE
INCOMPLETE = control_pb2.PRE_LOADING_INCOMPLETE
DEPARTED = control_pb2.PRE_LOADING_DEPARTED
CLEAR = consignment_pb2.SCREENING_RESULT_CLEAR
INCONCLUSIVE = consignment_pb2.SCREENING_RESULT_INCONCLUSIVE
ALARM = consignment_pb2.SCREENING_RESULT_ALARM
HOUR: Final = 3_600_000_000


async def filed(
    house: House, recommended: Mapping[str, int], version: int = 1, **fields: Any
) -> tuple[list[str], list[list[str]]]:
    """File consignments of which risk recommends this; return the MRNs, and what risk was asked before loading."""
    asked: list[list[str]] = []
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda reference, _: recommended[reference], asked, **fields)
    table = filings(list(recommended), version=version)
    await house.desk.consume(table)
    return mrns(table), asked


async def stage(house: House, mrn: str) -> int:
    """Return how far the assessment before loading has come."""
    return (await status(house, mrn)).pre_loading


async def heard(house: House, role: str = "filer", ident: str = "shop") -> list[tuple[str, int]]:
    """Return kind and stage of a reader's notices."""
    found = await notices(house, role, ident)
    return [(pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"), each.pre_loading) for each in found]


async def test_only_filings_before_loading_are_assessed_and_what_is_not_referred_is_complete_at_once(
    house: House,
) -> None:
    def change(number: int, row: consignment_pb2.Consignment) -> None:
        departs = {1: -1, 2: 1}
        if number in departs:
            row.transport.departure_time.FromMicroseconds(row_accepted + departs[number] * HOUR)
        if number == 3:
            row.transport.mode = consignment_pb2.TRANSPORT_MODE_SEA
        if number == 4:
            row.consignor.name = ""
        if number == 5:
            row.destination_country = "FR"

    references = [f"GREEN-{number}" for number in range(6)]
    row_accepted = int(filings(["GREEN-0"]).ints("accepted_at").values[0])
    asked: list[list[str]] = []
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: NONE, asked)
    table = filings(references, change=change)
    await house.desk.consume(table)
    assert asked == [["GREEN-0", "GREEN-2"]], "one call for those that are not loaded and have the minimum set"
    stages = [COMPLETE, DEPARTED, COMPLETE, 0, INCOMPLETE, 0]
    assert [await stage(house, mrn) for mrn in mrns(table)] == stages
    assert (await status(house, mrns(table)[0])).version == 1
    assert await heard(house) == [("DECIDED", each) for each in stages]
    assert await heard(house, "carrier", "wings") == [("DECIDED", each) for each in stages if each]
    await arrive(house)
    assert [await stage(house, mrn) for mrn in mrns(table)] == [COMPLETE, 0, COMPLETE, 0, 0, 0], (
        "they came all the same"
    )
    assert [each for each in await heard(house) if each[0] == "RELEASED"] == [("RELEASED", 0)] * 6
    # Without a destination in the parameters risk is not asked.
    house.desk.decide.parameters = Parameters({}, parameters().offices)
    await house.filed(["GREEN-9"])
    assert len(asked) == 1


async def test_an_incomplete_filing_is_assessed_once_a_version_has_the_minimum_set_and_an_officers_referral_comes_first(
    house: House,
) -> None:
    def incomplete(_: int, row: consignment_pb2.Consignment) -> None:
        row.ClearField("gross_mass_mg")

    house.desk.decide.parameters = parameters()
    asked: list[list[str]] = []
    house.desk.neighbours.loading = recommending(lambda *_: NONE, asked)
    await house.desk.consume(table := filings(["GREEN-1", "RED-1"], change=incomplete))
    first, held = mrns(table)
    await ordered(house, order(first, control_pb2.CONTROL_FORM_DO_NOT_LOAD))
    assert [await stage(house, mrn) for mrn in (first, held)] == [DO_NOT_LOAD, INCOMPLETE]
    await concluded(house, conclusion(first, result=WITHDRAWN))
    assert await stage(house, first) == INCOMPLETE
    assert outcomes(await dispose(house, disposal(held, INVALIDATED))) == [("INVALIDATED", "")]
    assert await stage(house, held) == 0, "no goods may travel by it"
    await house.desk.consume(filings(["GREEN-1"], version=2))
    assert (await stage(house, first), asked) == (COMPLETE, [["GREEN-1"]])
    notices = [(kind, found) for kind, found in await heard(house) if found]
    assert notices == [
        ("DECIDED", INCOMPLETE), ("HELD", INCOMPLETE), ("CONTROL_ORDERED", DO_NOT_LOAD), ("DECIDED", INCOMPLETE), ("DECIDED", COMPLETE),
    ]  # fmt: skip
    assert await house.desk.inconsistencies() == []


async def test_a_request_for_information_loops_through_amended_filings_until_nothing_is_recommended(
    house: House,
) -> None:
    (mrn,), _ = await filed(house, {"GREEN-1": INFORMATION})
    seen = await status(house, mrn)
    (request,) = seen.controls
    assert (seen.version, seen.pre_loading) == (2, REFERRED)
    assert (request.form, request.addressee) == (control_pb2.CONTROL_FORM_INFORMATION, FILER)
    assert (request.reason, request.pointer, request.ordered_by) == ("DESCRIPTION_TOO_VAGUE", "items[0]", "automatic")
    ordered_at = request.ordered_at.ToMicroseconds()
    assert request.due_at.ToMicroseconds() == ordered_at + 24 * HOUR
    assert request.remind_at.ToMicroseconds() == ordered_at + 12 * HOUR
    # The first decision says nothing of loading, and nobody reads that the goods may be loaded before the request.
    assert await heard(house) == [("DECIDED", 0), ("CONTROL_ORDERED", REFERRED)]
    assert await heard(house, "carrier", "wings") == [("CONTROL_ORDERED", REFERRED)]
    # Still vague: the same request stays. Then dangerous: a second one beside it. Then nothing.
    await filed(house, {"GREEN-1": INFORMATION}, version=2)
    assert [each.number for each in (await status(house, mrn)).controls] == [1]
    await filed(house, {"GREEN-1": SCREENING}, version=3)
    assert [(each.number, each.result) for each in (await status(house, mrn)).controls] == [(1, 0), (2, 0)]
    await filed(house, {"GREEN-1": INFORMATION}, version=4)
    assert [(each.number, each.result) for each in (await status(house, mrn)).controls] == [(1, 0), (2, CONFORM)]
    assert (await stage(house, mrn), await state(house, mrn)) == (REFERRED, "DOCUMENTS_REQUESTED")
    await filed(house, {"GREEN-1": NONE}, version=5)
    first = (await status(house, mrn)).controls[0]
    assert (first.result, first.result_reason, first.concluded_by) == (CONFORM, "REASSESSED", "automatic")
    assert (await stage(house, mrn), await state(house, mrn)) == (COMPLETE, "AWAITING_ARRIVAL")
    assert (await heard(house))[-1] == ("DECIDED", COMPLETE)
    await filed(house, {"GREEN-1": INFORMATION}, version=6)
    assert await stage(house, mrn) == REFERRED, "a later version may be referred again"
    await concluded(house, conclusion(mrn, 3))
    assert await stage(house, mrn) == COMPLETE


async def test_a_clear_screening_answers_what_risk_requested_and_an_officers_request_waits_for_the_officer(
    house: House,
) -> None:
    (mrn,), _ = await filed(house, {"GREEN-1": SCREENING})
    await ordered(house, order(mrn, control_pb2.CONTROL_FORM_SCREENING, addressee=CARRIER, text="By hand."))
    for number in (1, 2):
        made = answer(mrn, number, text="", screening_result=CLEAR)
        await answered(house, made, role="carrier", by="wings", request_id=f"w{number}")
    assert [each.result for each in (await status(house, mrn)).controls] == [CONFORM, 0]
    assert outcomes(await concluded(house, conclusion(mrn, 2))) == [("AWAITING_ARRIVAL", "")]
    assert await stage(house, mrn) == COMPLETE
    await filed(house, {"GREEN-1": SCREENING}, version=2)
    assert len((await status(house, mrn)).controls) == 2, (
        "a screening that found nothing answers the next recommendation too"
    )
    assert await stage(house, mrn) == COMPLETE


async def screened(house: House, mrn: str, *results: int) -> None:
    """Answer the first control of a consignment as its carrier, once with each result."""
    for count, result in enumerate(results):
        made = answer(mrn, text="", screening_result=result)
        (done,) = await answered(house, made, role="carrier", by="wings", request_id=f"s-{mrn}-{result}-{count}")
        assert done.error.reason == ""


async def test_no_answer_after_the_arrival_releases_goods_and_an_alarm_there_holds_them_for_an_officer(
    house: House,
) -> None:
    (clear, alarm), _ = await filed(house, {"GREEN-1": SCREENING, "GREEN-2": SCREENING})
    await arrive(house)
    await screened(house, clear, CLEAR, CLEAR)
    await screened(house, alarm, ALARM, CLEAR)
    for mrn, held in ((clear, False), (alarm, True)):
        seen = await status(house, mrn)
        (request,) = seen.controls
        assert (pb.State.Name(seen.state), request.result) == ("STATE_DOCUMENTS_REQUESTED", 0)
        assert (seen.decision.officer_hold, "OFFICER_HOLD" in seen.decision.reasons) == (held, held)
    ends = await concluded(house, conclusion(clear), conclusion(alarm))
    assert outcomes(ends) == [("RELEASED", ""), ("HELD", "")], "the officer releases, not the addressee"


async def test_a_clear_screening_after_another_result_waits_for_an_officer(house: House) -> None:
    (alarm, unclear), _ = await filed(house, {"GREEN-1": SCREENING, "GREEN-2": SCREENING})
    await screened(house, alarm, ALARM, CLEAR, CLEAR)
    await screened(house, unclear, INCONCLUSIVE, CLEAR)
    assert [await stage(house, mrn) for mrn in (alarm, unclear)] == [DO_NOT_LOAD, REFERRED]
    assert [(await status(house, mrn)).controls[0].result for mrn in (alarm, unclear)] == [0, 0]
    await concluded(house, conclusion(alarm, 2))
    assert await stage(house, alarm) == REFERRED, "the contradicting results are still to be judged"


async def test_each_reason_has_its_own_do_not_load_and_lifting_one_lifts_no_other(house: House) -> None:
    (mrn,), _ = await filed(house, {"GREEN-1": SCREENING})
    forbid = order(mrn, control_pb2.CONTROL_FORM_DO_NOT_LOAD, reason="BOMB_ALERT")
    await ordered(house, forbid, request_id="o1")
    due = await now(house) + HOUR
    late = {
        "due_at": due,
        "when_overdue": control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD,
        "addressee": FILER,
        "text": "Name it.",
    }
    for number in (2, 3):
        await ordered(house, order(mrn, control_pb2.CONTROL_FORM_INFORMATION, **late), request_id=f"o{number}")
    assert await Waits(house.desk.store, "r1").step(at=due) == 1, "two deadlines pass"
    await screened(house, mrn, ALARM, ALARM)
    for version in (2, 3):
        await filed(house, {"GREEN-1": FORBIDDEN}, version=version)
    (refused,) = await ordered(house, forbid, request_id="o4")
    assert refused.error.reason == "DO_NOT_LOAD_STANDS"
    stand = [each for each in (await status(house, mrn)).controls if each.form == forbid.form and not each.result]
    reasons = ["BOMB_ALERT", "REFERRAL_UNANSWERED", "SCREENING_ALARM", "DO_NOT_LOAD_ORDER"]
    assert [each.reason for each in stand] == reasons, "one each, however often its reason came"
    await concluded(house, conclusion(mrn, 1), request_id="c1")
    for count, each in enumerate(stand):
        assert await stage(house, mrn) == DO_NOT_LOAD
        await concluded(house, conclusion(mrn, each.number), request_id=f"l{count}")
    assert (await stage(house, mrn), await state(house, mrn)) == (COMPLETE, "AWAITING_ARRIVAL")


async def test_a_do_not_load_of_risk_stands_whatever_is_filed_and_secret_reasons_are_not_told(house: House) -> None:
    (scored,), _ = await filed(house, {"GREEN-2": SCORED})
    assert [each.reason for each in (await status(house, scored, "filer", "shop")).controls] == ["CUSTOMS_CHECK"]
    (mrn,), _ = await filed(house, {"GREEN-1": FORBIDDEN}, secret=True)
    for role, ident in (("officer", "olga"), ("filer", "shop")):
        (stands,) = (await status(house, mrn, role, ident)).controls
        assert (stands.form, stands.reason, stands.pointer) == (
            control_pb2.CONTROL_FORM_DO_NOT_LOAD,
            "CUSTOMS_CHECK",
            "",
        )
    await filed(house, {"GREEN-1": NONE}, version=2)
    assert await stage(house, mrn) == DO_NOT_LOAD
    await filed(house, {"GREEN-1": FORBIDDEN}, version=3, secret=True)
    assert len((await status(house, mrn)).controls) == 1
    assert ("CONTROL_ORDERED", DO_NOT_LOAD) in await heard(house, "carrier", "wings")
    await arrive(house)
    assert await state(house, mrn) == "DOCUMENTS_REQUESTED"
    assert outcomes(await concluded(house, conclusion(mrn, result=WITHDRAWN))) == [("RELEASED", "")]


async def test_goods_that_arrived_before_their_filing_although_forbidden_are_held_for_an_officer(house: House) -> None:
    await arrive(house)
    (forbidden, referred, free), _ = await filed(house, {"GREEN-1": FORBIDDEN, "GREEN-2": SCREENING, "GREEN-3": NONE})
    held = await status(house, forbidden)
    assert (pb.State.Name(held.state), held.decision.officer_hold) == ("STATE_HELD", True)
    assert list(held.decision.reasons) == ["DO_NOT_LOAD_ORDER"]
    assert [len((await status(house, mrn)).controls) for mrn in (forbidden, referred, free)] == [0, 0, 0]
    assert [await stage(house, mrn) for mrn in (forbidden, referred, free)] == [0, 0, 0], "it was loaded before"


async def test_requests_without_an_answer_end_as_the_parameters_of_their_office_say(house: House) -> None:
    house.desk.neighbours.risk = answering({})
    (informed, screened, asked), _ = await filed(house, {"GREEN-1": INFORMATION, "GREEN-2": SCREENING, "GREEN-3": NONE})
    # The office completes what an officer leaves open, and changes nothing that the officer states.
    free = {"addressee": FILER, "text": "Name the goods."}
    own = {"due_at": await now(house) + 9 * HOUR, "when_overdue": control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD}
    await ordered(house, order(asked, control_pb2.CONTROL_FORM_INFORMATION, **free))
    await ordered(house, order(asked, control_pb2.CONTROL_FORM_INFORMATION, **free, **own), request_id="o2")
    by_office, by_officer = (await status(house, asked)).controls
    # The service runs with the included parameters.
    assert by_office.due_at.ToMicroseconds() - by_office.ordered_at.ToMicroseconds() == 24 * HOUR
    assert by_office.when_overdue == control_pb2.CONTROL_OVERDUE_ESCALATE
    assert (by_officer.due_at.ToMicroseconds(), by_officer.when_overdue) == (own["due_at"], own["when_overdue"])
    start = await now(house)
    assert await Waits(house.desk.store, "r1").step(at=start + 5 * HOUR) == 2
    assert (await state(house, informed), await stage(house, informed)) == ("HELD", COMPLETE)
    assert (await state(house, screened), await stage(house, screened)) == ("DOCUMENTS_REQUESTED", DO_NOT_LOAD)
    assert (await status(house, screened)).controls[1].reason == "REFERRAL_UNANSWERED"
    (late,) = await answered(
        house,
        answer(screened, text="", screening_result=consignment_pb2.SCREENING_RESULT_CLEAR),
        role="carrier",
        by="wings",
    )
    assert late.error.reason == "CONTROL_CONCLUDED"
    assert await stage(house, screened) == DO_NOT_LOAD


async def test_an_officers_request_about_a_filing_that_was_not_assessed_completes_nothing(house: House) -> None:
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: NONE, [])

    def without_set(_: int, row: consignment_pb2.Consignment) -> None:
        row.consignor.name = ""

    unassessed = filings(["GREEN-1"], change=without_set)
    await house.desk.consume(unassessed)
    (mrn,) = mrns(unassessed)
    free = {"addressee": FILER, "text": "Name the goods."}
    await ordered(house, order(mrn, control_pb2.CONTROL_FORM_INFORMATION, **free))
    assert await stage(house, mrn) == REFERRED
    await concluded(house, conclusion(mrn, result=WITHDRAWN))
    assert (await stage(house, mrn), await state(house, mrn)) == (INCOMPLETE, "AWAITING_ARRIVAL")
    assert COMPLETE not in [each for _, each in await heard(house)]
    # With the version that is assessed the stage is complete, and with one that is not it ends.
    await house.desk.consume(filings(["GREEN-1"], version=2))
    assert await stage(house, mrn) == COMPLETE
    await house.desk.consume(filings(["GREEN-1"], version=3, change=without_set))
    assert await stage(house, mrn) == INCOMPLETE


async def test_risk_is_asked_for_clearance_first_and_nothing_is_decided_without_a_whole_second_answer(
    house: House,
) -> None:
    table, asked = filings(["GREEN-1", "GREEN-2"]), list[list[str]]()
    usual, neighbours = recommending(lambda *_: NONE, asked), house.desk.neighbours
    house.desk.decide.parameters = parameters()
    neighbours.loading = usual

    def absent(_: Table) -> Table:
        raise RuntimeError("asked to fail")

    # Both at once would count a consignment twice in risk's history: neither would know of the other.
    neighbours.risk = absent
    with pytest.raises(grpc.aio.AioRpcError):
        await house.desk.prepare(table)
    assert asked == []
    neighbours.risk, neighbours.loading = answering({}), absent
    with pytest.raises(grpc.aio.AioRpcError):
        await house.desk.prepare(table)
    unfit = (
        lambda rows: usual(rows).take(np.arange(1)),
        lambda rows: usual(rows).with_columns({"referral": Ints.constant(4, rows.rows)}),
    )
    for each in unfit:
        neighbours.loading = each
        with pytest.raises(Refusal) as refused:
            await house.desk.prepare(table)
        assert refused.value.reason == "ASSESSMENT_MISALIGNED"
    # Where risk has no parameters of selection it recommends nothing known: the goods count as not assessed.
    neighbours.loading = lambda rows: usual(rows).with_columns({"referral": Ints.absent(rows.rows)})
    await house.desk.consume(table)
    assert [await stage(house, mrn) for mrn in mrns(table)] == [0, 0]


async def test_goods_without_a_declaration_are_not_shown_as_goods_that_may_be_loaded(house: House) -> None:
    (mrn, other), _ = await filed(house, {"GREEN-1": NONE, "GREEN-2": NONE})
    assert outcomes(await dispose(house, disposal(mrn, INVALIDATED))) == [("INVALIDATED", "")]
    for role, ident in (("officer", "olga"), ("filer", "shop")):
        stages = [(await status(house, each, role, ident)).pre_loading for each in (mrn, other)]
        assert stages == [0, COMPLETE]


async def test_a_page_that_is_applied_again_refers_once(house: House) -> None:
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: INFORMATION, [])
    table = filings(["GREEN-1"])
    prepared = [await house.desk.prepare(table) for _ in range(2)]
    for page in (*prepared, prepared[0]):
        async with house.desk.store.database.transaction() as tx:
            await house.desk.intake.apply(tx, page)
    seen = await status(house, mrns(table)[0])
    assert (seen.version, len(seen.controls)) == (2, 1)
    assert np.array_equal([each.version for each in seen.history], [2, 1])


async def test_a_do_not_load_of_a_rule_with_a_second_person_is_lifted_by_two_officers(house: House) -> None:
    recommended = {"GREEN-a": FORBIDDEN, "GREEN-b": SCREENING}
    house.desk.decide.parameters = parameters()
    base = recommending(lambda reference, version: recommended[reference] if version == 1 else NONE, [])

    def of_two(table: Table) -> Table:
        answer = base(table)
        findings, found = answer.ragged("findings"), answer.child("findings")
        marked = Bools.of(np.ones(found.rows, np.bool_))
        return answer.with_columns(
            {"findings": Ragged(findings.offsets, found.with_columns({"second_person": marked}))}
        )

    house.desk.neighbours.loading = of_two
    table = filings(list(recommended))
    await house.desk.consume(table)
    forbidden, screened = mrns(table)
    assert (await status(house, forbidden)).decision.second_person
    # A clear result of the carrier ends no request that officers are to end.
    clear = answer(screened, screening_result=CLEAR)
    assert [each.error.reason for each in await answered(house, clear, role="carrier", by="wings")] == [""]
    assert await stage(house, screened) == REFERRED
    assert waits(await concluded(house, conclusion(forbidden), conclusion(screened))) == ["waits", "waits"]
    # A version of the filing of which risk recommends nothing ends the proposal; the do-not-load stays, and two officers lift it.
    await house.desk.consume(filings(["GREEN-a"], version=2))
    assert (await status(house, forbidden)).proposals[0].outcome == pb.PROPOSAL_OUTCOME_SUPERSEDED
    assert await stage(house, forbidden) == DO_NOT_LOAD
    assert waits(await concluded(house, conclusion(forbidden), request_id="c2")) == ["waits"]
    assert await stage(house, forbidden) == DO_NOT_LOAD
    for mrn in (forbidden, screened):
        version = (await status(house, mrn)).version
        assert await decided(house, CONFIRM, mrn, version=version, request_id=mrn) == ["AWAITING_ARRIVAL"]
        assert await stage(house, mrn) == COMPLETE

"""Who is a second person, until when a proposal is confirmed, what a rule before loading requires, and what the check of the store proves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from libs.columns import Bools, Ints, Table
from libs.store.database import Transaction
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import control_pb2, work_pb2
from services.clearance.commands.act import Acted, Request
from services.clearance.commands.adjust import Adjusting
from services.clearance.commands.work.proposals import DecideProposals
from services.clearance.consignment.controls.control import controls_of, with_controls
from services.clearance.consignment.lifecycle.replay import unexplained
from services.clearance.consignment.proposals.proposal import Proposal, open_proposals, proposals_of, with_proposals
from services.clearance.consignment.state.event import apply_event
from services.clearance.consignment.transitions import State
from services.clearance.jobs.waits import Waits
from services.clearance.pre_loading.recommendation import reopen
from services.clearance.second_person.steps import ProposalDecision, Verdict, confirming
from services.clearance.store import Store
from tests.clearance import controls
from tests.clearance.adjustments import Revenue, adjust, correcting
from tests.clearance.controls import arrive, state
from tests.clearance.desk import TRACE, Desk, filings, mrns
from tests.clearance.disposals import DESTROYED, disposal, dispose
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.loading import FORBIDDEN, INFORMATION, NONE, SCREENING, parameters
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.second_person import CONFIRM, before_loading, decided, of_two, outcomes, release, work
from tests.clearance.service_client import SECONDS, House

DAY = 86_400_000_000


async def test_yellow_goods_do_not_become_blue_while_a_rule_before_loading_requires_a_second_person(desk: Desk) -> None:
    desk.decide.parameters = parameters()
    desk.neighbours.risk = answering({each: ServiceSpan(days=1) for each in ("YELLOW-1", "YELLOW-two")})
    desk.neighbours.loading = before_loading(
        lambda *_: NONE, lambda reference, version: reference.endswith("two") and version == 1
    )
    await desk.consume(filed := filings(["YELLOW-1", "YELLOW-two"]))
    waits = Waits(desk.store, "one")
    due = (await desk.states(mrns(filed))).ints("decided_at").values[0] + DAY
    assert await waits.step(at=due - 1) == 0
    assert await waits.step(at=due) == 1
    assert await waits.step(at=due + 9 * DAY) == 0
    assert (await desk.states(mrns(filed))).ints("state").tolist() == [State.AWAITING_ARRIVAL, State.HELD]
    # The rule makes no finding of the next version, whose days count from then.
    await desk.consume(filings(["YELLOW-two"], version=2))
    due = (await desk.states(mrns(filed))).ints("decided_at").values[1] + DAY
    assert await waits.step(at=due - 1) == 0
    assert await waits.step(at=due) == 1


async def test_a_request_ends_with_an_amendment_only_if_no_rule_requires_a_second_person_any_more(house: House) -> None:
    house.desk.decide.parameters = parameters()
    recommended = {1: SCREENING, 2: NONE}
    house.desk.neighbours.loading = before_loading(
        lambda reference, version: (
            INFORMATION if (reference, version) == ("GREEN-c", 2) else recommended.get(version, 0)
        ),
        lambda reference, version: version == 1 or reference == "GREEN-a",
    )
    await house.desk.consume(filed := filings(["GREEN-a", "GREEN-b", "GREEN-c"]))
    stays, ends, lower = mrns(filed)

    async def seen(mrn: str) -> tuple[list[int], bool]:
        found = await status(house, mrn)
        return [each.result for each in found.controls], found.decision.second_person

    await house.desk.consume(filings(["GREEN-a", "GREEN-b", "GREEN-c"], version=2))
    conform = int(control_pb2.CONTROL_RESULT_CONFORM)
    assert [await seen(mrn) for mrn in (stays, ends, lower)] == [([0], True), ([conform], False), ([conform, 0], True)]
    assert [await state(house, mrn) for mrn in (stays, ends)] == ["DOCUMENTS_REQUESTED", "AWAITING_ARRIVAL"]
    # While a control is open, what was required stays; it ends with the last one that risk ends.
    await house.desk.consume(filings(["GREEN-c"], version=3))
    assert await seen(lower) == ([conform, conform], False)
    assert outcomes(await controls.concluded(house, controls.conclusion(stays))) == ["waits"]
    version = (await status(house, stays)).version
    assert await decided(house, CONFIRM, stays, version=version) == ["AWAITING_ARRIVAL"]
    # A match requests information, and nothing that two officers ended.
    for referral in (SCREENING, FORBIDDEN):
        matched = (await house.desk.states([stays])).with_columns(
            {"screening_hold": Bools.of([True]), "pre_loading_referral": Ints.of([referral])}
        )
        (after,) = controls_of(reopen(matched, version, parameters()).states)
        assert [each.form for each in after if each.is_open] == [control_pb2.CONTROL_FORM_INFORMATION], referral


@pytest.mark.parametrize(("early", "expected"), [(1, ["RELEASED"]), (0, ["PROPOSAL_UNKNOWN"])])
async def test_nobody_confirms_what_is_due_to_lapse_though_the_timer_is_late(
    house: House, early: int, expected: list[str]
) -> None:
    house.desk.neighbours.risk = of_two
    (mrn,) = await house.filed(["RED-two"])
    await arrive(house)
    await release(house, mrn)
    seen = await status(house, mrn)
    due = seen.proposals[0].due_at.ToMicroseconds()

    class Later(Store):
        async def now(self, tx: Transaction) -> int:
            return due - early

    found: list[str] = []

    def encode(results: Sequence[Acted]) -> bytes:
        found.extend(each.refusal or State(each.state).name for each in results)
        return b""

    async def decide(verdict: Verdict, officer: str) -> list[str]:
        found.clear()
        request = Request(f"officer/{officer}", "d1", b"", TRACE)
        decision = ProposalDecision(verdict, officer, "CHECKED", "")
        command = DecideProposals(Later(house.desk.store.database))
        await command.run([(mrn, seen.version)], decision, request=request, encode=encode)
        return found

    assert await decide(Verdict.CONFIRM, "otto") == expected
    # Who proposed it need not wait for the timer.
    assert await decide(Verdict.WITHDRAW, "olga") == (["VERSION_CHANGED"] if early else ["HELD"])


async def test_who_found_a_violation_confirms_with_an_own_note_once_it_is_resolved(house: House) -> None:
    house.desk.neighbours.risk = of_two
    freed, destroyed = await house.filed(["RED-a-two", "RED-b-two"])
    await arrive(house)
    found = [inspection(mrn, result=VIOLATION, violation=pb.VIOLATION_VALUE) for mrn in (freed, destroyed)]
    await record(house, *found)
    house.desk.neighbours.revenue = Revenue()
    adjusting = Adjusting(house.desk.store, house.desk.channel, assess_seconds=SECONDS)
    await adjust(adjusting, correcting(freed), correcting(destroyed), officer="dora")
    assert (await status(house, freed)).findings.violation_resolved_by == "dora"
    assert await release(house, freed, by="otto", note="Price corrected.") == ["waits"]
    assert outcomes(await dispose(house, disposal(destroyed, DESTROYED, note="Rotten."), by="otto")) == ["waits"]
    for mrn, expected in ((freed, "RELEASED"), (destroyed, "DESTROYED")):
        version = (await status(house, mrn)).version
        for by, note, outcome in (("olga", "", "VIOLATION_OPEN"), ("olga", "Seen.", expected)):
            request_id = f"{mrn}{by}{note}"
            assert await decided(house, CONFIRM, mrn, by=by, version=version, note=note, request_id=request_id) == [
                outcome
            ], (mrn, by, note)


async def test_one_person_is_one_person_whatever_the_capitals(house: House) -> None:
    house.desk.neighbours.risk = of_two
    found, claimed = await house.filed(["RED-a-two", "RED-b-two"])
    await arrive(house)
    await record(house, inspection(found, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    for by in ("olga", "OLGA"):
        assert await release(house, found, by=by, request_id=by) == ["VIOLATION_OPEN"], by
    stub = await house.stub("officer", "OLGA")
    order = pb.RecordInspectionsRequest(request_id="i2", inspections=[inspection(found)])
    await stub.RecordInspections(order, timeout=SECONDS)
    assert (await status(house, found)).findings.violation_found_by == "olga", "nobody undoes an own finding"
    assert await release(house, found, by="otto", request_id="r1") == ["waits"]
    version = (await status(house, found)).version
    assert await decided(house, CONFIRM, found, by="Olga", version=version) == ["VIOLATION_OPEN"]
    # A claim of the second officer is that officer's own, and one of a third is not.
    assert await release(house, claimed, by="otto", request_id="r2") == ["waits"]
    version = (await status(house, claimed)).version
    request = work_pb2.ClaimConsignmentsRequest(request_id="k", consignments=[pb.ConsignmentRef(mrn=claimed)])
    await (await work(house, "dora")).ClaimConsignments(request, timeout=SECONDS)
    assert await decided(house, CONFIRM, claimed, by="Olga", version=version) == ["CLAIMED"]
    assert await decided(house, CONFIRM, claimed, by="DORA", version=version) == ["RELEASED"]


async def test_the_check_of_the_store_proves_who_confirmed_and_what(house: House) -> None:
    house.desk.neighbours.risk = of_two
    free, end, checked = await house.filed(["RED-a-two", "RED-b-two", "RED-c-two"])
    await arrive(house)
    await controls.ordered(house, controls.order(checked, controls.EXAMINATION, reason="LOOK"))
    await release(house, free)
    await dispose(house, disposal(end, DESTROYED), by="olga")
    await controls.concluded(house, controls.conclusion(checked))
    before = await house.desk.states([free, end, checked])
    at = int(before.ints("changed_at").values.max()) + 1
    decision = ProposalDecision(Verdict.CONFIRM, "otto", "CHECKED", "")
    parts = confirming(before, at, decision)
    before = Table.concat([before.take(np.array(each.places, np.int64)) for each in parts])
    after = Table.concat([apply_event(each.states, each.details)[0] for each in parts])
    order = mrns(after)
    assert not unexplained(before, after).any()

    def reported(change: Callable[[Proposal], Proposal]) -> list[str]:
        proposals = [None if each is None else change(each) for each in proposals_of(after)]
        flagged = unexplained(before, with_proposals(after, proposals)).tolist()
        return [mrn for mrn, each in zip(order, flagged, strict=True) if each]

    everything = order
    assert reported(lambda each: each) == []
    assert reported(lambda each: replace(each, ended_by="OLGA")) == everything
    assert reported(lambda each: replace(each, ended_by="dora")) == everything
    assert reported(lambda each: replace(each, ended_at=at - 1)) == everything
    assert reported(lambda each: replace(each, outcome=pb.PROPOSAL_OUTCOME_LAPSED)) == everything
    assert reported(lambda each: replace(each, kind=each.kind % 3 + 1)) == everything
    assert reported(lambda each: replace(each, disposal=pb.DISPOSAL_KIND_CONFISCATED)) == [end]
    assert reported(lambda each: replace(each, control_number=2)) == [checked]
    assert reported(lambda each: replace(each, control_result=controls.WITHDRAWN)) == [checked]
    # One officer alone, as a release before this one stores it; what the system ends, and a partner agency concludes, is no officer's decision.
    assert unexplained(before, with_proposals(after, open_proposals(before))).all()
    bare, row = with_proposals(after, [None] * after.rows), order.index(checked)
    for authority, by, expected in (
        ("", "olga", True),
        ("agri", "olga", True),
        ("agri", "agri", False),
        ("", "automatic", False),
    ):
        lists = [[replace(one, authority=authority, concluded_by=by) for one in each] for each in controls_of(bare)]
        assert unexplained(before, with_controls(bare, lists)).tolist()[row] is expected, (authority, by)

"""Decisions of officers on goods of which a rule requires that a second officer confirms them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from services.clearance.commands.consistency.inconsistencies import Kind
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event
from services.clearance.jobs.waits import Waits
from services.clearance.store import gauges
from tests.clearance import controls, release_lists
from tests.clearance.bulk_releases import counted, release_all
from tests.clearance.controls import arrive, notices, now, state
from tests.clearance.desk import filings, risk_answer
from tests.clearance.disposals import DESTROYED, RE_EXPORTED, SEIZED, disposal, dispose
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.second_person import (
    CONFIRM,
    OFFICE,
    REFUSE,
    WITHDRAW,
    decided,
    of_two,
    outcomes,
    release,
    waiting,
    work,
)
from tests.clearance.service_client import SECONDS, House, refused_with

HOURS_72 = 72 * 3_600 * 1_000_000


@pytest.fixture
def of_rules(house: House) -> House:
    """A clearance whose risk has rules that require a second person."""
    house.desk.neighbours.risk = of_two
    return house


async def oldest(house: House) -> float:
    """Return the age of the oldest open proposal by the metric."""
    await gauges.look(house.desk.store.database)
    age = REGISTRY.get_sample_value("luxor_clearance_proposals_waiting_seconds")
    assert age is not None
    return age


async def version_of(house: House, mrn: str) -> int:
    return (await status(house, mrn)).version


async def test_a_release_takes_effect_when_a_second_officer_confirms_it(of_rules: House) -> None:
    house = of_rules
    mrn, single = await house.filed(["RED-two", "RED-1"])
    await arrive(house)
    assert await release(house, mrn, single) == ["waits", "RELEASED"]
    before = await status(house, mrn)
    assert (before.state, before.decision.second_person, before.decision.decided_by) == (
        pb.STATE_HELD,
        True,
        "automatic",
    )
    assert not (await status(house, single)).decision.second_person
    (proposal,) = before.proposals
    assert (proposal.kind, proposal.proposed_by, proposal.reason, proposal.note, proposal.outcome) == (
        pb.PROPOSAL_KIND_RELEASE,
        "olga",
        "IN_ORDER",
        "Seen.",
        0,
    )
    assert proposal.due_at.ToMicroseconds() - proposal.proposed_at.ToMicroseconds() == HOURS_72
    (item,) = await waiting(house)
    assert (item.mrn, item.version, item.proposal, item.cause) == (
        mrn,
        before.version,
        proposal,
        pb.HOLD_CAUSE_SECOND_PERSON,
    )
    assert await decided(house, CONFIRM, mrn, version=before.version) == ["RELEASED"]
    after = await status(house, mrn)
    assert (after.change, after.decision.decided_by, list(after.decision.reasons), after.note) == (
        pb.CHANGE_OFFICER_RELEASED,
        "otto",
        ["IN_ORDER"],
        "Seen.",
    )
    (proposal,) = after.proposals
    assert (proposal.outcome, proposal.proposed_by, proposal.ended_by, proposal.end_reason) == (
        pb.PROPOSAL_OUTCOME_CONFIRMED,
        "olga",
        "otto",
        "CHECKED",
    )
    assert [each.change for each in after.history][:2] == [pb.CHANGE_OFFICER_RELEASED, pb.CHANGE_DECISION_PROPOSED]
    assert await waiting(house) == await waiting(house, by="olga", own=True) == []
    # A confirmation that comes again finds its answer; another one finds nothing to confirm.
    assert await decided(house, CONFIRM, mrn, version=before.version) == ["RELEASED"]
    assert await decided(house, CONFIRM, mrn, version=after.version) == ["PROPOSAL_UNKNOWN"]


async def test_nobody_confirms_alone_and_nobody_confirms_unseen(of_rules: House) -> None:
    house = of_rules
    (mrn,) = await house.filed(["RED-two"])
    await arrive(house)
    assert await release(house, mrn) == ["waits"]
    seen = await version_of(house, mrn)
    assert await release(house, mrn, request_id="r2", reason="OTHER") == ["PROPOSAL_OPEN"]
    assert await release(house, mrn, by="otto", request_id="r3") == ["PROPOSAL_OPEN"]
    assert await decided(house, CONFIRM, mrn, by="olga", version=seen) == ["SECOND_PERSON_REQUIRED"]
    # One person with another certificate: the id counts, whatever its capitals.
    assert await decided(house, CONFIRM, mrn, by="Olga", version=seen) == ["SECOND_PERSON_REQUIRED"]
    assert await decided(house, REFUSE, mrn, by="olga") == ["SECOND_PERSON_REQUIRED"]
    assert await decided(house, WITHDRAW, mrn) == ["PROPOSAL_OF_COLLEAGUE"]
    assert await decided(house, CONFIRM, mrn) == ["PROPOSAL_UNSEEN"]
    assert await decided(house, CONFIRM, mrn, version=seen - 1) == ["VERSION_CHANGED"]
    for role in ("analyst", "operator", "agency", "filer", "carrier"):
        request = work_pb2.DecideProposalsRequest(request_id="x", verdict=CONFIRM, reason="CHECKED")
        call = (await work(house, "otto", role)).DecideProposals(request, timeout=SECONDS)
        assert await refused_with(call) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    assert await state(house, mrn) == "HELD"
    # An officer of any office may: certificates name none. The list is by office, and leaves out what the caller proposed.
    for by, own, office, listed in (
        ("otto", False, "", [mrn]),
        ("otto", False, OFFICE, [mrn]),
        ("otto", False, "FRA", []),
        ("otto", True, "", []),
        ("olga", False, "", []),
        ("OLGA", True, OFFICE, [mrn]),
    ):
        assert [each.mrn for each in await waiting(house, by, own=own, office=office)] == listed, (by, own, office)
    assert await decided(house, CONFIRM, mrn, version=seen) == ["RELEASED"]


async def test_of_two_confirmations_at_once_one_takes_effect(of_rules: House) -> None:
    house = of_rules
    (mrn,) = await house.filed(["RED-two"])
    await arrive(house)
    await release(house, mrn)
    seen = await version_of(house, mrn)
    found = await asyncio.gather(
        *(decided(house, CONFIRM, mrn, by=by, version=seen) for by in ("otto", "dora")),
        decided(house, WITHDRAW, mrn, by="olga"),
    )
    assert sorted(map(len, found)) == [1, 1, 1]
    effects = [each for (each,) in found if each in ("RELEASED", "HELD")]
    assert len(effects) == 1, found
    assert {each for (each,) in found} - set(effects) <= {"PROPOSAL_UNKNOWN", "VERSION_CHANGED"}
    changes = [each.change for each in (await status(house, mrn)).history]
    assert changes.count(pb.CHANGE_OFFICER_RELEASED) + changes.count(pb.CHANGE_PROPOSAL_ENDED) == 1


async def test_what_is_refused_withdrawn_or_lapsed_is_back_in_the_list(of_rules: House) -> None:
    house = of_rules
    refused, withdrawn, lapsed, moved = await house.filed(["RED-a-two", "RED-b-two", "RED-c-two", "RED-d-two"])
    await arrive(house)
    assert await release(house, refused, withdrawn, lapsed, moved) == ["waits"] * 4
    assert await decided(house, REFUSE, refused, reason="VALUE_DOUBTED") == ["HELD"]
    assert await decided(house, WITHDRAW, withdrawn, by="olga") == ["HELD"]
    # An inspection changes what the proposal was made of.
    await record(house, inspection(moved))
    due = (await status(house, lapsed)).proposals[0].due_at.ToMicroseconds()
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update proposal set due_at = due_at - 50 * 3600000000::bigint where mrn = $1", lapsed)
    assert 50 * 3_600 <= await oldest(house) < 51 * 3_600
    waits = Waits(house.desk.store, "one")
    assert await waits.step(at=due - 1) == 0
    assert await waits.step(at=due) == 1
    assert await waits.step(at=due) == 0
    assert await oldest(house) == 0
    ends = [(await status(house, mrn)).proposals[0] for mrn in (refused, withdrawn, lapsed, moved)]
    assert [(pb.ProposalOutcome.Name(each.outcome)[17:], each.ended_by, each.end_reason) for each in ends] == [
        ("REFUSED", "otto", "VALUE_DOUBTED"),
        ("WITHDRAWN", "olga", "CHECKED"),
        ("LAPSED", "automatic", ""),
        ("SUPERSEDED", "automatic", ""),
    ]
    assert await waiting(house) == []
    assert await decided(house, REFUSE, lapsed, request_id="again") == ["PROPOSAL_UNKNOWN"]
    assert await release(house, refused, request_id="r9") == ["waits"]


async def test_disposals_and_conclusions_wait_as_well_and_what_secures_goods_does_not(of_rules: House) -> None:
    house = of_rules
    end, back, checked, destroyed = await house.filed(["RED-a-two", "RED-b-two", "YELLOW-c-two", "RED-d-two"])
    await arrive(house)
    orders = [controls.order(mrn, controls.EXAMINATION, reason="LOOK") for mrn in (checked, destroyed)]
    await controls.ordered(house, *orders)
    assert outcomes(await dispose(house, disposal(end, DESTROYED), disposal(back, RE_EXPORTED), by="olga")) == [
        "waits",
        "waits",
    ]
    conclusions = (
        controls.conclusion(checked, note="No fault."),
        controls.conclusion(destroyed, result=controls.NOT_CONFORM),
    )
    assert outcomes(await controls.concluded(house, *conclusions)) == ["waits", "HELD"]
    assert outcomes(await dispose(house, disposal(destroyed, SEIZED), by="olga", request_id="d2")) == ["SEIZED"]
    assert outcomes(await dispose(house, disposal(destroyed, DESTROYED), by="olga", request_id="d3")) == ["waits"]
    for mrn, expected in ((end, "DESTROYED"), (back, "RE_EXPORTED"), (checked, "HELD"), (destroyed, "DESTROYED")):
        seen = await version_of(house, mrn)
        assert await decided(house, CONFIRM, mrn, version=seen, request_id=mrn) == [expected], mrn
    assert (await status(house, back)).movement.return_document_number == "AWB-9"
    (control,) = (await status(house, checked)).controls
    assert (control.result, control.concluded_by, control.note) == (controls.CONFORM, "otto", "No fault.")
    assert await release(house, checked, request_id="r5") == ["waits"]


async def test_what_is_refused_at_once_is_not_proposed_and_what_changed_is_refused_when_confirmed(
    of_rules: House,
) -> None:
    house = of_rules
    found, early, claimed = await house.filed(["RED-a-two", "RED-b-two", "RED-c-two"])
    assert outcomes(await dispose(house, disposal(early, DESTROYED))) == ["NOT_ARRIVED"]
    assert await release(house, early, request_id="r0") == ["waits"]
    assert await decided(house, CONFIRM, early, version=await version_of(house, early)) == ["AWAITING_ARRIVAL"]
    await arrive(house)
    assert await state(house, early) == "RELEASED"
    # Neither of the two is the officer who found the violation.
    await record(house, inspection(found, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    assert await release(house, found, request_id="r1") == ["VIOLATION_OPEN"]
    assert await release(house, found, by="otto", request_id="r2") == ["waits"]
    seen = await version_of(house, found)
    assert await decided(house, CONFIRM, found, by="olga", version=seen) == ["VIOLATION_OPEN"]
    assert await decided(house, CONFIRM, found, by="dora", version=seen) == ["RELEASED"]
    # A claim of the one who proposed does not keep the second one off; a colleague's does.
    request = work_pb2.ClaimConsignmentsRequest(request_id="k", consignments=[pb.ConsignmentRef(mrn=claimed)])
    await (await work(house, "olga")).ClaimConsignments(request, timeout=SECONDS)
    assert await release(house, claimed, by="otto", request_id="r3") == ["CLAIMED"]
    assert await release(house, claimed, request_id="r4") == ["waits"]
    handed = work_pb2.HandOverConsignmentsRequest(request_id="h", consignments=request.consignments, officer="dora")
    seen = await version_of(house, claimed)
    await (await work(house, "olga")).HandOverConsignments(handed, timeout=SECONDS)
    assert await decided(house, CONFIRM, claimed, version=seen) == ["CLAIMED"]
    assert await decided(house, CONFIRM, claimed, by="dora", version=seen) == ["RELEASED"]


async def test_bulk_orders_and_release_lists_leave_such_goods_out(of_rules: House, tmp_path: Path) -> None:
    house = of_rules
    waits, single, decided_early = await house.filed(["YELLOW-a-two", "YELLOW-1", "RED-b-two"])
    assert await release(house, decided_early) == ["waits"]
    await decided(house, CONFIRM, decided_early, version=await version_of(house, decided_early))
    # Two officers decided, and the arrival releases it; a list without the system does not.
    listed = await release_lists.made(house, tmp_path / "list")
    assert {each.house_document: each.release for page in listed.pages for each in page.entries} == {
        "H-YELLOW-a-two": False,
        "H-YELLOW-1": False,
        "H-RED-b-two": False,
    }
    await arrive(house)
    answer = await release_all(house, override_officers=True)
    assert counted(answer) == {"consignments": 3, "released": 1, "released_before": 1, "SECOND_PERSON": 1}
    assert [(each.mrn, each.cause) for each in answer.held_consignments] == [(waits, pb.HOLD_CAUSE_SECOND_PERSON)]
    assert await state(house, single) == "RELEASED"
    assert await release(house, waits, request_id="r7") == ["waits"]


async def test_an_amendment_ends_a_proposal_and_may_end_what_the_rule_required(of_rules: House) -> None:
    house = of_rules
    (mrn,) = await house.filed(["RED-two"])
    assert await release(house, mrn) == ["waits"]
    seen = await version_of(house, mrn)
    await house.desk.consume(filings(["RED-two"], version=2))
    assert await decided(house, CONFIRM, mrn, version=seen) == ["VERSION_CHANGED"]
    after = await status(house, mrn)
    assert (after.proposals[0].outcome, after.decision.second_person) == (pb.PROPOSAL_OUTCOME_SUPERSEDED, True)
    # By the next version no rule requires it any more: an answer of a release of risk without the attribute reads the same.
    house.desk.neighbours.risk = risk_answer
    await house.desk.consume(filings(["RED-two"], version=3))
    assert not (await status(house, mrn)).decision.second_person
    assert await release(house, mrn, request_id="r2") == ["AWAITING_ARRIVAL"]


async def test_filers_carriers_and_agencies_learn_nothing_of_it(of_rules: House) -> None:
    house = of_rules
    (mrn,) = await house.filed(["RED-two"])
    await arrive(house)
    await controls.ordered(house, controls.order(mrn, controls.EXAMINATION, authority="agri", reason="LOOK"))
    readers = (("filer", "shop"), ("agency", "agri"))
    before = [await status(house, mrn, *reader) for reader in readers]
    heard = [each.version for each in await notices(house)]
    assert await release(house, mrn, by="olga") == ["CONTROL_OPEN"]
    assert outcomes(await dispose(house, disposal(mrn, DESTROYED), by="dora")) == ["waits"]
    await decided(house, REFUSE, mrn)
    assert [await status(house, mrn, *reader) for reader in readers] == before
    assert [each.version for each in await notices(house)] == heard
    for each in before:
        assert "second_person" not in str(each)
        assert "dora" not in str(each)
    # Its own control an agency concludes itself.
    results = await controls.concluded(house, controls.conclusion(mrn), role="agency", by="agri", request_id="c9")
    assert outcomes(results) == ["HELD"]


async def test_the_check_of_the_store_reports_what_one_officer_decided_alone(of_rules: House) -> None:
    house = of_rules
    alone, two = await house.filed(["RED-a-two", "RED-b-two"])
    await arrive(house)
    await release(house, two)
    await decided(house, CONFIRM, two, version=await version_of(house, two))
    store = house.desk.store
    async with store.database.transaction() as tx:
        # As a replica of the release before does.
        rows = list((await store.lock(tx, [alone])).values())
        details = EventDetails(event=Event.OFFICER_RELEASED, at=await store.now(tx), by="olga", reason="IN_ORDER")
        table, _ = apply_event(await store.states(tx, rows), details)
        await store.succeed(tx, table, rows, trace="")
    (found,) = await house.desk.inconsistencies()
    assert (found.kind, found.mrn, found.version) == (Kind.TRANSITION, alone, 3)
    house.desk.consistent = False


async def test_a_store_whose_lists_lost_a_proposal_heals_and_an_old_replica_leaves_only_an_entry(
    of_rules: House,
) -> None:
    house = of_rules
    mrn, other = await house.filed(["RED-a-two", "RED-b-two"])
    await arrive(house)
    await release(house, mrn)
    due = await now(house) + 2 * HOURS_72
    async with house.desk.store.database.transaction() as tx:
        # An earlier release wrote the next version of the other one without its proposal, and left the entry.
        await tx.raw.execute("insert into proposal select day, $1, office, proposed_by, due_at from proposal", other)
    assert {each.mrn for each in await waiting(house)} == {mrn}
    assert await Waits(house.desk.store, "one").step(at=due) >= 1
    async with house.desk.store.database.connection() as reading:
        assert await reading.raw.fetchval("select count(*) from proposal") == 0

"""What customs decides on goods that are not released: from where each decision is possible, who takes it, and that nothing else undoes it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import carriers_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.common.v1 import common_pb2
from services.clearance.consignment.transitions import Debt
from services.clearance.store import gauges
from tests.clearance import debt_events
from tests.clearance.debt_events import OPENED, REFUNDED, debt
from tests.clearance.desk import MASTER, filings
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
    outcomes,
)
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with

NAMES: dict[int, str] = {
    SEIZED: "SEIZED", CONFISCATED: "CONFISCATED", DESTROYED: "DESTROYED", RE_EXPORTED: "RE_EXPORTED",
    ABANDONED: "ABANDONED", INVALIDATED: "INVALIDATED", LIFTED: "HELD",
}  # fmt: skip
NOT_ARRIVED, AFTER, NOT_SEIZED, LIFT_FIRST = "NOT_ARRIVED", "DISPOSAL_AFTER_RELEASE", "NOT_SEIZED", "GOODS_SEIZED"
EXITS: dict[str, dict[int, str]] = {
    # By place, why each decision is refused, "" where it is taken: docs/clearance.md, the table of exits.
    "awaiting arrival": {
        SEIZED: NOT_ARRIVED, LIFTED: NOT_SEIZED, CONFISCATED: NOT_SEIZED, DESTROYED: NOT_ARRIVED, RE_EXPORTED: NOT_ARRIVED,
        ABANDONED: NOT_ARRIVED, INVALIDATED: "",
    },
    "held, not arrived": {
        SEIZED: NOT_ARRIVED, LIFTED: NOT_SEIZED, CONFISCATED: NOT_SEIZED, DESTROYED: NOT_ARRIVED, RE_EXPORTED: NOT_ARRIVED,
        ABANDONED: NOT_ARRIVED, INVALIDATED: "",
    },
    "arrived, and waiting for an officer's look": {
        SEIZED: "", LIFTED: NOT_SEIZED, CONFISCATED: NOT_SEIZED, DESTROYED: "", RE_EXPORTED: "", ABANDONED: "", INVALIDATED: "",
    },
    "held": {
        SEIZED: "", LIFTED: NOT_SEIZED, CONFISCATED: NOT_SEIZED, DESTROYED: "", RE_EXPORTED: "", ABANDONED: "", INVALIDATED: "",
    },
    "seized": {
        SEIZED: LIFT_FIRST, LIFTED: "", CONFISCATED: "", DESTROYED: "", RE_EXPORTED: "", ABANDONED: "", INVALIDATED: LIFT_FIRST,
    },
    "released": dict.fromkeys((SEIZED, LIFTED, CONFISCATED, DESTROYED, RE_EXPORTED, ABANDONED, INVALIDATED), AFTER),
    "held after release": {
        SEIZED: "", LIFTED: NOT_SEIZED, CONFISCATED: NOT_SEIZED, DESTROYED: "", RE_EXPORTED: "", ABANDONED: AFTER,
        INVALIDATED: AFTER,
    },
}  # fmt: skip


async def arrive(house: House, master: str = MASTER, request_id: str = "a1") -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(master, request_id=request_id), timeout=SECONDS
    )


async def hold(house: House, *mrns: str, request_id: str = "h1") -> list[pb.OfficerResult]:
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.HoldConsignmentsRequest(request_id=request_id, consignments=refs, reason="SEEN")
    stub = await house.stub("officer", "olga")
    return list((await stub.HoldConsignments(request, timeout=SECONDS)).results)


async def release(house: House, *mrns: str, by: str = "olga", request_id: str = "r1") -> list[tuple[str, str]]:
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs, reason="IN_ORDER")
    stub = await house.stub("officer", by)
    return outcomes(list((await stub.ReleaseConsignments(request, timeout=SECONDS)).results))


async def goods_at(house: House, place: str, count: int) -> list[str]:
    """File consignments and bring them to a place."""
    lane = "RED" if place.startswith(("held", "seized")) and place != "held after release" else "GREEN"
    references = [f"{lane}-{number}" for number in range(count)]
    if place.startswith("arrived"):
        house.desk.neighbours.risk = answering({each: ServiceSpan(delay_minutes=60) for each in references})
    mrns = await house.filed(references)
    if place not in ("awaiting arrival", "held, not arrived"):
        await arrive(house)
    if place == "held after release":
        await hold(house, *mrns)
    if place == "seized":
        results = await dispose(house, *(disposal(mrn, SEIZED) for mrn in mrns), by="anna", request_id="s1")
        assert outcomes(results) == [("SEIZED", "")] * count
    return mrns


async def reversal(house: House, request_id: str) -> carriers_pb2.ReversalResult:
    stub = CarrierServiceStub(await house.service.channel("carrier", "wings"))
    request = carriers_pb2.ReverseArrivalsRequest(request_id=request_id)
    request.arrivals.add(master_document_number=MASTER)
    (result,) = (await stub.ReverseArrivals(request, timeout=SECONDS)).results
    return result


async def seized(house: House, reference: str = "RED-1") -> str:
    (mrn,) = await house.filed([reference])
    await arrive(house)
    assert outcomes(await dispose(house, disposal(mrn, SEIZED), request_id="s1")) == [("SEIZED", "")]
    return mrn


async def notices(house: House, role: str, ident: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Read a caller's notices from the first on: kind, state and reasons."""
    await house.desk.told()
    stub = await house.stub(role, ident)
    answer = await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)
    return [
        (
            pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_"),
            pb.State.Name(each.state).removeprefix("STATE_"),
            tuple(each.reasons),
        )
        for each in answer.notices
    ]


@pytest.mark.parametrize("place", list(EXITS))
async def test_from_each_place_each_decision_is_taken_or_refused_as_the_table_of_exits_says(
    house: House, place: str
) -> None:
    kinds = list(EXITS[place])
    mrns = await goods_at(house, place, len(kinds))
    word = place.partition(",")[0]
    before = {
        "awaiting arrival": "AWAITING_ARRIVAL", "arrived": "AWAITING_ARRIVAL", "released": "RELEASED", "seized": "SEIZED",
    }.get(word, "HELD")  # fmt: skip
    results = await dispose(house, *(disposal(mrn, kind) for mrn, kind in zip(mrns, kinds, strict=True)))
    expected = [(before if EXITS[place][kind] else NAMES[kind], EXITS[place][kind]) for kind in kinds]
    assert outcomes(results) == expected
    for mrn, kind, (state, refusal), result in zip(mrns, kinds, expected, results, strict=True):
        seen = await status(house, mrn)
        assert (pb.State.Name(seen.state), seen.version) == (f"STATE_{state}", result.version)
        if not refusal:
            assert seen.decision.reasons[0] == "PROHIBITED_GOODS"
            assert seen.decision.decided_by == "otto"
            assert seen.movement.return_document_number == ("AWB-9" if kind == RE_EXPORTED else "")
    # What came to its end has no further exit.
    ended = [
        mrn for mrn, kind in zip(mrns, kinds, strict=True) if not EXITS[place][kind] and kind not in (SEIZED, LIFTED)
    ]
    for number, kind in enumerate(NAMES):
        if ended:
            again = await dispose(house, *(disposal(mrn, kind) for mrn in ended), request_id=f"e{number}")
            assert {each.error.reason for each in again} == {"STATE_FINAL"}


async def test_nothing_automatic_leads_out_of_a_seizure_and_an_officer_releases_only_after_it_was_lifted(
    house: House,
) -> None:
    mrn = await seized(house)
    for number, status_of_debt in enumerate((Debt.OPEN, Debt.PAID), 1):
        kind = OPENED if status_of_debt == Debt.OPEN else debt_events.SETTLED
        await debt_events.hear(house.desk, debt([mrn], number, status_of_debt, kind=kind))
    await hear(house.desk, screening(filings(["RED-1"])))
    await hear(house.desk, clearing(filings(["RED-1"])))
    await house.desk.consume(filings(["RED-1"], version=2))
    await arrive(house, request_id="a2")
    assert await release(house, mrn) == [("SEIZED", "GOODS_SEIZED")]
    (held,) = await hold(house, mrn)
    assert outcomes([held]) == [("SEIZED", "GOODS_SEIZED")]
    assert (await status(house, mrn)).state == pb.STATE_SEIZED
    assert outcomes(await dispose(house, disposal(mrn, LIFTED, reason="APPEAL_WON"), request_id="d2")) == [("HELD", "")]
    seen = await status(house, mrn)
    assert list(seen.decision.reasons) == ["APPEAL_WON", "OFFICER_HOLD"]
    assert (seen.decision.officer_hold, seen.decision.debt_hold) == (True, False)
    await debt_events.hear(house.desk, debt([mrn], 9, Debt.PAID))
    assert (await status(house, mrn)).state == pb.STATE_HELD, "a settled debt does not lift what the seizure left"
    assert await release(house, mrn, request_id="r2") == [("RELEASED", "")]


async def test_who_found_a_violation_seizes_the_goods_and_a_second_officer_decides_the_rest(house: House) -> None:
    kinds = (LIFTED, CONFISCATED, DESTROYED, RE_EXPORTED, ABANDONED)
    mrns = await house.filed([f"RED-{number}" for number in range(len(kinds) + 1)])
    await arrive(house)
    found = {"result": VIOLATION, "violation": pb.VIOLATION_PROHIBITED}
    await record(house, *(inspection(mrn, **found) for mrn in mrns))
    # Before a seizure too: goods with an own finding are not taken or given away by one officer.
    early = await dispose(house, *(disposal(mrns[-1], kind) for kind in (RE_EXPORTED,)), by="olga")
    assert outcomes(early) == [("HELD", "VIOLATION_OPEN")]
    seizures = await dispose(house, *(disposal(mrn, SEIZED) for mrn in mrns[:-1]), by="olga", request_id="d2")
    assert outcomes(seizures) == [("SEIZED", "")] * len(kinds)
    decisions = [disposal(mrn, kind, note="alone") for mrn, kind in zip(mrns, kinds, strict=False)]
    own = await dispose(house, *decisions, by="olga", request_id="d3")
    assert outcomes(own) == [("SEIZED", "VIOLATION_OPEN")] * len(kinds)
    second = await dispose(house, *decisions, by="otto", request_id="d4")
    assert outcomes(second) == [(NAMES[kind], "") for kind in kinds]
    # Lifted, the violation is as open as before.
    assert await release(house, mrns[0]) == [("HELD", "VIOLATION_OPEN")]
    assert await release(house, mrns[0], by="otto", request_id="r2") == [("RELEASED", "")]


async def test_goods_that_a_match_holds_are_disposed_of_only_by_who_names_the_version_looked_at(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await hear(house.desk, screening(filings(["GREEN-1"])))
    await arrive(house)
    assert outcomes(await dispose(house, disposal(mrn, RE_EXPORTED))) == [("HELD", "SCREENING_MATCH_UNSEEN")]
    assert outcomes(await dispose(house, disposal(mrn, SEIZED), request_id="d2")) == [("SEIZED", "")]
    assert outcomes(await dispose(house, disposal(mrn, CONFISCATED), request_id="d3")) == [
        ("SEIZED", "SCREENING_MATCH_UNSEEN")
    ]
    version = (await status(house, mrn)).version
    final = await dispose(house, disposal(mrn, CONFISCATED, expected_version=version), request_id="d4")
    assert outcomes(final) == [("CONFISCATED", "")]
    # Filers and carriers read the officer's reason, and nothing of the match.
    outside = await status(house, mrn, "filer", "shop")
    assert list(outside.decision.reasons) == ["PROHIBITED_GOODS"]
    assert [each.reason for each in outside.findings.risk] == []


async def test_of_two_officers_who_saw_one_version_one_decides(house: House) -> None:
    mrn = await seized(house)
    version = (await status(house, mrn)).version
    answers = await asyncio.gather(
        dispose(house, disposal(mrn, CONFISCATED, expected_version=version), by="otto", request_id="x"),
        dispose(house, disposal(mrn, LIFTED, expected_version=version), by="anna", request_id="y"),
    )
    reasons = sorted(each.error.reason for (each,) in answers)
    assert reasons == ["", "VERSION_CHANGED"]
    seen = await status(house, mrn)
    assert seen.version == version + 1
    winner = answers[0][0] if not answers[0][0].HasField("error") else answers[1][0]
    assert seen.state == winner.state


async def test_the_same_request_again_changes_nothing_and_with_other_content_is_refused(house: House) -> None:
    mrn = await seized(house)
    first = await dispose(house, disposal(mrn, DESTROYED))
    assert await dispose(house, disposal(mrn, DESTROYED)) == first
    assert (await status(house, mrn)).version == first[0].version
    stub = await house.stub("officer", "otto")
    request = pb.DisposeConsignmentsRequest(request_id="d1", disposals=[disposal(mrn, CONFISCATED)])
    assert (await refused_with(stub.DisposeConsignments(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"


@pytest.mark.parametrize("role", ["filer", "carrier", "agency", "analyst", "operator"])
async def test_only_officers_dispose_of_goods(house: House, role: str) -> None:
    stub = await house.stub(role, "somebody")
    assert await refused_with(stub.DisposeConsignments(pb.DisposeConsignmentsRequest(), timeout=SECONDS)) == (
        grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
    )  # fmt: skip


WRONG: list[tuple[Any, ...]] = [
        ({"kind": 0}, "DISPOSAL_KIND_MISSING", "kind"),
        ({"kind": 99}, "DISPOSAL_KIND_MISSING", "kind"),
        ({"reason": ""}, "REASON_MALFORMED", "reason"),
        ({"reason": "found it"}, "REASON_MALFORMED", "reason"),
        ({"transport_document_number": "AWB-1"}, "DISPOSAL_DOCUMENT_MALFORMED", "transport_document_number"),
        ({"kind": RE_EXPORTED, "transport_document_number": ""}, "DISPOSAL_DOCUMENT_MALFORMED", "transport_document_number"),
        ({"kind": RE_EXPORTED, "transport_document_number": "x" * 71}, "DISPOSAL_DOCUMENT_MALFORMED", "transport_document_number"),
        ({"kind": RE_EXPORTED, "transport_document_number": "a\0b"}, "DISPOSAL_DOCUMENT_MALFORMED", "transport_document_number"),
        ({"note": "n" * 513}, "NOTE_TOO_LONG", "note"),
        ({"note": "a\nb"}, "NOTE_TOO_LONG", "note"),
        ({"expected_version": 7}, "VERSION_CHANGED", "consignment.mrn"),
    ]  # fmt: skip


async def test_what_is_wrong_with_a_disposal_is_told_and_fails_no_neighbour(house: House) -> None:
    bad, *good = await house.filed([f"RED-{number}" for number in range(len(WRONG) + 1)])
    await arrive(house)
    for neighbour, (fields, reason, path) in zip(good, WRONG, strict=True):
        wrong = disposal(bad, **({"kind": SEIZED} | fields))
        once = disposal(neighbour, SEIZED)
        results = await dispose(house, wrong, once, once, request_id=neighbour)
        assert (results[0].error.reason, results[0].error.path) == (reason, f"disposals[0].{path}")
        assert (results[1].error.reason, results[1].state) == ("", pb.STATE_SEIZED)
        assert results[2].error.reason == "CONSIGNMENT_REPEATED"
    stub = await house.stub("officer", "otto")
    empty = pb.DisposeConsignmentsRequest(request_id="e1")
    assert (await refused_with(stub.DisposeConsignments(empty, timeout=SECONDS)))[1] == "BATCH_EMPTY"


async def test_filers_and_carriers_are_told_of_a_seizure_and_its_end_without_what_is_the_officers(house: House) -> None:
    (mrn, lifted) = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await record(
        house, *(inspection(each, result=VIOLATION, violation=pb.VIOLATION_COUNTERFEIT) for each in (mrn, lifted))
    )
    await dispose(house, *(disposal(each, SEIZED, note="knife in a toy") for each in (mrn, lifted)), by="olga")
    await dispose(
        house,
        disposal(mrn, CONFISCATED, reason="CONFISCATION_FINAL"),
        disposal(lifted, LIFTED, reason="APPEAL_WON"),
        request_id="d2",
    )
    heard = await notices(house, "filer", "shop")
    expected = {
        ("SEIZED", "SEIZED", ("PROHIBITED_GOODS",)), ("DISPOSED", "CONFISCATED", ("CONFISCATION_FINAL",)),
        ("HELD", "HELD", ("APPEAL_WON", "OFFICER_HOLD")),
    }  # fmt: skip
    assert expected <= set(heard)
    assert heard.count(("SEIZED", "SEIZED", ("PROHIBITED_GOODS",))) == 2
    carried = await notices(house, "carrier", "wings")
    assert {(kind, state, ()) for kind, state, _ in expected} <= set(carried)
    outside, officers = await status(house, mrn, "filer", "shop"), await status(house, mrn)
    assert (outside.state, outside.change, outside.decision.decided_by) == (
        pb.STATE_CONFISCATED, pb.CHANGE_DISPOSED, "officer",
    )  # fmt: skip
    assert (outside.note, outside.findings.violation_found_by, outside.findings.inspection_result) == ("", "", 0)
    assert [entry.change for entry in outside.history][:2] == [pb.CHANGE_DISPOSED, pb.CHANGE_SEIZED]
    assert [entry.note for entry in officers.history if entry.change == pb.CHANGE_SEIZED] == ["knife in a toy"]
    stub = await house.stub("carrier", "wings")
    query = pb.StatusQuery(house_document_number="H-RED-1")
    (result,) = (await stub.GetStatus(pb.GetStatusRequest(queries=[query]), timeout=SECONDS)).results
    (seen,) = result.consignments
    assert (seen.state, seen.change, list(seen.decision.reasons), seen.HasField("debt")) == (
        pb.STATE_CONFISCATED, pb.CHANGE_DISPOSED, [], False,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [DESTROYED, RE_EXPORTED, ABANDONED, INVALIDATED])
async def test_goods_that_never_were_released_owe_nothing_from_their_end_on_whatever_revenue_tells(
    house: House, kind: int
) -> None:
    (mrn,) = await house.filed(["BARE-1"])
    await debt_events.hear(house.desk, debt([mrn], 1))
    assert (await status(house, mrn)).debt.status == common_pb2.DEBT_STATUS_PAID
    await hold(house, mrn)
    await arrive(house)
    await dispose(house, disposal(mrn, kind))
    end = await status(house, mrn, "filer", "shop")
    assert (end.debt.status, end.debt.paid_minor, end.debt.payable_minor) == (common_pb2.DEBT_STATUS_NONE, 380, 380)
    # The refund comes, late news of an open debt and another assessment too: only amounts follow.
    await debt_events.hear(house.desk, debt([mrn], 2, kind=REFUNDED, refunded=380))
    await debt_events.hear(house.desk, debt([mrn], 3, Debt.OPEN, kind=OPENED, refunded=380))
    await debt_events.hear(house.desk, debt_events.anew([mrn], 4, 1, 500))
    seen = await status(house, mrn, "filer", "shop")
    assert (seen.state, seen.debt.status, seen.debt.paid_minor, seen.debt.refunded_minor) == (
        end.state, common_pb2.DEBT_STATUS_NONE, 380, 380,
    )  # fmt: skip
    assert seen.debt.account == ""
    assert (seen.debt.payable_minor, list(seen.decision.reasons)) == (500, ["PROHIBITED_GOODS"])


async def test_confiscated_goods_go_on_owing_tax_and_payments_of_it_still_count(house: House) -> None:
    (mrn,) = await house.filed(["BARE-1"])
    await debt_events.hear(house.desk, debt([mrn], 1, Debt.OPEN, kind=OPENED, paid=0))
    await hold(house, mrn)
    await arrive(house)
    await dispose(house, disposal(mrn, SEIZED), request_id="s1")
    await dispose(house, disposal(mrn, CONFISCATED))
    end = await status(house, mrn, "filer", "shop")
    assert (end.state, end.debt.status, end.debt.payable_minor) == (
        pb.STATE_CONFISCATED, common_pb2.DEBT_STATUS_OPEN, 380,
    )  # fmt: skip
    await debt_events.hear(house.desk, debt([mrn], 2))
    seen = await status(house, mrn, "filer", "shop")
    assert (seen.state, seen.debt.status, seen.debt.paid_minor) == (end.state, common_pb2.DEBT_STATUS_PAID, 380)
    assert list(seen.decision.reasons) == ["PROHIBITED_GOODS"]


async def test_goods_that_were_released_before_keep_their_debt(house: House) -> None:
    (mrn,) = await goods_at(house, "held after release", 1)
    before = (await status(house, mrn)).debt
    await dispose(house, disposal(mrn, SEIZED), request_id="s1")
    await dispose(house, disposal(mrn, CONFISCATED))
    seen = await status(house, mrn)
    assert (seen.state, seen.debt.status, seen.debt.account) == (pb.STATE_CONFISCATED, before.status, before.account)
    assert before.status == common_pb2.DEBT_STATUS_DEFERRED
    await debt_events.hear(house.desk, debt([mrn], 1, Debt.OPEN, kind=OPENED, paid=0))
    assert (await status(house, mrn)).debt.status == common_pb2.DEBT_STATUS_OPEN


async def test_after_the_end_an_amendment_an_inspection_a_return_and_a_correction_come_too_late(house: House) -> None:
    mrn = await seized(house)
    await dispose(house, disposal(mrn, DESTROYED))
    version = (await status(house, mrn)).version
    (late,) = await record(house, inspection(mrn))
    assert late.error.reason == "STATE_FINAL"
    await house.desk.consume(filings(["RED-1"], version=2))
    assert ("AMENDMENT_REFUSED", "DESTROYED", ("PROHIBITED_GOODS",)) in await notices(house, "filer", "shop")
    stub = await house.stub("officer", "otto")
    back = pb.Return(consignment=pb.ConsignmentRef(mrn=mrn), reason=pb.RETURN_REASON_DESTROYED)
    request = pb.RecordReturnsRequest(request_id="b1", returns=[back])
    (late,) = (await stub.RecordReturns(request, timeout=SECONDS)).results
    assert late.error.reason == "STATE_FINAL"
    adjustment = pb.Adjustment(
        consignment=pb.ConsignmentRef(mrn=mrn), items=[pb.ItemAdjustment(number=1, net_mass_mg=5)]
    )
    correction = pb.AdjustConsignmentsRequest(request_id="j1", adjustments=[adjustment])
    (late,) = (await stub.AdjustConsignments(correction, timeout=SECONDS)).results
    assert late.error.reason == "STATE_FINAL"
    assert (await status(house, mrn)).version == version


async def test_an_inspection_of_seized_goods_is_recorded_and_leaves_them_seized(house: House) -> None:
    mrn = await seized(house)
    (result,) = await record(house, inspection(mrn, result=VIOLATION, violation=pb.VIOLATION_UNSAFE))
    assert outcomes([result]) == [("SEIZED", "")]
    assert (await status(house, mrn)).findings.violation_found_by == "olga"


@pytest.mark.parametrize("kind", [SEIZED, DESTROYED, RE_EXPORTED, ABANDONED])
async def test_an_arrival_is_reversed_of_all_goods_but_those_that_customs_has_or_disposed_of(
    house: House, kind: int
) -> None:
    taken, held, waiting = await house.filed(["RED-1", "RED-2", "YELLOW-3"])
    await arrive(house)
    assert outcomes(await dispose(house, disposal(taken, kind))) == [(NAMES[kind], "")]
    result = await reversal(house, "v1")
    assert (result.consignments, result.released, result.HasField("error")) == (2, 1, False)
    assert [(await status(house, mrn)).movement.HasField("arrived_at") for mrn in (taken, held, waiting)] == [
        True, False, False,
    ]  # fmt: skip
    assert (await status(house, taken)).state == pb.State.Value(f"STATE_{NAMES[kind]}")


async def test_an_arrival_that_released_goods_is_not_reversed_though_customs_disposed_of_them_afterwards(
    house: House,
) -> None:
    (mrn,) = await goods_at(house, "held after release", 1)
    await dispose(house, disposal(mrn, DESTROYED))
    assert (await reversal(house, "v1")).error.reason == "ARRIVAL_HAS_RELEASED"
    assert (await status(house, mrn)).movement.HasField("arrived_at")


async def test_a_return_of_goods_that_are_returned_already_says_so_and_of_goods_that_customs_disposed_of_that_it_is_too_late(
    house: House,
) -> None:
    (returned,) = await goods_at(house, "released", 1)
    destroyed = await seized(house, "RED-8")
    await dispose(house, disposal(destroyed, DESTROYED), request_id="d8")
    stub = await house.stub("officer", "otto")

    async def report(mrn: str, request_id: str) -> str:
        back = pb.Return(consignment=pb.ConsignmentRef(mrn=mrn), reason=pb.RETURN_REASON_DESTROYED)
        request = pb.RecordReturnsRequest(request_id=request_id, returns=[back])
        return (await stub.RecordReturns(request, timeout=SECONDS)).results[0].error.reason

    assert [await report(returned, "b1"), await report(returned, "b2"), await report(destroyed, "b3")] == [
        "", "ALREADY_RETURNED", "STATE_FINAL",
    ]  # fmt: skip


async def test_an_arrival_of_a_declaration_that_was_lodged_twice_is_reversed_of_the_other(house: House) -> None:
    twice, other = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await dispose(house, disposal(twice, INVALIDATED, reason="FILED_TWICE"))
    result = await reversal(house, "v1")
    assert (result.consignments, result.released, result.HasField("error")) == (1, 0, False)
    assert [(await status(house, mrn)).movement.HasField("arrived_at") for mrn in (twice, other)] == [True, False]


async def test_seized_goods_have_a_work_list_and_a_gauge_and_leave_that_of_held_ones(house: House) -> None:
    mrns = await house.filed([f"RED-{number}" for number in range(3)] + ["YELLOW-9"])
    await arrive(house)
    await dispose(house, *(disposal(mrn, SEIZED) for mrn in mrns))
    stub = await house.stub("officer", "olga")

    async def listed(state: int, lane: int = 0) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            request = pb.ListConsignmentsRequest(state=state, lane=lane, page_size=2, page_token=token)  # type: ignore[arg-type]
            answer = await stub.ListConsignments(request, timeout=SECONDS)
            found += [each.mrn for each in answer.consignments]
            token = answer.next_page_token
            if not token:
                return found

    assert await listed(pb.STATE_SEIZED) == sorted(mrns)
    assert await listed(pb.STATE_SEIZED, common_pb2.LANE_YELLOW) == mrns[3:]
    assert await listed(pb.STATE_HELD) == []
    await gauges.look(house.desk.store.database)
    assert REGISTRY.get_sample_value("luxor_clearance_seized") == 4
    await dispose(house, disposal(mrns[0], LIFTED), disposal(mrns[1], CONFISCATED), request_id="d2")
    assert await listed(pb.STATE_SEIZED) == sorted(mrns[2:])
    assert await listed(pb.STATE_HELD) == mrns[:1]

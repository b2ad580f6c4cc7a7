"""Controls: what filers, carriers, agencies and officers read of them, and who reaches which control."""

from __future__ import annotations

import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import controls_pb2
from services.clearance.jobs.waits import Waits
from tests.clearance.controls import (
    CARRIER,
    DAY_MICROS,
    EXAMINATION,
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
    words,
)
from tests.clearance.desk import MASTER, filings
from tests.clearance.disposals import outcomes
from tests.clearance.inspections import status
from tests.clearance.risk_answers import screening
from tests.clearance.screening_matches import clearing, hear
from tests.clearance.service_client import SECONDS, House, ask, refused_with


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
    results = await answered(house, answer(mrn, text="It costs 12 EUR. See the invoice.", documents=[document]))
    assert outcomes(results) == [("DOCUMENTS_REQUESTED", "")]
    assert results[0].version == seen.version + 1
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


async def test_officers_read_who_answered_and_agencies_filers_and_carriers_do_not(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn, authority="food"), request_id="o1")
    await ordered(house, order(mrn, addressee=CARRIER, text="Screen it."), request_id="o2")
    for role, by, number in (("filer", "shop", 1), ("carrier", "wings", 2)):
        results = await answered(house, answer(mrn, number), role=role, by=by, request_id=f"w{number}")
        assert outcomes(results) == [("DOCUMENTS_REQUESTED", "")]
    readers = {
        ("officer", "olga"): {1: "shop", 2: "wings"}, ("filer", "shop"): {1: "", 2: ""}, ("agency", "food"): {1: ""},
    }  # fmt: skip
    for (role, by), expected in readers.items():
        seen = await status(house, mrn, role, by)
        assert {each.number: each.answered_by for each in seen.controls} == expected, role
    stub = await house.stub("carrier", "wings")
    (result,) = await ask(stub, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]))
    assert [each.answered_by for each in result.consignments[0].controls] == [""]
    assert [each.control.answered_by for each in await listed(house)] == ["shop", "wings"]
    assert [each.control.answered_by for each in await listed(house, "agency", "food")] == [""]
    for role, by in (("filer", "shop"), ("carrier", "wings")):
        assert {control.answered_by for each in await notices(house, role, by) for control in each.controls} <= {""}


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
    # By a reference it could find out whose goods they are.
    for filer in ("shop", "rival"):
        by_reference = pb.GetStatusRequest(queries=[pb.StatusQuery(local_reference="GREEN-1", filer=filer)])
        (result,) = await ask(await house.stub("agency", "food"), by_reference)
        assert result.error.reason == "QUERY_MALFORMED"
    by_house = pb.GetStatusRequest(queries=[pb.StatusQuery(house_document_number="H-GREEN-1")])
    (result,) = await ask(await house.stub("agency", "food"), by_house)
    assert [each.mrn for each in result.consignments] == [first]
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
    results = await concluded(house, made, role="agency", by="food")
    assert [(each.error.reason, each.state, each.version) for each in results] == [("CONSIGNMENT_UNKNOWN", 0, 0)]


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
    lifted = [each for each in await notices(house) if each.kind == pb.NOTICE_KIND_HOLD_LIFTED]
    assert sorted(each.mrn for each in lifted) == sorted([matched, held])
    assert first.decision.officer_hold == second.decision.officer_hold is False
    assert await release(house, held, request_id="r2") == [("DOCUMENTS_REQUESTED", "CONTROL_OPEN")]
    assert outcomes(await concluded(house, conclusion(matched), conclusion(held))) == [("AWAITING_ARRIVAL", "")] * 2
    assert await house.desk.inconsistencies() == []


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


async def test_carriers_are_not_reminded_of_requests_to_others(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    remind = await now(house) + DAY_MICROS
    await ordered(house, order(mrn, remind_at=remind, due_at=remind + DAY_MICROS))
    await Waits(house.desk.store, "r1").step(at=remind)
    await answered(house, answer(mrn))
    kinds = [word for word, _ in words(await notices(house, "carrier", "wings"))]
    assert kinds == ["ARRIVED", "CONTROL_ORDERED"]

"""What filers and carriers must not learn, by every path that tells them of a consignment; officers and analysts learn all of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from services.clearance.feeds.screening_matches import Rescreening
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.risk_answers import LIST, SECRET, SENTENCE, ServiceSpan, answering, screening
from tests.clearance.service_client import SECONDS, House, arrivals

ROOT = Path(__file__).parents[3]

HIDDEN = (
    SECRET, SENTENCE, LIST, "6908555", "ivan", "consignee", "LISTED", "SELECTED_AT_RANDOM", "MODEL_SCORE", "SCORE_HIGH", "items-2026-11", "DE004851",
    "first-light/1", "A_RULE",
)  # fmt: skip
TELL = {
    "RED-1": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_RULE, confidential=(SECRET, SECRET)),
    "RED-2": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_MINIMUM, reason="SELECTED_AT_RANDOM"),
    "RED-3": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_MODEL, reason="MODEL_SCORE"),
    "RED-4": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_SCORE, reason="SCORE_HIGH"),
    "RED-5": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_UNCERTAINTY, reason="MODEL_SCORE"),
    "RED-6": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_EXPECTED, reason="SELECTED_AT_RANDOM"),
    "RED-7": ServiceSpan(cause=common_pb2.SELECTION_CAUSE_RULE, open=("VALUE_LOW",), confidential=(SECRET,)),
    "GREEN-1": ServiceSpan(confidential=(SECRET,)),
}
ALIKE = 6
"""So many of them must look alike."""


async def filed(house: House) -> list[str]:
    house.desk.neighbours.risk = answering(TELL)
    return await house.filed(list(TELL))


async def statuses(house: House, role: str, ident: str, *, history: bool = True) -> list[pb.ConsignmentStatus]:
    stub = await house.stub(role, ident)
    query = pb.StatusQuery(master_document_number=MASTER)
    answer = await stub.GetStatus(pb.GetStatusRequest(queries=[query], with_history=history), timeout=SECONDS)
    return list(answer.results[0].consignments)


async def notices(house: House, role: str, ident: str) -> list[pb.Notice]:
    stub = await house.stub(role, ident)
    await house.desk.told()
    return list((await stub.PullNotices(pb.PullNoticesRequest(page_size=1_000), timeout=SECONDS)).notices)


def assert_nothing_hidden(messages: Sequence[Any]) -> None:
    for message in messages:
        text = str(message)
        assert not [word for word in HIDDEN if word in text], text


async def hit(house: House, references: Sequence[str]) -> None:
    handler = Rescreening(house.desk.store)
    prepared = await handler.prepare([screening(filings(references))])
    async with house.desk.store.database.transaction() as tx:
        await handler.apply(tx, prepared)


@pytest.mark.parametrize(("role", "ident"), [("filer", "shop"), ("carrier", "wings")])
async def test_by_status_and_history_a_confidential_finding_a_draw_a_model_and_a_score_look_alike(
    house: House, role: str, ident: str
) -> None:
    await filed(house)
    told = await statuses(house, role, ident)
    assert_nothing_hidden(told)
    findings = [
        [(f.reason, f.sentence, f.lane, f.HasField("item_number")) for f in each.findings.risk] for each in told
    ]
    reasons = [list(each.decision.reasons) for each in told]
    if role == "carrier":
        assert findings == reasons == [[]] * len(told)
    else:
        assert reasons == [["CUSTOMS_CHECK"]] * ALIKE + [["VALUE_LOW", "CUSTOMS_CHECK"], []]
        neutral = ("CUSTOMS_CHECK", "Customs looks at the consignment.", common_pb2.LANE_RED, False)
        assert findings[:ALIKE] == [[neutral]] * ALIKE
        assert findings[ALIKE] == [("VALUE_LOW", "An open sentence.", common_pb2.LANE_RED, True), neutral]
        assert findings[ALIKE + 1] == []
    for each in told:
        each.ClearField("mrn")
        each.ClearField("check_code")  # it follows from the MRN alone
        for name in ("local_reference", "house_document", "gross_mass_mg"):
            each.filing.ClearField(name)
    assert all(each == told[0] for each in told[:ALIKE])


@pytest.mark.parametrize(("role", "ident"), [("filer", "shop"), ("carrier", "wings")])
async def test_by_notices_they_look_alike_too(house: House, role: str, ident: str) -> None:
    await filed(house)
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await hit(house, ["RED-2"])
    told = await notices(house, role, ident)
    assert told
    assert_nothing_hidden(told)
    reasons = {("CUSTOMS_CHECK",), ("OFFICER_DECISION", "OFFICER_HOLD"), ("VALUE_LOW", "CUSTOMS_CHECK"), ()}
    assert {tuple(each.reasons) for each in told} == ({()} if role == "carrier" else reasons)


@pytest.mark.parametrize(("role", "ident"), [("officer", "olga"), ("analyst", "anna")])
async def test_officers_and_analysts_read_findings_and_selection_as_they_are(
    house: House, role: str, ident: str
) -> None:
    await filed(house)
    told = await statuses(house, role, ident)
    listed = told[0].findings.risk[0]
    assert (listed.reason, listed.sentence, listed.confidential) == (SECRET, SENTENCE, True)
    assert (listed.kind, listed.party, listed.list, listed.list_entry) == (
        common_pb2.FINDING_KIND_SCREENING_MATCH, "consignee", LIST, "6908555",
    )  # fmt: skip
    assert (listed.match_score, listed.explanation, listed.item_number) == (930, "ivan ~ iwan", 1)
    assert [each.decision.selection_cause for each in told] == [each.cause for each in TELL.values()]
    assert [each.decision.selection_reason for each in told] == [each.reason for each in TELL.values()]
    assert (told[1].decision.chance_ppm, told[1].decision.model_score_ppm, told[1].decision.office) == (
        12_345,
        654_321,
        "DE004851",
    )
    stub = await house.stub(role, ident)
    listing = await stub.ListConsignments(pb.ListConsignmentsRequest(), timeout=SECONDS)
    assert {each.findings.risk[0].reason for each in listing.consignments if each.findings.risk} == {
        SECRET,
        "VALUE_LOW",
    }


async def test_a_hold_by_a_new_hit_reads_as_an_officers_hold(house: House) -> None:
    house.desk.neighbours.risk = answering({})
    (mrn,) = await house.filed(["GREEN-1"])
    await hit(house, ["GREEN-1"])
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        (told,) = await statuses(house, role, ident)
        assert_nothing_hidden([told])
        assert (told.state, told.decision.screening_hold, list(told.findings.risk)) == (pb.STATE_HELD, False, [])
        assert [each.change for each in told.history] == [pb.CHANGE_OFFICER_HELD, pb.CHANGE_DECIDED]
        if role == "filer":
            assert (told.decision.officer_hold, told.decision.decided_by, told.history[0].decided_by) == (
                True,
                "officer",
                "officer",
            )
            assert list(told.decision.reasons) == ["OFFICER_DECISION", "OFFICER_HOLD"]
    (told,) = await statuses(house, "officer", "olga")
    assert (told.mrn, told.decision.screening_hold, told.decision.officer_hold, told.change) == (
        mrn,
        True,
        False,
        pb.CHANGE_SCREENING_MATCHED,
    )
    assert (told.decision.screened_lists, list(told.decision.reasons)) == (LIST, ["CUSTOMS_CHECK"])


async def test_of_goods_that_are_released_a_new_hit_leaves_no_trace_outside(house: House) -> None:
    house.desk.neighbours.risk = answering({})
    await house.filed(["GREEN-1"])
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    before = await notices(house, "filer", "shop")
    (status,) = await statuses(house, "filer", "shop")
    await hit(house, ["GREEN-1"])
    assert await notices(house, "filer", "shop") == before
    (after,) = await statuses(house, "filer", "shop")
    assert_nothing_hidden([after])
    assert list(after.history) == list(status.history)
    assert (after.decision.audit, after.decision.lane, list(after.findings.risk), list(after.decision.reasons)) == (
        False,
        common_pb2.LANE_GREEN,
        [],
        [],
    )
    assert after == status
    (known,) = await statuses(house, "officer", "olga")
    assert (known.decision.audit, known.change, known.findings.risk[0].reason) == (
        True,
        pb.CHANGE_SCREENING_MATCHED,
        SECRET,
    )


async def test_the_wait_of_a_green_one_is_told_to_officers_alone(house: House) -> None:
    house.desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60), "YELLOW-1": ServiceSpan(days=3)})
    numbers = await house.filed(["GREEN-1", "YELLOW-1"])
    assert numbers == mrns(filings(["GREEN-1", "YELLOW-1"]))
    green, yellow = await statuses(house, "officer", "olga")
    assert (
        green.decision.release_not_before.ToMicroseconds() - green.decision.decided_at.ToMicroseconds() == 3_600_000_000
    )
    assert (
        yellow.decision.reroute_at.ToMicroseconds() - yellow.decision.decided_at.ToMicroseconds() == 3 * 86_400_000_000
    )
    for told in await statuses(house, "filer", "shop"):
        assert not told.decision.HasField("release_not_before")
        assert not told.decision.HasField("reroute_at")


OUTSIDERS = (("filer", "shop"), ("carrier", "wings"))


def reserved_fields() -> set[str]:
    """The paths in ConsignmentStatus whose comment in the contract reserves them to officers and analysts."""
    text = (ROOT / "protos/luxor/clearance/v1/clearance.proto").read_text(encoding="utf-8")
    found = set()
    for group in pb.ConsignmentStatus.DESCRIPTOR.fields:
        nested = "" if group.message_type is None or group.is_repeated else group.message_type.name
        name, prefix = (
            (nested, f"{group.name}.") if nested.endswith(("Status", "Summary")) else ("ConsignmentStatus", "")
        )
        body = re.search(rf"^message {name} \{{(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
        assert body is not None, name
        for comment, field in re.findall(r"((?:^  //.*\n)+)  [\w. ]+ (\w+) = \d+;", body[1], re.MULTILINE):
            if "fficers and analysts only" in comment:
                found.add(prefix + field)
    return found


def has(status: pb.ConsignmentStatus, path: str) -> bool:
    group, _, name = path.rpartition(".")
    part = getattr(status, group) if group else status
    return name in {field.name for field, _ in part.ListFields()}


async def test_what_the_contract_reserves_to_officers_reaches_nobody_else(house: House) -> None:
    await filed(house)
    paths = reserved_fields()
    assert len(paths) >= 20
    officers = await statuses(house, "officer", "olga")
    shown = {path for path in paths if any(has(each, path) for each in officers)}
    assert {"decision.rule_set_version", "decision.selection_cause", "decision.chance_ppm", "decision.office"} <= shown
    for role, ident in OUTSIDERS:
        for each in await statuses(house, role, ident):
            assert not {path for path in paths if has(each, path)}, role


async def by_officer(house: House, mrn: str, verb: str, request_id: str) -> None:
    stub = await house.stub("officer", "olga")
    (known,) = (await stub.GetStatus(pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=mrn)]), timeout=SECONDS)).results
    refs = [pb.ConsignmentRef(mrn=mrn, expected_version=known.consignments[0].version)]
    if verb == "hold":
        held = pb.HoldConsignmentsRequest(request_id=request_id, consignments=refs, reason="OFFICER_DECISION")
        (result,) = (await stub.HoldConsignments(held, timeout=SECONDS)).results
    elif verb == "release":
        freed = pb.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs, reason="IN_ORDER")
        (result,) = (await stub.ReleaseConsignments(freed, timeout=SECONDS)).results
    else:
        found = pb.Inspection(
            consignment=refs[0], method=pb.INSPECTION_METHOD_SCAN, result=pb.INSPECTION_RESULT_CONFORM
        )
        inspected = pb.RecordInspectionsRequest(request_id=request_id, inspections=[found])
        (result,) = (await stub.RecordInspections(inspected, timeout=SECONDS)).results
    assert result.error.reason == ""


def faceless(message: Any) -> Any:
    """Leave out by what alone two filings of the same goods differ, and the instants."""
    copy = type(message)()
    copy.CopyFrom(message)
    groups = (copy.filing, copy.decision, copy.movement) if isinstance(copy, pb.ConsignmentStatus) else ()
    for part in (copy, *groups, *getattr(copy, "history", ())):
        for name in (
            "mrn", "check_code",
            "local_reference", "house_document", "house_document_number", "gross_mass_mg", "decided_at", "changed_at", "released_at", "time",
        ):  # fmt: skip
            if name in part.DESCRIPTOR.fields_by_name:
                part.ClearField(name)
    return copy


async def looks(house: House, role: str, ident: str, mrn: str) -> tuple[Any, list[Any]]:
    status = next(each for each in await statuses(house, role, ident) if each.mrn == mrn)
    return faceless(status), [faceless(each) for each in await notices(house, role, ident) if each.mrn == mrn]


@pytest.mark.parametrize("lane", ["GREEN", "BLUE", "YELLOW", "RED"])
async def test_a_hold_by_a_hit_and_an_officers_hold_are_equal_field_by_field(house: House, lane: str) -> None:
    tell = ServiceSpan(open=("VALUE_LOW",)) if lane == "YELLOW" else ServiceSpan()
    if lane == "RED":
        tell = ServiceSpan(cause=common_pb2.SELECTION_CAUSE_MINIMUM, reason="SELECTED_AT_RANDOM")
    names = [f"{lane}-1", f"{lane}-2"]
    house.desk.neighbours.risk = answering(dict.fromkeys(names, tell))
    officers, hits = await house.filed(names)

    async def assert_equal() -> None:
        for role, ident in OUTSIDERS:
            assert await looks(house, role, ident, officers) == await looks(house, role, ident, hits)

    await assert_equal()
    await by_officer(house, officers, "hold", "o1")
    await hit(house, names[1:])
    await assert_equal()
    # A second hit, and a hit on what an officer holds, add nothing that is told.
    handler = Rescreening(house.desk.store)
    prepared = await handler.prepare([screening(filings(names), ("7",))])
    async with house.desk.store.database.transaction() as tx:
        await handler.apply(tx, prepared)
    await assert_equal()
    await house.desk.consume(filings(names, version=2))
    await assert_equal()
    await by_officer(house, officers, "inspect", "o2")
    await by_officer(house, hits, "inspect", "o3")
    await assert_equal()
    await by_officer(house, officers, "release", "o4")
    await by_officer(house, hits, "release", "o5")
    await assert_equal()
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await assert_equal()
    known = {each.mrn: each for each in await statuses(house, "officer", "olga")}
    assert (known[hits].decision.lane, known[hits].state) == (common_pb2.LANE_RED, pb.STATE_RELEASED)


async def test_a_hit_from_before_the_decision_reads_as_what_led_to_it(house: House) -> None:
    house.desk.neighbours.risk = answering({"RED-1": TELL["RED-2"]})
    await hit(house, ["GREEN-1"])
    drawn, early = await house.filed(["RED-1", "GREEN-1"])
    for role, ident in OUTSIDERS:
        assert await looks(house, role, ident, drawn) == await looks(house, role, ident, early)
    (known,) = [each for each in await statuses(house, "officer", "olga") if each.mrn == early]
    assert known.decision.screening_hold


@pytest.mark.parametrize("lane", ["RED", "BLUE"])
async def test_versions_that_nobody_outside_hears_of_do_not_count_for_them(house: House, lane: str) -> None:
    house.desk.neighbours.risk = answering({})
    watched, quiet = await house.filed([f"{lane}-1", f"{lane}-2"])
    carrier = await house.stub("carrier", "wings")
    await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    if lane == "BLUE":
        await hit(house, ["BLUE-2"])
    await by_officer(house, quiet, "inspect", "o1")
    await by_officer(house, quiet, "inspect", "o2")
    for number, mrn in enumerate((watched, quiet)):
        await by_officer(house, mrn, "hold", f"h{number}")
        await by_officer(house, mrn, "release", f"r{number}")
    for role, ident in OUTSIDERS:
        one, other = await looks(house, role, ident, watched), await looks(house, role, ident, quiet)
        assert one == other
        assert [each.version for each in other[0].history] == [4, 3, 2, 1]
        assert (other[0].version, other[1][-1].version) == (4, 4)
    known = {each.mrn: each for each in await statuses(house, "officer", "olga")}
    assert known[quiet].version == (7 if lane == "BLUE" else 6)
    assert known[quiet].findings.inspected_by == "olga"


async def test_what_a_hit_holds_is_released_by_who_looked_at_it_alone(house: House) -> None:
    house.desk.neighbours.risk = answering({})
    (mrn,) = await house.filed(["RED-1"])
    stub = await house.stub("officer", "olga")
    await hit(house, ["RED-1"])

    async def release(request_id: str, **seen: int) -> pb.OfficerResult:
        request = pb.ReleaseConsignmentsRequest(request_id=request_id, reason="IN_ORDER")
        request.consignments.add(mrn=mrn, **seen)
        (result,) = (await stub.ReleaseConsignments(request, timeout=SECONDS)).results
        return result

    assert (await release("r1")).error.reason == "SCREENING_MATCH_UNSEEN"
    assert (await release("r2", expected_version=1)).error.reason == "VERSION_CHANGED"
    assert (await release("r3", expected_version=2)).state == pb.STATE_AWAITING_ARRIVAL

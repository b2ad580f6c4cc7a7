"""Goods leave by a signed list while the system is not reachable, and the import afterwards releases what is as listed and reports the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from libs.client.clearance import release_lists as files
from libs.client.errors import LuxorError
from libs.customs.release_list import Page, public_key_of
from libs.server.page_tokens import PageTokens
from luxor.clearance.v1 import carriers_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import release_lists_pb2 as lists
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.clearance.v1.release_lists_pb2_grpc import ReleaseListServiceStub
from services.clearance.commands.release_lists.export import PURPOSE
from services.clearance.release_lists.reconciliation import Decision, MarkOutcome
from tests.clearance.controls import EXAMINATION, order, ordered
from tests.clearance.desk import ACCEPTED_AT, MASTER, filings
from tests.clearance.disposals import SEIZED, disposal, dispose
from tests.clearance.inspections import status
from tests.clearance.release_lists import imported, made, marked, officer
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import hear
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with

HOUR = 3_600_000_000
DAY = 24 * HOUR


async def hold(house: House, *mrns: str, verb: str = "Hold") -> None:
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = getattr(pb, f"{verb}ConsignmentsRequest")(
        request_id=f"{verb}-{mrns[0]}", consignments=refs, reason="SEEN"
    )
    answer = await getattr(await house.stub("officer", "olga"), f"{verb}Consignments")(request, timeout=SECONDS)
    assert not any(each.HasField("error") for each in answer.results)


async def arrive(house: House) -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)


def told(listed: files.ReleaseList) -> dict[str, bool]:
    return {each.house_document: each.release for each in listed.entries}


async def test_goods_marked_as_released_arrived_then_and_are_released_by_the_officer(
    house: House, tmp_path: Path
) -> None:
    green, _, red = await house.filed(["GREEN-1", "GREEN-2", "RED-1"])
    listed = await made(house, tmp_path / "list.csv")
    assert told(listed) == {"H-GREEN-1": True, "H-GREEN-2": True, "H-RED-1": False}
    at = listed.header.made_at
    marks = marked(listed, at, H_GREEN_1="RELEASED", H_RED_1="HELD")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("RELEASED", "RELEASED", False),
        "H-GREEN-2": ("NOT_MARKED", "AWAITING_ARRIVAL", False),
        "H-RED-1": ("HELD", "HELD", False),
    }
    seen = await status(house, green)
    assert (seen.state, seen.version, seen.decision.decided_by) == (pb.STATE_RELEASED, 2, "otto")
    assert list(seen.decision.reasons) == ["RELEASED_BY_LIST"]
    assert seen.movement.arrived_at.ToMicroseconds() == at
    assert seen.movement.conveyance_reference == "LX0188"
    held = await status(house, red)
    assert list(held.decision.reasons) == ["HELD_BY_LIST", "OFFICER_HOLD"]
    # The carrier reports the arrival when it can: what left is unchanged, the others arrive.
    await arrive(house)
    assert (await status(house, green)).version == 2
    assert (await status(house, red)).movement.HasField("arrived_at")


async def test_a_list_says_of_each_consignment_only_whether_it_may_leave(house: House, tmp_path: Path) -> None:
    house.desk.neighbours.risk = answering({"GREEN-3": ServiceSpan(delay_minutes=600)})
    references = ["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4", "GREEN-5", "RED-1", "BARE-1", "NORATE-1"]
    mrns = dict(zip(references, await house.filed(references), strict=True))
    await hear(house.desk, screening(filings(["GREEN-2"])))
    await hold(house, mrns["GREEN-4"])
    await ordered(house, order(mrns["GREEN-5"], EXAMINATION))
    expected = {f"H-{each}": each == "GREEN-1" for each in references}
    listed = await made(house, tmp_path / "list.csv")
    assert told(listed) == expected
    assert {each.mrn: each.version for each in listed.entries} == {
        mrn: (await status(house, mrn)).version for mrn in mrns.values()
    }
    now = listed.header.made_at
    later = lists.ExportReleaseListRequest()
    # The delay began at the decision, which was before the list.
    later.arrives_at.FromMicroseconds(now + 10 * HOUR)
    listed = await made(house, tmp_path / "list.csv", arrives_at=later.arrives_at)
    assert told(listed) == expected | {"H-GREEN-3": True}
    text = (tmp_path / "list.csv").read_text()
    assert not any(secret in text for secret in ("Broker", "PARTY_LISTED", "LANE", "DEBT"))


async def test_a_list_in_pages_verifies_as_a_whole(house: House, tmp_path: Path) -> None:
    await house.filed([f"GREEN-{number}" for number in range(7)])
    await house.filed(["RED-1"], master="160-2")
    listed = await made(house, tmp_path / "list.csv", MASTER, "160-2", page_size=3)
    assert [len(page.entries) for page in listed.pages] == [3, 3, 2]
    assert [each.line for each in listed.entries] == list(range(1, 9))
    assert told(listed) == {f"H-GREEN-{number}": True for number in range(7)} | {"H-RED-1": False}
    empty = await made(house, tmp_path / "none.csv", "160-3")
    assert empty.entries == []


async def test_a_list_of_a_flight_that_arrived_has_what_arrived_on_it(house: House, tmp_path: Path) -> None:
    green, red = await house.filed(["GREEN-1", "RED-1"])
    await house.filed(["GREEN-2"], master="160-2")
    await arrive(house)
    arrived_on = time.strftime("%Y-%m-%d", time.gmtime((ACCEPTED_AT - 10**9) / 10**6))
    listed = await made(house, tmp_path / "list.csv", master_document_numbers=[], arrived_on=arrived_on)
    assert told(listed) == {"H-GREEN-1": True, "H-RED-1": False}
    marks = marked(listed, listed.header.made_at, H_GREEN_1="RELEASED")
    assert await imported(house, listed, marks) == {"H-GREEN-1": ("AGREES", "RELEASED", False)}
    assert [(await status(house, each)).version for each in (green, red)] == [2, 2]


async def test_a_list_of_another_key_is_refused_by_whoever_pinned_the_own_and_by_the_import(
    house: House, tmp_path: Path
) -> None:
    await house.filed(["GREEN-1", "RED-1"])
    path = tmp_path / "list.csv"
    listed = await made(house, path)
    (key,) = await files.keys(await officer(house))
    own, seed = bytes.fromhex(key["public_key"]), bytes(range(32))
    assert files.read_list(path, own).header == listed.header
    # Whoever can sign with a key of their own can write any list, even under the number of the right key.
    header = replace(listed.header, public_key=public_key_of(seed))
    entries = [replace(each, release=True) for each in listed.entries]
    page = Page(header, 1, header.digest, entries, last=True)
    page = replace(page, signature=page.sign(seed))
    forged = files.ReleaseList(path, header, [page])
    with pytest.raises(LuxorError, match="another key"):
        files.read_list(write(forged, tmp_path / "forged.csv"), own)
    changed = replace(listed, pages=[replace(listed.pages[0], entries=entries)])
    other = replace(header, key_number=header.key_number + 1)
    missing = replace(forged, pages=[replace(page, header=other)])
    for each, reason in (
        (forged, "RELEASE_LIST_KEY_UNKNOWN"),
        (missing, "RELEASE_LIST_KEY_UNKNOWN"),
        (changed, "RELEASE_LIST_NOT_AUTHENTIC"),
    ):
        assert (await refused_with(imported(house, each, [])))[1] == reason


def write(listed: files.ReleaseList, path: Path) -> Path:
    """Write a list as its form is defined."""
    rows = [listed.header.row]
    digest = listed.header.digest
    for page in listed.pages:
        for entry in page.entries:
            digest = entry.digest(digest)
            rows.append(entry.row(digest))
        rows.append(f"PAGE,{page.number},{page.entries[-1].line},LAST,{page.signature.hex()}")
    path.write_text("".join(f"{each}\n" for each in rows))
    assert files.read_list(path).entries == listed.entries, "without the right key it verifies"
    return path


async def test_a_second_import_changes_nothing_and_answers_the_same(house: House, tmp_path: Path) -> None:
    mrns = await house.filed(["GREEN-1", "RED-1", "RED-2"])
    listed = await made(house, tmp_path / "list.csv")
    marks = marked(
        listed, listed.header.made_at, H_GREEN_1="RELEASED", H_RED_1="HELD", H_RED_2="RELEASED", H_NONE="RELEASED"
    )
    first = await imported(house, listed, marks)
    assert first == {
        "H-GREEN-1": ("RELEASED", "RELEASED", False),
        "H-RED-1": ("HELD", "HELD", False),
        "H-RED-2": ("AGAINST_LIST", "HELD", False),
        "H-NONE": ("UNLISTED", "", False),
    }
    await hold(house, mrns[1], mrns[2], verb="Release")
    versions = [(await status(house, mrn)).version for mrn in mrns]
    again = await imported(house, listed, marks, by="anna")
    assert again == {name: (*each[:2], True) for name, each in first.items()}
    assert [(await status(house, mrn)).version for mrn in mrns] == versions
    # Without marks the import answers how the list stands.
    assert await imported(house, listed, []) == {name: each for name, each in again.items() if name != "H-NONE"}


async def test_what_changed_meanwhile_is_held_and_reported_with_both_sides(house: House, tmp_path: Path) -> None:
    references = [f"GREEN-{number}" for number in range(1, 9)]
    mrns = await house.filed(references)
    held, controlled, matched, amended, lifted, invalidated, stays, left = mrns
    listed = await made(house, tmp_path / "list.csv")
    await hold(house, held, lifted, left)
    await hold(house, lifted, left, verb="Release")
    await ordered(house, order(controlled, EXAMINATION))
    await hear(house.desk, screening(filings(["GREEN-3"])))
    await house.desk.consume(filings(["GREEN-4"], version=2))
    await dispose(house, disposal(invalidated, pb.DISPOSAL_KIND_INVALIDATED))
    before = await status(house, controlled)
    marked(listed, listed.header.made_at, **{f"H_{each.replace('-', '_')}": "RELEASED" for each in references[:-1]})
    # These left after the officer's release, of which the list does not know.
    marks = marked(listed, listed.header.made_at + 60_000_000, H_GREEN_8="RELEASED")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("CHANGED", "HELD", False),
        "H-GREEN-2": ("CHANGED", "EXAMINATION", False),
        "H-GREEN-3": ("CHANGED", "HELD", False),
        "H-GREEN-4": ("CHANGED", "HELD", False),
        "H-GREEN-5": ("CHANGED", "AWAITING_ARRIVAL", False),
        "H-GREEN-6": ("CHANGED", "INVALIDATED", False),
        "H-GREEN-7": ("RELEASED", "RELEASED", False),
        "H-GREEN-8": ("CHANGED", "HELD", False),
    }
    # What was not held is now: it is in the officers' work list, with the reason.
    request = pb.ListConsignmentsRequest(state=pb.STATE_HELD)
    listed_now = await (await house.stub("officer", "olga")).ListConsignments(request, timeout=SECONDS)
    reasons = {each.mrn: list(each.decision.reasons) for each in listed_now.consignments}
    assert {mrn for mrn, each in reasons.items() if "RELEASE_LIST_DISCREPANCY" in each} == {amended, left}
    assert set(reasons) == {held, matched, amended, left}
    assert await status(house, controlled) == before, "a control holds them already"
    assert (await status(house, lifted)).version == 3, "an officer released them after the mark"
    assert (await status(house, stays)).version == 2


async def test_seized_goods_and_those_that_the_system_released_meanwhile(house: House, tmp_path: Path) -> None:
    green, seized, held = await house.filed(["GREEN-1", "RED-1", "GREEN-2"])
    listed = await made(house, tmp_path / "list.csv")
    await arrive(house)
    await dispose(house, disposal(seized, SEIZED))
    marks = marked(listed, listed.header.made_at, H_GREEN_1="RELEASED", H_RED_1="RELEASED", H_GREEN_2="HELD")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("AGREES", "RELEASED", False),
        "H-RED-1": ("AGAINST_LIST", "SEIZED", False),
        "H-GREEN-2": ("HELD", "HELD", False),
    }
    assert [(await status(house, each)).version for each in (green, held)] == [2, 3]


async def test_what_an_officer_decided_after_the_mark_stays_and_is_reported(house: House, tmp_path: Path) -> None:
    """The marks are imported late: in the system the goods arrived, and an officer held some, and released all."""
    references = ["GREEN-1", "GREEN-2", "RED-1", "GREEN-3"]
    mrns = await house.filed(references)
    listed = await made(house, tmp_path / "list.csv")
    marked(listed, listed.header.made_at, H_GREEN_1="HELD", H_GREEN_2="HELD", H_RED_1="RELEASED", H_GREEN_3="HELD")
    marks = marked(listed, listed.header.made_at, H_GREEN_2="RELEASED")
    await arrive(house)
    await hold(house, mrns[0], mrns[1], mrns[3])
    await hold(house, *mrns[:3], verb="Release")
    before = [await status(house, mrn) for mrn in mrns]
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("DECIDED_SINCE", "RELEASED", False),
        "H-GREEN-2": ("MARKED_DIFFERENTLY", "RELEASED", False),
        # It left although it had to stay; the release by an officer who did not know it does not hide that.
        "H-RED-1": ("AGAINST_LIST", "RELEASED", False),
        "H-GREEN-3": ("AGREES", "HELD", False),
    }
    assert [await status(house, mrn) for mrn in mrns] == before


async def test_goods_that_left_by_a_list_arrived_by_no_carriers_arrival(house: House, tmp_path: Path) -> None:
    green, red = await house.filed(["GREEN-1", "RED-1"])
    listed = await made(house, tmp_path / "list.csv")
    await imported(house, listed, marked(listed, listed.header.made_at, H_GREEN_1="RELEASED"))
    # Also not once an officer held them, whose reason replaces that of the list.
    await hold(house, green)
    await arrive(house)
    carriers = CarrierServiceStub(await house.service.channel("officer", "otto"))
    released = carriers_pb2.ListReleasedConsignmentsRequest(master_document_number=MASTER, carrier="wings")
    assert not (await carriers.ListReleasedConsignments(released, timeout=SECONDS)).consignments
    reversal = carriers_pb2.ReverseArrivalsRequest(request_id="v1")
    reversal.arrivals.add(master_document_number=MASTER, carrier="wings")
    (result,) = (await carriers.ReverseArrivals(reversal, timeout=SECONDS)).results
    assert (result.error.reason, result.consignments, result.released) == ("", 1, 0)
    assert not (await status(house, red)).movement.HasField("arrived_at")
    assert (await status(house, green)).movement.HasField("arrived_at")


async def test_unlisted_goods_are_held_if_their_mrn_was_marked(house: House, tmp_path: Path) -> None:
    names = ["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4"]
    left, held, twice, decided = await house.filed(names, master="160-2")
    listed = await made(house, tmp_path / "list.csv")
    path, at = tmp_path / "marks.csv", listed.header.made_at
    for mrn, decision in (
        (left, "RELEASED"), (held, "HELD"), (twice, "RELEASED"), (twice, "HELD"), (decided, "RELEASED"), ("26DE07329000001XR9", "HELD"),
        ("", "RELEASED"),
    ):  # fmt: skip
        files.mark(listed, path, house="H-SAME", mrn=mrn, decision=decision, at=at, by="dora", anyway=True)
    await hold(house, decided)
    await hold(house, decided, verb="Release")
    for repeat in (False, True):
        results = await files.import_marks(await officer(house), listed, files.read_marks(path, listed))
        assert {each["outcome"] for each in results} == {"RELEASE_LIST_OUTCOME_UNLISTED"}
        found = sorted(
            (each["mark"].get("mrn", ""), each.get("state", ""), each.get("imported_before", False)) for each in results
        )
        assert found == sorted(
            [
                (left, "STATE_HELD", repeat), (held, "STATE_HELD", repeat), *[(twice, "STATE_HELD", repeat)] * 2,
                (decided, "STATE_AWAITING_ARRIVAL", repeat), ("", "", repeat),
                # Clearance does not store it, perhaps not yet.
                ("26DE07329000001XR9", "", False),
            ]
        )  # fmt: skip
    reasons = {mrn: (await status(house, mrn)).decision.reasons[0] for mrn in (left, held, twice)}
    assert reasons == {left: "RELEASE_LIST_DISCREPANCY", held: "HELD_BY_LIST", twice: "RELEASE_LIST_DISCREPANCY"}
    assert [(await status(house, mrn)).version for mrn in (left, held, twice, decided)] == [2, 2, 2, 3]


async def test_a_mark_in_the_future_or_before_the_end_of_the_time_for_an_inspection_releases_nothing(
    house: House, tmp_path: Path
) -> None:
    house.desk.neighbours.risk = answering({"GREEN-2": ServiceSpan(delay_minutes=60)})
    mrns = await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    until = lists.ExportReleaseListRequest()
    until.arrives_at.FromMicroseconds(await house.service.service.database.now() + 2 * HOUR)
    listed = await made(house, tmp_path / "list.csv", arrives_at=until.arrives_at)
    assert told(listed) == {"H-GREEN-1": True, "H-GREEN-2": True, "H-GREEN-3": True}
    marked(listed, listed.header.made_at + HOUR // 2, H_GREEN_1="RELEASED")
    marked(listed, listed.header.made_at, H_GREEN_2="RELEASED")
    # The clock at the door is four minutes fast; nothing arrives in the future.
    marks = marked(listed, await house.service.service.database.now() + HOUR // 15, H_GREEN_3="RELEASED")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("OUT_OF_TIME", "HELD", False),
        "H-GREEN-2": ("OUT_OF_TIME", "HELD", False),
        "H-GREEN-3": ("RELEASED", "RELEASED", False),
    }
    seen = await status(house, mrns[2])
    assert seen.movement.arrived_at == seen.changed_at == seen.decision.decided_at


async def test_an_expired_list_releases_nothing_that_left_after_it(house: House, tmp_path: Path) -> None:
    await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    fresh = await made(house, tmp_path / "list.csv")
    # The same list, made three hours and expired one hour ago, signed with the key of the deployment.
    seed = (await PageTokens(house.service.service.database).derived_keys(PURPOSE))[fresh.header.key_number]
    limit = fresh.header.made_at - HOUR
    header = replace(fresh.header, made_at=limit - 2 * HOUR, arrives_at=limit - 2 * HOUR, valid_until=limit)
    page = replace(fresh.pages[0], header=header, previous=header.digest)
    listed = replace(fresh, header=header, pages=[replace(page, signature=page.sign(seed))])
    clock = HOUR // 12
    first = marked(listed, limit + clock, H_GREEN_1="RELEASED")
    marks = marked(listed, limit + clock + 1_000, H_GREEN_2="RELEASED")
    marks = marked(listed, header.made_at - clock - 1_000, H_GREEN_3="RELEASED")
    assert marks[0] == first[0]
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("RELEASED", "RELEASED", False),
        "H-GREEN-2": ("OUT_OF_TIME", "HELD", False),
        "H-GREEN-3": ("OUT_OF_TIME", "HELD", False),
    }


async def test_two_marks_that_contradict_each_other_hold_the_goods(house: House, tmp_path: Path) -> None:
    mrns = await house.filed(["GREEN-1", "GREEN-2"])
    listed = await made(house, tmp_path / "list.csv")
    released = marked(listed, listed.header.made_at, H_GREEN_1="RELEASED", H_GREEN_2="RELEASED")
    both = marked(listed, listed.header.made_at, H_GREEN_1="HELD")
    assert (await imported(house, listed, both))["H-GREEN-1"] == ("MARKED_DIFFERENTLY", "HELD", False)
    # Another officer's file says otherwise of what was released by the first import.
    late = [replace(released[1], decision="HELD", by="emil")]
    results = await files.import_marks(await officer(house), listed, late)
    assert [each["outcome"] for each in results if each["entry"]["line"] == 2] == [
        "RELEASE_LIST_OUTCOME_RELEASED",
        "RELEASE_LIST_OUTCOME_MARKED_DIFFERENTLY",
    ]
    assert [(await status(house, mrn)).state for mrn in mrns] == [pb.STATE_HELD] * 2


async def test_two_officers_import_the_same_marks_at_once(house: House, tmp_path: Path) -> None:
    names = [f"GREEN-{number}" for number in range(20)]
    mrns = await house.filed(names)
    listed = await made(house, tmp_path / "list.csv")
    marks = marked(listed, listed.header.made_at, **{f"H_{each.replace('-', '_')}": "RELEASED" for each in names})
    both = await asyncio.gather(imported(house, listed, marks), imported(house, listed, marks, by="anna"))
    for name in names:
        assert sorted(each[f"H-{name}"] for each in both) == [
            ("RELEASED", "RELEASED", False),
            ("RELEASED", "RELEASED", True),
        ]
    assert {(await status(house, mrn)).version for mrn in mrns} == {2}


async def test_a_list_that_is_older_than_a_restore_of_the_store(house: House, tmp_path: Path) -> None:
    """The restored store lacks two consignments of the list, and has an older version of another."""
    mrns = await house.filed(["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4"])
    await house.desk.consume(filings(["GREEN-3"], version=2))
    listed = await made(house, tmp_path / "list.csv")
    assert [each.version for each in listed.entries] == [1, 1, 2, 1]
    house.desk.consistent = False
    async with house.desk.store.database.transaction() as tx:
        for table in ("consignment", "house_document", "local_reference", "master_document"):
            await tx.raw.execute(f"delete from {table}")
    await house.filed(["GREEN-3"])
    marks = marked(listed, listed.header.made_at, H_GREEN_1="RELEASED", H_GREEN_2="HELD", H_GREEN_3="RELEASED")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("UNKNOWN", "", False),
        "H-GREEN-2": ("UNKNOWN", "", False),
        "H-GREEN-3": ("CHANGED", "HELD", False),
        # No carrier's arrival releases what is not stored.
        "H-GREEN-4": ("UNKNOWN", "", False),
    }
    # Ingestion's feed brings the filings again; then they are imported.
    await house.filed(["GREEN-1", "GREEN-2", "GREEN-4"])
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("RELEASED", "RELEASED", False),
        "H-GREEN-2": ("HELD", "HELD", False),
        "H-GREEN-3": ("CHANGED", "HELD", True),
        "H-GREEN-4": ("NOT_MARKED", "AWAITING_ARRIVAL", False),
    }
    assert (await status(house, mrns[0])).state == pb.STATE_RELEASED


MALFORMED: dict[str, Callable[[lists.ImportReleaseListRequest], Any]] = {
    "no time": lambda request: request.marks[0].ClearField("marked_at"),
    "no officer": lambda request: request.marks[0].ClearField("marked_by"),
    "no decision": lambda request: request.marks[0].ClearField("decision"),
    "another line": lambda request: setattr(request.marks[0], "line", 2),
    "neither line nor document nor MRN": lambda request: setattr(request.marks[0], "line", 0),
    "no digest": lambda request: request.page.ClearField("previous_digest"),
    "no header": lambda request: request.page.ClearField("header"),
}


async def test_a_repeated_request_gets_the_first_answer_and_other_or_malformed_content_is_refused(house: House) -> None:
    await house.filed(["GREEN-1"])
    stub = ReleaseListServiceStub(await house.service.channel("officer", "otto"))
    exported = await stub.ExportReleaseList(
        lists.ExportReleaseListRequest(master_document_numbers=[MASTER]), timeout=SECONDS
    )
    request = lists.ImportReleaseListRequest(request_id="r1", page=exported.page)
    mark = request.marks.add(line=1, decision=lists.RELEASE_LIST_DECISION_RELEASED, marked_by="dora")
    mark.marked_at.CopyFrom(exported.page.header.made_at)
    for name, change in MALFORMED.items():
        other = lists.ImportReleaseListRequest()
        other.CopyFrom(request)
        change(other)
        refused = await refused_with(stub.ImportReleaseList(other, timeout=SECONDS))
        assert (name, refused[1]) == (name, "RELEASE_LIST_MALFORMED")
    first = await stub.ImportReleaseList(request, timeout=SECONDS)
    assert await stub.ImportReleaseList(request, timeout=SECONDS) == first
    request.marks[0].marked_by = "emil"
    assert (await refused_with(stub.ImportReleaseList(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"


ONE: dict[str, Any] = {"master_document_numbers": ["1"]}
REFUSED: tuple[tuple[dict[str, Any], dict[str, int], str], ...] = (
    ({}, {}, "TRANSPORT_MISSING"),
    ({"conveyance_reference": "LX0188"}, {}, "DAY_MALFORMED"),
    ({"master_document_numbers": [""]}, {}, "MASTER_DOCUMENT_MALFORMED"),
    ({"master_document_numbers": ["1"] * 101}, {}, "MASTER_DOCUMENT_MALFORMED"),
    (ONE, {"arrives_at": -HOUR}, "RELEASE_LIST_TIME_OUT_OF_BOUNDS"),
    (ONE, {"valid_until": 7 * DAY + HOUR}, "RELEASE_LIST_TIME_OUT_OF_BOUNDS"),
    (ONE, {"arrives_at": 2 * HOUR, "valid_until": HOUR}, "RELEASE_LIST_TIME_OUT_OF_BOUNDS"),
    (ONE | {"page_size": -1}, {}, "NUMBER_NEGATIVE"),
)


async def test_only_officers_make_and_import_lists_and_only_lists_that_can_be_made(house: House) -> None:
    for role in ("filer", "carrier", "agency", "analyst", "operator"):
        stub = ReleaseListServiceStub(await house.service.channel(role, "somebody"))
        calls: tuple[tuple[Any, Any], ...] = (
            (stub.ExportReleaseList, lists.ExportReleaseListRequest()),
            (stub.ImportReleaseList, lists.ImportReleaseListRequest()),
            (stub.ListReleaseListKeys, lists.ListReleaseListKeysRequest()),
        )
        for call, request in calls:
            assert (role, (await refused_with(call(request, timeout=SECONDS)))[1]) == (role, "ROLE_NOT_ALLOWED")
    stub = ReleaseListServiceStub(await house.service.channel("officer", "otto"))
    now = await house.service.service.database.now()

    def asked(fields: dict[str, Any], ahead: dict[str, int]) -> Any:
        request = lists.ExportReleaseListRequest(**fields)
        for name, micros in ahead.items():
            getattr(request, name).FromMicroseconds(now + micros)
        return stub.ExportReleaseList(request, timeout=SECONDS)

    for fields, ahead, reason in REFUSED:
        assert (fields, ahead, (await refused_with(asked(fields, ahead)))[1]) == (fields, ahead, reason)
    assert (await asked(ONE, {"arrives_at": 2 * HOUR, "valid_until": 2 * HOUR})).page.last


def test_decisions_and_outcomes_are_those_of_the_contract() -> None:
    for ours, theirs, prefix in (
        (Decision, lists.ReleaseListDecision, "RELEASE_LIST_DECISION_"),
        (MarkOutcome, lists.ReleaseListOutcome, "RELEASE_LIST_OUTCOME_"),
    ):
        assert {f"{prefix}{each.name}": int(each) for each in ours} == {name: n for name, n in theirs.items() if n}

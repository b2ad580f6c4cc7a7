"""Goods leave by a signed list while the system is not reachable, and the import afterwards releases what is as listed and reports the rest."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.client.clearance import release_lists as files
from libs.client.errors import LuxorError
from libs.customs.release_list import Page, public_key_of
from libs.server.page_tokens import PageTokens
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import release_lists_pb2 as lists
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


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (lambda rows: [rows[0].replace("LX0188", "LX0189"), *rows[1:]], 1),
        (lambda rows: [*rows[:2], rows[2].replace("STAY", "RELEASE"), *rows[3:]], 3),
        (lambda rows: [*rows[:2], rows[2].replace("H-RED-1", "H-RED-2"), *rows[3:]], 3),
        (lambda rows: [*rows[:2], *rows[3:]], 3),
        (lambda rows: [*rows[:2], rows[1], *rows[2:]], 3),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], 2),
        (lambda rows: [*rows[:3], *rows[4:]], 5),
        (lambda rows: [*rows[:3], rows[3].replace("MORE", "LAST")], 4),
        (lambda rows: rows[:4], 4),
        (lambda rows: [*rows, rows[1]], 7),
        (lambda rows: [*rows[:5], rows[5][:-2] + ("00" if rows[5][-2:] != "00" else "11")], 6),
    ],
)  # fmt: skip
async def test_a_change_of_a_list_is_found_where_it_is(house: House, tmp_path: Path, change: Any, row: int) -> None:
    await house.filed(["GREEN-1", "RED-1", "GREEN-2"])
    path = tmp_path / "list.csv"
    await made(house, path, page_size=2)
    rows = path.read_text().splitlines()
    assert len(rows) == 6, "a header, two lines, a signature, one line, a signature"
    path.write_text("".join(f"{each}\n" for each in change(rows)))
    with pytest.raises(LuxorError) as error:
        files.read_list(path)
    assert error.value.reason == "RELEASE_LIST_DAMAGED"
    assert f"row {row} " in error.value.sentence


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
    for each in (forged, replace(listed, pages=[replace(listed.pages[0], entries=entries)])):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await imported(house, each, [])
        assert (
            "RELEASE_LIST_NOT_AUTHENTIC" in str(error.value.details())
            or error.value.code().name == "FAILED_PRECONDITION"
        )


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


async def test_marks_belong_to_one_list_and_a_change_of_them_is_found(house: House, tmp_path: Path) -> None:
    await house.filed(["GREEN-1", "GREEN-2"])
    listed = await made(house, tmp_path / "list.csv")
    at = listed.header.made_at
    marks = marked(listed, at, H_GREEN_1="RELEASED", H_GREEN_2="HELD")
    assert [(each.house, each.decision, each.at) for each in marks] == [
        ("H-GREEN-1", "RELEASED", at),
        ("H-GREEN-2", "HELD", at),
    ]
    path = listed.path.with_suffix(".marks")
    rows = path.read_text().splitlines()
    for changed, row in (
        ([rows[0], rows[1].replace("RELEASED", "HELD"), rows[2]], 2),
        ([rows[0], rows[2]], 2),
        ([rows[0], rows[2], rows[1]], 2),
    ):
        path.write_text("".join(f"{each}\n" for each in changed))
        with pytest.raises(LuxorError, match=f"row {row} "):
            files.read_marks(path, listed)
    path.write_text("".join(f"{each}\n" for each in rows))
    other = await made(house, tmp_path / "other.csv")
    with pytest.raises(LuxorError, match="row 1 "):
        files.read_marks(path, other)


async def test_at_the_door_only_goods_that_may_leave_in_time_are_marked_as_released(
    house: House, tmp_path: Path
) -> None:
    await house.filed(["GREEN-1", "RED-1"])
    listed = await made(house, tmp_path / "list.csv")
    path, header = tmp_path / "marks.csv", listed.header
    assert header.valid_until == header.made_at + DAY
    for house_document, at, reason in (
        ("H-RED-1", header.made_at, "RELEASE_LIST_STAYS"),
        ("H-GREEN-1", header.made_at - 1_000, "RELEASE_LIST_EXPIRED"),
        ("H-GREEN-1", header.valid_until + 1_000, "RELEASE_LIST_EXPIRED"),
        ("H-GREEN-9", header.made_at, "RELEASE_LIST_HOUSE_UNCLEAR"),
    ):
        with pytest.raises(LuxorError, match=reason):
            files.mark(listed, path, house=house_document, decision="RELEASED", at=at, by="dora")
    assert not path.exists()
    files.mark(listed, path, house="H-GREEN-1", decision="RELEASED", at=header.valid_until, by="dora")
    files.mark(listed, path, house="H-RED-1", decision="HELD", at=header.valid_until + DAY, by="dora")
    assert [each.decision for each in files.read_marks(path, listed)] == ["RELEASED", "HELD"]


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
    references = ["GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4", "GREEN-5", "GREEN-6", "GREEN-7"]
    mrns = await house.filed(references)
    held, controlled, matched, amended, lifted, invalidated, stays = mrns
    listed = await made(house, tmp_path / "list.csv")
    await hold(house, held, lifted)
    await hold(house, lifted, verb="Release")
    await ordered(house, order(controlled, EXAMINATION))
    await hear(house.desk, screening(filings(["GREEN-3"])))
    await house.desk.consume(filings(["GREEN-4"], version=2))
    await dispose(house, disposal(invalidated, pb.DISPOSAL_KIND_INVALIDATED))
    marks = marked(listed, listed.header.made_at, **{f"H_{each.replace('-', '_')}": "RELEASED" for each in references})
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("CHANGED", "HELD", False),
        "H-GREEN-2": ("CHANGED", "EXAMINATION", False),
        "H-GREEN-3": ("CHANGED", "HELD", False),
        "H-GREEN-4": ("CHANGED", "HELD", False),
        "H-GREEN-5": ("CHANGED", "HELD", False),
        "H-GREEN-6": ("CHANGED", "INVALIDATED", False),
        "H-GREEN-7": ("RELEASED", "RELEASED", False),
    }
    # What was not held is now: it is in the officers' work list, with the reason.
    request = pb.ListConsignmentsRequest(state=pb.STATE_HELD)
    listed_now = await (await house.stub("officer", "olga")).ListConsignments(request, timeout=SECONDS)
    reasons = {each.mrn: list(each.decision.reasons) for each in listed_now.consignments}
    assert {mrn for mrn, each in reasons.items() if "RELEASE_LIST_DISCREPANCY" in each} == {amended, lifted}
    assert set(reasons) == {held, matched, amended, lifted}
    assert (await status(house, controlled)).state == pb.STATE_EXAMINATION
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


async def test_a_mark_in_the_future_or_before_the_end_of_the_time_for_an_inspection_releases_nothing(
    house: House, tmp_path: Path
) -> None:
    house.desk.neighbours.risk = answering({"GREEN-2": ServiceSpan(delay_minutes=60)})
    await house.filed(["GREEN-1", "GREEN-2"])
    until = lists.ExportReleaseListRequest()
    until.arrives_at.FromMicroseconds(await house.service.service.database.now() + 2 * HOUR)
    listed = await made(house, tmp_path / "list.csv", arrives_at=until.arrives_at)
    assert told(listed) == {"H-GREEN-1": True, "H-GREEN-2": True}
    marked(listed, listed.header.made_at + HOUR // 2, H_GREEN_1="RELEASED")
    marks = marked(listed, listed.header.made_at, H_GREEN_2="RELEASED")
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("OUT_OF_TIME", "HELD", False),
        "H-GREEN-2": ("OUT_OF_TIME", "HELD", False),
    }


async def test_an_expired_list_releases_nothing_that_left_after_it(house: House, tmp_path: Path) -> None:
    await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    fresh = await made(house, tmp_path / "list.csv")
    # The same list, made three hours and expired one hour ago, signed with the key of the deployment.
    seed = (await PageTokens(house.service.service.database).derived_keys(PURPOSE))[fresh.header.key_number]
    limit = fresh.header.made_at - HOUR
    header = replace(fresh.header, made_at=limit - 2 * HOUR, arrives_at=limit - 2 * HOUR, valid_until=limit)
    page = replace(fresh.pages[0], header=header, previous=header.digest)
    listed = replace(fresh, header=header, pages=[replace(page, signature=page.sign(seed))])
    with pytest.raises(LuxorError, match="RELEASE_LIST_EXPIRED"):
        listed.check_valid(fresh.header.made_at)
    first = marked(listed, limit, H_GREEN_1="RELEASED")
    marks = marked(listed, limit + 1_000, H_GREEN_2="RELEASED")
    marks = marked(listed, header.made_at - 1_000, H_GREEN_3="RELEASED")
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
    mrns = await house.filed(["GREEN-1", "GREEN-2", "GREEN-3"])
    await house.desk.consume(filings(["GREEN-3"], version=2))
    listed = await made(house, tmp_path / "list.csv")
    assert [each.version for each in listed.entries] == [1, 1, 2]
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
    }
    # Ingestion's feed brings the filings again; then they are imported.
    await house.filed(["GREEN-1", "GREEN-2"])
    assert await imported(house, listed, marks) == {
        "H-GREEN-1": ("RELEASED", "RELEASED", False),
        "H-GREEN-2": ("HELD", "HELD", False),
        "H-GREEN-3": ("CHANGED", "HELD", True),
    }
    assert (await status(house, mrns[0])).state == pb.STATE_RELEASED


async def test_a_repeated_request_gets_the_first_answer_and_other_content_is_refused(
    house: House, tmp_path: Path
) -> None:
    await house.filed(["GREEN-1"])
    stub = ReleaseListServiceStub(await house.service.channel("officer", "otto"))
    exported = await stub.ExportReleaseList(
        lists.ExportReleaseListRequest(master_document_numbers=[MASTER]), timeout=SECONDS
    )
    request = lists.ImportReleaseListRequest(request_id="r1", page=exported.page)
    mark = request.marks.add(line=1, decision=lists.RELEASE_LIST_DECISION_RELEASED, marked_by="dora")
    mark.marked_at.CopyFrom(exported.page.header.made_at)
    first = await stub.ImportReleaseList(request, timeout=SECONDS)
    assert await stub.ImportReleaseList(request, timeout=SECONDS) == first
    request.marks[0].marked_by = "emil"
    assert (await refused_with(stub.ImportReleaseList(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"


@pytest.mark.parametrize("role", ["filer", "carrier", "agency", "analyst", "operator"])
async def test_only_officers_make_and_import_lists(house: House, role: str) -> None:
    stub = ReleaseListServiceStub(await house.service.channel(role, "somebody"))
    calls: tuple[tuple[Any, Any], ...] = (
        (stub.ExportReleaseList, lists.ExportReleaseListRequest()),
        (stub.ImportReleaseList, lists.ImportReleaseListRequest()),
        (stub.ListReleaseListKeys, lists.ListReleaseListKeysRequest()),
    )
    for call, request in calls:
        assert (await refused_with(call(request, timeout=SECONDS)))[1] == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("fields", "ahead", "reason"),
    [
        ({}, {}, "TRANSPORT_MISSING"),
        ({"conveyance_reference": "LX0188"}, {}, "DAY_MALFORMED"),
        ({"master_document_numbers": [""]}, {}, "MASTER_DOCUMENT_MALFORMED"),
        ({"master_document_numbers": ["1"] * 101}, {}, "MASTER_DOCUMENT_MALFORMED"),
        ({"master_document_numbers": ["1"]}, {"arrives_at": -HOUR}, "RELEASE_LIST_TIME_OUT_OF_BOUNDS"),
        ({"master_document_numbers": ["1"]}, {"valid_until": 7 * DAY + HOUR}, "RELEASE_LIST_TIME_OUT_OF_BOUNDS"),
        (
            {"master_document_numbers": ["1"]},
            {"arrives_at": 2 * HOUR, "valid_until": HOUR},
            "RELEASE_LIST_TIME_OUT_OF_BOUNDS",
        ),
        ({"master_document_numbers": ["1"]}, {"arrives_at": 2 * HOUR, "valid_until": 2 * HOUR}, ""),
        ({"master_document_numbers": ["1"], "page_size": -1}, {}, "NUMBER_NEGATIVE"),
    ],
)
async def test_a_list_that_cannot_be_made_is_refused(
    house: House, fields: dict[str, Any], ahead: dict[str, int], reason: str
) -> None:
    stub = ReleaseListServiceStub(await house.service.channel("officer", "otto"))
    request = lists.ExportReleaseListRequest(**fields)
    now = await house.service.service.database.now()
    for name, micros in ahead.items():
        getattr(request, name).FromMicroseconds(now + micros)
    if reason:
        assert (await refused_with(stub.ExportReleaseList(request, timeout=SECONDS)))[1] == reason
    else:
        assert (await stub.ExportReleaseList(request, timeout=SECONDS)).page.last


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request.marks[0].ClearField("marked_at"),
        lambda request: request.marks[0].ClearField("marked_by"),
        lambda request: request.marks[0].ClearField("decision"),
        lambda request: setattr(request.marks[0], "line", 2),
        lambda request: setattr(request.marks[0], "line", 0),
        lambda request: request.page.ClearField("previous_digest"),
        lambda request: request.page.ClearField("header"),
    ],
)
async def test_a_malformed_import_is_refused(house: House, change: Any) -> None:
    await house.filed(["GREEN-1"])
    stub = ReleaseListServiceStub(await house.service.channel("officer", "otto"))
    exported = await stub.ExportReleaseList(
        lists.ExportReleaseListRequest(master_document_numbers=[MASTER]), timeout=SECONDS
    )
    request = lists.ImportReleaseListRequest(request_id="r1", page=exported.page)
    mark = request.marks.add(line=1, decision=lists.RELEASE_LIST_DECISION_RELEASED, marked_by="dora")
    mark.marked_at.CopyFrom(exported.page.header.made_at)
    change(request)
    assert (await refused_with(stub.ImportReleaseList(request, timeout=SECONDS)))[1] == "RELEASE_LIST_MALFORMED"


def test_decisions_and_outcomes_are_those_of_the_contract() -> None:
    for ours, theirs, prefix in (
        (Decision, lists.ReleaseListDecision, "RELEASE_LIST_DECISION_"),
        (MarkOutcome, lists.ReleaseListOutcome, "RELEASE_LIST_OUTCOME_"),
    ):
        assert {f"{prefix}{each.name}": int(each) for each in ours} == {name: n for name, n in theirs.items() if n}

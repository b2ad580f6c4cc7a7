"""Attachments of cases: stored once by their hash, within limits, verified, and deleted with their last case."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import grpc
import pytest

from libs.customs.time import MICROS_PER_DAY
from libs.store.errors import StoreError
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.clearance.v1 import controls_pb2
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub
from services.clearance.cases.case import replay
from services.clearance.commands.cases.attach import drop_uploads
from services.clearance.commands.cases.purge import purge_cases
from tests.clearance import controls
from tests.clearance.controls import answer, answered, order, ordered
from tests.clearance.desk_commands import waiting_for_a_lock
from tests.clearance.service_client import SECONDS, House, refused_with

PART = 1_048_576
MEGA = PART
PDF, TEXT = pb.CONTENT_TYPE_PDF, pb.CONTENT_TYPE_TEXT
SELECTION = pb.CASE_RELATION_SELECTION
INVOICE = b"%PDF-1.7\n" + bytes(range(256)) * 8_200  # three parts, as 2 MiB and a little


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


async def stub(house: House, by: str = "olga", role: str = "officer") -> CaseServiceStub:
    return CaseServiceStub(await house.service.channel(role, by))


async def opened(house: House, request_id: str = "o1") -> int:
    request = pb.OpenCaseRequest(request_id=request_id, title="t", relation=SELECTION)
    return int((await (await stub(house)).OpenCase(request, timeout=SECONDS)).case.number)


async def upload_part(house: House, content: bytes, place: int, by: str = "olga", **fields: Any) -> bool:
    data = content[place * PART : (place + 1) * PART]
    request = pb.UploadContentRequest(
        **{"sha256": digest(content), "bytes": len(content), "part": place, "data": data, **fields}
    )
    return bool((await (await stub(house, by)).UploadContent(request, timeout=SECONDS)).stored)


async def upload(house: House, content: bytes, by: str = "olga") -> None:
    for part in range(-(-len(content) // PART)):
        await upload_part(house, content, part, by)


async def attach(
    house: House, content: bytes, *numbers: int, by: str = "olga", request_id: str = "t1", **fields: Any
) -> list[tuple[int, str]]:
    request = pb.AttachToCasesRequest(
        **{
            "request_id": request_id,
            "cases": [pb.CaseRef(number=number) for number in numbers],
            "sha256": digest(content),
            "name": "invoice.pdf",
            "content_type": PDF,
            **fields,
        }
    )
    results = (await (await stub(house, by)).AttachToCases(request, timeout=SECONDS)).results
    return [(each.version, each.error.reason) for each in results]


async def read(
    house: House, number: int, content: bytes, part: int, role: str = "officer"
) -> pb.ReadAttachmentResponse:
    request = pb.ReadAttachmentRequest(number=number, sha256=digest(content), part=part)
    return await (await stub(house, "ana", role)).ReadAttachment(request, timeout=SECONDS)


async def rows(house: House, table: str) -> int:
    async with house.desk.store.database.connection() as reading:
        return int(await reading.raw.fetchval(f"select count(*) from {table}"))


async def drop(house: House, today: int) -> None:
    """Delete what is to be deleted by a day; the housekeeping of the service may be at it."""
    left = 1
    while left:
        await drop_uploads(house.desk.store, today)
        left = await rows(house, f"content_upload where not stored and day < {today - 2}")


async def test_a_content_is_stored_once_and_read_in_parts_that_have_its_hash(house: House) -> None:
    first, second = await opened(house), await opened(house, "o2")
    # In any order, and each as often as its answer is lost.
    for part in (2, 0, 1, 0):
        assert not await upload_part(house, INVOICE, part)
    assert await attach(house, INVOICE, first, note="from the seller") == [(2, "")]
    assert await attach(house, INVOICE, first, note="from the seller") == [(2, "")], "a repeat"
    assert await attach(house, INVOICE, first, second, by="otto", request_id="t2", name="copy.pdf") == [
        (2, ""),
        (2, ""),
    ]
    # A note of what is attached already is an event of its own.
    assert await attach(house, INVOICE, first, by="otto", request_id="t3", note="see page 2") == [(3, "")]
    assert await upload_part(house, INVOICE, 0, by="otto"), "no part is needed"
    assert (await rows(house, "content"), await rows(house, "content_part"), await rows(house, "content_upload")) == (
        1,
        3,
        1,
    )
    parts = [await read(house, second, INVOICE, part, "analyst") for part in range(3)]
    assert b"".join(each.data for each in parts) == INVOICE
    assert {each.parts for each in parts} == {3}
    attachment = parts[0].attachment
    assert (attachment.name, attachment.content_type, attachment.bytes, attachment.attached_by, attachment.sha256) == (
        "copy.pdf", PDF, len(INVOICE), "otto", digest(INVOICE),
    )  # fmt: skip
    caller = await stub(house)
    case = await caller.GetCase(pb.GetCaseRequest(number=second), timeout=SECONDS)
    assert list(case.attachments) == [attachment]
    events = (await caller.ListCaseEvents(pb.ListCaseEventsRequest(number=first), timeout=SECONDS)).events
    assert (events[1].note, events[1].attachment.sha256, events[1].by) == ("from the seller", digest(INVOICE), "olga")
    noted = pb.CaseEvent(change=pb.CASE_CHANGE_NOTED, by="otto", note="see page 2", version=3, at=events[2].at)
    assert list(events[2:]) == [noted]
    replayed = replay(first, events)
    assert set(replayed.attachments) == {digest(INVOICE)}
    async with house.desk.store.database.connection() as reading:
        assert (await house.desk.store.cases.find(reading, [first]))[first] == replayed.case
    assert await caller.GetCase(pb.GetCaseRequest(number=second, verified=True), timeout=SECONDS) == case
    unknown = pb.ReadAttachmentRequest(number=second, sha256=digest(b"other"), part=0)
    assert (await refused_with(caller.ReadAttachment(unknown, timeout=SECONDS)))[1] == "CONTENT_UNKNOWN"
    for number, part, reason in ((second, 3, "CONTENT_PART_MALFORMED"), (999, 0, "CASE_UNKNOWN")):
        assert (await refused_with(read(house, number, INVOICE, part)))[1] == reason


async def test_what_a_control_cites_by_its_hash_leads_to_the_cases_that_have_it(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await ordered(house, order(mrn))
    document = controls_pb2.ControlDocument(type="N380", number="INV-17", sha256=digest(INVOICE))
    await answered(house, answer(mrn, documents=[document]))
    number, _ = await opened(house, "k1"), await opened(house, "k2")
    await upload(house, INVOICE)
    await attach(house, INVOICE, number)
    (control,) = await controls.listed(house)
    cited = control.control.documents[0].rpartition("sha256:")[2]
    request = pb.ListCasesRequest(sha256=cited)
    assert [each.number for each in (await (await stub(house)).ListCases(request, timeout=SECONDS)).cases] == [number]
    request = pb.ListCasesRequest(sha256=digest(b"other"))
    assert not (await (await stub(house)).ListCases(request, timeout=SECONDS)).cases


async def test_altered_missing_and_unknown_contents_are_not_attached(house: House) -> None:
    number = await opened(house)
    assert (await refused_with(attach(house, INVOICE, number)))[1] == "CONTENT_UNKNOWN"
    await upload_part(house, INVOICE, 0)
    await upload_part(house, INVOICE, 2)
    assert (await refused_with(attach(house, INVOICE, number)))[1] == "CONTENT_INCOMPLETE"
    assert (await refused_with(attach(house, INVOICE, number, by="otto")))[1] == "CONTENT_UNKNOWN", "it is olga's"
    await upload_part(house, INVOICE, 1, data=b"x" * PART)
    assert (await refused_with(attach(house, INVOICE, number)))[1] == "CONTENT_ALTERED"
    # What was altered is out of the way at once, and the right content is uploaded.
    await upload(house, INVOICE)
    other = upload_part(house, INVOICE, 1, data=b"y" * PART)
    assert (await refused_with(other))[1] == "CONTENT_PART_DIFFERS"
    assert (await refused_with(attach(house, INVOICE, number)))[1] == "CONTENT_UNKNOWN", "all of it was abandoned"
    await upload(house, INVOICE)
    assert await attach(house, INVOICE, number) == [(2, "")]
    await drop(house, 3)
    assert (await rows(house, "content_upload"), await rows(house, "content_part")) == (1, 3)
    with pytest.raises(StoreError, match="23001"):
        async with house.desk.store.database.transaction() as tx:
            await tx.raw.execute("update content_part set data = ''")
    # Bytes that change in the store all the same do not leave it.
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("alter table content_part disable trigger final")
        await tx.raw.execute("update content_part set data = overlay(data placing 'z' from 77) where part = 1")
    assert await refused_with(read(house, number, INVOICE, 1)) == (grpc.StatusCode.DATA_LOSS, "CONTENT_DAMAGED")
    assert (await read(house, number, INVOICE, 0)).data == INVOICE[:PART]


BEYOND: list[tuple[dict[str, Any], str]] = [
    ({"sha256": "A" * 64}, "CONTENT_HASH_MALFORMED"),
    ({"sha256": "a" * 63}, "CONTENT_HASH_MALFORMED"),
    ({"bytes": 0}, "CONTENT_SIZE_OUT_OF_BOUNDS"),
    ({"bytes": 32 * MEGA + 1}, "CONTENT_SIZE_OUT_OF_BOUNDS"),
    ({"part": 32}, "CONTENT_PART_MALFORMED"),
    ({"part": 1}, "CONTENT_PART_MALFORMED"),
    ({"data": b""}, "CONTENT_PART_MALFORMED"),
    ({"data": b"1234567"}, "CONTENT_PART_MALFORMED"),
    ({"data": b"123456789"}, "CONTENT_PART_MALFORMED"),
]


async def test_contents_beyond_the_limits_are_refused_and_those_at_them_are_taken(house: House) -> None:
    number = await opened(house)
    content = b"12345678"
    for fields, reason in BEYOND:
        assert (await refused_with(upload_part(house, content, 0, **fields)))[1] == reason, fields
    largest = b"%PDF-" + b"\0" * (32 * MEGA - 5)
    last = largest[31 * PART :]
    assert (await refused_with(upload_part(house, largest, 31, data=last[:-1])))[1] == "CONTENT_PART_MALFORMED"
    assert not await upload_part(house, largest, 31)
    for fields, reason in (
        ({"name": " "}, "CONTENT_NAME_MALFORMED"),
        ({"name": "../a"}, "CONTENT_NAME_MALFORMED"),
        ({"name": "a\\b"}, "CONTENT_NAME_MALFORMED"),
        ({"name": "n" * 141}, "CONTENT_NAME_MALFORMED"),
        ({"content_type": 0}, "CONTENT_TYPE_UNFIT"),
        ({"content_type": pb.CONTENT_TYPE_PNG}, "CONTENT_TYPE_UNFIT"),
        ({"cases": []}, "BATCH_EMPTY"),
    ):
        await upload(house, INVOICE)
        assert (await refused_with(attach(house, INVOICE, number, **fields)))[1] == reason, fields
    # Eight contents of one officer wait, and no ninth; another officer has eight of its own.
    for each in range(6):
        await upload_part(house, b"%d" % each, 0)
    assert (await refused_with(upload_part(house, b"ninth", 0)))[1] == "CONTENT_UPLOADS_TOO_MANY"
    await upload_part(house, b"ninth", 0, by="otto")
    assert await attach(house, INVOICE, number, name="n" * 140) == [(2, "")]
    assert not await upload_part(house, b"ninth", 0), "one of them was attached"
    # A case takes 100 attachments, and 256 MiB of them: what is there is written to the store, so that the test does not upload it.
    many, large = await opened(house, "o2"), await opened(house, "o3")
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("insert into content select sha256(i::text::bytea), 1, 0 from generate_series(1, 100) i")
        await tx.raw.execute(
            "insert into case_attachment select $1, sha256(i::text::bytea), 'a', 1, 1, 1, 'x' from generate_series(1, 99) i",
            many,
        )
        await tx.raw.execute(
            "insert into case_attachment values ($1, sha256('100'), 'a', 1, $2, 1, 'x')",
            large,
            256 * MEGA - len(INVOICE),
        )
    assert await attach(house, INVOICE, many, large, request_id="t2") == [(2, ""), (2, "")]
    await upload(house, b"%PDF-", by="anna")
    full = [(2, "CASE_ATTACHMENTS_FULL")]
    assert await attach(house, b"%PDF-", many, large, by="anna") == full * 2
    assert await attach(house, b"%PDF-", number, by="anna", request_id="t2") == [(3, "")]


async def test_officers_who_attach_one_content_at_once_store_it_once(house: House) -> None:
    numbers = [await opened(house, f"o{each}") for each in range(4)]
    officers = ("anna", "bert", "carl", "dora")
    await asyncio.gather(*(upload(house, INVOICE, by) for by in officers))
    answers = await asyncio.gather(
        *(attach(house, INVOICE, *numbers[: place + 1], by=by) for place, by in enumerate(officers))
    )
    assert {reason for answer in answers for _, reason in answer} == {""}
    assert (await rows(house, "content"), await rows(house, "case_attachment")) == (1, 4)
    await drop(house, 10**6)
    assert (await rows(house, "content_upload"), await rows(house, "content_part")) == (1, 3)
    assert [(await read(house, number, INVOICE, 2)).data for number in numbers] == [INVOICE[2 * PART :]] * 4


async def test_an_upload_that_is_being_deleted_is_neither_attached_nor_continued(house: House) -> None:
    number, store, large = await opened(house), house.desk.store, b"%PDF-" + b"a" * (9 * PART)
    await upload(house, large)
    async with store.database.transaction() as tx:
        ident = await tx.raw.fetchval("select id from content_upload")
        await tx.raw.execute("update content_upload set day = day - 3")
    # The first parts are deleted, behind the verification of the attaching call.
    async with store.database.transaction() as tx:
        assert await tx.raw.fetchval("select id from content_upload for update") == ident
        attaching = asyncio.create_task(attach(house, large, number))
        await waiting_for_a_lock(house.desk, tx)
        assert not await store.contents.drop(tx, ident)
    assert (await refused_with(attaching))[1] == "CONTENT_UNKNOWN"
    assert not await rows(house, "content")
    # A replica of the release before leaves it to its uploader: what lacks a part is not stored.
    await upload(house, large)
    async with store.database.transaction() as tx:
        await tx.raw.fetch("select from content_upload for update")
        attaching = asyncio.create_task(attach(house, large, number))
        await waiting_for_a_lock(house.desk, tx)
        await tx.raw.execute("delete from content_part where part = 3")
    assert (await refused_with(attaching))[1] == "CONTENT_INCOMPLETE"
    await upload(house, large)
    assert await attach(house, large, number) == [(2, "")]


async def test_one_officer_attaches_a_content_by_parallel_calls_and_uploads_it_meanwhile(house: House) -> None:
    numbers = [await opened(house, f"o{each}") for each in range(6)]
    for turn in range(4):
        content = INVOICE + b"%d" % turn
        await upload(house, content)
        calls = [attach(house, content, number, request_id=f"p{turn}-{place}") for place, number in enumerate(numbers)]
        uploads = [upload_part(house, content, 0) for _ in range(6)]
        answers = await asyncio.gather(*calls, *uploads)
        assert answers[:6] == [[(turn + 2, "")]] * 6
    assert not await rows(house, "content_upload where not stored"), "nothing is left of what is attached"


async def test_the_limit_of_uploads_counts_what_waits_and_nothing_else(house: House) -> None:
    number = await opened(house)

    async def begun(content: bytes) -> str:
        try:
            return str(await upload_part(house, content, 0))
        except grpc.aio.AioRpcError as error:
            return str(error.code())

    answers = await asyncio.gather(*(begun(b"%%PDF-%d" % each) for each in range(20)))
    assert answers.count("False") == await rows(house, "content_upload") == 8, answers
    # Otto's are stored by a colleague: attached to one of his cases, uploaded once more, or in the case already.
    for place in range(3):
        content = b"%PDF-otto" + b"%d" % place
        await upload(house, content, "otto")
        await upload(house, content, "anna")
        await attach(house, content, number, by="anna", request_id=f"a{place}")
    other = await opened(house, "o2")
    await attach(house, b"%PDF-otto0", other, by="otto", request_id="b0")
    assert await upload_part(house, b"%PDF-otto1", 0, by="otto")
    await attach(house, b"%PDF-otto2", number, by="otto", request_id="b2")
    assert not await rows(house, "content_upload where not stored and uploader like '%otto'")
    # What is abandoned is deleted at once.
    for place in range(3):
        content = b"x" * PART + b"%d" % place
        await upload_part(house, content, 0, by="dora")
        shorter = upload_part(house, content[:-1], 0, by="dora", sha256=digest(content))
        assert (await refused_with(shorter))[1] == "CONTENT_PART_DIFFERS"
    assert not await rows(house, "content_upload where uploader like '%dora'")
    assert await rows(house, "content_part") == 8 + 3


async def test_what_is_changed_of_an_attachment_or_its_content_is_found_when_the_case_is_verified(house: House) -> None:
    number = await opened(house)
    await upload(house, INVOICE)
    await attach(house, INVOICE, number)
    caller, verified = await stub(house), pb.GetCaseRequest(number=number, verified=True)
    for column, forged in (
        ("name", "'a.pdf'"), ("content_type", "7"), ("bytes", "bytes + 1"), ("attached_at", "attached_at - 1"), ("attached_by", "'eve'"),
    ):  # fmt: skip
        await caller.GetCase(verified, timeout=SECONDS)
        async with house.desk.store.database.transaction() as tx:
            before = await tx.raw.fetchval(f"select {column} from case_attachment")
            await tx.raw.execute(f"update case_attachment set {column} = {forged}")
        assert (await refused_with(caller.GetCase(verified, timeout=SECONDS)))[1] == "CASE_INCONSISTENT", column
        async with house.desk.store.database.transaction() as tx:
            await tx.raw.execute(f"update case_attachment set {column} = $1", before)
    await caller.GetCase(verified, timeout=SECONDS)
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("delete from content_part where part = 1")
    assert (await refused_with(caller.GetCase(verified, timeout=SECONDS)))[1] == "CASE_INCONSISTENT"


async def test_contents_are_deleted_with_the_last_case_that_has_them(house: House) -> None:
    store = house.desk.store
    first, second = await opened(house), await opened(house, "o2")
    await upload(house, INVOICE)
    await attach(house, INVOICE, first, second)
    await upload(house, b"%PDF-", by="otto")
    caller = await stub(house)
    for number, left in ((first, (1, 3)), (second, (0, 0))):
        close = pb.CloseCasesRequest(
            request_id=f"c{number}", cases=[pb.CaseRef(number=number, expected_version=2)], outcome=pb.CASE_OUTCOME_CORRECTED, reason="PAID"
        )  # fmt: skip
        await caller.CloseCases(close, timeout=SECONDS)
        late = await attach(house, INVOICE, number, request_id=f"late{number}")
        assert late == [(3, "CASE_CLOSED")]
        async with store.database.transaction() as tx:
            await tx.raw.execute("update case_file set closed_at = closed_at - $1", 31 * MICROS_PER_DAY)
        assert await purge_cases(store, 30) == 1
        await drop(house, 3)
        assert (await rows(house, "content"), await rows(house, "content_part")) == (left[0], left[1] + 1)
    async with store.database.connection() as reading:
        day = await store.now(reading) // MICROS_PER_DAY
    await drop(house, day + 2)
    assert await rows(house, "content_part") == 1, "otto has two days"
    await drop(house, day + 3)
    assert await rows(house, "content_part") == await rows(house, "content_upload") == 0

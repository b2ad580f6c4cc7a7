"""Notices over real gRPC, TLS and PostgreSQL: read again from any cursor, and awaited."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.feed.v1 import feed_pb2
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with


async def test_notices_can_be_read_again_from_any_cursor(house: House) -> None:
    (green, red) = await house.filed(["GREEN-1", "RED-1"])
    await house.filed(["GREEN-9"], filer="rival")
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    officer = await house.stub("officer", "olga")
    act = pb.ReleaseConsignmentsRequest(request_id="o1", reason="FINE", consignments=[pb.ConsignmentRef(mrn=red)])
    await officer.ReleaseConsignments(act, timeout=SECONDS)
    stub = await house.stub()
    expected = [
        (green, pb.NOTICE_KIND_DECIDED, 1),
        (red, pb.NOTICE_KIND_HELD, 1),
        (green, pb.NOTICE_KIND_RELEASED, 2),
        (red, pb.NOTICE_KIND_ARRIVED, 2),
        (red, pb.NOTICE_KIND_RELEASED, 3),
    ]

    async def read(after: str, size: int) -> list[tuple[list[tuple[str, int, int]], str]]:
        pages = []
        while True:
            request = pb.PullNoticesRequest(cursor=after, page_size=size)
            answer = await stub.PullNotices(request, timeout=SECONDS)
            if not answer.notices:
                return pages
            after = answer.next_cursor
            pages.append(([(each.mrn, each.kind, each.version) for each in answer.notices], after))

    await house.desk.told()
    pages = await read("", 1)
    assert [each for page, _ in pages for each in page] == expected
    assert [each for page, _ in await read("", 1_000) for each in page] == expected
    for place, (_, cursor) in enumerate(pages):
        rest = [each for page, _ in pages[place + 1 :] for each in page]
        assert [each for page, _ in await read(cursor, 1) for each in page] == rest
    first = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices[0]
    assert (first.local_reference, first.payable_minor, first.debt_account) == (
        "GREEN-1", 380, "deferred:DE123456789012345",
    )  # fmt: skip
    carrier = await house.stub("carrier", "wings")
    told = (await carrier.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
    assert {each.kind for each in told} == {pb.NOTICE_KIND_RELEASED, pb.NOTICE_KIND_ARRIVED}
    assert [(each.local_reference, each.debt_account) for each in told] == [("", "")] * 4
    assert (await refused_with(stub.PullNotices(pb.PullNoticesRequest(cursor="nope"), timeout=SECONDS)))[1] == (
        "NOTICE_CURSOR_MALFORMED"
    )


def cursor_of_0_2(epoch: int, day: int, xid: int, seq: int = 0) -> str:
    """Write a cursor as release 0.2 gave it; anybody can."""
    raw = feed_pb2.Cursor(epoch=epoch, day=day, xid=xid, seq=seq).SerializeToString()
    return "n" + urlsafe_b64encode(raw).decode().rstrip("=")


async def test_a_cursor_that_release_0_2_gave_leads_on_and_one_made_up_changes_no_feed(house: House) -> None:
    first = await house.filed(["GREEN-1"])
    await house.desk.told()
    database = house.service.service.database

    async def asked(statement: str) -> list[tuple[int, ...]]:
        async with database.connection() as reading:
            return [tuple(row) for row in await reading.raw.fetch(statement)]

    places = await asked("select epoch, day, xid, seq from notice where key like '%shop%' order by xid, seq")
    second = await house.filed(["GREEN-2"])
    await house.desk.told()
    epochs = await asked("select epoch, end_xid from feed_epoch order by epoch")
    stub = await house.stub()

    async def after(cursor: str) -> list[str]:
        return [
            each.mrn for each in (await stub.PullNotices(pb.PullNoticesRequest(cursor=cursor), timeout=SECONDS)).notices
        ]

    assert await after("") == [*first, *second]
    epoch, day, xid, seq = places[-1]
    assert await after(cursor_of_0_2(epoch, day - 1, xid, seq)) == second
    newest = epochs[-1][0]
    for made_up in (
        cursor_of_0_2(int(time.time() * 1000) + 1_000, 1, 1),
        cursor_of_0_2(newest + 1, 1, 1),
        cursor_of_0_2(newest, day, 2**40),
        cursor_of_0_2(2**63 - 1, 2**31 - 1, 2**63 - 1, 2**63 - 1),
    ):
        for role, ident in (("filer", "shop"), ("filer", "nobody"), ("carrier", "wings")):
            other = await house.stub(role, ident)
            call = other.PullNotices(pb.PullNoticesRequest(cursor=made_up), timeout=SECONDS)
            assert (await refused_with(call))[1] == "NOTICE_CURSOR_EXPIRED"
    assert await asked("select epoch, end_xid from feed_epoch order by epoch") == epochs
    assert await after("") == [*first, *second]


async def test_who_waits_for_notices_is_told_as_soon_as_there_is_one(house: House) -> None:
    stub = await house.stub()
    begin = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).next_cursor
    waiting = asyncio.ensure_future(
        stub.PullNotices(pb.PullNoticesRequest(cursor=begin, wait_millis=20_000), timeout=25)
    )
    (mrn,) = await house.filed(["GREEN-1"])
    assert [each.mrn for each in (await waiting).notices] == [mrn]

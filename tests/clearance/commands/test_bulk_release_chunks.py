"""A bulk release works in chunks, and each consignment is released once, wherever a call ends and however often it is repeated."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
import pytest_asyncio

from libs.server.identity import Identity, Role
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.requests import RequestReused
from luxor.clearance.v1.clearance_pb2 import RETURN_REASON_UNDELIVERED
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.bulk.release import BulkRelease, Order, Progress
from services.clearance.commands.presentation.present import Present
from services.clearance.commands.returns.bulk_return import BulkReturn
from services.clearance.commands.summarize import summarize
from services.clearance.consignment.returns import BulkOrder
from services.clearance.consignment.state.hold_causes import HoldCause, Selection
from services.clearance.consignment.transitions import Event
from services.clearance.store import Store
from tests.clearance.desk import MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive, check_versions
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy

ROWS = 23
HELD_FOR_DEBT = 3
CHUNKS = 5
"""Chunks of five consignments in which ROWS are released; the last one has three."""
LOST = {
    "the server never got the COMMIT": Cut(sent=0),
    "it got a part of it": Cut(sent=len(COMMIT) - 1),
    "its answer was lost": Cut(answered=0),
    "a part of its answer was lost": Cut(answered=len(ANSWER) - 1),
}


def order(master: str = MASTER, *, conveyance: str = "", officers: bool = False, page_size: int = 100) -> Order:
    return Order(
        Transport(() if conveyance else (master,), conveyance, 0, 2**62),
        Selection(override_officers=officers),
        "otto",
        "IN_ORDER",
        "",
        page_size,
    )


def request(request_id: str = "b1", digest: bytes = b"d") -> Request:
    return Request("officer/otto", request_id, digest, TRACE)


def read(answer: bytes) -> Progress:
    return msgspec.json.decode(answer, type=Progress)


async def release(store: Store, given: Order | None = None, chunk_rows: int = 5, request_id: str = "b1") -> Progress:
    command = BulkRelease(store, chunk_rows=chunk_rows)
    return read(await command.run(given or order(), request=request(request_id), encode=msgspec.json.encode))


async def held(desk: Desk, master: str = MASTER, first: int = 0) -> list[str]:
    """File goods in three batches, of which some are held for their debt, and let them arrive."""
    names = [f"{'BARE' if number % 8 == 3 else 'RED'}-{first + number}" for number in range(ROWS)]
    numbers = []
    for begin in (0, 4, 16):
        filed = filings(names[begin : {0: 4, 4: 16, 16: ROWS}[begin]], master=master)
        await desk.consume(filed)
        numbers += mrns(filed)
    await arrive(desk, arrival(master), request_id=f"a-{master}")
    return numbers


def check(found: Progress, *, rows: int = ROWS, debts: int = HELD_FOR_DEBT) -> None:
    assert (found.consignments, found.released, found.released_before) == (rows, rows - debts, 0)
    assert found.hold_counts == {HoldCause.DEBT_OPEN: debts}
    assert len({mrn for mrn, _ in found.held}) == debts


async def interrupted(proxy: CuttingProxy, work: Callable[[Store], Awaitable[object]]) -> None:
    """Begin a request, and lose the COMMIT of its second chunk."""
    database = Database(proxy.url, name="clearance")
    await database.open()
    proxy.plan([None, None, Cut()])
    with pytest.raises(StoreError):
        await work(Store(database))
    await database.close()


async def nothing_under_way(desk: Desk) -> bool:
    async with desk.store.database.connection() as reading:
        return not await reading.raw.fetchval("select count(*) from bulk_release")


@pytest_asyncio.fixture
async def proxy(database_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(database_url) as opened:
        yield opened


async def test_chunks_of_any_size_release_each_consignment_once(desk: Desk) -> None:
    for place, rows in enumerate((1, 4, 5, 16, ROWS - 1, ROWS, ROWS + 1, 1_000)):
        master = f"160-{place}"
        numbers = await held(desk, master, place * ROWS)
        found = await release(desk.store, order(master), chunk_rows=rows, request_id=master)
        check(found)
        assert [mrn for mrn, _ in found.held] == [mrn for number, mrn in enumerate(numbers) if number % 8 == 3]
    await check_versions(desk)
    assert await nothing_under_way(desk)


async def test_a_flight_goes_on_from_one_document_to_the_next(desk: Desk) -> None:
    for place, master in enumerate(("160-3", "160-1", "160-2")):
        await held(desk, master, place * ROWS)
    check(await release(desk.store, order(conveyance="LX0188")), rows=3 * ROWS, debts=3 * HELD_FOR_DEBT)
    await check_versions(desk)


async def test_a_flight_of_more_documents_than_one_look_reads_is_released_whole(desk: Desk) -> None:
    masters = [f"160-{number:04d}" for number in range(205)]
    for master in masters:
        async with desk.store.database.transaction() as tx:
            await desk.store.arrivals.lock_documents(tx, [master])
            await desk.store.arrivals.record(tx, [arrival(master)], request_id=master, at=1)
    for place, master in enumerate((masters[0], masters[99], masters[100], masters[204])):
        await desk.consume(filings([f"RED-{place}"], master=master))
    found = await release(desk.store, order(conveyance="LX0188"), chunk_rows=2)
    assert (found.consignments, found.released) == (4, 4)


async def test_the_documents_of_a_flight_are_found_by_their_index_however_many_arrivals_are_stored(desk: Desk) -> None:
    async with desk.store.database.transaction() as tx:
        await tx.raw.execute(
            "insert into arrival (document_number, carrier, request_id, conveyance_reference, arrived_at, place, recorded_at, pending, day) "
            "select 'D' || n, 'wings', 'r', 'LX' || n, n, '', n, false, 1 from generate_series(1, 20000) n"
        )
    async with desk.store.database.connection() as reading:
        plan = await reading.raw.fetch(
            "explain select distinct document_number from (select a.document_number from arrival a where a.conveyance_reference = 'LX7' "
            "and a.conveyance_reference <> '' and a.arrived_at >= 0 and a.arrived_at < 9 and a.reversed_at is null offset 0) d "
            "where document_number > '' order by document_number limit 100"
        )
        found = await desk.store.arrivals.documents_after(reading, "LX7", 0, 9, "", 100)
    text = "\n".join(record[0] for record in plan)
    assert "conveyance_reference" in text
    assert "pkey" not in text
    assert "Seq Scan" not in text
    assert found == ["D7"]


async def test_a_transport_without_consignments_is_answered_with_zeros(desk: Desk) -> None:
    assert (await release(desk.store)).consignments == 0
    assert (await release(desk.store, order(conveyance="LX0188"), request_id="b2")).consignments == 0


@pytest.mark.parametrize("lost", list(LOST))
async def test_a_repeat_after_a_lost_commit_goes_on_after_the_last_chunk_that_was_committed(
    desk: Desk, proxy: CuttingProxy, lost: str
) -> None:
    for commit in range(CHUNKS + 1):
        master = f"160-{commit}"
        await held(desk, master, commit * ROWS)
        database = Database(proxy.url, name="clearance")
        await database.open()
        try:
            proxy.plan([*[None] * commit, LOST[lost]])
            with pytest.raises(StoreError):
                await release(Store(database), order(master), request_id=master)
            assert proxy.done == commit + 1
        finally:
            await database.close()
        found = await release(desk.store, order(master), request_id=master)
        check(found)
        again = await release(desk.store, order(master), request_id=master)
        assert again == found, "and the complete answer stays the same"
    await check_versions(desk)
    assert await nothing_under_way(desk)


async def test_a_repeat_after_a_cancelled_call_goes_on(desk: Desk) -> None:
    await held(desk)
    seen = 0
    for turns in range(1, 400, 7):
        task = asyncio.ensure_future(release(desk.store))
        for _ in range(turns):
            await asyncio.sleep(0)
        seen += not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seen
    check(await release(desk.store))
    await check_versions(desk)


async def test_calls_of_one_request_at_the_same_time_share_its_work(desk: Desk) -> None:
    await held(desk)
    answers = await asyncio.gather(*(release(desk.store, chunk_rows=rows) for rows in (3, 4, 5, 6)))
    for each in answers:
        check(each)
    await check_versions(desk)


@pytest.mark.parametrize("logged", [True, False])
async def test_the_id_of_an_unfinished_request_is_refused_to_all_other_content(
    desk: Desk, proxy: CuttingProxy, logged: bool
) -> None:
    """Also once the log of requests, of which less is stored than of states, has forgotten it."""
    officer = Identity(Role.OFFICER, "otto")
    back = BulkOrder(RETURN_REASON_UNDELIVERED, "020-BACK", "otto", named=False)

    def call(store: Store, name: str, master: str, content: str = "") -> Awaitable[bytes]:
        sent = request(master, digest=f"{name} {content}".encode())
        if name == "release":
            return BulkRelease(store, chunk_rows=5).run(order(master), request=sent, encode=msgspec.json.encode)
        command = Present(store, chunk_rows=5) if name == "present" else BulkReturn(store, back, chunk_rows=5)
        return command.under(master, caller=officer, request=sent, encode=msgspec.json.encode)

    names = ("release", "return", "present")
    for place, name in enumerate(names):
        master = f"160-{place}"
        await held(desk, master, place * ROWS)
        await interrupted(proxy, functools.partial(call, name=name, master=master))
        async with desk.store.database.transaction() as tx:
            assert await tx.raw.fetchval("select count(*) from bulk_release") == 1
            if not logged:
                await tx.raw.execute("delete from request_log")
        for other in names:
            with pytest.raises(RequestReused):
                await call(desk.store, other, master, "other")
        assert read(await call(desk.store, name, master)).consignments == ROWS
        assert await nothing_under_way(desk)
    await check_versions(desk)


async def test_what_a_release_before_stored_of_an_unfinished_request_is_continued(
    desk: Desk, proxy: CuttingProxy
) -> None:
    await held(desk)
    await interrupted(proxy, release)
    async with desk.store.database.transaction() as tx:
        # The cut COMMIT may still take effect: its lock is awaited.
        stored = msgspec.json.decode(await tx.raw.fetchval("select progress from bulk_release for update"))
        assert stored.pop("digest") == b"d".hex()
        await tx.raw.execute("update bulk_release set progress = $1", msgspec.json.encode(stored))
    check(await release(desk.store))


async def test_a_hold_between_two_chunks_is_kept(desk: Desk, proxy: CuttingProxy) -> None:
    numbers = await held(desk)
    await interrupted(proxy, release)
    # The first chunks are released; a colleague holds one of them and one of the next.
    await act(desk, Event.OFFICER_HELD, [numbers[0], numbers[-1]])
    found = await release(desk.store)
    assert found.hold_counts == {HoldCause.DEBT_OPEN: HELD_FOR_DEBT, HoldCause.OFFICER: 1}
    assert found.released == ROWS - HELD_FOR_DEBT - 1, "the first one was released by this request, before the hold"
    states = await desk.states([numbers[0], numbers[-1]])
    assert states.bools("officer_hold").values.tolist() == [True, True]
    await check_versions(desk)


async def test_the_answer_lists_held_goods_up_to_its_limit_over_all_chunks(desk: Desk) -> None:
    numbers = await held(desk)
    found = await release(desk.store, order(page_size=2))
    assert [mrn for mrn, _ in found.held] == [numbers[3], numbers[11]]


async def test_a_summary_says_that_it_did_not_count_all(desk: Desk) -> None:
    """Whole batches are counted, here of 4, 12 and 7, and none is begun once the number is reached."""
    await held(desk)
    for most, counted, incomplete in ((0, 0, True), (1, 4, True), (4, 4, True), (5, 16, True), (17, ROWS, False)):
        found = await summarize(desk.store, MASTER, most)
        assert (most, found.consignments, found.incomplete) == (most, counted, incomplete)
        assert sum(found.hold_counts.values()) == counted

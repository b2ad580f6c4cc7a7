"""Consignments on their way through a whole system: generated before a measurement, then filed, decided, reported and paid.

The full path is what advance data are for: each consignment is decided before it arrives, so it has a second version when it is
released. On the easy path the carrier reports the arrival right behind the filing, mostly before the decision.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg
import usage

from libs.cli.local.supervisor import LocalSystem
from libs.client.revenue.ledger import record_payments
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from luxor.clearance.v1 import clearance_pb2
from luxor.common.v1 import common_pb2
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from luxor.revenue.v1 import ledger_pb2
from services.clearance.store.rows import day_of
from tests.fault.checks import until
from tests.support.flow import Flow, enterable

BATCH = 500
CPS_MAX = 9_000
"""Batches for so many consignments a second are made ahead."""
ON_THE_WAY_MAX, QUICK_ON_THE_WAY_MAX = 30_000, 2_000
IN_FLIGHT = 4
"""Calls of SubmitConsignments at once."""
WATCH_SECONDS = 0.1
BOOKED_SECONDS_MAX = 120
SEED = 20_261_125

Batches = Iterator[Sequence[Consignment]]


def prepared(count: int, change: Callable[[Consignment], None] = lambda _: None) -> Batches:
    """Return `count` batches that are generated and changed now, as bytes, and parsed one by one when they are filed."""
    raws = []
    for rows in Simulator(SEED, "load").batches(count * BATCH, size=BATCH):
        for row in rows:
            change(row)
        raws.append(SubmitConsignmentsRequest(consignments=rows).SerializeToString())
    return (list(SubmitConsignmentsRequest.FromString(raw).consignments) for raw in raws)


class Watch:
    """Waits for states of consignments by reading clearance's store over a connection that does not count as the system's.

    All that is awaited is asked for at once, ten times a second, by key.
    """

    def __init__(self, connection: asyncpg.Connection) -> None:
        """Use a connection of the server's own account to clearance's database."""
        self._connection = connection
        self._awaited: dict[str, list[tuple[bool, asyncio.Future[None]]]] = {}

    @property
    def pid(self) -> int:
        """Process id of the server's process for the connection."""
        return int(self._connection.get_server_pid())

    async def reached(self, mrns: Iterable[str], *, ended: bool) -> None:
        """Wait until consignments are decided; with `ended`, until none of them waits for its arrival any more."""
        loop = asyncio.get_running_loop()
        futures = []
        for mrn in mrns:
            future: asyncio.Future[None] = loop.create_future()
            self._awaited.setdefault(mrn, []).append((ended, future))
            futures.append(future)
        await asyncio.gather(*futures)

    async def run(self) -> None:
        """Read the states again and again; who waits gets the error that ends this."""
        try:
            await self._look()
        except Exception as error:
            for _, future in (each for waits in self._awaited.values() for each in waits):
                if not future.done():
                    future.set_exception(error)
            raise

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            mrns = list(self._awaited)
            if not mrns:
                continue
            records = await self._connection.fetch(
                "select w.mrn, c.state from unnest($1::integer[], $2::text[]) as w(day, mrn) "
                "cross join lateral (select state from consignment c where c.day = w.day and c.mrn = w.mrn offset 0) c",
                [day_of(mrn) for mrn in mrns],
                mrns,
            )
            for record in records:
                self._note(record["mrn"], record["state"] == clearance_pb2.STATE_AWAITING_ARRIVAL)

    def _note(self, mrn: str, waits: bool) -> None:
        left = []
        for ended, future in self._awaited.pop(mrn):
            if ended and waits:
                left.append((ended, future))
            elif not future.done():
                future.set_result(None)
        if left:
            self._awaited[mrn] = left


@asynccontextmanager
async def watching(system: LocalSystem) -> AsyncIterator[Watch]:
    """Run a Watch on a system."""
    connection = await asyncpg.connect(usage.server_url(system, "luxor_clearance"))
    watch = Watch(connection)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await connection.close()


class FullPath:
    """Files batches in their order, and takes each to its end: decided, arrived, paid where it is held for that, released.

    A master document arrives when all consignments under it are decided; neighbouring batches share one.
    """

    def __init__(
        self, flow: Flow, watch: Watch, payer: str, *, on_the_way_max: int = ON_THE_WAY_MAX, earlier: int = 0
    ) -> None:
        """Use a flow; consignments that `payer` declares have no account, so they are paid one by one.

        `earlier` is how many consignments of today the system has counted already.
        """
        self._on_the_way_max = on_the_way_max
        self._earlier = earlier
        self._flow = flow
        self._watch = watch
        self._payer = payer
        self._filing = asyncio.Semaphore(IN_FLIGHT)
        self._decided: asyncio.Task[None] | None = None
        self.filed = 0
        self.mrns: list[str] = []
        self.paid: list[str] = []

    async def closed(self, batches: Batches, seconds: float, name: str) -> None:
        """File for so many seconds as fast as the system takes it, with at most so many consignments on their way."""
        places = asyncio.Semaphore(self._on_the_way_max // BATCH)
        await self._all(self._until(batches, time.monotonic() + seconds), name, places)

    async def open(self, batches: Batches, seconds: float, rate: int, name: str) -> None:
        """File on a schedule, `rate` consignments a second, whatever the answers are."""
        await self._all(self._scheduled(batches, int(seconds * rate / BATCH), BATCH / rate), name, None)

    @property
    def today(self) -> int:
        """How many consignments the system has accepted today, the earlier ones included."""
        return self._earlier + len(self._flow.filed.accepted)

    async def settled(self) -> None:
        """Wait until all is released or held and counted, and clearance knows of the last payments."""
        await self._flow.settled(self.today)
        paid = list(self.paid)

        async def all_paid() -> bool:
            statuses = await self._flow.statuses(paid[-BATCH:])
            return all(each.debt.status == common_pb2.DEBT_STATUS_PAID for each in statuses)

        if paid:
            await until(all_paid, "clearance knows of all payments", seconds=BOOKED_SECONDS_MAX)

    @staticmethod
    async def _until(batches: Batches, ends_at: float) -> AsyncIterator[Sequence[Consignment]]:
        for rows in batches:
            yield rows
            if time.monotonic() >= ends_at:
                return

    @staticmethod
    async def _scheduled(batches: Batches, count: int, interval: float) -> AsyncIterator[Sequence[Consignment]]:
        started = time.monotonic()
        for place in range(count):
            await asyncio.sleep(max(0.0, started + place * interval - time.monotonic()))
            yield next(batches)

    async def _all(
        self, batches: AsyncIterator[Sequence[Consignment]], name: str, places: asyncio.Semaphore | None
    ) -> None:
        tasks: list[asyncio.Task[None]] = []
        open_masters: dict[str, list[asyncio.Task[list[str]]]] = {}
        ahead: Sequence[Consignment] | None = None
        place = 0

        async def begin(rows: Sequence[Consignment], following: Sequence[Consignment]) -> None:
            nonlocal place
            if places is not None:
                await places.acquire()
            later = {row.master_document.number for row in following}
            decided = asyncio.create_task(self._decide(rows, f"{name}-{place}"))
            for row in rows:
                tasks_of = open_masters.setdefault(row.master_document.number, [])
                if not tasks_of or tasks_of[-1] is not decided:
                    tasks_of.append(decided)
            ending = {number: open_masters.pop(number) for number in {*open_masters} - later}
            task = asyncio.create_task(self._end(rows, decided, ending, f"{name}-arrival-{place}"))
            if places is not None:
                task.add_done_callback(lambda _: places.release())
            tasks.append(task)
            place += 1

        async for rows in batches:
            if ahead is not None:
                await begin(ahead, rows)
            ahead = rows
        if ahead is not None:
            await begin(ahead, ())
        await asyncio.gather(*tasks)

    async def _decide(self, rows: Sequence[Consignment], name: str) -> list[str]:
        async with self._filing:
            answer = await self._flow.submit(rows, name)
        mrns = [each.receipt.mrn for each in answer.results if each.HasField("receipt")]
        self.filed += len(mrns)
        self.mrns += mrns
        if mrns:
            await self._watch.reached({mrns[0], mrns[len(mrns) // 2], mrns[-1]}, ended=False)
        return mrns

    async def _end(
        self,
        rows: Sequence[Consignment],
        decided: asyncio.Task[list[str]],
        ending: dict[str, list[asyncio.Task[list[str]]]],
        name: str,
    ) -> None:
        await decided
        for tasks in ending.values():
            await asyncio.gather(*tasks)
        arriving = [row for row in rows if row.master_document.number in ending]
        await self._flow.arrive(arriving, name=name)
        accepted = self._flow.filed.accepted
        known = [accepted[row.local_reference] for row in arriving if row.local_reference in accepted]
        if known:
            await self._watch.reached({known[0], known[-1]}, ended=True)
            await self._pay([row for row in arriving if row.declarant.identifier == self._payer])

    async def _pay(self, rows: Sequence[Consignment]) -> None:
        """Pay what consignments owe at the border that no account secures, each by its MRN."""
        accepted = self._flow.filed.accepted
        statuses = await self._flow.statuses(
            [accepted[row.local_reference] for row in rows if row.local_reference in accepted]
        )
        payments = []
        for status in statuses:
            debt = status.debt
            if debt.status == common_pb2.DEBT_STATUS_OPEN and debt.payable_minor > 0:
                jurisdiction = debt.rulebook_version.partition("/")[0]
                payments.append(
                    ledger_pb2.Payment(
                        id=f"bank-{status.mrn}", reference=status.mrn, jurisdiction=jurisdiction,
                        currency=debt.currency, amount_minor=debt.payable_minor,
                    )
                )  # fmt: skip
        if payments:
            results = await self._flow.persist(lambda: record_payments(self._flow.officer, payments))
            # A payment that overtakes its debt is unmatched at first; the ledger applies it when the debt is posted.
            refused = [each for each in results if each["outcome"] not in ("MATCHED", "UNMATCHED")]
            if refused:
                raise AssertionError(f"payments were not taken: {refused[:3]}")
            self.paid += [payment.reference for payment in payments]


@asynccontextmanager
async def full_path(system: LocalSystem, quick: bool) -> AsyncIterator[tuple[Flow, Watch, FullPath]]:
    """Open what the full path needs: one declarant in twenty has no account and pays consignment by consignment."""
    payer = Simulator(1, "everyday").declarants()[0]
    most = QUICK_ON_THE_WAY_MAX if quick else ON_THE_WAY_MAX
    async with Flow(system, without_account=[payer]) as flow, watching(system) as watch:
        earlier = sum((await flow.counted()).values())
        yield flow, watch, FullPath(flow, watch, payer, on_the_way_max=most, earlier=earlier)


@asynccontextmanager
async def counted_server() -> AsyncIterator[tuple[EmbeddedPostgres, bool]]:
    """Make a server for a system of its own, which starts it; with whether it counts statements. Nothing of it stays."""
    directory = enterable()
    server = EmbeddedPostgres(directory)
    try:
        server.start()
        counts = await usage.count_statements(server)
        server.stop()
        yield server, counts
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


async def cost_of(
    system: LocalSystem, watch: Watch, path: FullPath, work: Coroutine[None, None, None], *, counts: bool
) -> usage.Cost:
    """Wait until all is settled, do the work, and return what its consignments cost until they are settled and posted."""
    await path.settled()
    if counts:
        await usage.reset_statements(system)
    before, stored, filed = usage.Usage(system, without=[watch.pid]), await usage.stored(system), path.filed
    began = time.monotonic()
    await work
    await path.settled()
    await booked(system, path.today)
    seconds, after = time.monotonic() - began, usage.Usage(system, without=[watch.pid])
    count = path.filed - filed
    measured = await usage.statements(system) if counts else []
    return usage.Cost(count, seconds, after.micros(before, count), stored, await usage.stored(system), measured)


BOOKED = """
select (select count(*) from ledger_position where not paged and day >= $1)
    + (select count(distinct each.name) from ledger_position_page cross join lateral unnest(mrn) as each(name) where day >= $1)
"""


async def booked(system: LocalSystem, count: int) -> None:
    """Wait until the ledger has a position of each of `count` consignments of today and yesterday."""
    connection = await asyncpg.connect(usage.server_url(system, "luxor_revenue"))
    yesterday = int(time.time() // 86_400) - 1
    try:

        async def all_of_them() -> bool:
            return bool(await connection.fetchval(BOOKED, yesterday) >= count)

        await until(all_of_them, f"the ledger has {count} consignments", seconds=BOOKED_SECONDS_MAX)
    finally:
        await connection.close()


async def fast(flow: Flow, batches: Batches, seconds: float, before: int) -> tuple[int, float]:
    """Take the easy path as fast as the system takes it; return how many were filed and the seconds until all were counted."""
    started = time.monotonic()
    filed = before
    behind = asyncio.Event()
    behind.set()

    async def look() -> None:
        while True:
            counted = sum((await flow.counted()).values())
            (behind.set if filed - counted < ON_THE_WAY_MAX else behind.clear)()
            await asyncio.sleep(0.25)

    async def one(place: int, rows: Sequence[Consignment]) -> None:
        await flow.submit(rows, f"fast-{place}")
        await flow.arrive(rows, name=f"fast-arrival-{place}")

    looking = asyncio.create_task(look())
    waiting: set[asyncio.Task[None]] = set()
    place = 0
    while time.monotonic() - started < seconds:
        await behind.wait()
        rows = next(batches)
        waiting.add(asyncio.create_task(one(place, rows)))
        place += 1
        filed += len(rows)
        if len(waiting) >= IN_FLIGHT:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    for task in waiting:
        await task
    await flow.settled(filed - len(flow.filed.refused))
    elapsed = time.monotonic() - started
    looking.cancel()
    return filed - before, elapsed

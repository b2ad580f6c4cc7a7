"""The feed alone: events appended, and events pulled over gRPC and committed with their cursors, per second. `make bench-feed`.

Producer and consumer are one process with one PostgreSQL (fsync on); events are appended 500 a transaction over 64 partitions, and the
handler writes nothing, so that what is measured is the feed.
"""

import asyncio
import shutil
import time
from collections.abc import Sequence
from typing import Any

import figures
import grpc
import numpy as np

from libs.columns import Ints, Strings, Table
from libs.feed.consume.consumer import Consumer
from libs.feed.consume.port import GrpcPort
from libs.feed.publish.outbox import Outbox
from libs.feed.publish.service import StatePage
from libs.feed.schema import create_consumer, create_outbox, stamp_epochs
from libs.feed.types import FeedBatch
from libs.store.database import Database, Transaction
from libs.store.embedded.server import EmbeddedPostgres
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2_grpc
from tests.support.calls import CalledFeed
from tests.support.databases import enterable_directory

BATCH = 500
WRITERS = 2
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class NoState:
    """A producer that begins with nothing."""

    async def page(self, tx: Transaction, partitions: Sequence[int], token: bytes, max_rows: int) -> StatePage:
        return StatePage(Table.of(ConsignmentColumns, 0, {}), np.empty(0, np.int64), b"")


class Counting:
    """Counts events and how long after their commit they took effect."""

    def __init__(self) -> None:
        self.events = 0
        self.delays_ms: list[float] = []

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        return batches

    async def apply(self, tx: Transaction, prepared: list[FeedBatch]) -> None:
        self.events += sum(batch.table.rows for batch in prepared)
        now = time.time() * 1_000
        self.delays_ms += [now - batch.committed_at / 1_000 for batch in prepared]


class _Op:
    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sqltext: Any) -> None:
        self.statements.append(str(sqltext))


def filings(rows: int) -> tuple[Table, np.ndarray[Any, np.dtype[np.int64]]]:
    """Columns of about 460 bytes a consignment."""
    chance = np.random.default_rng(1)
    partitions = chance.integers(0, 64, rows)
    names = [chance.bytes(20).hex() for _ in range(rows)]
    columns: dict[str, Any] = {
        "mrn": Strings.of([f"26DE{number:012d}X1" for number in range(rows)]),
        "version": Ints.of(np.ones(rows, np.int64)),
        "partition": Ints.of(partitions),
    }
    for column in (
        "local_reference",
        "consignor_name",
        "consignor_address_street",
        "consignee_name",
        "consignee_address_street",
    ):
        columns[column] = Strings.of([f"{column[:6]} {name} {name[:20]}" for name in names])
    return Table.of(ConsignmentColumns, rows, columns), partitions


async def append(outbox: Outbox, table: Table, partitions: Any, batches: int) -> None:
    """Append from a few writers at once."""
    left = iter(range(batches))

    async def write() -> None:
        for _ in left:
            async with outbox.database.transaction() as tx:
                await outbox.append(tx, table, ConsignmentColumns, partitions)

    await asyncio.gather(*(write() for _ in range(WRITERS)))


async def follow(consumer: Consumer, handler: Counting, events: int) -> None:
    """Step until so many events have taken effect."""
    while handler.events < events:
        await consumer.step()


async def run(server: EmbeddedPostgres, how: figures.Options) -> None:
    """Measure, and print the figures."""
    server.create_database("feed_producer")
    server.create_database("feed_consumer")
    batches = 20 if how.quick else 400
    table, partitions = filings(BATCH)
    size = len(table.serialize(ConsignmentColumns))
    async with (
        Database(server.url("feed_producer"), name="producer") as producing,
        Database(server.url("feed_consumer"), name="consumer") as consuming,
    ):
        durability = await producing.durability()
        figures.machine({"postgresql": str(durability), "batch": f"{BATCH} rows, {size / BATCH:.0f} bytes a row"})
        for database, steps in ((producing, (create_outbox, stamp_epochs)), (consuming, (create_consumer,))):
            op = _Op()
            for step in steps:
                step(op)
            async with database.connection() as work:
                for statement in op.statements:
                    await work.raw.execute(statement)
        outbox = Outbox(producing, ConsignmentColumns.DESCRIPTOR.full_name)
        listening = grpc.aio.server(options=[("grpc.max_send_message_length", MESSAGE_BYTES_MAX)])
        feed_pb2_grpc.add_FeedServiceServicer_to_server(CalledFeed(outbox, NoState()), listening)  # type: ignore[no-untyped-call]
        port = listening.add_insecure_port("127.0.0.1:0")
        await listening.start()
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
        ) as channel:
            handler = Counting()
            consumer = Consumer(
                "producer",
                database=consuming,
                pull=GrpcPort(channel, consumer=CalledFeed.caller, message_class=ConsignmentColumns),
                handler=handler,
                key=lambda rows: rows.strings("mrn").tolist(),
                message_class=ConsignmentColumns,
                replica="bench",
            )
            await consumer.step()
            appended, followed, both, total = [], [], [], 0
            for _ in range(how.runs):
                began = time.perf_counter()
                await append(outbox, table, partitions, batches)
                appended.append(batches * BATCH / (time.perf_counter() - began))
                total += batches * BATCH
                began = time.perf_counter()
                await follow(consumer, handler, total)
                followed.append(batches * BATCH / (time.perf_counter() - began))
                total += batches * BATCH
                began = time.perf_counter()
                await asyncio.gather(append(outbox, table, partitions, batches), follow(consumer, handler, total))
                both.append(batches * BATCH / (time.perf_counter() - began))
            if handler.events != total:
                raise RuntimeError(f"{handler.events} events took effect where {total} were appended")
            # Alone: one batch at a time, from its writing to its effect.
            handler.delays_ms.clear()
            for _ in range(5 if how.quick else 100):
                total += BATCH
                await asyncio.gather(append(outbox, table, partitions, 1), follow(consumer, handler, total))
            delays = sorted(handler.delays_ms)
            await consumer.close()
        await listening.stop(None)
    figures.figure("feed_append_rate_eps", appended, "1/s")
    figures.figure("feed_follow_rate_eps", followed, "1/s")
    figures.figure("feed_rate_eps", both, "1/s")
    figures.figure("feed_delay_p50_ms", [delays[len(delays) // 2]], "ms")
    figures.figure("feed_delay_p99_ms", [delays[int(len(delays) * 0.99)]], "ms")


def main() -> None:
    how = figures.options(__doc__ or "", runs=3)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=())
    try:
        server.start()
        asyncio.run(run(server, how))
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

"""A handler that fails at chosen rows, and the applier of its pages; without a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from libs.feed.consume.effects import Applier
from libs.feed.consume.leases import LeasedPartition, Leases, Move
from libs.feed.dead_letters.letters import Letter, Letters
from libs.feed.types import Cursor, EventError, FeedBatch
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.feed.alone import START, Applied, Store, batch_of
from tests.feed.conftest import Event, events_of, mrns

NEXT, LATER = Cursor(1, 1, 20, 0), Cursor(1, 1, 30, 0)
BAD = EventError("NO_SUCH_THING", "it names nothing")


class Handler(Applied):
    """Also fails for rows that are together, or only at the commit; and says in which order it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.together: tuple[str, ...] = ()
        self.refuses: Callable[[list[Event]], Exception | None] = lambda events: None
        self.calls: list[str] = []

    async def prepare(self, batches: list[FeedBatch]) -> list[FeedBatch]:
        self.calls.append("prepare")
        names = {mrn for mrn, _, _ in events_of(batches)}
        if self.together and set(self.together) <= names:
            raise BAD
        return await super().prepare(batches)

    async def apply(self, tx: Any, prepared: list[FeedBatch]) -> None:
        self.calls.append("apply")
        assert tx.moves or self.is_trial, "the cursors move first"
        if (error := self.refuses(events_of(prepared))) is not None:
            raise error
        await super().apply(tx, prepared)

    is_trial = False


class Case:
    """An applier of partitions 3 to 5."""

    def __init__(self) -> None:
        self.store, self.handler = Store(), Handler()
        self.leases = Leases(self.store, "producer", "one")  # type: ignore[arg-type]
        self.leases.by_partition = {each: LeasedPartition(1, START, True, START) for each in (3, 4, 5)}
        self.letters = Letters("producer", ConsignmentColumns)
        self.applier = Applier(
            self.store, self.handler, mrns, self.leases, self.letters, name="follower", source="producer"  # type: ignore[arg-type]
        )  # fmt: skip

    def waits(self, partition: int, key: str) -> None:
        self.letters.remember([letter(key, partition)])

    async def isolate(self, *batches: FeedBatch, unexpected: bool = False, also: Sequence[int] = ()) -> None:
        self.handler.is_trial = True  # a trial moves nothing
        partitions = {each for batch in batches for each in batch.partitions.tolist()} | set(also)
        await self.applier.isolate(batches, dict.fromkeys(partitions, Move(1, LATER)), unexpected=unexpected)


def letter(key: str, partition: int = 3, number: int = 0) -> Letter:
    return Letter(partition, key, batch_of([(key, 1, partition)]), "X", "x", number)


def rows(*keys: str, partition: int = 3, xid: int = 11, **more: Any) -> FeedBatch:
    return batch_of([(key, 1, partition) for key in keys], xid, **more)

"""Dead letters in the consumer's database: events with the reason why they could not be applied, and later events of their keys."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from google.protobuf.message import Message

from libs.columns import Table
from libs.feed.types import Cursor, FeedBatch
from libs.store.database import Transaction

WAITING_BEHIND: Final = "WAITING_BEHIND"
UNEXPECTED: Final = "UNEXPECTED"
MESSAGE_CHARACTERS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Letter:
    """An event that is set aside: the row, its key, and why."""

    partition: int
    key: str
    batch: FeedBatch
    """The event alone: a batch of one row."""
    reason: str
    message: str
    id: int = 0


_INSERT: Final = """
    insert into dead_letter (source, partition, key, epoch, day, xid, seq, row, snapshot, schema, schema_version, committed_at,
        traceparent, reason, message, tries, tried_at, payload)
    select $1, v.partition, v.key, v.epoch, v.day, v.xid, v.seq, v.row, v.snapshot, v.schema, v.schema_version, v.committed_at,
        v.traceparent, v.reason, v.message, (v.reason <> 'WAITING_BEHIND')::integer,
        case when v.reason <> 'WAITING_BEHIND' then clock_timestamp() end, v.payload
    from unnest($2::smallint[], $3::text[], $4::bigint[], $5::integer[], $6::bigint[], $7::bigint[], $8::integer[], $9::boolean[],
        $10::text[], $11::integer[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::bytea[])
        with ordinality as v(partition, key, epoch, day, xid, seq, row, snapshot, schema, schema_version, committed_at, traceparent,
            reason, message, payload, place)
    order by v.place
"""
_WAITING: Final = (
    "select distinct partition, key from dead_letter where source = $1 and partition = any($2::smallint[])"
)
_REQUESTED: Final = """
    update dead_letter d set replay = true
    from (select distinct partition, key from dead_letter where source = $1 and partition = any($2::smallint[]) and replay) asked
    where d.source = $1 and d.partition = asked.partition and d.key = asked.key and not d.replay
"""
_HEADS: Final = """
    select distinct on (partition, key) * from dead_letter
    where source = $1 and partition = any($2::smallint[]) and replay order by partition, key, id limit $3
"""
_REST: Final = """
    select distinct d.partition, d.key from dead_letter d join unnest($2::smallint[], $3::text[]) as v(partition, key)
        on d.partition = v.partition and d.key = v.key where d.source = $1
"""
_FAILED: Final = """
    update dead_letter set tries = tries + 1, tried_at = clock_timestamp(), reason = $2, message = $3 where id = $1
"""
_CALM: Final = "update dead_letter set replay = false where source = $1 and partition = $2 and key = $3"


class Letters:
    """The dead letters of one source. Which keys have letters is kept in memory for the partitions that are held."""

    def __init__(self, source: str, message_class: type[Message]) -> None:
        self._source = source
        self._message_class = message_class
        self._waiting: dict[int, set[str]] = {}

    @property
    def any_waiting(self) -> bool:
        """Whether a key of a held partition has letters."""
        return any(self._waiting.values())

    def waits(self, partition: int, key: str) -> bool:
        """Return whether events of this key wait for a dead letter."""
        return key in self._waiting.get(partition, ())

    async def load(self, raw: Any, partitions: Iterable[int]) -> None:
        """Read which keys of partitions just gained have letters."""
        wanted = list(partitions)
        self._waiting |= {partition: set() for partition in wanted}
        for row in await raw.fetch(_WAITING, self._source, wanted):
            self._waiting[row["partition"]].add(row["key"])

    def forget(self, partitions: Iterable[int]) -> None:
        """Forget the letters of partitions whose lease ended."""
        for partition in partitions:
            self._waiting.pop(partition, None)

    async def insert(self, tx: Transaction, letters: Sequence[Letter]) -> None:
        """Write letters in the transaction that moves the cursors beyond them; `remember` follows its commit."""
        if not letters:
            return
        batches = [letter.batch for letter in letters]
        await tx.raw.execute(
            _INSERT,
            self._source,
            [letter.partition for letter in letters],
            [letter.key for letter in letters],
            [batch.cursor.epoch for batch in batches],
            [batch.cursor.day for batch in batches],
            [batch.cursor.xid for batch in batches],
            [batch.cursor.seq for batch in batches],
            [int(batch.rows[0]) for batch in batches],
            [batch.snapshot for batch in batches],
            [batch.schema for batch in batches],
            [batch.schema_version for batch in batches],
            [batch.committed_at for batch in batches],
            [batch.trace for batch in batches],
            [letter.reason for letter in letters],
            [letter.message[:MESSAGE_CHARACTERS_MAX] for letter in letters],
            [batch.table.serialize(self._message_class) for batch in batches],
        )

    def remember(self, letters: Iterable[Letter]) -> None:
        """Note keys whose letters were committed."""
        for letter in letters:
            self._waiting.setdefault(letter.partition, set()).add(letter.key)

    async def heads(self, tx: Transaction, partitions: Iterable[int], limit: int) -> list[Letter]:
        """The first letter of each key whose replay was asked for; asking for one letter asks for all of its key."""
        held = list(partitions)
        await tx.raw.execute(_REQUESTED, self._source, held)
        return [self._letter(row) for row in await tx.raw.fetch(_HEADS, self._source, held, limit)]

    async def delete(self, tx: Transaction, letters: Sequence[Letter]) -> bool:
        """Delete letters that were applied in this transaction; return False if one was deleted before, and then it must roll back."""
        done = await tx.raw.execute(
            "delete from dead_letter where id = any($1::bigint[])", [letter.id for letter in letters]
        )
        return int(done.rpartition(" ")[2]) == len(letters)

    async def failed(self, tx: Transaction, letter: Letter, reason: str, message: str) -> None:
        """Record that a letter failed again; the later letters of its key still wait."""
        await tx.raw.execute(_FAILED, letter.id, reason, message[:MESSAGE_CHARACTERS_MAX])
        await tx.raw.execute(_CALM, self._source, letter.partition, letter.key)

    async def settle(self, raw: Any, letters: Sequence[Letter]) -> None:
        """After letters were deleted, let the events of keys without further letters pass again."""
        rows = await raw.fetch(
            _REST, self._source, [letter.partition for letter in letters], [letter.key for letter in letters]
        )
        rest = {(row["partition"], row["key"]) for row in rows}
        for letter in letters:
            if (letter.partition, letter.key) not in rest:
                self._waiting.get(letter.partition, set()).discard(letter.key)

    def _letter(self, row: Any) -> Letter:
        batch = FeedBatch(
            Table.parse(self._message_class, row["payload"]),
            np.array([row["partition"]], np.int64),
            Cursor(row["epoch"], row["day"], row["xid"], row["seq"]),
            np.array([row["row"]], np.int64),
            row["committed_at"],
            row["traceparent"],
            row["schema"],
            row["schema_version"],
            row["snapshot"],
        )
        return Letter(row["partition"], row["key"], batch, row["reason"], row["message"], row["id"])

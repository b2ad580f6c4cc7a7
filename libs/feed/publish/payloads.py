"""Cache of the payloads of batches, for as long as they are likely to be requested again.

A batch is written once and then read by every consumer soon after. The process that wrote it does not read it from the database: it only
compares when the row was written. A batch of another process is read once.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from libs.columns import Table
from libs.feed.types import BatchRef

CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
_TABLES_MAX: Final = 16
_OVERHEAD_BYTES: Final = 400

# The days are in sight, so that a plan has their partitions alone.
_ROWS: Final = """
    from unnest((select $2::integer[]), (select $3::bigint[])) as r(day, id)
    cross join lateral (select * from batch where batch.day = any($1::integer[]) and batch.day = r.day and batch.id = r.id offset 0) b
"""
_FETCH: Final = f"""
    select b.day, b.id, b.created_at, b.row_count, b.schema_version, b.schema, b.traceparent, b.payload {_ROWS}
"""
_STAMPS: Final = f"select b.day, b.id, b.created_at {_ROWS}"


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch as it is stored; `created_at` is microseconds since 1970-01-01 UTC."""

    ref: BatchRef
    created_at: int
    row_count: int
    schema_version: int
    schema: str
    trace: str
    payload: bytes

    def message_class(self) -> type[Message]:
        """The class of the payload's message; raises KeyError where its module was never imported."""
        return message_class_of(self.schema)


def message_class_of(schema: str) -> type[Message]:
    """The message class of a full name; raises KeyError where its module was never imported."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(schema))


class Payloads:
    """Reads stored batches through a cache: payloads are bounded by bytes, tables by their number."""

    def __init__(self, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._cache: OrderedDict[BatchRef, StoredBatch] = OrderedDict()
        self._tables: OrderedDict[BatchRef, Table] = OrderedDict()
        self._written: set[BatchRef] = set()
        """Batches of this process that are not compared with their rows yet."""

    def add_written(self, batch: StoredBatch, table: Table) -> None:
        """Cache a batch of this process after its commit, with the table that it was written from; before its first use it is compared with its row.

        A server that lost the transaction may assign its number again; the row then has another time.
        """
        self._drop(batch.ref)
        self.add(batch)
        self._written.add(batch.ref)
        self._add_table(batch.ref, table)

    def add(self, batch: StoredBatch) -> None:
        """Cache a batch that was read; not earlier, because the number of a lost transaction may be assigned again."""
        if batch.ref not in self._cache:
            self._cache[batch.ref] = batch
            self._bytes += len(batch.payload) + _OVERHEAD_BYTES
        while self._bytes > self._bytes_max and len(self._cache) > 1:
            self._drop(next(iter(self._cache)))

    def _drop(self, ref: BatchRef) -> None:
        old = self._cache.pop(ref, None)
        if old is not None:
            self._bytes -= len(old.payload) + _OVERHEAD_BYTES
        self._written.discard(ref)
        self._tables.pop(ref, None)

    async def _compare(self, raw: Any, refs: Sequence[BatchRef]) -> None:
        """Drop cached batches whose rows were written at another time, or are not stored."""
        rows = await raw.fetch(_STAMPS, *_keys(refs))
        stamps = {BatchRef(day, number): created_at for day, number, created_at in rows}
        for ref in refs:
            cached = self._cache.get(ref)
            if cached is not None and stamps.get(ref) != cached.created_at:
                self._drop(ref)
            self._written.discard(ref)

    async def fetch(self, raw: Any, refs: Iterable[BatchRef]) -> dict[BatchRef, StoredBatch]:
        """Return the batches, from memory or from the database over `raw`; raises LookupError for one that is not stored."""
        found: dict[BatchRef, StoredBatch] = {}
        missing: list[BatchRef] = []
        refs = list(refs)
        if written := [ref for ref in refs if ref in self._written]:
            await self._compare(raw, written)
        for ref in refs:
            cached = self._cache.get(ref)
            if cached is None:
                missing.append(ref)
            else:
                self._cache.move_to_end(ref)
                found[ref] = cached
        if missing:
            rows = await raw.fetch(_FETCH, *_keys(missing))
            for day, number, created_at, row_count, schema_version, schema, trace, payload in rows:
                ref = BatchRef(day, number)
                batch = StoredBatch(ref, created_at, row_count, schema_version, schema, trace, payload)
                found[ref] = batch
                self.add(batch)
            lost = [ref for ref in missing if ref not in found]
            if lost:
                raise LookupError(
                    f"the batches {lost[:3]} are announced but not stored; batches must live as long as the outbox"
                )
        return found

    def table(self, batch: StoredBatch) -> Table:
        """Return the payload as a table; the last few are cached, because several readers slice the same batch."""
        table = self._tables.get(batch.ref)
        if table is None:
            table = Table.parse(batch.message_class(), batch.payload)
            self._add_table(batch.ref, table)
        self._tables.move_to_end(batch.ref)
        return table

    def _add_table(self, ref: BatchRef, table: Table) -> None:
        self._tables[ref] = table
        while len(self._tables) > _TABLES_MAX:
            self._tables.popitem(last=False)


def _keys(refs: Sequence[BatchRef]) -> tuple[list[int], list[int], list[int]]:
    """Return the distinct days of batches, and the day and number of each."""
    days = [ref.day for ref in refs]
    return sorted(set(days)), days, [ref.id for ref in refs]

"""Announcing facts in the transaction that makes them true."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.feed.publish.payloads import Payloads, StoredBatch
from libs.feed.types import BatchRef
from libs.store.database import Database, Transaction

ROWS_MAX: Final = 65_535
"""Row numbers are stored in 16 bits."""

Groups: TypeAlias = tuple[list[Any], list[int], list[bytes]]

_APPEND: Final = "select day, id, created_at from feed_append($1, $2, $3, $4, $5, $6, $7, $8)"
# What the transaction says of the batch for a trigger on `batch`; set before the function is called, since it is part of an argument.
_APPEND_NOTED: Final = _APPEND.replace("$5", "$5 || left(set_config('luxor.batch_note', $9, true), 0)")
_NOTIFY: Final = "select feed_notify($1, $2, $3, $4, $5)"


class Outbox:
    """The outbox of one service: a batch's payload once, and for each partition in it the numbers of its rows."""

    def __init__(
        self, database: Database, schema: str, schema_version: int = 1, *, payloads: Payloads | None = None
    ) -> None:
        """`schema` is the full name of the columns message that batches are written in."""
        self.database = database
        self.schema = schema
        self.schema_version = schema_version
        self.payloads = payloads or Payloads()
        self.listeners: list[Callable[[], None]] = []
        """Called after each commit of this process that announces something."""

    async def append(
        self,
        tx: Transaction,
        table: Table,
        message_class: type[Message],
        partitions: NDArray[Any],
        *,
        trace: str = "",
        note: str = "",
    ) -> BatchRef:
        """Announce the rows of `table`, row i in `partitions[i]` (0 to 63), in the caller's transaction; one round trip.

        The rows stand in the batch as they stand in the table, so row numbers stay good beside the BatchRef returned. A trigger on `batch` reads
        `note` as the setting `luxor.batch_note`. Raises ValueError for no
        row, more than 65,535, a partition out of bounds, or a message class other than the outbox's schema.
        """
        if message_class.DESCRIPTOR.full_name != self.schema:
            raise ValueError(f"this outbox announces {self.schema}, not {message_class.DESCRIPTOR.full_name}")
        if len(partitions) != table.rows:
            raise ValueError(f"{len(partitions)} partitions for {table.rows} rows: each row needs one")
        numbers = np.asarray(partitions)
        if table.rows and not 0 <= int(numbers.min()) <= int(numbers.max()) < PARTITIONS:
            raise ValueError(f"partitions are 0 to {PARTITIONS - 1}")
        return await self._write(tx, table, message_class, group_rows(numbers), trace, note)

    async def store(
        self, tx: Transaction, table: Table, message_class: type[Message], *, trace: str = "", note: str = ""
    ) -> BatchRef:
        """Store a batch that is no event of the feed; a KeyedOutbox may announce it to its own readers."""
        return await self._write(tx, table, message_class, ([], [], []), trace, note)

    async def _write(
        self, tx: Transaction, table: Table, message_class: type[Message], groups: Groups, trace: str, note: str
    ) -> BatchRef:
        if not 0 < table.rows <= ROWS_MAX:
            raise ValueError(f"a batch has 1 to {ROWS_MAX} rows, not {table.rows}")
        schema = message_class.DESCRIPTOR.full_name
        payload = table.serialize(message_class)
        values = (payload, schema, self.schema_version, table.rows, trace, *groups)
        day, number, created_at = await (
            tx.raw.fetchrow(_APPEND_NOTED, *values, note) if note else tx.raw.fetchrow(_APPEND, *values)
        )
        ref = BatchRef(day, number)
        batch = StoredBatch(ref, created_at, table.rows, self.schema_version, schema, trace, payload)
        tx.after_commit(lambda: self._announced(batch, table))
        return ref

    def _announced(self, batch: StoredBatch, table: Table) -> None:
        self.payloads.add_written(batch, table)
        for listener in self.listeners:
            listener()


class KeyedOutbox:
    """Entries of batches for readers that are named by a text, such as filers and their notices."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    async def append(self, tx: Transaction, batch: BatchRef, keys: Sequence[str] | NDArray[Any]) -> None:
        """Announce the rows of a batch of this same transaction, row i to the reader `keys[i]`; "" announces to no reader.

        Once a batch. Raises ValueError for more than 65,535 rows.
        """
        names = np.asarray(keys, dtype=object)
        if len(names) > ROWS_MAX:
            raise ValueError(f"a batch has at most {ROWS_MAX} rows, not {len(names)}")
        distinct = {name: place for place, name in enumerate(dict.fromkeys(names.tolist()))}
        places = np.fromiter(map(distinct.__getitem__, names.tolist()), np.int64, len(names))
        codes, counts, rows = group_rows(places)
        texts = list(distinct)
        chosen = [place for place, code in enumerate(codes) if texts[code]]
        if chosen:
            await tx.raw.execute(
                _NOTIFY,
                batch.day,
                batch.id,
                [texts[codes[place]] for place in chosen],
                [counts[place] for place in chosen],
                [rows[place] for place in chosen],
            )

    async def append_groups(self, tx: Transaction, batch: BatchRef, groups: Mapping[str, Sequence[int]]) -> None:
        """Announce rows of a batch of this same transaction to each reader, where a row may have several. Rows rise. Once a batch, as `append`."""
        if groups:
            rows = [np.array(each, "<u2") for each in groups.values()]
            counts, numbers = list(map(len, rows)), [each.tobytes() for each in rows]
            await tx.raw.execute(_NOTIFY, batch.day, batch.id, list(groups), counts, numbers)


def group_rows(groups: NDArray[Any]) -> Groups:
    """Group row numbers by a number: the distinct numbers, how many rows each has, and the rows as 16 bits each."""
    if not len(groups):
        return [], [], []
    order = np.argsort(groups, kind="stable")
    distinct, starts = np.unique(groups[order], return_index=True)
    ends = [*starts[1:].tolist(), len(groups)]
    numbers = order.astype("<u2")
    spans = list(zip(starts.tolist(), ends, strict=True))
    return (
        distinct.tolist(),
        [end - start for start, end in spans],
        [numbers[start:end].tobytes() for start, end in spans],
    )

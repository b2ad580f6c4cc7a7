"""The inputs of assessed batches, written with the answers and read by backtests, trainings and the screening after a change of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from libs.store.database import Database, Transaction
from libs.store.tables.inputs import BatchPlace, InputReader, InputTable
from services.risk.elements.stored_inputs import Input, read_answers, unpack_input


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A stored batch, still packed."""

    place: BatchPlace
    purpose: int
    count: int
    lists: str
    """What its parties were screened by last: services.risk.screening.parties.screened_by."""
    columns: bytes
    history: bytes
    answers: bytes | None
    """The stored answers, where they were asked for and are still kept."""

    def unpack(self) -> Input:
        """The batch. Raises InputError."""
        return unpack_input(self.columns, self.history)

    def answered(self, batch_input: Input) -> Table:
        """The answers, a table of AssessmentColumns aligned with the consignments of `batch_input`. Raises InputError."""
        assert self.answers is not None
        return read_answers(self.answers, batch_input.rows).take(batch_input.rows)


_TABLE: Final = InputTable(StoredBatch, "lists", "columns", "history")


async def add_input(
    tx: Transaction, place: tuple[int, int], purpose: int, count: int, lists: str, packed: tuple[bytes, bytes]
) -> None:
    """Store the input of a batch, in the transaction that stores its answers at the same position."""
    await _TABLE.add(tx, place, purpose, count, lists, *packed)


def stored_inputs(database: Database) -> InputReader[StoredBatch]:
    """Return the reader of the stored batches."""
    return InputReader(_TABLE, database)

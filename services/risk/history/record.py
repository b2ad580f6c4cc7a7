"""The compact record of an assessed batch: all that history needs of it, without a name or an address in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns.packing import PackingError, pack, unpack
from services.risk.history.tables.hash_table import BoolArray, IntArray, Keys
from services.risk.history.tables.time_windows import MICROS_PER_MINUTE


class KeyKind(IntEnum):
    """What history is kept by; the place of a kind is its row in `Record.keys`."""

    CONSIGNEE = 0
    ADDRESS = 1
    SELLER = 2
    PLATFORM = 3
    CARRIER = 4


KINDS: Final = len(KeyKind)
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A batch as it was assessed, in its order: n consignments with m items."""

    time: int
    """When it was assessed: microseconds since 1970 by the database's clock; one instant for the whole batch."""
    mark: int
    """Of the key that the hashes were made with (`Hasher.mark`)."""
    keys: Keys
    """Per kind and consignment the keyed hash of who it is, 0 where nobody is told; shape (5, n), rows by Kind."""
    counted: BoolArray
    """Whether the consignment counts: not where it was assessed before, as an earlier version or before loading; (n,)."""
    valued: BoolArray
    """Whether its value and prices count: with the first version that has a value above 0; (n,). Of records of the release before where it counts."""
    value: IntArray
    """Value of the consignment in euro cents, 0 where unknown; (n,)."""
    low: BoolArray
    """Whether that value is known and under the threshold of the country of destination; (n,)."""
    partition: IntArray
    """Partition of the log in which the consignment's row lies, 0 to 63; (n,)."""
    major: IntArray
    """Where in the partition's log the row lies: (major, minor) rises within a partition; (n,)."""
    minor: IntArray
    """The lower part of that position; (n,)."""
    owner: IntArray
    """Per item the place of its consignment; (m,)."""
    goods: IntArray
    """Per item its HS6 code and origin as one number (see party_keys.goods_of), -1 where either is unknown; (m,)."""
    price: IntArray
    """Per item its price in euro cents per kilogram, 0 where unknown; (m,)."""

    @property
    def rows(self) -> int:
        """How many consignments there are."""
        return len(self.counted)

    @property
    def minute(self) -> int:
        """The minute of the assessment since 1970."""
        return self.time // MICROS_PER_MINUTE

    def to_bytes(self) -> bytes:
        """The record for the log. Positions are not in it: they are where the log keeps it."""
        arrays = {name: values for name, values in self._arrays().items() if name not in (*_POSITIONS, "valued")}
        facts: dict[str, int | str] = {"record": _VERSION, "time": self.time, "mark": f"{self.mark:016x}"}
        if not np.array_equal(self.valued, self.counted):
            # Among the facts, of which the release before reads those that it knows.
            facts["valued"] = np.packbits(self.valued).tobytes().hex()
        return pack(facts, arrays)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _FACTS}

    @classmethod
    def from_bytes(cls, content: bytes) -> Record:
        """Read a record of the log, its positions unknown (-1); raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("record") != _VERSION:
            raise PackingError(f"the record has version {facts.get('record')}; {_VERSION} is read")
        try:
            unplaced = np.full(len(arrays["counted"]), -1, np.int64)
            counted = arrays["counted"]
            valued = counted
            if "valued" in facts:
                bits = np.frombuffer(bytes.fromhex(str(facts["valued"])), np.uint8)
                valued = np.unpackbits(bits, count=len(counted)).astype(np.bool_)
            columns: dict[str, Any] = {**arrays, "valued": valued, **dict.fromkeys(_POSITIONS, unplaced)}
            record = cls(time=int(facts["time"]), mark=int(str(facts["mark"]), 16), **columns)
        except (KeyError, TypeError, ValueError) as error:
            raise PackingError(f"the record lacks something: {error}") from None
        wrong = record._mismatch()
        if wrong:
            raise PackingError(f"the record does not fit together: {wrong}")
        return record

    def _mismatch(self) -> str:
        """What does not fit together, "" where all does."""
        rows, items = self.rows, len(self.owner)
        for name, kind in _KINDS_OF_ARRAYS.items():
            if getattr(self, name).dtype.kind != kind:
                return f"{name} is of {getattr(self, name).dtype}"
        if self.keys.shape != (KINDS, rows) or any(len(getattr(self, name)) != rows for name in _BY_CONSIGNMENT):
            return f"a column has not {rows} rows"
        if len(self.goods) != items or len(self.price) != items:
            return f"a column of items has not {items} rows"
        if items and (self.owner.min() < 0 or self.owner.max() >= rows):
            return f"an item is of none of the {rows} consignments"
        if self.time < 0 or (rows and self.value.min() < 0) or (items and self.price.min() < 0):
            return "a time, value or price is below 0"
        return ""

    def take(self, rows: IntArray) -> Record:
        """Some consignments, in rising order, with their items."""
        places = np.full(self.rows, -1)
        places[rows] = np.arange(len(rows))
        kept = places[self.owner] >= 0
        return Record(
            time=self.time,
            mark=self.mark,
            keys=self.keys[:, rows],
            **{name: getattr(self, name)[rows] for name in _BY_CONSIGNMENT},
            owner=places[self.owner][kept],
            goods=self.goods[kept],
            price=self.price[kept],
        )

    def at(self, positions: Mapping[str, npt.NDArray[Any]]) -> Record:
        """The same record with the positions (`partition`, `major`, `minor`) that the log gave it."""
        arrays = self._arrays() | dict(positions)
        return Record(time=self.time, mark=self.mark, **arrays)


_POSITIONS: Final = ("partition", "major", "minor")
_FACTS: Final = ("time", "mark")
_BY_CONSIGNMENT: Final = ("counted", "valued", "value", "low", *_POSITIONS)
_KINDS_OF_ARRAYS: Final = {
    "keys": "u",
    "counted": "b",
    "value": "i",
    "low": "b",
    "owner": "i",
    "goods": "i",
    "price": "i",
}

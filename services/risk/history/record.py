"""The compact record of an assessed batch: all that history needs of it, without a name or an address in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.risk.history.open_table import BoolArray, IntArray, Keys
from services.risk.history.packing import PackingError, pack, unpack
from services.risk.history.windows import MICROS_PER_MINUTE


class Kind(IntEnum):
    """What history is kept by; the place of a kind is its row in `Record.keys`."""

    CONSIGNEE = 0
    ADDRESS = 1
    SELLER = 2
    PLATFORM = 3
    CARRIER = 4


KINDS: Final = len(Kind)
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Record:
    """A batch as it was assessed, in its order: n consignments with m items."""

    time: int
    """When it was assessed: microseconds since 1970 by the database's clock; one instant for the whole batch."""
    ids: Keys
    """Per consignment one number for its MRN and version; shape (n,)."""
    keys: Keys
    """Per kind and consignment the keyed hash of who it is, 0 where nobody is told; shape (5, n), rows by Kind."""
    counted: BoolArray
    """Whether the consignment counts: not where it was assessed before, as an earlier version or before loading; (n,)."""
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
    """Per item its HS6 code and origin as one number (see keys.goods_of), -1 where either is unknown; (m,)."""
    price: IntArray
    """Per item its price in euro cents per kilogram, 0 where unknown; (m,)."""

    @property
    def rows(self) -> int:
        """How many consignments there are."""
        return len(self.ids)

    @property
    def minute(self) -> int:
        """The minute of the assessment since 1970."""
        return self.time // MICROS_PER_MINUTE

    def to_bytes(self) -> bytes:
        """The record for the log."""
        return pack({"record": _VERSION, "time": self.time}, self._arrays())

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "time"}

    @classmethod
    def from_bytes(cls, content: bytes) -> Record:
        """Read a record of the log; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("record") != _VERSION:
            raise PackingError(f"the record has version {facts.get('record')}; {_VERSION} is read")
        return cls(time=int(facts["time"]), **arrays)

    def take(self, rows: IntArray) -> Record:
        """Some consignments, in rising order, with their items."""
        places = np.full(self.rows, -1)
        places[rows] = np.arange(len(rows))
        kept = places[self.owner] >= 0
        return Record(
            time=self.time,
            keys=self.keys[:, rows],
            **{name: getattr(self, name)[rows] for name in _BY_CONSIGNMENT},
            owner=places[self.owner][kept],
            goods=self.goods[kept],
            price=self.price[kept],
        )

    def at(self, positions: Mapping[str, IntArray]) -> Record:
        """The same record with the positions (`partition`, `major`, `minor`) that the log gave it."""
        arrays = self._arrays() | dict(positions)
        return Record(time=self.time, **arrays)


_BY_CONSIGNMENT: Final = ("ids", "counted", "value", "low", "partition", "major", "minor")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What inspections found, in the order of the feed that told it: n inspected consignments."""

    keys: Keys
    """As in Record; shape (5, n)."""
    hit: BoolArray
    """Whether the inspection found a violation; (n,)."""
    minute: IntArray
    """When it was found, minutes since 1970; (n,)."""
    partition: IntArray
    """Partition of the feed; (n,)."""
    major: IntArray
    """Position within the partition, as in Record; (n,)."""
    minor: IntArray
    """Its lower part; (n,)."""

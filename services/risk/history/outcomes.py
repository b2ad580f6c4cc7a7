"""What inspections found, as history takes it from risk's log: no name, no reference, only keyed hashes of who was inspected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from libs.columns.packing import PackingError, pack, unpack
from services.risk.history.party_keys import Hasher
from services.risk.history.record import KINDS
from services.risk.history.tables.hash_table import IntArray, Keys

#: Outcomes that one row of the log holds at most.
OUTCOMES_MAX: Final = 10_000
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Results of n inspected consignments, or changes of such results."""

    mark: int
    """Of the key that the hashes were made with (`Hasher.mark`)."""
    keys: Keys
    """Per kind and consignment the keyed hash of who it is (`party_keys`), 0 where nobody is told; shape (5, n)."""
    inspected: IntArray
    """Inspections of it to add: 1 for a result, 0 where an earlier one is corrected, -1 where it is taken back; (n,)."""
    violations: IntArray
    """How many of them more found a violation, -1 to 1; (n,)."""
    minute: IntArray
    """When it was found, minutes since 1970; (n,)."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.minute)

    @classmethod
    def build(
        cls,
        hasher: Hasher,
        keys: Keys,
        violations: npt.ArrayLike,
        minute: npt.ArrayLike,
        inspected: npt.ArrayLike | None = None,
    ) -> Self:
        """Outcomes with `keys` of `party_keys` by the same hasher; `violations` says by consignment whether a violation was found.

        To correct an earlier result, give `inspected` 0 and `violations` the difference, -1 or 1. Raises ValueError for
        what does not fit together and for more than OUTCOMES_MAX.
        """
        minutes = np.atleast_1d(np.asarray(minute, np.int64))
        count = len(minutes)
        ones = np.ones(count, np.int64)
        outcomes = cls(
            hasher.mark,
            np.asarray(keys, np.uint64),
            ones if inspected is None else np.asarray(inspected, np.int64),
            np.asarray(violations, np.int64),
            minutes,
        )
        mismatch = outcomes.mismatch()
        if mismatch:
            raise ValueError(mismatch)
        return outcomes

    def mismatch(self) -> str:
        """What does not fit together, "" where all does."""
        count = self.rows
        if self.keys.shape != (KINDS, count) or len(self.inspected) != count or len(self.violations) != count:
            return f"keys of shape {self.keys.shape}, {len(self.inspected)} and {len(self.violations)} results for {count} times"
        if count > OUTCOMES_MAX:
            return f"{count} outcomes; a row of the log holds at most {OUTCOMES_MAX}"
        if count and (max(abs(self.inspected).max(), abs(self.violations).max()) > 1 or self.minute.min() < 0):
            return "an outcome counts -1 to 1 and has a time after 1970"
        return ""

    def to_bytes(self) -> bytes:
        """The outcomes for the log."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "keys": self.keys,
            "inspected": self.inspected.astype(np.int8),
            "hits": self.violations.astype(np.int8),
            "minute": self.minute.astype(np.uint32),
        }
        return pack({"outcomes": _VERSION, "mark": f"{self.mark:016x}"}, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read outcomes of the log; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("outcomes") != _VERSION:
            raise PackingError(f"the outcomes have version {facts.get('outcomes')}; {_VERSION} is read")
        try:
            outcomes = cls(
                int(str(facts["mark"]), 16),
                arrays["keys"],
                *(arrays[name].astype(np.int64) for name in ("inspected", "hits", "minute")),
            )
        except (KeyError, ValueError) as error:
            raise PackingError(f"the outcomes lack something: {error}") from None
        mismatch = outcomes.mismatch()
        if mismatch:
            raise PackingError(f"the outcomes do not fit together: {mismatch}")
        return outcomes

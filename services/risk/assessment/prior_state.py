"""What an assessment needs of the past: what was assessed before, histories and tallies, and the keys that they go by."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from services.risk.history import Bounds, Hasher, History
from services.risk.selection import Allotments, PriorDraws, Tally


@dataclass(frozen=True, slots=True)
class PriorState:
    """What the store knows of the consignments of a batch: n rows."""

    now: int
    """The database's clock, microseconds since 1970-01-01 UTC."""
    new: npt.NDArray[np.bool_]
    """Whether the consignment was never assessed, for whatever purpose, and stands here for the first time; (n,)."""
    new_at_clearance: npt.NDArray[np.bool_]
    """Whether it was never assessed for clearance, and stands here for the first time; (n,)."""
    draws: PriorDraws | None = None
    """What its earlier versions were drawn into; None where none was assessed."""
    value_awaited: npt.NDArray[np.bool_] | None = None
    """Whether it counted in history without a known value; (n,). None where none did."""


@dataclass(slots=True)
class ReplicaState:
    """The past as one replica holds it."""

    hasher: Hasher
    history: History
    tally: Tally
    seeds: dict[int, bytes] = field(default_factory=dict)
    """Of the draws of selection, by their day (days since 1970 UTC), as far as they were asked for."""
    allotments: Allotments = field(default_factory=Allotments)
    """What this replica has drawn in the present hour; a replica that starts again has drawn nothing, and may by what it assesses."""

    @classmethod
    def begin(cls, secret: bytes, bounds: Bounds | None = None) -> Self:
        """An empty past. Its key follows from the deployment's secret and does not tell it."""
        hasher = Hasher(derived_key(secret, b"history"))
        return cls(hasher, History(hasher.mark, bounds), Tally())


def derived_key(secret: bytes, use: bytes) -> bytes:
    """A key of 32 bytes for one use, from a secret of 16 to 64 bytes."""
    return hashlib.blake2b(key=secret, person=use, digest_size=32).digest()

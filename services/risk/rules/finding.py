"""What a finding says, whoever found it: a rule, a control of goods or the screening of parties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from luxor.common.v1.common_pb2 import FINDING_KIND_RULE


@dataclass(frozen=True, slots=True)
class Match:
    """Which party was taken for which listed one."""

    party: str
    """consignor, consignee, seller, buyer or importer."""
    list: str
    """Version of the list."""
    entry: str
    """The list's own id of the entry."""
    score: int
    """Thousandths."""
    explanation: str
    """Which words meet and how, for officers alone."""


@dataclass(frozen=True, slots=True)
class FindingText:
    """All that findings of one kind have in common."""

    id: str
    version: int
    points: int
    """Added to the score once a consignment."""
    lane: Literal["red", "yellow", "blue", "none"]
    reason: str
    sentence: str
    documents: tuple[str, ...] = ()
    """Types of the documents that would lift it."""
    match: Match | None = None
    confidential: bool = False
    """Whether it is for officers and analysts alone."""
    kind: int = FINDING_KIND_RULE
    """What found it, a number of luxor.risk.v1.FindingKind."""
    second_person: bool = False
    """Whether what an officer decides on the goods takes effect only when a second officer confirms it."""


@dataclass(frozen=True)
class ExtraFindings:
    """What something beside the rules found in a batch: k findings, each of one of its texts."""

    texts: Sequence[FindingText]
    places: npt.NDArray[np.int64]
    """Per finding its text; (k,)."""
    owners: npt.NDArray[np.int64]
    """Per finding its consignment; (k,)."""
    items: npt.NDArray[np.int64]
    """Per finding the row of its item in the batch's items, -1 where it is about the consignment; (k,)."""

"""Scorecards: sums of the quality of filings, by filer and day. Pure.

Each card has two measures: filings as they were first filed, which never change, and their newest versions, which amendments replace.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.ingestion.quality.scores import NOT_JUDGED, REASONS, REASONS_MAX, Array, Term, overall

EXAMPLES_MAX: Final = 3
"""Examples of one reason on one card."""
_CHARACTERS_MAX: Final = 64
"""Of a text in an example of what was refused, for which no bound of the contract holds. As in the errors of an answer."""
_SCORES: Final = 2 + 2 * len(Term)
MEASURES: Final = _SCORES + REASONS_MAX
"""Numbers of a measure: filings, sum of their scores, of each term how many were judged and the sum of its scores, and filings by bit of a reason."""

IntArray = npt.NDArray[np.int64]


class Key(NamedTuple):
    """Whose card it is."""

    day: int
    """On which the filings were first accepted, days since 1970-01-01 UTC."""
    filer: str
    """Who first filed them."""


class PlacedFinding(Protocol):
    """A finding with its place."""

    @property
    def reason(self) -> str:
        """The reason of the catalogue."""
        ...

    @property
    def path(self) -> str:
        """The path from the request's root."""
        ...

    @property
    def value(self) -> str:
        """The value; empty where it is missing or personal."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """A filing with a finding."""

    reason: str
    mrn: str
    path: str
    """Of the element within the consignment; empty: no element alone."""
    value: str


@dataclass(frozen=True, slots=True)
class RefusedExample:
    """A consignment that was refused."""

    local_reference: str
    path: str
    """Of the element within the consignment; empty: no element alone."""
    value: str


@dataclass(slots=True)
class Refusals:
    """Consignments that were refused for one reason, whatever else refused them."""

    consignments: int = 0
    examples: list[RefusedExample] = field(default_factory=list)
    """The first of them."""

    def add(self, consignments: int, examples: Iterable[RefusedExample]) -> None:
        """Add further ones, of which only so many examples are taken that there are at most EXAMPLES_MAX."""
        self.consignments += consignments
        self.examples += itertools.islice(examples, EXAMPLES_MAX - len(self.examples))


@dataclass(slots=True)
class Card:
    """Sums, or changes of them, of one card."""

    refused: int = 0
    """Filings that were refused, each time."""
    refusals: dict[str, Refusals] = field(default_factory=dict)
    """The same by each reason that refused them."""
    first: IntArray = field(default_factory=lambda: np.zeros(MEASURES, np.int64))
    newest: IntArray = field(default_factory=lambda: np.zeros(MEASURES, np.int64))
    examples: list[Example] = field(default_factory=list)

    def add(self, other: Card) -> None:
        """Add the sums of another one."""
        self.refused += other.refused
        for reason, some in other.refusals.items():
            self.refusals.setdefault(reason, Refusals()).add(some.consignments, some.examples)
        self.first = self.first + other.first
        self.newest = self.newest + other.newest

    def replace(self, prior: Array | None, new: Array | None) -> None:
        """Replace the quality of the newest version of a filing; None: it is an invalidation, which counts nowhere."""
        for quality, sign in ((prior, -1), (new, 1)):
            if quality is not None:
                self.newest = self.newest + sign * measured(quality)


class Measure(NamedTuple):
    """The numbers of a measure by their names."""

    filings: int
    score: int
    """Sum of the scores of all filings."""
    terms: Mapping[Term, tuple[int, int]]
    """How many filings were judged by each term, and the sum of their scores."""
    reasons: Mapping[str, int]
    """How many filings each reason was found in, of those with any."""


def measured(quality: Array) -> IntArray:
    """Return the measure of filings."""
    numbers = np.zeros(MEASURES, np.int64)
    if not len(quality):
        return numbers
    scores = quality["scores"].astype(np.int64)
    judged = scores != NOT_JUDGED
    numbers[0], numbers[1] = len(quality), overall(quality).sum()
    numbers[2:_SCORES:2], numbers[3:_SCORES:2] = judged.sum(axis=0), np.where(judged, scores, 0).sum(axis=0)
    octets = np.ascontiguousarray(quality["reasons"]).view(np.uint8).reshape(-1, 8)
    numbers[_SCORES:] = np.unpackbits(octets, axis=1, bitorder="little").sum(axis=0)
    return numbers


def read_measure(numbers: Sequence[int] | IntArray) -> Measure:
    """Return the numbers of a measure by their names."""
    listed = [int(each) for each in numbers]
    terms = {term: (listed[2 + 2 * term], listed[3 + 2 * term]) for term in Term}
    counts = zip(REASONS, listed[_SCORES:], strict=False)
    return Measure(listed[0], listed[1], terms, {reason: count for reason, count in counts if count})


def examples_of(
    quality: Array, mrns: Sequence[str], findings: Sequence[Iterable[PlacedFinding]], reasons: Iterable[str]
) -> list[Example]:
    """Return the first examples of each of the reasons among filings; `findings` has those of each."""
    examples: list[Example] = []
    for reason in reasons:
        bit = np.uint64(1 << REASONS.index(reason))
        for row in np.flatnonzero(quality["reasons"] & bit)[:EXAMPLES_MAX].tolist():
            found = next((each for each in findings[row] if each.reason == reason), None)
            path, value = (_path_within(found), found.value) if found is not None else ("", "")
            examples.append(Example(reason, mrns[row], path, value))
    return examples


def refusals_of(refused: Iterable[tuple[str, Iterable[PlacedFinding]]]) -> dict[str, Refusals]:
    """Return refused consignments by each of their reasons; each is given as its local reference and what refused it."""
    found: dict[str, Refusals] = {}
    for reference, errors in refused:
        first = {error.reason: error for error in reversed(list(errors))}
        for reason, error in first.items():
            example = RefusedExample(_storable(reference), _path_within(error), _storable(error.value))
            found.setdefault(reason, Refusals()).add(1, [example])
    return found


def _storable(text: str) -> str:
    """Return what was refused as a text that any store takes: cut, a question mark for each character that cannot be printed."""
    cut = text if len(text) <= _CHARACTERS_MAX else text[: _CHARACTERS_MAX - 1] + "…"
    return "".join(each if each.isprintable() else "?" for each in cut)


def _path_within(finding: PlacedFinding) -> str:
    """Return the path within the consignment: its place in the batch says nothing afterwards."""
    return finding.path.partition("]")[2].removeprefix(".")

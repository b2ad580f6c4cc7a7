"""The register of scheme numbers as assessments use it: an immutable picture of which numbers hold when."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from libs.columns import Strings
from services.revenue.law.batch.arithmetic import Flags, Int64


@dataclass(frozen=True, slots=True)
class Register:
    """Numbers of schemes with their first and last day (days since 1970-01-01, both included)."""

    spans: Mapping[tuple[int, str], tuple[int, int]]
    """Per number of the scheme (of luxor.consignment.v1.Scheme) and its scheme number."""
    schemes: frozenset[int] = field(init=False)
    """Schemes of which any number was ever registered."""

    def __post_init__(self) -> None:
        """Note which schemes have numbers."""
        object.__setattr__(self, "schemes", frozenset(scheme for scheme, _ in self.spans))

    def find(self, scheme: int, numbers: Strings, days: Int64) -> tuple[Flags, Flags]:
        """Return for each number whether it is registered at all, and whether it is valid on its day."""
        spans = [self.spans.get((scheme, number)) for number in numbers.dictionary]
        known = np.array([span is not None for span in spans], dtype=np.bool_)
        first = np.array([span[0] if span else 0 for span in spans], dtype=np.int64)
        last = np.array([span[1] if span else -1 for span in spans], dtype=np.int64)
        at = numbers.indices
        holds: Flags = known[at] & (first[at] <= days) & (days <= last[at])
        return known[at], holds


EMPTY = Register({})
"""Nothing was ever registered: numbers are tested by their form alone."""

"""Stored batches put together: an assessment of some thousand rows costs little more than one of some hundred.

What the register of scheme numbers said is kept with each batch. Batches are put together as long as it said the same of every number;
where a number was registered or struck off between two of them, a new part begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from libs.columns import Table
from libs.columns.joined import Joined
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.inputs import Input
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.program.scheme_numbers import registered_number

Opened: TypeAlias = tuple[Input, Table]
"""A stored batch and its answers (AssessmentColumns), aligned."""
_Number: TypeAlias = tuple[int, str]


def join_batches(batches: Sequence[Opened]) -> Iterator[Opened]:
    """Join batches in their order."""
    part: list[Opened] = []
    known: dict[_Number, tuple[int, int]] = {}
    absent: set[_Number] = set()
    schemes: frozenset[int] = frozenset()
    for given, answers in batches:
        spans, missing = given.register.spans, _absent(given)
        same = given.register.schemes == schemes and absent.isdisjoint(spans) and missing.isdisjoint(known)
        if part and not (same and all(known.get(number, span) == span for number, span in spans.items())):
            yield _joined(part, known)
            part, known, absent = [], {}, set()
        part.append((given, answers))
        known |= spans
        absent |= missing
        schemes = given.register.schemes
    if part:
        yield _joined(part, known)


def _absent(batch: Input) -> set[_Number]:
    """Numbers that the filings tell and the register of their scheme had not."""
    schemes = batch.register.schemes
    if not schemes:
        return set()
    references = batch.table.child("fiscal_references")
    numbers = references.strings("number")
    told = np.unique(references.ints("scheme").values << 32 | numbers.indices)
    asked = {(pair >> 32, registered_number(numbers.dictionary[pair & 0xFFFFFFFF])) for pair in told.tolist()}
    return {each for each in asked if each[0] in schemes} - batch.register.spans.keys()


def _joined(part: Sequence[Opened], spans: dict[_Number, tuple[int, int]]) -> Opened:
    if len(part) == 1:
        return part[0]
    inputs = [given for given, _ in part]
    starts = np.cumsum([0, *(each.table.rows for each in inputs[:-1])])
    given = Input(
        Joined([each.table for each in inputs]),
        Register(dict(spans)),
        Aggregates.join([each.aggregates for each in inputs], starts.tolist()),
        np.concatenate([each.rows for each in inputs]),
    )
    return given, Joined([answers for _, answers in part])

"""Samples: the named columns that a model is trained on and scores. A number that is unknown is NaN, a word "" — never zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from libs.columns import Strings

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

#: A column holds numbers or words.
ColumnType = Literal["number", "word"]
NUMBER: Final[ColumnType] = "number"
WORD: Final[ColumnType] = "word"


class ColumnsDoNotFit(ValueError):
    """The columns that are there are not those that are needed; the message names each one, and what to do."""


@dataclass(frozen=True)
class Sample:
    """Columns of `rows` rows: numbers (float64, NaN where unknown) and words (a dictionary and indices, "" where unknown)."""

    rows: int
    numbers: Mapping[str, Floats]
    words: Mapping[str, Strings]

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.numbers.items()}
        for name, rows in (lengths | {name: len(column) for name, column in self.words.items()}).items():
            if rows != self.rows:
                raise ColumnsDoNotFit(f"column {name} has {rows} rows where the sample has {self.rows}")
        both = sorted(self.numbers.keys() & self.words.keys())
        if both:
            raise ColumnsDoNotFit(f"{', '.join(both)}: a column is of numbers or of words, not of both")

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The type of each column by name."""
        types: dict[str, ColumnType] = dict.fromkeys(self.numbers, NUMBER)
        return types | dict.fromkeys(self.words, WORD)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Sample:
        """The rows asked for, in that order."""
        return Sample(
            len(rows),
            {name: column[rows] for name, column in self.numbers.items()},
            {name: column.take(rows) for name, column in self.words.items()},
        )

    def with_numbers(self, numbers: Mapping[str, Floats]) -> Sample:
        """The sample with more columns of numbers, or others in their place."""
        return Sample(self.rows, {**self.numbers, **numbers}, self.words)

    @staticmethod
    def concat(parts: Sequence[Sample]) -> Sample:
        """Samples of the same columns one below the other; raises ColumnsDoNotFit where they are not the same."""
        first = parts[0]
        for part in parts[1:]:
            require(first.columns, part.columns, "the samples that are put together")
        return Sample(
            sum(part.rows for part in parts),
            {name: np.concatenate([part.numbers[name] for part in parts]) for name in first.numbers},
            {name: Strings.concat([part.words[name] for part in parts]) for name in first.words},
        )


def require(required: Mapping[str, ColumnType], available: Mapping[str, ColumnType], subject: str) -> None:
    """Check that each needed column is given and of its type; columns beyond those do no harm.

    Raises ColumnsDoNotFit, naming every column that is absent or of another type.
    """
    wrong = [
        f"{name} ({kind}) is absent" if name not in available else f"{name} is {available[name]}, not {kind}"
        for name, kind in required.items()
        if available.get(name) != kind
    ]
    if wrong:
        raise ColumnsDoNotFit(
            f"{subject}: the columns do not fit: {'; '.join(wrong)}. Give these columns, or train a model on those that are there"
        )

"""Files of tariff lines, read as columns: what lines have beside their code repeats, and is read once for each distinct text.

The columns are code and rate, and where needed from, to, reference and preferences. Lines before the header that begin with `#` state the source.
A code without a rate is a line of the tariff whose rate is unknown.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from services.revenue.law.batch.arithmetic import Int64
from services.revenue.law.source.yaml_source import ERRORS_MAX, LawFileError, LawFileErrors

COLUMNS = ("code", "rate", "from", "to", "reference", "preferences")
LINES_MAX = 200_000
PREFIX = r"[0-9]{2,10}"

Codes: TypeAlias = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Clause:
    """What lines have beside their code: one rate in one group and its days."""

    group: int
    """Place of the preference; -1 for ordinary rates."""
    rate: int
    """Place of the rate among those of the reader; -1 if it is unknown."""
    start: date
    to: date


@dataclass(frozen=True, slots=True)
class LineColumns:
    """Lines of a tariff; columns have one element for each code, group and time."""

    code: Codes
    group: Int64
    rate: Int64
    start: Int64
    """First day as an ordinal."""
    to: Int64
    """Last day as an ordinal."""

    @staticmethod
    def of_clauses(codes: Sequence[str], clause: Int64, clauses: Sequence[Sequence[Clause]]) -> "LineColumns":
        """Return the columns of codes, of which each has the clauses at its place in `clauses`."""
        counts = np.array([len(each) for each in clauses], np.int64)
        flat = [each for several in clauses for each in several]
        fields = np.array([(c.group, c.rate, c.start.toordinal(), c.to.toordinal()) for c in flat], np.int64)
        first = np.cumsum(counts) - counts
        repeated = counts[clause]
        ends = np.cumsum(repeated)
        at = np.repeat(first[clause] - (ends - repeated), repeated) + np.arange(ends[-1] if len(ends) else 0)
        group, rate, start, to = fields.reshape(-1, 4)[at].T
        return LineColumns(np.repeat(np.array(codes, dtype=object), repeated), group, rate, start, to)

    @staticmethod
    def joined(parts: Iterable["LineColumns"]) -> "LineColumns":
        """Return the columns of several, one behind the other."""
        empty = LineColumns.of_clauses([], np.zeros(0, np.int64), [])
        columns = zip(*((p.code, p.group, p.rate, p.start, p.to) for p in (empty, *parts)), strict=True)
        return LineColumns(*(np.concatenate(column) for column in columns))

    def on_days(self, start: date, to: date) -> "LineColumns":
        """Return the lines that apply on each day from the first to the last."""
        at = (self.start <= start.toordinal()) & (to.toordinal() <= self.to)
        return LineColumns(self.code[at], self.group[at], self.rate[at], self.start[at], self.to[at])


def read_lines(name: str, text: str, clauses_of: Callable[[dict[str, str]], Sequence[Clause]]) -> LineColumns:
    """Read a file of lines; LawFileError has the file, the line and the code of each line that is refused.

    `clauses_of` reads what a line has beside its code; ValueError says what is wrong with it.
    """
    notes = 0
    while text.startswith("#"):
        text = text.partition("\n")[2]
        notes += 1
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if not {"code", "rate"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise LawFileError(
            name,
            notes + 1,
            "",
            f"has the columns {header}; code and rate are needed, of {', '.join(COLUMNS)}, each once",
        )
    lines = [row for row in rows if row]
    first = notes + 2
    if len(lines) > LINES_MAX:
        raise LawFileError(name, first + LINES_MAX, "", f"holds more than {LINES_MAX} lines; divide the tariff")
    errors = [
        LawFileError(name, first + place, _code(header, row), f"has not {len(header)} values, as the header has")
        for place, row in enumerate(lines)
        if len(row) != len(header)
    ]
    if errors:
        raise LawFileErrors(errors)
    columns: dict[str, tuple[str, ...]] = dict(zip(header, zip(*lines, strict=True), strict=True)) if lines else {}
    codes = [code.strip() for code in columns.pop("code", ())]
    if not re.fullmatch(rf"(?:{PREFIX}\n)*", "".join(f"{code}\n" for code in codes)):
        errors += [
            LawFileError(name, first + place, "code", f"{code!r} is no prefix of 2 to 10 digits")
            for place, code in enumerate(codes)
            if not re.fullmatch(PREFIX, code)
        ]
    numbers: dict[Any, int] = {}
    clause = np.array(
        [numbers.setdefault(each, len(numbers)) for each in zip(*columns.values(), strict=True)], np.int64
    )
    clauses = []
    for number, values in enumerate(numbers):
        try:
            clauses.append(clauses_of(dict(zip(columns, values, strict=True))))
        except ValueError as error:
            places = np.flatnonzero(clause == number)[:ERRORS_MAX].tolist()
            errors += [LawFileError(name, first + place, codes[place], str(error)) for place in places]
    if errors:
        raise LawFileErrors(sorted(errors, key=lambda each: each.line)[:ERRORS_MAX])
    return LineColumns.of_clauses(codes, clause, clauses)


def _code(header: list[str], row: list[str]) -> str:
    place = header.index("code")
    return row[place].strip() if place < len(row) else ""

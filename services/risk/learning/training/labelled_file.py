"""Labelled files: CSV with a column that says whether an inspection found a violation, and a layout that says what is what."""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np

from libs.columns import Strings
from libs.customs.time import day_of_date
from services.risk.learning.features.sample import Floats, Numbers, Sample, Truths

ROWS_MAX: Final = 5_000_000
#: So many mistakes are told; whoever made more has made the same one often.
ERRORS_REPORTED_MAX: Final = 20
Header = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class LabelledFileRefused(ValueError):
    """A labelled file with mistakes; the message tells each with line and column."""


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which of a file's columns are what."""

    label: Header
    """Column of the outcome."""
    violations: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """What stands there where a violation was found."""
    clean: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """What stands there where none was."""
    numbers: dict[str, Header]
    """Our columns of numbers, each with the file's."""
    words: dict[str, Header]
    """Our columns of words, each with the file's."""
    copies: tuple[Header, ...] = ()
    """Columns in which near copies agree; empty where each row stands alone."""
    day: Header | None = None
    """Column of the day, YYYY-MM-DD."""


@dataclass(frozen=True)
class Labelled:
    """Rows whose outcome is known."""

    sample: Sample
    violations: Truths
    groups: Numbers
    """Rows with the same number are near copies of each other."""
    days: Numbers
    """Days since 1970-01-01, 0 in every row where the layout names no column of days."""


def read_labelled(data: bytes, layout: Layout, where: str) -> Labelled:
    """Read a labelled file (UTF-8, comma, first line the names). An empty cell is unknown, never zero.

    Raises LabelledFileRefused with the first 20 mistakes, each with its line and column; a file with any is not used.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelledFileRefused(f"{where}: byte {error.start} is not UTF-8; write the file in UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    mistakes: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    names: list[str] = next(reader, [])
    _check_names(names, layout, where)
    try:
        for row in reader:
            if len(row) != len(names):
                mistakes.append(f"line {reader.line_num}: {len(row)} cells where the first line has {len(names)}")
            elif len(rows) == ROWS_MAX:
                raise LabelledFileRefused(f"{where}: more than {ROWS_MAX} rows; split the file")
            else:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        mistakes.append(f"line {reader.line_num}: {error}")
    if not rows and not mistakes:
        mistakes.append("line 2: there is no row; give rows with an outcome each")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    found = _outcomes(columns[layout.label], lines, layout, mistakes)
    numbers = {ours: _numbers(columns[theirs], lines, theirs, mistakes) for ours, theirs in layout.numbers.items()}
    days = _days(columns[layout.day], lines, layout.day, mistakes) if layout.day else np.zeros(len(rows), np.int64)
    if mistakes:
        told = "\n".join(f"  {mistake}" for mistake in mistakes[:ERRORS_REPORTED_MAX])
        more = f"\n  and {len(mistakes) - ERRORS_REPORTED_MAX} more" if len(mistakes) > ERRORS_REPORTED_MAX else ""
        raise LabelledFileRefused(
            f"{where}: the labelled file is refused; correct these and give it again:\n{told}{more}"
        )
    words = {ours: Strings.of([cell.strip() for cell in columns[theirs]]) for ours, theirs in layout.words.items()}
    return Labelled(Sample(len(rows), numbers, words), found, _groups(columns, layout, len(rows)), days)


def _check_names(names: list[str], layout: Layout, where: str) -> None:
    needed = [layout.label, *layout.numbers.values(), *layout.words.values(), *layout.copies]
    needed += [layout.day] if layout.day else []
    absent = [name for name in dict.fromkeys(needed) if name not in names]
    if absent:
        raise LabelledFileRefused(
            f"{where}: line 1 lacks {', '.join(absent)}; name the columns in the first line, or correct the layout"
        )
    twice = sorted({name for name in needed if names.count(name) > 1})
    if twice:
        raise LabelledFileRefused(f"{where}: line 1 names {', '.join(twice)} twice; give each column a name of its own")


def _outcomes(cells: Sequence[str], lines: Sequence[int], layout: Layout, errors: list[str]) -> Truths:
    known = dict.fromkeys(layout.clean, False) | dict.fromkeys(layout.violations, True)
    for line, cell in zip(lines, cells, strict=True):
        if cell not in known:
            errors.append(f"line {line}, {layout.label}: {cell!r} is none of {', '.join(known)}")
    return np.array([known.get(cell, False) for cell in cells], np.bool_)


def _numbers(cells: Sequence[str], lines: Sequence[int], name: str, errors: list[str]) -> Floats:
    values = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if not cell.strip():
            continue
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            errors.append(f"line {lines[place]}, {name}: {cell!r} is no number; leave unknown ones empty")
            continue
        values[place] = value
    return values


def _days(cells: Sequence[str], lines: Sequence[int], name: str, errors: list[str]) -> Numbers:
    days = np.zeros(len(cells), np.int64)
    for place, cell in enumerate(cells):
        try:
            days[place] = day_of_date(datetime.date.fromisoformat(cell))
        except ValueError:
            errors.append(f"line {lines[place]}, {name}: {cell!r} is no day; write it as 2026-11-25")
    return days


def _groups(columns: dict[str, list[str]], layout: Layout, rows: int) -> Numbers:
    if not layout.copies:
        return np.arange(rows, dtype=np.int64)
    places: dict[tuple[str, ...], int] = {}
    keys = zip(*(columns[name] for name in layout.copies), strict=True)
    return np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, rows)

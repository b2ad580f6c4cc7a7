"""The lists of section 301 of the United States' Trade Act of 1974, products of China, written as rates by commodity code and day.

The file has one row for each list and line of the schedule. What it cannot say is here: on which days the rates of the lists 1 to 4A changed
(84 FR 20459, 84 FR 45821, 85 FR 3741). A subheading of six digits with a listed line has all of its lines, those that are not listed with 0 %.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from services.revenue.tariff_file.imported import Imported, ImportedLine, Refusal, TariffFileError, UnreadableRate
from services.revenue.tariff_file.table import Row, code_of, read_rows

LISTS: Final = {
    "1": ((date(2018, 7, 6), "25"),),
    "2": ((date(2018, 8, 23), "25"),),
    "3": ((date(2018, 9, 24), "10"), (date(2019, 5, 10), "25")),
    "3_addl": ((date(2018, 9, 24), "10"), (date(2019, 5, 10), "25")),
    "4A": ((date(2019, 9, 1), "15"), (date(2020, 2, 14), "7.5")),
}
"""Percentages of the first four lists by their first day; the file has the first day and the last percentage."""
NEVER: Final = "4B"
"""Suspended before it took effect (84 FR 69447)."""
REVIEW: Final = "biden_"
"""Lists of the four-year review begin so: their rate replaces that of the earlier list from their day on."""
_DAY: Final = timedelta(days=1)
_COLUMNS: Final = ("hts8", "list", "added_percent", "from")


@dataclass(frozen=True, slots=True)
class _Entry:
    """Percentage of a line of the schedule from a day on, by one list."""

    start: date
    percent: str
    replaces: bool
    line: int


def read_section_301(file: str, data: bytes, schedule_file: str, schedule: bytes) -> Imported:
    """Read the lists; `schedule` has all lines of the Harmonized Tariff Schedule in its column `hts`.

    Raises TariffFileError for errors of form, and for a row that contradicts what is known of its list.
    """
    imported, errors = Imported(whole=False), list[str]()
    entries = dict[str, list[_Entry]]()
    for row in read_rows(file, data, _COLUMNS):
        imported.coded += 1
        code = code_of(row["hts8"])
        try:
            clauses = list(_clauses(row, code))
        except UnreadableRate as error:
            imported.refused.append(Refusal(row.line, code, row["added_percent"], error.reason, str(error)))
            continue
        except ValueError as error:
            errors.append(f"{file}:{row.line}: {code}: {error}")
            continue
        entries.setdefault(code, []).extend(clauses)
    if errors:
        raise TariffFileError(errors)
    lines = defaultdict[str, set[str]](set)
    for code in _lines_of(schedule_file, schedule) | entries.keys():
        lines[code[:6]].add(code)
    for subheading in sorted({code[:6] for code in entries}):
        imported.lines += _written(subheading, {code: entries.get(code, []) for code in sorted(lines[subheading])})
    return imported


def _clauses(row: Row, code: str) -> Iterator[_Entry]:
    name, percent = row["list"], row["added_percent"]
    if len(code) != 8 or not code.isascii() or not code.isdigit():
        raise UnreadableRate("no_code", f"{row['hts8']!r} is no line of the schedule, which has 8 digits")
    if name == NEVER:
        raise UnreadableRate("never_in_effect", f"list {NEVER} was suspended before it took effect")
    if not row["from"]:
        raise UnreadableRate("no_day", "the file has no first day of this duty")
    if not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,4})?", percent):
        raise ValueError(f"{percent!r} is no percentage; write it in digits, such as 7.5")
    try:
        start = date.fromisoformat(row["from"])
    except ValueError:
        raise ValueError(f"{row['from']!r} is no day; write it as year-month-day") from None
    if name.startswith(REVIEW):
        yield _Entry(start, percent, True, row.line)
        return
    if name not in LISTS:
        raise ValueError(f"{name!r} is no list that is read: {', '.join(LISTS)}, {NEVER} or {REVIEW}*")
    if (start, percent) != (LISTS[name][0][0], LISTS[name][-1][1]):
        raise ValueError(
            f"{percent} % from {start} contradicts list {name}, which has {LISTS[name][-1][1]} % and began on {LISTS[name][0][0]}"
        )
    for first, each in LISTS[name]:
        yield _Entry(first, each, False, row.line)


def _lines_of(file: str, data: bytes) -> set[str]:
    codes = (code_of(row["hts"]) for row in read_rows(file, data, ("hts",)))
    return {code[:8] for code in codes if len(code) >= 8}


def _written(subheading: str, lines: dict[str, list[_Entry]]) -> Iterator[ImportedLine]:
    """Yield the subheading with the highest rate of its lines, and its lines while they differ, each by day."""
    days = sorted({each.start for several in lines.values() for each in several})
    open_since = dict[str, tuple[date, str]]()
    source_line = min(each.line for several in lines.values() for each in several)
    for day, following in [*pairwise(days), (days[-1], None)]:
        rates = {code: _percent_on(several, day) for code, several in lines.items()}
        highest = max(rates.values(), key=float)
        held = {subheading: highest} | (rates if len(set(rates.values())) > 1 else {})
        for code in sorted(open_since.keys() - held.keys()):
            start, percent = open_since.pop(code)
            yield ImportedLine(source_line, code, f"{percent} %", start, day - _DAY)
        for code, percent in held.items():
            start, before = open_since.get(code, (day, percent))
            if before != percent:
                yield ImportedLine(source_line, code, f"{before} %", start, day - _DAY)
                start = day
            open_since[code] = start, percent
        if following is None:
            for code, (start, percent) in sorted(open_since.items()):
                yield ImportedLine(source_line, code, f"{percent} %", start)


def _percent_on(entries: list[_Entry], day: date) -> str:
    """Return the percentage of a line on a day: that of the review if there is one, else of lists that name it the highest."""
    held = [each for each in entries if each.start <= day]
    last_by_review = max((each for each in held if each.replaces), key=lambda each: each.start, default=None)
    if last_by_review is not None:
        return last_by_review.percent
    latest = dict[int, _Entry]()
    for each in sorted(held, key=lambda each: each.start):
        latest[each.line] = each
    return max((each.percent for each in latest.values()), key=float, default="0")

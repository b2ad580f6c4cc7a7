"""Lists of goods beside a rulebook, as CSV: what an entry that is not covered concerns, where it is too long for the rulebook."""

import csv
import datetime
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date

import msgspec

from services.revenue.law.source.checks import last_day
from services.revenue.law.source.rulebook import NotCovered, Rulebook
from services.revenue.law.source.yaml_source import LawFileError, Path, Source

LINES_MAX = 20_000
_COLUMNS = ("code", "from", "to")
OtherFiles = Callable[[str], str | None]
"""Returns the text of another file in the same directory by its name, or None."""


def with_goods(source: Source, book: Rulebook, other_files: OtherFiles) -> Rulebook:
    """Write entries whose goods stand in a file out to one entry for each time in which the same goods are concerned."""
    if not any(each.goods_file for each in book.not_covered):
        return book
    written, places = list[NotCovered](), list[int]()
    for place, entry in enumerate(book.not_covered):
        found = [] if entry.goods_file else [entry]
        with source:
            if entry.goods_file:
                found = list(_written(source, ("not_covered", place), entry, other_files))
        written += found
        places += [place] * len(found)
    source.write_out(("not_covered",), places)
    return msgspec.structs.replace(book, not_covered=tuple(written))


def _written(source: Source, path: Path, entry: NotCovered, other_files: OtherFiles) -> Iterator[NotCovered]:
    if entry.goods:
        raise source.error((*path, "goods_file"), "stands beside 'goods'; keep one of the two")
    text = other_files(entry.goods_file)
    if text is None:
        raise source.error((*path, "goods_file"), f"{entry.goods_file!r} is no goods*.csv beside this file")
    name = f"{source.file.rpartition('/')[0]}/{entry.goods_file}".lstrip("/")
    by_days: dict[tuple[date, date], list[str]] = defaultdict(list)
    for code, start, end in _lines(name, text):
        first, last = max(start or entry.start, entry.start), min(end or last_day(entry), last_day(entry))
        if first <= last:
            by_days[first, last].append(code)
    for (first, last), goods in sorted(by_days.items()):
        until = entry.to if last == last_day(entry) else last
        yield msgspec.structs.replace(entry, start=first, to=until, goods=tuple(goods))


def _lines(name: str, text: str) -> Iterator[tuple[str, date | None, date | None]]:
    rows = csv.DictReader(io.StringIO(text))
    known = list(rows.fieldnames or ())
    if "code" not in known or not set(known) <= set(_COLUMNS):
        raise LawFileError(name, 1, "", f"has the columns {known}; code is needed, of {_COLUMNS}")
    for count, row in enumerate(rows, start=1):
        line, code = rows.line_num, (row["code"] or "").strip()
        if count > LINES_MAX:
            raise LawFileError(name, line, "", f"holds more than {LINES_MAX} lines; use shorter codes")
        if not re.fullmatch(r"\d{2,10}", code):
            raise LawFileError(name, line, "code", f"{code!r} begins no commodity code; it has 2 to 10 digits")
        try:
            yield code, _day(row.get("from")), _day(row.get("to"))
        except ValueError as error:
            raise LawFileError(name, line, code, str(error)) from None


def _day(text: str | None) -> date | None:
    return datetime.date.fromisoformat(text) if text else None

"""Loads a published tariff: reads a CSV file of commodity codes and rates as they are printed, writes it as a tariff of law.

    python -m services.revenue.tariff_file FILE --column ukgt_duty_rate --id uk --from 2021-01-01 --law "…" --address "…" --out DIR

Every rate is either read exactly or told with its line and the reason: nothing is guessed. Codes that lost their leading
zero in a spreadsheet (7 or 9 digits) get it back. Writes `tariff.yaml` and `tariff_lines.csv`, which a rulebook's folder takes.
"""

import argparse
import csv
import io
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import yaml

from services.revenue.law.source.rates import parse_rate
from services.revenue.law.source.tariff import LINES_MAX, read_tariff

_LINES = "tariff_lines.csv"
_AMOUNT = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?([A-Z]{3}) ?(?:/|per) ?(.+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PERIOD = re.compile(r"(\d{1,2})(?: ([A-Z]{3,9}))? ?- ?(\d{1,2}) ([A-Z]{3,9})")
_UNITS = {
    "kg": "kg", "kg/net": "kg", "kg/gross": "kg gross", "kg/br": "kg gross", "tonne": "tonne",
    "kg/eda": "kg drained", "kg/net/eda": "kg drained", "kg/net/drained/wt": "kg drained",
    "kg/mas": "kg dry matter", "kg/net/mas": "kg dry matter", "kg/net/dry": "kg dry matter",
    "kg/lactic/matter": "kg lactic matter", "kg/dry/lactic/matter": "kg dry lactic matter",
    "kg/std/qual": "kg standard quality", "kg/tot/alc": "kg total alcohol",
    "hl": "hl", "%/vol/hl": "% vol per hl", "item": "piece", "items": "pieces", "pair": "pair", "m": "m", "m2": "m2",
}  # fmt: skip
"""Units as tariffs print them, blanks and strokes made strokes; `br`, `eda` and `mas` are gross, drained and dry matter."""
_SUCROSE = "100/kg/net/%/sacchar."


class UnreadableRate(ValueError):
    """A printed rate that cannot be read; `reason` is the word by which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not read."""

    line: int
    code: str
    text: str
    reason: str
    detail: str


@dataclass(slots=True)
class Loaded:
    """What a file held."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    """Commodity code and rate, as law writes it."""
    compound: int = 0
    """Lines that are not a plain percentage, whether read or not."""
    refused: list[Refusal] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, int]:
        """Return the number of refused lines, by reason."""
        return dict(Counter(refusal.reason for refusal in self.refused))


def load(file: str, text: str, column: str, code_column: str = "commodity") -> Loaded:
    """Read a published tariff; ValueError names the file where it has not the columns or too many lines."""
    rows = csv.DictReader(io.StringIO(text))
    missing = {column, code_column} - set(rows.fieldnames or ())
    if missing:
        raise ValueError(
            f"{file}:1: has no column {', '.join(sorted(missing))}; it has {', '.join(rows.fieldnames or ())}"
        )
    loaded = Loaded()
    seen: dict[str, int] = {}
    for row in rows:
        line, printed = rows.line_num, (row[column] or "").strip()
        code = _code(row[code_column] or "")
        if len(loaded.lines) + len(loaded.refused) >= LINES_MAX:
            raise ValueError(f"{file}:{line}: holds more than {LINES_MAX} lines")
        loaded.compound += _PERCENT.fullmatch(printed) is None
        try:
            if not re.fullmatch(r"\d{2,10}", code):
                raise UnreadableRate("no_code", f"{row[code_column]!r} is no commodity code of 2 to 10 digits")
            if code in seen:
                raise UnreadableRate("code_twice", f"{code} stands on line {seen[code]} too")
            loaded.lines.append((code, rate_of(printed)))
            seen[code] = line
        except UnreadableRate as error:
            loaded.refused.append(Refusal(line, code, printed, error.reason, str(error)))
    return loaded


def rate_of(printed: str) -> str:
    """Write a printed rate as law writes it; UnreadableRate says why it cannot be."""
    text = re.sub(r"\s+", " ", printed.replace("\N{NO-BREAK SPACE}", " ").replace("\N{EURO SIGN}", " EUR ")).strip()
    if text == "Entry Price":
        raise UnreadableRate("entry_price", "depends on the entry price of the day, which the file does not hold")
    if re.search(r"\b(EA|ADSZ|ADFM)\b", text):
        raise UnreadableRate(
            "agricultural_component", "names a table of agricultural components that the file does not hold"
        )
    parts = re.findall(r"([^()]+?) ?\(([^()]*)\)(?:, ?|$)", text)
    try:
        if "(" not in text:
            rate = _expression(text)
        elif ", ".join(f"{a} ({b})" for a, b in parts).replace(" ", "") != text.replace(" ", ""):
            raise UnreadableRate("season_untold", "does not say when each of its seasons is")
        else:
            rate = "; ".join(f"{_expression(part)} from {_periods(periods)}" for part, periods in parts)
        parse_rate(rate)
    except UnreadableRate:
        raise
    except ValueError as error:
        season = "season" in str(error) or "day of the year" in str(error)
        raise UnreadableRate("season_wrong" if season else "not_a_rate", str(error)) from None
    return rate


def _expression(text: str) -> str:
    words = re.split(r" (MIN|MAX) ", text)
    sums = [" + ".join(_part(part.strip()) for part in words[place].split("+")) for place in range(0, len(words), 2)]
    return sums[0] + "".join(f" {word.lower()} {part}" for word, part in zip(words[1::2], sums[1:], strict=True))


def _part(text: str) -> str:
    if match := _PERCENT.fullmatch(text):
        return f"{match[1]} %"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        raise UnreadableRate("bare_number", f"{text!r} has neither a per cent sign nor a currency")
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise UnreadableRate("not_a_rate", f"{text!r} is neither per cent nor an amount per unit")
    amount, currency, unit = match[1].replace(",", ""), match[2], match[3]
    unit = re.sub(r"(?<=\d)(?=(?:kg|items|m)\b)", " ", unit.strip().lower().replace(",", ""))
    unit = re.sub(r"[ /]+", "/", unit.replace("%", "%/"))
    if unit == _SUCROSE:
        return f"{amount} {currency} per % sucrose per 100 kg"
    count, _, rest = unit.partition("/")
    count, rest = (count, rest) if count.isdigit() else ("", unit)
    known = _UNITS.get(rest)
    if known is None:
        raise UnreadableRate("unknown_unit", f"{match[3]!r} is no unit that rates know")
    return f"{amount} {currency} per {count} {known}" if count else f"{amount} {currency} per {known}"


def _periods(text: str) -> str:
    told = []
    for period in text.split(","):
        match = _PERIOD.fullmatch(re.sub(r"\s+", " ", period.strip().upper()))
        if match is None:
            raise UnreadableRate("season_untold", f"{period.strip()!r} is no time of the year")
        first, first_month, last, last_month = match.groups()
        months = [_month(name) for name in (first_month or last_month, last_month)]
        told.append(f"{int(first):02d}-{months[0]:02d} to {int(last):02d}-{months[1]:02d}")
    return " and ".join(told)


def _month(name: str) -> int:
    if name[:3] not in _MONTHS:
        raise UnreadableRate("season_untold", f"{name!r} is no month")
    return _MONTHS.index(name[:3]) + 1


def _code(text: str) -> str:
    code = re.sub(r"[ .]", "", text)
    return f"0{code}" if code.isdigit() and len(code) in (7, 9) else code


def written(
    loaded: Loaded, tariff: str, name: str, start: date, law: str, address: str, default: str = ""
) -> dict[str, str]:
    """Write what was loaded as law files: text by name. Nothing of it is verified: a loader does not read the law.

    LawFileError tells what cannot be applied.
    """
    version: dict[str, object] = {"from": start, "reference": "published", "verified": False, "lines": _LINES}
    if default:
        version["default"] = default
    head = {
        "format": 1,
        "tariff": tariff,
        "name": name,
        "references": {"published": {"law": law, "address": address, "verified": False}},
        "versions": [version],
    }
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("code", "rate"))
    writer.writerows(loaded.lines)
    files = {"tariff.yaml": yaml.safe_dump(head, sort_keys=False, allow_unicode=True), _LINES: lines.getvalue()}
    read_tariff("tariff.yaml", files["tariff.yaml"], files.get)
    return files


def report(file: str, loaded: Loaded) -> list[str]:
    """Return the numbers of read and refused lines, and each refused line with its place and the reason."""
    told = [
        f"{len(loaded.lines)} lines read, {len(loaded.refused)} refused; {loaded.compound} of all are not a plain percentage",
        *(f"refused for {reason}: {count}" for reason, count in sorted(loaded.reasons.items())),
    ]
    return told + [f"{file}:{each.line}: {each.code} {each.text!r}: {each.detail}" for each in loaded.refused]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date: write it as year-month-day, such as 2026-07-01"
        ) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the loader; the exit code is 1 where lines were refused, 2 where nothing could be written."""
    parser = argparse.ArgumentParser(
        prog="python -m services.revenue.tariff_file",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="the published tariff, CSV with a header")
    parser.add_argument("--column", required=True, help="column of the rates")
    parser.add_argument("--code-column", default="commodity", help="column of the commodity codes")
    parser.add_argument("--id", required=True, help="id of the tariff, as rulebooks name it")
    parser.add_argument("--name", default="", help="name of the tariff for people")
    parser.add_argument("--from", dest="start", required=True, type=_day, help="first day, such as 2026-01-01")
    parser.add_argument("--law", required=True, help="the law that the file shows")
    parser.add_argument("--address", required=True, help="where the file was published")
    parser.add_argument(
        "--default", default="", help="rate of what no line names; none = such goods cannot be assessed"
    )
    parser.add_argument("--out", required=True, type=Path, help="directory to write into")
    options = parser.parse_args(arguments)
    try:
        loaded = load(
            options.file.name, options.file.read_text(encoding="utf-8-sig"), options.column, options.code_column
        )
        files = written(
            loaded, options.id, options.name or options.id, options.start, options.law, options.address, options.default
        )
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (options.out / name).write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for sentence in report(options.file.name, loaded):
        print(sentence)
    return 1 if loaded.refused else 0

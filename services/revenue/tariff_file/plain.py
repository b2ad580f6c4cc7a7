"""Plain CSV: a line for each code, with its rate as law writes it or as tariffs print it; the UK Global Tariff is such a file."""

from dataclasses import dataclass
from datetime import date

from services.revenue.law.source.rates import parse_rate
from services.revenue.tariff_file.imported import (
    Imported,
    ImportedLine,
    Refusal,
    UnreadableRate,
    is_code,
    read_once,
)
from services.revenue.tariff_file.printed import rate_of
from services.revenue.tariff_file.table import Row, code_of, read_rows


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a plain file; `start` and `to` may be absent."""

    code: str = "code"
    rate: str = "rate"
    start: str = "from"
    to: str = "to"


UKGT = Columns("commodity", "ukgt_duty_rate")


def read_plain(file: str, data: bytes, columns: Columns = Columns()) -> Imported:
    """Read a plain CSV; TariffFileError for errors of form."""
    imported = Imported()
    for row in read_rows(file, data, (columns.code, columns.rate)):
        imported.coded += 1
        code, printed = code_of(row[columns.code]), row[columns.rate]
        try:
            if not is_code(code):
                raise UnreadableRate("no_code", f"{row[columns.code]!r} is no commodity code of 2 to 10 digits")
            rate = read_once(_rate, printed)
            days = _day(row, columns.start), _day(row, columns.to)
            imported.lines.append(ImportedLine(row.line, code, rate, *days))
        except UnreadableRate as error:
            imported.refused.append(Refusal(row.line, code, printed, error.reason, str(error)))
    return imported


def _rate(printed: str) -> str:
    try:
        parse_rate(printed)
    except ValueError:
        return rate_of(printed)
    return printed


def _day(row: Row, column: str) -> date | None:
    text = row.values.get(column, "").strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UnreadableRate("no_day", f"{text!r} in {column!r} is no day: write it as year-month-day") from None

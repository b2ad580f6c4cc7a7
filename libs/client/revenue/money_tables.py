"""Tables of money as banks give them: a CSV, a line each."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from libs.client.errors import LuxorError
from libs.customs.money import MoneyError, parse_minor

Row = TypeVar("Row")


def read_table(
    path: Path,
    needed: Sequence[str],
    optional: Sequence[str],
    make: Callable[[Mapping[str, str], int, Callable[[str], LuxorError]], Row],
    reason: str,
    *,
    amount: str = "amount",
) -> list[Row]:
    """Read a CSV with the columns `needed` (currency and `amount` among them) and any of `optional`; raise LuxorError `reason` naming the line.

    `make` gets the cells of a line without blanks around them, empty where their column is left out, the amount in minor units,
    and what makes an error of a clause about the line.
    """

    def error_of(place: str, reason_text: str) -> LuxorError:
        return LuxorError.from_reason(reason, path=place, why=reason_text)

    def read(row: Mapping[Any, Any], place: str) -> Row:
        if None in row or any(row[name] is None for name in needed):
            raise error_of(place, "has not as many cells as there are columns")
        cells = {name: (row.get(name) or "").strip() for name in (*needed, *optional)}
        try:
            minor = parse_minor(cells[amount], cells["currency"])
        except (MoneyError, ValueError) as error:
            raise error_of(place, f"has an amount that is none: {error}") from None
        return make(cells, minor, lambda reason_text: error_of(place, reason_text))

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in needed if name not in names]
            unknown = [name for name in names if name not in (*needed, *optional)]
            if missing or unknown:
                reason_text = (
                    f"has no column {missing[0]}" if missing else f"has a column {unknown[0]!r}, which is not known"
                )
                raise error_of(f"{path}:1", reason_text)
            reader.fieldnames = names
            return [read(row, f"{path}:{reader.line_num}") for row in reader]
    except UnicodeDecodeError:
        raise error_of(str(path), "is not written in UTF-8") from None
    except csv.Error as error:
        raise error_of(str(path), f"is no CSV: {error}") from None

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
    more: Sequence[str],
    make: Callable[[Mapping[str, str], int, Callable[[str], LuxorError]], Row],
    reason: str,
) -> list[Row]:
    """Read a CSV with the columns `needed` (currency and amount among them) and any of `more`; raise LuxorError `reason` naming the line.

    `make` gets the cells of a line without blanks around them, empty where their column is left out, the amount in minor units,
    and what makes an error of a clause about the line.
    """

    def wrong(place: str, why: str) -> LuxorError:
        return LuxorError.of(reason, path=place, why=why)

    def read(row: Mapping[Any, Any], place: str) -> Row:
        if None in row or any(row[name] is None for name in needed):
            raise wrong(place, "has not as many cells as there are columns")
        cells = {name: (row.get(name) or "").strip() for name in (*needed, *more)}
        try:
            minor = parse_minor(cells["amount"], cells["currency"])
        except (MoneyError, ValueError) as error:
            raise wrong(place, f"has an amount that is none: {error}") from None
        return make(cells, minor, lambda why: wrong(place, why))

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in needed if name not in names]
            unknown = [name for name in names if name not in (*needed, *more)]
            if missing or unknown:
                why = f"has no column {missing[0]}" if missing else f"has a column {unknown[0]!r}, which is not known"
                raise wrong(f"{path}:1", why)
            reader.fieldnames = names
            return [read(row, f"{path}:{reader.line_num}") for row in reader]
    except UnicodeDecodeError:
        raise wrong(str(path), "is not written in UTF-8") from None
    except csv.Error as error:
        raise wrong(str(path), f"is no CSV: {error}") from None

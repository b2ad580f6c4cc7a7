"""The register of scheme numbers: reading a table, registering its numbers, and the results as plain values."""

import csv
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from luxor.consignment.v1.consignment_pb2 import Scheme
from luxor.revenue.v1 import schemes_pb2 as pb
from luxor.revenue.v1.schemes_pb2_grpc import SchemeServiceStub

COLUMNS: Final = ("scheme", "number", "holder", "from", "to")
"""Columns of a table of numbers; holder and to may be empty or left out."""
REQUIRED: Final = ("scheme", "number", "from")
BATCH: Final = 1_000
_PREFIX: Final = "SCHEME_"
_OUTCOME: Final = "SCHEME_NUMBER_OUTCOME_"


def scheme_of(name: str) -> int:
    """Return the number of a scheme by its name, such as IOSS; -1 where there is none."""
    return int(dict(Scheme.items()).get(_PREFIX + name.strip().upper().replace("-", "_"), -1))


def read_numbers(path: Path) -> list[pb.SchemeNumber]:
    """Read a CSV of numbers with the columns COLUMNS; raise LuxorError SCHEME_FILE_WRONG naming the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip().lower() for name in reader.fieldnames or ()]
            missing = [name for name in REQUIRED if name not in names]
            unknown = [name for name in names if name not in COLUMNS]
            if missing or unknown:
                why = f"has no column {missing[0]}" if missing else f"has a column {unknown[0]!r}, which is not known"
                raise LuxorError.from_reason("SCHEME_FILE_WRONG", path=f"{path}:1", why=why)
            reader.fieldnames = names
            return [_number(row, f"{path}:{reader.line_num}") for row in reader]
    except UnicodeDecodeError:
        raise LuxorError.from_reason("SCHEME_FILE_WRONG", path=str(path), why="is not written in UTF-8") from None
    except csv.Error as error:
        raise LuxorError.from_reason("SCHEME_FILE_WRONG", path=str(path), why=f"is no CSV: {error}") from None


def _number(row: dict[str, Any], place: str) -> pb.SchemeNumber:
    if None in row or any(value is None for name, value in row.items() if name in REQUIRED):
        raise LuxorError.from_reason("SCHEME_FILE_WRONG", path=place, why="has not as many cells as there are columns")
    scheme = scheme_of(row["scheme"])
    if scheme <= 0:
        raise LuxorError.from_reason(
            "SCHEME_FILE_WRONG", path=place, why=f"names a scheme {row['scheme']!r} that is not known"
        )
    return pb.SchemeNumber(
        scheme=scheme,  # type: ignore[arg-type]  # a number of the enumeration
        number=row["number"].strip(),
        holder=(row.get("holder") or "").strip(),
        from_day=row["from"].strip(),
        to_day=(row.get("to") or "").strip(),
    )


async def register(client: Client, numbers: Sequence[pb.SchemeNumber]) -> list[dict[str, Any]]:
    """Register numbers, 1,000 in a request; return the result of each. Roles: operator, officer."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(numbers), BATCH):
        part = numbers[start : start + BATCH]
        request = pb.RegisterSchemeNumbersRequest(request_id=str(uuid.uuid4()), numbers=part)
        answer = await client.ask(
            "revenue", SchemeServiceStub, "RegisterSchemeNumbers", request, pb.RegisterSchemeNumbersResponse
        )
        for number, result in zip(part, answer.results, strict=True):
            entry = plain_number(number)
            entry["outcome"] = pb.SchemeNumberOutcome.Name(result.outcome).removeprefix(_OUTCOME)
            if result.HasField("error"):
                entry["error"] = {
                    "reason": result.error.reason, "sentence": result.error.message, "hint": result.error.hint,
                }  # fmt: skip
            results.append(entry)
    return results


async def numbers_of(client: Client, *, scheme: int = 0, number: str = "") -> list[dict[str, Any]]:
    """Return the register, of one scheme or all, or one number. Roles: operator, officer, analyst."""
    request = pb.ListSchemeNumbersRequest(
        scheme=scheme,  # type: ignore[arg-type]  # a number of the enumeration
        number=number,
        page_size=BATCH,
    )
    answers = pages(client, "revenue", SchemeServiceStub, "ListSchemeNumbers", request, pb.ListSchemeNumbersResponse)
    return [plain_number(each) async for page in answers for each in page.numbers]


def plain_number(entry: pb.SchemeNumber) -> dict[str, Any]:
    """Return an entry as plain values; an open end is left out."""
    results = {
        "scheme": Scheme.Name(entry.scheme).removeprefix(_PREFIX), "number": entry.number, "holder": entry.holder,
        "from_day": entry.from_day,
    }  # fmt: skip
    return results | ({"to_day": entry.to_day} if entry.to_day else {})


def refused(results: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the entries that were refused."""
    return (each for each in results if each["outcome"] == "REFUSED")

"""The journal of the ledger as files for other books, with control totals that do not come from its rows."""

import csv
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import instant
from libs.client.revenue.ledger import balances
from libs.customs.time import MICROS_PER_DAY, day_text
from luxor.common.v1.common_pb2 import ChargeKind
from luxor.revenue.v1 import journal_pb2 as pb
from luxor.revenue.v1.journal_pb2_grpc import JournalServiceStub
from luxor.revenue.v1.ledger_pb2 import Entry, EntryKind

COLUMNS: Final = {
    "day": str, "partition": int, "number": int, "place": int, "booked_at": str, "kind": str, "reverses": str, "mrn": str,
    "version": int, "reference": str, "destination": str, "account": str, "charge": str, "currency": str, "debit_minor": int,
    "credit_minor": int, "hash": str,
}  # fmt: skip
"""Columns of a row, which is a posting, and their types. Amounts are minor units; one of debit and credit is 0."""
DAYS: Final = 31
"""Days of one request."""
PAGE: Final = 1_000

Row = tuple[Any, ...]
AccountCurrency = tuple[str, str]


class JournalWriter(Protocol):
    """Writes rows of the journal to a file."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write the rows of a page."""
        ...

    def close(self) -> None:
        """Write what the form needs at its end."""
        ...


class CsvJournal:
    """The journal as a CSV in UTF-8: a line of names, then a line for each posting."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to an open file."""
        self._file = file
        self._lines = csv.writer(_Encoded(file), lineterminator="\n")
        self._lines.writerow(COLUMNS)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the rows of a page."""
        self._lines.writerows(rows)

    def close(self) -> None:
        """Write nothing more: a CSV has no end."""


class _Encoded:
    """What csv.writer writes to: texts as UTF-8."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


class ParquetJournal:
    """The journal as Parquet, a row group for each page. Raises LuxorError PARQUET_MISSING where pyarrow is not installed."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to an open file."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise LuxorError.from_reason("PARQUET_MISSING") from None
        self._table = pa.Table
        self._schema = pa.schema([(name, pa.string() if kind is str else pa.int64()) for name, kind in COLUMNS.items()])
        self._parquet = pq.ParquetWriter(file, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the rows of a page."""
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        self._parquet.write_table(self._table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write the description of the row groups."""
        self._parquet.close()


WRITERS: Final[Mapping[str, Callable[[IO[bytes]], JournalWriter]]] = {".csv": CsvJournal, ".parquet": ParquetJournal}
"""Writers by the ending of the file's name."""


async def journal(client: Client, from_day: int, to_day: int, *, page_size: int = PAGE) -> AsyncIterator[list[Entry]]:
    """Return the entries of days (since 1970-01-01 UTC), page by page, by day, partition and number within each 31 days."""
    for first in range(from_day, to_day + 1, DAYS):
        last = min(first + DAYS - 1, to_day)
        request = pb.ListJournalRequest(from_day=day_text(first), to_day=day_text(last), page_size=page_size)
        async for answer in pages(
            client, "revenue", JournalServiceStub, "ListJournal", request, pb.ListJournalResponse
        ):
            yield list(answer.entries)


def rows_of(entries: Sequence[Entry]) -> Iterator[Row]:
    """Return a row for each posting, in the order of COLUMNS; the hash stands with the first posting of its entry."""
    for entry in entries:
        booked_at = instant(entry.booked_at)
        for place, posting in enumerate(entry.postings):
            amount = posting.amount_minor
            yield (
                booked_at[:10], entry.partition, entry.number, place, booked_at,
                EntryKind.Name(entry.kind).removeprefix("ENTRY_KIND_"),
                EntryKind.Name(entry.reverses).removeprefix("ENTRY_KIND_") if entry.reverses else "",
                entry.mrn, entry.version, entry.reference, entry.destination, posting.account,
                ChargeKind.Name(posting.kind).removeprefix("CHARGE_KIND_") if posting.kind else "",
                entry.currency, max(amount, 0), max(-amount, 0), entry.hash.hex() if place == 0 else "",
            )  # fmt: skip


async def export(client: Client, path: Path, from_day: int, to_day: int, *, page_size: int = PAGE) -> dict[str, Any]:
    """Write the journal of days to a file, whose ending selects the form, and return its control totals.

    The totals of the rows by account and currency are compared with the balances of the ledger before and after the days, which do not come
    from the rows: `differences` lists those that do not agree. `chains` has the last entry and hash of each partition, for `luxor revenue chains`.
    Nothing is left at `path` if the export fails. Raises LuxorError.
    """
    totals: dict[AccountCurrency, list[int]] = {}
    chains: dict[int, tuple[int, str]] = {}
    rows = entries = 0
    with _replaced(path) as file:
        writer = WRITERS[path.suffix.lower()](file)
        async for page in journal(client, from_day, to_day, page_size=page_size):
            written = list(rows_of(page))
            writer.write(written)
            rows, entries = rows + len(written), entries + len(page)
            for entry in page:
                chains[entry.partition] = (entry.number, entry.hash.hex())
                for posting in entry.postings:
                    total = totals.setdefault((posting.account, entry.currency), [0, 0])
                    total[posting.amount_minor < 0] += abs(posting.amount_minor)
        writer.close()
    with path.open("rb") as written_file:
        digest = hashlib.file_digest(written_file, "sha256").hexdigest()
    return {
        "file": str(path),
        "sha256": digest,
        "from_day": day_text(from_day),
        "to_day": day_text(to_day),
        "entries": entries,
        "rows": rows,
        "totals": [
            {"account": account, "currency": currency, "debit_minor": debit, "credit_minor": credit}
            for (account, currency), (debit, credit) in sorted(totals.items())
        ],
        "chains": [
            {"partition": partition, "number": number, "hash": digest_text}
            for partition, (number, digest_text) in sorted(chains.items())
        ],
        "differences": await _differences(client, from_day, to_day, totals),
    }


async def _differences(
    client: Client, from_day: int, to_day: int, totals: Mapping[AccountCurrency, Sequence[int]]
) -> list[dict[str, Any]]:
    """Compare the totals of the rows with what the balances of the accounts grew by in the days."""
    before = {_account(each): each for each in await balances(client, at_micros=from_day * MICROS_PER_DAY - 1)}
    after = await balances(client, at_micros=(to_day + 1) * MICROS_PER_DAY - 1)
    names = ("debit_minor", "credit_minor")
    grown = {
        _account(each): [each.get(name, 0) - before.get(_account(each), {}).get(name, 0) for name in names]
        for each in after
    }
    return [
        {
            "account": key[0],
            "currency": key[1],
            "rows": dict(zip(names, totals.get(key, (0, 0)), strict=True)),
            "balances": dict(zip(names, grown.get(key, (0, 0)), strict=True)),
        }
        for key in sorted(totals.keys() | grown.keys())
        if list(totals.get(key, (0, 0))) != list(grown.get(key, (0, 0)))
    ]


def _account(balance: Mapping[str, Any]) -> AccountCurrency:
    return balance["account"], balance["currency"]


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside `path` and put it there when it is whole."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

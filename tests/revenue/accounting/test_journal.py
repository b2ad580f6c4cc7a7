"""The journal as a file: every posting once, in pages of any size, with totals that the ledger's balances confirm."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from libs.client.revenue.accounting.journal import COLUMNS, export
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.revenue.v1 import journal_pb2 as pb
from luxor.revenue.v1.journal_pb2_grpc import JournalServiceStub
from services.revenue.ledger.page import PageError
from services.revenue.store.payments.payments import Payment
from services.revenue.store.proofs.journal import Journal, JournalPlace
from tests.revenue.accounting.callers import client_of
from tests.revenue.ledger.books import Books, guarded, unguarded
from tests.revenue.ledger.service_client import FIRST, SECOND, SECONDS, open_state
from tests.revenue.ledger.states import State, mrn
from tests.revenue.service_client import refused
from tests.support.services import Running


async def some_entries(kept: Books) -> None:
    await kept.take(open_state(FIRST), open_state(SECOND), State(mrn(3, 3)))
    await kept.pay(Payment("b1", FIRST, "EU", "EUR", 2_500), Payment("b2", "rent, please", "EU", "EUR", 5))
    await kept.take(open_state(SECOND, 2, decided=False))


def today() -> int:
    return day_of_date(datetime.now(UTC).date())


async def test_every_posting_is_written_once_whatever_the_size_of_a_page(
    house: Running, kept: Books, tmp_path: Path
) -> None:
    await some_entries(kept)
    client, day = await client_of(house), today()
    files = []
    for size in (1, 2, 3, 1_000):
        path = tmp_path / f"{size}.csv"
        result = await export(client, path, day - 40, day, page_size=size)
        files.append(path.read_bytes())
        assert result["differences"] == []
        assert result["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(set(files)) == 1
    assert sorted(os.listdir(tmp_path)) == ["1.csv", "1000.csv", "2.csv", "3.csv"]
    rows = list(csv.DictReader(files[0].decode().splitlines()))
    written = [
        (row["mrn"], int(row["number"]), row["account"], int(row["debit_minor"]) - int(row["credit_minor"]))
        for row in rows
    ]
    posted = [(mrn_, number, account, amount) for mrn_, _, number, account, _, amount in await kept.postings()]
    assert Counter(written) == Counter(posted)
    assert len(posted) == result["rows"]


async def test_totals_and_ends_of_chains_are_those_of_the_ledger(house: Running, kept: Books, tmp_path: Path) -> None:
    """The oracle reads the store: debits and credits by account from its postings, and the heads of the chains."""
    await some_entries(kept)
    day = today()
    result = await export(await client_of(house), tmp_path / "all.csv", day - 1, day)
    async with kept.database.connection() as reader:
        totals = await reader.raw.fetch(
            "select n.name, p.currency, sum(greatest(p.amount, 0))::bigint, sum(greatest(-p.amount, 0))::bigint from all_postings p "
            "join ledger_name n on n.id = p.account group by n.name, p.currency"
        )
        heads = await reader.raw.fetch("select partition, number, hash from ledger_head where number > 0")
        entries = await reader.raw.fetchval("select sum(number)::bigint from ledger_head")
    told = {tuple(each.values()) for each in result["totals"]}
    assert told == {tuple(row) for row in totals}
    assert {(each["partition"], each["number"], each["hash"]) for each in result["chains"]} == {
        (row["partition"], row["number"], row["hash"].hex()) for row in heads
    }
    assert result["entries"] == entries
    debit, credit = (sum(each[name] for each in result["totals"]) for name in ("debit_minor", "credit_minor"))
    assert debit == credit > 0


async def test_parquet_has_the_rows_of_the_csv_with_numbers_as_numbers(
    house: Running, kept: Books, tmp_path: Path
) -> None:
    await some_entries(kept)
    client, day = await client_of(house), today()
    for name in ("j.csv", "j.parquet"):
        await export(client, tmp_path / name, day - 1, day, page_size=2)
    table = pq.read_table(tmp_path / "j.parquet")
    with (tmp_path / "j.csv").open(newline="") as file:
        expected = [{name: kind(row[name]) for name, kind in COLUMNS.items()} for row in csv.DictReader(file)]
    assert table.to_pylist() == expected
    assert {str(field.type) for field in table.schema if field.name.endswith("_minor")} == {"int64"}


async def test_days_without_entries_give_an_empty_file_with_its_columns(house: Running, tmp_path: Path) -> None:
    client = await client_of(house)
    for name in ("j.csv", "j.parquet"):
        result = await export(client, tmp_path / name, today() - 40, today() - 1)
        assert (result["rows"], result["totals"], result["chains"], result["differences"]) == (0, [], [], [])
    assert (tmp_path / "j.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert pq.read_table(tmp_path / "j.parquet").column_names == list(COLUMNS)


async def test_a_balance_that_does_not_follow_from_the_rows_is_a_difference(
    house: Running, kept: Books, tmp_path: Path
) -> None:
    await some_entries(kept)
    await unguarded(kept.database)
    async with kept.database.transaction() as tx:
        await tx.raw.execute(
            "update ledger_account_page set credit = credit + 1 where account = (select id from ledger_name where name = 'unmatched:EU')"
        )
    await guarded(kept.database)
    result = await export(await client_of(house), tmp_path / "j.csv", today() - 1, today())
    assert result["differences"] == [
        {
            "account": "unmatched:EU", "currency": "EUR", "rows": {"debit_minor": 0, "credit_minor": 5},
            "balances": {"debit_minor": 0, "credit_minor": 6},
        }
    ]  # fmt: skip


async def test_an_export_that_is_cut_off_leaves_no_file(house: Running, kept: Books, tmp_path: Path) -> None:
    await some_entries(kept)
    client = await client_of(house)
    calls = 0
    ask = client.ask

    async def cut(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConnectionError("cut off")
        return await ask(*arguments)  # type: ignore[arg-type]

    client.ask = cut  # type: ignore[assignment,method-assign]
    with pytest.raises(ConnectionError):
        await export(client, tmp_path / "j.csv", today(), today(), page_size=1)
    assert os.listdir(tmp_path) == []


async def test_a_missing_entry_is_not_passed_over(books: Books) -> None:
    await books.take(open_state(FIRST))
    await books.take(open_state(FIRST, 2, decided=False))
    async with books.database.transaction() as tx:
        await tx.raw.execute("delete from ledger_page where last_number = (select min(last_number) from ledger_page)")
    async with books.database.connection() as reader:
        moment = await reader.raw.fetchval("select max(booked_at) from ledger_head")
    day = moment // MICROS_PER_DAY
    with pytest.raises(PageError, match=r"partition 3, entry 1: it is missing"):
        await Journal(books.database, books.chain).page(JournalPlace(day, -1, 0), day, rows_max=10)


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2026-11-01", "2026-12-01", ""),
        ("2026-11-01", "2026-12-02", "LEDGER_DAYS_OUT_OF_BOUNDS"),
        ("2026-11-02", "2026-11-01", "LEDGER_DAYS_OUT_OF_BOUNDS"),
        ("2026-11-31", "2026-12-01", "DAY_MALFORMED"),
        ("2026-11-01", "", "DAY_MALFORMED"),
    ],
)
async def test_days_of_a_request_are_bounded(house: Running, first: str, last: str, reason: str) -> None:
    stub = JournalServiceStub(await house.channel("analyst", "analyst-1"))
    call = stub.ListJournal(pb.ListJournalRequest(from_day=first, to_day=last), timeout=SECONDS)
    if reason:
        assert (await refused(call))[0] == reason
    else:
        assert not (await call).entries

"""What a proof finds in chains and seals is named by its place and its cause."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from libs.chain.hashing import START
from libs.store.errors import StoreUnavailable
from libs.store.tables.schema import today
from services.revenue.commands.verify import Verification
from services.revenue.jobs import proofs
from services.revenue.store.proofs.chain import DISCREPANCIES_MAX
from services.revenue.store.proofs.marks import read_state
from services.revenue.store.proofs.seals import Seals
from tests.fault.checks import until
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.states import State, mrn

PAGE = [State(mrn(number, 3)) for number in range(5)]
"""Ten entries of partition 3, each with four postings."""
ALTERED = "was altered: its hash does not follow from what it seals"
EVERY = dict.fromkeys(range(64), 10)


async def sealed(books: Books, *pages: list[State]) -> None:
    for page in pages:
        await books.take(*page)
        async with books.database.transaction() as tx:
            await Seals(books.database).make(tx)


async def altered(books: Books, *changes: str) -> list[str]:
    """The faults of partition 3 after some changes; those of entries and postings are made to the form of former releases."""
    if any("ledger_entry" in change or "ledger_posting" in change for change in changes):
        await as_rows(books)
    async with books.database.transaction() as tx:
        for change in changes:
            await tx.raw.execute(change)
    return (await Books(books.database).chain.check(3, entries_max=1_000)).discrepancies


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (("entry where number > 8", "posting where number > 8"), "partition 3: entries 9 to 10 are missing"),
        (("entry where number in (4, 5)", "posting where number in (4, 5)"), "partition 3: entries 4 to 5 are missing"),
        (("entry where number < 2", "posting where number < 2"), "partition 3: entries 1 to 1 are missing"),
        (("entry where number = 4",), "partition 3: 4 postings of day {day} belong to no entry"),
        (
            ("entry where number = 4",),
            "partition 3, entry 5: its content or what stands before it was altered; the stored hash does not follow",
        ),
        (("posting where number = 4",), "partition 3, entry 4: its 0 postings sum to 0 minor units, not to nothing"),
        (("head where partition = 3",), "partition 3: the head of the chain is missing"),
    ],
)
async def test_what_is_missing_is_named(books: Books, changes: tuple[str, ...], fault: str) -> None:
    await books.take(*PAGE)
    async with books.database.connection() as reader:
        day = await today(reader)
    assert fault.format(day=day) in await altered(books, *(f"delete from ledger_{change}" for change in changes))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            "entry set booked_at = booked_at + 86400000000 where number = 4",
            "partition 3, entry 4: it stands in day {day}, but was booked on day {next}",
        ),
        (
            "posting set currency = 'GBP' where number = 4 and place = 2",
            "partition 3, entry 4: its posting 2 has another currency or time than the entry",
        ),
        (
            "posting set booked_at = booked_at - 1 where number = 4 and place = 2",
            "partition 3, entry 4: its posting 2 has another currency or time than the entry",
        ),
        (
            "posting set amount = amount + 7 where number = 4 and place = 0",
            "partition 3, entry 4: its 4 postings sum to 7 minor units, not to nothing",
        ),
        (
            "head set number = 9 where partition = 3",
            "partition 3: the chain ends at entry 10, but its head has entry 9 or another hash",
        ),
        (
            "head set hash = '\\x00' where partition = 3",
            "partition 3: the chain ends at entry 10, but its head has entry 10 or another hash",
        ),
    ],
)
async def test_what_is_altered_is_named(books: Books, change: str, fault: str) -> None:
    await books.take(*PAGE)
    async with books.database.connection() as reader:
        day = await today(reader)
    assert fault.format(day=day, next=day + 1) in await altered(books, f"update ledger_{change}")


async def test_no_more_faults_are_listed_than_can_be_read(books: Books) -> None:
    await books.take(*PAGE)
    assert DISCREPANCIES_MAX == 20
    assert len(await altered(books, "update ledger_posting set currency = 'GBP'")) == 20


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ("delete from ledger_seal where number = 1", {"1 of the 2 seals are missing", f"seal 2 {ALTERED}"}),
        ("update ledger_seal set hashes = substring(hashes from 1 for 2016) where number = 2", {f"seal 2 {ALTERED}"}),
        (
            "update ledger_seal set hashes = hashes || decode(repeat('00', 32), 'hex') where number = 2",
            {f"seal 2 {ALTERED}"},
        ),
        ("update ledger_seal set numbers = numbers || 0::bigint where number = 2", {f"seal 2 {ALTERED}"}),
        (
            "update ledger_seal set number = 0 where number = 1",
            {"a seal has the number 0; they begin with 1", f"seal 2 {ALTERED}"},
        ),
        (
            "update ledger_seal set numbers[4] = 11 where number = 1",
            {
                "partition 3: seal 1 seals an entry behind entry 10, with which the chain ends: the end of the chain was cut off",
                "partition 3: seal 2 seals fewer entries than the seal before; one of them was altered",
            },
        ),
    ],
)
async def test_what_is_wrong_with_a_seal_is_named(books: Books, change: str, faults: set[str]) -> None:
    await sealed(books, PAGE[:2], PAGE[2:])
    found = set(await altered(books, change))
    assert faults <= found
    assert all("seal" in each for each in found)


@pytest.mark.parametrize(
    ("change", "last", "faults"),
    [
        ("", 3, []),
        ("delete from ledger_seal where number = 2", 3, ["seals 2 to 2 are missing", f"seal 3 {ALTERED}"]),
        ("update ledger_seal set sealed_at = sealed_at + 1 where number = 2", 3, [f"seal 2 {ALTERED}"]),
        (
            "update ledger_seal set hashes = substring(hashes from 1 for 2047) where number = 2",
            1,
            ["seal 2 was altered: it does not name 64 partitions"],
        ),
        (
            "update ledger_seal set numbers = numbers || 0::bigint where number = 2",
            1,
            ["seal 2 was altered: it does not name 64 partitions"],
        ),
        (
            "update ledger_seal set numbers[4] = 1 where number = 2",
            3,
            [
                f"seal 2 {ALTERED}",
                "seal 2 seals fewer entries than the seal before; one of them was altered",
                "partition 3: seal 2 names another hash of entry 1 than is stored",
            ],
        ),
        (
            "update ledger_entry set hash = '\\x01' where number = 4",
            3,
            ["partition 3: seal 2 names another hash of entry 4 than is stored"],
        ),
    ],
)
async def test_seals_are_followed_from_a_proven_one(books: Books, change: str, last: int, faults: list[str]) -> None:
    await sealed(books, PAGE[:1], PAGE[1:2], PAGE[2:])
    await altered(books, *([change] if change else []))
    seals = Seals(books.database)
    async with books.database.connection() as reader:
        hashes = dict(await reader.raw.fetch("select number, hash from ledger_seal"))
        found = await seals.follow(reader, 0, START, EVERY, 10)
        assert found == (last, hashes[last], faults)
        if not change:
            # What is not proven yet ends it, and so does the number of seals that are asked for.
            assert (await seals.follow(reader, 0, START, EVERY | {3: 2}, 10))[0] == 1
            assert (await seals.follow(reader, 0, START, EVERY | {3: 1}, 10))[:2] == (0, START)
            assert (await seals.follow(reader, 0, START, EVERY, 1))[0] == 1
            assert await seals.follow(reader, 1, hashes[1], EVERY, 10) == (3, hashes[3], [])
            assert await seals.follow(reader, 3, hashes[3], EVERY, 10) == (3, hashes[3], [])


async def test_whatever_breaks_a_part_of_the_proof_is_logged_and_does_not_end_the_service(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(*PAGE)
    seen: list[tuple[str, str]] = []
    broken: list[Exception] = [StoreUnavailable("away", reason="lock"), TypeError("no number"), ValueError("no page")]
    advance = Verification.advance

    async def breaks(self: Verification) -> bool:
        if broken:
            raise broken.pop(0)
        return await advance(self)

    log = SimpleNamespace(
        error=lambda event, error, **_: seen.append((event, str(error))),
        warning=lambda event, **what: seen.append((event, what["why"])),
    )
    monkeypatch.setattr(proofs, "log", log)
    monkeypatch.setattr(proofs, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(Verification, "advance", breaks)
    stop = asyncio.Event()
    running = asyncio.create_task(proofs.ProofJob(books.database, books.ledger.names, "one", share=1.0).run(stop))

    async def is_proven() -> bool:
        async with books.database.connection() as reader:
            return bool((await read_state(reader)).entries)

    await until(is_proven, "the part is proven", seconds=10)
    stop.set()
    await running
    assert seen == [
        ("LEDGER_PROOF_POSTPONED", "away"), ("LEDGER_PROOF_FAILED", "no number"), ("LEDGER_PROOF_FAILED", "no page"),
    ]  # fmt: skip

"""What is wrong with entries, told in full: each fault alone, and both sides of each bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from libs.chain.hashing import START
from libs.chain.seals import Seal
from libs.store.database import Database
from libs.store.tables.schema import today
from services.revenue.store.ledger.balances import BEGINNING
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.names import Names
from services.revenue.store.proofs import chain as chain_of
from services.revenue.store.proofs.chain import Chain, ChainCheck, verify_entries
from services.revenue.store.proofs.day_balances import compare_day
from services.revenue.store.proofs.seals import Seals
from services.revenue.store.proofs.stored_entry import StoredEntry, StoredPosting
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.states import State, mrn

PARTITION, DAY = 3, 20_000
PAGE = [State(mrn(number, PARTITION)) for number in range(5)]
"""Two entries each."""
NAMES = {7: "bank:EU", 8: "unmatched:EU"}
ALTERED = "its content or what stands before it was altered; the stored hash does not follow"


def chained(*entries: StoredEntry, before: bytes = START) -> list[StoredEntry]:
    """Entries with the hashes that follow, and without their postings, as they are read."""
    found = []
    for each in entries:
        before = each.hashed(before)
        found.append(replace(each, hash=before, postings=[]))
    return found


def entry(number: int, *amounts: int, **more: Any) -> StoredEntry:
    first = {
        "day": DAY, "partition": PARTITION, "number": number, "kind": 1, "reverses": 0, "booked_at": DAY * MICROS_A_DAY,
        "mrn": "m", "version": 1, "reference": "r", "currency": "EUR", "destination": "DE", "hash": b"",
    }  # fmt: skip
    postings = [StoredPosting(NAMES[7 + place % 2], amount, 2) for place, amount in enumerate(amounts)]
    return StoredEntry(**cast(Any, first | more), postings=postings)


def rows(number: int, *amounts: int, **more: Any) -> list[dict[str, Any]]:
    """The postings of an entry as they are read; `more` is what the last one has besides."""
    found: list[dict[str, Any]] = [
        {
            "number": number, "place": place, "account": 7 + place % 2, "kind": 2, "amount": amount, "currency": "EUR",
            "booked_at": DAY * MICROS_A_DAY,
        }
        for place, amount in enumerate(amounts)
    ]  # fmt: skip
    return [*found[:-1], found[-1] | more]


def faults(
    entries: list[StoredEntry], postings: list[dict[str, Any]], last: int = 0, before: bytes = START
) -> list[str]:
    checked = ChainCheck(last=last, hash=before)
    verify_entries(PARTITION, DAY, entries, postings, NAMES, checked)
    assert checked.entries == len(entries)
    assert (checked.last, checked.hash) == (entries[-1].number, entries[-1].hash)
    assert checked.postings == sum(len(each.postings) for each in entries)
    return checked.discrepancies


def test_entries_that_follow_one_another_have_no_fault() -> None:
    entries = chained(entry(1, 5, -5), entry(2, 3, -1, -2))
    assert faults(entries, [*rows(1, 5, -5), *rows(2, 3, -1, -2)]) == []
    later = chained(entry(8, 5, -5), before=b"\1" * 32)
    assert faults(later, rows(8, 5, -5), last=7, before=b"\1" * 32) == []


@pytest.mark.parametrize("change", [{"currency": "GBP"}, {"booked_at": DAY * MICROS_A_DAY + 1}])
def test_a_posting_has_the_currency_and_the_time_of_its_entry(change: dict[str, Any]) -> None:
    assert faults(chained(entry(1, 5, -5)), rows(1, 5, -5, **change)) == [
        "partition 3, entry 1: its posting 1 has another currency or time than the entry"
    ]


@pytest.mark.parametrize(
    ("moment", "day"),
    [(DAY * MICROS_A_DAY, 0), ((DAY + 1) * MICROS_A_DAY - 1, 0), (DAY * MICROS_A_DAY - 1, 19_999), ((DAY + 1) * MICROS_A_DAY, 20_001)],
)  # fmt: skip
def test_an_entry_stands_in_the_day_on_which_it_was_booked(moment: int, day: int) -> None:
    postings = [each | {"booked_at": moment} for each in rows(1, 5, -5)]
    told = [f"partition 3, entry 1: it stands in day 20000, but was booked on day {day}"] if day else []
    assert faults(chained(entry(1, 5, -5, booked_at=moment)), postings) == told


def test_postings_that_belong_to_no_entry_are_counted() -> None:
    strays = [*rows(4, 5, -5), *rows(9, 1)]
    assert faults(chained(entry(1, 5, -5)), [*rows(1, 5, -5), *strays]) == [
        "partition 3: 3 postings of day 20000 belong to no entry"
    ]


@pytest.mark.parametrize(
    ("number", "told"), [(2, "entries 2 to 1"), (3, ""), (4, "entries 3 to 3"), (6, "entries 3 to 5")]
)
def test_an_entry_has_the_number_behind_the_one_before(number: int, told: str) -> None:
    found = faults(chained(entry(number, 5, -5)), rows(number, 5, -5), last=2)
    assert found == ([f"partition 3: {told} are missing"] if told and number > 3 else found if told else [])
    assert bool(found) == bool(told)


@pytest.mark.parametrize(
    ("amounts", "told"),
    [
        ((5, -5), ""), ((5, -3, -2), ""), ((5, -4), "2 postings sum to 1"), ((5, -6), "2 postings sum to -1"),
        ((5,), "1 postings sum to 5"), ((0,), "1 postings sum to 0"),
    ],
)  # fmt: skip
def test_an_entry_has_two_postings_or_more_which_sum_to_nothing(amounts: tuple[int, ...], told: str) -> None:
    whole = [f"partition 3, entry 1: its {told} minor units, not to nothing"] if told else []
    assert faults(chained(entry(1, *amounts)), rows(1, *amounts)) == whole


def test_an_entry_without_postings_is_a_fault() -> None:
    found = faults(chained(entry(1)), [])
    assert found == ["partition 3, entry 1: its 0 postings sum to 0 minor units, not to nothing"]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 2}, {"reverses": 1}, {"mrn": "n"}, {"version": 2}, {"reference": "s"}, {"currency": "GBP"}, {"destination": "FR"},
        {"hash": b"\1" * 32}, {"kind": -1},
    ],
)  # fmt: skip
def test_what_was_altered_of_an_entry_is_told_once_since_the_stored_hash_stands_for_it(change: dict[str, Any]) -> None:
    first, second = chained(entry(1, 5, -5), entry(2, 5, -5))
    altered = replace(first, **change)
    if "hash" in change:
        (second,) = chained(entry(2, 5, -5), before=altered.hash)
    postings = [each | {"currency": altered.currency} for each in rows(1, 5, -5)]
    assert faults([altered, second], [*postings, *rows(2, 5, -5)]) == [f"partition 3, entry 1: {ALTERED}"]


@pytest.mark.parametrize("change", [{"kind": 3}, {"account": 7}, {"account": 9}])
def test_what_was_altered_of_a_posting_is_told(change: dict[str, Any]) -> None:
    found = faults(chained(entry(1, 5, -5)), rows(1, 5, -5, **change))
    assert found == [f"partition 3, entry 1: {ALTERED}"]


def test_an_account_without_a_name_stands_by_its_number() -> None:
    whole = entry(1, 5, -5)
    unnamed = replace(whole, postings=[whole.postings[0], StoredPosting("?9", -5, 2)])
    assert faults(chained(unnamed), rows(1, 5, -5, account=9)) == []


async def check(books: Books, **more: Any) -> ChainCheck:
    return await books.chain.check(PARTITION, **{"entries_max": 1_000, **more})


async def altered(books: Books, *changes: str) -> None:
    if any("ledger_entry" in each or "ledger_posting" in each for each in changes):
        await as_rows(books)
    async with books.database.transaction() as tx:
        for each in changes:
            await tx.raw.execute(each)


END = "with which the chain ends"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update ledger_head set number = 9", "the chain ends at entry 10, but its head has entry 9 or another hash"),
        ("update ledger_head set number = 11", "the chain ends at entry 10, but its head has entry 11 or another hash"),
        ("update ledger_head set hash = decode(repeat('11', 32), 'hex')", "the chain ends at entry 10, but its head has entry 10 or another hash"),
        ("delete from ledger_head", "the head of the chain is missing"),
    ],
)  # fmt: skip
async def test_the_end_of_a_chain_is_what_its_head_tells(books: Books, change: str, told: str) -> None:
    await books.take(*PAGE)
    await altered(books, f"{change} where partition = 3")
    found = await check(books)
    assert found.end
    assert [each for each in found.discrepancies if "head" in each] == [f"partition 3: {told}"]


async def test_a_chain_is_checked_up_to_so_many_entries_and_says_what_it_is_about(books: Books) -> None:
    await books.take(*PAGE)
    sealed = Seals(books.database)
    async with books.database.transaction() as tx:
        await sealed.make(tx)
    for most, entries, end in ((0, 0, False), (1, 1, False), (9, 9, False), (10, 10, True), (11, 10, True)):
        found = await check(books, entries_max=most)
        assert (found.entries, found.postings, found.last, found.end) == (entries, 4 * entries, entries, end), most
        assert (found.discrepancies, found.seals, found.newest) == ([], int(entries == 10), await sealed.newest())
        assert found.mrns == {each.mrn for each in PAGE[: (entries + 1) // 2]}
    first = await check(books, entries_max=9)
    rest = await check(books, after=9, before=first.hash)
    assert (rest.entries, rest.last, rest.end, rest.seals, rest.discrepancies) == (1, 10, True, 1, [])
    nothing = await check(books, after=10, before=rest.hash)
    assert (nothing.entries, nothing.postings, nothing.seals, nothing.end, nothing.discrepancies) == (0, 0, 0, True, [])
    other = await books.chain.check(PARTITION + 1, entries_max=9)
    assert (other.entries, other.last, other.hash, other.end, other.discrepancies, other.mrns) == (
        0,
        0,
        START,
        True,
        [],
        set(),
    )


async def test_what_a_seal_that_was_kept_outside_contradicts_comes_first_and_no_more_is_told_than_twenty(
    books: Books,
) -> None:
    await books.take(*PAGE)
    await altered(books, "update ledger_posting set kind = 9, currency = 'GBP'")
    found = await check(books, outside=Seal(1, START))
    assert found.discrepancies[0].startswith("seal 1 was stored outside")
    assert found.discrepancies[1] == "partition 3, entry 1: its posting 0 has another currency or time than the entry"
    assert len(found.discrepancies) == 20


async def test_a_chain_that_grows_while_it_is_checked_has_no_fault(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is compared at the end of a day is of the moment in which its entries were read."""
    await books.take(*PAGE)
    serial = iter(range(100, 200))

    async def grows(*what: Any, **more: Any) -> list[str]:
        await books.take(State(mrn(next(serial), PARTITION)))
        return await compare_day(*what, **more)

    monkeypatch.setattr(chain_of, "compare_day", grows)
    found = await check(books)
    assert (found.entries, found.end, found.discrepancies) == (10, True, [])


async def test_a_day_is_compared_with_its_balances_once_it_is_read_to_its_end(books: Books) -> None:
    await books.take(*PAGE)
    compared: list[tuple[int, ...]] = []
    now = 0

    async def noted(reader: Any, names: Any, *what: int, entries_max: int) -> list[str]:
        compared.append((*what, entries_max))
        return [f"day {what[1]}"]

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(chain_of, "compare_day", noted)
        assert (await check(books, entries_max=9)).discrepancies == []
        found = await check(books)
    async with books.database.connection() as reader:
        now = await today(reader)
    assert compared == [(PARTITION, now, 1, 10, 20)]
    assert found.discrepancies == [f"day {now}"]


async def test_entries_of_a_consignment_are_given_behind_a_number_and_up_to_so_many(books: Books) -> None:
    await books.take(*PAGE[:2])
    numbers = [each.number for each in await books.chain.of_mrn(PAGE[1].mrn, rows_max=9)]
    assert numbers == [3, 4]
    for after, most, left in ((0, 1, [3]), (2, 9, [3, 4]), (3, 9, [4]), (4, 9, []), (0, 2, [3, 4])):
        found = await books.chain.of_mrn(PAGE[1].mrn, after=after, rows_max=most)
        assert [each.number for each in found] == left, (after, most)
    assert [each.number for each in await books.chain.of_mrn(PAGE[0].mrn, rows_max=9)] == [1, 2]
    assert await books.chain.of_mrn(mrn(99), rows_max=9) == []


async def test_entries_of_an_account_end_at_the_place_of_the_last_line(books: Books) -> None:
    await books.take(*PAGE[:2])
    async with books.database.connection() as reader:
        now = await today(reader)
    (holding,) = await books.balances.holdings(names=["deferred:carrier-7"], rows_max=9)
    first, after = await books.chain.of_account(holding.account, "EUR", now - 1, now, rows_max=3)
    assert [each.number for each in first] == [2, 4]
    # The second entry has a line behind the place: it was given already.
    rest, end = await books.chain.of_account(holding.account, "EUR", now - 1, now, after=after, rows_max=3)
    assert (rest, after < end) == ([], True)
    assert await books.chain.of_account(holding.account, "EUR", now - 1, now, after=end, rows_max=3) == ([], end)
    assert await books.chain.of_account(holding.account, "USD", now - 1, now, rows_max=3) == ([], BEGINNING)


def test_a_chain_says_of_which_entries_no_seal_tells_after_half_an_hour() -> None:
    assert Chain(cast(Database, None), cast(Names, None)).late_seconds == 1_800

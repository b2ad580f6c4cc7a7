"""Positions by pages and by rows: whatever is written together, each consignment is held as it was written last, and found once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.store.database import Database, Transaction
from libs.store.errors import StoreMisuse
from services.revenue.ledger.charge import Basis, ChargePage
from services.revenue.ledger.line import LINE, offsets_of
from services.revenue.ledger.position import PaidOut
from services.revenue.store.positions import days, pages, positions, rows
from services.revenue.store.positions.pages import PAGE_MIN
from services.revenue.store.positions.positions import DebtStatuses
from services.revenue.store.positions.stored import PLACE, Positions
from tests.revenue.ledger.states import DAY, mrn

Held = dict[str, tuple[Any, ...]]
FILED = [mrn(place, place % 64) for place in range(40)]
NEAR = [mrn(260 + place, place % 64) for place in range(20)]
OTHERS = ["26DE-other-form", "26FR-another-form"]
MRNS = [*FILED, *NEAR, *OTHERS]
DAYS = {each: DAY + place % 2 for place, each in enumerate(MRNS)}


def held_of(number: int, before: tuple[Any, ...] | None, epoch: int = 1) -> tuple[Any, ...]:
    """What is written of a consignment as the write with a number: all fields differ from those of other writes."""
    texts = [("DE", "EUR", "EU"), ("FR", "EUR", "EU"), ("GB", "GBP", "UK")][number % 3]
    lines = tuple((number, 2, 3, 4, 1, 1, 0, b"", 100 * number + line, line, 0, 0) for line in range(number % 4))
    entries = (
        *(before[-1] if before else ()),
        *((1_000 * number + entry, DAY + number) for entry in range(number % 3)),
    )
    numbers = (
        number,
        number + 1,
        5 * number,
        6 * number,
        7 * number,
        number % 3,
        number % 5,
        9 * number,
        10 * number,
        11 * number,
    )
    return (*texts, *numbers, 12 * number, 13 * number, max(epoch, before[-3] if before else 0), lines, entries)


def charge_page(mrns: Sequence[str], said: Held) -> tuple[ChargePage, DebtStatuses]:
    """What the ledger stores for these values."""
    columns = list(zip(*(said[each] for each in mrns), strict=True))
    destination, currency, jurisdiction, *numbers = columns[:-2]
    (
        version,
        filing_version,
        paid,
        still,
        refunded,
        announced,
        standing,
        generation,
        adjusted,
        adjusted_at,
        out,
        payee,
    ) = (np.array(each, np.int64) for each in numbers[:-1])
    lines = np.array([line for each in columns[-2] for line in each], LINE)
    of_row = np.repeat(np.arange(len(mrns)), [len(each) for each in columns[-2]])
    page = ChargePage(
        list(mrns), np.zeros(len(mrns), np.int64), version, filing_version, np.array([DAYS[each] for each in mrns]),
        list(destination), list(currency), list(jurisdiction), Basis(standing, generation, adjusted, adjusted_at),
        offsets_of(of_row, len(mrns)), lines,
    )  # fmt: skip
    return page, DebtStatuses(paid, still, refunded, announced, PaidOut(out, payee))


async def write(tx: Transaction, mrns: Sequence[str], number: int, book: Held) -> None:
    """Write consignments, and the dictionary that says what is held."""
    # Epochs rise and fall: what is stored never goes back.
    epoch = 1 + 7 * number % 11
    said = {each: held_of(number + place, book.get(each), epoch) for place, each in enumerate(mrns)}
    page, statuses = charge_page(mrns, said)
    held = await positions.read(tx, mrns)
    more = [list(said[each][-1][len(book[each][-1]) if each in book else 0 :]) for each in mrns]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(each) for each in more], dtype=np.int64)])
    await positions.store(
        tx, page, statuses, (ends, np.array([entry for each in more for entry in each], PLACE)), held, epoch=epoch
    )
    book.update(said)


def as_held(mrns: Iterable[str], found: Positions) -> Held:
    """Positions in the form of the dictionary; one that nothing is held of is left out."""
    names = ("version", "filing_version", "paid", "open", "refunded", "announced")
    basis = (found.basis.status, found.basis.generation, found.basis.adjusted, found.basis.adjusted_at)
    numbers = [
        *(getattr(found, name) for name in names),
        *basis,
        found.paid_out.minor,
        found.paid_out.account,
        found.epoch,
    ]
    said: Held = {}
    for row, each in enumerate(mrns):
        if not found.exists[row]:
            continue
        assert found.day[row] == DAYS[each]
        lines = found.lines[found.offsets[row] : found.offsets[row + 1]]
        entries = found.entries[found.entry_offsets[row] : found.entry_offsets[row + 1]]
        said[each] = (
            found.destination[row], found.currency[row], found.jurisdiction[row], *(int(column[row]) for column in numbers),
            tuple((*line[:7], b"", *line[8:]) for line in lines.tolist()), tuple(entries.tolist()),
        )  # fmt: skip
    return said


async def emptied(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.raw.execute("truncate ledger_position, ledger_position_page")


async def of_all_days(database: Database, rows_max: int) -> Held:
    """All that is held, part by part, each consignment once."""
    found: Held = {}
    for day in (DAY, DAY + 1):
        after, more = "", True
        while more:
            async with database.connection(snapshot=True) as reader:
                part = await days.of_day(reader, day, after=after, rows_max=rows_max)
            assert len(part.mrn) <= rows_max
            assert not found.keys() & set(part.mrn)
            found |= as_held(part.mrn, part.positions)
            after, more = part.after, bool(part.after)
    return found


async def stored(database: Database) -> tuple[int, int]:
    """How many rows and pages there are."""
    async with database.connection() as reader:
        row = await reader.raw.fetchrow(
            "select (select count(*) from ledger_position), (select count(*) from ledger_position_page)"
        )
    return int(row[0]), int(row[1])


async def useless_pages(database: Database) -> list[int]:
    """Numbers of pages that are the last one of no consignment."""
    async with database.connection() as reader:
        found = await reader.raw.fetch("select number, mrn from ledger_position_page order by number")
    last = {each: row["number"] for row in found for each in row["mrn"]}
    return [row["number"] for row in found if row["number"] not in last.values()]


writes = st.lists(
    st.one_of(
        st.lists(st.sampled_from(MRNS), min_size=1, max_size=4, unique=True),
        st.tuples(st.integers(0, len(MRNS) - 1), st.integers(1, len(MRNS))).map(
            lambda span: MRNS[span[0] :][: span[1]]
        ),
        st.lists(st.sampled_from(MRNS), min_size=PAGE_MIN, max_size=30, unique=True),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes, st.randoms(use_true_random=False), st.integers(1, 70))
async def test_any_writes_agree_with_a_dictionary(
    database: Database, written: list[list[str]], chance: random.Random, rows_max: int
) -> None:
    await emptied(database)
    book: Held = {}
    for number, mrns in enumerate(written, start=1):
        async with database.transaction() as tx:
            await write(tx, mrns, 100 * number, book)
        asked = chance.choices(MRNS, k=chance.randint(1, len(MRNS)))
        async with database.connection(snapshot=True) as reader:
            found = await positions.read(reader, asked)
        assert as_held(asked, found) == {each: book[each] for each in asked if each in book}
    assert await of_all_days(database, rows_max) == book
    async with database.connection(snapshot=True) as reader:
        part = await days.of_mrns(reader, [*reversed(MRNS), MRNS[0]])
    assert part.mrn == sorted(book)
    assert as_held(part.mrn, part.positions) == book
    for day in (DAY, DAY + 1):
        own = {each: said for each, said in book.items() if DAYS[each] == day}
        totals, count = await days.totals(database, day)
        assert count == len(own)
        amounts: Counter[tuple[str, str]] = Counter()
        for said in own.values():
            amounts[said[0], said[1]] += sum(line[8] for line in said[-2])
        assert {(each.destination, each.currency): each.amount for each in totals} == +amounts
    assert await useless_pages(database) == []


async def test_a_filing_is_a_page_for_each_part_of_its_block_and_its_next_version_takes_their_place(
    database: Database,
) -> None:
    await emptied(database)
    filing = [mrn(2_000 + place, place % 64) for place in range(500)]
    DAYS.update(dict.fromkeys(filing, DAY))
    book: Held = {}
    for number in (1, 2, 3):
        async with database.transaction() as tx:
            await write(tx, filing, 1_000 * number, book)
        assert await stored(database) == (0, 2)
    async with database.transaction() as tx:
        await write(tx, filing[:250], 5_000, book)
    assert await stored(database) == (0, 2)
    async with database.transaction() as tx:
        await write(tx, filing[:100], 6_000, book)
    assert await stored(database) == (0, 3)
    async with database.transaction() as tx:
        await write(tx, filing[100:250], 7_000, book)
    assert await stored(database) == (0, 3)
    assert await of_all_days(database, 1_000) == book


@pytest.mark.parametrize("count", [PAGE_MIN - 1, PAGE_MIN])
async def test_few_consignments_have_rows_for_ever_and_those_of_a_page_have_rows_between(
    database: Database, count: int
) -> None:
    await emptied(database)
    book: Held = {}
    async with database.transaction() as tx:
        await write(tx, FILED[:count], 1, book)
    is_page = count == PAGE_MIN
    assert await stored(database) == (
        (0, 2) if is_page and len({DAYS[each] for each in FILED[:count]}) == 2 else (count, 0)
    )
    async with database.transaction() as tx:
        await write(tx, FILED[:2], 100, book)
    assert (await stored(database))[0] == (2 if is_page else count)
    async with database.transaction() as tx:
        await write(tx, FILED[: 3 * PAGE_MIN], 200, book)
    # Those of a page are in a page again; those with rows keep them, and are not counted for the page of the others.
    assert (await stored(database))[0] == (0 if is_page else count)
    assert await of_all_days(database, 3) == book


async def test_what_moves_between_row_and_page_while_a_day_is_read_comes_once(database: Database) -> None:
    await emptied(database)
    book: Held = {}
    even = [each for each in FILED if DAYS[each] == DAY]
    few = [each for each in NEAR if DAYS[each] == DAY][:3]
    async with database.transaction() as tx:
        await write(tx, even, 1, book)
        await write(tx, few, 100, book)
    seen: list[str] = []
    after, more, number = "", True, 1_000
    while more:
        async with database.connection(snapshot=True) as reader:
            part = await days.of_day(reader, DAY, after=after, rows_max=2)
        seen += part.mrn
        after, more, number = part.after, bool(part.after), number + 100
        # What was read and what was not changes its form.
        async with database.transaction() as tx:
            await write(tx, [even[number // 100 % 5], even[-1]] if number // 100 % 2 else even, number, book)
    assert sorted(seen) == sorted([*even, *few])


async def test_two_transactions_write_pages_of_one_block_at_once(database: Database) -> None:
    await emptied(database)
    book: Held = {}
    async with database.transaction() as tx:
        await write(tx, FILED, 1, book)
    left, right = FILED[::2], FILED[1::2]
    mine, theirs = dict(book), dict(book)
    async with database.transaction() as first:
        await write(first, left, 1_000, mine)
        async with database.transaction() as second:
            await write(second, right, 2_000, theirs)
    both = {each: (mine if each in left else theirs)[each] for each in FILED}
    assert await of_all_days(database, 7) == both
    # One that is lost leaves what was there before.
    with pytest.raises(KeyError):
        await lost_beside(database, left, right, both)
    assert await of_all_days(database, 1_000) == both


async def lost_beside(database: Database, left: list[str], right: list[str], book: Held) -> None:
    """Write consignments in a transaction that is undone, and others meanwhile."""
    async with database.transaction() as first:
        await write(first, left, 3_000, dict(book))
        async with database.transaction() as second:
            await write(second, right, 4_000, book)
        raise KeyError


async def test_a_useless_page_that_another_transaction_deletes_is_not_waited_for(database: Database) -> None:
    await emptied(database)
    book: Held = {}
    even = [each for each in FILED if DAYS[each] == DAY]
    left, right = even[::2], even[1::2]
    async with database.transaction() as tx:
        await write(tx, even, 1, book)
    mine, theirs = dict(book), dict(book)
    async with database.transaction() as first:
        await write(first, left, 1_000, mine)
        async with database.transaction() as second:
            await write(second, right, 2_000, theirs)
    assert len(await useless_pages(database)) == 1
    # Both may delete it now. The second finds it locked, goes on without it, and leaves none behind once the first is there.
    async with database.transaction() as first:
        await write(first, left, 3_000, mine)
        async with database.transaction(timeout_millis=2_000) as second:
            await write(second, right, 4_000, theirs)
    assert await useless_pages(database) == []
    assert await of_all_days(database, 9) == {each: (mine if each in left else theirs)[each] for each in even}


async def test_pages_have_numbers_above_those_of_their_block_where_the_sequence_is_behind(database: Database) -> None:
    """As after a change to a copy that has the rows, and an earlier state of the sequence."""
    await emptied(database)
    book: Held = {}
    async with database.transaction() as tx:
        await tx.raw.execute("select setval('ledger_position_page_number', 1000000)")
        await write(tx, FILED, 1, book)
    async with database.transaction() as tx:
        await tx.raw.execute("select setval('ledger_position_page_number', 5)")
        await write(tx, FILED[:20], 1_000, book)
        await write(tx, NEAR, 2_000, book)
    assert await of_all_days(database, 1_000) == book


async def test_a_number_that_a_page_has_no_room_for_is_refused(database: Database) -> None:
    await emptied(database)
    for place, number in ((4, 2**31), (4, -(2**31) - 1), (8, 256), (14, 2**31)):
        said = list(held_of(1, None))
        said[place] = number
        page, statuses = charge_page(FILED[:1], {FILED[0]: tuple(said)})
        none = np.zeros(2, np.int64), np.zeros(0, PLACE)
        async with database.transaction() as tx:
            with pytest.raises(StoreMisuse, match="of a position does not fit into"):
                await positions.store(tx, page, statuses, none, Positions.nothing(1))
    assert await stored(database) == (0, 0)


async def test_a_damaged_page_refuses_what_stands_in_it_and_nothing_else(database: Database) -> None:
    await emptied(database)
    book: Held = {}
    even = [each for each in FILED if DAYS[each] == DAY]
    async with database.transaction() as tx:
        await write(tx, even, 1, book)
        await tx.raw.execute("update ledger_position_page set records = substr(records, 2)")
    async with database.transaction() as tx:
        for start in range(0, 12, 2):
            with pytest.raises(ValueError, match="is damaged"):
                await positions.read(tx, even[start : start + 2])
        # Those that got rows meanwhile, here from a copy, are read in any number.
        page, statuses = charge_page(even[:12], book)
        await rows.store(tx, even[:12], _as_rows(page, statuses, book), [True] * 12)
        read = as_held(even[:12], await positions.read(tx, even[:12]))
        # Entries and epoch are not copied.
        assert {each: (*said[:-3], said[-2]) for each, said in read.items()} == {
            each: (*book[each][:-3], book[each][-2]) for each in even[:12]
        }
        with pytest.raises(ValueError, match="is damaged"):
            await positions.read(tx, even[:13])


def _as_rows(page: ChargePage, statuses: DebtStatuses, book: Held) -> Positions:
    none = np.zeros(len(page) + 1, np.int64), np.zeros(0, PLACE)
    return positions.next_positions(page, statuses, none, Positions.nothing(len(page)), 0)


async def test_a_page_that_is_damaged_is_refused_and_names_itself(database: Database) -> None:
    for column, change in (
        ("records", "substr(records, 2)"), ("records", "substr(records, 85)"), ("lines", "substr(lines, 57)"), ("lines", "substr(lines, 3)"),
        ("entries", "substr(entries, 13)"), ("line_ends", "line_ends[2:]"), ("entry_ends", "entry_ends || 9"),
        ("texts", "texts[:1]"), ("texts", "'{}'"),
    ):  # fmt: skip
        await emptied(database)
        async with database.transaction() as tx:
            await write(tx, FILED, 5, {})
            await tx.raw.execute(f"update ledger_position_page set {column} = {change}")
        async with database.connection(snapshot=True) as reader:
            number = await reader.raw.fetchval("select min(number) from ledger_position_page")
            with pytest.raises(ValueError, match=f"page {number} of positions in block .* is damaged"):
                await positions.read(reader, FILED)


@pytest.mark.parametrize("place", ["page ", "page x", "page 7", "page x 26DE"])
async def test_a_place_that_is_none_is_refused(database: Database, place: str) -> None:
    async with database.connection(snapshot=True) as reader:
        if place == "page 7":
            assert (await days.of_day(reader, DAY, after=place, rows_max=5)).mrn == []
        else:
            with pytest.raises(ValueError, match="invalid literal"):
                await days.of_day(reader, DAY, after=place, rows_max=5)


async def test_pages_and_rows_are_found_by_index_whatever_is_known_of_the_tables(database: Database) -> None:
    await emptied(database)
    async with database.transaction(timeout_millis=20_000) as tx:
        await tx.raw.execute(
            "insert into ledger_position_page (block, number, day, first, last, mrn, texts, records, line_ends, lines, entry_ends, entries) "
            "select n, n, 1, 0, 9, array['M' || n], '{}', '', '{0}', '', '{0}', '' from generate_series(1, 20000) n"
        )
    numbers, places, names = list(range(500)), [1] * 500, [f"M{number}" for number in range(500)]
    statements = {
        pages.WHOLE_QUERY: (numbers,),
        pages.SINGLE_QUERY: (numbers, places, names),
        pages.DAY_QUERY: (1, 5, 40),
        pages.DELETE_STATEMENT: (numbers, numbers, places),
        rows.READ_QUERY: (names, False),
        rows.DELETE_STATEMENT: (names,),
    }
    for known in (False, True):
        for statement, arguments in statements.items():
            async with database.connection(timeout_millis=20_000) as reader:
                plan = "\n".join(row[0] for row in await reader.raw.fetch(f"explain {statement}", *arguments))
            assert "Seq Scan" not in plan, (known, statement, plan)
        async with database.connection(timeout_millis=20_000) as reader:
            await reader.raw.execute("analyze ledger_position_page")

"""The proof that nothing was lost or altered, and what accounts stood at at any moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.chain.hashing import START
from libs.store.database import Database
from libs.store.tables.schema import ensure_day_partitions, today
from libs.telemetry.metrics import REGISTRY
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.sum_days import sum_days
from services.revenue.jobs.seals import SealJob, unsealed
from services.revenue.ledger.entry import Entries, LedgerError, check
from services.revenue.store.ledger.balances import BEGINNING, Holding
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED, Heads
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from services.revenue.store.positions import days
from services.revenue.store.proofs.seals import Seals
from tests.revenue.ledger.books import Books, emptied
from tests.revenue.ledger.chain_checks import PAGE, PARTITION, checked, forge, hash_of, one_entry
from tests.revenue.ledger.former_rows import as_rows
from tests.revenue.ledger.saved_rows import restore, save
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn


async def test_an_untouched_chain_has_no_fault(books: Books) -> None:
    await books.take(*PAGE)
    found = await books.chain.check(PARTITION, entries_max=1_000)
    assert (found.discrepancies, found.entries, found.postings, found.last, found.end) == ([], 10, 40, 10, True)
    async with books.database.connection() as reader:
        assert found.hash == await reader.raw.fetchval("select hash from ledger_head where partition = $1", PARTITION)
    other = await books.chain.check(PARTITION + 1, entries_max=1_000)
    assert (other.entries, other.end, other.hash, other.discrepancies) == (0, True, START, [])


async def test_payouts_and_what_takes_them_back_stand_in_the_chain(books: Books) -> None:
    buyer = State(PAGE[0].mrn, charges=(Charge(300, account="border:DE"),), debt_account="")
    await books.take(buyer)
    await books.pay(Payment("b1", buyer.mrn, "EU", "EUR", 400))
    asked = [Payout("o1", buyer.mrn, "EU", "EUR", 100), Payout("o2", "", "EU", "EUR", 100, reverses_id="o1")]
    results = await Payouts(books.ledger).record(asked, "officer-1")
    assert [each.reason for each in results] == ["", ""]
    told = await books.chain.of_mrn(buyer.mrn, rows_max=9)
    assert [(each.kind, each.reverses, each.reference) for each in told[-2:]] == [
        (pb.ENTRY_KIND_PAID_OUT, 0, "o1"), (pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID_OUT, "o2"),
    ]  # fmt: skip
    assert await checked(books) == []
    await as_rows(books)
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_entry set kind = 3 where kind = $1", pb.ENTRY_KIND_PAID_OUT)
    altered, *rows = await checked(books)
    assert "its content" in altered
    assert [each.partition(":")[0] for each in rows] == ["payment o1 of EU", "payout o1 of EU"]


async def test_a_chain_is_checked_in_parts(books: Books) -> None:
    await books.take(*PAGE)
    first = await books.chain.check(PARTITION, entries_max=4)
    assert (first.entries, first.last, first.end) == (4, 4, False)
    rest = await books.chain.check(PARTITION, after=first.last, before=first.hash, entries_max=1_000)
    assert (rest.entries, rest.last, rest.end, rest.discrepancies) == (6, 10, True, [])
    assert await checked(books, after=4, before=b"\1" * 32)


ALTERED = (
    "ledger_entry", "ledger_posting", "ledger_name", "ledger_head", "ledger_balance", "ledger_holding", "ledger_day", "ledger_seal"
)  # fmt: skip
ALTERATIONS = (
    "update ledger_posting set amount = amount + sign(amount)::integer where number = 4",
    "update ledger_posting set kind = 3 where number = 4 and place = 0",
    "update ledger_posting set account = account + 1 where number = 4 and place = 0",
    "update ledger_entry set mrn = 'x' where number = 4",
    "update ledger_entry set version = 9 where number = 4",
    "update ledger_entry set reference = 'x' where number = 4",
    "update ledger_entry set currency = 'GBP' where number = 4",
    "update ledger_entry set destination = 'FR' where number = 4",
    "update ledger_entry set booked_at = booked_at - 1 where number = 4",
    "update ledger_entry set kind = 5, reverses = kind where number = 4",
    "update ledger_entry set hash = set_byte(hash, 7, get_byte(hash, 7) # 1) where number = 4",
    "delete from ledger_posting where number = 4",
    "delete from ledger_entry where number = 4",
    "with gone as (delete from ledger_entry where number = 4) delete from ledger_posting where number = 4",
    "with gone as (delete from ledger_entry where number = 10) delete from ledger_posting where number = 10",
    "insert into ledger_posting select day, booked_at, number, 5, account, partition, 99, kind, currency "
    "from ledger_posting where number = 4 limit 1",
    "update ledger_name set name = name || 'x' where name = 'deferred:carrier-7'",
    "update ledger_head set number = 9 where partition = 3",
    "update ledger_head set hash = set_byte(hash, 0, get_byte(hash, 0) # 1) where partition = 3",
    "delete from ledger_head where partition = 3",
    # What balances and statements are computed from.
    "update ledger_posting set currency = 'GBP' where number = 4 and place = 0",
    "update ledger_posting set booked_at = booked_at - 1 where number = 4",
    "update ledger_balance set debit = 0",
    "update ledger_balance set credit = credit + 1 where credit > 0",
    "update ledger_balance set currency = 'GBP'",
    "update ledger_balance set day = day + 1",
    "delete from ledger_balance",
    "insert into ledger_balance select account, currency, slot, day - 1, 5, 5 from ledger_balance",
    "insert into ledger_balance select account, currency, slot, day + 1, debit, credit from ledger_balance",
    "delete from ledger_holding where name = 'deferred:carrier-7'",
    "insert into ledger_posting select day, booked_at, 999, amount, account, partition, place, kind, currency "
    "from ledger_posting where number = 4",
    "insert into ledger_posting select day - 1, booked_at, 1, amount, account, partition, place, kind, currency "
    "from ledger_posting where number = 4",
    "insert into ledger_entry select day - 1, partition, 1, kind, reverses, booked_at, mrn, version, reference, currency, "
    "destination, hash from ledger_entry where number = 4",
    # The end is cut off, with all that tells of it but the seal; and the seals are taken away or changed.
    "with e as (delete from ledger_entry where number > 6), p as (delete from ledger_posting where number > 6), "
    "d as (update ledger_day set last_number = 6 where partition = 3) update ledger_head set number = 6, "
    "hash = (select hash from ledger_entry where number = 6) where partition = 3",
    "update ledger_seal set numbers[4] = 9",
    "update ledger_seal set hashes = set_byte(hashes, 100, get_byte(hashes, 100) # 1)",
    "update ledger_seal set number = 2",
)


async def test_whatever_is_altered_is_found(books: Books) -> None:
    await books.take(*PAGE)
    await as_rows(books)
    async with books.database.transaction() as tx:
        for table in ("ledger_entry", "ledger_posting"):
            await ensure_day_partitions(tx, table, [await today(tx) - 1])
        await Seals(books.database).make(tx)
    saved = await save(books.database, ALTERED)
    for change in ALTERATIONS:
        assert not await checked(Books(books.database)), f"before {change}"
        async with books.database.transaction() as tx:
            await tx.raw.execute(change)
        faults = await checked(Books(books.database))
        assert faults, change
        # Of accounts the end of a partition looks at its share, whatever partition the fault is in.
        assert all(f"partition {PARTITION}" in fault or "seal" in fault or "credit" in fault for fault in faults), (
            change
        )
        await restore(books.database, saved)


async def test_a_chain_that_was_hashed_anew_is_found_by_its_seal(books: Books) -> None:
    seals = Seals(books.database)
    await books.take(*PAGE[:2])
    async with books.database.transaction() as tx:
        assert await seals.make(tx) == 1
        assert await seals.make(tx) is None
    await books.take(*PAGE[2:])
    async with books.database.transaction() as tx:
        assert await seals.make(tx) == 2
    found = await books.chain.check(PARTITION, entries_max=1_000)
    assert (found.seals, found.discrepancies) == (2, [])
    later = await books.chain.check(PARTITION, after=4, before=await hash_of(books, 4), entries_max=1_000)
    assert (later.seals, later.discrepancies) == (1, [])
    await forge(books)
    assert await checked(books) == [
        f"partition {PARTITION}: seal 1 has another hash of entry 4 than is stored",
        f"partition {PARTITION}: seal 2 has another hash of entry 10 than is stored",
    ]
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_seal set sealed_at = sealed_at + 1 where number = 1")
    assert "seal 1 was altered: its hash does not follow from what it seals" in await checked(books)


async def test_one_replica_at_a_time_seals(books: Books) -> None:
    await books.take(*PAGE)
    one, two = (SealJob(books.database, name, interval_seconds=60) for name in ("one", "two"))
    assert await one.step() is not None
    assert await two.step() is None
    await books.take(State(mrn(77, 1)))
    assert await one.step() is not None
    async with books.database.connection() as reader:
        rows = await reader.raw.fetch("select number, numbers from ledger_seal order by number")
    assert [(row["number"], row["numbers"][PARTITION], row["numbers"][1]) for row in rows] == [(1, 10, 0), (2, 10, 2)]


async def test_it_is_told_for_how_long_entries_have_stood_unsealed(books: Books) -> None:
    async def age() -> float:
        await unsealed()(books.database)
        told = REGISTRY.get_sample_value("luxor_revenue_ledger_unsealed_seconds")
        assert told is not None
        return told

    async def booked_ago(partition: int, seconds: int) -> None:
        await as_rows(books)
        async with books.database.transaction() as tx:
            await tx.raw.execute(
                "update ledger_entry set booked_at = booked_at - $2 where partition = $1",
                partition,
                seconds * 1_000_000,
            )

    assert await age() == 0
    await books.take(*PAGE)
    await books.take(State(mrn(77, 1)))
    await booked_ago(PARTITION, 500)
    assert 500 <= await age() < 600
    sealing = SealJob(books.database, "one", interval_seconds=60)
    await sealing.step()
    assert await age() == 0
    # What is old and sealed does not count; of what came later the first entry does, not the last.
    await books.take(State(mrn(78, 1)))
    assert 0 < await age() < 100
    await as_rows(books)
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "update ledger_entry set booked_at = booked_at - 200000000 where partition = 1 and number = 3"
        )
    await books.take(State(mrn(79, 1)))
    assert 200 <= await age() < 300
    await sealing.step()
    assert await age() == 0


def entries(postings: Sequence[Sequence[int]]) -> Entries:
    """Entries of euros in partition 0 with these amounts, on accounts 1, 2, ..."""
    count = len(postings)
    zeros = np.zeros(count, np.int64)
    lengths = [len(each) for each in postings]
    flat = [amount for each in postings for amount in each]
    return Entries(
        zeros, zeros + pb.ENTRY_KIND_PAID, zeros, [""] * count, zeros, ["r"] * count, ["EUR"] * count, [""] * count,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([np.arange(1, length + 1) for length in lengths]).astype(np.int64),
        np.zeros(len(flat), np.int64), np.array(flat, np.int64),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("postings", "reason"),
    [
        ([[5, -5], [5, -4]], "UNBALANCED"),
        ([[5]], "UNBALANCED"),
        ([[10**16 + 1, -(10**16) - 1]], "AMOUNT_OUT_OF_BOUNDS"),
        ([[-(2**63), 1]], "AMOUNT_OUT_OF_BOUNDS"),
        # Sums to 2^64, which is nothing where it wraps.
        ([[10**16] * 1844 + [4_407_370_955_161_600, 16]], "UNBALANCED"),
    ],
)
def test_what_does_not_balance_is_never_booked(postings: Sequence[Sequence[int]], reason: str) -> None:
    with pytest.raises(LedgerError) as raised:
        check(entries(postings))
    assert raised.value.reason == reason


moves = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2]),  # partition
        st.sampled_from([-3, -2, -1, 0]),  # day, from today
        st.integers(0, MICROS_A_DAY - 1),
        st.integers(1, 1_000),
        st.sampled_from(["deferred:a", "deferred:b", "vendor:c"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves, st.lists(st.tuples(st.sampled_from([-4, -3, -2, -1, 0]), st.integers(0, MICROS_A_DAY - 1)), max_size=4))
async def test_balances_at_any_moment_are_the_sum_of_what_was_booked(
    database: Database, history: list[tuple[int, int, int, int, str]], asked: list[tuple[int, int]]
) -> None:
    await emptied(database)
    books = Books(database)
    async with database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, range(now - 5, now + 1))
    ids = await books.ledger.name_ids({"deferred:a", "deferred:b", "vendor:c", "treasury:EU:tax"})
    booked = sorted(
        ((now + day) * MICROS_A_DAY + time, part, amount, name) for part, day, time, amount, name in history
    )
    for moment, partition, amount, name in booked:
        async with database.transaction() as tx:
            heads = await books.ledger.book.lock(tx, [partition])
            heads = Heads(heads.last, {partition: moment})
            await books.ledger.book.post(tx, heads, one_entry(partition, ids[name], ids["treasury:EU:tax"], amount))
    moments = [(now + day) * MICROS_A_DAY + time for day, time in asked] + [each[0] for each in booked]
    for way in range(2):
        asked_for: list[int | None] = [*moments, None]
        for until in asked_for:
            expected: dict[str, int] = {}
            for at, _, amount, name in booked:
                if until is None or at <= until:
                    expected[name] = expected.get(name, 0) + amount
                    expected["treasury:EU:tax"] = expected.get("treasury:EU:tax", 0) - amount
            assert await books.standing(until) == expected
        for name in ("deferred:a", "treasury:EU:tax"):
            await _check_statement(books, Holding(name, "EUR", ids[name]), booked, now)
        if way == 0:
            await sum_days(database)


async def _check_statement(books: Books, holding: Holding, booked: list[tuple[int, int, int, str]], now: int) -> None:
    """Three days' statement is what was booked, whether their sums are made or not."""
    first, last = now - 2, now
    sign = -1 if holding.name.startswith("treasury") else 1
    own = [(at, sign * amount) for at, _, amount, name in booked if sign < 0 or name == holding.name]
    inside = [amount for at, amount in own if first <= at // MICROS_A_DAY <= last]
    statement = await books.balances.statement(holding.account, "EUR", first, last, rows_max=2)
    assert statement.opening == sum(amount for at, amount in own if at // MICROS_A_DAY < first)
    assert statement.closing == sum(amount for _, amount in own)
    assert statement.debit - statement.credit == sum(inside)
    assert [(each.destination, each.kind, each.amount) for each in statement.totals] == (
        [("DE", 2, sum(inside))] if inside else []
    )
    if inside and sign > 0:
        assert statement.totals[0].consignments == len(inside)
    lines, after = [], BEGINNING
    while page := (await books.balances.statement(holding.account, "EUR", first, last, after=after, rows_max=2)).lines:
        lines += page
        after = page[-1].at
    assert [line.amount for line in lines] == inside or sorted(line.amount for line in lines) == sorted(inside)


async def test_entries_of_an_account_come_once_each(books: Books) -> None:
    await books.take(*PAGE, State(mrn(50, 9), charges=(Charge(5), Charge(6, TAX))))
    async with books.database.connection() as reader:
        now = await today(reader)
    (holding,) = await books.balances.holdings(names=["deferred:carrier-7"], rows_max=10)
    read, after = [], BEGINNING
    while True:
        page, after_this = await books.chain.of_account(holding.account, "EUR", now - 1, now, after=after, rows_max=3)
        if after_this == after:
            break
        read += page
        after = after_this
    assert [entry.kind for entry in read] == [pb.ENTRY_KIND_SECURED] * 6
    assert len({(entry.partition, entry.number) for entry in read}) == 6
    assert {len(entry.postings) for entry in read} == {4}


async def test_a_day_s_consignments_are_told_with_their_totals(books: Books) -> None:
    await books.take(*PAGE, State(mrn(50, 9), day=DAY - 1))
    async with books.database.connection() as reader:
        first = await days.of_day(reader, DAY, rows_max=3)
        rest = await days.of_day(reader, DAY, after=first.after, rows_max=3)
    assert [*first.mrn, *rest.mrn] == sorted(state.mrn for state in PAGE)
    totals, count = await days.totals(books.database, DAY)
    assert count == len(PAGE)
    assert [(each.destination, each.kind, each.collector, each.amount, each.consignments) for each in totals] == [
        ("DE", 1, 1, 1_500, 5), ("DE", 2, 1, 9_500, 5),
    ]  # fmt: skip


async def test_payments_chain_with_what_the_feed_brings(books: Books) -> None:
    await books.take(*(State(each.mrn, debt=6, debt_account="") for each in PAGE))
    await books.pay(*(Payment(f"b{at}", each.mrn, "EU", "EUR", 2_200) for at, each in enumerate(PAGE)))
    found = await books.chain.check(PARTITION, entries_max=1_000)
    assert (found.entries, found.discrepancies) == (10, [])
    entries_of_first = await books.chain.of_mrn(PAGE[0].mrn, rows_max=10)
    assert [(each.kind, each.reference) for each in entries_of_first] == [
        (pb.ENTRY_KIND_ASSESSED, ""), (pb.ENTRY_KIND_PAID, "b0"),
    ]  # fmt: skip

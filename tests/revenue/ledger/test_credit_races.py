"""The same credit at once: whoever reads it holds its row, so that money pays one debt, or is paid out, and never both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from libs.store.database import Transaction
from services.revenue.commands.apply_credit import settle_some
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.ledger import credit
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import open_state
from tests.revenue.ledger.states import mrn

OWNER = "declarant:DE1234567890"
HOMES = {partition_of_account(name) for name in (OWNER, "bank:EU", "unmatched:EU")}
FREE = [place for place in range(64) if place not in HOMES][:3]
"""Partitions whose heads none of the others holds: nobody waits for a head, so that the rows of credit alone are between them."""
WAIT_SECONDS = 3.0


class Meeting:
    """Lets all who read credit at once read it before any of them goes on, or gives up waiting for those who have to wait."""

    def __init__(self, parties: int) -> None:
        self._barrier = asyncio.Barrier(parties)

    async def come(self) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._barrier.wait()
        except (TimeoutError, asyncio.BrokenBarrierError):
            await self._barrier.abort()


def meeting(monkeypatch: pytest.MonkeyPatch, parties: int, *names: str) -> None:
    """Make readers of credit meet behind their reading."""
    met = Meeting(parties)
    for name in names:
        read = getattr(credit, name)

        async def slowly(tx: Transaction, keys: Any, _read: Any = read) -> Any:
            found = await _read(tx, keys)
            await met.come()
            return found

        monkeypatch.setattr(credit, name, slowly)


async def sound(books: Books, money: int) -> None:
    """Each sum of money is at one place, no credit is below nothing, and the account stands at what is open less its credit."""
    async with books.database.connection() as reader:
        left = await reader.raw.fetchval("select coalesce(sum(minor), 0)::bigint from ledger_credit")
        drawn = await reader.raw.fetchval("select coalesce(sum(minor), 0)::bigint from ledger_drawn")
        paid = await reader.raw.fetchval("select sum(paid)::bigint from ledger_position")
    assert left >= 0
    assert left + paid == money
    assert drawn == paid
    assert await books.unbalanced() == []
    faults: list[str] = []
    for partition in range(64):
        faults += (await books.chain.check(partition, entries_max=1_000)).discrepancies
    assert faults == []


async def test_two_debts_that_come_at_once_use_the_same_credit_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(open_state(mrn(1, FREE[0])))
    await books.pay(Payment("b1", OWNER, "EU", "EUR", 4_400))
    meeting(monkeypatch, 2, "lock_unused")
    # 2,200 of it are left for two debts of 2,200, in partitions of their own.
    await asyncio.gather(*(books.take(open_state(mrn(place + 2, FREE[place]))) for place in (1, 2)))
    monkeypatch.undo()
    await sound(books, 4_400)
    async with books.database.connection() as reader:
        keys = await credit.applicable(reader, 10)
    await settle_some(books.ledger, keys, 10)
    await sound(books, 4_400)
    assert (await books.standing())[OWNER] == 3 * 2_200 - 4_400


async def test_a_payout_and_a_debt_at_once_use_the_same_credit_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(open_state(mrn(1, FREE[0])))
    await books.pay(Payment("b1", OWNER, "EU", "EUR", 4_400))
    meeting(monkeypatch, 2, "lock_unused", "lock_one")
    payout = Payouts(books.ledger).record([Payout("o1", OWNER, "EU", "EUR", 2_200)], "officer-1")
    (result,), _ = await asyncio.gather(payout, books.take(open_state(mrn(2, FREE[1]))))
    monkeypatch.undo()
    gone = 0 if result.reason else 2_200
    await sound(books, 4_400 - gone)
    assert (await books.standing())["bank:EU"] == 4_400 - gone


async def test_a_payment_that_is_taken_back_and_a_debt_at_once_use_the_same_credit_once(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.take(open_state(mrn(1, FREE[0])))
    await books.pay(Payment("b1", OWNER, "EU", "EUR", 2_200), Payment("b2", OWNER, "EU", "EUR", 2_200))
    meeting(monkeypatch, 2, "lock_unused", "lock")
    back = books.pay(Payment("b3", "", "EU", "EUR", 2_200, "b2"))
    (result,), _ = await asyncio.gather(back, books.take(open_state(mrn(2, FREE[1]))))
    monkeypatch.undo()
    assert result.reason == ""
    async with books.database.connection() as reader:
        keys = await credit.applicable(reader, 10)
    await settle_some(books.ledger, keys, 10)
    await sound(books, 2_200)


async def test_whoever_reads_credit_holds_its_row(books: Books) -> None:
    """Each way of reading, alone: another reader waits for it, or leaves what is held to a later round."""
    await books.take(open_state(mrn(1, FREE[0])))
    await books.pay(Payment("b1", OWNER, "EU", "EUR", 4_400))
    account = (await books.ledger.name_ids({OWNER}))[OWNER]
    key = (account, "EUR")

    async def readers(tx: Transaction) -> Iterable[Any]:
        return {
            "lock_unused": lambda: credit.lock_unused(tx, [account]),
            "lock": lambda: credit.lock(tx, [key]),
            "lock_one": lambda: credit.lock_one(tx, key),
        }.items()

    for place in range(3):
        async with books.database.transaction() as first:
            name, read = list(await readers(first))[place]
            assert await read() == (2_200 if name == "lock_one" else {key: 2_200})
            async with books.database.transaction() as second:
                ways = dict(await readers(second))
                assert await ways["lock_unused"]() == {}, name
            for other in ("lock", "lock_one"):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3), books.database.transaction() as third:
                        await dict(await readers(third))[other]()

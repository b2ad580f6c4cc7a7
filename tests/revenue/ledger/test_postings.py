"""What states of consignments make the ledger book: balanced, once, reversed where it no longer is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.feed.types import EventError
from libs.store.database import Database
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.store.positions import pages
from services.revenue.store.positions.pages import PAGE_MIN
from tests.revenue.ledger.books import Books, emptied, net
from tests.revenue.ledger.state_histories import histories
from tests.revenue.ledger.states import DUTY, TAX, Charge, State, batch, mrn

ASSESSED, SECURED, REVERSED = pb.ENTRY_KIND_ASSESSED, pb.ENTRY_KIND_SECURED, pb.ENTRY_KIND_REVERSED
ONE = State(mrn(1))


async def test_what_a_deferred_account_stands_for_is_assessed_and_secured(books: Books) -> None:
    await books.take(ONE)
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED]
    assert await books.unbalanced() == []
    assert await books.standing() == {
        "deferred:carrier-7": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900,
    }  # fmt: skip


async def test_charges_are_owed_by_whoever_collects_them(books: Books) -> None:
    vendor = Charge(1_900, TAX, "EU.vat", account="vendor:IM2760000014", collector=common_pb2.COLLECTOR_VENDOR)
    carrier = Charge(500, TAX, "EU.vat", collector=common_pb2.COLLECTOR_CARRIER)
    platform = Charge(70, TAX, "EU.vat", collector=common_pb2.COLLECTOR_VENDOR)
    buyer = Charge(300, DUTY, account="border:DE", debtor=common_pb2.DEBTOR_CONSIGNEE)
    levy = Charge(25, common_pb2.CHARGE_KIND_FEE, "EU.handling", item=None)
    await books.take(
        replace(
            ONE, charges=(vendor, carrier, platform, buyer, levy), debt=common_pb2.DEBT_STATUS_OPEN, platform="Shop-1"
        )
    )
    assert await books.standing() == {
        "vendor:IM2760000014": 1_900, "carrier:DE1234567890": 500, "vendor:Shop-1": 70, "border:DE": 300,
        "declarant:DE1234567890": 25,
        "treasury:EU:duty": -300, "treasury:EU:tax": -2_470, "treasury:EU:fee": -25,
    }  # fmt: skip


async def test_a_deferred_account_stands_for_nothing_while_the_debt_is_open(books: Books) -> None:
    told = replace(ONE, charges=(Charge(300, account="deferred:carrier-7"),), debt=common_pb2.DEBT_STATUS_OPEN)
    await books.take(told)
    assert (await books.standing())["declarant:DE1234567890"] == 300
    await books.take(replace(told, version=2, debt=common_pb2.DEBT_STATUS_DEFERRED))
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED]
    assert await books.standing() == {"deferred:carrier-7": 300, "treasury:EU:duty": -300}


async def test_nothing_is_owed_before_a_decision_nor_without_an_amount(books: Books) -> None:
    await books.take(replace(ONE, decided=False), State(mrn(2), charges=(Charge(None), Charge(0))))
    assert await books.postings() == []
    await books.take(replace(ONE, version=2))
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED]


async def test_a_replay_changes_nothing(books: Books) -> None:
    page = [ONE, State(mrn(2, 5)), State(mrn(3, 63))]
    await books.take(*page)
    before = await books.postings(), await books.positions(each.mrn for each in page)
    await books.take(*page)
    await books.take(page[2], page[0])
    assert (await books.postings(), await books.positions(each.mrn for each in page)) == before


async def test_an_older_version_after_a_newer_one_changes_nothing(books: Books) -> None:
    await books.take(replace(ONE, version=3, charges=(Charge(500),)))
    before = await books.postings()
    await books.take(replace(ONE, version=2))
    await books.take(ONE)
    assert await books.postings() == before


async def test_an_adjustment_books_a_reversal_and_then_what_is(books: Books) -> None:
    await books.take(ONE)
    await books.take(replace(ONE, version=2, charges=(Charge(450), ONE.charges[1])))
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED, REVERSED, REVERSED, ASSESSED, SECURED]
    entries = await books.chain.of_mrn(ONE.mrn, rows_max=10)
    assert [entry.reverses for entry in entries] == [0, 0, SECURED, ASSESSED, 0, 0]
    undone, first = entries[3], entries[0]
    assert {(each.account, each.kind, -each.amount) for each in undone.postings} == {
        (each.account, each.kind, each.amount) for each in first.postings
    }
    assert (await books.standing())["deferred:carrier-7"] == 2_350


async def test_a_version_that_changes_no_charge_books_nothing(books: Books) -> None:
    await books.take(ONE)
    await books.take(replace(ONE, version=2, state=clearance.STATE_RELEASED))
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED]
    assert [each[1] for each in await books.positions([ONE.mrn])] == [2]


async def test_invalidation_reverses_all(books: Books) -> None:
    await books.take(ONE)
    await books.take(replace(ONE, version=2, state=clearance.STATE_INVALIDATED))
    assert await books.standing() == {}
    assert await books.kinds(ONE.mrn) == [ASSESSED, SECURED, REVERSED, REVERSED]


async def test_another_currency_undoes_all_and_books_anew(books: Books) -> None:
    await books.take(ONE)
    await books.take(replace(ONE, version=2, currency="GBP"))
    assert await books.standing() == {}
    pounds = [each for each in await books.balances.holdings(rows_max=100) if each.currency == "GBP"]
    assert {each.name: each.minor for each in await books.balances.at(pounds) if each.minor} == {
        "deferred:carrier-7": 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900,
    }  # fmt: skip


@pytest.mark.parametrize("amount", [-1, 10**16 + 1, 2**63 - 1])
async def test_an_amount_that_cannot_be_booked_is_refused(books: Books, amount: int) -> None:
    with pytest.raises(EventError, match="AMOUNT_OUT_OF_BOUNDS"):
        await books.take(replace(ONE, charges=(Charge(amount),)))
    assert await books.postings() == []


async def test_charges_whose_sum_would_overflow_are_refused(books: Books) -> None:
    with pytest.raises(EventError, match="AMOUNT_OUT_OF_BOUNDS"):
        await books.take(replace(ONE, charges=tuple(Charge(10**16) for _ in range(1_000))))
    assert await books.postings() == []


async def test_a_balance_beyond_64_bits_is_refused_not_wrapped(books: Books) -> None:
    await books.take(ONE)
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_balance set debit = 9223372036854775807 where debit > 0")
    with pytest.raises(EventError, match="BALANCE_OUT_OF_BOUNDS"):
        await books.take(State(mrn(2)))
    assert len({each[0] for each in await books.postings()}) == 1


async def test_who_books_in_other_partitions_does_not_wait(books: Books) -> None:
    await books.take(State(mrn(9, 1)), State(mrn(9, 2)))
    prepared = await books.intake.prepare([batch([State(mrn(1, 1))])])
    # It is held for longer than the others may take: who waited for it would be refused.
    async with books.database.transaction(timeout_millis=60_000) as held:
        await books.intake.apply(held, prepared)
        async with asyncio.timeout(30):
            await books.take(State(mrn(1, 2)))
        other = asyncio.create_task(books.take(State(mrn(2, 1))))
        async with books.database.connection() as reader:
            while not await reader.raw.fetchval("select count(*) from pg_locks where not granted"):
                assert not other.done()
    await other
    assert len({each[0] for each in await books.postings()}) == 5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories, st.data())
async def test_page_splits_and_replays_change_nothing(
    database: Database, history: list[State], data: st.DataObject
) -> None:
    """The same versions in one page, one by one, or in any pages, some of them twice, lead to the same books, whatever form positions have."""
    found = []
    for way in range(2):
        await emptied(database)
        books = Books(database)
        with patch.object(pages, "PAGE_MIN", data.draw(st.sampled_from([1, 2, PAGE_MIN]))):
            if way == 0:
                await books.take(*history)
            else:
                left = list(history)
                while left:
                    size = data.draw(st.integers(1, len(left)))
                    await books.take(*left[:size])
                    if data.draw(st.booleans()):
                        await books.take(*left[:size])
                    left = left[size:]
        assert await books.unbalanced() == []
        found.append((net(await books.postings()), _held(await books.positions({each.mrn for each in history}))))
    assert found[0] == found[1]


def _held(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """All but the lines, whose numbers of names differ with the order in which names came."""
    return [row[:-1] for row in rows]

"""Clearance's feed to the ledger, and revenue's own feed to whoever begins later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from libs.columns import Ints, Table
from libs.feed.types import EventError
from libs.store.database import Transaction
from luxor.common.v1.common_pb2 import DEBT_STATUS_OPEN
from luxor.revenue.v1.revenue_columns_pb2 import (
    DEBT_EVENT_REASSESSED,
    DEBT_EVENT_REFUNDED,
    DEBT_EVENT_SETTLED,
    RevenueColumns,
)
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from services.revenue.feeds.clearance_states import StateHandler
from services.revenue.feeds.debt_events import DebtEventSnapshot
from services.revenue.store.debt_events import reassessment_columns
from services.revenue.store.payments.payments import Payment
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import Charge, State, batch, mrn

ONE, TWO = (
    State(mrn(1, 5), debt=DEBT_STATUS_OPEN, debt_account=""),
    State(mrn(2, 40), debt=DEBT_STATUS_OPEN, debt_account=""),
)


async def test_others_are_told_of_the_states_in_the_same_transaction(books: Books) -> None:
    told: list[list[str]] = []

    async def follow(tx: Transaction, states: Table) -> None:
        told.append(states.strings("mrn").tolist())
        assert await tx.raw.fetchval("select count(*) from all_entries") == 0

    intake = StateHandler(books.posting, follow)
    prepared = await intake.prepare([batch([ONE, replace(ONE, version=2)]), batch([TWO])])
    async with books.database.transaction() as tx:
        await intake.apply(tx, prepared)
    assert told == [[ONE.mrn, ONE.mrn, TWO.mrn]]
    assert len({each[0] for each in await books.postings()}) == 2


async def test_a_state_without_the_time_of_acceptance_is_set_aside(books: Books) -> None:
    one = batch([ONE])
    bad = replace(one, table=one.table.with_columns({"accepted_at": Ints.absent(1)}))
    with pytest.raises(EventError, match="ELEMENT_MISSING"):
        await books.intake.prepare([bad])


async def test_what_fails_leaves_nothing_behind(books: Books) -> None:
    prepared = await books.intake.prepare([batch([ONE])])

    async def fail() -> None:
        async with books.database.transaction() as tx:
            await books.intake.apply(tx, prepared)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await books.postings() == []
    await books.take(ONE)
    assert (await books.standing())["declarant:DE1234567890"] == 2_200


async def test_a_reader_who_begins_later_gets_the_last_news_of_each_kind_in_their_order(books: Books) -> None:
    await books.take(ONE, TWO)
    await books.pay(Payment("a", ONE.mrn, "EU", "EUR", 2_200), Payment("b", TWO.mrn, "EU", "EUR", 2_200))
    async with books.database.transaction() as tx:
        assessments = Table.of(AssessmentColumns, 1, {"generation": Ints.of([1])})
        await books.ledger.debt_events.announce(tx, reassessment_columns([ONE.mrn], [1], ["BUNDLED"], assessments))
    await books.take(replace(ONE, version=2, returned=(1,)))
    found: list[tuple[str, int, int]] = []
    token = b""
    async with books.database.connection() as reader:
        while True:
            page = await DebtEventSnapshot().page(reader, [5, 40], token, 3)
            assert page.partitions.tolist() == [
                5 if each == ONE.mrn else 40 for each in page.table.strings("mrn").tolist()
            ]
            found += zip(
                page.table.strings("mrn").tolist(),
                page.table.ints("event").values.tolist(),
                page.table.ints("number").values.tolist(),
                strict=True,
            )
            token = page.next_token
            if not token:
                break
        assert (await DebtEventSnapshot().page(reader, [6], b"", 100)).table.rows == 0
    assert found == [
        (ONE.mrn, DEBT_EVENT_SETTLED, 1), (ONE.mrn, DEBT_EVENT_REASSESSED, 2), (ONE.mrn, DEBT_EVENT_REFUNDED, 3), (TWO.mrn, DEBT_EVENT_SETTLED, 1),
    ]  # fmt: skip


async def test_assessments_in_news_keep_to_their_rows(books: Books) -> None:
    assessments = Table.of(AssessmentColumns, 2, {"generation": Ints.of([4, 7])})
    news = reassessment_columns([ONE.mrn, TWO.mrn], [1, 2], ["BUNDLED", "BUNDLED"], assessments)
    both = Table.parse(RevenueColumns, news.serialize(RevenueColumns))
    second = Table.parse(RevenueColumns, both.take(np.array([1])).serialize(RevenueColumns))
    assert second.child("assessments").ints("generation").values.tolist() == [7]
    assert second.ints("filing_version").values.tolist() == [2]


async def test_several_news_of_one_consignment_are_numbered_in_their_order(books: Books) -> None:
    await books.take(ONE)
    await books.pay(Payment("a", ONE.mrn, "EU", "EUR", 2_200))
    # The rise opens the debt, and what went back of the first item is refunded: two news of one version.
    raised = replace(
        ONE, version=2, items=2, returned=(1,), charges=(*ONE.charges, Charge(5_000, code="EU.handling", item=2))
    )
    await books.take(raised)
    assert [each["number"] for each in await books.news()] == [1, 2, 3]


async def test_a_restored_clearance_is_booked_whatever_versions_it_had_announced_before(books: Books) -> None:
    lost = replace(ONE, version=5, charges=(Charge(900),))
    again = replace(ONE, version=2, charges=(Charge(400),))
    await books.take(ONE, epoch=7)
    await books.take(lost, epoch=7)
    assert (await books.standing())["treasury:EU:duty"] == -900
    await books.take(again, epoch=9)
    await books.take(ONE, lost, epoch=7)
    await books.pay(Payment("b1", ONE.mrn, "EU", "EUR", 10))
    await books.take(ONE, lost, epoch=7)
    assert (await books.standing())["treasury:EU:duty"] == -400
    assert await books.unbalanced() == []


async def test_a_restored_ledger_numbers_nothing_as_before(books: Books) -> None:
    await books.take(ONE)
    await books.pay(Payment("b1", ONE.mrn, "EU", "EUR", 2_200))
    first = [each["number"] for each in await books.news()]
    async with books.database.transaction() as tx:
        # As after a dump was loaded: the rows are those of before, another transaction wrote them.
        await tx.raw.execute(
            "with old as (delete from feed_epoch returning *) insert into feed_epoch select * from old"
        )
    await books.take(replace(ONE, version=2, charges=(Charge(9_000),)))
    numbers = [each["number"] for each in await books.news()]
    assert first == [1]
    assert numbers[1] > 1_000_000 * len(numbers), "more than any news can have been numbered that are lost"

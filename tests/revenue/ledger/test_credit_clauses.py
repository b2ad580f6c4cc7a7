"""Credit and payments that wait: what each part of a rule decides, and both sides of each bound."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from libs.store.errors import StoreUnavailable
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands import apply_credit
from services.revenue.commands.apply_credit import CreditTransfer, settle_once, settle_some
from services.revenue.commands.rebalance import Ledger
from services.revenue.jobs.credit import CreditJob
from services.revenue.ledger.account import partition_of_mrn
from services.revenue.ledger.entry import LedgerError
from services.revenue.store.ledger import credit
from services.revenue.store.ledger.credit import CreditItem, Key
from services.revenue.store.payments.payments import Payment
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn

OWNER, OTHER, BUYERS = "declarant:DE1234567890", "declarant:D2", "border:DE"
LARGEST = 10_000_000_000_000_000
"""What payments of one consignment come to at most: 10^16 minor units."""
ONE = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="", charges=(Charge(1_000), Charge(1_200, TAX)))
"""2,200 to be paid at once."""
UNMATCHED = pb.PAYMENT_OUTCOME_UNMATCHED


def payment(ident: str, amount: int, reference: str, **more: Any) -> Payment:
    return replace(Payment(ident, reference, "EU", "EUR", amount), **more)


async def rows(books: Books, question: str) -> list[tuple[Any, ...]]:
    async with books.database.connection() as reader:
        return [tuple(row) for row in await reader.raw.fetch(question)]


async def outcomes(books: Books) -> list[tuple[Any, ...]]:
    return await rows(books, "select id, outcome, account, matched, over, still_owed from ledger_payment order by id")


async def paid_of(books: Books, *states: State) -> list[tuple[int, int]]:
    """What is paid and open of consignments."""
    found = {row[0]: (row[2], row[3]) for row in await books.positions([each.mrn for each in states])}
    return [found[each.mrn] for each in states]


async def give(books: Books, key: Key, minor: int) -> None:
    async with books.database.transaction() as tx:
        await credit.add(tx, {key: minor})


async def use(books: Books, stands: dict[Key, int], wanted: dict[Key, list[CreditItem]]) -> int:
    """Use credit for consignments in a transaction that holds their heads."""
    async with books.database.transaction() as tx:
        heads = await books.ledger.book.lock(
            tx, {partition_of_mrn(item.mrn) for items in wanted.values() for item in items}
        )
        return await apply_credit.use_credit(books.ledger, tx, heads, stands, wanted)


async def test_payments_that_wait_pay_a_debt_one_after_the_other_and_each_is_told_what_it_did(books: Books) -> None:
    await books.pay(payment("a", 2_000, ONE.mrn), payment("b", 500, ONE.mrn), payment("c", 7, ONE.mrn))
    await books.take(ONE)
    underpaid, overpaid = pb.PAYMENT_OUTCOME_UNDERPAID, pb.PAYMENT_OUTCOME_OVERPAID
    assert await outcomes(books) == [
        ("a", underpaid, OWNER, 2_000, 0, 200), ("b", overpaid, OWNER, 200, 300, 0), ("c", overpaid, OWNER, 0, 7, 0),
    ]  # fmt: skip
    assert await paid_of(books, ONE) == [(2_507, 0)]
    assert await rows(books, "select * from ledger_waiting") == []
    entries = await books.chain.of_mrn(ONE.mrn, rows_max=9)
    paid, back = (pb.ENTRY_KIND_PAID, 0, 0), (pb.ENTRY_KIND_ASSESSED, 1, 0)
    assert [(each.kind, each.version, each.reverses) for each in entries] == [back, paid, paid, paid]


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({}, False),
        ({"currency": "GBP"}, True),
        ({"rulebook": "UK/2026.1/1f0c9a2b"}, True),
        ({"charges": ()}, True),
        ({"debt": common_pb2.DEBT_STATUS_DEFERRED, "debt_account": "deferred:carrier-7"}, True),
    ],
)
async def test_a_payment_waits_on_for_a_debt_of_its_currency_and_jurisdiction_that_is_paid_at_once(
    books: Books, change: dict[str, Any], *, waits: bool
) -> None:
    await books.pay(payment("a", 2_200, ONE.mrn))
    await books.take(replace(ONE, **change))
    assert [row[1] == UNMATCHED for row in await outcomes(books)] == [waits]
    assert len(await rows(books, "select * from ledger_waiting")) == waits


async def test_of_a_debt_that_follows_others_on_its_page_the_payment_waited_for_its_own(books: Books) -> None:
    many = [replace(ONE, mrn=mrn(1 + place, 3), declarant=f"W{place}") for place in range(3)]
    await books.pay(*(payment(f"b{place}", 2_200 + place, each.mrn) for place, each in enumerate(many)))
    await books.take(*many)
    assert await paid_of(books, *many) == [(2_200, 0), (2_201, 0), (2_202, 0)]
    assert [row[2] for row in await outcomes(books)] == [f"declarant:W{place}" for place in range(3)]


async def test_a_payment_that_waited_is_told_with_the_account_that_owes_first(books: Books) -> None:
    shared = replace(ONE, charges=(Charge(300, account=BUYERS), Charge(25, TAX, account=OWNER)))
    single = replace(ONE, mrn=mrn(2), charges=(Charge(5),))
    await books.pay(payment("a", 400, shared.mrn), payment("b", 5, single.mrn))
    await books.take(shared, single)
    assert await outcomes(books) == [
        ("a", pb.PAYMENT_OUTCOME_OVERPAID, BUYERS, 325, 75, 0), ("b", pb.PAYMENT_OUTCOME_MATCHED, OWNER, 5, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(("second", "waits"), [(4_000_000_000_000_000, []), (4_000_000_000_000_001, ["b"])])
async def test_payments_that_wait_pay_a_consignment_up_to_the_largest_sum_and_not_one_beyond(
    books: Books, second: int, waits: list[str]
) -> None:
    await books.pay(payment("a", LARGEST - 4_000_000_000_000_000, ONE.mrn), payment("b", second, ONE.mrn))
    await books.take(ONE)
    assert [row[0] for row in await rows(books, "select id from ledger_waiting")] == waits


@pytest.mark.parametrize(("more", "reason"), [(0, ""), (1, "AMOUNT_OUT_OF_BOUNDS")])
async def test_payments_of_a_consignment_come_to_the_largest_sum_and_not_one_beyond(
    books: Books, more: int, reason: str
) -> None:
    await books.take(ONE)
    first, second = await books.pay(payment("a", 7, ONE.mrn), payment("b", LARGEST - 7 + more, ONE.mrn))
    assert (first.reason, second.reason) == ("", reason)


async def test_credit_pays_fifty_consignments_of_an_account_in_one_transaction(books: Books) -> None:
    await books.take(ONE)
    await books.pay(payment("a", 2_200 + 110 * 3, OWNER))
    # All on one page: what is beyond fifty waits for the next transaction.
    many = [replace(ONE, mrn=mrn(10 + place, 3), charges=(Charge(3),)) for place in range(110)]
    await books.take(*many)
    assert len(await rows(books, "select mrn from ledger_open")) == 60
    ((_, account, currency, *_),) = await rows(books, "select 1, account, currency from ledger_credit")
    key = (account, currency)
    assert await settle_some(books.ledger, [key], 0) == 0
    assert await settle_some(books.ledger, [key], 1) == 50
    assert len(await rows(books, "select mrn from ledger_open")) == 10
    assert await settle_once(books.ledger, key) == 10
    assert await settle_once(books.ledger, key) == 0
    assert await settle_once(books.ledger, (account, "GBP")) == 0


async def test_credit_that_finds_nothing_to_pay_is_left_as_it_is(books: Books) -> None:
    await books.take(ONE)
    await books.pay(payment("a", 2_300, ONE.mrn))
    ((account,),) = await rows(books, "select account from ledger_credit where minor = 100")
    assert await settle_once(books.ledger, (account, "EUR")) == 0
    await give(books, (account, "EUR"), -300)
    assert await settle_once(books.ledger, (account, "EUR")) == 0, "none of it paid anything"
    assert await rows(books, "select minor from ledger_credit") == [(-200,)]


async def test_which_way_credit_is_used_is_told_by_its_own_row(books: Books) -> None:
    for each in (replace(ONE, mrn=mrn(2), declarant="A0"), ONE):
        await books.take(each)
    ids = await books.ledger.name_ids({"declarant:A0", OWNER, OTHER})
    lower, account, higher = sorted(ids.values())
    assert account == ids[OWNER]
    for other in ((lower, "EUR"), (account, "AUD"), (account, "USD"), (higher, "EUR")):
        await give(books, other, -3)
    await give(books, (account, "EUR"), 5)
    open_before = len(await rows(books, f"select mrn from ledger_open where account = {account}"))
    assert await settle_once(books.ledger, (account, "EUR")) == open_before == 1
    assert await rows(books, f"select minor from ledger_credit where account = {account} and currency = 'EUR'") == [
        (0,)
    ]


async def test_credit_pays_what_its_account_owes_alone_in_its_currency(books: Books) -> None:
    """Items may be others by the time their heads are held: of those none is paid."""
    shared = replace(ONE, mrn=mrn(2), charges=(Charge(5), Charge(5, TAX, "EU.vat", account=BUYERS)))
    others = replace(ONE, mrn=mrn(3), declarant="D2", charges=(Charge(5),))
    pounds = replace(ONE, mrn=mrn(4), charges=(Charge(5),), currency="GBP")
    secured = replace(
        ONE, mrn=mrn(6), charges=(Charge(5),), debt=common_pb2.DEBT_STATUS_DEFERRED, debt_account="deferred:carrier-7"
    )
    every = (ONE, shared, others, pounds, secured)
    await books.take(*every)
    ids = await books.ledger.name_ids({OWNER})
    key = (ids[OWNER], "EUR")
    await give(books, key, 10_000)
    paid = {}
    for each in every:
        item = CreditItem(each.mrn, each.day, 1)
        paid[each.mrn] = await use(books, {key: 10_000}, {key: [item]})
    assert paid == {ONE.mrn: 1, shared.mrn: 0, others.mrn: 0, pounds.mrn: 0, secured.mrn: 0}
    assert await paid_of(books, *every) == [(2_200, 0), (0, 10), (0, 5), (0, 5), (0, 0)]


async def test_credit_is_shared_in_the_order_asked_for_until_it_is_used(books: Books) -> None:
    many = [replace(ONE, mrn=mrn(1 + place, 3), charges=(Charge(3),)) for place in range(4)]
    theirs = replace(ONE, mrn=mrn(9, 3), declarant="D2", charges=(Charge(3),))
    await books.take(*many, theirs)
    ids = await books.ledger.name_ids({OWNER, OTHER})
    own, other = (ids[OWNER], "EUR"), (ids[OTHER], "EUR")
    await give(books, own, 8)
    await give(books, other, 2)
    wanted = {own: [CreditItem(each.mrn, each.day, 0) for each in many], other: [CreditItem(theirs.mrn, theirs.day, 0)]}
    assert await use(books, {own: 8, other: 2}, wanted) == 4
    assert await paid_of(books, *many, theirs) == [(3, 0), (3, 0), (2, 1), (0, 3), (2, 1)]
    assert await rows(books, "select minor from ledger_credit order by account") == [(0,), (0,)]
    assert sorted(await rows(books, "select mrn, minor from ledger_drawn")) == [
        (many[0].mrn, 3), (many[1].mrn, 3), (many[2].mrn, 2), (theirs.mrn, 2),
    ]  # fmt: skip
    assert await use(books, {own: 0}, {own: [CreditItem(many[3].mrn, DAY, 0)]}) == 0


async def test_what_credit_lacks_is_taken_back_from_what_it_paid_and_is_paid_there_still(books: Books) -> None:
    many = [replace(ONE, mrn=mrn(1 + place, 3), charges=(Charge(3),)) for place in range(4)]
    pounds = replace(ONE, mrn=mrn(9, 3), charges=(Charge(3),), currency="GBP")
    await books.take(*many, pounds)
    await books.pay(*(payment(f"b{place}", 3, each.mrn) for place, each in enumerate(many[:3])))
    await books.pay(payment("p", 3, pounds.mrn, currency="GBP"))
    account = (await books.ledger.name_ids({OWNER}))[OWNER]
    key = (account, "EUR")
    await give(books, key, -6)
    async with books.database.transaction() as tx:
        await credit.add_paid_items(tx, [(key, CreditItem(each.mrn, each.day, 2)) for each in (*many, pounds)])
    # Of the last one nothing is paid, and of that in pounds nothing in euros: what is remembered of them is forgotten.
    items = [CreditItem(each.mrn, each.day, 2) for each in (pounds, many[3], *many[:3])]
    assert await use(books, {key: -5}, {key: items}) == 5
    assert await paid_of(books, *many, pounds) == [(1, 2), (1, 2), (2, 1), (0, 3), (3, 0)]
    assert await rows(books, "select minor from ledger_credit where currency = 'EUR'") == [(-1,)]
    assert await rows(books, "select mrn, minor from ledger_drawn") == [(many[2].mrn, 1)]
    back = [each for each in await books.chain.of_mrn(many[0].mrn, rows_max=9) if each.reference == "credit"]
    assert [(each.kind, each.reverses, each.version) for each in back] == [
        (pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID, 0)
    ]


async def test_of_a_consignment_no_more_is_taken_back_than_is_paid_of_it(books: Books) -> None:
    await books.take(replace(ONE, charges=(Charge(3),)))
    await books.pay(payment("a", 2, ONE.mrn))
    key = ((await books.ledger.name_ids({OWNER}))[OWNER], "EUR")
    await give(books, key, -9)
    async with books.database.transaction() as tx:
        await credit.add_paid_items(tx, [(key, CreditItem(ONE.mrn, ONE.day, 5))])
    assert await use(books, {key: -9}, {key: [CreditItem(ONE.mrn, ONE.day, 5)]}) == 1
    assert await paid_of(books, ONE) == [(0, 3)]
    assert await rows(books, "select minor from ledger_credit") == [(-7,)]


async def test_credit_pays_a_consignment_up_to_the_largest_sum(books: Books) -> None:
    """Almost all that was paid of it went out again, so that it owes something although so much was paid."""
    bought = tuple(replace(each, account=BUYERS) for each in ONE.charges)
    await books.take(replace(ONE, charges=bought))
    await books.pay(payment("a", LARGEST - 4, ONE.mrn))
    async with books.database.transaction() as tx:
        await tx.raw.execute(
            "update ledger_position set paid_out = $1, payee = (select id from ledger_name where name = $2)",
            LARGEST - 2_204,
            BUYERS,
        )
    await books.take(replace(ONE, version=2, charges=(*ONE.charges, Charge(50, code="EU.other"))))
    ((open_minor,),) = await rows(books, "select open from ledger_position")
    assert open_minor == 50
    key = ((await books.ledger.name_ids({OWNER}))[OWNER], "EUR")
    await give(books, key, 100)
    assert await use(books, {key: 100}, {key: [CreditItem(ONE.mrn, ONE.day, 0)]}) == 1
    assert await paid_of(books, ONE) == [(LARGEST, 46)]
    assert await use(books, {key: 96}, {key: [CreditItem(ONE.mrn, ONE.day, 0)]}) == 0


async def test_money_is_shared_out_of_an_account_to_consignments_and_back(books: Books) -> None:
    many = [replace(ONE, mrn=mrn(1 + place, 3), charges=(Charge(3 + place),)) for place in range(3)]
    await books.take(*many)
    account = (await books.ledger.name_ids({OWNER}))[OWNER]
    for sign, left in ((1, [(1, 2), (4, 0), (3, 2)]), (-1, [(0, 3), (0, 4), (0, 5)])):
        async with books.database.transaction() as tx:
            heads = await books.ledger.book.lock(tx, [3])
            shares = [
                CreditTransfer(many[place].mrn, account, sign * minor, "x")
                for place, minor in ((2, 2), (0, 1), (1, 4), (2, 1))
            ]
            await apply_credit.pay(books.ledger, tx, heads, shares)
        assert await paid_of(books, *many) == left
    kinds = [(each.kind, each.reverses) for each in await books.chain.of_mrn(many[2].mrn, rows_max=9)][-4:]
    paid, back = (pb.ENTRY_KIND_PAID, 0), (pb.ENTRY_KIND_REVERSED, pb.ENTRY_KIND_PAID)
    assert kinds == [paid, paid, back, back]


async def test_what_the_ledger_refuses_of_one_account_is_logged_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged: list[dict[str, Any]] = []
    monkeypatch.setattr(
        apply_credit, "log", SimpleNamespace(warning=lambda event, **what: logged.append({"event": event, **what}))
    )
    left = {(1, "EUR"): 2, (3, "EUR"): 1}

    async def once(_: Ledger, key: Key) -> int:
        if key == (2, "GBP"):
            raise LedgerError("BALANCE_OUT_OF_BOUNDS", "too much")
        left[key] -= 1
        return 7 if left[key] >= 0 else 0

    monkeypatch.setattr(apply_credit, "settle_once", once)
    assert await settle_some(cast(Ledger, None), [(2, "GBP"), (1, "EUR"), (3, "EUR")], 99) == 21
    assert logged == [{"event": "LEDGER_SETTLING_POSTPONED", "account": 2, "why": logged[0]["why"]}]
    left.update({(1, "EUR"): 2, (3, "EUR"): 1})
    assert await settle_some(cast(Ledger, None), [(1, "EUR"), (3, "EUR")], 2) == 14, "of all accounts together"


class NoDatabase:
    """What asks for nothing."""

    class connection:  # noqa: N801
        async def __aenter__(self) -> None:
            return None

        async def __aexit__(self, *_: object) -> None:
            return None


def background(monkeypatch: pytest.MonkeyPatch, keys: list[Key]) -> tuple[CreditJob, list[int]]:
    """The work in the background on some accounts, and how many it asks for."""
    asked: list[int] = []

    async def wanting(_: object, most: int) -> list[Key]:
        asked.append(most)
        return keys

    monkeypatch.setattr(credit, "applicable", wanting)
    return CreditJob(cast(Ledger, SimpleNamespace(database=NoDatabase)), interval_seconds=0.01), asked


async def test_the_background_uses_all_that_a_thousand_accounts_can_and_ends_between_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work, asked = background(monkeypatch, [(1, "EUR"), (2, "EUR")])
    left, stop, done = {1: 3, 2: 1}, asyncio.Event(), []

    async def once(_: Ledger, key: Key) -> int:
        done.append(key[0])
        if len(done) == stops_after:
            stop.set()
        left[key[0]] -= 1
        return 5 if left[key[0]] >= 0 else 0

    monkeypatch.setattr(apply_credit, "settle_once", once)
    stops_after = 99
    assert await work.step() == 20
    assert (done, asked) == ([1, 1, 1, 1, 2, 2], [1_000])
    left.update({1: 3, 2: 1})
    assert await work.step(stop) == 20
    left.update({1: 3, 2: 1})
    done.clear()
    stops_after = 2
    assert await work.step(stop) == 10
    assert done == [1, 1]
    assert await work.step(stop) == 0
    assert done == [1, 1]


async def test_the_background_tries_again_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = background(monkeypatch, [])
    stop, steps = asyncio.Event(), 0

    async def step(self: CreditJob, until: asyncio.Event | None = None) -> int:
        nonlocal steps
        assert until is stop
        steps += 1
        if steps == 3:
            stop.set()
        raise StoreUnavailable("revenue", reason="down")

    monkeypatch.setattr(CreditJob, "step", step)
    async with asyncio.timeout(10):
        await work.run(stop)
    assert steps == 3
    await work.run(stop)
    assert steps == 3

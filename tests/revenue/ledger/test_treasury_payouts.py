"""A treasury is paid what was received for it: what nobody has paid yet is no treasury's to take from the others' money."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.store.database import Database
from libs.store.tables.schema import ensure_day_partitions
from luxor.common.v1 import common_pb2
from luxor.common.v1.common_pb2 import COLLECTOR_VENDOR
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.store.ledger import treasury_cash
from services.revenue.store.ledger.entries import PARTITIONED
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from services.revenue.store.positions import pages
from services.revenue.store.positions.pages import PAGE_MIN
from tests.revenue.ledger.books import Books, emptied
from tests.revenue.ledger.invariants import sound
from tests.revenue.ledger.state_histories import histories
from tests.revenue.ledger.states import TAX, Charge, State, mrn
from tests.revenue.ledger.treasuries import Shared

VENDOR, DEFERRED, GUARANTEE, CARRIER = (
    "vendor:IM2760000014",
    "deferred:carrier-7",
    "guarantee:26DEG0000001",
    "carrier:NL1",
)
FLAT, VAT = Charge(301), Charge(1_900, TAX, "EU.vat_low_value")
SOLD = replace(VAT, collector=COLLECTOR_VENDOR, account=VENDOR)
OPEN = State(mrn(1, 3), charges=(VAT,), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
"""1,900 of Germany's VAT that the declarant pays at once."""
SALE = State(mrn(2, 7), charges=(SOLD,), destination="FR")
"""1,900 of France's VAT that a vendor owes."""


@pytest.fixture
def shared(books: Books) -> Shared:
    return Shared(books.database)


def paid(number: int, amount: int, reference: str, back: str = "") -> Payment:
    return Payment(f"b{number}", reference, "EU", "EUR", amount, back)


class Bank:
    """Payouts to treasuries, each by an id of its own."""

    def __init__(self, books: Shared) -> None:
        self.payouts = Payouts(books.ledger)
        self.number = 0

    async def ask(self, treasury: str, amount: int, **more: Any) -> tuple[str, int]:
        """Pay out; return why it was refused, and what is left or there."""
        self.number += 1
        asked = Payout(f"o{self.number}", treasury, "EU", "EUR", amount, **more)
        (result,) = await self.payouts.record([asked], "officer-1")
        return result.reason, result.credit

    async def only(self, treasury: str, amount: int) -> None:
        """Exactly so much can be paid out: a cent more is refused with what is there, then all of it leaves, then nothing."""
        assert await self.ask(treasury, amount + 1) == ("PAYOUT_EXCEEDS_CREDIT", amount), treasury
        if amount:
            assert await self.ask(treasury, amount) == ("", 0), treasury
            assert await self.ask(treasury, 1) == ("PAYOUT_EXCEEDS_CREDIT", 0), treasury


async def test_a_treasury_whose_vendor_paid_nothing_is_not_paid_with_another_treasurys_money(shared: Shared) -> None:
    """The attack: Germany's buyer paid 19.00, France's vendor nothing, and France asks first."""
    bank = Bank(shared)
    await shared.take(SALE, OPEN)
    await shared.pay(paid(1, 1_900, OPEN.mrn))
    assert await bank.ask("treasury:FR:tax", 1_900) == ("PAYOUT_EXCEEDS_CREDIT", 0)
    assert await bank.ask("treasury:FR:tax", 1) == ("PAYOUT_EXCEEDS_CREDIT", 0)
    await bank.only("treasury:DE:tax", 1_900)
    assert await shared.standing() == {VENDOR: 1_900, "treasury:FR:tax": -1_900}
    # When the vendor pays, France is paid.
    await shared.pay(paid(2, 1_900, VENDOR))
    await bank.only("treasury:FR:tax", 1_900)
    assert await shared.standing() == {}
    await sound(shared)


STATES = ("DE", "FR", "IT", "ES", "NL", "BE", "AT", "PL", "SE", "FI", "PT", "IE")


async def test_what_was_paid_of_a_consignment_pays_its_charges_in_their_order(shared: Shared) -> None:
    """Duty of 3.01 and VAT of 19.00 of one consignment a state, paid to another amount each: both sides of each bound."""
    bank = Bank(shared)
    amounts = dict(zip(STATES, (0, 1, 300, 301, 302, 2_200, 2_201, 2_500), strict=False))
    sent = {state: replace(OPEN, mrn=mrn(10 + at, at), destination=state) for at, state in enumerate(amounts)}
    await shared.take(*(replace(each, charges=(FLAT, VAT)) for each in sent.values()))
    await shared.pay(paid(0, 90_000, "x"), *(paid(n, n, sent[at].mrn) for at, n in amounts.items() if n))
    union = 0
    for state, amount in amounts.items():
        duty, tax = min(amount, 301), min(max(amount - 301, 0), 1_900)
        retained = 75 - int(Fraction(301 - duty, 4))  # what is unpaid is divided as the charge is
        await bank.only(f"treasury:{state}:tax", tax)
        await bank.only(f"treasury:{state}:duty", retained)
        union += duty - retained
    await bank.only("treasury:EU:duty", union)


async def test_a_refund_lessens_what_was_received_and_a_remission_does_not(shared: Shared) -> None:
    """What is refunded is what was paid, the rest of the law's refund is remitted: 9.00 stay of 14.00 paid where 10.00 are refunded."""
    bank = Bank(shared)
    two = (
        replace(VAT, item=1, amount=1_000, account="border:DE"),
        replace(VAT, item=2, amount=900, account="border:DE"),
    )
    cases = [
        (0, ()),
        (1_000, ()),
        (1_900, ()),
        (0, (1,)),
        (900, (1,)),
        (901, (1,)),
        (1_400, (1,)),
        (1_900, (1,)),
        (1_900, (1, 2)),
    ]
    left = [0, 1_000, 1_900, 0, 900, 900, 900, 900, 0]
    sent = [
        replace(OPEN, mrn=mrn(10 + at, at), destination=STATES[at], charges=two, items=2) for at in range(len(cases))
    ]
    await shared.take(*sent, replace(SALE, destination="IE"))
    await shared.pay(
        paid(0, 90_000, "x"),
        *(
            paid(at + 1, minor, each.mrn)
            for at, (each, (minor, _)) in enumerate(zip(sent, cases, strict=True))
            if minor
        ),
    )
    await shared.take(*(replace(each, version=2, returned=back) for each, (_, back) in zip(sent, cases, strict=True)))
    for each, minor in zip(sent, left, strict=True):
        await bank.only(f"treasury:{each.destination}:tax", minor)
    await bank.only("treasury:IE:tax", 0)


ACCOUNTS: list[tuple[str, Charge, int, str]] = [
    (VENDOR, SOLD, common_pb2.DEBT_STATUS_VENDOR_COLLECTED, ""),
    (CARRIER, replace(SOLD, account=CARRIER), common_pb2.DEBT_STATUS_VENDOR_COLLECTED, ""),
    (DEFERRED, VAT, common_pb2.DEBT_STATUS_DEFERRED, DEFERRED),
    (GUARANTEE, VAT, common_pb2.DEBT_STATUS_SECURED, GUARANTEE),
]


async def test_accounts_that_pay_periodically_pay_their_oldest_charges_first(shared: Shared) -> None:
    """Of each kind one account, with the VAT of three states of its own: what is paid pays the consignments in their order."""
    bank = Bank(shared)
    await shared.pay(paid(0, 90_000, "x"))
    for at, (account, charge, debt, debt_account) in enumerate(ACCOUNTS):
        first, second, third = STATES[3 * at : 3 * at + 3]
        sale = State(mrn(1, 9), charges=(charge,), debt=debt, debt_account=debt_account)
        await shared.take(
            *(replace(sale, mrn=mrn(10 * at + n, 9), destination=to) for n, to in enumerate((first, second, third)))
        )
        assert (await shared.standing())[account] == 5_700
        for state in (first, second, third):
            await bank.only(f"treasury:{state}:tax", 0)
        await shared.pay(paid(10 * at + 2, 2_000, account))
        await bank.only(f"treasury:{first}:tax", 1_900)
        await bank.only(f"treasury:{second}:tax", 100)
        await bank.only(f"treasury:{third}:tax", 0)
        await shared.pay(paid(10 * at + 3, 1_801, account))
        await bank.only(f"treasury:{second}:tax", 1_800)
        await bank.only(f"treasury:{third}:tax", 1)
        # What is more than the account owes is its own, and pays what it owes next.
        await shared.pay(paid(10 * at + 4, 2_500, account))
        await bank.only(f"treasury:{third}:tax", 1_899)
        await shared.take(replace(sale, mrn=mrn(10 * at + 5, 9), destination=first))
        await bank.only(f"treasury:{first}:tax", 601)


async def test_what_is_booked_later_of_a_consignment_does_not_change_which_charges_were_paid(shared: Shared) -> None:
    bank = Bank(shared)
    two = (replace(SOLD, item=1, amount=1_000), replace(SOLD, item=2, amount=900))
    old = replace(SALE, mrn=mrn(5, 9), charges=two, items=2)
    await shared.take(old)
    await on_the_day_before(shared)
    await shared.take(replace(SALE, mrn=mrn(4, 9), destination="IT"))
    await shared.pay(paid(1, 1_900, VENDOR), paid(2, 9_000, "x"))
    await bank.only("treasury:FR:tax", 1_900)
    # A refund of the old one leaves the vendor 9.00 for the next charge; it does not make the old one the newest.
    await shared.take(replace(old, version=2, returned=(2,)))
    await bank.only("treasury:IT:tax", 900)
    await bank.only("treasury:FR:tax", 0)


async def on_the_day_before(books: Books) -> None:
    """Let what is booked be booked a day earlier."""
    async with books.database.transaction() as tx:
        for table in PARTITIONED:
            day = await tx.raw.fetchval(f"select max(day) from {table}")
            await ensure_day_partitions(tx, table, [day - 1])
            await tx.raw.execute(f"update {table} set day = day - 1, booked_at = booked_at - 86400000000")
        for table in ("ledger_balance", "ledger_day"):
            await tx.raw.execute(f"update {table} set day = day - 1")
        await tx.raw.execute("update ledger_head set booked_at = booked_at - 86400000000 where number > 0")
        await tx.raw.execute("update ledger_position set days = (select array_agg(d - 1) from unnest(days) d)")


async def test_money_that_was_paid_out_to_a_buyer_and_is_owed_again_was_not_received(shared: Shared) -> None:
    """Paid, refunded and paid out; then the refund is withdrawn: the buyer owes it again, and the bank has nothing of it."""
    bank = Bank(shared)
    buyer = replace(OPEN, charges=(replace(VAT, account="border:DE"),))
    await shared.take(buyer, replace(OPEN, mrn=mrn(8, 8), destination="FR"))
    await shared.pay(paid(1, 1_900, buyer.mrn), paid(2, 1_900, mrn(8, 8)))
    await shared.take(replace(buyer, version=2, returned=(1,)))
    assert await bank.ask(buyer.mrn, 1_900) == ("", 0)
    await shared.take(replace(buyer, version=3))
    assert (await shared.standing())["border:DE"] == 1_900
    await bank.only("treasury:DE:tax", 0)
    await bank.only("treasury:FR:tax", 1_900)
    await shared.pay(paid(3, 1_000, buyer.mrn))
    await bank.only("treasury:DE:tax", 1_000)


async def test_a_payment_that_is_taken_back_was_not_received(shared: Shared) -> None:
    bank = Bank(shared)
    await shared.take(OPEN, SALE)
    await shared.pay(paid(1, 1_900, OPEN.mrn), paid(2, 1_900, VENDOR), paid(3, 9_000, "x"))
    await shared.pay(paid(4, 1_900, OPEN.mrn, "b1"), paid(5, 1_900, VENDOR, "b2"))
    await bank.only("treasury:DE:tax", 0)
    await bank.only("treasury:FR:tax", 0)


async def test_a_payout_that_a_treasurys_bank_returned_can_be_paid_out_again(shared: Shared) -> None:
    bank = Bank(shared)
    await shared.take(OPEN, SALE)
    await shared.pay(paid(1, 1_900, OPEN.mrn), paid(2, 500, VENDOR))
    assert await bank.ask("treasury:DE:tax", 1_200) == ("", 700)
    assert await bank.ask("", 1_200, reverses_id="o1") == ("", 1_900)
    await bank.only("treasury:FR:tax", 500)
    await bank.only("treasury:DE:tax", 1_900)


async def test_what_unmatched_money_and_other_credit_bring_in_is_no_treasurys(shared: Shared) -> None:
    bank = Bank(shared)
    await shared.take(OPEN)
    await shared.pay(paid(1, 700, "x"), paid(2, 2_500, "declarant:DE1234567890"))
    await bank.only("treasury:DE:tax", 1_900)
    assert await shared.standing() == {"bank:EU": 1_300, "unmatched:EU": -700, "declarant:DE1234567890": -600}


async def test_one_treasury_asked_twice_at_once_is_paid_once_and_two_are_paid_their_own(shared: Shared) -> None:
    await shared.take(OPEN, SALE)
    await shared.pay(paid(1, 1_900, OPEN.mrn), paid(2, 400, VENDOR))
    asked = [Payout(f"r{at}", f"treasury:{'DE' if at % 2 else 'FR'}:tax", "EU", "EUR", 300) for at in range(20)]
    replicas = [Payouts(Shared(shared.database).ledger) for _ in asked]
    done = await asyncio.gather(*(each.record([one], "officer-1") for each, one in zip(replicas, asked, strict=True)))
    booked = [one.reference for one, (result,) in zip(asked, done, strict=True) if not result.reason]
    assert (booked.count("treasury:DE:tax"), booked.count("treasury:FR:tax")) == (6, 1)
    assert {result.reason for (result,) in done} == {"", "PAYOUT_EXCEEDS_CREDIT"}
    await sound(shared)


async def test_two_payouts_that_both_saw_the_money_before_either_was_booked(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read what was received before one of them is booked: the second sees the first under the head."""
    await shared.take(OPEN, SALE)
    await shared.pay(paid(1, 1_900, OPEN.mrn), paid(2, 1_900, "x"))
    both, read = asyncio.Barrier(2), treasury_cash.received

    async def received(*asked: Any) -> Any:
        found = await read(*asked)
        await both.wait()
        return found

    monkeypatch.setattr("services.revenue.commands.payments.record_payout.received", received)
    payouts = [Payouts(shared.ledger) for _ in range(2)]
    async with asyncio.timeout(30):
        done = await asyncio.gather(
            *(
                each.record([Payout(f"r{at}", "treasury:DE:tax", "EU", "EUR", 1_000)], "officer-1")
                for at, each in enumerate(payouts)
            )
        )
    assert sorted((result.reason, result.credit) for (result,) in done) == [("", 900), ("PAYOUT_EXCEEDS_CREDIT", 900)]


async def test_parts_of_what_is_read_come_to_the_same(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treasury_cash, "ROWS_MAX", 2)
    bank = Bank(shared)
    opened = [replace(OPEN, mrn=mrn(20 + at, at)) for at in range(5)]
    sales = [replace(SALE, mrn=mrn(40 + at, at), destination=("FR", "DE")[at % 2]) for at in range(5)]
    await shared.take(*opened, *sales)
    await shared.pay(*(paid(at, 100 + at, each.mrn) for at, each in enumerate(opened)), paid(9, 4_000, VENDOR))
    await bank.only("treasury:DE:tax", 510 + 1_900)
    await bank.only("treasury:FR:tax", 1_900 + 200)


amounts_paid = st.lists(
    st.tuples(
        st.sampled_from(
            [mrn(1), mrn(2), mrn(1, 7), "vendor:IM1", "deferred:a", "guarantee:b", "declarant:D1", "nobody"]
        ),
        st.integers(1, 900),
    ),
    max_size=6,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    histories,
    amounts_paid,
    st.lists(st.sampled_from(["DE", "FR", "IT"]), min_size=8, max_size=8),
    st.sampled_from([1, 2, PAGE_MIN]),
)
async def test_treasuries_together_have_received_what_their_revenue_is_less_what_is_owed(
    database: Database, history: list[State], paid_in: list[tuple[str, int]], destinations: list[str], page_min: int
) -> None:
    """Whatever is charged, changed, refunded and paid: to the cent, none of them less than nothing, and the bank has it."""
    await emptied(database)
    books = Shared(database)
    half = len(history) // 2
    states = [replace(each, destination=to) for each, to in zip(history, destinations, strict=False)]
    with patch.object(pages, "PAGE_MIN", page_min):
        await books.take(*states[:half])
        await books.pay(*(paid(number, minor, name) for number, (name, minor) in enumerate(paid_in)))
        await books.take(*states[half:])
    standing = await books.standing()
    async with database.connection() as reader:
        owed = await reader.raw.fetchval(
            "select coalesce(sum(minor), 0)::bigint from ledger_open where currency = 'EUR'"
        )
    owed += sum(
        max(0, minor)
        for name, minor in standing.items()
        if name.split(":")[0] in ("vendor", "carrier", "deferred", "guarantee")
    )
    revenue = {name: -minor for name, minor in standing.items() if name.startswith("treasury:")}
    found = await treasury_cash.received(database, books.ledger.names, "EUR")
    async with database.connection() as reader:
        names = await books.ledger.names.texts(reader, found.minor)
    got = {names[account]: minor for account, minor in found.minor.items()}
    assert got.keys() >= revenue.keys()
    assert sum(got.values()) == sum(revenue.values()) - owed
    assert all(minor >= 0 for minor in got.values()), got
    assert sum(got.values()) <= standing.get("bank:EU", 0)

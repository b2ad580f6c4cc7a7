"""Goods that customs disposes of before any release owe nothing at the border, and confiscated ones no duty: posted once, in whatever order
states and payments come.

Oracle: UCC, article 124(1)(d) to (f). A customs debt ends where the declaration is invalidated, and where the goods are confiscated, destroyed under
supervision or abandoned to the State; a seizure alone ends nothing. Court of Justice, C-489/20: tax on confiscated goods stays.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.revenue_columns_pb2 import DEBT_EVENT_REFUNDED, DEBT_EVENT_SETTLED
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.payments.payments import Payment
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn

DECLARANT, BANK = "declarant:DE1234567890", "bank:EU"
HELD = State(mrn(1), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="", state=clearance.STATE_HELD, released_day=None)
"""2,200 to be paid at once, of goods that are not released."""
SEIZED = replace(HELD, version=2, state=clearance.STATE_SEIZED)
ENDS = (clearance.STATE_DESTROYED, clearance.STATE_RE_EXPORTED, clearance.STATE_ABANDONED)
"""Ends after which nothing is owed at the border."""
CONFISCATED = clearance.STATE_CONFISCATED
ASSESSED, SECURED, REMITTED, REFUNDED, PAID, REVERSED = (
    pb.ENTRY_KIND_ASSESSED, pb.ENTRY_KIND_SECURED, pb.ENTRY_KIND_REMITTED, pb.ENTRY_KIND_REFUNDED, pb.ENTRY_KIND_PAID,
    pb.ENTRY_KIND_REVERSED,
)  # fmt: skip


def ended(before: State, state: int, **changed: Any) -> State:
    """The state after a final decision, as clearance states it: no debt and no account, but of confiscated goods that still owe tax."""
    told: dict[str, Any] = {"version": before.version + 1, "state": state}
    if state != CONFISCATED:
        told |= {"debt": common_pb2.DEBT_STATUS_NONE, "debt_account": ""}
    return replace(before, **told | changed)


def payment(amount: int = 2_200, number: int = 1) -> Payment:
    return Payment(f"bank-{number}", HELD.mrn, "EU", "EUR", amount, "")


@pytest.mark.parametrize("state", ENDS)
async def test_what_was_paid_is_refunded_once_and_no_charge_remains(books: Books, state: int) -> None:
    # Without any rule of a rulebook: the law of returns says nothing of goods that never were released.
    strict = Books(books.database, RefundRules([]))
    await strict.take(HELD)
    await strict.pay(payment())
    end = ended(HELD, state)
    await strict.take(end)
    await strict.take(end)
    assert await strict.kinds(HELD.mrn) == [ASSESSED, PAID, REFUNDED]
    assert await strict.standing() == {BANK: 2_200, DECLARANT: -2_200}
    assert [(each["event"], each["paid_minor"], each["refunded_minor"]) for each in await strict.news()] == [
        (DEBT_EVENT_SETTLED, 2_200, 0), (DEBT_EVENT_REFUNDED, 2_200, 2_200),
    ]  # fmt: skip
    assert await strict.unbalanced() == []


@pytest.mark.parametrize("state", ENDS)
async def test_what_was_not_paid_is_remitted_and_a_part_that_was_comes_back(books: Books, state: int) -> None:
    await books.take(HELD, ended(HELD, state))
    other = replace(HELD, mrn=mrn(2))
    await books.take(other)
    await books.pay(Payment("bank-2", other.mrn, "EU", "EUR", 701, ""))
    await books.take(ended(other, state))
    # 701 of 2,200 was paid, so as much comes back and 1,499 is owed no more.
    assert await books.standing() == {BANK: 701, DECLARANT: -701}
    assert await books.unbalanced() == []


async def test_a_security_is_freed(books: Books) -> None:
    secured = replace(HELD, debt=common_pb2.DEBT_STATUS_DEFERRED, debt_account="deferred:carrier-7")
    await books.take(secured)
    assert (await books.standing())["deferred:carrier-7"] == 2_200
    await books.take(ended(secured, clearance.STATE_ABANDONED))
    assert await books.standing() == {}
    assert await books.kinds(HELD.mrn) == [ASSESSED, SECURED, REVERSED, REMITTED]


async def test_goods_that_a_movement_lost_owe_what_was_assessed_whether_it_is_paid_or_not(books: Books) -> None:
    # UCC, article 79: the debt is incurred by the loss, so no end of the goods remits or refunds it.
    lost = replace(HELD, version=2, transit_outcome=clearance.TRANSIT_OUTCOME_LOST)
    end = replace(lost, version=3, state=clearance.STATE_DESTROYED)
    await books.take(HELD, lost, end)
    assert (await books.standing())[DECLARANT] == 2_200
    await books.pay(payment())
    await books.take(end)
    assert await books.kinds(HELD.mrn) == [ASSESSED, PAID]
    # Movements that ended otherwise change nothing.
    other = replace(HELD, mrn=mrn(2), transit_outcome=clearance.TRANSIT_OUTCOME_ENDED)
    await books.take(other, ended(other, clearance.STATE_DESTROYED))
    assert (await books.kinds(other.mrn))[-1] == REMITTED
    assert await books.unbalanced() == []


FEE = Charge(70, common_pb2.CHARGE_KIND_FEE, "EU.handling")
TAXED = replace(HELD, charges=(*HELD.charges, FEE))
"""300 of duty, 1,900 of tax and 70 of fees."""
STAYS = {"treasury:EU:tax": -1_900, "treasury:EU:fee": -70}


async def test_confiscated_goods_that_are_not_paid_for_owe_tax_and_fees_and_no_duty(books: Books) -> None:
    end = ended(TAXED, CONFISCATED)
    await books.take(TAXED, end)
    await books.take(end)
    assert await books.standing() == {DECLARANT: 1_970} | STAYS
    assert await books.kinds(HELD.mrn) == [ASSESSED, REMITTED]
    await books.pay(payment(1_970))
    assert {name: minor for name, minor in (await books.standing()).items() if minor} == {BANK: 1_970} | STAYS
    assert await books.unbalanced() == []


async def test_of_confiscated_goods_that_were_paid_for_the_duty_is_refunded_once_and_tax_and_fees_stay(
    books: Books,
) -> None:
    strict = Books(books.database, RefundRules([]))
    await strict.take(TAXED)
    await strict.pay(payment(2_270))
    end = ended(replace(TAXED, debt=common_pb2.DEBT_STATUS_PAID), CONFISCATED)
    await strict.take(end)
    await strict.take(end)
    assert await strict.kinds(HELD.mrn) == [ASSESSED, PAID, REFUNDED]
    assert await strict.standing() == {BANK: 2_270, DECLARANT: -300} | STAYS
    assert [(each["event"], each["paid_minor"], each["refunded_minor"]) for each in await strict.news()] == [
        (DEBT_EVENT_SETTLED, 2_270, 0), (DEBT_EVENT_REFUNDED, 2_270, 300),
    ]  # fmt: skip
    assert await strict.unbalanced() == []


async def test_an_account_stands_for_the_tax_of_confiscated_goods_and_not_for_their_duty(books: Books) -> None:
    secured = replace(TAXED, debt=common_pb2.DEBT_STATUS_DEFERRED, debt_account="deferred:carrier-7")
    await books.take(secured, ended(secured, CONFISCATED))
    assert await books.standing() == {"deferred:carrier-7": 1_970} | STAYS


async def test_a_seizure_alone_ends_no_debt_and_its_payment_still_counts(books: Books) -> None:
    await books.take(HELD, SEIZED)
    assert (await books.standing())[DECLARANT] == 2_200
    (paid,) = await books.pay(payment())
    assert paid.outcome == pb.PAYMENT_OUTCOME_MATCHED
    await books.take(replace(SEIZED, version=3, state=clearance.STATE_HELD))
    assert (await books.standing()).get(DECLARANT, 0) == 0
    assert await books.kinds(HELD.mrn) == [ASSESSED, PAID]


ADJUSTED = replace(
    SEIZED, version=3, charges=(Charge(500), Charge(2_501, TAX, "EU.vat_low_value")), change=clearance.CHANGE_ADJUSTED,
    adjusted_at=DAY * 86_400_000_000 + 9,
)  # fmt: skip
ANOTHER = (Charge(700), Charge(900, TAX, "EU.vat_low_value"))
"""What another assessment after the end says is owed."""


ORDERS = tuple(itertools.permutations(("held", "seized", "adjusted", "end", "pay")))


@pytest.mark.parametrize(
    ("state", "tax", "tax_afterwards"), [(clearance.STATE_DESTROYED, 0, 0), (CONFISCATED, 2_501, 900)]
)
async def test_in_every_order_of_states_and_payment_the_end_is_the_same_to_the_cent(
    books: Books, state: int, tax: int, tax_afterwards: int
) -> None:
    # Each order has a consignment and a declarant of its own; a step is one page and one request for all of them.
    declarants = [f"DE{number:010}" for number in range(len(ORDERS))]
    orders = {mrn(number): order for number, order in enumerate(ORDERS, 1)}
    forms = {"held": HELD, "seized": SEIZED, "adjusted": ADJUSTED}
    forms |= {"end": ended(ADJUSTED, state, change=clearance.CHANGE_DISPOSED)}

    def of(number: int, form: State) -> State:
        return replace(form, mrn=mrn(number + 1), declarant=declarants[number])

    async def check(tax: int) -> None:
        standing = {name: minor for name, minor in (await books.standing()).items() if minor}
        of_declarants = {
            order: standing.pop(f"declarant:{each}", 0) for each, order in zip(declarants, ORDERS, strict=True)
        }
        assert of_declarants == dict.fromkeys(ORDERS, tax - 2_200)
        assert standing == {BANK: 2_200 * len(ORDERS)} | ({"treasury:EU:tax": -tax * len(ORDERS)} if tax else {})
        of_treasuries = dict.fromkeys(ORDERS, 0)
        for consignment, _, _, account, _, amount in await books.postings():
            if account.startswith("treasury:"):
                of_treasuries[orders[consignment]] += amount
        assert of_treasuries == dict.fromkeys(ORDERS, -tax)
        assert await books.unbalanced() == []

    for step in zip(*ORDERS, strict=True):
        states = [of(number, forms[each]) for number, each in enumerate(step) if each != "pay"]
        await books.take(*states)
        await books.take(*states)
        await books.pay(
            *(
                Payment(f"bank-{number}", mrn(number + 1), "EU", "EUR", 2_200, "")
                for number, each in enumerate(step)
                if each == "pay"
            )
        )
    # What waits for a debt is credited with it; whatever came first, all of it is the payer's that pays no tax.
    await check(tax)
    # Another assessment after the end changes the tax of confiscated goods alone.
    again = replace(forms["end"], version=5, charges=ANOTHER, change=clearance.CHANGE_REASSESSED, generation=1)
    await books.take(*(of(number, again) for number in range(len(ORDERS))))
    await check(tax_afterwards)


async def test_what_a_vendor_collected_at_the_sale_is_no_debt_at_the_border_and_stays(books: Books) -> None:
    at_sale = Charge(400, TAX, "EU.vat_at_sale", account="vendor:IM2760000014", collector=common_pb2.COLLECTOR_VENDOR)
    both = replace(HELD, charges=(Charge(300), at_sale))
    await books.take(both, ended(both, clearance.STATE_DESTROYED))
    assert await books.standing() == {"vendor:IM2760000014": 400, "treasury:EU:tax": -400}


@pytest.mark.parametrize("state", [clearance.STATE_CONFISCATED, clearance.STATE_DESTROYED, clearance.STATE_RE_EXPORTED])
async def test_goods_that_were_released_before_owe_what_they_were_assessed_at(books: Books, state: int) -> None:
    again = replace(HELD, former_released_day=DAY, debt=common_pb2.DEBT_STATUS_PAID)
    await books.take(again)
    await books.pay(payment())
    await books.take(replace(again, version=2, state=state))
    assert await books.kinds(HELD.mrn) == [ASSESSED, PAID]
    assert await books.standing() == {BANK: 2_200, "treasury:EU:duty": -300, "treasury:EU:tax": -1_900}


async def test_goods_that_were_returned_owe_by_the_rules_of_returns_though_a_former_state_has_no_time_of_release(
    books: Books,
) -> None:
    strict = Books(books.database, RefundRules([]))
    await strict.take(HELD)
    await strict.pay(payment())
    await strict.take(replace(HELD, version=2, state=clearance.STATE_RE_EXPORTED, returned=(1,)))
    assert await strict.kinds(HELD.mrn) == [ASSESSED, PAID]


@pytest.mark.parametrize("end", [clearance.STATE_INVALIDATED, clearance.STATE_EXPIRED])
async def test_what_was_paid_for_an_invalidated_or_expired_declaration_is_its_payers_credit(
    books: Books, end: clearance.State.ValueType
) -> None:
    await books.take(HELD)
    await books.pay(payment())
    await books.take(ended(HELD, end))
    assert await books.standing() == {BANK: 2_200, DECLARANT: -2_200}
    assert await books.unbalanced() == []

"""Rows of payments and payouts are compared with what was booked for them: one that was altered, lost or made up is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from libs.customs.partitions import PARTITIONS
from libs.store.tables.schema import ensure_day_partitions, today
from services.revenue.ledger.account import partition_of_account
from services.revenue.store.ledger.entries import MICROS_A_DAY, PARTITIONED
from services.revenue.store.payments import payouts as stored_payouts
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from services.revenue.store.proofs.day_balances import DIFFERENCES_MAX
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.payout_records import BUYER, OWN, out, payment, payout
from tests.revenue.ledger.states import State, mrn


async def checked(books: Books) -> set[str]:
    """What is wrong with all partitions' chains."""
    found = [await books.chain.check(partition, entries_max=1_000) for partition in range(PARTITIONS)]
    return {fault for each in found for fault in each.discrepancies}


@dataclass(frozen=True)
class Parties:
    """The consignments, the declarant and the ids of payments of one case: nothing that another case has."""

    case: int

    @property
    def declarant(self) -> str:
        return f"declarant:DE{self.case:010}"

    @property
    def own(self) -> State:
        return replace(OWN, mrn=mrn(2 * self.case + 1), declarant=self.declarant.removeprefix("declarant:"))

    @property
    def buyer(self) -> State:
        return replace(BUYER, mrn=mrn(2 * self.case + 2, 3), declarant=self.own.declarant)

    def payment(self, number: int, amount: int, reference: str, back: str = "") -> Payment:
        return Payment(f"bank-{number}-{self.case}", reference, "EU", "EUR", amount, back and f"{back}-{self.case}")

    def payout(self, number: int, amount: int, reference: str = "", **ids: str) -> Payout:
        own = {name: f"{ident}-{self.case}" for name, ident in ids.items()}
        return replace(payout(number, amount, reference, **own), id=f"out-{number}-{self.case}")


async def all_that_money_does(books: Books, *cases: Parties) -> None:
    """Payments before and after their debts, taken back in parts, and payouts that are returned or send a payment back."""
    late = {each: replace(each.buyer, mrn=each.own.mrn) for each in cases}
    await books.pay(
        *(
            paid
            for each in cases
            for paid in (
                each.payment(1, 2_000, late[each].mrn),
                each.payment(2, 7, "nobody"),
                each.payment(3, 9, "nobody"),
            )
        )
    )
    await books.take(*(state for each in cases for state in (late[each], each.buyer)))
    await books.pay(
        *(
            paid
            for each in cases
            for paid in (
                each.payment(4, 2_300, each.buyer.mrn),
                each.payment(5, 500, each.declarant),
                each.payment(6, 5, each.buyer.mrn),
            )
        )
    )
    await books.pay(
        *(
            paid
            for each in cases
            for paid in (each.payment(7, 5, each.buyer.mrn, "bank-6"), each.payment(8, 500, each.declarant, "bank-5"))
        )
    )
    asked = [
        asked
        for each in cases
        for asked in (
            each.payout(1, 60, each.buyer.mrn),
            each.payout(2, 7, returns_payment_id="bank-2"),
            each.payout(3, 9, returns_payment_id="bank-3"),
            each.payout(4, 60, reverses_id="out-1"),
            each.payout(5, 9, reverses_id="out-3"),
        )
    ]
    assert [result.reason for result in await out(books, *asked)] == [""] * len(asked)
    # Half of what is taken back is credit by now.
    await books.take(*(replace(each.buyer, version=2, currency="GBP") for each in cases))
    await books.pay(*(each.payment(9, 2_300, each.buyer.mrn, "bank-4") for each in cases))


async def test_money_that_moves_in_any_way_has_rows_that_agree_with_its_entries(books: Books) -> None:
    await all_that_money_does(books, Parties(1))
    assert await checked(books) == set()
    assert len(await stored_payouts.page(books.database, rows_max=9)) == 5


CHANGES = (
    ("update ledger_payment set amount = 2301 where id = 'bank-4-{0}'", {"payment bank-4-{0}"}),
    ("update ledger_payment set currency = 'GBP' where id = 'bank-1-{0}'", {"payment bank-1-{0}"}),
    ("update ledger_payment set id = 'other-{0}' where id = 'bank-1-{0}'", {"payment bank-1-{0}", "payment other-{0}"}),
    ("update ledger_payment set jurisdiction = 'UK' where id = 'bank-1-{0}'", {"payment bank-1-{0}"}),
    ("delete from ledger_payment where id = 'bank-1-{0}'", {"payment bank-1-{0}"}),
    ("delete from ledger_payment where id = 'bank-9-{0}'", {"payment bank-4-{0}", "payment bank-9-{0}"}),
    (
        "update ledger_payment set reverses_id = '' where id = 'bank-9-{0}'",
        {"payment bank-4-{0}", "payment bank-9-{0}"},
    ),
    ("update ledger_payment set reversed_by = '' where id = 'bank-5-{0}'", {"payment bank-8-{0}"}),
    ("update ledger_payment set returned_by = '' where id = 'bank-2-{0}'", {"payout out-2-{0}"}),
    ("update ledger_payment set returned_by = 'out-3-{0}' where id = 'bank-3-{0}'", {"payment bank-3-{0}"}),
    ("update ledger_payment set booked_at = booked_at + 86400000000 where id = 'bank-1-{0}'", {"payment bank-1-{0}"}),
    ("update ledger_payment set booked_at = booked_at - 172800000000 where id = 'bank-1-{0}'", {"payment bank-1-{0}"}),
    ("update ledger_payout set amount = 61 where id = 'out-1-{0}'", {"payout out-1-{0}"}),
    ("update ledger_payout set reversed_by = '' where id = 'out-1-{0}'", {"payout out-4-{0}"}),
    ("delete from ledger_payout where id = 'out-2-{0}'", {"payment bank-2-{0}", "payout out-2-{0}"}),
    (
        "insert into ledger_payout select jurisdiction, 'made-up-{0}', reference, currency, amount, paid_at, '', '', account, "
        "outcome, credit, booked_at, booked_by, request, '' from ledger_payout where id = 'out-1-{0}'",
        {"payout made-up-{0}"},
    ),
)
"""What is altered of a case's rows, and which rows are named."""


@pytest.mark.parametrize("changes", [CHANGES[::2], CHANGES[1::2]])
async def test_a_row_that_was_altered_lost_or_made_up_is_named(
    books: Books, changes: Sequence[tuple[str, set[str]]]
) -> None:
    # No more at once than are told of a day. One case is left as it is.
    cases = [Parties(number) for number in range(len(changes) + 1)]
    await all_that_money_does(books, *cases)
    async with books.database.transaction() as tx:
        for each, (change, _) in zip(cases, changes, strict=False):
            assert (await tx.raw.execute(change.format(each.case))).endswith(" 1"), change
    expected = {name.format(each.case) for each, (_, names) in zip(cases, changes, strict=False) for name in names}
    assert {fault.partition(" of ")[0] for fault in await checked(books)} == expected


ACCOUNTS = "(select account from ledger_holding where name = $1)"


async def test_what_is_open_and_stands_to_credit_is_what_a_declarants_account_stands_at(books: Books) -> None:
    changes = (
        f"update ledger_credit set minor = minor + 1 where account in {ACCOUNTS}",
        f"delete from ledger_credit where account in {ACCOUNTS}",
        f"insert into ledger_credit select distinct account, 'NOK', 5 from ledger_holding where account in {ACCOUNTS}",
        f"update ledger_open set minor = minor - 1 where account in {ACCOUNTS}",
        f"delete from ledger_open where account in {ACCOUNTS}",
        f"insert into ledger_open select account, 'SEK', day, mrn, minor, alone from ledger_open where account in {ACCOUNTS}",
    )
    # One case is left as it is.
    cases = [Parties(number) for number in range(len(changes) + 1)]
    await all_that_money_does(books, *cases)
    others = {
        each: [
            replace(OWN, mrn=mrn(100 + 2 * each.case + place, place), declarant=f"D{each.case}") for place in range(2)
        ]
        for each in cases
    }
    await books.take(*(state for each in cases for state in others[each]))
    await books.pay(
        *(
            paid
            for each in cases
            for paid in (
                each.payment(30, 2_500, f"declarant:D{each.case}"),
                each.payment(31, 50, each.declarant),
            )
        )
    )
    await books.take(*(replace(others[each][0], version=2, currency="SEK", charges=()) for each in cases))
    await books.pay(*(each.payment(32, 5, others[each][1].mrn) for each in cases))
    assert await checked(books) == set()
    async with books.database.transaction() as tx:
        for each, change in zip(cases, changes, strict=False):
            assert not (await tx.raw.execute(change, f"declarant:D{each.case}")).endswith(" 0"), change
    named = [fault.partition(" ")[0] for fault in await checked(books)]
    assert sorted(named) == [f"declarant:D{each.case}" for each in cases[:-1]]


async def test_a_payment_whose_partitions_stand_on_two_days_is_booked_at_one_time(books: Books) -> None:
    """A clock that was set back, or midnight, has left one of the heads on the next day."""
    await books.take(BUYER, OWN)
    async with books.database.transaction() as tx:
        now = await today(tx)
        for table in PARTITIONED:
            await ensure_day_partitions(tx, table, [now, now + 1])
        home = partition_of_account("unmatched:EU")
        later = (now + 1) * MICROS_A_DAY
        await tx.raw.execute("update ledger_head set booked_at = $1 where partition = $2", later, home)
    await books.pay(payment(1, 2_300, BUYER.mrn), payment(2, 5, "nobody"))
    async with books.database.connection() as reader:
        times = await reader.raw.fetch("select distinct booked_at from all_entries where reference like 'bank-%'")
        assert [row["booked_at"] for row in times] == [later]
    # Sums of days to come are told apart; here it is money alone.
    assert [each for each in await checked(books) if "payment" in each] == []


async def test_no_more_differences_of_a_day_are_told_than_can_be_read(books: Books) -> None:
    await books.pay(*(payment(number, 5, "nobody") for number in range(DIFFERENCES_MAX + 5)))
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_payment set amount = 6")
    assert len(await checked(books)) == DIFFERENCES_MAX

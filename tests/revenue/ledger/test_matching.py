"""Which debts money pays, to the credit of which account it goes, and the entries by which it moves: by docs/revenue/ledger.md, without a store."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.allocation import (
    Booking,
    Match,
    credit_postings,
    credited,
    entries_of,
    freed_credit,
    freed_entries,
    match,
    owes_alone,
    payable,
    reallocation_entries,
    surplus,
    with_payers,
)
from services.revenue.ledger.division import NONE, Divisions
from services.revenue.ledger.line import COLLECTED, OPEN, SECURED, Lines
from services.revenue.ledger.position import (
    PaidOut,
    charged_to,
    claims,
    debtors_of,
    last_of,
    payee_of,
    shares_of,
    surplus_by_account,
    unpaid_at_once,
)
from tests.revenue.ledger.pages import GUARANTEE, TREASURY, VENDOR, joined, line, numbers, page_of, paid_out, rows_of

MATCHED, UNDERPAID, OVERPAID = (
    pb.PAYMENT_OUTCOME_MATCHED,
    pb.PAYMENT_OUTCOME_UNDERPAID,
    pb.PAYMENT_OUTCOME_OVERPAID,
)
PAID, OUT, REVERSED = pb.ENTRY_KIND_PAID, pb.ENTRY_KIND_PAID_OUT, pb.ENTRY_KIND_REVERSED


def flat(*lines: Lines) -> Lines:
    """The lines of one consignment."""
    return joined(lines)[1]


@pytest.mark.parametrize(
    ("amount", "owed", "found"),
    [
        (5, 6, Match(UNDERPAID, 5, 0, 1)),
        (5, 5, Match(MATCHED, 5, 0, 0)),
        (5, 4, Match(OVERPAID, 4, 1, 0)),
        (5, 1, Match(OVERPAID, 1, 4, 0)),
        (5, 0, Match(OVERPAID, 0, 5, 0)),
        (5, -3, Match(OVERPAID, 0, 5, 0)),
    ],
)
def test_a_payment_pays_what_is_owed_and_the_rest_is_credit(amount: int, owed: int, found: Match) -> None:
    assert match(amount, owed) == found


@pytest.mark.parametrize(
    ("lines", "alone"),
    [
        ([], False),
        ([line(1, 5, SECURED)], False),
        ([line(1, 5)], True),
        ([line(1, 5), line(1, 6)], True),
        ([line(1, 5), line(2, 6)], False),
        ([line(1, 5), line(1, 6), line(2, 6)], False),
        ([line(2, 5, SECURED), line(1, 5), line(3, 6, COLLECTED)], True),
    ],
)
def test_one_account_owes_a_consignment_alone(lines: list[Lines], alone: bool) -> None:
    assert owes_alone(flat(*lines)) is alone


@pytest.mark.parametrize(
    ("lines", "paid", "shares"),
    [
        ([], 5, {}),
        ([line(1, 5, SECURED)], 5, {}),
        ([line(1, 5)], 0, {}),
        ([line(1, 5)], -1, {}),
        ([line(1, 5)], 1, {1: 1}),
        ([line(1, 3), line(2, 2), line(1, 1)], 3, {1: 3}),
        ([line(1, 3), line(2, 2), line(1, 1)], 4, {1: 3, 2: 1}),
        ([line(1, 3), line(2, 2), line(1, 1)], 6, {1: 4, 2: 2}),
        ([line(1, 3), line(2, 2), line(1, 1)], 10, {1: 8, 2: 2}),
        ([line(3, 9, SECURED), line(2, 2), line(1, 1)], 5, {2: 4, 1: 1}),
    ],
)
def test_a_payment_is_credited_to_who_owes_in_the_order_of_lines_and_the_rest_to_the_first(
    lines: list[Lines], paid: int, shares: dict[int, int]
) -> None:
    assert credited(flat(*lines), paid) == shares


CREDIT = st.dictionaries(st.integers(1, 4), st.integers(-3, 3).filter(bool), max_size=4)


@given(CREDIT, CREDIT)
def test_postings_lead_from_one_crediting_to_another(before: dict[int, int], after: dict[int, int]) -> None:
    postings = credit_postings(before, after)
    assert [account for account, _ in postings] == sorted({account for account, _ in postings})
    assert all(minor for _, minor in postings)
    # A credit lessens what an account stands at.
    stands = {account: -minor for account, minor in before.items()}
    for account, minor in postings:
        stands[account] = stands.get(account, 0) + minor
    assert {account: -minor for account, minor in stands.items() if minor} == after


def test_what_is_left_of_consignments_is_what_was_refunded_or_paid_too_much_on_open_lines() -> None:
    offsets, lines = joined(
        [line(1, 10, entitled=4, refunded=4), line(1, 5, entitled=1, refunded=1), line(2, 3, SECURED, refunded=2)],
        [line(4, 9, SECURED), line(2, 10), line(1, 5)],
        [line(3, 10)],
        [line(3, 10, COLLECTED)],
        [],
    )
    paid = numbers(15, 17, 10, 99, 7)
    assert surplus_by_account(lines, offsets, paid) == {(0, 1): 5, (1, 2): 2}
    assert surplus_by_account(lines, offsets, paid + 1) == {(0, 1): 6, (1, 2): 3, (2, 3): 1}
    assert surplus_by_account(lines, offsets, paid - 3) == {(0, 1): 5}


def test_what_is_paid_too_much_is_left_to_who_owes_at_once_first() -> None:
    offsets, lines = joined([line(1, 3)], [line(4, 9, SECURED), line(5, 2), line(6, 2)])
    assert surplus_by_account(lines, offsets, numbers(3, 6)) == {(1, 5): 2}


def test_credit_is_summed_by_account_and_currency_less_what_was_paid_out() -> None:
    offsets, lines = joined([line(1, 10)], [line(1, 10)], [line(1, 10)], [line(2, 10)], [line(3, 10)])
    paid, currencies = numbers(13, 14, 15, 16, 12), ["EUR", "GBP", "EUR", "EUR", "EUR"]
    nothing = PaidOut.nothing(5)
    assert surplus(lines, offsets, paid, currencies, nothing) == {
        (1, "EUR"): 8, (1, "GBP"): 4, (2, "EUR"): 6, (3, "EUR"): 2,
    }  # fmt: skip
    out = paid_out((2, 1), (0, 0), (5, 1), (7, 2), (1, 9))
    found = surplus(lines, offsets, paid, currencies, out)
    assert {key: minor for key, minor in found.items() if minor} == {(1, "EUR"): 1, (1, "GBP"): 4, (3, "EUR"): 2}
    assert min(found.values()) == 0


@pytest.mark.parametrize(
    ("lines", "paid", "out", "payee", "most"),
    [
        ([line(1, 10)], 15, (0, 0), 1, 5),
        ([line(1, 10)], 11, (0, 0), 1, 1),
        ([line(1, 10)], 10, (0, 0), 1, 0),
        ([line(1, 10)], 15, (0, 0), 2, 0),
        ([line(1, 10)], 15, (2, 1), 1, 3),
        ([line(1, 10)], 15, (5, 1), 1, 0),
        ([line(1, 10)], 15, (6, 1), 1, 0),
        ([line(2, 10)], 15, (1, 1), 2, 0),  # a consignment remembers one payee
        ([line(1, 10, entitled=10, refunded=10), line(1, 4)], 12, (0, 0), 1, 8),  # it owes 2 of the second line
        ([line(1, 10, entitled=10, refunded=10), line(1, 4)], 12, (3, 1), 1, 5),
        ([line(1, 10, entitled=10, refunded=10), line(1, 4, entitled=2, remitted=2)], 12, (0, 0), 1, 10),
        ([line(1, 10, entitled=10, refunded=10), line(2, 4)], 12, (0, 0), 1, 10),  # another owes that
        ([line(1, 10, entitled=10, refunded=10), line(1, 14)], 12, (0, 0), 1, 0),
    ],
)
def test_what_may_be_paid_out_is_what_is_left_beyond_what_the_payee_owes(
    lines: list[Lines], paid: int, out: tuple[int, int], payee: int, most: int
) -> None:
    assert payable(flat(*lines), paid, paid_out(out), payee) == most


def test_a_payout_follows_the_debt_where_its_payee_owes_nothing_at_once_any_more() -> None:
    offsets, lines = joined([line(1, 5), line(2, 5)], [line(3, 5), line(2, 5)], [line(4, 5, SECURED)], [line(5, 1)])
    out = paid_out((1, 2), (2, 9), (3, 9), (0, 0))
    found = out.following(lines, offsets)
    assert (found.account.tolist(), found.minor.tolist()) == ([2, 3, 9, 0], [1, 2, 3, 0])
    assert PaidOut.nothing(4).following(lines, offsets).account.tolist() == [0, 0, 0, 0]
    assert (out.take(numbers(1, 0)).minor.tolist(), out.take(numbers(1, 0)).account.tolist()) == ([2, 1], [9, 2])
    without = out.without(numbers(1))
    assert (without.minor.tolist(), without.account.tolist()) == ([1, 0, 3, 0], [2, 0, 9, 0])
    assert out.minor.tolist() == [1, 2, 3, 0]


def test_a_payee_owes_what_was_paid_out_beyond_its_credit() -> None:
    offsets, lines = joined(*[[line(1, 10)] for _ in range(5)])
    paid = numbers(13, 13, 13, 13, 9)
    out = paid_out((3, 1), (4, 1), (2, 1), (2, 9), (1, 1))
    assert claims(lines, offsets, paid, out).tolist() == [0, 1, 0, 2, 1]
    assert claims(lines, offsets, paid, PaidOut.nothing(5)).tolist() == [0] * 5


def test_who_owes_at_once_is_listed_in_the_order_of_lines() -> None:
    lines = flat(line(4, 1, SECURED), line(3, 1), line(1, 1), line(3, 1), line(2, 1))
    assert debtors_of(lines) == [3, 1, 2]
    assert payee_of(lines, {2, 1}) == 1
    assert payee_of(lines, {4}) == 0


def test_whose_credit_payments_are_is_remembered_where_nothing_is_to_be_paid_at_once_any_more() -> None:
    page = page_of([line(1, 5)], [line(2, 6, SECURED)], [line(2, 6, SECURED)], [line(2, 6, SECURED)], [], [line(8, 1)])
    offsets, stored = joined(
        [line(9, 5)],
        [line(7, 2, SECURED), line(2, 6, kind=2, entitled=3, remitted=1, refunded=2), line(5, 6)],
        [line(2, 6, COLLECTED)],
        [line(2, 6)],
        [line(3, 4)],
        [line(9, 1)],
    )
    found = with_payers(page, offsets, stored, numbers(1, 1, 1, 0, 1, 0))
    assert found.offsets.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert found.lines["debtor"].tolist() == [1, 2, 2, 2, 2, 3, 8]
    assert found.lines["amount"].tolist() == [5, 6, 0, 6, 6, 0, 1]
    assert found.lines["how"].tolist() == [OPEN, SECURED, OPEN, SECURED, SECURED, OPEN, OPEN]
    added = found.lines[2]
    assert (added["account"], added["treasury"], added["kind"]) == (2, TREASURY, 2)
    assert [int(added[name]) for name in ("entitled", "remitted", "refunded")] == [0, 0, 0]
    assert stored["amount"][2] == 6
    unchanged = with_payers(page, offsets, stored, numbers(1, 0, 0, 0, 0, 1))
    assert unchanged is page


def test_bookings_become_entries_in_their_order() -> None:
    entries = entries_of(
        [
            Booking(1, "M", 2, "r", "EUR", "DE", False, [(5, 9), (6, -9)]),
            Booking(3, "N", 4, "s", "GBP", "UK", True, [(7, 1), (8, 2), (5, -3)], OUT),
        ]
    )
    assert rows_of(entries) == [
        (1, PAID, 0, "M", 2, "r", "EUR", "DE", [(5, 0, 9), (6, 0, -9)]),
        (3, REVERSED, OUT, "N", 4, "s", "GBP", "UK", [(7, 0, 1), (8, 0, 2), (5, 0, -3)]),
    ]
    assert rows_of(entries_of([])) == []


def test_money_in_a_currency_that_the_debt_lost_is_its_accounts_own() -> None:
    page = page_of([line(1, 5)], [line(1, 5)], [line(1, 5)], [line(1, 5)])
    offsets, stored = joined([line(9, 1)], [line(2, 3), line(3, 4)], [line(4, 5)], [line(6, 7, SECURED)])
    out = paid_out((8, 9), (1, 3), (0, 0), (2, 7))
    of = (["W", "X", "Y", "Z"], ["A", "B", "C", "D"])
    entries = freed_entries(page, numbers(1, 3, 2), offsets, stored, numbers(99, 5, 6, 4), out, of)
    assert rows_of(entries) == [
        (11, REVERSED, PAID, "M1", 21, "currency", "X", "B", [(2, 0, -3), (2, 0, 3)]),
        (11, REVERSED, PAID, "M1", 21, "currency", "X", "B", [(3, 0, -2), (3, 0, 2)]),
        (11, REVERSED, OUT, "M1", 21, "currency", "X", "B", [(3, 0, -1), (3, 0, 1)]),
        (13, REVERSED, OUT, "M3", 23, "currency", "Z", "D", [(7, 0, -2), (7, 0, 2)]),
        (12, REVERSED, PAID, "M2", 22, "currency", "Y", "C", [(4, 0, -6), (4, 0, 6)]),
    ]
    assert freed_credit(entries) == {(2, "X"): 3, (3, "X"): 1, (7, "Z"): -2, (4, "Y"): 6}
    twice = freed_entries(page, numbers(1, 1), offsets, stored, numbers(99, 5, 6, 4), out, of)
    assert freed_credit(twice) == {(2, "X"): 6, (3, "X"): 2}
    assert freed_credit(None) == {}


@pytest.mark.parametrize(
    ("paid", "was", "is_now", "before", "after", "postings"),
    [
        (5, (0, 0), (0, 0), [line(1, 5)], [line(2, 5)], [(1, 0, 5), (2, 0, -5)]),
        (1, (0, 0), (0, 0), [line(1, 5)], [line(2, 5)], [(1, 0, 1), (2, 0, -1)]),
        (5, (2, 1), (2, 2), [line(1, 5)], [line(2, 5)], [(1, 0, 3), (2, 0, -3)]),
        (5, (2, 1), (2, 1), [line(1, 5)], [line(2, 5)], [(1, 0, 5), (2, 0, -5)]),
        (0, (1, 1), (1, 2), [line(1, 5)], [line(2, 5)], [(1, 0, -1), (2, 0, 1)]),
        (5, (0, 0), (0, 0), [line(1, 5)], [line(1, 4), line(2, 4)], [(1, 0, 1), (2, 0, -1)]),
        (5, (2, 1), (2, 1), [line(1, 5)], [line(1, 7)], None),
        (0, (0, 0), (0, 0), [line(1, 5)], [line(2, 5)], None),
    ],
)
def test_what_was_paid_moves_from_who_was_credited_to_who_owes_now(
    paid: int,
    was: tuple[int, int],
    is_now: tuple[int, int],
    before: list[Lines],
    after: list[Lines],
    postings: Sequence[tuple[int, int, int]] | None,
) -> None:
    # A consignment before it and one behind it, of which nothing moves.
    page = page_of([line(8, 1)], after, [line(8, 1)], currency=["A", "B", "C"], destination=["D", "E", "F"])
    offsets, stored = joined([line(8, 1)], before, [line(8, 1)])
    entries = reallocation_entries(
        page, offsets, stored, numbers(1, paid, 0), paid_out((0, 0), was, (0, 0)), paid_out((0, 0), is_now, (0, 0))
    )
    expected = [] if postings is None else [(11, PAID, 0, "M1", 21, "", "B", "E", postings)]
    assert rows_of(entries) == expected


@pytest.mark.parametrize(
    ("lines", "paid", "out", "unpaid"),
    [
        (
            [line(1, 10, entitled=2, remitted=2), line(1, 5), line(1, 7, SECURED), line(1, 7, COLLECTED)],
            6,
            (0, 0),
            [2, 5, 0, 0],
        ),
        ([line(1, 10), line(2, 5), line(1, 4)], 19, (0, 0), [0, 0, 0]),
        # What went out beyond the credit of the payee paid none of its lines: the last ones are open again.
        ([line(1, 10), line(2, 5), line(1, 4)], 19, (3, 1), [0, 0, 3]),
        ([line(1, 10), line(2, 5), line(1, 4), line(1, 7, SECURED)], 19, (6, 1), [2, 0, 4, 0]),
        ([line(1, 10), line(2, 5), line(1, 4)], 21, (6, 1), [0, 0, 4]),
        ([line(1, 10), line(2, 5), line(1, 4)], 16, (6, 1), [5, 0, 4]),
    ],
)
def test_what_is_open_of_lines_that_are_paid_consignment_by_consignment(
    lines: list[Lines], paid: int, out: tuple[int, int], unpaid: list[int]
) -> None:
    offsets, both = joined([line(1, 3)], lines, [line(1, 3)])
    found = unpaid_at_once(both, offsets, numbers(3, paid, 0), paid_out((0, 0), out, (0, 0)))
    assert found.tolist() == [0, *unpaid, 3]


def test_what_an_account_is_charged_that_pays_by_its_own_name() -> None:
    lines = flat(
        line(1, 10, SECURED, entitled=4, remitted=3, refunded=1), line(VENDOR, 9), line(1, 8, COLLECTED, entitled=2, refunded=2),
        line(GUARANTEE, 7),
    )  # fmt: skip
    assert charged_to(lines, GUARANTEE).tolist() == [6, 0, 0, 0]
    assert charged_to(lines, VENDOR).tolist() == [0, 0, 6, 0]


@pytest.mark.parametrize(
    ("owed", "unpaid", "left"),
    [
        (0, [0, 0, 0, 0], 0), (1, [0, 0, 0, 1], 0), (100, [0, 0, 0, 100], 0), (101, [0, 1, 0, 100], 0),
        (600, [300, 200, 0, 100], 0), (601, [300, 200, 0, 100], 1),
    ],
)  # fmt: skip
def test_an_account_owes_its_last_charges(owed: int, unpaid: list[int], left: int) -> None:
    found, over = last_of(numbers(300, 200, 0, 100), owed)
    assert (found.tolist(), over) == (unpaid, left)


def test_treasuries_share_what_is_unpaid() -> None:
    lines = flat(line(1, 10), line(1, 9), line(1, 8), line(1, 7))
    lines["treasury"] = [90, 91, 90, 92]
    assert shares_of(lines, numbers(0, 0, 0, 0), numbers(3, 4, 5, 0), NONE) == {90: 8, 91: 4}
    divisions = Divisions({91: [(95, 250_000), (90, 0)]})
    assert shares_of(lines, numbers(0, 0, 0, 0), numbers(3, 5, 0, 2), divisions) == {95: 1, 90: 7, 92: 2}
    # A quarter of 3 is nothing, of 8 two: with what was remitted before, two of the five are the first treasury's.
    assert shares_of(lines, numbers(9, 3, 9, 9), numbers(0, 5, 0, 0), divisions) == {95: 2, 90: 3}

"""Debts by thousands of cases at once against their scalar definition, and what a debt does to the reasons of a state."""

from __future__ import annotations

import random

import numpy as np
import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.revenue.v1.revenue_columns_pb2 import RevenueColumns
from services.clearance.consignment import debt as debts
from services.clearance.consignment.decision import DEBT_OPEN, NO_FIGURES, UNVALUED
from services.clearance.consignment.disposal import Disposal, disposing
from services.clearance.consignment.state.times import payable_now
from services.clearance.consignment.transitions import FINAL, Debt, Event, State
from tests.clearance import scalar
from tests.clearance.debt_events import answer
from tests.clearance.debt_tables import ints, standing, states
from tests.clearance.scalar import DebtEvent, Owing

CASES = 6_000
MONEY = (None, 0, 1, 379, 380, 381, 760)
ACCOUNTS = ("", "deferred:A", "guarantee:B")
FIGURELESS = "NO_RULEBOOK"


def owings(draw: random.Random) -> list[Owing]:
    return [
        Owing(
            payable=draw.choice((None, 0, 1, 380, 500)),
            by_customs=draw.choice((0, 1, 380)),
            debt=draw.choice(list(Debt)),
            account=draw.choice(ACCOUNTS),
            paid=draw.choice(MONEY),
            refunded=draw.choice(MONEY),
            heard=draw.choice((None, 3)),
            filing=draw.choice((1, 2)),
            returned=draw.random() < 0.5,
        )
        for _ in range(CASES)
    ]


def test_thousands_of_debts_after_an_event_stand_as_the_definition_says() -> None:
    draw = random.Random(1)
    rows = owings(draw)
    events = [
        DebtEvent(
            number=draw.choice((2, 3, 4)),
            filing=draw.choice((1, 2, 3)),
            status=draw.choice(list(Debt)),
            account=draw.choice(ACCOUNTS),
            paid=draw.choice(MONEY),
            refunded=draw.choice(MONEY),
        )
        for _ in rows
    ]
    table, new, same = debts.with_debt_events(
        states(rows),
        Table.of(
            RevenueColumns,
            len(rows),
            {
                "filing_version": Ints.of([each.filing for each in events]),
                "number": Ints.of([each.number for each in events]),
                "debt_status": Ints.of([int(each.status) for each in events]),
                "account": Strings.of([each.account for each in events]),
                "paid_minor": ints([each.paid for each in events]),
                "refunded_minor": ints([each.refunded for each in events]),
            },
        ),
    )
    money = list(zip(table.ints("paid_minor").tolist(), table.ints("refunded_minor").tolist(), strict=True))
    found, number = standing(table), table.ints("debt_event_number").tolist()
    for place, (owing, event) in enumerate(zip(rows, events, strict=True)):
        is_new = event.number > (owing.heard or 0)
        assert bool(new[place]) is is_new
        if not is_new:
            assert not same[place]
            continue
        expected = scalar.hear(owing, event)
        assert found[place] == (expected.debt, expected.account), (owing, event)
        assert (*money[place], number[place]) == (expected.paid, expected.refunded, event.number)
        before = (owing.debt, owing.account, owing.paid, owing.refunded)
        unchanged = (expected.debt, expected.account, expected.paid, expected.refunded) == before
        assert bool(same[place]) is unchanged, (owing, event)


def test_thousands_of_debts_after_another_assessment_stand_as_the_definition_says() -> None:
    draw = random.Random(2)
    rows = owings(draw)
    fresh = [draw.choice([Debt.NONE, Debt.DEFERRED, Debt.VENDOR_COLLECTED, Debt.OPEN, Debt.UNKNOWN]) for _ in rows]
    accounts = [draw.choice(ACCOUNTS) for _ in rows]
    now = [Owing(500, draw.choice((0, 1, 380, 760)), Debt.NONE, paid=row.paid, refunded=row.refunded) for row in rows]
    after = states(now).with_columns({"returned_at": ints([1 if row.returned else None for row in rows])})
    judged = debts.with_debt_evaluated(
        states(rows), after, np.array([int(each) for each in fresh]), Strings.of(accounts)
    )
    for place, found in enumerate(standing(judged)):
        expected = scalar.judge(rows[place], now[place], fresh[place], accounts[place])
        assert found == (expected.debt, expected.account), (rows[place], fresh[place], accounts[place])


def reasons_of(table: Table) -> list[list[str]]:
    lists = table.ragged("reasons")
    assert isinstance(lists.values, Strings)
    flat = lists.values.tolist()
    return [flat[lists.span(row)] for row in range(table.rows)]


def with_reasons(lists: list[list[str]], state: State) -> Table:
    table = states([Owing(500, 380, Debt.OPEN)] * len(lists))
    flat = Strings.of([each for row in lists for each in row])
    return table.with_columns(
        {
            "state": Ints.constant(state, len(lists)),
            "reasons": Ragged.of_lengths([len(each) for each in lists], flat),
        }
    )


REASONS = [
    # Before, the debt now, why there are no figures, after.
    (["LANE_RED", DEBT_OPEN], Debt.PAID, "", ["LANE_RED"]),
    (["LANE_RED", DEBT_OPEN], Debt.DEFERRED, "", ["LANE_RED"]),
    (["LANE_RED"], Debt.OPEN, "", ["LANE_RED", DEBT_OPEN]),
    (["LANE_RED", DEBT_OPEN], Debt.OPEN, "", ["LANE_RED", DEBT_OPEN]),
    ([FIGURELESS, "LANE_RED"], Debt.OPEN, "", ["LANE_RED", DEBT_OPEN]),
    ([FIGURELESS, UNVALUED], Debt.NONE, "", []),
    (["LANE_RED"], Debt.UNKNOWN, FIGURELESS, ["LANE_RED", FIGURELESS]),
    ([FIGURELESS], Debt.UNKNOWN, FIGURELESS, [FIGURELESS]),
    ([FIGURELESS], Debt.UNKNOWN, "", [FIGURELESS]),
    ([FIGURELESS, DEBT_OPEN], Debt.UNKNOWN, UNVALUED, [FIGURELESS, UNVALUED]),
    ([], Debt.PAID, FIGURELESS, []),
]


@pytest.mark.parametrize("state", list(State))
def test_a_debt_gives_and_takes_its_own_reasons_alone_and_only_before_release(state: State) -> None:
    before = [each[0] for each in REASONS]
    debt = np.array([int(each[1]) for each in REASONS])
    table = debts.with_debt(
        with_reasons(before, state), debt, Strings.of([""] * len(before)), Strings.of([each[2] for each in REASONS])
    )
    ends = state == State.RELEASED or state in FINAL
    assert reasons_of(table) == (before if ends else [each[3] for each in REASONS])
    assert table.ints("debt_status").values.tolist() == debt.tolist()


def test_without_a_reason_named_a_debt_that_is_not_known_adds_none() -> None:
    table = with_reasons([["LANE_RED"]], State.HELD)
    after = debts.with_debt(table, np.array([int(Debt.UNKNOWN)]), Strings.of([""]))
    assert reasons_of(after) == [["LANE_RED"]]


@pytest.mark.parametrize("debt", list(Debt))
@pytest.mark.parametrize("holds", [True, False])
def test_a_settled_debt_is_one_that_alone_held_and_is_neither_open_nor_unknown(debt: Debt, holds: bool) -> None:
    table = states([Owing(500, 380, debt)]).with_columns({"debt_hold": Bools.of([holds])})
    assert debts.settled(table).tolist() == [holds and debt not in (Debt.OPEN, Debt.UNKNOWN)]


def test_each_reason_for_missing_figures_goes_once_there_are_figures() -> None:
    assert {
        "UNVALUED", "NO_RULEBOOK", "NO_EXCHANGE_RATE", "AMOUNT_OUT_OF_BOUNDS", "MASS_MISSING", "QUANTITY_MISSING",
        "DECLARATION_INCOMPLETE",
    } == NO_FIGURES  # fmt: skip


def test_a_state_without_a_debt_status_has_no_settled_debt() -> None:
    table = states([Owing(500, 380, Debt.OPEN)]).with_columns(
        {"debt_status": Ints.absent(1), "debt_hold": Bools.of([True])}
    )
    assert debts.settled(table).tolist() == [False]


@pytest.mark.parametrize(
    ("amount", "account", "vendor", "reason", "expected"),
    [
        (0, "", 0, "", (Debt.NONE, "")),
        (0, "", 1, "", (Debt.VENDOR_COLLECTED, "")),
        (1, "", 0, "", (Debt.OPEN, "")),
        (1, "", 1, "", (Debt.OPEN, "")),
        (1, "deferred:A", 0, "", (Debt.DEFERRED, "deferred:A")),
        (380, "deferred:A", 5, "", (Debt.DEFERRED, "deferred:A")),
        (380, "", 0, "NO_RULEBOOK", (Debt.UNKNOWN, "")),
    ],
)
def test_another_assessment_alone_says_how_a_debt_without_payments_stands(
    amount: int, account: str, vendor: int, reason: str, expected: tuple[Debt, str]
) -> None:
    goods = Table(schema_of(ClearanceColumns).children["items"], 1, {"number": Ints.of([1])})
    before = states([Owing(500, 380, Debt.NONE)]).with_columns(
        {"items": Ragged.of_lengths([1], goods), "reasons": Ragged.of_lengths([1], Strings.of(["LANE_RED"]))}
    )
    revenue = answer(1, amount, account, reason=reason).with_columns({"collected_by_vendor": Ints.of([vendor])})
    after = debts.reassessed(before, revenue)
    assert standing(after) == [expected]
    assert after.ints("payable_minor").tolist() == [None if reason else amount]
    added = [DEBT_OPEN] if expected[0] == Debt.OPEN else [reason] if reason else []
    assert reasons_of(after) == [["LANE_RED", *added]]


def test_an_assessment_without_figures_or_a_reason_is_unvalued() -> None:
    revenue = answer(1, 380, reason="NO_RULEBOOK").with_columns({"reason": Strings.absent(1)})
    goods = Table(schema_of(ClearanceColumns).children["items"], 1, {"number": Ints.of([1])})
    before = states([Owing(500, 380, Debt.NONE)]).with_columns({"items": Ragged.of_lengths([1], goods)})
    after = debts.reassessed(before, revenue)
    assert (standing(after), reasons_of(after)) == ([(Debt.UNKNOWN, "")], [[UNVALUED]])


def test_a_charge_without_a_collector_is_no_part_of_what_customs_collects() -> None:
    rows = states([Owing(500, 380, Debt.OPEN, paid=500)])
    lines = rows.child("charges").with_columns({"collector": Ints.absent(2)})
    rows = rows.with_columns({"charges": Ragged.of_lengths([2], lines)})
    fresh, account = np.array([int(Debt.OPEN)]), Strings.of([""])
    assert standing(debts.with_debt_evaluated(rows, rows, fresh, account)) == [(Debt.OPEN, "")]
    assert standing(debts.with_debt_evaluated(rows, states([Owing(500, 380, Debt.OPEN)]), fresh, account)) == [
        (Debt.PAID, "")
    ]


def test_a_charge_without_an_amount_adds_nothing_to_what_customs_collects() -> None:
    rows = states([Owing(500, 380, Debt.OPEN, paid=380)])
    lines = rows.child("charges").with_columns(
        {"collector": Ints.of([common_pb2.COLLECTOR_CUSTOMS] * 2), "amount": Ints.of([380, 0], [True, False])}
    )
    rows = rows.with_columns({"charges": Ragged.of_lengths([2], lines)})
    assert standing(debts.with_debt_evaluated(rows, rows, np.array([int(Debt.OPEN)]), Strings.of([""]))) == [
        (Debt.PAID, "")
    ]


def event(**absent: Ints) -> Table:
    columns = {
        "filing_version": Ints.of([1]),
        "number": Ints.of([4]),
        "debt_status": Ints.of([int(Debt.PAID)]),
        "account": Strings.of([""]),
        "paid_minor": Ints.of([380]),
        "refunded_minor": Ints.of([0]),
    }
    return Table.of(RevenueColumns, 1, {**columns, **absent})


@pytest.mark.parametrize(
    ("column", "expected"),
    [("", Debt.PAID), ("number", None), ("filing_version", Debt.DEFERRED), ("debt_status", Debt.DEFERRED)],
)
def test_an_event_that_leaves_a_column_out_says_nothing_of_it(column: str, expected: Debt | None) -> None:
    before = states([Owing(500, 380, Debt.DEFERRED, "deferred:A")])
    table, new, _ = debts.with_debt_events(before, event(**{column: Ints.absent(1)} if column else {}))
    assert new.tolist() == [expected is not None]
    if expected is not None:
        assert table.ints("debt_status").tolist() == [expected]


def test_a_debt_that_was_never_stated_is_unknown_and_stays_so() -> None:
    before = states([Owing(500, 380, Debt.OPEN)]).with_columns({"debt_status": Ints.absent(1)})
    table, _, _ = debts.with_debt_events(before, event())
    assert table.ints("debt_status").tolist() == [Debt.UNKNOWN]


def test_an_assessment_that_does_not_name_the_vendor_has_no_debt_of_his() -> None:
    goods = Table(schema_of(ClearanceColumns).children["items"], 1, {"number": Ints.of([1])})
    before = states([Owing(500, 380, Debt.OPEN)]).with_columns({"items": Ragged.of_lengths([1], goods)})
    revenue = answer(1, 0).with_columns({"collected_by_vendor": Ints.absent(1)})
    assert standing(debts.reassessed(before, revenue)) == [(Debt.NONE, "")]


DUTY, TAX, FEE = common_pb2.CHARGE_KIND_DUTY, common_pb2.CHARGE_KIND_TAX, common_pb2.CHARGE_KIND_FEE
CUSTOMS, CARRIER, VENDOR = common_pb2.COLLECTOR_CUSTOMS, common_pb2.COLLECTOR_CARRIER, common_pb2.COLLECTOR_VENDOR


def with_charges(owing: Owing, state: State, *charges: tuple[int, int, int]) -> Table:
    """One state with charges: kind, collector and amount of each."""
    kinds, collectors, amounts = (list(column) for column in zip(*charges, strict=True))
    lines = Table(
        schema_of(ClearanceColumns).children["charges"],
        len(charges),
        {"kind": Ints.of(kinds), "collector": Ints.of(collectors), "amount": Ints.of(amounts)},
    )
    return states([owing]).with_columns(
        {
            "mrn": Strings.of(["M"]),
            "state": Ints.of([int(state)]),
            "charges": Ragged.of_lengths([len(charges)], lines),
        }
    )


BOTH = ((DUTY, CUSTOMS, 300), (TAX, CUSTOMS, 80))


@pytest.mark.parametrize(
    ("charges", "release", "told", "paid", "refunded", "expected"),
    [
        # Only the 80 of tax stay due.
        (BOTH, "", Debt.PAID, 380, 300, Debt.PAID),
        (BOTH, "", Debt.PAID, 80, 0, Debt.PAID),
        (BOTH, "", Debt.PAID, 379, 300, Debt.OPEN),
        (BOTH, "", Debt.OPEN, 0, 0, Debt.OPEN),
        (((DUTY, CUSTOMS, 300), (FEE, CUSTOMS, 80)), "", Debt.PAID, 379, 300, Debt.OPEN),
        # Nothing but duty, at the border.
        (((DUTY, CUSTOMS, 300),), "", Debt.OPEN, 0, 0, Debt.NONE),
        (((DUTY, CUSTOMS, 300), (TAX, VENDOR, 80)), "", Debt.OPEN, 0, 0, Debt.NONE),
        (((DUTY, CUSTOMS, 300), (TAX, CUSTOMS, 0)), "", Debt.OPEN, 0, 0, Debt.NONE),
        # Goods with a release owe all that was assessed.
        (BOTH, "released_at", Debt.PAID, 380, 300, Debt.OPEN),
        (BOTH, "former_released_at", Debt.PAID, 380, 300, Debt.OPEN),
        (((DUTY, CUSTOMS, 300),), "former_released_at", Debt.OPEN, 0, 0, Debt.OPEN),
    ],
)
def test_confiscated_goods_without_a_release_owe_all_but_duty(
    charges: tuple[tuple[int, int, int], ...], release: str, told: Debt, paid: int, refunded: int, expected: Debt
) -> None:
    before = with_charges(Owing(380, 0, Debt.OPEN), State.CONFISCATED, *charges)
    if release:
        before = before.with_columns({release: Ints.of([1])})
    events = Table.of(
        RevenueColumns,
        1,
        {
            "filing_version": Ints.of([1]),
            "number": Ints.of([1]),
            "debt_status": Ints.of([int(told)]),
            "paid_minor": Ints.of([paid]),
            "refunded_minor": Ints.of([refunded]),
        },
    )
    after, new, _ = debts.with_debt_events(before, events)
    assert (new.tolist(), standing(after)) == ([True], [(expected, "")])


@pytest.mark.parametrize(
    ("state", "payable", "charges", "asked"),
    [
        (State.SEIZED, 380, ((DUTY, CARRIER, 300), (TAX, CARRIER, 80)), 380),
        (State.CONFISCATED, 380, ((DUTY, CARRIER, 300), (TAX, CARRIER, 80)), 80),
        (State.CONFISCATED, 80, ((DUTY, VENDOR, 300), (TAX, CARRIER, 80)), 80),
        (State.CONFISCATED, 300, ((DUTY, CARRIER, 300), (TAX, VENDOR, 80)), 0),
        (State.CONFISCATED, None, ((DUTY, CARRIER, 300),), None),
        (State.EXPIRED, 380, ((DUTY, CARRIER, 300), (TAX, CARRIER, 80)), 0),
        (State.ABANDONED, None, ((DUTY, CARRIER, 300),), 0),
    ],
)
def test_what_is_to_be_paid_after_an_end_is_what_is_still_owed(
    state: State, payable: int | None, charges: tuple[tuple[int, int, int], ...], asked: int | None
) -> None:
    states = with_charges(Owing(payable, 0, Debt.OPEN, ""), state, *charges)
    assert payable_now(states).tolist() == [asked]
    # Goods that were released once owe what they were assessed at.
    released = states.with_columns({"former_released_at": Ints.of([5])})
    assert payable_now(released).tolist() == [payable]


@pytest.mark.parametrize(
    ("event", "payable", "charges", "ends"),
    [
        (Event.CONFISCATED, 300, ((DUTY, CARRIER, 300),), True),
        (Event.CONFISCATED, 380, ((DUTY, CARRIER, 300), (TAX, CARRIER, 80)), False),
        (Event.CONFISCATED, 300, ((DUTY, CARRIER, 300), (TAX, VENDOR, 80)), True),
        (Event.CONFISCATED, None, ((DUTY, CARRIER, 300),), False),
        (Event.DESTROYED, 380, ((DUTY, CARRIER, 300), (TAX, CARRIER, 80)), True),
    ],
)
def test_a_disposal_ends_the_debt_of_what_owes_nothing_afterwards_and_no_other(
    event: Event, payable: int | None, charges: tuple[tuple[int, int, int], ...], ends: bool
) -> None:
    before = with_charges(Owing(payable, 0, Debt.DEFERRED, "deferred:A"), State.SEIZED, *charges)
    after, _ = disposing(before, 1, {"M": Disposal(event, "PROHIBITED_GOODS", "", "")}, "otto")
    assert standing(after) == [(Debt.NONE, "") if ends else (Debt.DEFERRED, "deferred:A")]

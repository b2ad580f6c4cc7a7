"""What states owe, line by line, and what the law pays back of it: each condition, and both sides of each bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from libs.columns import Column, Ints, Ragged, Table
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.source.rulebook import Beneficiaries, Part, Refund, Rulebook, Span
from services.revenue.ledger.charge import ChargePage, charges_of, newest, only_needed, take_rows
from services.revenue.ledger.entry import LedgerError
from services.revenue.ledger.line import COLLECTED, OPEN, SECURED
from services.revenue.ledger.refund import RefundRules, Return, entitled
from tests.revenue.ledger.books import rules
from tests.revenue.ledger.pages import numbers
from tests.revenue.ledger.states import DAY, DUTY, TAX, Charge, State, mrn, states_table

MAX = 10**16
FEE = common_pb2.CHARGE_KIND_FEE
AT_BORDER = replace(State(mrn(1)), debt=common_pb2.DEBT_STATUS_OPEN)


def page_and_names(
    *states: State, sharing: Sharing | None = None, refunds: RefundRules | None = None
) -> tuple[ChargePage, list[str]]:
    """A page of states, and the names of which its lines have the ids."""
    charged = charges_of(only_needed(states_table(states)), sharing or Sharing())
    names = ["", *sorted(charged.names())]
    return charged.page({name: place for place, name in enumerate(names)}, refunds or RefundRules([])), names


def lines_of(*states: State, sharing: Sharing | None = None) -> list[list[tuple[str, str, str, str, int, int, int]]]:
    """By consignment: debtor, account, account of revenue, charge, its kind, how it is paid, and amount."""
    page, names = page_and_names(*states, sharing=sharing)
    bounds = page.offsets.tolist()
    return [
        [
            (
                names[each["debtor"]], names[each["account"]], names[each["treasury"]], names[each["code"]], int(each["kind"]),
                int(each["how"]), int(each["amount"]),
            )
            for each in page.lines[start:end]
        ]
        for start, end in pairwise(bounds)
    ]  # fmt: skip


def test_charges_become_lines_of_who_owes_them_in_their_order() -> None:
    charges = (
        Charge(5, TAX, "EU.vat", account="vendor:V"), Charge(7, DUTY, "EU.duty"), Charge(0, FEE, "EU.fee"),
        Charge(9, FEE, "EU.fee", account="border:DE"), Charge(None, FEE, "EU.other"),
    )  # fmt: skip
    deferred = replace(AT_BORDER, debt=common_pb2.DEBT_STATUS_DEFERRED, charges=charges)
    nothing = replace(AT_BORDER, mrn=mrn(2), charges=())
    other = replace(
        AT_BORDER,
        mrn=mrn(3),
        destination="FR",
        rulebook="UK/2026.1/x",
        declarant="D",
        charges=(Charge(3, TAX, "UK.vat"),),
    )
    who = "declarant:DE1234567890"
    assert lines_of(deferred, nothing, other) == [
        [
            ("vendor:V", "vendor:V", "treasury:EU:tax", "EU.vat", TAX, COLLECTED, 5),
            (who, "deferred:carrier-7", "treasury:EU:duty", "EU.duty", DUTY, SECURED, 7),
            ("border:DE", "deferred:carrier-7", "treasury:EU:fee", "EU.fee", FEE, SECURED, 9),
        ],
        [],
        [("declarant:D", "declarant:D", "treasury:UK:tax", "UK.vat", TAX, OPEN, 3)],
    ]
    assert lines_of(nothing) == [[]]


def test_a_charge_on_a_buyers_account_is_paid_at_once() -> None:
    buyer = replace(AT_BORDER, charges=(Charge(3, debtor=common_pb2.DEBTOR_CONSIGNEE),))
    assert lines_of(buyer)[0][0][:2] == ("border:DE", "border:DE")
    assert lines_of(buyer)[0][0][5] == OPEN


def test_lines_that_differ_by_nothing_but_amounts_are_one_in_the_place_of_the_first() -> None:
    charges = (
        Charge(1), Charge(2, TAX, "EU.vat"), Charge(4, item=2), Charge(8, code="EU.other"), Charge(16, TAX, "EU.vat"),
        Charge(32, collector=common_pb2.COLLECTOR_POSTAL_OPERATOR, account="border:DE"), Charge(64, account="border:DE"),
    )  # fmt: skip
    other = replace(AT_BORDER, mrn=mrn(2), charges=(Charge(100),))
    found = lines_of(replace(AT_BORDER, charges=charges), other)
    assert [[each[-1] for each in lines] for lines in found] == [[5, 18, 8, 32, 64], [100]]


def test_what_is_paid_back_of_summed_charges_is_summed() -> None:
    back = replace(
        AT_BORDER, items=2, returned=(1, 2), charges=(Charge(5), Charge(3, TAX, "EU.vat_low_value"), Charge(6, item=2))
    )
    page, _ = page_and_names(back, refunds=rules())
    assert page.lines["entitled"].tolist() == [11, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"decided": False},
        {"state": clearance.STATE_INVALIDATED},
        {"state": clearance.STATE_EXPIRED},
        {"currency": ""},
    ],
)
def test_a_state_without_a_decision_a_withdrawn_one_and_one_without_a_currency_owe_nothing(
    change: dict[str, Any],
) -> None:
    charges = (Charge(-1), Charge(MAX + 1), Charge(5), Charge(7, 9))
    before = replace(AT_BORDER, mrn=mrn(2), charges=(Charge(1),))
    assert [
        [each[-1] for each in lines] for lines in lines_of(before, replace(AT_BORDER, charges=charges, **change))
    ] == [[1], []]


@pytest.mark.parametrize(
    ("charges", "reason"),
    [
        ((Charge(-1),), "AMOUNT_OUT_OF_BOUNDS"),
        ((Charge(1), Charge(MAX + 1)), "AMOUNT_OUT_OF_BOUNDS"),
        ((Charge(MAX), Charge(1)), "AMOUNT_OUT_OF_BOUNDS"),
        # Sums that are beyond 64 bits, once and twice.
        ((Charge(MAX),) * 923, "AMOUNT_OUT_OF_BOUNDS"),
        ((Charge(MAX),) * 1_845, "AMOUNT_OUT_OF_BOUNDS"),
        ((Charge(2**51),) * 8_192, "AMOUNT_OUT_OF_BOUNDS"),
        ((Charge(5, 0),), "CHARGE_KIND_UNKNOWN"),
        ((Charge(1), Charge(5, 4)), "CHARGE_KIND_UNKNOWN"),
    ],
)
def test_what_cannot_be_booked_is_refused_by_the_name_of_its_consignment(
    charges: Sequence[Charge], reason: str
) -> None:
    before = replace(AT_BORDER, mrn=mrn(2), charges=(Charge(1),))
    with pytest.raises(LedgerError) as found:
        page_and_names(before, replace(AT_BORDER, charges=charges))
    assert found.value.reason == reason
    assert (mrn(1) in str(found.value)) == ("sum to more" not in str(found.value))
    assert mrn(2) not in str(found.value)


@pytest.mark.parametrize(
    "charges", [(Charge(MAX),), (Charge(MAX - 1), Charge(1)), (Charge(MAX), Charge(MAX, TAX)), (Charge(1),) * 1_000]
)
def test_sums_up_to_the_bound_are_booked(charges: Sequence[Charge]) -> None:
    total = sum(each.amount or 0 for each in charges)
    assert sum(each[-1] for each in lines_of(replace(AT_BORDER, charges=charges))[0]) == total


def test_the_newest_version_of_each_consignment_counts_in_the_order_of_the_page() -> None:
    one, two, three = (replace(AT_BORDER, mrn=mrn(serial)) for serial in (1, 2, 3))
    rows = [replace(two, version=3), replace(one, version=2), replace(two, version=1), three, replace(one, version=1)]
    found = newest(states_table(rows))
    assert list(zip(found.strings("mrn").tolist(), found.ints("version").values.tolist(), strict=True)) == [
        (mrn(2), 3), (mrn(1), 2), (mrn(3), 1),
    ]  # fmt: skip
    assert newest(states_table([])).rows == 0
    alone = states_table([one, two])
    assert newest(alone) is alone


def test_the_jurisdiction_is_the_rulebooks_else_the_destination() -> None:
    with_one = replace(AT_BORDER, rulebook="EU/2026.1/1", destination="FR")
    page, _ = page_and_names(with_one, replace(AT_BORDER, mrn=mrn(2), rulebook="", destination="UK"))
    assert page.jurisdiction == ["EU", "UK"]
    assert page_and_names(with_one)[0].jurisdiction == ["EU"]


def test_a_page_says_of_each_consignment_what_the_ledger_needs_and_rows_are_chosen_from_it() -> None:
    states = [
        replace(
            AT_BORDER,
            mrn=mrn(serial, serial),
            version=serial + 3,
            filing=serial + 1,
            day=DAY + serial,
            destination=to,
            currency=of,
        )
        for serial, to, of in ((1, "DE", "EUR"), (2, "FR", "GBP"), (3, "IT", "SEK"))
    ]
    page, _ = page_and_names(*states)
    assert page.day.tolist() == [DAY + 1, DAY + 2, DAY + 3]
    chosen = take_rows(page, numbers(2, 0))
    assert chosen.mrn == [mrn(3, 3), mrn(1, 1)]
    columns = (chosen.partition, chosen.version, chosen.filing_version, chosen.day, chosen.offsets)
    assert [each.tolist() for each in columns] == [[3, 1], [6, 4], [4, 2], [DAY + 3, DAY + 1], [0, 2, 4]]
    assert (chosen.destination, chosen.currency, chosen.jurisdiction) == (["IT", "DE"], ["SEK", "EUR"], ["EU", "EU"])
    assert len(chosen) == len(chosen.basis.status) == 2
    assert chosen.lines.tolist() == [*page.lines[4:6].tolist(), *page.lines[:2].tolist()]


def test_revenue_is_divided_by_jurisdiction_destination_day_and_kind() -> None:
    def entry(start: date, to: date | None, share: str) -> Beneficiaries:
        parts = (Part(to="destination", share=share), Part(to="EU"))
        return Beneficiaries(start=start, to=to, reference="x", kinds=("duty",), parts=parts)

    first = date(1970, 1, 1) + timedelta(days=DAY)
    book = cast(
        Rulebook,
        SimpleNamespace(
            jurisdiction="EU", areas=("DE", "FR"), period=Span(start=date(2020, 1, 1)),
            beneficiaries=(entry(date(2020, 1, 1), first, "20 %"), entry(first + timedelta(days=1), None, "25 %")),
        ),
    )  # fmt: skip
    states = [
        replace(AT_BORDER, mrn=mrn(serial), destination=to, day=day)
        for serial, (to, day) in enumerate([("DE", DAY), ("DE", DAY + 1), ("FR", DAY), ("DE", DAY), ("US", DAY)], 1)
    ]
    found = lines_of(*states, replace(AT_BORDER, mrn=mrn(9), rulebook="UK/1/x"), sharing=Sharing([book]))
    assert [lines[0][2] for lines in found] == [
        "division:treasury:DE:duty=200000|treasury:EU:duty", "division:treasury:DE:duty=250000|treasury:EU:duty",
        "division:treasury:FR:duty=200000|treasury:EU:duty", "division:treasury:DE:duty=200000|treasury:EU:duty",
        "treasury:EU:duty", "treasury:UK:duty",
    ]  # fmt: skip
    assert [lines[1][2] for lines in found] == ["treasury:EU:tax"] * 5 + ["treasury:UK:tax"]


WITHDRAWN, FAULTY = clearance.RETURN_REASON_WITHDRAWN, clearance.RETURN_REASON_FAULTY
EPOCH = date(1970, 1, 1)


def day(number: int) -> date:
    return EPOCH + timedelta(days=number)


def refund(**change: Any) -> Refund:
    usual: dict[str, Any] = {"start": day(100), "reference": "x", "charges": ("duty",), "because": ("withdrawn",)}
    return Refund(**{**usual, **change})


def book(jurisdiction: str, first: int, last: int | None, *refunds: Refund) -> Rulebook:
    period = Span(start=day(first), to=None if last is None else day(last))
    return cast(Rulebook, SimpleNamespace(jurisdiction=jurisdiction, refunds=refunds, period=period))


def share(
    law: RefundRules, on: int, code: str = "EU.duty", reason: int = WITHDRAWN, released: int | None = None
) -> int:
    return law.share_ppm(code, Return(reason, on, released))


def test_an_entry_applies_from_its_first_day_to_its_last() -> None:
    law = RefundRules([book("EU", 0, None, refund(to=day(110), share="70 %"), refund(start=day(105), share="40 %"))])
    assert [share(law, on) for on in (99, 100, 110, 111)] == [0, 700_000, 700_000, 400_000]
    assert share(law, 110) == 700_000  # what was found once is found again


def test_a_rulebook_applies_in_its_own_period() -> None:
    first, second = refund(share="70 %"), refund(share="40 %")
    law = RefundRules([book("EU", 101, 104, first), book("EU", 105, None, second), book("UK", 0, None, refund())])
    assert [share(law, on) for on in (100, 101, 104, 105)] == [0, 700_000, 700_000, 400_000]
    assert share(law, 101, "UK.duty") == 1_000_000
    assert share(law, 101, "US.duty") == 0


def test_an_entry_names_the_charge_and_the_reason() -> None:
    law = RefundRules(
        [
            book("EU", 0, None, refund(), refund(charges=("tax",), because=("faulty",), share="10 %")),
            book("EU", 0, None),
        ]
    )
    assert share(law, 100) == 1_000_000
    assert share(law, 100, "EU.tax") == share(law, 100, reason=FAULTY) == share(law, 100, reason=0) == 0
    assert share(law, 100, "EU.tax", FAULTY) == 100_000


@pytest.mark.parametrize(
    ("within", "released", "on", "ppm"),
    [(14, 100, 114, 1_000_000), (14, 100, 115, 0), (14, None, 999, 1_000_000), (0, 100, 999, 1_000_000), (1, 100, 101, 1_000_000), (1, 100, 102, 0)],
)  # fmt: skip
def test_goods_go_back_within_the_days_of_the_entry(within: int, released: int | None, on: int, ppm: int) -> None:
    assert share(RefundRules([book("EU", 0, None, refund(within_days=within))]), on, released=released) == ppm


LAW = RefundRules(
    [
        book(
            "EU", 0, None, refund(charges=("duty", "fee"), start=day(0), share="50 %", within_days=10),
            refund(charges=("duty",), because=("faulty",), start=day(0)),
        )
    ]
)  # fmt: skip


def paid_back(*states: State) -> list[int]:
    table = states_table(states)
    rows = np.repeat(np.arange(table.rows), np.diff(table.ragged("charges").offsets))
    return entitled(LAW, table, rows, table.child("charges").ints("amount").values).tolist()


GOODS = replace(
    AT_BORDER, items=2, returned_day=DAY + 10,
    charges=(Charge(101, code="EU.duty"), Charge(10, code="EU.duty", item=2), Charge(MAX, FEE, "EU.fee", item=None), Charge(8, TAX, "EU.tax")),
)  # fmt: skip


def test_a_charge_on_an_item_is_paid_back_with_it_and_one_on_all_with_all() -> None:
    assert paid_back(GOODS) == [0, 0, 0, 0]
    assert paid_back(replace(GOODS, returned=(1,))) == [50, 0, 0, 0]
    assert paid_back(replace(GOODS, returned=(2,))) == [0, 5, 0, 0]
    assert paid_back(replace(GOODS, returned=(1, 2))) == [50, 5, MAX // 2, 0]
    # In a page each consignment has its own items and charges.
    other = replace(GOODS, mrn=mrn(2), returned=(2,), reason=FAULTY)
    assert paid_back(replace(GOODS, returned=(1,)), GOODS, other) == [50, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0]


def test_time_runs_from_the_release_and_never_where_goods_were_not_released() -> None:
    late = replace(GOODS, returned=(1,), returned_day=DAY + 11)
    assert paid_back(late)[0] == 0
    assert paid_back(replace(late, released_day=None))[0] == 50


def test_items_that_went_back_one_by_one_have_their_own_reason_and_day() -> None:
    parts = ((1, FAULTY, DAY + 3), (2, WITHDRAWN, DAY + 10))
    assert paid_back(replace(GOODS, returned=(1, 2), returned_day=DAY + 11, parts=parts)) == [101, 5, 0, 0]
    late = ((1, FAULTY, DAY + 99), (2, WITHDRAWN, DAY + 11))
    assert paid_back(replace(GOODS, returned=(1, 2), parts=late)) == [101, 0, MAX // 2, 0]


def test_a_consignment_without_items_has_charges_on_the_whole_only_where_goods_went_back() -> None:
    # Returned as a whole, and no item is known to have gone back: nothing says that all of it did.
    bare = replace(GOODS, items=0, returned=(1,))
    assert paid_back(bare) == [0, 0, 0, 0]


def test_the_day_of_a_return_is_that_of_its_first_microsecond() -> None:
    law = RefundRules([book("EU", 0, None, refund(start=day(DAY + 10), to=day(DAY + 10)))])
    back = replace(GOODS, charges=(Charge(8, code="EU.duty"),), returned=(1, 2))
    for on, minor in ((DAY + 9, 0), (DAY + 10, 8), (DAY + 11, 0)):
        for state in (replace(back, returned_day=on), replace(back, parts=((1, WITHDRAWN, on),), returned_day=DAY)):
            table = states_table([state])
            amounts = table.child("charges").ints("amount").values
            assert entitled(law, table, numbers(0), amounts).tolist() == [minor]


def test_items_without_numbers_are_numbered_in_their_order() -> None:
    table = states_table([replace(GOODS, mrn=mrn(2)), replace(GOODS, returned=(2,))])
    goods = table.child("items")
    columns: dict[str, Column] = {name: goods.column(name) for name in ("returned", "return_reason", "returned_at")}
    columns["number"] = Ints.of([0] * goods.rows, [False] * goods.rows)
    used: dict[str, Column] = {
        name: table.column(name) for name in ("returned_at", "return_reason", "released_at", "charges")
    }
    used["items"] = Ragged(table.ragged("items").offsets, Table(goods.schema, goods.rows, columns))
    bare = Table(table.schema, table.rows, used)
    rows = np.repeat(np.arange(2), 4)
    assert entitled(LAW, bare, rows, bare.child("charges").ints("amount").values).tolist() == [0, 0, 0, 0, 0, 5, 0, 0]

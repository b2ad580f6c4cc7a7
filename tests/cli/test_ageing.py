"""`luxor revenue ageing`: bands by days overdue, totals that equal the balance, and refused input."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.revenue.accounting.ageing import BANDS, age_open_items, overdue_items
from libs.customs.time import day_of_date
from luxor.revenue.v1 import ledger_pb2 as pb

ON = date(2026, 12, 1)


def item(days_before: int, amount: int, currency: str = "EUR") -> dict[str, Any]:
    day = (ON - timedelta(days=days_before)).isoformat()
    return {"mrn": "26DE1", "day": day, "currency": currency, "amount_minor": amount}


@pytest.mark.parametrize(
    ("days_overdue", "band"),
    [
        (-5, "not_due"), (0, "not_due"), (1, "days_1_to_30"), (30, "days_1_to_30"), (31, "days_31_to_60"), (60, "days_31_to_60"),
        (61, "days_61_to_90"), (90, "days_61_to_90"), (91, "over_90_days"), (4000, "over_90_days"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("due_days", [0, 10])
def test_each_item_is_in_the_band_of_its_days_overdue(days_overdue: int, band: str, due_days: int) -> None:
    (row,) = age_open_items([item(days_overdue + due_days, 7)], {"EUR": 7}, day_of_date(ON), due_days)
    assert {name: row[f"{name}_minor"] for name in BANDS} == {name: 7 if name == band else 0 for name in BANDS}


items_of_two_currencies = st.lists(
    st.builds(item, st.integers(-20, 200), st.integers(1, 10**15), st.sampled_from(["EUR", "JPY"]))
)


@given(items_of_two_currencies, st.integers(0, 40), st.integers(0, 10**15))
def test_the_bands_add_up_to_the_open_items_and_these_less_credit_to_the_balance(
    items: list[dict[str, Any]], due_days: int, credit: int
) -> None:
    open_by_currency = {
        currency: sum(each["amount_minor"] for each in items if each["currency"] == currency)
        for currency in {each["currency"] for each in items}
    }
    balances = {currency: amount - credit for currency, amount in open_by_currency.items()}
    rows = age_open_items(items, balances, day_of_date(ON), due_days)
    assert [row["currency"] for row in rows] == sorted(open_by_currency)
    for row in rows:
        assert sum(row[f"{name}_minor"] for name in BANDS) == row["open_minor"] == open_by_currency[row["currency"]]
        assert (row["credit_minor"], row["open_minor"] - row["credit_minor"]) == (credit, row["balance_minor"])
    assert sum(row["items"] for row in rows) == len(items)


def test_a_currency_with_credit_alone_is_listed_and_one_with_nothing_is_not() -> None:
    (row,) = age_open_items([], {"EUR": -500, "JPY": 0}, day_of_date(ON), 0)
    assert (row["currency"], row["items"], row["open_minor"], row["credit_minor"]) == ("EUR", 0, 0, 500)


class Ledger:
    """Answers the calls of the command from stored items and balances, in pages of one item."""

    def __init__(self, items: list[pb.OpenItem], balances: list[pb.Balance]) -> None:
        self.items, self.balances = items, balances

    async def ask(
        self, service: str, _: object, method: str, request: Any, kind: type[Message], *__: object
    ) -> Message:
        assert service == "revenue"
        if method == "ListBalances":
            return pb.ListBalancesResponse(
                balances=[each for each in self.balances if each.account.startswith(request.prefix)]
            )
        assert (method, request.account) == ("ListOpenItems", "declarant:DE1")
        place = int(request.page_token or 0)
        following = str(place + 1) if place + 1 < len(self.items) else ""
        return pb.ListOpenItemsResponse(open_items=self.items[place : place + 1], next_page_token=following)


def run(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, *arguments: str, name: str = "ageing") -> Result:
    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Ledger]:
        assert (role, ident) == ("analyst", "ann")
        yield ledger

    monkeypatch.setattr(Context, "client", client)
    return CliRunner(env={"COLUMNS": "120"}).invoke(luxor, ["revenue", name, *arguments, "--as", "ann"])


def ledger_of_two_items(balance: int) -> Ledger:
    return Ledger(
        [
            pb.OpenItem(mrn="26DE1", day="2026-10-01", currency="EUR", amount_minor=1_250),
            pb.OpenItem(mrn="26DE2", day="2026-11-25", currency="EUR", amount_minor=300),
        ],
        [
            pb.Balance(account="declarant:DE1", currency="EUR", balance_minor=balance),
            pb.Balance(account="declarant:DE12", currency="EUR", balance_minor=99_999),
        ],
    )


def test_the_command_shows_bands_credit_and_balance_of_the_account_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of_two_items(1_450)
    done = run(monkeypatch, ledger, "declarant:DE1", "--on", "2026-12-01", "--due-days", "10")
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "declarant:DE1 on 2026-12-01; due 10 days after acceptance" in lines
    # 2026-10-01 and 10 days is 2026-10-11, 51 days before 2026-12-01; 2026-11-25 and 10 days is 2026-12-05.
    for line in ("not due 3.00 EUR", "1 to 30 0.00 EUR", "31 to 60 12.50 EUR", "61 to 90 0.00 EUR", "more than 90 0.00 EUR",
                 "open items: 2 15.50 EUR", "less credit 1.00 EUR", "balance 14.50 EUR"):  # fmt: skip
        assert line in lines
    told = json.loads(run(monkeypatch, ledger, "declarant:DE1", "--on", "2026-12-01", "--json").stdout)
    assert (told["account"], told["on"], told["due_days"]) == ("declarant:DE1", "2026-12-01", 0)
    (row,) = told["currencies"]
    assert (row["days_61_to_90_minor"], row["days_1_to_30_minor"], row["not_due_minor"]) == (1_250, 300, 0)


@pytest.mark.parametrize(("balance", "code"), [(1_550, 0), (1_551, 1)])
def test_a_balance_above_the_open_items_ends_the_command_with_1(
    monkeypatch: pytest.MonkeyPatch, balance: int, code: int
) -> None:
    done = run(monkeypatch, ledger_of_two_items(balance), "declarant:DE1", "--on", "2026-12-01")
    assert (done.exit_code, "exceeds the open items" in done.output) == (code, bool(code)), done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deferred:D1"], "luxor revenue closes"),
        (["declarant:DE1", "--on", "2026-13-01"], "--on"),
        (["declarant:DE1", "--due-days", "-1"], "--due-days"),
        (["declarant:DE1", "--due-days", "3651"], "--due-days"),
    ],
)
def test_input_that_cannot_be_aged_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    done = run(monkeypatch, Ledger([], []), *arguments)
    assert (done.exit_code, message in " ".join(done.output.split())) == (2, True), done.output


def test_an_account_without_items_and_balance_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Ledger([], []), "declarant:DE1")
    assert (done.exit_code, done.output.strip()) == (0, "There are no open items, and the balance is zero.")


@pytest.mark.parametrize(
    ("days_overdue", "level"), [(0, None), (1, 1), (30, 1), (31, 2), (60, 2), (61, 3), (90, 3), (91, 4), (4000, 4)]
)
@pytest.mark.parametrize("due_days", [0, 10])
def test_an_overdue_item_has_its_due_day_and_level(days_overdue: int, level: int | None, due_days: int) -> None:
    rows = overdue_items([item(days_overdue + due_days, 7)], day_of_date(ON), due_days, {})
    due_day = (ON - timedelta(days=days_overdue)).isoformat()
    expected = [] if level is None else [(level, days_overdue, due_day, 7)]
    assert [(row["level"], row["days_overdue"], row["due_day"], row["amount_minor"]) for row in rows] == expected


@pytest.mark.parametrize(
    ("minimum", "days"), [({}, [40, 20, 10, 5]), ({"EUR": 100}, [40, 10]), ({"EUR": 101}, [40]), ({"JPY": 0}, [20])]
)
def test_the_longest_overdue_items_of_at_least_the_minimum_come_first(minimum: dict[str, int], days: list[int]) -> None:
    items = [item(5, 99), item(10, 100), item(20, 500, "JPY"), item(40, 101)]
    assert [row["days_overdue"] for row in overdue_items(items, day_of_date(ON), 0, minimum)] == days


def test_the_dunning_list_shows_overdue_items_of_a_currency(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = ledger_of_two_items(1_550)
    options = ("declarant:DE1", "--on", "2026-12-01", "--due-days", "5")
    done = run(monkeypatch, ledger, *options, "--currency", "EUR", "--minimum", "3.00", name="dunning")
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    # 2026-10-01 and 5 days is 2026-10-06, 56 days before 2026-12-01; 2026-11-25 and 5 days is 2026-11-30.
    assert [line for line in lines if line][-2:] == [
        "2 2026-10-06 56 26DE1 12.50 EUR",
        "1 2026-11-30 1 26DE2 3.00 EUR",
    ], done.output
    fewer = run(monkeypatch, ledger, *options, "--currency", "EUR", "--minimum", "3.01", "--json", name="dunning")
    assert [row["mrn"] for row in json.loads(fewer.stdout)["items"]] == ["26DE1"]
    none = run(monkeypatch, ledger, *options, "--currency", "JPY", name="dunning")
    assert none.output.startswith("No such item is overdue on 2026-12-01; due 5 days after acceptance.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vendor:IM1"], "luxor revenue closes"),
        (["border:DE", "--minimum", "1.00"], "--minimum needs --currency"),
        (["border:DE", "--minimum", "1,00", "--currency", "EUR"], "--minimum"),
        (["border:DE", "--currency", "EUX"], "--currency"),
    ],
)
def test_a_dunning_list_of_input_with_errors_is_refused(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    done = run(monkeypatch, Ledger([], []), *arguments, name="dunning")
    assert (done.exit_code, message in " ".join(done.output.split())) == (2, True), done.output

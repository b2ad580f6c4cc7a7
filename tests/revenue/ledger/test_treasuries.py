"""Whose revenue it is: VAT the state's, duty shared, to the minor unit, in all that is booked of a consignment."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import date
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.time import day_of_date, day_text
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.common.v1.common_pb2 import COLLECTOR_VENDOR
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.commands.payments.record_payout import Payouts
from services.revenue.commands.reconcile import Reconciliation
from services.revenue.law.program.beneficiaries import RevenueDivision, Share, Sharing
from services.revenue.law.source.rulebook import Beneficiaries, Part, Rulebook, Span
from services.revenue.ledger.division import Divisions, name_of, parts_of
from services.revenue.store.payments.payments import Payment
from services.revenue.store.payments.payouts import Payout
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import SECONDS, payment, stub
from tests.revenue.ledger.states import DAY, TAX, Charge, State, mrn
from tests.revenue.ledger.treasuries import Shared, sharing
from tests.revenue.service_client import refused
from tests.support.services import Running

ONE, TWO = mrn(1, 3), mrn(2, 7)
FLAT, VAT = Charge(301), Charge(1_900, TAX, "EU.vat_low_value")
EU = ("EU", ["DE", "FR", "IT"])


@pytest.fixture
def shared(books: Books) -> Shared:
    return Shared(books.database)


def treasuries(standing: dict[str, int]) -> dict[str, int]:
    return {name: -minor for name, minor in standing.items() if name.startswith("treasury:")}


async def differences(books: Books) -> list[str]:
    page = await Reconciliation(books.database, books.ledger.names).page(DAY, "", 100)
    return [each.sentence for each in page.differences if each.reason == "UNBALANCED"]


@pytest.mark.parametrize(
    ("jurisdiction", "kind", "destination", "day", "expected"),
    [
        ("EU", 1, "DE", date(2026, 8, 1), "division:treasury:DE:duty=250000|treasury:EU:duty"),
        ("EU", 1, "DE", date(2021, 1, 1), "division:treasury:DE:duty=250000|treasury:EU:duty"),
        ("EU", 1, "DE", date(2020, 12, 31), "division:treasury:DE:duty=200000|treasury:EU:duty"),
        ("EU", 2, "FR", date(2026, 8, 1), "treasury:FR:tax"),
        ("EU", 3, "IT", date(2026, 8, 1), "treasury:IT:fee"),
        ("EU", 2, "", date(2026, 8, 1), "treasury:EU:tax"),
        ("EU", 1, "GB", date(2026, 8, 1), "treasury:EU:duty"),
        ("UK", 1, "GB", date(2026, 8, 1), "treasury:UK:duty"),
        ("??", 2, "DE", date(2026, 8, 1), "treasury:??:tax"),
    ],
)
def test_the_shipped_law_says_whose_revenue_a_charge_is(
    jurisdiction: str, kind: int, destination: str, day: date, expected: str
) -> None:
    assert name_of(sharing().division(jurisdiction, kind, destination, day_of_date(day)), kind) == expected


def test_an_entry_applies_from_its_first_to_its_last_day_and_to_its_own_kinds() -> None:
    entry = Beneficiaries(
        start=date(2026, 2, 1), to=date(2026, 2, 3), reference="x", kinds=("tax",), parts=(Part(to="destination"),)
    )
    book = cast(
        Rulebook,
        SimpleNamespace(jurisdiction="EU", areas=("DE",), period=Span(start=date(2020, 1, 1)), beneficiaries=(entry,)),
    )
    found = [
        Sharing([book]).division("EU", kind, "DE", day_of_date(date(2026, 2, 1)) + at).shares[0].beneficiary
        for kind, at in ((2, -1), (2, 0), (2, 2), (2, 3), (1, 0), (3, 0))
    ]
    assert found == ["EU", "DE", "DE", "EU", "EU", "EU"]


@given(
    st.lists(st.integers(1, 999_999), min_size=1, max_size=4).filter(lambda each: sum(each) < 1_000_000),
    st.lists(st.one_of(st.integers(0, 10**16), st.sampled_from([0, 1, 2, 3, 4, 5, 10**16])), min_size=1, max_size=6),
)
def test_parts_are_rounded_down_and_always_sum_to_the_whole_in_however_many_steps(
    ppm: list[int], steps: list[int]
) -> None:
    """The oracle is exact fractions, from the definition: floor of each share but the last, which is the rest."""
    name = name_of(RevenueDivision((*(Share(f"A{place}", each) for place, each in enumerate(ppm)), Share("Z", 0))), 1)
    accounts = [account for account, _ in parts_of(name)]
    assert accounts == [*(f"treasury:A{place}:duty" for place in range(len(ppm))), "treasury:Z:duty"]
    ids = {account: number for number, account in enumerate(accounts)}
    divisions = Divisions.from_names({99: name, 98: "treasury:X:duty"}, ids)
    given_before, totals = 0, [0] * len(accounts)
    for amount in steps:
        columns = (np.array([each], np.int64) for each in (99, given_before, amount))
        places, found, amounts = divisions.divided(*columns)
        assert sum(amounts.tolist()) == amount
        assert set(places.tolist()) <= {0}
        for account, part in zip(found.tolist(), amounts.tolist(), strict=True):
            totals[account] += part
        given_before += amount
        if given_before > 10**16:
            break
    shares = [int(Fraction(given_before * each, 1_000_000)) for each in ppm]
    assert totals == [*shares, given_before - sum(shares)]


async def test_vat_is_the_states_and_duty_is_shared_with_what_the_state_retains(shared: Shared) -> None:
    await shared.take(State(ONE, charges=(FLAT, VAT)), State(TWO, charges=(FLAT, VAT), destination="FR"))
    assert treasuries(await shared.standing()) == {
        "treasury:DE:duty": 75, "treasury:FR:duty": 75, "treasury:EU:duty": 452,
        "treasury:DE:tax": 1_900, "treasury:FR:tax": 1_900,
    }  # fmt: skip
    assert await shared.unbalanced() == []
    assert await differences(shared) == []
    # A split costs one posting, and no entry.
    assert len(await shared.kinds(ONE)) == 2
    assert len([each for each in await shared.postings() if each[0] == ONE]) == 5 + 4


async def test_what_a_vendor_collects_is_the_destinations_too(shared: Shared) -> None:
    sold = replace(VAT, collector=COLLECTOR_VENDOR, account="vendor:IM2760000014")
    await shared.take(State(ONE, charges=(sold,), destination="FR"))
    assert await shared.standing() == {"vendor:IM2760000014": 1_900, "treasury:FR:tax": -1_900}


@pytest.mark.parametrize("paid", [0, 1, 100, 301])
async def test_refunds_and_remissions_give_back_exactly_the_parts(shared: Shared, paid: int) -> None:
    open_state = State(ONE, charges=(FLAT,), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
    await shared.take(open_state)
    if paid:
        await shared.pay(Payment("b1", ONE, "EU", "EUR", paid))
    await shared.take(replace(open_state, version=2, returned=(1,)))
    assert treasuries(await shared.standing()) == {}
    assert (await shared.unbalanced(), await differences(shared)) == ([], [])
    # And what is withdrawn again stands as before.
    await shared.take(replace(open_state, version=3))
    assert treasuries(await shared.standing()) == {"treasury:DE:duty": 75, "treasury:EU:duty": 226}


async def test_another_destination_moves_the_revenue_to_its_state(shared: Shared) -> None:
    await shared.take(State(ONE, charges=(FLAT, VAT)))
    await shared.take(State(ONE, 2, charges=(FLAT, VAT), destination="IT"))
    assert treasuries(await shared.standing()) == {
        "treasury:IT:duty": 75, "treasury:EU:duty": 226, "treasury:IT:tax": 1_900,
    }  # fmt: skip


async def test_what_was_booked_for_one_treasury_stays_until_its_consignment_is_booked_again(shared: Shared) -> None:
    before = Books(shared.database)
    await before.take(State(ONE, charges=(FLAT, VAT)), State(TWO, charges=(FLAT, VAT)))
    old = await before.postings()
    assert treasuries(await before.standing()) == {"treasury:EU:duty": 602, "treasury:EU:tax": 3_800}
    await shared.take(State(ONE, 2, charges=(FLAT, VAT), state=clearance.STATE_RELEASED))
    assert treasuries(await shared.standing()) == {
        "treasury:EU:duty": 301 + 226, "treasury:EU:tax": 1_900, "treasury:DE:duty": 75, "treasury:DE:tax": 1_900,
    }  # fmt: skip
    # History is not rewritten, a replay changes nothing, and the records agree.
    assert (await shared.postings())[: len(old)] == old
    booked = len(await shared.postings())
    await shared.take(State(ONE, 2, charges=(FLAT, VAT), state=clearance.STATE_RELEASED))
    assert len(await shared.postings()) == booked
    assert (await shared.unbalanced(), await differences(shared)) == ([], [])
    assert (await shared.chain.check(3, entries_max=100)).discrepancies == []


async def test_money_leaves_for_a_treasury_up_to_its_revenue_from_its_own_jurisdictions_bank(shared: Shared) -> None:
    state = State(ONE, charges=(FLAT, VAT), debt=common_pb2.DEBT_STATUS_OPEN, debt_account="")
    await shared.take(state)
    await shared.pay(Payment("b1", ONE, "EU", "EUR", 2_201), Payment("b2", "x", "UK", "EUR", 9_000))
    asked = [
        Payout("o1", "treasury:DE:tax", "EU", "EUR", 1_901), Payout("o2", "treasury:DE:tax", "EU", "EUR", 1_900),
        Payout("o3", "treasury:DE:tax", "EU", "EUR", 1), Payout("o4", "treasury:DE:duty", "UK", "EUR", 1),
        Payout("o5", "treasury:DE:duty", "EU", "EUR", 75), Payout("o6", "treasury:EU:duty", "EU", "EUR", 226),
    ]  # fmt: skip
    results = await Payouts(shared.ledger).record(asked, "officer-1")
    assert [(each.reason, each.credit) for each in results] == [
        ("PAYOUT_EXCEEDS_CREDIT", 1_900), ("", 0), ("PAYOUT_EXCEEDS_CREDIT", 0), ("PAYOUT_TREASURY_DIFFERS", 0), ("", 0), ("", 0),
    ]  # fmt: skip
    assert await shared.standing() == {"bank:UK": 9_000, "unmatched:UK": -9_000}


async def test_a_treasury_sees_its_own_accounts_and_no_others(house: Running, kept: Books) -> None:
    books = Shared(kept.database)
    await books.take(State(ONE, charges=(FLAT, VAT)), State(TWO, charges=(FLAT, VAT), destination="FR"))
    month = date.today().isoformat()[:7]  # noqa: DTZ011  # as the store's clock, of this machine

    async def seen(ledger: Any, prefix: str = "") -> set[str]:
        answer = await ledger.ListBalances(pb.ListBalancesRequest(prefix=prefix), timeout=SECONDS)
        return {each.account for each in answer.balances}

    for ident in ("DE", "DE.anna"):
        ledger = await stub(house, "treasury", ident)
        own = {"treasury:DE:duty", "treasury:DE:tax"}
        assert await seen(ledger) == await seen(ledger, "treas") == await seen(ledger, "treasury:DE") == own
        assert await seen(ledger, "treasury:DE:t") == {"treasury:DE:tax"}
        for prefix in ("treasury:FR", "declarant:", "deferred:carrier-7", "treasury:DEX"):
            assert await seen(ledger, prefix) == set()
        told = await ledger.GetStatement(
            pb.GetStatementRequest(account="treasury:DE:tax", month=month), timeout=SECONDS
        )
        assert (told.closing_minor, [each.mrn for each in told.lines]) == (-1_900, [ONE])
        for account in ("treasury:FR:tax", "treasury:EU:duty", "deferred:carrier-7", "treasury:DE", "bank:EU"):
            statement = ledger.GetStatement(pb.GetStatementRequest(account=account, month=month), timeout=SECONDS)
            assert (await refused(statement))[0] == "ACCOUNT_NOT_YOURS", account
        calls: tuple[Awaitable[object], ...] = (
            ledger.ListEntries(pb.ListEntriesRequest(mrn=ONE), timeout=SECONDS),
            ledger.ListOpenItems(pb.ListOpenItemsRequest(account="treasury:DE:tax"), timeout=SECONDS),
            ledger.ListAccounts(pb.ListAccountsRequest(), timeout=SECONDS),
            ledger.ListPayments(pb.ListPaymentsRequest(), timeout=SECONDS),
            ledger.ListPayouts(pb.ListPayoutsRequest(), timeout=SECONDS),
            ledger.RecordPayments(
                pb.RecordPaymentsRequest(request_id="r", payments=[payment("b", ONE, 1)]), timeout=SECONDS
            ),
            ledger.ReconcileDay(pb.ReconcileDayRequest(day=day_text(DAY)), timeout=SECONDS),
            ledger.CheckChain(pb.CheckChainRequest(), timeout=SECONDS),
            ledger.GetProof(pb.GetProofRequest(), timeout=SECONDS),
        )
        for call in calls:
            assert (await refused(call))[0] == "ROLE_NOT_ALLOWED"
    union = await stub(house, "treasury", "EU")
    assert await seen(union) == {"treasury:EU:duty"}
    # A code that begins like another's is another treasury.
    assert await seen(await stub(house, "treasury", "D")) == set()
    assert len(await seen(await stub(house, "officer"))) > 5

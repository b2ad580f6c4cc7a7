"""The ledger's edge over real gRPC and PostgreSQL: accounts, payments, payouts, balances, entries, statements."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import MICROS_PER_DAY, day_text
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import FIRST, SECOND, SECONDS, open_state, payment, stub
from tests.revenue.ledger.states import Charge, State, mrn
from tests.revenue.service_client import refused
from tests.support.services import Running


async def test_accounts_are_taken_or_refused_each_by_itself_and_once_per_request(house: Running) -> None:
    ledger = await stub(house)
    accounts = [
        pb.Account(name="deferred:carrier-7", currency="EUR", limit_minor=5_000_00, holder="Carrier"),
        pb.Account(name="treasury:DE", currency="EUR"),
        pb.Account(name="deferred:carrier-8", currency="euro"),
        pb.Account(name="guarantee:26DEG1", currency="EUR", limit_minor=-1),
        pb.Account(name="deferred:carrier-7", currency="EUR"),
    ]
    request = pb.PutAccountsRequest(request_id="a1", accounts=accounts)
    answer = await ledger.PutAccounts(request, timeout=SECONDS)
    assert [each.error.reason for each in answer.results] == [
        "", "ACCOUNT_NAME_MALFORMED", "LEDGER_CURRENCY_UNKNOWN", "LEDGER_AMOUNT_OUT_OF_BOUNDS", "ACCOUNT_REPEATED",
    ]  # fmt: skip
    assert await ledger.PutAccounts(request, timeout=SECONDS) == answer
    request.accounts[0].closed = True
    reason, _ = await refused(ledger.PutAccounts(request, timeout=SECONDS))
    assert reason == "REQUEST_REUSED"


async def test_money_is_the_officers_and_no_operator_moves_it(house: Running) -> None:
    operator = await stub(house, "operator", "operator-1")
    accounts = pb.PutAccountsRequest(request_id="o1", accounts=[pb.Account(name="deferred:a", currency="EUR")])
    payments = pb.RecordPaymentsRequest(request_id="o2", payments=[payment("b1", FIRST, 5)])
    for asked in (
        operator.PutAccounts(accounts, timeout=SECONDS),
        operator.RecordPayments(payments, timeout=SECONDS),
    ):
        assert (await refused(asked))[0] == "ROLE_NOT_ALLOWED"


async def test_payments_are_matched_and_told_with_what_is_still_owed(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST), open_state(SECOND))
    ledger = await stub(house)
    request = pb.RecordPaymentsRequest(
        request_id="p1",
        payments=[
            payment("b1", FIRST, 2_200), payment("b2", SECOND, 1_000), payment("b3", SECOND, 2_000), payment("b4", "rent", 5),
            payment("b5", FIRST, 0), payment("b6", "", 2_200, "b1"), payment("b7", "", 1, "b9"),
        ],
    )  # fmt: skip
    answer = await ledger.RecordPayments(request, timeout=SECONDS)
    told = [
        (pb.PaymentOutcome.Name(each.outcome).removeprefix("PAYMENT_OUTCOME_"), each.matched_minor, each.unapplied_minor,
         each.open_minor, each.error.reason)
        for each in answer.results
    ]  # fmt: skip
    assert told == [
        ("MATCHED", 2_200, 0, 0, ""), ("UNDERPAID", 1_000, 0, 1_200, ""), ("OVERPAID", 1_200, 800, 0, ""),
        ("UNMATCHED", 0, 5, 0, ""), ("REFUSED", 0, 0, 0, "LEDGER_AMOUNT_OUT_OF_BOUNDS"), ("REVERSED", 0, 0, 2_200, ""),
        ("REFUSED", 0, 0, 0, "PAYMENT_UNKNOWN"),
    ]  # fmt: skip
    assert await ledger.RecordPayments(request, timeout=SECONDS) == answer
    assert not await kept.unbalanced()


async def test_payouts_are_booked_refused_with_what_is_there_and_listed(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    officer, analyst = await stub(house), await stub(house, "analyst", "analyst-1")
    told = [payment("b1", FIRST, 2_500), payment("b2", "rent", 5)]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p1", payments=told), timeout=SECONDS)

    def payout(ident: str, amount: int, **more: Any) -> pb.Payout:
        return pb.Payout(id=ident, jurisdiction="EU", currency="EUR", amount_minor=amount, **more)

    declarant, moment = "declarant:DE1234567890", Timestamp(seconds=1_790_000_000)
    request = pb.RecordPayoutsRequest(
        request_id="o1",
        payouts=[
            payout("o1", 301, reference=declarant), payout("o2", 300, reference=declarant, paid_at=moment),
            payout("o3", 5, returns_payment_id="b2"), payout("o4", 300, reverses_id="o2"), payout("o5", 1, reference=FIRST),
            payout("o6", 1, reference="rent"), payout("o7", 1, reference=FIRST, returns_payment_id="b2"), payout("o8", 0, reference=FIRST),
            payout("o9", 1, reference="border:DE"), payout("o10", 1, reference="bank:EU"),
            payout("o11", 1, reference=FIRST, paid_at=Timestamp(seconds=1)),
        ],
    )  # fmt: skip
    answer = await officer.RecordPayouts(request, timeout=SECONDS)
    assert [
        (pb.PayoutOutcome.Name(each.outcome).removeprefix("PAYOUT_OUTCOME_"), each.credit_minor, each.error.reason)
        for each in answer.results
    ] == [
        ("REFUSED", 300, "PAYOUT_EXCEEDS_CREDIT"), ("BOOKED", 0, ""), ("BOOKED", 0, ""), ("REVERSED", 300, ""),
        ("REFUSED", 0, "PAYOUT_OF_ACCOUNT"), ("REFUSED", 0, "PAYOUT_REFERENCE_MALFORMED"), ("REFUSED", 0, "PAYOUT_REFERENCE_MALFORMED"),
        ("REFUSED", 0, "LEDGER_AMOUNT_OUT_OF_BOUNDS"), ("REFUSED", 0, "PAYOUT_REFERENCE_SHARED"), ("REFUSED", 0, "PAYOUT_REFERENCE_MALFORMED"),
        ("REFUSED", 0, "MOMENT_OUT_OF_BOUNDS"),
    ]  # fmt: skip
    sentence = answer.results[0].error.message
    assert all(part in sentence for part in ("payouts[0]", "3.01 EUR", "3.00 EUR", declarant)), sentence
    assert answer.results[4].error.hint == f"Name {declarant} as the reference."
    assert await officer.RecordPayouts(request, timeout=SECONDS) == answer
    assert (await refused(analyst.RecordPayouts(request, timeout=SECONDS)))[0] == "ROLE_NOT_ALLOWED"
    found, token = [], ""
    while True:
        page = await analyst.ListPayouts(pb.ListPayoutsRequest(page_size=2, page_token=token), timeout=SECONDS)
        found += [(each.payout, each.reversed_by, each.booked_by) for each in page.payouts]
        token = page.next_page_token
        if not token:
            break
    assert found == [
        (request.payouts[place], back, "officer/officer-1") for place, back in ((1, "o4"), (2, ""), (3, ""))
    ]  # fmt: skip
    async with kept.database.connection() as reader:
        today = await reader.now() // MICROS_PER_DAY
    before, yesterday, day, tomorrow, later = (day_text(today + ahead) for ahead in range(-2, 3))
    for first, last, count in ((yesterday, tomorrow, 3), (later, "", 0), ("", before, 0), (yesterday, "", 3)):
        days = pb.ListPayoutsRequest(from_day=first, to_day=last)
        assert len((await analyst.ListPayouts(days, timeout=SECONDS)).payouts) == count
    for first, last in (
        ("1999-12-31", ""),
        ("", "2100-01-01"),
        (day, yesterday),
        ("1970-01-02", ""),
        ("1970-01-01", ""),
        ("", "1970-01-01"),
    ):
        days = pb.ListPayoutsRequest(from_day=first, to_day=last)
        assert (await refused(analyst.ListPayouts(days, timeout=SECONDS)))[0] == "LEDGER_DAY_OUT_OF_BOUNDS"
    for text in ("2026-02-30", "20261125", "2026-W48-3", "0", "2026-11-25 "):
        for asked in (pb.ListPayoutsRequest(from_day=text), pb.ListPayoutsRequest(to_day=text)):
            assert (await refused(analyst.ListPayouts(asked, timeout=SECONDS)))[0] == "DAY_MALFORMED"
    token = pb.ListPayoutsRequest(page_token="RVUKbzI=")
    assert (await refused(analyst.ListPayouts(token, timeout=SECONDS)))[0] == "PAGE_TOKEN_MALFORMED"
    every = await analyst.ListPayments(pb.ListPaymentsRequest(), timeout=SECONDS)
    assert [(each.result.outcome, each.returned_by) for each in every.payments] == [
        (pb.PAYMENT_OUTCOME_OVERPAID, ""), (pb.PAYMENT_OUTCOME_RETURNED, "o3"),
    ]  # fmt: skip


async def test_payments_that_nothing_was_found_for_are_listed_page_by_page(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    told = [
        payment("b1", FIRST, 2_200),
        payment("b2", SECOND, 7),
        payment("b3", "rent", 5),
        payment("b4", "border:DE", 5),
    ]
    officer = await stub(house)
    answer = await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p1", payments=told), timeout=SECONDS)
    assert answer.results[3].error.reason == "PAYMENT_REFERENCE_SHARED"
    analyst = await stub(house, "analyst", "analyst-1")
    found, token = [], ""
    while True:
        page = await analyst.ListPayments(
            pb.ListPaymentsRequest(unmatched=True, page_size=1, page_token=token), timeout=SECONDS
        )
        found += [(each.payment.id, each.payment.reference, each.booked_by) for each in page.payments]
        token = page.next_page_token
        if not token:
            break
    by = found[0][2]
    assert found == [("b2", SECOND, by), ("b3", "rent", by)]
    assert by.endswith("officer-1")
    every = await analyst.ListPayments(pb.ListPaymentsRequest(), timeout=SECONDS)
    assert [(each.payment.id, each.result.outcome) for each in every.payments] == [
        ("b1", pb.PAYMENT_OUTCOME_MATCHED), ("b2", pb.PAYMENT_OUTCOME_UNMATCHED), ("b3", pb.PAYMENT_OUTCOME_UNMATCHED),
    ]  # fmt: skip


async def test_balances_are_told_page_by_page_and_at_a_past_moment(house: Running, kept: Books) -> None:
    ledger = await stub(house, "analyst", "analyst-1")
    before = datetime.now(UTC)
    await kept.take(State(FIRST), State(SECOND))
    found, token = {}, ""
    while True:
        page = await ledger.ListBalances(pb.ListBalancesRequest(page_size=1, page_token=token), timeout=SECONDS)
        found |= {each.account: each.balance_minor for each in page.balances}
        token = page.next_page_token
        if not token:
            break
    assert found == {
        "declarant:DE1234567890": 0, "deferred:carrier-7": 4_400, "treasury:EU:duty": -600, "treasury:EU:tax": -3_800,
    }  # fmt: skip
    request = pb.ListBalancesRequest(prefix="deferred:")
    request.at.FromDatetime(before)
    past = await ledger.ListBalances(request, timeout=SECONDS)
    assert [(each.account, each.balance_minor) for each in past.balances] == [("deferred:carrier-7", 0)]


async def test_a_carrier_sees_the_accounts_alone_that_it_may_draw_on(house: Running, kept: Books) -> None:
    names = [f"deferred:carrier-{number}" for number in (7, 8, 9)]
    await kept.take(*(State(mrn(each, each), debt_account=name) for each, name in enumerate(names)))
    officer, carrier = await stub(house), await stub(house, "carrier", "carrier-7")

    async def seen(prefix: str = "") -> list[str]:
        told, token = [], ""
        while True:
            asked = pb.ListBalancesRequest(prefix=prefix, page_size=1, page_token=token)
            page = await carrier.ListBalances(asked, timeout=SECONDS)
            told += [each.account for each in page.balances]
            token = page.next_page_token
            if not token:
                return told

    async def stated(name: str) -> str:
        asked = pb.GetStatementRequest(account=name, currency="EUR", month="2026-11")
        try:
            await carrier.GetStatement(asked, timeout=SECONDS)
        except grpc.aio.AioRpcError:
            return (await refused(carrier.GetStatement(asked, timeout=SECONDS)))[0]
        return "told"

    async def put(ident: str, **told: object) -> None:
        account = pb.Account(name=names[1], currency="EUR", **told)  # type: ignore[arg-type]
        await officer.PutAccounts(pb.PutAccountsRequest(request_id=ident, accounts=[account]), timeout=SECONDS)

    denied = "ACCOUNT_NOT_YOURS"
    assert await seen() == names[:1]
    assert [await stated(name) for name in (*names, "deferred:nobody")] == ["told", denied, denied, denied]
    await put("f1", filers=["broker-1", "carrier-7"])
    assert await seen() == names[:2]
    assert await seen("guarantee:") == []
    assert [await stated(name) for name in names] == ["told", "told", denied]
    await put("f2", filers=["carrier-70", "carrier"])
    assert await seen() == names[:1]
    assert await stated(names[1]) == denied


async def test_a_statement_sums_its_month_and_its_lines_come_in_pages(house: Running, kept: Books) -> None:
    vendor = (
        Charge(1_900, common_pb2.CHARGE_KIND_TAX, "EU.vat_low_value", account="vendor:IM2760000014", collector=common_pb2.COLLECTOR_VENDOR),
    )  # fmt: skip
    states = [
        State(mrn(number, number), charges=vendor, destination=to) for number, to in enumerate(("DE", "FR", "DE"))
    ]
    await kept.take(*states)
    ledger = await stub(house, "analyst", "analyst-1")
    month = datetime.now(UTC).strftime("%Y-%m")
    request = pb.GetStatementRequest(account="vendor:IM2760000014", currency="EUR", month=month, page_size=2)
    first = await ledger.GetStatement(request, timeout=SECONDS)
    assert (first.opening_minor, first.debit_minor, first.credit_minor, first.closing_minor) == (0, 5_700, 0, 5_700)
    assert [(each.destination, each.kind, each.consignments, each.amount_minor) for each in first.totals] == [
        ("DE", common_pb2.CHARGE_KIND_TAX, 2, 3_800), ("FR", common_pb2.CHARGE_KIND_TAX, 1, 1_900),
    ]  # fmt: skip
    request.page_token = first.next_page_token
    second = await ledger.GetStatement(request, timeout=SECONDS)
    lines = [*first.lines, *second.lines]
    assert sorted(each.mrn for each in lines) == sorted(state.mrn for state in states)
    assert not second.next_page_token
    assert not second.totals
    assert (second.opening_minor, second.debit_minor, second.credit_minor, second.closing_minor) == (0, 0, 0, 0)
    for wrong, reason in (({"month": "2026-13"}, "MONTH_MALFORMED"), ({"account": "vendor:none"}, "ACCOUNT_UNKNOWN")):
        asked = pb.GetStatementRequest(
            **({"account": "vendor:IM2760000014", "currency": "EUR", "month": month} | wrong)
        )  # type: ignore[arg-type]
        assert (await refused(ledger.GetStatement(asked, timeout=SECONDS)))[0] == reason


async def test_entries_of_a_consignment_and_of_an_account_are_told_in_their_order(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    await kept.take(open_state(FIRST, 2, charges=(Charge(500),)))
    ledger = await stub(house, "analyst", "analyst-1")
    told, token = [], ""
    while True:
        page = await ledger.ListEntries(
            pb.ListEntriesRequest(mrn=FIRST, page_size=2, page_token=token), timeout=SECONDS
        )
        told += list(page.entries)
        token = page.next_page_token
        if not token:
            break
    assert [pb.EntryKind.Name(each.kind) for each in told] == [
        "ENTRY_KIND_ASSESSED", "ENTRY_KIND_REVERSED", "ENTRY_KIND_ASSESSED",
    ]  # fmt: skip
    assert all(sum(each.amount_minor for each in entry.postings) == 0 for entry in told)
    today = (datetime.now(UTC).date() - date(1970, 1, 1)).days
    request = pb.ListEntriesRequest(
        account="treasury:EU:duty", from_day=day_text(today - 1), to_day=day_text(today), page_size=1
    )
    numbers = []
    while True:
        page = await ledger.ListEntries(request, timeout=SECONDS)
        numbers += [each.number for each in page.entries]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert numbers == [each.number for each in told if "treasury:EU:duty" in {p.account for p in each.postings}]
    assert (await refused(ledger.ListEntries(pb.ListEntriesRequest(), timeout=SECONDS)))[0] == "ENTRIES_OF_NOTHING"
    asked = pb.ListEntriesRequest(account="treasury:EU:duty", from_day=day_text(today - 40), to_day=day_text(today))
    assert (await refused(ledger.ListEntries(asked, timeout=SECONDS)))[0] == "LEDGER_DAYS_OUT_OF_BOUNDS"
    for first, last in (("", ""), ("2026-11-01", ""), ("2026-11-31", "2026-12-01")):
        asked = pb.ListEntriesRequest(account="treasury:EU:duty", from_day=first, to_day=last)
        assert (await refused(ledger.ListEntries(asked, timeout=SECONDS)))[0] == "DAY_MALFORMED"


async def test_an_altered_page_is_named_where_its_entries_are_listed(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    async with kept.database.transaction() as tx:
        await tx.raw.execute("set local session_replication_role = replica; update ledger_page set version = '{}'")
    today = day_text((datetime.now(UTC).date() - date(1970, 1, 1)).days)
    ledger = await stub(house, "analyst", "analyst-1")
    for asked in (
        pb.ListEntriesRequest(mrn=FIRST),
        pb.ListEntriesRequest(account="treasury:EU:duty", from_day=today, to_day=today),
    ):
        reason, details = await refused(ledger.ListEntries(asked, timeout=SECONDS))
        assert reason == "LEDGER_PAGE_ALTERED"
        assert (
            "cannot be read: partition 3, entries 1 to 1: it has 1 numbers and 0 values of version. Report" in details
        )

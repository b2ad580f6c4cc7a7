"""The ledger's edge over real gRPC and PostgreSQL: accounts, balances, entries, statements, payments, reconciliation, chains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.client.errors import LuxorError
from libs.client.ledger import compare_totals, kept_seal, read_payments
from libs.client.payouts import read_payouts
from libs.columns import Table
from libs.customs.time import MICROS_PER_DAY
from libs.server.testing import Running, running
from libs.store.database import Database
from libs.store.schema import ensure_day_partitions, today
from luxor.clearance.v1 import clearance_columns_pb2 as clearance
from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.__main__ import assemble
from services.revenue.ledger.chain import START
from services.revenue.store.seals import Seals
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.states import Charge, State, mrn
from tests.revenue.oracle import Consignment, Item
from tests.revenue.test_service import DAY, accepted, refused

SECONDS = 30.0
FIRST, SECOND = mrn(1, 3), mrn(2, 7)


@pytest_asyncio.fixture
async def house(database_url: str) -> AsyncIterator[Running]:
    async with running("revenue", assemble, database_url) as service:
        yield service


@pytest_asyncio.fixture
async def kept(house: Running, database_url: str) -> AsyncIterator[Books]:
    """The same store, for what clearance's feed brings."""
    database = Database(database_url, name="revenue", pool_size=2)
    await database.open()
    yield Books(database)
    await database.close()


async def stub(house: Running, role: str = "officer", ident: str = "officer-1") -> LedgerServiceStub:
    return LedgerServiceStub(await house.channel(role, ident))


def open_state(mrn_: str, version: int = 1, **more: object) -> State:
    return State(mrn_, version, debt=clearance.DEBT_STATUS_OPEN, debt_account="", **more)  # type: ignore[arg-type]


def payment(ident: str, reference: str, amount: int, takes_back: str = "") -> pb.Payment:
    return pb.Payment(
        id=ident, reference=reference, jurisdiction="EU", currency="EUR", amount_minor=amount, takes_back=takes_back
    )


async def test_accounts_are_taken_or_refused_each_by_itself_and_once_per_request(house: Running) -> None:
    ledger = await stub(house)
    accounts = [
        pb.Account(name="deferred:carrier-7", currency="EUR", limit_minor=5_000_00, holder="Carrier"),
        pb.Account(name="vendor:IM2760000014", currency="EUR"),
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
        (pb.PaymentOutcome.Name(each.outcome).removeprefix("PAYMENT_OUTCOME_"), each.matched_minor, each.over_minor,
         each.still_owed_minor, each.error.reason)
        for each in answer.results
    ]  # fmt: skip
    assert told == [
        ("MATCHED", 2_200, 0, 0, ""), ("UNDERPAID", 1_000, 0, 1_200, ""), ("OVERPAID", 1_200, 800, 0, ""),
        ("UNMATCHED", 0, 5, 0, ""), ("REFUSED", 0, 0, 0, "LEDGER_AMOUNT_OUT_OF_BOUNDS"), ("TAKEN_BACK", 0, 0, 2_200, ""),
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
            payout("o3", 5, sends_back="b2"), payout("o4", 300, takes_back="o2"), payout("o5", 1, reference=FIRST),
            payout("o6", 1, reference="rent"), payout("o7", 1, reference=FIRST, sends_back="b2"), payout("o8", 0, reference=FIRST),
            payout("o9", 1, reference="border:DE"), payout("o10", 1, reference="treasury:EU:duty"),
            payout("o11", 1, reference=FIRST, paid_at=Timestamp(seconds=1)),
        ],
    )  # fmt: skip
    answer = await officer.RecordPayouts(request, timeout=SECONDS)
    assert [
        (pb.PayoutOutcome.Name(each.outcome).removeprefix("PAYOUT_OUTCOME_"), each.credit_minor, each.error.reason)
        for each in answer.results
    ] == [
        ("REFUSED", 300, "PAYOUT_EXCEEDS_CREDIT"), ("BOOKED", 0, ""), ("BOOKED", 0, ""), ("TAKEN_BACK", 300, ""),
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
        found += [(each.payout, each.taken_back_by, each.booked_by) for each in page.payouts]
        token = page.next_page_token
        if not token:
            break
    assert found == [
        (request.payouts[place], back, "officer/officer-1") for place, back in ((1, "o4"), (2, ""), (3, ""))
    ]  # fmt: skip
    async with kept.database.connection() as reader:
        today = await reader.now() // MICROS_PER_DAY
    for first, last, count in ((today - 1, today + 1, 3), (today + 2, 0, 0), (0, today - 2, 0), (today - 1, 0, 3)):
        days = pb.ListPayoutsRequest(from_day=first, to_day=last)
        assert len((await analyst.ListPayouts(days, timeout=SECONDS)).payouts) == count
    for first, last in ((1, 0), (0, 99_999), (today, today - 1), (-1, 0)):
        days = pb.ListPayoutsRequest(from_day=first, to_day=last)
        assert (await refused(analyst.ListPayouts(days, timeout=SECONDS)))[0] == "LEDGER_DAY_OUT_OF_BOUNDS"
    token = pb.ListPayoutsRequest(page_token="RVUKbzI=")
    assert (await refused(analyst.ListPayouts(token, timeout=SECONDS)))[0] == "PAGE_TOKEN_MALFORMED"
    every = await analyst.ListPayments(pb.ListPaymentsRequest(), timeout=SECONDS)
    assert [(each.result.outcome, each.sent_back_by) for each in every.payments] == [
        (pb.PAYMENT_OUTCOME_OVERPAID, ""), (pb.PAYMENT_OUTCOME_SENT_BACK, "o3"),
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
        Charge(1_900, revenue_pb2.KIND_TAX, "EU.vat_low_value", account="vendor:IM2760000014", collector=revenue_pb2.COLLECTOR_VENDOR),
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
    assert [(each.destination, each.kind, each.consignments, each.amount_minor) for each in first.sums] == [
        ("DE", revenue_pb2.KIND_TAX, 2, 3_800), ("FR", revenue_pb2.KIND_TAX, 1, 1_900),
    ]  # fmt: skip
    request.page_token = first.next_page_token
    second = await ledger.GetStatement(request, timeout=SECONDS)
    lines = [*first.lines, *second.lines]
    assert sorted(each.mrn for each in lines) == sorted(state.mrn for state in states)
    assert not second.next_page_token
    assert not second.sums
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
    request = pb.ListEntriesRequest(account="treasury:EU:duty", from_day=today - 1, to_day=today, page_size=1)
    numbers = []
    while True:
        page = await ledger.ListEntries(request, timeout=SECONDS)
        numbers += [each.number for each in page.entries]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert numbers == [each.number for each in told if "treasury:EU:duty" in {p.account for p in each.postings}]
    assert (await refused(ledger.ListEntries(pb.ListEntriesRequest(), timeout=SECONDS)))[0] == "ENTRIES_OF_NOTHING"
    asked = pb.ListEntriesRequest(account="treasury:EU:duty", from_day=today - 40, to_day=today)
    assert (await refused(ledger.ListEntries(asked, timeout=SECONDS)))[0] == "LEDGER_DAYS_OUT_OF_BOUNDS"


async def test_reconciliation_names_what_was_not_posted_what_differs_and_what_was_never_assessed(
    house: Running, kept: Books
) -> None:
    revenue = RevenueServiceStub(await house.channel("service", "clearance"))
    batch = [Consignment("DE", date(2026, 8, 3), [Item(2_000, code="610910")]) for _ in range(3)]
    request = accepted(batch)
    answer = Table.decode((await revenue.Assess(request, timeout=SECONDS)).assessments)
    mrns = Table.decode(request.consignments).strings("mrn").tolist()
    duty, tax = answer.ints("duty").values.tolist(), answer.ints("tax").values.tolist()
    stranger = mrn(99, 5, day=DAY)
    good = (Charge(duty[0]), Charge(tax[0], revenue_pb2.KIND_TAX, "EU.vat_low_value"))
    await kept.take(
        State(mrns[0], charges=good, day=DAY),
        State(mrns[1], charges=(Charge(duty[1] + 1), good[1]), day=DAY),
        State(stranger, day=DAY),
    )
    ledger = await stub(house, "analyst", "analyst-1")
    found = await _reconciled(ledger, DAY)
    assert {(each.mrn, each.reason) for each in found} == {
        (mrns[1], "AMOUNT_DIFFERS"), (stranger, "NOT_ASSESSED"),
    }, found  # fmt: skip
    wrong = next(each for each in found if each.reason == "AMOUNT_DIFFERS")
    assert wrong.posted_minor - wrong.assessed_minor == 1
    assert "duty" in wrong.sentence
    page = await ledger.Reconcile(pb.ReconcileRequest(day=DAY), timeout=SECONDS)
    sums = {(each.destination, each.kind): each.amount_minor for each in page.totals}
    assert sums["DE", revenue_pb2.KIND_DUTY] == duty[0] + duty[1] + 1 + 300
    # What was assessed on a day that is over and never followed by an event; yesterday, since the service's housekeeping drops old days.
    async with kept.database.transaction() as tx:
        yesterday = await today(tx) - 1
        for table in ("assessed_input", "assessment_batch"):
            await ensure_day_partitions(tx, table, [yesterday])
            await tx.raw.execute(f"update {table} set day = $1", yesterday)
        await tx.raw.execute("update assessment set day = $1", yesterday)
    missing = await kept_page(kept, yesterday, mrns[2])
    assert missing == [("NOT_POSTED", mrns[2])]


async def kept_page(kept: Books, day: int, mrn_: str) -> list[tuple[str, str]]:
    from services.revenue.store.reconciling import Reconciling

    reconciling, found, after = Reconciling(kept.database, kept.ledger.names), [], ""
    while True:
        page = await reconciling.page(day, after, 10)
        found += [(each.reason, each.mrn) for each in page.differences]
        after = page.after
        if not after:
            return [each for each in found if each[1] == mrn_]


async def _reconciled(ledger: LedgerServiceStub, day: int) -> list[pb.Difference]:
    found: list[pb.Difference] = []
    token = ""
    while True:
        page = await ledger.Reconcile(pb.ReconcileRequest(day=day, page_size=1, page_token=token), timeout=SECONDS)
        found += list(page.differences)
        token = page.next_page_token
        if not token:
            return found


async def test_a_chain_is_checked_in_parts_and_what_was_altered_is_told(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    await kept.take(open_state(FIRST, 2, charges=(Charge(500),)))
    ledger = await stub(house, "analyst", "analyst-1")
    request = pb.CheckChainRequest(partition=3, max_entries=1)
    entries, faults = 0, []
    while True:
        page = await ledger.CheckChain(request, timeout=SECONDS)
        entries += page.entries
        faults += list(page.faults)
        if page.end:
            break
        request.after, request.hash = page.last, page.hash
    assert (entries, faults) == (3, [])
    async with kept.database.transaction() as tx:
        await tx.raw.execute("update ledger_posting set amount = amount * 2 where partition = 3 and number = 1")
    page = await ledger.CheckChain(pb.CheckChainRequest(partition=3), timeout=SECONDS)
    assert page.faults
    assert "entry 1" in page.faults[0]
    for wrong in (pb.CheckChainRequest(partition=64), pb.CheckChainRequest(partition=3, after=1, hash=b"x")):
        reason, _ = await refused(ledger.CheckChain(wrong, timeout=SECONDS))
        assert reason in {"PARTITION_OUT_OF_BOUNDS", "CHAIN_PLACE_MALFORMED"}
    assert len(START) == 32


async def test_a_seal_that_was_kept_is_compared_with_the_one_that_is_stored(house: Running, kept: Books) -> None:
    await kept.take(State(FIRST))
    async with kept.database.transaction() as tx:
        await Seals(kept.database).make(tx)
    ledger = await stub(house, "analyst", "analyst-1")
    seal = (await ledger.CheckChain(pb.CheckChainRequest(partition=3), timeout=SECONDS)).newest_seal
    assert seal.number >= 1
    assert len(seal.hash) == 32
    assert kept_seal(f"{seal.number}:{seal.hash.hex()}") == (seal.number, seal.hash)
    request = pb.CheckChainRequest(partition=3, kept_seal=seal.number, kept_hash=seal.hash)
    assert not (await ledger.CheckChain(request, timeout=SECONDS)).faults
    request.kept_hash = bytes(32)
    assert "another hash than the one kept outside" in (await ledger.CheckChain(request, timeout=SECONDS)).faults[0]
    request.kept_hash = b"x"
    reason, _ = await refused(ledger.CheckChain(request, timeout=SECONDS))
    assert reason == "KEPT_SEAL_MALFORMED"
    for text in ("", "1", "0:" + "00" * 32, "1:" + "00" * 31, "1:" + "xx" * 32, "-1:" + "00" * 32):
        with pytest.raises(LuxorError, match="no seal that was kept"):
            kept_seal(text)


def test_sums_that_statistics_counts_otherwise_are_named() -> None:
    key, other = ("DE", "duty", "customs", "EUR"), ("FR", "tax", "vendor", "EUR")
    found = list(compare_totals({key: 300, other: 0}, {key: 200}))
    assert [(each["reason"], each["posted_minor"], each["counted_minor"]) for each in found] == [
        ("STATISTICS_DIFFERS", 300, 200)
    ]
    assert "Duty to DE by customs" in found[0]["sentence"]


def test_a_table_of_payouts_is_read_and_a_time_that_is_none_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "payouts.csv"
    head = "id,reference,jurisdiction,currency,amount,paid_at,sends_back\n"
    file.write_text(f"{head}o1,{FIRST},EU,EUR,12.50,2026-11-01T08:30:00Z,\no2,,EU,EUR,0.05,,b2\n", encoding="utf-8")
    first, second = read_payouts(file)
    assert (first.reference, first.amount_minor, first.paid_at.seconds) == (FIRST, 1_250, 1_793_521_800)
    assert (second.sends_back, second.HasField("paid_at")) == ("b2", False)
    file.write_text(f"{head}o1,{FIRST},EU,EUR,12.50,yesterday,\n", encoding="utf-8")
    with pytest.raises(LuxorError) as error:
        read_payouts(file)
    assert error.value.reason == "PAYOUT_FILE_WRONG"
    assert f"{file}:2 has a time that is none" in error.value.sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id,reference\n", "no column jurisdiction"),
        ("id,reference,jurisdiction,currency,amount,colour\n", "'colour'"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EUR\n", "as many cells"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EUR,12.505\n", "amount"),
        ("id,reference,jurisdiction,currency,amount\nb1,x,EU,EURO,12.50\n", "amount"),
    ],
)
def test_a_table_of_payments_that_cannot_be_read_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "payments.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LuxorError) as error:
        read_payments(file)
    assert error.value.reason == "PAYMENT_FILE_WRONG"
    assert told in error.value.sentence
    assert f"{file}:{text.count(chr(10))}" in error.value.sentence

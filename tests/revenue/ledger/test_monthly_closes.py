"""What accounts owe for a month, when it is due, and what of it is open."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from libs.customs.partitions import PARTITIONS
from libs.customs.time import day_of_date
from libs.store.tables import schema
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.api.ledger_messages import close_message
from services.revenue.ledger.account import DUE_DAYS, DueDays, DueDaysMalformed
from services.revenue.store.ledger import turnover
from services.revenue.store.ledger.accounts import Account
from services.revenue.store.ledger.balances import Balance, Close
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import SECONDS, open_state, payment, stub
from tests.revenue.ledger.states import Charge, State, mrn
from tests.revenue.service_client import refused
from tests.support.services import Running

TAX = common_pb2.CHARGE_KIND_TAX
VENDOR, DEFERRED = "vendor:IM2760000014", "deferred:carrier-7"
SALE: dict[str, Any] = {
    "kind": common_pb2.CHARGE_KIND_TAX, "code": "EU.vat_low_value", "account": VENDOR, "collector": common_pb2.COLLECTOR_VENDOR,
}  # fmt: skip
SOLD = (Charge(1_900, **SALE),)
AGO = 95
"""Days after which the due days of all months are over."""
OCTOBER = date(2026, 10, 31)


@pytest.mark.parametrize(
    ("name", "month_end", "due"),
    [
        (DEFERRED, date(2026, 10, 31), date(2026, 11, 16)),
        (DEFERRED, date(2026, 12, 31), date(2027, 1, 16)),
        ("guarantee:G", date(2026, 12, 31), None),
        ("carrier:NL1", date(2026, 11, 30), date(2026, 12, 16)),
        (VENDOR, date(2026, 10, 31), date(2026, 11, 30)),
        (VENDOR, date(2026, 12, 31), date(2027, 1, 31)),
        (VENDOR, date(2027, 1, 31), date(2027, 2, 28)),
        (VENDOR, date(2028, 1, 31), date(2028, 2, 29)),
        ("declarant:DE1", date(2026, 10, 31), None),
    ],
)
def test_accounts_pay_until_the_day_of_their_kind(name: str, month_end: date, due: date | None) -> None:
    assert DueDays.parse(DUE_DAYS).due_day(name, month_end) == due


def test_a_day_that_a_month_does_not_have_is_its_last() -> None:
    days = DueDays.parse("vendor 30;carrier 1")
    assert days.due_day(VENDOR, date(2027, 1, 31)) == date(2027, 2, 28)
    assert days.due_day("carrier:A", date(2027, 1, 31)) == date(2027, 2, 1)
    assert days.due_day(DEFERRED, date(2027, 1, 31)) is None


@pytest.mark.parametrize(
    "text",
    ["", "vendor", "vendor 0", "vendor 31", "vendor -1", "vendor ١", "vendor last 1", "border 16", "vendor 1; vendor 2", "vendor 1;"],
)  # fmt: skip
def test_other_texts_are_no_due_days(text: str) -> None:
    with pytest.raises(DueDaysMalformed, match="has "):
        DueDays.parse(text)


def close(outstanding: int, today: date, *, name: str = DEFERRED, present: int = 300) -> Close:
    balances = [Balance(name, "EUR", debit, 0) for debit in (0, 500, present)]
    return Close(*balances, outstanding, day_of_date(today))


@pytest.mark.parametrize(
    ("outstanding", "today", "state"),
    [
        (500, OCTOBER, pb.CLOSE_STATE_OPEN),
        (0, OCTOBER, pb.CLOSE_STATE_OPEN),
        (500, date(2026, 11, 1), pb.CLOSE_STATE_DUE),
        (1, date(2026, 11, 16), pb.CLOSE_STATE_DUE),
        (1, date(2026, 11, 17), pb.CLOSE_STATE_OVERDUE),
        (0, date(2026, 11, 1), pb.CLOSE_STATE_PAID),
        (0, date(2026, 11, 17), pb.CLOSE_STATE_PAID),
    ],
)
def test_a_close_is_overdue_from_the_day_after_its_due_day(outstanding: int, today: date, state: int) -> None:
    message = close_message(close(outstanding, today), day_of_date(OCTOBER), DueDays.parse(DUE_DAYS), None)
    assert (message.state, message.due_day, message.HasField("limit_minor")) == (state, "2026-11-16", False)
    undue = close_message(close(outstanding, today), day_of_date(OCTOBER), DueDays.parse("vendor last"), None)
    assert undue.due_day == ""
    assert undue.state == (pb.CLOSE_STATE_DUE if state == pb.CLOSE_STATE_OVERDUE else state)


@pytest.mark.parametrize(("present", "used"), [(300, 300), (-5, 0)])
def test_what_secures_the_account_is_shown_in_its_own_currency(present: int, used: int) -> None:
    def message(currency: str, limit: int | None) -> pb.MonthlyClose:
        opened = Account(DEFERRED, currency, limit, False, "")
        owed = close(1, OCTOBER, present=present)
        return close_message(owed, day_of_date(OCTOBER), DueDays.parse(DUE_DAYS), opened)

    secured = message("EUR", 1_000)
    assert (secured.limit_minor, secured.used_minor) == (1_000, used)
    assert not message("CHF", 1_000).HasField("limit_minor")
    assert not message("EUR", None).HasField("limit_minor")


async def aged(books: Books) -> None:
    """Have all balances be those of a month of which the due day is over."""
    async with books.database.transaction() as tx:
        await tx.raw.execute("update ledger_balance set day = day - $1::integer", AGO)


async def summed(books: Books) -> None:
    """Store the totals of today."""
    async with books.database.transaction() as tx:
        day = await schema.today(tx)
        totals: dict[turnover.Key, list[int]] = {}
        for partition in range(PARTITIONS):
            for key, numbers in await turnover.totals_of_partition(tx, day, partition):
                totals[key] = [a + b for a, b in zip(totals.get(key, [0, 0, 0]), numbers, strict=True)]
        await turnover.store(tx, day, list(totals.items()))
        await turnover.store_day(tx, day)


def month_of(days_ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days_ago)).strftime("%Y-%m")


async def closes(
    house: Running, days_ago: int, role: str = "analyst", ident: str = "ann", **query: Any
) -> dict[str, Any]:
    """Return the closes of a month by account, read one account a page."""
    ledger, found = await stub(house, role, ident), {}
    request = pb.ListMonthlyClosesRequest(month=month_of(days_ago), page_size=1, **query)
    while True:
        answer = await ledger.ListMonthlyCloses(request, timeout=SECONDS)
        for each in answer.closes:
            amounts = (
                each.opening_minor,
                each.debit_minor,
                each.credit_minor,
                each.closing_minor,
                each.outstanding_minor,
            )
            found[each.account] = (*amounts, pb.CloseState.Name(each.state).removeprefix("CLOSE_STATE_"))
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


async def test_a_month_is_owed_until_it_is_paid_and_later_charges_and_corrections_are_not_of_it(
    house: Running, kept: Books
) -> None:
    first = [State(mrn(number, number), charges=SOLD) for number in range(3)]
    await kept.take(*first, State(mrn(5, 5)), open_state(mrn(6, 6)))
    await aged(kept)
    old = {VENDOR: (0, 5_700, 0, 5_700, 5_700, "OVERDUE"), DEFERRED: (0, 2_200, 0, 2_200, 2_200, "OVERDUE")}
    assert await closes(house, AGO) == await closes(house, AGO, overdue=True) == old
    # A charge of this month, its correction, and a payment: the payment alone is for the oldest debt.
    new = State(mrn(9, 9), charges=SOLD)
    await kept.take(new)
    await kept.take(
        State(
            mrn(9, 9),
            2,
            charges=(Charge(1_000, **SALE),),
        )
    )
    officer = await stub(house)
    payments = [payment("b1", VENDOR, 2_000), payment("b2", DEFERRED, 2_200)]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p1", payments=payments), timeout=SECONDS)
    assert await closes(house, AGO) == {
        VENDOR: (0, 5_700, 0, 5_700, 3_700, "OVERDUE"), DEFERRED: (0, 2_200, 0, 2_200, 0, "PAID"),
    }  # fmt: skip
    assert list(await closes(house, AGO, overdue=True)) == [VENDOR]
    opening, debit, credit, closing, outstanding, state = (await closes(house, 0))[VENDOR]
    assert (opening, closing, outstanding, state) == (5_700, 4_700, 4_700, "OPEN")
    assert debit - credit == -1_000
    # A payment that the bank reverses is owed again; one above the debt leaves nothing open.
    again = [payment("b3", "", 2_000, "b1"), payment("b4", VENDOR, 50_000)]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p2", payments=again[:1]), timeout=SECONDS)
    assert (await closes(house, AGO, prefix="vendor:")) == {VENDOR: old[VENDOR]}
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p3", payments=again[1:]), timeout=SECONDS)
    assert (await closes(house, AGO, prefix="vendor:"))[VENDOR][4:] == (0, "PAID")


@pytest.mark.parametrize(
    ("postings", "outstanding"),
    [
        ([(20, TAX, -1_000), (10, TAX, 1_000)], 2_800),
        ([(20, TAX, 1_000), (10, TAX, -1_000)], 3_800),
        ([(20, TAX, 400), (10, TAX, -1_000), (5, TAX, 5_000)], 3_200),
        ([(20, TAX, -1_000), (15, TAX, 300), (10, TAX, -500), (5, 0, -300)], 2_300),
        ([(20, TAX, -1_000), (20, TAX + 1, 1_000), (5, 0, -300), (4, 0, 300)], 3_800),
        ([(20, 0, 2_000)], 3_800),
    ],
)
async def test_corrections_are_of_the_debt_before_them_and_not_of_later_charges(
    house: Running, kept: Books, postings: list[tuple[int, int, int]], outstanding: int
) -> None:
    await kept.take(State(mrn(1, 1), charges=SOLD), State(mrn(2, 2), charges=SOLD))
    await aged(kept)
    async with kept.database.transaction() as tx:
        for days_ago, kind, amount in postings:
            await tx.raw.execute(
                "insert into ledger_turnover (day, account, currency, destination, kind, consignments, debit, credit) "
                "select $1, account, 'EUR', '', $2, 0, $3, $4 from ledger_holding where name = $5",
                await schema.today(tx) - days_ago, kind, max(0, amount), max(0, -amount), VENDOR,
            )  # fmt: skip
    assert (await closes(house, AGO))[VENDOR][3:5] == (3_800, outstanding)


async def test_what_was_withdrawn_since_is_not_asked_for(house: Running, kept: Books) -> None:
    await kept.take(State(mrn(1, 1), charges=SOLD))
    await aged(kept)
    await kept.take(State(mrn(1, 1), 2, charges=SOLD, decided=False))
    assert await closes(house, AGO) == {VENDOR: (0, 1_900, 0, 1_900, 0, "PAID")}
    assert await closes(house, AGO + 62) == {}


async def test_a_filer_sees_the_closes_of_accounts_that_it_may_draw_on(house: Running, kept: Books) -> None:
    await kept.take(
        State(mrn(1, 1)), State(mrn(2, 2), debt_account="deferred:carrier-8"), State(mrn(3, 3), charges=SOLD)
    )
    assert list(await closes(house, 0, "carrier", "carrier-7")) == [DEFERRED]
    assert list(await closes(house, 0, "carrier", "carrier-7", prefix="vendor:")) == []
    assert sorted(await closes(house, 0)) == ["deferred:carrier-7", "deferred:carrier-8", VENDOR]
    treasury = await stub(house, "treasury", "DE")
    asked = pb.ListMonthlyClosesRequest(month=month_of(0))
    assert (await refused(treasury.ListMonthlyCloses(asked, timeout=SECONDS)))[0] == "ROLE_NOT_ALLOWED"
    ledger = await stub(house)
    wrong = pb.ListMonthlyClosesRequest(month="2026-13")
    assert (await refused(ledger.ListMonthlyCloses(wrong, timeout=SECONDS)))[0] == "MONTH_MALFORMED"


async def test_vendors_and_carriers_see_the_closes_of_the_accounts_that_list_or_name_them(
    house: Running, kept: Books
) -> None:
    collected = {**SALE, "collector": common_pb2.COLLECTOR_CARRIER}
    await kept.take(
        State(mrn(1, 1), charges=SOLD),
        State(mrn(2, 2), charges=(Charge(1_900, **{**SALE, "account": "vendor:IM4420000019"}),)),
        State(mrn(3, 3), charges=(Charge(1_900, **{**collected, "account": "carrier:carrier-7"}),)),
        State(mrn(4, 4), charges=(Charge(1_900, **{**collected, "account": "carrier:carrier-8"}),)),
    )
    officer = await stub(house)

    async def put(number: str, **change: Any) -> pb.AccountResult:
        request = pb.PutAccountsRequest(request_id=number, accounts=[pb.Account(name=VENDOR, **change)])
        return (await officer.PutAccounts(request, timeout=SECONDS)).results[0]

    assert list(await closes(house, 0, "filer", "shop")) == []
    for number, change in (("a1", {"limit_minor": 1}), ("a2", {"closed": True})):
        error = (await put(number, currency="EUR", **change)).error
        assert (error.reason, error.path) == ("ACCOUNT_SECURES_NOTHING", f"accounts[0].{next(iter(change))}")
    assert (await put("b1", currency="EUR", filers=["shop"])).account.filers == ["shop"]
    assert list(await closes(house, 0, "filer", "shop")) == [VENDOR]
    assert list(await closes(house, 0, "carrier", "carrier-7")) == ["carrier:carrier-7"]
    # One that is not listed has the answer of an account that does not exist.
    for ident, account, reason in (
        ("shop", VENDOR, ""),
        ("carrier-7", VENDOR, "ACCOUNT_NOT_YOURS"),
        ("carrier-7", "vendor:IM0000000000", "ACCOUNT_NOT_YOURS"),
        ("carrier-7", "carrier:carrier-7", ""),
        ("carrier-7", "carrier:carrier-8", "ACCOUNT_NOT_YOURS"),
    ):
        call = (await stub(house, "filer", ident)).GetStatement(
            pb.GetStatementRequest(account=account, month=month_of(0)), timeout=SECONDS
        )
        if reason:
            assert (await refused(call))[0] == reason
        else:
            assert (await call).closing_minor == 1_900
    await put("b2", drops_filers=["shop"])
    assert list(await closes(house, 0, "filer", "shop")) == []
    (listed,) = (await officer.ListAccounts(pb.ListAccountsRequest(), timeout=SECONDS)).accounts
    assert (listed.account.name, listed.used_minor, listed.currency) == (VENDOR, 1_900, "EUR")


async def test_a_carrier_sees_the_account_by_which_declarations_name_it_and_a_filer_of_the_same_id_does_not(
    house: Running, kept: Books
) -> None:
    # Declarations have carriers in capitals, and so have the accounts that are named by them.
    account = "carrier:FAST-7"
    charge = Charge(1_900, **{**SALE, "collector": common_pb2.COLLECTOR_CARRIER, "account": account})
    await kept.take(State(mrn(1, 1), charges=(charge,)))
    for role, ident, sees in (("carrier", "fast-7", True), ("carrier", "fast-8", False), ("filer", "fast-7", False)):
        own = await stub(house, role, ident)
        assert list(await closes(house, 0, role, ident)) == [account] * sees
        balances = (await own.ListBalances(pb.ListBalancesRequest(), timeout=SECONDS)).balances
        assert [each.account for each in balances] == [account] * sees
        statement = own.GetStatement(pb.GetStatementRequest(account=account, month=month_of(0)), timeout=SECONDS)
        if sees:
            assert (await statement).closing_minor == 1_900
        else:
            assert (await refused(statement))[0] == "ACCOUNT_NOT_YOURS"


async def test_payments_of_days_that_are_summed_count_as_those_that_are_not(house: Running, kept: Books) -> None:
    await kept.take(State(mrn(1, 1), charges=SOLD))
    await aged(kept)
    officer = await stub(house)
    payments = [payment("b1", VENDOR, 400)]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p1", payments=payments), timeout=SECONDS)
    before = await closes(house, AGO)
    await summed(kept)
    assert await closes(house, AGO) == before == {VENDOR: (0, 1_900, 0, 1_900, 1_500, "OVERDUE")}


async def test_pages_have_the_accounts_that_pay_by_the_month_alone(house: Running, kept: Books) -> None:
    # Buyers at the border, declarants and treasuries are many, and each would cost a part of a page.
    await kept.take(State(mrn(1, 1)), open_state(mrn(2, 2)), State(mrn(3, 3), charges=SOLD))
    ledger = await stub(house)
    for prefix, expected in {
        "": [DEFERRED, VENDOR], "d": [DEFERRED], "deferred:carrier-7": [DEFERRED], "deferred:carrier-8": [], "vendor": [VENDOR],
        "declarant:": [], "border:": [],
    }.items():  # fmt: skip
        request, pages = pb.ListMonthlyClosesRequest(month=month_of(0), prefix=prefix, page_size=1), []
        while not pages or request.page_token:
            answer = await ledger.ListMonthlyCloses(request, timeout=SECONDS)
            pages.append([each.account for each in answer.closes])
            request.page_token = answer.next_page_token
        assert pages == ([[each] for each in expected] or [[]]), prefix


async def test_a_reversed_payment_of_an_earlier_month_is_not_of_this_one(house: Running, kept: Books) -> None:
    officer = await stub(house)
    await kept.take(State(mrn(1, 1), charges=SOLD))
    paid = [payment("b1", VENDOR, 1_900)]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p1", payments=paid), timeout=SECONDS)
    await kept.take(State(mrn(2, 2), charges=SOLD))
    await aged(kept)
    undone = [payment("b2", "", 1_900, "b1")]
    await officer.RecordPayments(pb.RecordPaymentsRequest(request_id="p2", payments=undone), timeout=SECONDS)
    await summed(kept)
    async with kept.database.transaction() as tx:
        # The payment itself was posted in that month, as its balances say.
        await tx.raw.execute("update ledger_turnover set credit = 0 where kind = 0")
    assert await closes(house, AGO, prefix="vendor:") == {VENDOR: (0, 3_800, 1_900, 1_900, 1_900, "OVERDUE")}

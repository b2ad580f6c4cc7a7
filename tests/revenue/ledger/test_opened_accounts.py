"""Over real gRPC and PostgreSQL: whose payment pays what, and accounts that officers open, limit and close."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask

from luxor.revenue.v1 import ledger_pb2 as pb
from luxor.revenue.v1.ledger_pb2_grpc import LedgerServiceStub
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import SECONDS, open_state, stub
from tests.revenue.ledger.states import State, mrn
from tests.revenue.service_client import refused
from tests.support.services import Running

FIRST, LATER = mrn(1, 3), mrn(2, 7)


def received(ident: str, jurisdiction: str, reference: str) -> pb.Payment:
    return pb.Payment(id=ident, reference=reference, jurisdiction=jurisdiction, currency="EUR", amount_minor=2_200)


async def test_money_of_an_unknown_or_another_jurisdiction_settles_nothing(house: Running, kept: Books) -> None:
    await kept.take(open_state(FIRST))
    ledger = await stub(house)
    request = pb.RecordPaymentsRequest(
        request_id="p1",
        payments=[received("b1", "ZZ", FIRST), received("b2", "UK", FIRST), received("b3", "UK", LATER)],
    )
    answer = await ledger.RecordPayments(request, timeout=SECONDS)
    assert [(each.outcome, each.error.reason) for each in answer.results] == [
        (pb.PAYMENT_OUTCOME_REFUSED, "JURISDICTION_UNKNOWN"),
        (pb.PAYMENT_OUTCOME_UNMATCHED, "PAYMENT_JURISDICTION_DIFFERS"),
        (pb.PAYMENT_OUTCOME_UNMATCHED, ""),
    ]
    # Neither does it pay a debt that comes later, and the list tells why it is still there.
    await kept.take(open_state(LATER))
    listed = await ledger.ListPayments(pb.ListPaymentsRequest(unmatched=True), timeout=SECONDS)
    assert [(each.payment.id, each.result.error.reason) for each in listed.payments] == [
        ("b2", "PAYMENT_JURISDICTION_DIFFERS"), ("b3", "PAYMENT_JURISDICTION_DIFFERS"),
    ]  # fmt: skip
    own = pb.RecordPaymentsRequest(request_id="p2", payments=[received("b4", "EU", FIRST), received("b5", "EU", LATER)])
    settled = await ledger.RecordPayments(own, timeout=SECONDS)
    assert [each.outcome for each in settled.results] == [pb.PAYMENT_OUTCOME_MATCHED] * 2
    assert not await kept.unbalanced()


async def put(
    ledger: LedgerServiceStub, ident: str, *accounts: pb.Account, fields: Sequence[str] = ()
) -> list[pb.AccountResult]:
    mask = FieldMask(paths=fields) if fields else None
    request = pb.PutAccountsRequest(request_id=ident, accounts=accounts, update_mask=mask)
    return list((await ledger.PutAccounts(request, timeout=SECONDS)).results)


async def test_what_is_not_told_of_an_account_stays_and_its_currency_is_fixed(house: Running, kept: Books) -> None:
    ledger = await stub(house)
    name = "deferred:carrier-7"
    limited = pb.Account(name=name, currency="EUR", limit_minor=500_000, holder="Carrier", closed=False)
    (told,) = await put(ledger, "a1", limited)
    assert told.account == limited
    changes = (
        pb.Account(name=name, closed=True),
        pb.Account(name=name, holder="New"),
        pb.Account(name=name, limit_minor=7),
        pb.Account(name=name, filers=["broker-1", "broker-2"]),
    )
    for number, change in enumerate(changes):
        (told,) = await put(ledger, f"b{number}", change)
        limited.MergeFrom(change)
        assert told.account == limited
    many = pb.Account(name=name, adds_filers=[f"f{number}" for number in range(99)])
    (told,) = await put(ledger, "b7", many)
    assert (told.error.reason, told.error.path) == ("ACCOUNT_FILERS_TOO_MANY", "accounts[0].adds_filers")
    (told,) = await put(ledger, "b8", pb.Account(name=name, drops_filers=["broker-1"]))
    assert list(told.account.filers) == ["broker-2"]
    wrong = await put(
        ledger, "c1",
        pb.Account(name=name, currency="USD"), pb.Account(name="deferred:new"),
        pb.Account(name="guarantee:G", currency="EUR", filers=["a"], adds_filers=["b"]),
    )  # fmt: skip
    assert [each.error.reason for each in wrong] == [
        "ACCOUNT_CURRENCY_FIXED", "ACCOUNT_CURRENCY_MISSING", "ACCOUNT_FILERS_TOLD_TWOFOLD",
    ]  # fmt: skip
    (told,) = await put(ledger, "c2", pb.Account(name=name), fields=["limit_minor"])
    assert not told.account.HasField("limit_minor")
    (told,) = await put(ledger, "c3", pb.Account(name=name, currency="USD"))
    assert told.account.currency == "USD"
    await put(ledger, "c4", pb.Account(name=name, currency="EUR"))
    await kept.take(State(FIRST))
    (told,) = await put(ledger, "c5", pb.Account(name=name, currency="USD"))
    assert told.error.reason == "ACCOUNT_CURRENCY_FIXED"


async def test_a_mask_changes_the_fields_that_it_names_and_no_others(house: Running) -> None:
    ledger = await stub(house)
    first = pb.Account(
        name="deferred:carrier-7", currency="EUR", limit_minor=500, closed=True, holder="H", filers=["a"]
    )
    second = pb.Account(name="deferred:carrier-8", currency="CHF", limit_minor=7, closed=True, holder="G", filers=["b"])
    assert [each.account for each in await put(ledger, "a1", first, second)] == [first, second]
    empty = [pb.Account(name=each.name) for each in (first, second)]
    # Without a mask nothing has a value, so nothing changes; neither does what the mask does not name.
    assert [each.account for each in await put(ledger, "a2", *empty)] == [first, second]
    other = pb.Account(name=first.name, currency="USD", limit_minor=9, holder="New", filers=["z"])
    (told,) = await put(ledger, "a3", other, fields=["holder"])
    first.holder = "New"
    assert told.account == first
    for number, field in enumerate(("closed", "holder", "filers", "limit_minor")):
        results = await put(ledger, f"b{number}", *empty, fields=[field])
        first.ClearField(field)  # type: ignore[arg-type]
        second.ClearField(field)  # type: ignore[arg-type]
        assert [each.account for each in results] == [first, second], field
    (told,) = await put(ledger, "c1", other, fields=["holder", "limit_minor"])
    first.limit_minor, first.holder = 9, "New"
    assert told.account == first
    (told,) = await put(ledger, "c2", pb.Account(name=first.name), fields=["currency"])
    assert (told.error.reason, told.error.path) == ("ACCOUNT_CURRENCY_MISSING", "accounts[0].currency")
    whole = pb.Account(name=second.name, currency="EUR", holder="Whole")
    (told,) = await put(ledger, "c3", whole, fields=["*"])
    assert told.account == whole
    (told,) = await put(ledger, "c4", pb.Account(name=second.name, adds_filers=["d"]), fields=["holder"])
    assert told.account == pb.Account(name=second.name, currency="EUR", filers=["d"])


async def test_a_mask_with_a_path_that_is_no_field_is_refused_whole(house: Running) -> None:
    ledger = await stub(house)
    account = pb.Account(name="deferred:carrier-7", currency="EUR")
    for path in ("name", "limit", "limit_minor.value", "adds_filers", "no_limit", ""):
        mask = FieldMask(paths=["currency", path])
        request = pb.PutAccountsRequest(request_id="m1", accounts=[account], update_mask=mask)
        reason, sentence = await refused(ledger.PutAccounts(request, timeout=SECONDS))
        assert reason == "UPDATE_MASK_PATH_UNKNOWN"
        assert sentence.startswith(f'update_mask names "{path}", which is not a field that can be changed.')
        assert not (await ledger.ListAccounts(pb.ListAccountsRequest(), timeout=SECONDS)).accounts


async def test_opened_accounts_open_consignments_and_the_only_currency_are_told(house: Running, kept: Books) -> None:
    ledger = await stub(house)
    await put(
        ledger, "a1", pb.Account(name="deferred:carrier-7", currency="EUR", limit_minor=5_000),
        pb.Account(name="guarantee:G", currency="CHF", holder="G", closed=True),
    )  # fmt: skip
    await kept.take(State(FIRST), open_state(LATER), open_state(mrn(3, 9), currency="CHF"))
    found, token = [], ""
    while True:
        page = await ledger.ListAccounts(pb.ListAccountsRequest(page_size=1, page_token=token), timeout=SECONDS)
        found += [(each.account.name, each.account.closed, each.used_minor, each.currency) for each in page.accounts]
        token = page.next_page_token
        if not token:
            break
    assert found == [("deferred:carrier-7", False, 2_200, "EUR"), ("guarantee:G", True, 0, "CHF")]
    opened, token = [], ""
    while True:
        asked = pb.ListOpenItemsRequest(account="declarant:DE1234567890", page_size=1, page_token=token)
        answer = await ledger.ListOpenItems(asked, timeout=SECONDS)
        opened += [(each.mrn, each.currency, each.amount_minor) for each in answer.open_items]
        token = answer.next_page_token
        if not token:
            break
    assert opened == [(mrn(3, 9), "CHF", 2_200), (LATER, "EUR", 2_200)]
    month = datetime.now(UTC).strftime("%Y-%m")
    only = pb.GetStatementRequest(account="deferred:carrier-7", month=month)
    assert (await ledger.GetStatement(only, timeout=SECONDS)).currency == "EUR"
    several = pb.GetStatementRequest(account="declarant:DE1234567890", month=month)
    assert (await refused(ledger.GetStatement(several, timeout=SECONDS)))[0] == "ACCOUNT_CURRENCIES_SEVERAL"


async def test_a_field_that_the_mask_does_not_name_changes_and_refuses_nothing(house: Running, kept: Books) -> None:
    ledger, name = await stub(house), "deferred:carrier-8"
    (opened,) = await put(ledger, "m1", pb.Account(name=name, currency="EUR", holder="Old", filers=["a", "b"]))
    echoed = pb.Account(
        name=name, currency="???", holder="New", filers=["a", "b", "b"], drops_filers=["a"], closed=True
    )
    (changed,) = await put(ledger, "m2", echoed, fields=["holder"])
    assert not changed.HasField("error"), changed.error
    expected = pb.Account()
    expected.CopyFrom(opened.account)
    expected.holder = "New"
    del expected.filers[0]
    assert changed.account == expected
    for number, (field, reason) in enumerate(
        {
            "currency": "LEDGER_CURRENCY_UNKNOWN",
            "filers": "ACCOUNT_FILERS_TOLD_TWOFOLD",
        }.items()
    ):
        (refused_account,) = await put(ledger, f"m3{number}", echoed, fields=[field])
        assert refused_account.error.reason == reason

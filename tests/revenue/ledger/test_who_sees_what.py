"""Who may call revenue, and what a filer and a carrier see of sales and accounts of others: never less of what nobody has.

The expectations are those of docs/operating/secure.md, docs/sales.md and docs/revenue/ledger.md. Each RPC of the contract has a line; a new one fails
here until it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import grpc.aio
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import luxor.revenue.v1
from libs.server import errors
from luxor.revenue.v1 import ledger_pb2 as ledger
from luxor.revenue.v1 import sales_pb2 as sales
from tests.revenue.ledger.books import Books
from tests.revenue.ledger.service_client import SECONDS, stub
from tests.revenue.ledger.states import State, mrn
from tests.revenue.sales import file, outcomes, sale, sales_stub
from tests.support.every_rpc import call, methods_of, name_of
from tests.support.services import Running

ROLES: Final = ("filer", "carrier", "agency", "gateway", "officer", "analyst", "operator", "treasury", "service")
LAW: Final = {"filer", "carrier", "gateway", "officer", "analyst", "operator"}
TRYING: Final = {"officer", "analyst"}
LOOKING: Final = {"officer", "analyst", "operator"}
ALLOWED: Final[dict[str, set[str]]] = {
    "RevenueService/AssessConsignments": {"service"},
    "RevenueService/QuoteConsignments": LAW | {"service"},
    "RevenueService/ListRulebooks": LAW,
    "SaleService/FileSales": {"filer"},
    "SaleService/ListSales": {"filer", "officer"},
    "SchemeService/RegisterSchemeNumbers": {"officer", "operator"},
    "SchemeService/ListSchemeNumbers": LOOKING | {"service"},
    "LawService/ProposeLaw": {"analyst", "operator"},
    "LawService/ReviewLaw": TRYING,
    "LawService/ConfirmLaw": TRYING,
    "LawService/CancelLaw": TRYING,
    "LawService/RunLawCases": LOOKING,
    "LawService/ListLawVersions": LOOKING,
    "LawService/GetLawVersion": LOOKING,
    "LawService/RecomputeAssessments": TRYING,
    "WhatIfService/CheckRulebook": LOOKING,
    "WhatIfService/StartWhatIf": TRYING,
    "WhatIfService/GetWhatIf": TRYING,
    "JournalService/ListJournal": LOOKING,
    "WhatIfService/GetDraft": TRYING,
    "LedgerService/PutAccounts": {"officer"},
    "LedgerService/ListAccounts": LOOKING,
    "LedgerService/ListOpenItems": LOOKING,
    "LedgerService/ListBalances": LOOKING | {"filer", "carrier", "treasury"},
    "LedgerService/ListEntries": LOOKING,
    "LedgerService/GetStatement": LOOKING | {"filer", "carrier", "treasury"},
    "LedgerService/ListMonthlyCloses": LOOKING | {"filer", "carrier"},
    "LedgerService/RecordPayments": {"officer"},
    "LedgerService/ListPayments": LOOKING,
    "LedgerService/RecordPayouts": {"officer"},
    "LedgerService/ListPayouts": LOOKING,
    "LedgerService/ReconcileDay": LOOKING,
    "LedgerService/CheckChain": LOOKING,
    "LedgerService/GetProof": LOOKING,
    "LedgerService/ProveLedger": LOOKING,
}
"""By RPC, the roles that may call it."""


async def test_each_rpc_is_open_to_the_roles_of_the_documents_alone(house: Running) -> None:
    channels = {role: await house.channel(role, "DE" if role == "treasury" else "someone") for role in ROLES}
    opened: dict[str, set[str]] = {}
    for method in methods_of(luxor.revenue.v1):
        request = GetMessageClass(method.input_type)()
        answers = {role: await call(channels[role], method, request) for role in ROLES}
        opened[name_of(method)] = {role for role, answer in answers.items() if answer != "ROLE_NOT_ALLOWED"}
    assert opened == ALLOWED


@pytest.mark.parametrize("role", ["filer", "carrier"])
async def test_accounts_of_others_are_as_accounts_that_nobody_has(house: Running, kept: Books, role: str) -> None:
    month = datetime.now(UTC).strftime("%Y-%m")
    own, other, none = "deferred:wings", "deferred:rails", "deferred:nobody"
    await kept.take(*(State(mrn(each, each), debt_account=name) for each, name in enumerate((own, other))))
    caller = await stub(house, role, "wings")
    requests: list[tuple[str, Callable[[str], Message]]] = [
        ("ListBalances", lambda name: ledger.ListBalancesRequest(prefix=name)),
        ("ListMonthlyCloses", lambda name: ledger.ListMonthlyClosesRequest(prefix=name, month=month)),
        ("GetStatement", lambda name: ledger.GetStatementRequest(account=name, currency="EUR", month=month)),
    ]
    for name, request in requests:
        answers = []
        for account in (own, other, none):
            try:
                answers.append(str(await getattr(caller, name)(request(account), timeout=SECONDS)))
            except grpc.aio.AioRpcError as error:
                answers.append(f"{errors.reason_of(error)} {error.details()}".replace(account, "ACCOUNT"))
        assert "_minor: 2200" in answers[0], name
        assert answers[1] == answers[2], name
        assert answers[2] == "" or answers[2].startswith("ACCOUNT_NOT_YOURS"), name


async def test_sales_of_others_are_as_sales_that_nobody_filed(house: Running) -> None:
    shop, zenith = await sales_stub(house), await sales_stub(house, ident="zenith")
    assert outcomes(await file(shop, [sale("1")], "r1")) == [1]
    for platform in ("shop", "nobody"):
        request = sales.ListSalesRequest(platform=platform, order_numbers=["1"])
        assert await zenith.ListSales(request, timeout=SECONDS) == sales.ListSalesResponse()
    assert not (await zenith.ListSales(sales.ListSalesRequest(), timeout=SECONDS)).sales
    (change,) = await file(zenith, [sale("1", 6_000, replaces=1)], "r2")
    (nothing,) = await file(zenith, [sale("2", 6_000, replaces=1)], "r3")
    assert change.error.reason == nothing.error.reason == "AMENDED_SALE_UNKNOWN"
    assert str(change) == str(nothing).replace("number 2", "number 1").replace('"2"', '"1"')
    assert outcomes(await file(zenith, [sale("1", 6_000, platform="shop")], "r4")) == ["PLATFORM_NOT_OWN"]
    # The same number is free for another platform, and its sale another one.
    assert outcomes(await file(zenith, [sale("1", 6_000)], "r5")) == [1]
    (listed,) = (await shop.ListSales(sales.ListSalesRequest(), timeout=SECONDS)).sales
    assert listed.receipt.landed_cost.price_minor == 5_000


async def test_a_house_document_of_another_platform_is_as_one_that_nobody_named(house: Running) -> None:
    shop, zenith = await sales_stub(house), await sales_stub(house, ident="zenith")
    named, free = [("ZPOST", "RR123456785TR")], [("ZPOST", "RR473124829GB")]
    assert outcomes(await file(shop, [sale("1", documents=named)], "r1")) == [1]
    # Both are accepted, so no answer says that another platform has the first.
    assert outcomes(await file(zenith, [sale("7", documents=named), sale("8", documents=free)], "r2")) == [1, 1]
    (listed,) = (await shop.ListSales(sales.ListSalesRequest(), timeout=SECONDS)).sales
    assert [each.number for each in listed.sale.house_documents] == ["RR123456785TR"]
    for platform in ("shop", "nobody"):
        request = sales.ListSalesRequest(platform=platform)
        assert await zenith.ListSales(request, timeout=SECONDS) == sales.ListSalesResponse()

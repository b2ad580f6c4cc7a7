"""Names of accounts, and which accounts a charge concerns: the tables of docs/revenue/ledger.md, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.customs.partitions import partition_of
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger import account
from services.revenue.ledger.account import (
    AccountFacts,
    ChargeAccounts,
    account_name_error,
    accounts_of_charge,
    kind_of,
    partition_of_mrn,
)
from tests.revenue.ledger.states import mrn

DEFERRED, SECURED, OPEN = (
    common_pb2.DEBT_STATUS_DEFERRED,
    common_pb2.DEBT_STATUS_SECURED,
    common_pb2.DEBT_STATUS_OPEN,
)
FACTS = AccountFacts("", common_pb2.COLLECTOR_CUSTOMS, common_pb2.DEBTOR_DECLARANT, "DE", "D", "P", "", OPEN)


@pytest.mark.parametrize(
    "prefix", ["treasury", "deferred", "vendor", "carrier", "declarant", "guarantee", "border", "bank", "unmatched"]
)
def test_each_kind_of_account_has_its_number_where_an_id_follows(prefix: str) -> None:
    assert kind_of(f"{prefix}:x") == pb.AccountKind.Value(f"ACCOUNT_KIND_{prefix.upper()}")
    assert kind_of(f"{prefix}:") == kind_of(prefix) == 0


def test_a_name_of_no_known_kind_has_no_number() -> None:
    assert kind_of("purse:x") == 0
    assert account.prefix_of("treasury:DE:tax") == "treasury"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("vendor:a b", ""),
        ("vendor:" + "x" * 73, ""),
        ("vendor:" + "x" * 74, "has 81 characters; at most 80 are taken"),
        ("purse:a", "must begin with one of treasury:, "),
        ("vendor", "must have an id"),
        ("vendor:", "must have an id"),
        ("vendor: a", "must have an id"),
        ("vendor:a ", "must have an id"),
        ("vendor:a\x00b", "must have an id"),
    ],
)
def test_a_name_is_a_known_kind_and_a_printable_id_of_80_characters_in_all_at_most(name: str, why: str) -> None:
    found = account_name_error(name)
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_name_is_of_one_of_the_kinds_that_are_asked_for() -> None:
    assert account_name_error("deferred:x", account.OPENED) == account_name_error("guarantee:x", account.OPENED) == ""
    assert account_name_error("vendor:x", account.OPENED) == "must begin with one of deferred:, guarantee:"


def test_payments_and_payouts_name_all_accounts_but_those_of_money_received() -> None:
    payable = {"vendor", "carrier", "declarant", "border", "deferred", "guarantee"}
    assert set(account.PAYABLE) == payable
    assert set(account.PAYEES) == payable | {"treasury"}
    assert set(account.AT_ONCE) == {"declarant", "border"}
    assert account.FILERS_MAX == 100


def test_a_treasury_has_an_account_for_each_kind_of_charge() -> None:
    kinds = (common_pb2.CHARGE_KIND_DUTY, common_pb2.CHARGE_KIND_TAX, common_pb2.CHARGE_KIND_FEE)
    assert [account.treasury("DE", kind) for kind in kinds] == [
        "treasury:DE:duty", "treasury:DE:tax", "treasury:DE:fee",
    ]  # fmt: skip
    assert account.treasury_of("treasury:DE:tax") == "DE"
    assert account.treasury_of("vendor:DE:tax") == ""
    assert (account.bank("EU"), account.unmatched("EU")) == ("bank:EU", "unmatched:EU")


def test_an_mrn_of_luxor_names_its_partition() -> None:
    assert [partition_of_mrn(mrn(1, partition)) for partition in (0, 1, 63)] == [0, 1, 63]
    assert partition_of_mrn("26DE00") == 0
    assert partition_of_mrn("26DE63") == 63


@pytest.mark.parametrize(
    "foreign", ["", "26DE", "26DE64X", "26DE99X", "26DEA1X", "26DE1AX", "26DE²³X", "26DE٠٣X", "26DE-1"]
)
def test_the_partition_of_any_other_mrn_follows_from_its_text(foreign: str) -> None:
    assert partition_of_mrn(foreign) == partition_of("", foreign)


def test_payments_of_an_account_stand_in_the_partition_of_its_name() -> None:
    assert account.partition_of_account("vendor:x") == partition_of("", "vendor:x")


@pytest.mark.parametrize(
    ("change", "debtor", "account"),
    [
        # Vendors and carriers owe what they collect, whatever else is known.
        ({"account": "vendor:V", "debt_account": "deferred:c", "debt_status": DEFERRED}, "vendor:V", "vendor:V"),
        ({"account": "carrier:C", "debtor": common_pb2.DEBTOR_CONSIGNEE}, "carrier:C", "carrier:C"),
        ({"collector": common_pb2.COLLECTOR_VENDOR}, "vendor:P", "vendor:P"),
        ({"collector": common_pb2.COLLECTOR_VENDOR, "platform": ""}, "vendor:unnamed", "vendor:unnamed"),
        ({"collector": common_pb2.COLLECTOR_CARRIER}, "carrier:D", "carrier:D"),
        ({"collector": common_pb2.COLLECTOR_POSTAL_OPERATOR}, "carrier:D", "carrier:D"),
        ({"collector": common_pb2.COLLECTOR_CARRIER, "declarant": ""}, "carrier:unnamed", "carrier:unnamed"),
        # All else is owed by the declarant, or by the buyer.
        ({}, "declarant:D", "declarant:D"),
        ({"debtor": common_pb2.DEBTOR_CONSIGNEE}, "border:DE", "border:DE"),
        ({"declarant": ""}, "border:DE", "border:DE"),
        ({"debtor": common_pb2.DEBTOR_CONSIGNEE, "destination": ""}, "border:unnamed", "border:unnamed"),
        # What the charge names comes before its collector and debtor.
        ({"account": "border:FR", "collector": common_pb2.COLLECTOR_VENDOR}, "border:FR", "border:FR"),
        ({"account": "declarant:E", "debtor": common_pb2.DEBTOR_CONSIGNEE}, "declarant:E", "declarant:E"),
        ({"account": "deferred:c", "collector": common_pb2.COLLECTOR_VENDOR}, "declarant:D", "declarant:D"),
        ({"account": "deferred:c", "collector": common_pb2.COLLECTOR_CARRIER}, "declarant:D", "declarant:D"),
        # An account stands for it only while the debt is deferred or secured.
        ({"account": "deferred:c", "debt_status": DEFERRED}, "declarant:D", "deferred:c"),
        ({"account": "deferred:c", "debt_status": SECURED}, "declarant:D", "deferred:c"),
        ({"account": "deferred:c", "debt_account": "guarantee:g", "debt_status": SECURED}, "declarant:D", "deferred:c"),
        ({"debt_account": "guarantee:g", "debt_status": SECURED}, "declarant:D", "guarantee:g"),
        ({"debt_account": "guarantee:g", "debt_status": OPEN}, "declarant:D", "declarant:D"),
        ({"account": "border:FR", "debt_account": "deferred:c", "debt_status": DEFERRED}, "border:FR", "deferred:c"),
        ({"debt_account": "vendor:V", "debt_status": DEFERRED}, "declarant:D", "declarant:D"),
        ({"debt_status": DEFERRED}, "declarant:D", "declarant:D"),
    ],
)
def test_who_owes_a_charge_and_who_stands_for_it(change: dict[str, object], debtor: str, account: str) -> None:
    assert accounts_of_charge(replace(FACTS, **change)) == ChargeAccounts(debtor, account)  # type: ignore[arg-type]  # fields by name

"""On whose account each charge stands: the number it is collected under, else who is named, by collector and debtor."""

from collections.abc import Callable
from datetime import date
from functools import cache

import pytest

from libs.columns import Ints, Strings, Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.consignment.v1 import consignment_columns_pb2, consignment_pb2
from services.revenue.law.assess.assessment import assess
from services.revenue.law.assess.securities import EVERYONE, NOBODY, Opened, Securities
from services.revenue.law.batch.filings import filings_of
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.text.assessment_columns import answer_of
from tests.revenue.law.batches import message_of
from tests.revenue.law.lawbooks import LIMITED, RATES
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.refusals import changed

START, DAY = date(2020, 1, 1), date(2022, 5, 5)
Change = Callable[[consignment_pb2.Consignment], None]


def fee(name: str, collector: str, debtor: str, scheme: str, amount: str = "1.00 EUR") -> dict[str, object]:
    plain = {"from": START, "scheme": "none", "collector": "customs", "debtor": "declarant", "reference": "act"}
    ways = [plain | {"scheme": scheme, "collector": collector, "debtor": debtor}] if scheme != "none" else []
    ways.append(plain if ways else plain | {"collector": collector, "debtor": debtor})
    rates = [{"from": START, "rate": f"{amount} per item", "reference": "act"}]
    return {"id": name, "kind": "fee", "name": name, "from": START, "rates": rates, "collection": ways}


@cache
def law(*charges: tuple[str, str, str, str, str]) -> Program:
    book = changed(LIMITED, {
        "limits": {}, "reliefs": {}, "refunds": [],
        "schemes": {"voec": {"number": r"\d{7}", "name": "VOEC", "reference": "act"},
                    "ioss": {"number": r"IM\d{10}(-.*)?", "name": "IOSS", "reference": "act"}},
        "charges": [fee(*each) for each in charges],
    })  # fmt: skip
    return compile_program(
        [read_rulebook("xx/rulebook.yaml", book)], [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    )


def answer(
    program: Program,
    filed: Consignment,
    change: Change | None = None,
    declarant: str = "importer",
    securities: Securities = NOBODY,
) -> tuple[list[str], str]:
    """The accounts of the charges, and the one that secures the consignment."""
    message = message_of(filed)
    if change:
        change(message)
    table = Table.from_messages([message], consignment_columns_pb2.ConsignmentColumns, consignment_pb2.Consignment)
    accepted = Ints.of([day_of_date(filed.accepted) * MICROS_PER_DAY])
    told = answer_of(
        assess(program, filings_of(table, accepted)), Strings.of([declarant]), Strings.of(["filer-1"]), securities
    )
    return told.child("charges").strings("account").tolist(), told.strings("deferred_account")[0] or ""


def platform(message: consignment_pb2.Consignment) -> None:
    message.order.platform = "shop.example"


def carrier(message: consignment_pb2.Consignment) -> None:
    message.carrier_identifier = "DE7654321"


def parcel(*schemes: tuple[str, str]) -> Consignment:
    return Consignment("XA", DAY, [Item(1_000, code="61")], schemes=list(schemes))


IOSS, VOEC = ("ioss", "IM2760000014"), ("voec", "1234567")


@pytest.mark.parametrize(
    ("charge", "schemes", "change", "account", "secures"),
    [
        (("customs", "declarant", "none"), [], None, "declarant:importer", ""),
        (("customs", "carrier", "none"), [], None, "declarant:importer", ""),
        (("customs", "consignee", "none"), [], None, "border:XA", ""),
        (("vendor", "vendor", "ioss"), [IOSS], None, "vendor:IM2760000014", ""),
        # What a platform appends to the number is no part of it; the first number that is well written counts.
        (("vendor", "vendor", "ioss"), [("ioss", "IM2760000014-DE1")], None, "vendor:IM2760000014", ""),
        (("vendor", "vendor", "ioss"), [("ioss", "IM1"), IOSS, ("ioss", "IM2500000017")], None, "vendor:IM2760000014", ""),
        (("vendor", "vendor", "ioss"), [VOEC, IOSS], None, "vendor:IM2760000014", ""),
        # At the border a vendor that collects is the platform.
        (("vendor", "vendor", "none"), [], platform, "vendor:shop.example", ""),
        (("vendor", "vendor", "none"), [IOSS], platform, "vendor:shop.example", ""),
        (("vendor", "vendor", "none"), [], None, "vendor:unnamed", ""),
        # A carrier owes what it collects.
        (("carrier", "consignee", "none"), [], carrier, "carrier:DE7654321", "carrier:DE7654321"),
        (("carrier", "consignee", "none"), [], None, "carrier:filer-1", "carrier:filer-1"),
        (("postal_operator", "consignee", "voec"), [VOEC], carrier, "carrier:1234567", "carrier:1234567"),
        (("carrier", "consignee", "voec"), [], carrier, "declarant:importer", ""),
    ],
)  # fmt: skip
def test_a_charge_stands_on_the_account_of_who_collects_or_owes_it(
    charge: tuple[str, str, str], schemes: list[tuple[str, str]], change: Change | None, account: str, secures: str
) -> None:
    assert answer(law(("fee", *charge, "1.00 EUR")), parcel(*schemes), change) == ([account], secures)


def test_the_filer_is_the_declarant_where_none_is_named() -> None:
    assert answer(law(("fee", "customs", "declarant", "none", "1.00 EUR")), parcel(), declarant="")[0] == [
        "declarant:filer-1"
    ]


def test_what_customs_collects_is_secured_before_what_a_carrier_does() -> None:
    both = law(("a", "customs", "consignee", "none", "1.00 EUR"), ("b", "carrier", "consignee", "none", "1.00 EUR"))
    assert answer(both, parcel(), carrier, securities=EVERYONE) == (
        ["deferred:importer", "carrier:DE7654321"],
        "deferred:importer",
    )
    assert answer(both, parcel(), carrier) == (["border:XA", "carrier:DE7654321"], "")
    opened = Securities(opened={"deferred:importer": Opened(frozenset({"filer-1"}))})
    assert answer(both, parcel(), carrier, securities=opened) == (
        ["deferred:importer", "carrier:DE7654321"],
        "deferred:importer",
    )


def test_a_carrier_that_collects_nothing_secures_nothing() -> None:
    assert answer(law(("fee", "carrier", "consignee", "none", "0.00 EUR")), parcel(), carrier) == (
        ["carrier:DE7654321"],
        "",
    )
    of_vendor = law(("a", "vendor", "vendor", "ioss", "1.00 EUR"))
    assert answer(of_vendor, parcel(IOSS), securities=EVERYONE) == (["vendor:IM2760000014"], "")


def test_law_may_charge_a_deemed_importer_with_what_others_owe_as_consignees() -> None:
    asked = {"declarant_role": ["deemed_importer"]}
    owed = {"from": START, "scheme": "none", "collector": "customs", "reference": "act"}
    duty = fee("duty", "customs", "consignee", "none") | {
        "collection": [owed | {"debtor": "declarant", "only": asked}, owed | {"debtor": "consignee"}]
    }
    book = changed(LIMITED, {"limits": {}, "reliefs": {}, "refunds": [], "schemes": {}, "charges": [duty]})
    program = compile_program(
        [read_rulebook("xx/rulebook.yaml", book)], [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    )
    for role, account in (("deemed_importer", "declarant:importer"), ("importer", "border:XA"), ("", "border:XA")):
        filed = Consignment("XA", DAY, [Item(1_000, "EUR", "61")], declarant_role=role)
        assert answer(program, filed)[0] == [account], role

"""The category of each consignment by the WCO's Immediate Release Guidelines, against their text and against a plain reading of the data.

The oracle of the first part is the text: the four categories of the Guidelines (version III) as the United Nations summarise them, and the code list
UN/EDIFACT 7085: 1 documents, not subject to duty, tax, restrictions and prohibitions; 2 duty and tax waived, below a value; 3 duty and tax payable,
below a certain amount; 4 above a certain amount.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from libs.release_law.law import Entry, ReleaseLaw, ReleaseLawError, included, read, read_all
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2
from services.clearance.release_category.determination import Unknown, categories_of
from tests.clearance.desk import filings

LAW = """
format: 1
jurisdiction: XX
name: Nowhere
version: "1"
currency: EUR
areas: [DE]
references: {act: {law: Act}}
data_sets:
  few: {elements: [consignor_name, items.description], reference: act}
  many: {elements: [consignor_name, items.description, items.origin_country, incoterm], reference: act}
categories:
  documents:
    - {from: 2026-01-01, only: {nature: [document]}, restricted: over, formality: {declaration: none}, data_set: few, reference: act}
  low_value:
    - {from: 2026-01-01, amount: 20.00 EUR, restricted: over, formality: {declaration: manifest}, reference: act}
  simplified:
    - {from: 2026-01-01, amount: 150.00 EUR, excluded: ["24"], restricted: over, formality: {declaration: simplified}, data_set: many, reference: act}
  full:
    - {from: 2026-01-01, formality: {declaration: full}, reference: act}
"""
DOCUMENTS, LOW, SIMPLIFIED, FULL = 1, 2, 3, 4
ON = date(2026, 6, 1)


class Case:
    """One consignment and what risk and revenue say of it."""

    def __init__(
        self,
        value: int | None = 1_000,
        due: int = 0,
        *,
        price: int | None = -1,
        code: str = "620630",
        nature: str = "SALE",
        country: str = "DE",
        on: date = ON,
        controlled: bool = False,
        confidential: bool = False,
        currency: str = "EUR",
        customs: int | None = None,
        service: str = "EXPRESS",
        dispatch: str = "CN",
        ioss: bool = False,
    ) -> None:
        self.value, self.due, self.code, self.nature, self.country = value, due, code, nature, country
        self.price = value if price == -1 else price
        self.on, self.controlled, self.confidential, self.currency = on, controlled, confidential, currency
        self.customs = value if customs is None else customs
        self.service, self.dispatch, self.ioss = service, dispatch, ioss


def tables(cases: list[Case]) -> tuple[Table, dict[str, Any]]:
    """Return filings and the columns of their states that come from risk and revenue."""

    def filed(number: int, row: consignment_pb2.Consignment) -> None:
        case = cases[number]
        row.nature = consignment_pb2.Nature.Value(f"NATURE_{case.nature}")
        row.transport.service = consignment_pb2.TransportService.Value(f"TRANSPORT_SERVICE_{case.service}")
        row.destination_country, row.dispatch_country = case.country, case.dispatch
        row.ClearField("direct_shipment_place")
        row.ClearField("fiscal_references")
        if case.ioss:
            row.fiscal_references.add(scheme=consignment_pb2.SCHEME_IOSS, number="IM2760000017")
        del row.items[1:]
        row.items[0].commodity_code = case.code
        row.items[0].ClearField("price")
        if case.nature == "DOCUMENT":  # without what goods and sales have
            for name in ("gtin", "merchant_product_id", "manufacturer_product_id"):
                row.items[0].ClearField(name)
            row.ClearField("order")
            row.ClearField("payment")
        if case.price is not None:
            row.items[0].price.minor, row.items[0].price.currency = case.price, "EUR"

    table = filings([f"GREEN-{number}" for number in range(len(cases))], change=filed)
    days = [(case.on - date(1970, 1, 1)).days for case in cases]
    table = table.with_columns({"accepted_at": Ints.of([day * 86_400_000_000 for day in days])})
    valued = [case.value is not None for case in cases]
    controls = [case for case in cases if case.controlled]
    findings = Table(
        schema_of(ClearanceColumns).children["findings"],
        len(controls),
        {
            "kind": Ints.constant(common_pb2.FINDING_KIND_GOODS_CONTROL, len(controls)),
            "confidential": Bools.of([case.confidential for case in controls]),
        },
    )
    return table, {
        "findings": Ragged.of_lengths([int(case.controlled) for case in cases], findings),
        "revenue_currency": Strings.of([case.currency if case.value is not None else "" for case in cases]),
        "intrinsic_value_minor": Ints.of([case.value or 0 for case in cases], valued),
        "customs_value_minor": Ints.of([case.customs or 0 for case in cases], valued),
        "duty_minor": Ints.of([0] * len(cases), valued),
        "tax_minor": Ints.of([case.due for case in cases], valued),
    }


def found(*cases: Case, law: ReleaseLaw | None = None) -> list[int | str]:
    """Return the category of each case, or why it is not known."""
    categories = categories_of(*tables(list(cases)), law or included())
    return [
        int(number) or Unknown(why).name for number, why in zip(categories.category, categories.unknown, strict=True)
    ]


def nowhere(text: str = LAW) -> ReleaseLaw:
    return read_all({"xx.yaml": text})


@pytest.mark.parametrize(
    ("case", "category"),
    [
        # 1: documents of no commercial value. With a value they are goods; without the nature they are goods of no value.
        (Case(None, price=None, nature="DOCUMENT", code=""), DOCUMENTS),
        (Case(0, price=0, nature="DOCUMENT", code=""), DOCUMENTS),
        (Case(0, price=0, nature="DOCUMENT", code="490199"), DOCUMENTS),
        (Case(None, price=None, nature="DOCUMENT", code="490199"), DOCUMENTS),
        # The code of other goods says that they are goods, whatever price is stated.
        (Case(0, price=0, nature="DOCUMENT"), LOW),
        (Case(0, price=0, nature="DOCUMENT", ioss=True, code=""), LOW),
        (Case(1, price=1, nature="DOCUMENT"), LOW),
        (Case(0, price=0), LOW),
        # and not subject to restrictions.
        (Case(0, price=0, nature="DOCUMENT", code="490199", controlled=True), FULL),
        # 2: duty and tax are waived, below a value.
        (Case(2_000, 0), LOW),
        (Case(2_001, 0), SIMPLIFIED),
        # 3: duty and tax are payable, below a certain amount; also of what is worth little.
        (Case(100, 1), SIMPLIFIED),
        (Case(15_000, 1), SIMPLIFIED),
        (Case(15_001, 1), FULL),
        # 4: above that amount, whether or not duty and tax are due.
        (Case(15_001, 0), FULL),
        (Case(10**12, 10**11), FULL),
        # Goods of which the data say that they are in no simplified category.
        (Case(100, 1, code="240220"), FULL),
        (Case(100, 0, code="240220"), LOW),
        (Case(100, 1, controlled=True), FULL),
    ],
)
def test_the_four_categories_are_those_of_the_text(case: Case, category: int) -> None:
    assert found(case, law=nowhere()) == [category]


def test_a_confidential_control_of_goods_does_not_show_in_the_category() -> None:
    assert found(Case(100, 1, controlled=True, confidential=True), law=nowhere()) == [SIMPLIFIED]


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case(100, 1, country="JP"), "NO_LAW"),
        (Case(0, price=0, nature="DOCUMENT", country="JP"), "NO_LAW"),
        (Case(100, 1, on=date(2025, 12, 31)), "NO_LAW"),
        (Case(None), "NOT_VALUED"),
        # A code of goods (chapter 85, telephones) contradicts the nature, and no price says that they are worth nothing.
        (Case(None, price=None, nature="DOCUMENT", code="851713"), "NOT_VALUED"),
        (Case(100, 1, currency="USD"), "CURRENCY"),
    ],
)
def test_what_is_not_known_has_no_category_and_says_why(case: Case, reason: str) -> None:
    assert found(case, law=nowhere()) == [reason]


@pytest.mark.parametrize("price", [None, 0])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gtin", "4006381333931"), ("imeis", ["490154203237518"]), ("cas_number", "50-00-0"), ("un_number", "1266"),
        ("merchant_product_id", "M-1"), ("manufacturer_product_id", "F-1"),
    ],
)  # fmt: skip
def test_what_has_an_identifier_of_goods_is_no_document_without_value_whatever_its_price(
    price: int | None, name: str, value: str | list[str]
) -> None:
    table, states = tables([Case(None, price=price, nature="DOCUMENT", code="")])
    column = Strings.of([value]) if isinstance(value, str) else Ragged.of_lengths([1], Strings.of(value))
    goods = Ragged.of_lengths([1], table.child("items").with_columns({name: column}))
    assert categories_of(table, states, nowhere()).category.tolist() == [DOCUMENTS]
    found = categories_of(table.with_columns({"items": goods}), states, nowhere())
    assert [Unknown(each).name for each in found.unknown] == ["NOT_VALUED"]


@pytest.mark.parametrize("name", ["order_platform", "order_number", "payment_reference"])
def test_documents_that_were_ordered_are_goods(name: str) -> None:
    table, states = tables([Case(None, price=None, nature="DOCUMENT", code="")])
    found = categories_of(table.with_columns({name: Strings.of(["X-1"])}), states, nowhere())
    assert [Unknown(each).name for each in found.unknown] == ["NOT_VALUED"]


@pytest.mark.parametrize("name", ["invoice_total", "payment_amount", "insurance", "tax_charged"])
@pytest.mark.parametrize("amount", [0, 1])
def test_documents_for_which_an_amount_is_stated_have_a_value(name: str, amount: int) -> None:
    table, states = tables([Case(0, price=0, nature="DOCUMENT", code="")])
    stated = {f"{name}_minor": Ints.of([amount])}
    if name == "tax_charged":
        stated = {"items": Ragged.of_lengths([1], table.child("items").with_columns(stated))}
    assert categories_of(table.with_columns(stated), states, nowhere()).category.tolist() == [
        DOCUMENTS if not amount else LOW
    ]


def test_documents_above_the_largest_mass_of_an_entry_are_not_in_it() -> None:
    law = nowhere(LAW.replace("only: {nature: [document]}", "only: {nature: [document], gross_mass_max_kg: 2}"))
    table, states = tables([Case(None, price=None, nature="DOCUMENT", code="") for _ in range(3)])
    masses = Ints.of([2_000_000, 2_000_001, 0], [True, True, False])
    found = categories_of(table.with_columns({"gross_mass_mg": masses}), states, law)
    assert found.category.tolist() == [DOCUMENTS, 0, 0]


@pytest.mark.parametrize(
    ("prices", "category"), [((0, 0), DOCUMENTS), ((None, None), DOCUMENTS), ((0, None), "NOT_VALUED"), ((0, 1), "NOT_VALUED")]
)  # fmt: skip
def test_a_missing_price_beside_a_stated_one_is_not_zero(prices: tuple[int | None, ...], category: int | str) -> None:
    table, states = tables([Case(None, price=None, nature="DOCUMENT", code="")])
    place = np.zeros(2, np.int64)
    goods = table.child("items").take(place).with_columns(
        {"price_minor": Ints.of([each or 0 for each in prices], [each is not None for each in prices])}
    )  # fmt: skip
    found = categories_of(table.with_columns({"items": Ragged.of_lengths([2], goods)}), states, nowhere())
    assert [*found.category, *(Unknown(each).name for each in found.unknown if each)] == [
        *([0] if isinstance(category, str) else []),
        category,
    ]


def test_a_category_that_the_data_leave_out_is_unknown_for_what_it_may_concern_alone() -> None:
    law = nowhere(
        LAW.replace("  simplified:\n", "  unused:\n").replace(
            "  unused:\n    - {from: 2026-01-01, amount: 150.00",
            "  simplified:\n    - {from: 2027-01-01, amount: 150.00",
        )
    )
    assert found(Case(2_000, 0), Case(2_001, 0), Case(15_001, 1), law=law) == [LOW, "NO_LAW", "NO_LAW"]
    none = nowhere(
        LAW.replace(
            'amount: 150.00 EUR, excluded: ["24"], restricted: over, formality: {declaration: simplified}, data_set: many',
            "amount: none",
        )
    )
    assert found(Case(2_000, 0), Case(2_001, 0), Case(100, 1), law=none) == [LOW, FULL, FULL]


def test_the_amount_itself_is_within_unless_the_data_say_over() -> None:
    over = nowhere(LAW.replace("amount: 150.00 EUR", "amount: 150.00 EUR, at_the_limit: over"))
    assert found(Case(14_999, 1), Case(15_000, 1), law=over) == [SIMPLIFIED, FULL]


def test_the_basis_is_the_intrinsic_or_the_customs_value() -> None:
    customs = nowhere(LAW.replace("amount: 150.00 EUR", "amount: 150.00 EUR, basis: customs_value"))
    case = Case(14_000, 1, customs=16_000)
    assert found(case, law=nowhere()) == [SIMPLIFIED]
    assert found(case, law=customs) == [FULL]


def test_elements_that_a_filing_lacks_are_named() -> None:
    table, states = tables([Case(0, price=0, nature="DOCUMENT", code=""), Case(100, 1), Case(15_001, 1)])
    goods = table.child("items").with_columns({"origin_country": Strings.of(["", "", "CN"])})
    table = table.with_columns(
        {"items": Ragged(table.ragged("items").offsets, goods), "incoterm": Strings.of(["", "", ""])}
    )
    categories = categories_of(table, states, nowhere())
    missing = categories.columns["release_missing_elements"]
    assert isinstance(missing, Ragged)
    names = missing.values.tolist()  # type: ignore[union-attr]
    assert [names[missing.span(row)] for row in range(3)] == [[], ["items.origin_country", "incoterm"], []]


# ---------------------------------------------------------------------------------------------------- what is included
BEFORE, AFTER, REFORM = date(2026, 6, 30), date(2026, 7, 1), date(2028, 7, 1)


@pytest.mark.parametrize(
    ("case", "category"),
    [
        (Case(15_000, 1, on=BEFORE), SIMPLIFIED),
        (Case(15_001, 1, on=BEFORE), FULL),
        (Case(15_000, 1, on=AFTER, ioss=True), SIMPLIFIED),
        (Case(15_001, 1, on=AFTER, ioss=True), FULL),
        # Whether H7 may be used without the import scheme is not known; above the amount it is not.
        (Case(15_000, 1, on=AFTER), "NO_LAW"),
        (Case(15_001, 1, on=AFTER), FULL),
        (Case(100, 1, on=REFORM), "NO_LAW"),
        (Case(100, 1, on=REFORM - timedelta(1), ioss=True), SIMPLIFIED),
        (Case(4_500, 0, nature="GIFT"), LOW),
        (Case(4_501, 0, nature="GIFT", on=BEFORE), SIMPLIFIED),
        (Case(100, 1, code="220421", on=BEFORE), FULL),
        (Case(100, 1, code="330300", on=BEFORE), FULL),
        (Case(100, 1, code="330300", on=AFTER, ioss=True), SIMPLIFIED),
        (Case(None, price=None, nature="DOCUMENT", code=""), DOCUMENTS),
        # Manuscripts and printed papers may be documents; books, banknotes and pictures are goods.
        (Case(None, price=None, nature="DOCUMENT", code="490600"), DOCUMENTS),
        (Case(None, price=None, nature="DOCUMENT", code="491199"), DOCUMENTS),
        (Case(None, price=None, nature="DOCUMENT", code="491191"), "NOT_VALUED"),
        (Case(None, price=None, nature="DOCUMENT", code="490199"), "NOT_VALUED"),
        (Case(None, price=None, nature="DOCUMENT", code="490700"), "NOT_VALUED"),
        (Case(100, 1, on=date(2021, 6, 30)), "NO_LAW"),
        (Case(13_500, 1, country="GB", currency="GBP"), SIMPLIFIED),
        (Case(13_501, 1, country="GB", currency="GBP"), FULL),
        (Case(13_500, 0, country="GB", currency="GBP"), "NO_LAW"),
        (Case(80_000, 0, country="US", currency="USD", on=date(2025, 8, 28)), LOW),
        (Case(80_001, 0, country="US", currency="USD", on=date(2025, 8, 28)), "NO_LAW"),
        (Case(100, 0, country="US", currency="USD", on=date(2025, 8, 29)), "NO_LAW"),
        (Case(4_000, 0, country="CA", currency="CAD", dispatch="US"), LOW),
        (Case(4_001, 0, country="CA", currency="CAD", dispatch="US"), SIMPLIFIED),
        (Case(2_000, 0, country="CA", currency="CAD"), LOW),
        (Case(2_001, 0, country="CA", currency="CAD"), SIMPLIFIED),
        (Case(2_001, 0, country="CA", currency="CAD", dispatch="US", service="POST"), "NO_LAW"),
        (Case(330_000, 1, country="CA", currency="CAD"), SIMPLIFIED),
        (Case(330_001, 1, country="CA", currency="CAD"), FULL),
        (Case(100_000, 0, country="AU", currency="AUD"), LOW),
        (Case(100_000, 1, country="AU", currency="AUD"), SIMPLIFIED),
        (Case(100_001, 1, country="AU", currency="AUD"), FULL),
        (Case(100_000, 1, country="NZ", currency="NZD"), SIMPLIFIED),
        (Case(100_001, 1, country="NZ", currency="NZD"), FULL),
        (Case(100, 1, country="JP", currency="JPY"), "NO_LAW"),
    ],
)
def test_the_included_thresholds_hold_to_the_cent(case: Case, category: int | str) -> None:
    assert found(case) == [category]


def test_nobody_has_compared_the_included_data_with_the_law_yet() -> None:
    for jurisdiction in included().by_country.values():
        law = jurisdiction.law
        assert not any(each.verified for entries in law.categories.values() for each in entries)
        assert not any(each.verified for each in law.data_sets.values())
        assert not any(each.verified for each in law.references.values())


def test_the_documentation_lists_the_included_thresholds() -> None:
    text = (Path(__file__).parents[3] / "docs" / "release-categories.md").read_text(encoding="utf-8")
    for law in {each.law.jurisdiction: each.law for each in included().by_country.values()}.values():
        for category, entries in law.categories.items():
            for entry in entries:
                assert f"| {line(law.jurisdiction, category, entry)} |" in text


def line(jurisdiction: str, category: str, entry: Entry) -> str:
    """Return the row of the documentation's table for one entry."""
    only = entry.condition
    names = [] if only is None else [*only.nature, *only.service, *only.dispatch, *only.scheme]
    formality = entry.formality
    steps = [] if formality is None else [formality.declaration, *formality.afterwards]
    amount = f"{entry.amount} {'' if entry.basis == 'intrinsic' else 'customs value'}".strip() or "–"
    cells = [
        jurisdiction, category, str(entry.start), str(entry.to or ""), ", ".join(names), amount if entry.certain else f"{amount} (not certain)",
        ", ".join(steps).replace("_", " "), entry.reference,
    ]  # fmt: skip
    return " | ".join(cells)


# ---------------------------------------------------------------------------------------------------- a plain reading
def plainly(case: Case) -> int | str:
    """Read LAW for one case."""
    if case.country != "DE" or case.on < date(2026, 1, 1):
        return "NO_LAW"
    restricted = case.controlled and not case.confidential
    worthless = not case.price and case.code in ("", "490199")
    if case.nature == "DOCUMENT" and worthless and not restricted:
        return DOCUMENTS
    if case.value is None:
        return FULL if restricted else "NOT_VALUED"
    if case.currency != "EUR":
        return FULL if restricted or (case.due and case.code.startswith("24")) else "CURRENCY"
    if case.due == 0 and case.value <= 2_000 and not restricted:
        return LOW
    if case.value <= 15_000 and not restricted and not case.code.startswith("24"):
        return SIMPLIFIED
    return FULL


_CASES = st.builds(
    Case,
    st.sampled_from([None, 0, 1, 2_000, 2_001, 15_000, 15_001]),
    st.sampled_from([0, 1]),
    price=st.sampled_from([None, 0, 1]),
    code=st.sampled_from(["", "240220", "490199", "620630"]),
    nature=st.sampled_from(["DOCUMENT", "GIFT", "SALE"]),
    country=st.sampled_from(["DE", "JP"]),
    on=st.sampled_from([date(2025, 12, 31), date(2026, 1, 1)]),
    controlled=st.booleans(),
    confidential=st.booleans(),
    currency=st.sampled_from(["EUR", "USD"]),
)


@given(st.lists(_CASES, min_size=1, max_size=12))
def test_a_batch_has_the_categories_of_its_consignments_read_one_by_one(cases: list[Case]) -> None:
    assert found(*cases, law=nowhere()) == [plainly(case) for case in cases]


# ---------------------------------------------------------------------------------------------------- what cannot be applied
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: 1", "format: 2", "format"),
        ("data_set: few", "data_set: lost", "data_set"),
        ("reference: act}\n  many", "reference: lost}\n  many", "references"),
        ("items.description]", "items.colour]", "no element"),
        ("amount: 20.00 EUR", "amount: 20.00 USD", "not in EUR"),
        ("amount: 20.00 EUR", "amount: 20.001 EUR", "decimals"),
        ("amount: 20.00 EUR, ", "", "threshold"),
        ("amount: 20.00 EUR", "amount: twenty EUR", "amount"),
        ("formality: {declaration: manifest}, ", "", "formality"),
        ("from: 2026-01-01, amount: 20.00", "from: 2026-01-01, to: 2025-01-01, amount: 20.00", "before"),
        ("restricted: over", "restricted: perhaps", "restricted"),
        ("  low_value:\n", "  low_value:\n    - {from: 2026-05-01, amount: none, reference: act}\n", "two entries"),
        ("  low_value:\n", "  cheap:\n", "cheap"),
        ("areas: [DE]", "areas: [DE, DE]", "too"),
        ('version: "1"', 'version: "1"\nversion: "2"', "twice"),
    ],
)
def test_a_file_that_cannot_be_applied_is_refused(old: str, new: str, message: str) -> None:
    assert LAW.count(old) >= 1
    with pytest.raises(ReleaseLawError, match=message):
        read_all({"xx.yaml": LAW.replace(old, new, 1)})


def test_an_entry_with_conditions_stands_before_the_general_one() -> None:
    text = LAW.replace(
        "  full:\n",
        "    - {from: 2026-01-01, only: {service: [post]}, amount: 1.00 EUR, formality: {declaration: simplified}, reference: act}\n  full:\n",
    )
    with pytest.raises(ReleaseLawError, match="behind one without"):
        read("xx.yaml", text)


def test_the_numbers_are_those_of_the_contract() -> None:
    names = {
        name.removeprefix("RELEASE_CATEGORY_UNKNOWN_"): number
        for name, number in pb.ReleaseCategoryUnknown.items()
        if number
    }
    assert names == {each.name: int(each) for each in Unknown}
    categories = {int(number): name for name, number in pb.ReleaseCategory.items()}
    assert [categories[number] for number in (DOCUMENTS, LOW, SIMPLIFIED, FULL)] == [
        "RELEASE_CATEGORY_DOCUMENTS", "RELEASE_CATEGORY_LOW_VALUE", "RELEASE_CATEGORY_SIMPLIFIED", "RELEASE_CATEGORY_FULL",
    ]  # fmt: skip


def test_days_before_the_first_entry_and_no_rows_are_no_error() -> None:
    assert found(Case(on=date(1999, 1, 1))) == ["NO_LAW"]
    table, states = tables([Case()])
    empty = categories_of(
        table.take(np.zeros(0, np.int64)), {name: _none(each) for name, each in states.items()}, included()
    )
    assert len(empty.category) == 0


def _none(column: Any) -> Any:
    return column.take(np.zeros(0, np.int64))

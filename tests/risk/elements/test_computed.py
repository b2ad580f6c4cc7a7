"""Computed elements, beside a plain computation of one row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment, Item
from services.risk.elements.computed import ELEMENTS, RATE_MAX, Facts, describe
from tests.risk.filings import table

RATES = {"EUR": 1_000_000, "USD": 900_000, "JPY": 600_000, "HIGH": RATE_MAX}


def item_value(item: Item, whole: Consignment) -> dict[str, int | None]:
    """The plain computation of an item's elements."""
    rate = RATES.get(item.price.currency)
    price = item.price.minor * rate // 1_000_000 if rate and item.HasField("price") else None
    mass = None
    if item.HasField("net_mass_mg"):
        mass = item.net_mass_mg
    elif item.HasField("gross_mass_mg"):
        mass = item.gross_mass_mg
    elif len(whole.items) == 1 and whole.HasField("gross_mass_mg"):
        mass = whole.gross_mass_mg
    pieces = None
    if item.HasField("quantity_milli") and item.quantity_milli > 0 and item.quantity_unit in ("H87", ""):
        pieces = -(-item.quantity_milli // 1000)
    comparable = price is not None and price <= 10**12
    return {
        "price_eur_cents": price,
        "mass_mg": mass,
        "pieces": pieces,
        "price_eur_cents_per_kg": price * 10**6 // mass if comparable and mass else None,  # type: ignore[operator]
        "piece_price_eur_cents": price // pieces if price is not None and pieces else None,
        "piece_mass_mg": mass // pieces if mass is not None and pieces else None,
    }


def total(values: list[int | None]) -> int | None:
    return None if not values or None in values else sum(value for value in values if value is not None)


amounts = st.integers(0, 10**12)
masses = st.none() | st.integers(1, 10**14)


@st.composite
def consignments(draw: st.DrawFn) -> Consignment:
    message = Consignment()
    if (mass := draw(masses)) is not None:
        message.gross_mass_mg = mass
    for _ in range(draw(st.integers(0, 3))):
        item = message.items.add(quantity_unit=draw(st.sampled_from(["H87", "", "MTR"])))
        if draw(st.booleans()):
            item.price.minor, item.price.currency = draw(amounts), draw(st.sampled_from([*RATES, "XXX"]))
        if (net := draw(masses)) is not None:
            item.net_mass_mg = net
        if (gross := draw(masses)) is not None:
            item.gross_mass_mg = gross
        if (quantity := draw(st.none() | st.integers(1, 10**12))) is not None:
            item.quantity_milli = quantity
    return message


@given(st.lists(consignments(), max_size=5))
def test_computed_elements_are_what_a_plain_computation_gives(messages: list[Consignment]) -> None:
    facts = Facts(Table.from_messages(messages, ConsignmentColumns, Consignment), RATES)
    plain = [[item_value(item, message) for item in message.items] for message in messages]
    for name in plain[0][0] if any(plain) and plain[0] else ():
        assert facts.computed("items", name).tolist() == [row[name] for rows in plain for row in rows], name  # type: ignore[union-attr]
    totals = {"value_eur_cents": "price_eur_cents", "total_pieces": "pieces"}
    for name, part in totals.items():
        assert facts.computed("", name).tolist() == [total([row[part] for row in rows]) for rows in plain], name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "element", "value"),
    [
        ({}, "destination", "DE"),
        ({"destination_country": ""}, "destination", "DE"),
        ({"destination_country": "FR"}, "destination", "FR"),
        ({"destination_country": "", "consignee": {"address": None}}, "destination", ""),
        ({}, "acceptance_day", 20782),
        ({}, "payment_eur_cents", 2400),
        ({"payment": None}, "payment_eur_cents", None),
        ({}, "net_mass_mg", 220000),
    ],
)
def test_elements_of_a_consignment(change: dict[str, Any], element: str, value: Any) -> None:
    column = Facts(table([change]), RATES).computed("", element)
    assert column is not None
    assert column[0] == value


def test_chapter_and_heading_are_the_beginning_of_the_code() -> None:
    facts = Facts(table([{"items": [{"commodity_code": "8517130000"}, {"commodity_code": ""}]}]), RATES)
    assert facts.chapter.tolist() == ["85", ""]
    assert facts.heading.tolist() == ["8517", ""]


def test_every_computed_element_says_what_it_means() -> None:
    for path, names in ELEMENTS.items():
        assert all(len(describe()[path][name]) > 20 for name in names)


def test_an_element_that_filers_state_is_not_computed() -> None:
    assert Facts(table([{}]), RATES).computed("", "gross_mass_mg") is None
    assert Facts(table([{}]), RATES).computed("items/packages", "count") is None

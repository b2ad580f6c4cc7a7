"""Which filings are assessed before loading: the minimum set element by element, and both sides of each bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from libs.columns import Ints, Table
from luxor.clearance.v1 import control_pb2
from luxor.consignment.v1 import consignment_pb2 as pb
from services.clearance.pre_loading.parameters import Parameters, included
from services.clearance.pre_loading.scope import minimum_set, omitted, to_assess
from tests.clearance.desk import DAY, filings

INCOMPLETE, DEPARTED = control_pb2.PRE_LOADING_INCOMPLETE, control_pb2.PRE_LOADING_DEPARTED
ACCEPTED = int(filings(["GREEN-1"]).ints("accepted_at").values[0])


def reasons(table: Table, parameters: Parameters) -> list[Any]:
    """Why filings are not assessed; nothing where the destination asks for no one or all are assessed."""
    return [each for column in omitted(table, parameters).values() for each in column.tolist()]  # type: ignore[union-attr]


def asked(from_day: int = DAY, mode: int = pb.TRANSPORT_MODE_AIR, country: str = "DE") -> Parameters:
    return Parameters({(country, mode): from_day}, included().offices)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row.consignor.ClearField("name"),
        lambda row: row.consignor.ClearField("address"),
        lambda row: row.consignee.ClearField("name"),
        lambda row: row.consignee.address.ClearField("country"),
        lambda row: row.ClearField("gross_mass_mg"),
        lambda row: row.ClearField("packages"),
        lambda row: row.packages[0].ClearField("count"),
        lambda row: row.house_document.ClearField("number"),
        lambda row: row.items.add(commodity_code="620630"),
    ],
)
def test_a_filing_without_one_element_of_the_minimum_set_is_not_assessed(
    spoil: Callable[[pb.Consignment], object],
) -> None:
    def change(number: int, row: pb.Consignment) -> None:
        if number:
            spoil(row)

    table = filings(["GREEN-1", "GREEN-2"], change=change)
    assert minimum_set(table).tolist() == [True, False]
    assert to_assess(table, asked()).tolist() == [0]
    assert reasons(table, asked()) == [None, INCOMPLETE]
    assert reasons(table, asked(country="FR")) == []


def test_packages_of_items_and_either_part_of_an_address_are_enough() -> None:
    def change(number: int, row: pb.Consignment) -> None:
        row.ClearField("packages")
        row.items[0].packages.add(count=1)
        row.consignor.address.ClearField("street" if number else "city")

    assert minimum_set(filings(["GREEN-1", "GREEN-2"], change=change)).tolist() == [True, True]


def test_goods_that_departed_when_the_filing_was_accepted_are_not_assessed() -> None:
    def change(number: int, row: pb.Consignment) -> None:
        row.transport.departure_time.FromMicroseconds(ACCEPTED + number)

    table = filings(["GREEN-1", "GREEN-2"], change=change)
    assert to_assess(table, asked()).tolist() == [1]
    assert reasons(table, asked()) == [DEPARTED, None]


def test_only_listed_destinations_and_modes_are_assessed_from_their_first_day_on() -> None:
    table = filings(["GREEN-1"])
    assert to_assess(table, asked(DAY)).tolist() == [0]
    for other in (
        asked(DAY + 1),
        asked(mode=pb.TRANSPORT_MODE_SEA),
        asked(country="FR"),
        Parameters({}, included().offices),
    ):
        assert to_assess(table, other).tolist() == []
    # The destination of a filing that names none is that of the consignee.
    abroad = filings(["GREEN-1"], change=lambda _, row: row.ClearField("destination_country"))
    assert to_assess(abroad, asked()).tolist() == [0]
    assert (
        to_assess(table.with_columns({"accepted_at": Ints.constant((DAY - 1) * 86_400_000_000, 1)}), asked()).tolist()
        == []
    )

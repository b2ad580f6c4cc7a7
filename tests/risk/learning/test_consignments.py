"""Consignments as samples: items with what their consignment states, and a score for each consignment."""

from __future__ import annotations

from datetime import date

import numpy as np

from libs.columns import Ints, Table
from libs.simulator.simulator import Simulator
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.risk.elements.computed import Facts
from services.risk.learning.features.consignments import TRAFFIC, Items, items_of
from services.risk.learning.features.sample import require
from tests.risk.filings import first_light, table


def items(consignments: Table) -> Items:
    given = {
        "rule_points": Ints.constant(7, consignments.rows),
        "consignee_parcels": Ints.constant(1, consignments.rows),
    }
    return items_of(consignments, Facts(consignments, first_light().rates), given)


def test_simulated_traffic_has_every_column_that_the_recipe_needs() -> None:
    rows = list(Simulator(3, "everyday", start=date(2026, 11, 25)).manifest(200))
    made = items(Table.from_messages([row.message for row in rows], ConsignmentColumns, Consignment))
    require(TRAFFIC.columns, made.sample.columns, "the test")
    assert made.sample.rows == sum(len(row.message.items) for row in rows)
    first = rows[17].message
    place = int(np.flatnonzero(made.owners == 17)[0])
    words = {name: column[place] for name, column in made.sample.words.items()}
    assert words["route"] == ">".join(first.transport.route_countries)
    assert words["hs"] == first.items[0].commodity_code[:6]
    assert words["consignor"] == first.consignor.name
    assert words["address"] == f"{first.consignor.address.street} {first.consignor.address.postcode}".lower()
    assert words["service"] == str(int(first.transport.service))
    assert made.sample.numbers["rule_points"][place] == 7
    assert made.sample.numbers["gross_mass"][place] == first.gross_mass_mg


def test_what_a_consignment_does_not_tell_is_unknown() -> None:
    made = items(table([{"gross_mass_mg": None, "items": [{"net_mass_mg": None, "origin_country": None}]}]))
    assert np.isnan(made.sample.numbers["gross_mass"][0])
    assert np.isnan(made.sample.numbers["mass"][0])
    assert made.sample.words["origin"][0] == ""


def test_a_consignment_is_as_bad_as_its_worst_item() -> None:
    made = Items(items(table([{}])).sample.take(np.zeros(5, np.int64)), np.array([0, 0, 2, 2, 2]), 3)
    worst, place = made.worst(np.array([1.0, 3.0, 2.0, -1.0, 2.0]))
    assert worst.tolist() == [3.0, -np.inf, 2.0]
    assert place.tolist() == [1, -1, 2]

"""Consignments as samples: a row for each item, since inspections find violations in items.

What a consignment states stands on each of its items. A consignment's score is that of its worst item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from libs.columns import Ints, Strings, Table
from services.risk.derived import Facts
from services.risk.learning.features import (
    Code,
    Count,
    Deviation,
    Differs,
    Number,
    Quotient,
    Rate,
    Recipe,
    key_of,
)
from services.risk.learning.sample import Floats, Numbers, Sample

#: Words of a consignment, by our name for the column.
_WORDS: Final = {
    "platform": "order_platform",
    "consignor": "consignor_name",
    "consignor_country": "consignor_address_country",
    "seller": "seller_name",
    "declarant": "declarant_identifier",
    "dispatch": "dispatch_country",
    "office": "transport_first_entry_office",
    "loading": "transport_loading_place",
    "procedure": "procedure",
}
#: Numbers of a consignment that are names of kinds: they have no order, so they are words.
_KINDS: Final = {
    "nature": "nature",
    "consignor_type": "consignor_person_type",
    "service": "transport_service",
}
_JOINED: Final = {"route": "transport_route_countries", "additional_procedures": "additional_procedures"}


@dataclass(frozen=True)
class Items:
    """The items of a batch as a sample."""

    sample: Sample
    owners: Numbers
    """Per item the row of its consignment."""
    consignments: int

    def worst(self, values: Floats) -> tuple[Floats, Numbers]:
        """Per consignment the highest value of its items and which item has it; -inf and -1 where it has no item."""
        worst = np.full(self.consignments, -np.inf)
        np.maximum.at(worst, self.owners, values)
        place = np.full(self.consignments, -1, np.int64)
        best = np.flatnonzero(values == worst[self.owners])[::-1]
        place[self.owners[best]] = best
        return worst, place


def items_of(table: Table, facts: Facts, more: Mapping[str, Ints] | None = None) -> Items:
    """The items of consignments as a sample with the columns of TRAFFIC.

    `more` are columns of numbers by consignment or by item, told apart by their length where that differs; such are the
    points of the rules and what history tells.
    """
    owners, lines = facts.owners, facts.items
    words = {ours: _spread(table.strings(theirs), owners) for ours, theirs in _WORDS.items()}
    words |= {ours: _spread(_kinds(table.ints(theirs)), owners) for ours, theirs in _KINDS.items()}
    words |= {ours: _spread(_joined(table, theirs), owners) for ours, theirs in _JOINED.items()}
    words |= {
        "destination": _spread(facts.destination, owners),
        "address": _spread(_address(table), owners),
        "hs": lines.strings("commodity_code").translate(lambda code: code[:6]),
        "origin": lines.strings("origin_country"),
        "description": lines.strings("description").translate(lambda text: " ".join(text.lower().split())),
    }
    numbers = {
        "price": floats(facts.price_eur_cents),
        "mass": floats(facts.mass_mg),
        "pieces": floats(facts.pieces),
        "piece_price": floats(facts.piece_price_eur_cents),
        "piece_mass": floats(facts.piece_mass_mg),
        "tax_rate": floats(lines.ints("tax_rate_ppm")),
        "value": floats(facts.value_eur_cents)[owners],
        "gross_mass": floats(table.ints("gross_mass_mg"))[owners],
        "freight": floats(table.ints("freight_minor"))[owners],
        "lines": facts.lines.lengths[owners].astype(np.float64),
    }
    for name, column in (more or {}).items():
        numbers[name] = floats(column)[owners] if len(column) == table.rows else floats(column)
    return Items(Sample(len(owners), numbers, words), owners, table.rows)


def floats(column: Ints) -> Floats:
    """Whole numbers as floats, NaN where absent."""
    return np.where(column.valid, column.values, np.nan)


def _spread(column: Strings, owners: Numbers) -> Strings:
    return Strings(column.dictionary, column.indices[owners])


def _kinds(column: Ints) -> Strings:
    distinct, places = np.unique(np.where(column.valid, column.values, -1), return_inverse=True)
    return Strings([str(kind) if kind >= 0 else "" for kind in distinct.tolist()], places.astype(np.int32))


def _joined(table: Table, name: str) -> Strings:
    lists = table.ragged(name)
    assert isinstance(lists.values, Strings)
    values, ends = lists.values.tolist(), lists.offsets.tolist()
    return Strings.of([">".join(values[start:end]) for start, end in pairwise(ends)])


def _address(table: Table) -> Strings:
    street, postcode = (table.strings(f"consignor_address_{part}") for part in ("street", "postcode"))
    both = street.indices.astype(np.int64) * len(postcode.dictionary) + postcode.indices
    distinct, places = np.unique(both, return_inverse=True)
    texts = []
    for number in distinct.tolist():
        first, second = divmod(number, max(1, len(postcode.dictionary)))
        parts = (street.dictionary[first], postcode.dictionary[second])
        texts.append(" ".join(parts).lower() if all(parts) else "")
    return Strings(texts, places.astype(np.int32)).translate(str)


def _rate(name: str, key: str, smoothing: float = 10.0) -> Rate:
    return Rate(name, key_of(key), smoothing)


#: The recipe for consignments. `rule_points` and `consignee_parcels` are given beside what is filed: the points of the
#: rules in force, and how many parcels the consignee has had of late.
TRAFFIC: Final = Recipe(
    (
        Number("price", "price", "log"),
        Number("mass", "mass", "log"),
        Number("pieces", "pieces"),
        Number("value", "value", "log"),
        Number("lines", "lines"),
        Number("tax_rate", "tax_rate"),
        Number("rule_points", "rule_points"),
        Number("consignee_parcels", "consignee_parcels"),
        Quotient("price_per_kg", "price", "mass"),
        Quotient("packing", "gross_mass", "mass"),
        Differs("dispatched_elsewhere", "dispatch", "origin"),
        Differs("sent_from_elsewhere", "dispatch", "consignor_country"),
        Deviation(
            "price_per_kg_deviation",
            Quotient("price_per_kg", "price", "mass"),
            (key_of("hs origin"), key_of("hs"), key_of("hs:4"), key_of("hs:2")),
        ),
        Deviation(
            "piece_price_deviation",
            Number("piece_price", "piece_price", "log"),
            (key_of("description"), key_of("hs"), key_of("hs:4"), key_of("hs:2")),
        ),
        Deviation(
            "piece_mass_deviation",
            Number("piece_mass", "piece_mass", "log"),
            (key_of("description"), key_of("hs"), key_of("hs:4"), key_of("hs:2")),
        ),
        _rate("hs_rate", "hs"),
        _rate("heading_rate", "hs:4"),
        _rate("heading_origin_rate", "hs:4 origin", 5.0),
        _rate("description_rate", "description"),
        _rate("consignor_rate", "consignor", 3.0),
        _rate("address_rate", "address", 3.0),
        _rate("platform_rate", "platform"),
        _rate("declarant_rate", "declarant"),
        _rate("origin_loading_rate", "origin loading", 3.0),
        _rate("route_rate", "route", 5.0),
        _rate("procedure_rate", "procedure additional_procedures nature"),
        Count("consignor_rows", key_of("consignor")),
        Count("address_rows", key_of("address")),
        Count("description_rows", key_of("description")),
        Code("nature", key_of("nature")),
        Code("consignor_type", key_of("consignor_type")),
        Code("service", key_of("service")),
    )
)

"""Consignments as samples: a row for each item, since inspections find violations in items.

What a consignment states stands on each of its items. A consignment's score is that of its worst item.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from libs.columns import Ints, Strings, Table
from services.risk.codes.declared_codes import PROBABILITY as CODE_PROBABILITY
from services.risk.elements.computed import Facts
from services.risk.history.columns import DESCRIBED
from services.risk.learning.features.recipe import (
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
from services.risk.learning.features.sample import NUMBER, WORD, ColumnType, Floats, Numbers, Sample
from services.risk.learning.settings import Family, TrainingSettings

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


def items_of(
    table: Table, facts: Facts, extra_columns: Mapping[str, Ints] | None = None, selected: Collection[str] | None = None
) -> Items:
    """The items of consignments as a sample with the columns of TRAFFIC, or of them those that are `selected`.

    `extra_columns` are columns of numbers by consignment or by item, told apart by their length where that differs; such are the
    points of the rules and what history tells.
    """
    owners = facts.owners
    every = _makers(table, facts)
    names = every if selected is None else [name for name in every if name in selected]
    made = {name: every[name]() for name in names}
    words = {name: column for name, column in made.items() if isinstance(column, Strings)}
    numbers = {name: column for name, column in made.items() if not isinstance(column, Strings)}
    for name, column in (extra_columns or {}).items():
        if selected is None or name in selected:
            of_items = name in DESCRIBED["items"] or name == CODE_PROBABILITY or len(column) != table.rows
            numbers[name] = floats(column) if of_items else floats(column)[owners]
    return Items(Sample(len(owners), numbers, words), owners, table.rows)


def _makers(table: Table, facts: Facts) -> dict[str, Callable[[], Strings | Floats]]:
    """How each column is made of a batch: words first, then numbers."""
    owners, lines = facts.owners, facts.items
    makers: dict[str, Callable[[], Strings | Floats]] = {}
    for ours, theirs in _WORDS.items():
        makers[ours] = partial(lambda name: _spread(table.strings(name), owners), theirs)
    for ours, theirs in _KINDS.items():
        makers[ours] = partial(lambda name: _spread(_kinds(table.ints(name)), owners), theirs)
    for ours, theirs in _JOINED.items():
        makers[ours] = partial(lambda name: _spread(_joined(table, name), owners), theirs)
    return makers | {
        "destination": lambda: _spread(facts.destination, owners),
        "address": lambda: _spread(_address(table), owners),
        "hs": lambda: lines.strings("commodity_code").translate(lambda code: code[:6]),
        "origin": lambda: lines.strings("origin_country"),
        "description": lambda: lines.strings("description").translate(lambda text: " ".join(text.lower().split())),
        "price": lambda: floats(facts.price_eur_cents),
        "mass": lambda: floats(facts.mass_mg),
        "pieces": lambda: floats(facts.pieces),
        "piece_price": lambda: floats(facts.piece_price_eur_cents),
        "piece_mass": lambda: floats(facts.piece_mass_mg),
        "tax_rate": lambda: floats(lines.ints("tax_rate_ppm")),
        "value": lambda: floats(facts.value_eur_cents)[owners],
        "gross_mass": lambda: floats(table.ints("gross_mass_mg"))[owners],
        "freight": lambda: floats(table.ints("freight_minor"))[owners],
        "lines": lambda: facts.lines.lengths[owners].astype(np.float64),
    }


def assessed_items(table: Table, facts: Facts, points: Ints, selected: Collection[str] | None = None) -> Items:
    """The items of a batch as risk knows them when it assesses: what is filed, the points of what was found, and what history
    tells, unknown where it was not read. The sample has the columns of GIVEN, or of them those that are `selected`.
    """
    extra_columns = {"rule_points": points}
    for path, names in (*DESCRIBED.items(), ("items", (CODE_PROBABILITY,))):
        rows = facts.items.rows if path == "items" else table.rows
        for name in names:
            if selected is None or name in selected or (name == PARCELS and "consignee_parcels" in selected):
                column = None if facts.history is None else facts.history.column(path, name)
                extra_columns[name] = Ints.absent(rows) if column is None else column
    if PARCELS in extra_columns:
        extra_columns["consignee_parcels"] = extra_columns[PARCELS]
    return items_of(table, facts, extra_columns, selected)


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


def _rate(name: str, key: str, smoothing: float = 10.0, explored: bool = False) -> Rate:
    return Rate(name, key_of(key), smoothing, explored)


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
        _rate("origin_loading_rate", "origin loading", 3.0, explored=True),
        _rate("route_rate", "route", 5.0, explored=True),
        _rate("procedure_rate", "procedure additional_procedures nature"),
        Count("consignor_rows", key_of("consignor")),
        Count("address_rows", key_of("address")),
        Count("description_rows", key_of("description")),
        Code("nature", key_of("nature")),
        Code("consignor_type", key_of("consignor_type")),
        Code("service", key_of("service")),
    )
)


#: History's column that `consignee_parcels` is in an assessment.
PARCELS: Final = "consignee_count_24h"
#: Columns of history that a model is given beside TRAFFIC's, as they are.
_HISTORY: Final = (
    "consignee_count_30d",
    "consignee_low_count_24h",
    "consignee_known_days",
    "address_count_24h",
    "address_consignees_30d",
    "seller_count_24h",
    "seller_known_days",
    "consignee_hit_permille",
    "seller_hit_permille",
    "price_permille",
)
#: The recipe that risk trains on its own assessments.
ASSESSED: Final = Recipe((*TRAFFIC.features, *(Number(name, name) for name in _HISTORY)))
#: The same where a model of codes was active.
ASSESSED_WITH_CODES: Final = Recipe((*ASSESSED.features, Number(CODE_PROBABILITY, CODE_PROBABILITY)))
#: How it trains on them: chosen on the simulator's development seeds, as tests/bench/risk_loop.py does.
ASSESSED_SETTINGS: Final = TrainingSettings(
    families=(Family(members=5, trees=40, leaves=15, leaf_rows_min=5, rows_share=0.7, l2=5.0, random_cuts=False),),
    copies_exponent=0.0,
    half_life_days=7.0,
)
_NUMBERS: Final = (
    "price", "mass", "pieces", "piece_price", "piece_mass", "tax_rate", "value", "gross_mass", "freight", "lines",
    "rule_points", "consignee_parcels", CODE_PROBABILITY, *DESCRIBED[""], *DESCRIBED["items"],
)  # fmt: skip
#: Every column that risk can give a model when it assesses, with its type: a model that needs another is refused.
TRAFFIC_COLUMNS: Final[Mapping[str, ColumnType]] = {
    **dict.fromkeys((*_WORDS, *_KINDS, *_JOINED, "destination", "address", "hs", "origin", "description"), WORD),
    **dict.fromkeys(_NUMBERS, NUMBER),
}

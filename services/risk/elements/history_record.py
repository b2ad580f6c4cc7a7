"""The compact record of a batch, as history counts it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from libs.columns import Table
from libs.columns.arrays import BoolArray
from services.risk.elements.computed import Facts
from services.risk.history.party_keys import Hasher, goods_of, party_keys
from services.risk.history.record import Record


def record_of(
    table: Table, facts: Facts, hasher: Hasher, time: int, *, counted: BoolArray, thresholds: Mapping[str, int]
) -> Record:
    """The compact record of a batch of consignments that are being assessed at `time` (microseconds since 1970).

    `counted` tells which were never assessed before (see Record); `thresholds` is, per country of destination, the
    value in euro cents under which consignments are favoured, and which splitting is to keep under. Positions in the log
    are not known yet (-1); `Record.at` sets them.
    """
    rows = table.rows
    value = facts.value_eur_cents
    threshold = facts.destination.map(lambda country: thresholds.get(country, 0), np.int64)
    unplaced = np.full(rows, -1, np.int64)
    price = facts.price_eur_cents_per_kg
    return Record(
        time=time,
        mark=hasher.mark,
        keys=party_keys(table, hasher),
        counted=np.asarray(counted, np.bool_),
        value=np.where(value.valid, np.maximum(value.values, 0), 0),
        low=value.valid & (value.values < threshold),
        partition=unplaced,
        major=unplaced,
        minor=unplaced,
        owner=facts.owners,
        goods=goods_of(facts.items.strings("commodity_code"), facts.items.strings("origin_country")),
        price=np.where(price.valid, np.maximum(price.values, 0), 0),
    )

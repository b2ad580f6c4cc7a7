"""The compact record of a batch, as history counts it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from libs.columns import Strings, Table
from libs.columns.arrays import BoolArray, IntArray
from services.risk.elements.computed import Facts
from services.risk.history.party_keys import Hasher, goods_of, party_keys
from services.risk.history.record import Record


def record_of(
    table: Table,
    facts: Facts,
    hasher: Hasher,
    time: int,
    *,
    counted: BoolArray,
    thresholds: Mapping[str, int],
    value_awaited: BoolArray | None = None,
) -> Record:
    """The compact record of a batch of consignments that are being assessed at `time` (microseconds since 1970).

    `counted` says which were never assessed before (see Record), `value_awaited` which counted before without a value;
    `thresholds` is, per country of destination, the value in euro cents under which consignments are favoured, and which splitting is
    to keep under. Positions in the log are not known yet (-1); `Record.at` sets them.
    """
    rows = table.rows
    value = facts.value_eur_cents
    threshold = facts.destination.map(lambda country: thresholds.get(country, 0), np.int64)
    unplaced = np.full(rows, -1, np.int64)
    price = facts.price_eur_cents_per_kg
    cents = np.where(value.valid, np.maximum(value.values, 0), 0)
    counted = np.asarray(counted, np.bool_)
    return Record(
        time=time,
        mark=hasher.mark,
        keys=party_keys(table, hasher),
        counted=counted,
        valued=_valued(table.strings("mrn"), counted, cents, value_awaited),
        value=cents,
        low=value.valid & (value.values < threshold),
        partition=unplaced,
        major=unplaced,
        minor=unplaced,
        owner=facts.owners,
        goods=goods_of(facts.items.strings("commodity_code"), facts.items.strings("origin_country")),
        price=np.where(price.valid, np.maximum(price.values, 0), 0),
    )


def _valued(mrns: Strings, counted: BoolArray, value: IntArray, awaited: BoolArray | None) -> BoolArray:
    """Return where values count: with the first version of a consignment that has one, here or before."""
    there = value > 0
    valued: BoolArray = counted & there
    again = ~counted & there
    if not again.any():
        return valued
    here = np.isin(mrns.indices, mrns.indices[counted])
    first = np.flatnonzero(valued | (again & (here if awaited is None else here | awaited)))
    valued[:] = False
    valued[first[np.unique(mrns.indices[first], return_index=True)[1]]] = True
    return valued

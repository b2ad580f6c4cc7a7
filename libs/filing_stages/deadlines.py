"""Which filings came after the deadline of their stage, mode and leg. Tables of ConsignmentColumns. Pure; whole batches."""

from collections.abc import Iterator

import numpy as np

from libs.columns import Table, among
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.completeness import BoolArray, IntArray, jurisdictions
from libs.filing_stages.direction import exports
from libs.filing_stages.law import DataSets, Deadline

_MICROS_PER_MINUTE = 60_000_000


def late(
    filings: Table, data_sets: DataSets, early: BoolArray, times: IntArray
) -> Iterator[tuple[str, Deadline, BoolArray]]:
    """Yield jurisdictions (of destination, for exports of dispatch), a deadline of theirs, and the filings that missed it, shape (n,)."""
    for jurisdiction, deadline, _, missed in judged(filings, data_sets, early, times):
        if missed.any():
            yield jurisdiction, deadline, missed


def judged(
    filings: Table, data_sets: DataSets, early: BoolArray, times: IntArray
) -> Iterator[tuple[str, Deadline, BoolArray, BoolArray]]:
    """Yield jurisdictions (of destination, for exports of dispatch), a deadline of theirs, the filings that it judges, and those that missed it.

    `early` are those before the declaration; `times` of the filings in microseconds since 1970-01-01 UTC, shape (n,). A filing without the
    time or the place of loading that its deadline depends on is neither in time nor late: nobody knows.
    """
    departure, arrival = (filings.ints(f"transport_{name}_time") for name in ("departure", "arrival"))
    if not (departure.valid.any() or arrival.valid.any()):
        return
    days, mode = times // MICROS_PER_DAY, filings.ints("transport_mode").filled(0)
    trip = np.where(departure.valid & arrival.valid, (arrival.values - departure.values) // _MICROS_PER_MINUTE, -1)
    of_country, exported = jurisdictions(filings, data_sets), exports(filings)
    of_stage = {"pre_loading": early, "pre_arrival": ~early & ~exported, "pre_departure": exported}
    for place in np.flatnonzero(np.bincount(of_country + 1)[1:]).tolist():
        jurisdiction = data_sets.jurisdictions[place]
        open_ = of_country == place
        for deadline in jurisdiction.deadlines:
            from_day, to_day = deadline.days
            rows = open_ & among(mode, deadline.numbers) & of_stage[deadline.stage]
            rows &= (days >= from_day) & (days <= to_day)
            if not rows.any():
                continue
            if deadline.loading:
                loading = filings.strings("transport_loading_place")
                # Which of the deadlines by place applies to a filing without one, nobody knows.
                open_ &= ~rows | loading.present
                rows &= np.array([code[:2] in deadline.loading for code in loading.dictionary], np.bool_)[
                    loading.indices
                ]
            if deadline.trip_minutes_max is not None:
                rows &= (trip >= 0) & (trip <= deadline.trip_minutes_max)
            if deadline.trip_minutes_over is not None:
                rows &= trip > deadline.trip_minutes_over
            open_ &= ~rows
            time = departure if deadline.before == "departure" else arrival
            known = rows & time.valid
            missed = known & (time.values < times + deadline.minutes * _MICROS_PER_MINUTE)
            yield jurisdiction.jurisdiction, deadline, known, missed

"""What a what-if run found, for those who asked."""

from __future__ import annotations

from luxor.common.v1.common_pb2 import ChargeKind, Collector
from luxor.revenue.v1 import what_if_pb2 as pb
from luxor.revenue.v1.revenue_pb2 import ReviewedAmount
from services.revenue.law.assess.review import reviewed_ppm
from services.revenue.what_if.bands import Bands
from services.revenue.what_if.progress import (
    AFTER,
    BEFORE,
    GROUPED_BY,
    ITEMS,
    LOSERS,
    OWED,
    UNASSESSED,
    WINNERS,
    WOULD_OWE,
    Progress,
)


def result_of(state: Progress, bands: Bands) -> pb.WhatIfResult:
    """Return the result so far; the same state gives the same bytes."""
    told = pb.WhatIfResult(
        consignments=state.consignments,
        items=state.items,
        consignments_changed=state.consignments_touched,
        items_changed=state.items_touched,
        unassessed_by_draft=state.unassessed_now,
        unassessed_before=state.unassessed_then,
        unreadable=state.unreadable,
        other_currency=state.other_currency,
        superseded=state.superseded,
        counted_alone=state.counted_alone,
        lower_bounds=state.lower_bounds,
    )
    after: dict[str, int] = {}
    for (_, _, _, currency), sums in sorted(state.revenue.items()):
        after[currency] = after.get(currency, 0) + sums[AFTER]
    for currency, minor in sorted(after.items()):
        told.after_reviewed.append(reviewed_amount(currency, minor, state.reviewed.get(currency, 0)))
    for (jurisdiction, kind, collector, currency), sums in sorted(state.revenue.items()):
        told.revenue.add(
            jurisdiction=jurisdiction,
            kind=ChargeKind.ValueType(kind),
            collector=Collector.ValueType(collector),
            currency=currency,
            before_minor=sums[BEFORE],
            after_minor=sums[AFTER],
            unassessed_minor=sums[UNASSESSED],
            after_with_behaviour_minor=state.behaviour.get((jurisdiction, kind, collector, currency), 0),
        )
    # By subject and currency; bands in their order, the others by how much changes.
    groups = sorted(
        state.groups.items(), key=lambda each: (each[0][0], each[0][3], each[0][2], -_change(each[1]), each[0][1])
    )
    for (by, key, band, currency), counts in groups:
        behaviour = state.behaviour_groups.get((by, key, band, currency), [0, 0])
        told.groups.add(
            by=GROUPED_BY[by],
            key=bands.name(currency, band) if GROUPED_BY[by] == "value_band" else key,
            currency=currency,
            items=counts[ITEMS],
            winners=counts[WINNERS],
            losers=counts[LOSERS],
            before_minor=counts[OWED],
            after_minor=counts[WOULD_OWE],
            quantity_ppm=behaviour[0],
            after_with_behaviour_minor=behaviour[1],
        )
    return told


def reviewed_amount(currency: str, charged: int, reviewed: int) -> ReviewedAmount:
    """Return the part of a currency's charges that rests on reviewed law."""
    return ReviewedAmount(
        currency=currency, charged_minor=charged, reviewed_minor=reviewed, reviewed_ppm=reviewed_ppm(charged, reviewed)
    )


def _change(counts: list[int]) -> int:
    return abs(counts[WOULD_OWE] - counts[OWED])

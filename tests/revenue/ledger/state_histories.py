"""Histories of states of consignments, drawn at random."""

from __future__ import annotations

from hypothesis import strategies as st

from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from tests.revenue.ledger.states import DAY, DUTY, TAX, Charge, State, mrn

charges = st.lists(
    st.builds(
        Charge,
        amount=st.integers(0, 500),
        kind=st.sampled_from([DUTY, TAX, common_pb2.CHARGE_KIND_FEE]),
        code=st.sampled_from(["EU.flat_duty", "EU.vat_low_value", "EU.handling"]),
        account=st.sampled_from(["", "vendor:IM1", "deferred:a", "guarantee:b", "border:DE", "declarant:D1"]),
        collector=st.sampled_from([1, 2, 3, 4]),
        debtor=st.sampled_from([1, 4]),
    ),
    max_size=4,
)
histories = st.lists(
    st.builds(
        State,
        mrn=st.sampled_from([mrn(1), mrn(2), mrn(1, 7)]),
        version=st.integers(1, 5),
        charges=charges,
        debt=st.sampled_from([1, 2, 3, 4, 5, 6]),
        state=st.sampled_from(
            [
                clearance.STATE_AWAITING_ARRIVAL,
                clearance.STATE_INVALIDATED,
                clearance.STATE_EXPIRED,
                clearance.STATE_CONFISCATED,
                clearance.STATE_RE_EXPORTED,
            ]
        ),
        released_day=st.sampled_from([DAY, None]),
        returned=st.sampled_from([(), (1,)]),
        currency=st.sampled_from(["EUR", "EUR", "EUR", "GBP"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda state: (state.mrn, state.version),
)

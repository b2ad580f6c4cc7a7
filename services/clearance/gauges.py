"""What clearance tells in its metrics beside its decisions: states, money, what is held, what waits."""

from typing import Final

import numpy as np

from libs.columns import Table
from libs.customs.currencies import is_currency
from libs.store.database import Database
from libs.store.gauges import COUNTED_MAX
from libs.telemetry import counter, gauge, get_logger
from luxor.risk.v1 import risk_pb2
from services.clearance.lifecycle import State

_log = get_logger()
CHARGES: Final = ("duty", "tax", "fee")

_states = counter(
    "luxor_clearance_states_total", "Versions of consignments that were written, by the state they are in", ("state",)
)
_charges = counter(
    "luxor_clearance_charges_minor_total",
    "Money assessed by decisions, in minor units of the currency, by kind of charge; an amended consignment counts again",
    ("kind", "currency"),
)
_held = gauge(
    "luxor_clearance_held", f"Consignments that are held, by lane; counting ends at {COUNTED_MAX:,}", ("lane",)
)
_pending = gauge(
    "luxor_clearance_arrivals_pending", f"Arrivals recorded and not carried out yet; counting ends at {COUNTED_MAX:,}"
)
_pending_age = gauge(
    "luxor_clearance_arrivals_pending_seconds", "Age of the oldest arrival that is recorded and not carried out yet"
)

_unbound = counter(
    "luxor_clearance_arrivals_unbound_total",
    "Arrivals by carriers that nothing binds to the master document: refused, or recorded and without effect on some filings",
    ("outcome",),
)
for _outcome in ("refused", "without_effect"):
    _unbound.labels(_outcome)  # at 0 from the start, so that the first one is an increase
_overdue = gauge(
    "luxor_clearance_waits_overdue_seconds",
    "For how long the oldest release or re-routing is due that happens by itself; 0 where none is",
)

_LANES: Final = {number: name.removeprefix("LANE_").lower() for name, number in risk_pb2.Lane.items() if number}
_HELD: Final = f"select lane, count(*) as count from (select lane from held limit {COUNTED_MAX}) as part group by lane"  # noqa: S608
_PENDING: Final = f"""
    select (select count(*) from (select from arrival where pending limit {COUNTED_MAX}) as part) as count,
        (select greatest(0, extract(epoch from clock_timestamp()) - min(coalesce(reversed_at, recorded_at)) / 1000000.0)
            from arrival where pending)::float8 as age
"""  # noqa: S608  # a number of our own
_OVERDUE: Final = "select greatest(0, extract(epoch from clock_timestamp()) - min(due_at) / 1000000.0)::float8 from due"


def count_unbound(outcome: str, arrivals: int) -> None:
    """Count and report arrivals by carriers that nothing binds: "refused", or recorded and "without_effect" on some filings."""
    _unbound.labels(outcome).inc(arrivals)
    _log.warning("ARRIVALS_UNBOUND", outcome=outcome, arrivals=arrivals)


def count_states(table: Table) -> None:
    """Count versions that are written now."""
    states, counts = np.unique(table.ints("state").values, return_counts=True)
    for state, count in zip(states.tolist(), counts.tolist(), strict=True):
        _states.labels(State(state).name.lower()).inc(count)


def count_charges(table: Table) -> None:
    """Count the money of consignments that are decided now."""
    currencies = table.strings("revenue_currency")
    for place, currency in enumerate(currencies.dictionary):
        rows = currencies.indices == place
        if not currency or not rows.any():
            continue
        for kind in CHARGES:
            amounts = table.ints(f"{kind}_minor")
            # A metric is a double; so is this sum, which therefore cannot wrap.
            total = float(amounts.values[rows & amounts.valid].sum(dtype=np.float64))
            if total:
                _charges.labels(kind, currency if is_currency(currency) else "other").inc(total)


async def look(database: Database) -> None:
    """Look at what is held, what waits, and what is overdue."""
    async with database.connection(timeout_millis=5_000) as reading:
        held = {row["lane"]: row["count"] for row in await reading.raw.fetch(_HELD)}
        pending = await reading.raw.fetchrow(_PENDING)
        overdue = await reading.raw.fetchval(_OVERDUE)
    for lane, name in _LANES.items():
        _held.labels(name).set(held.get(lane, 0))
    _pending.set(pending["count"])
    _pending_age.set(pending["age"] or 0.0)
    _overdue.set(overdue or 0.0)

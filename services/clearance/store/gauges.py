"""The gauges of clearance: held and seized consignments, open controls and proposals, pending arrivals, overdue delays and controls, ended storage,
overdue movements, blocked returns, filings that risk could not judge before loading."""

from typing import Final

from libs.store.database import Database
from libs.store.monitoring.gauges import COUNTED_MAX
from libs.telemetry import gauge
from luxor.clearance.v1 import control_pb2
from luxor.common.v1 import common_pb2
from services.clearance.consignment.proposals.proposal import PROPOSAL_MICROS

_held = gauge(
    "luxor_clearance_held", f"Consignments that are held, by lane; counting ends at {COUNTED_MAX:,}", ("lane",)
)
_seized = gauge("luxor_clearance_seized", f"Consignments that are seized; counting ends at {COUNTED_MAX:,}")
_pending = gauge(
    "luxor_clearance_arrivals_pending", f"Arrivals recorded and not carried out yet; counting ends at {COUNTED_MAX:,}"
)
_pending_age = gauge(
    "luxor_clearance_arrivals_pending_seconds", "Age of the oldest arrival that is recorded and not carried out yet"
)

_overdue = gauge(
    "luxor_clearance_waits_overdue_seconds",
    "Delay of the oldest automatic release, re-routing, reminder, deadline or lapse of a proposal that is due; 0 if none is",
)


_controls = gauge(
    "luxor_clearance_controls_open",
    "Open controls, by kind (documents, scan, examination, information, screening, do_not_load); "
    f"counting ends at {COUNTED_MAX:,}",
    ("kind",),
)
_controls_overdue = gauge(
    "luxor_clearance_controls_overdue_seconds",
    "Time since the deadline of the control that nobody answered or concluded for longest; 0 if there is none",
)
_storage_ended = gauge(
    "luxor_clearance_storage_ended",
    f"Consignments whose time limit of temporary storage has ended, or that were not presented in time; counting ends at {COUNTED_MAX:,}",
)
_storage_ended_age = gauge(
    "luxor_clearance_storage_ended_seconds",
    "Time since the end of temporary storage, or of the time of presentation, of the consignment whose limit ended first; 0 if there is none",
)
_transit_overdue = gauge(
    "luxor_clearance_transit_overdue",
    f"Consignments in transit that did not arrive within their time limit; counting ends at {COUNTED_MAX:,}",
)
_transit_overdue_age = gauge(
    "luxor_clearance_transit_overdue_seconds",
    "Time since the end of the time limit of the consignment in transit that is overdue for longest; 0 if there is none",
)
_controls_waiting = gauge(
    "luxor_clearance_controls_waiting_seconds",
    "Time since the answer to, or without one the order of, the open control that has waited for longest without a timer; 0 if there is none",
)
_proposals_waiting = gauge(
    "luxor_clearance_proposals_waiting_seconds",
    "Time since the oldest open proposal was made, which waits for a second person and lapses after 72 hours; 0 if there is none",
)
_returns_blocked = gauge(
    "luxor_clearance_returns_blocked_seconds",
    "Time since the first departure of goods of an open return order that could not be returned because of an obstacle; 0 if there is none",
)
_unjudged = gauge(
    "luxor_clearance_unjudged_seconds",
    "Time since the acceptance of the oldest filing in the list of what risk could not judge before loading; 0 if the list is empty",
)
_LANES: Final = {number: name.removeprefix("LANE_").lower() for name, number in common_pb2.Lane.items() if number}
_HELD: Final = f"select lane, count(*) as count from (select lane from held limit {COUNTED_MAX}) as part group by lane"  # noqa: S608
_SEIZED: Final = f"select count(*) from (select from seized limit {COUNTED_MAX}) as part"  # noqa: S608
_PENDING: Final = f"""
    select (select count(*) from (select from arrival where pending limit {COUNTED_MAX}) as part) as count,
        (select greatest(0, extract(epoch from clock_timestamp()) - min(coalesce(reversed_at, recorded_at)) / 1000000.0)
            from arrival where pending)::float8 as age
"""  # noqa: S608  # a number of our own
_OVERDUE: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - "
    "least((select min(due_at) from due), (select min(next_at) from control), (select min(next_at) from storage), "
    "(select min(next_at) from transit), (select min(next_at) from return_order), (select min(due_at) from proposal), "
    "(select min(next_at) from licence)) / 1000000.0)::float8"
)


_FORMS: Final = {
    number: name.removeprefix("CONTROL_FORM_").lower() for name, number in control_pb2.ControlForm.items() if number
}
_CONTROLS: Final = (
    f"select form, count(*) as count from (select form from control limit {COUNTED_MAX}) as part group by form"  # noqa: S608
)
_CONTROLS_OVERDUE: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - min(overdue_at) / 1000000.0)::float8 "
    "from control where not answered"
)
_CONTROLS_WAITING: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - min(waits_since) / 1000000.0)::float8 "
    "from control where waits_since is not null"
)

_PROPOSALS_WAITING: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - "  # noqa: S608  # a number of our own
    f"(min(due_at) - {PROPOSAL_MICROS}) / 1000000.0)::float8 from proposal"
)


_RETURNS_BLOCKED: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - min(departed_at) / 1000000.0)::float8 "
    "from return_order where status = 1 and departed_at is not null"
)


_UNJUDGED: Final = (
    "select greatest(0, extract(epoch from clock_timestamp()) - min(accepted_at) / 1000000.0)::float8 from unjudged"
)


_STORAGE_ENDED: Final = f"""
    select (select count(*) from (select from storage where next_at is null limit {COUNTED_MAX}) as part) as count,
        (select greatest(0, extract(epoch from clock_timestamp()) - min(ends_at) / 1000000.0) from storage where next_at is null)::float8 as age
"""  # noqa: S608  # a number of our own
_TRANSIT_OVERDUE: Final = f"""
    select (select count(*) from (select from transit where next_at is null limit {COUNTED_MAX}) as part) as count,
        (select greatest(0, extract(epoch from clock_timestamp()) - min(due_at) / 1000000.0) from transit where next_at is null)::float8 as age
"""  # noqa: S608  # a number of our own


async def look(database: Database) -> None:
    """Read the gauges from the store."""
    async with database.connection(timeout_millis=5_000) as reading:
        held = {row["lane"]: row["count"] for row in await reading.raw.fetch(_HELD)}
        seized = await reading.raw.fetchval(_SEIZED)
        pending = await reading.raw.fetchrow(_PENDING)
        overdue = await reading.raw.fetchval(_OVERDUE)
        controls = {row["form"]: row["count"] for row in await reading.raw.fetch(_CONTROLS)}
        controls_overdue = await reading.raw.fetchval(_CONTROLS_OVERDUE)
        stored = await reading.raw.fetchrow(_STORAGE_ENDED)
        transit = await reading.raw.fetchrow(_TRANSIT_OVERDUE)
        controls_waiting = await reading.raw.fetchval(_CONTROLS_WAITING)
        proposals_waiting = await reading.raw.fetchval(_PROPOSALS_WAITING)
        returns_blocked = await reading.raw.fetchval(_RETURNS_BLOCKED)
        unjudged = await reading.raw.fetchval(_UNJUDGED)
    for lane, name in _LANES.items():
        _held.labels(name).set(held.get(lane, 0))
    _seized.set(seized)
    _pending.set(pending["count"])
    _pending_age.set(pending["age"] or 0.0)
    _overdue.set(overdue or 0.0)
    for form, name in _FORMS.items():
        _controls.labels(name).set(controls.get(form, 0))
    _controls_overdue.set(controls_overdue or 0.0)
    _storage_ended.set(stored["count"])
    _storage_ended_age.set(stored["age"] or 0.0)
    _transit_overdue.set(transit["count"])
    _transit_overdue_age.set(transit["age"] or 0.0)
    _controls_waiting.set(controls_waiting or 0.0)
    _proposals_waiting.set(proposals_waiting or 0.0)
    _returns_blocked.set(returns_blocked or 0.0)
    _unjudged.set(unjudged or 0.0)

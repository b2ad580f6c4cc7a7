"""All SQL of clearance, by subject, behind one store."""

from services.clearance.store.adjustments import PendingAdjustment
from services.clearance.store.early_debt_events import EarlyDebtEvent
from services.clearance.store.early_matches import EarlyMatch
from services.clearance.store.rows import STATE_DAYS, Row, agency_key, carrier_key, day_of, days_of, filer_key
from services.clearance.store.store import Store

__all__ = [
    "STATE_DAYS",
    "EarlyDebtEvent",
    "EarlyMatch",
    "PendingAdjustment",
    "Row",
    "Store",
    "agency_key",
    "carrier_key",
    "day_of",
    "days_of",
    "filer_key",
]

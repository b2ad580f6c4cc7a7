"""All SQL of clearance, by subject; who uses it sees one store."""

from services.clearance.store.adjustments import Begun
from services.clearance.store.hits import EarlyHit
from services.clearance.store.news import EarlyNews
from services.clearance.store.rows import STATE_DAYS, Row, carrier_key, day_of, filer_key
from services.clearance.store.store import Store

__all__ = [
    "STATE_DAYS",
    "Begun",
    "EarlyHit",
    "EarlyNews",
    "Row",
    "Store",
    "carrier_key",
    "day_of",
    "filer_key",
]

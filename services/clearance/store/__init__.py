"""All SQL of clearance, by subject; who uses it sees one store."""

from services.clearance.store.rows import STATE_DAYS, Arrival, Row, carrier_key, day_of, filer_key
from services.clearance.store.store import Store

__all__ = ["STATE_DAYS", "Arrival", "Row", "Store", "carrier_key", "day_of", "filer_key"]

"""A store of revenue with an empty ledger, and the whole service."""

from __future__ import annotations

from tests.revenue.ledger.conftest import books
from tests.revenue.ledger.service_client import house, kept

__all__ = ["books", "house", "kept"]

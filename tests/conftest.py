"""Fixtures that several packages' tests share."""

from libs.store.testing import database, database_url, postgres

__all__ = ["database", "database_url", "postgres"]

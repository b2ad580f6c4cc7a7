"""Fixtures that several packages' tests share, and one form of property tests: the same examples in every run."""

from hypothesis import settings

from libs.store.testing import database, database_url, migrations_of, postgres

__all__ = ["database", "database_url", "migrations_of", "postgres"]

settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")

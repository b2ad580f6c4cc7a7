"""Fixtures that several packages' tests share, and one form of property tests: the same examples in every run, on however busy a machine."""

from hypothesis import HealthCheck, settings

from libs.store.testing import database, database_url, migrations_of, postgres
from tests.support.process import telemetry_of_its_own

__all__ = ["database", "database_url", "migrations_of", "postgres", "telemetry_of_its_own"]

# How long an example or its making takes tells of the machine alone: benchmarks say what is slow.
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fixed")

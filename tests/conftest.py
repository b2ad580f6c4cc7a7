"""Fixtures that several packages' tests share, and one form of property tests: the same examples in every run, on however busy a machine."""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.databases import database, database_url, migrations_of, postgres
from tests.support.process import (
    files_of_all_services_are_read_once,
    objects_of_tests_are_collected,
    telemetry_of_its_own,
)
from tests.support.shared_system import SHARING, TESTS, end_unless_shared

__all__ = [
    "database",
    "database_url",
    "files_of_all_services_are_read_once",
    "migrations_of",
    "objects_of_tests_are_collected",
    "postgres",
    "telemetry_of_its_own",
]

# How long an example or its making takes tells of the machine alone: benchmarks say what is slow.
settings.register_profile("fixed", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let long files begin, so that no worker is left alone with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """End the system that files share once none of them is next."""
    end_unless_shared(nextitem)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker whole files, and all files that share a system to one worker."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class ByFilesAndSystems(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "a system" if TESTS.parent / file in SHARING else file

    return ByFilesAndSystems(config, log) if config.getvalue("dist") == "loadfile" else None

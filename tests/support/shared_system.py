"""One whole system that several files of tests use, one file after the other in one process: a start takes ten seconds of CPU time.

`SHARING` names the files. Those of one run form one unit of work of pytest-xdist; the system ends once the next test is of another file.
What a file files stays for those after it, so each tells its own consignments from those of others.
"""

import shutil
from pathlib import Path
from typing import Final

import pytest

from libs.cli.local.processes import Backoff
from libs.cli.local.supervisor import LocalSystem
from tests.support.databases import enterable_directory

TESTS: Final = Path(__file__).resolve().parents[1]
SHARING: Final = frozenset(
    TESTS / each
    for each in (
        "cli/test_cases.py",
        "cli/test_codes.py",
        "cli/test_commands.py",
        "cli/test_corrections.py",
        "cli/test_licences.py",
        "cli/test_load.py",
        "cli/test_release_lists.py",
        "cli/test_risk_rules.py",
        "cli/test_trace.py",
        "e2e/test_interoperability.py",
    )
)
_running: list[LocalSystem] = []


def shared_system() -> LocalSystem:
    """Return the system, which is started where it does not run."""
    if not _running:
        # The tests are about other things than accounts: nothing waits for one to be opened. No process is waited for at the end.
        env = {"LUXOR_REVENUE_DEFERRED": "everyone"}
        system = LocalSystem(enterable_directory(), backoff=Backoff(first_seconds=0.05), env=env, grace_seconds=0)
        _running.append(system.start())
    return _running[0]


def end_unless_shared(item: pytest.Item | None) -> None:
    """End the system where this next test is not of a file that shares it."""
    if _running and (item is None or item.path not in SHARING):
        system = _running.pop()
        system.stop()
        shutil.rmtree(system.data_dir, ignore_errors=True)

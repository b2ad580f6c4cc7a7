"""A whole system that the tests of a module share, and the command line on it."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libs.cli.local.processes import Backoff
from libs.cli.local.supervisor import LocalSystem
from libs.cli.main import luxor
from tests.support.databases import enterable_directory


@dataclass
class Luxor:
    """Runs `luxor` on a data directory."""

    data_dir: Path

    def run(self, *arguments: str, code: int = 0) -> Result:
        """Run a command; fail the test, with what it printed, for another exit code."""
        runner = CliRunner(env={"LUXOR_DATA_DIR": str(self.data_dir), "COLUMNS": "140"})
        result = runner.invoke(luxor, list(arguments))
        assert result.exit_code == code, (arguments, result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def error(self, *arguments: str, code: int) -> dict[str, str]:
        """Run a command that fails with --json and return the error that it told."""
        result = self.run(*arguments, "--json", code=code)
        told: dict[str, str] = json.loads(result.stderr.splitlines()[-1])["error"]
        assert told["sentence"]
        return told


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    directory = enterable_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def system(data_dir: Path) -> Iterator[LocalSystem]:
    # The tests are about other things than accounts: nothing waits for one to be opened.
    env = {"LUXOR_REVENUE_DEFERRED": "everyone"}
    with LocalSystem(data_dir, backoff=Backoff(first_seconds=0.05), env=env) as running:
        yield running


@pytest.fixture
def cli(system: LocalSystem) -> Luxor:
    return Luxor(system.data_dir)


@pytest.fixture
def cli_on() -> Callable[[Path], Luxor]:
    return Luxor

"""A whole system that files of tests share, and the command line on it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libs.cli.local.supervisor import LocalSystem
from libs.cli.main import luxor
from tests.support.shared_system import SHARING, shared_system


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
def system(request: pytest.FixtureRequest) -> LocalSystem:
    assert request.path in SHARING, "a file that is not named there starts and stops a system for itself"
    return shared_system()


@pytest.fixture
def cli(system: LocalSystem) -> Luxor:
    return Luxor(system.data_dir)


@pytest.fixture(scope="session")
def cli_on() -> Callable[[Path], Luxor]:
    return Luxor

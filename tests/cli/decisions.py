"""Decisions that tests of commands wait for."""

import json
import time
from typing import Any

from click.testing import CliRunner

from libs.cli.main import luxor


def await_decided(cli: Any, reference: str, **more: str) -> dict[str, Any]:
    """Ask for a status until there is one: filing returns before the decision."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        result = CliRunner(env={"LUXOR_DATA_DIR": str(cli.data_dir)}).invoke(luxor, ["show", reference, "--json"])
        if result.exit_code == 0:
            found: dict[str, Any] = json.loads(result.stdout)[0]
            if all(found.get(name) == value for name, value in more.items()):
                return found
    raise AssertionError(f"{reference} is not decided: {result.output}")

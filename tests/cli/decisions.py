"""Decisions and counts that tests of commands wait for."""

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


def counted(cli: Any) -> int:
    """Ask statistics how many consignments it has counted."""
    told = cli.json("stats", "--by", "lane", "--by", "state")
    return sum(each.get("consignments", 0) for each in told.get("counts", []))


def await_counted(cli: Any, consignments: int) -> None:
    """Ask statistics until it has counted so many: it is the last to hear of a filing."""
    deadline = time.monotonic() + 30
    while (found := counted(cli)) < consignments:
        assert time.monotonic() < deadline, found

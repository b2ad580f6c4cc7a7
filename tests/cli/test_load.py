"""`luxor load` into a running system: bounded in rate and time, and honest about what came of it."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli.local.supervisor import LocalSystem
from libs.cli.main import luxor
from tests.cli.decisions import await_counted, counted

pytestmark = pytest.mark.long


def test_load_files_at_the_rate_for_the_time_and_the_same_seed_files_nothing_twice(cli: Any) -> None:
    before, began = counted(cli), time.monotonic()
    # The last of three batches is due after two seconds; a busy machine has three more until the time is over.
    told = cli.json("load", "--rate", "60", "--seconds", "5", "--batch", "60", "--seed", "77")
    assert time.monotonic() - began >= 4
    assert (told["filed"], told["accepted"], told["refused"], told["failed"], told["seed"]) == (300, 300, 0, 0, 77)
    assert told["per_second"] <= 300 / 4
    other = cli.json("load", "--rate", "20", "--seconds", "10", "--batch", "200", "--packed")
    assert other["accepted"] == 200
    assert other["seed"] != 77
    await_counted(cli, before + 500)


def test_load_counts_calls_that_fail_and_ends_with_1(system: LocalSystem, tmp_path: Path) -> None:
    # Another authority's certificates: a server that is away would be waited for.
    environ = {"LUXOR_DATA_DIR": str(system.data_dir), "LUXOR_TLS_DIR": str(tmp_path / "other")}
    arguments = ["load", "--rate", "1", "--seconds", "10", "--batch", "10", "--timeout", "1", "--json"]
    result = CliRunner(env=environ).invoke(luxor, arguments)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["filed"], told["accepted"], told["failed"]) == (10, 0, 10)
    assert told["reasons"] == {"TLS_REFUSED": 10}

"""The benchmark of Compose against processes still runs: its smoke run gives a value."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.containers.engine import ROOT, Images


@pytest.mark.timeout(400)
def test_a_smoke_run_of_the_benchmark_gives_the_figure(images: Images) -> None:
    done = subprocess.run(
        [sys.executable, "tests/bench/deploy_compose.py", "--quick"], cwd=ROOT, env=os.environ | {"LUXOR_CONTAINERS": "yes"},
        capture_output=True, text=True, check=False, timeout=390,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (figure,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"figure"')]
    assert figure["figure"] == "compose_vs_processes"
    assert figure["value"] > 0, figure

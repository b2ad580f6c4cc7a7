"""Every benchmark still runs, and says its figures in the form that programs read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "tests" / "bench").glob("[a-z]*_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_smoke_run_of_each_benchmark_prints_the_machine_and_its_figures(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "--quick"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert any(line.startswith("machine ") for line in lines)
    figures = [json.loads(line) for line in lines if line.startswith('{"figure"')]
    assert figures
    for figure in figures:
        if figure["value"] is None:
            assert figure["reason"]
        else:
            assert figure["min"] <= figure["value"] <= figure["max"]
            assert figure["unit"]
            assert figure["runs"] >= 1

"""What a benchmark prints must be read by programs: the runner refuses the rest. `make bench BENCH_ARGS=--quick` runs them all."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
GOOD = {"figure": "law_rate", "value": 2.0, "unit": "lines/s", "min": 1.0, "max": 3.0, "runs": 5}
WHOLE = """import sys
assert sys.argv[1:] == ["--quick"]
print("machine   of a test")
print('{"figure": "a", "value": null, "reason": "no second core"}')
"""


@pytest.fixture
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(**changed: object) -> list[str]:
    return ["machine   of a test", json.dumps(GOOD | changed)]


def test_a_figure_and_one_that_could_not_be_had_are_whole(runner: ModuleType) -> None:
    assert runner.faults(printed()) == []
    assert runner.faults(["machine   m", '{"figure": "law_rate", "value": null, "reason": "no second core"}']) == []


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["machine   m"],
        printed()[1:],
        printed(value=4.0),
        printed(unit=""),
        printed(runs=0),
        printed(value=None),
        printed(value="fast"),
        ["machine   m", '{"figure": "law_rate", "value": 2'],
        ["machine   m", '{"figure": "law_rate", "value": 2}'],
    ],
)
def test_what_programs_cannot_read_is_a_fault(runner: ModuleType, lines: list[str]) -> None:
    assert runner.faults(lines)


@pytest.mark.parametrize(
    ("script", "passes"),
    [(WHOLE, True), (WHOLE + "sys.exit(3)", False), ("print('machine   m')", False), ("raise OSError", False)],
)
def test_a_benchmark_that_fails_or_tells_nothing_fails_the_run(
    runner: ModuleType, tmp_path: Path, script: str, passes: bool
) -> None:
    path = tmp_path / "some_bench.py"
    path.write_text(script)
    assert runner.run_script(path, quick=True) is passes


def test_a_smoke_run_that_does_not_end_is_ended(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "QUICK_SECONDS", 0.2)
    path = tmp_path / "some_bench.py"
    path.write_text("import signal\nsignal.pause()\n")
    assert not runner.run_script(path, quick=True)


@pytest.mark.parametrize(("end", "seconds", "passes"), [("signal.pause()", 6, False), ("", 30, True)])
def test_a_server_that_a_benchmark_leaves_behind_is_not_waited_for(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, seconds: int, passes: bool
) -> None:
    monkeypatch.setattr(runner, "QUICK_SECONDS", seconds)
    monkeypatch.setattr(runner, "REST_SECONDS", 2)
    path, left = tmp_path / "some_bench.py", tmp_path / "left"
    path.write_text(
        f"import pathlib, signal, subprocess\n{WHOLE}"
        f"pathlib.Path({str(left)!r}).write_text(str(subprocess.Popen(['sleep', '60']).pid))\nsys.stdout.flush()\n{end}\n"
    )
    began = time.monotonic()
    try:
        assert runner.run_script(path, quick=True) is passes
        assert time.monotonic() - began < 30
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_every_benchmark_is_among_those_that_run(runner: ModuleType) -> None:
    assert {"revenue_law", "e2e_flow", "feed_rate"} <= {path.stem for path in runner.scripts(None)}
    assert [path.stem for path in runner.scripts("deploy")] == ["deploy_compose", "deploy_telemetry"]


def test_a_long_benchmark_runs_when_its_own_area_is_named_and_in_smoke_runs(runner: ModuleType) -> None:
    assert [path.stem for path in runner.scripts("history")] == ["e2e_history"]
    for area in (None, "e2e"):
        assert "e2e_history" not in {path.stem for path in runner.scripts(area)}
        assert "e2e_history" in {path.stem for path in runner.scripts(area, quick=True)}

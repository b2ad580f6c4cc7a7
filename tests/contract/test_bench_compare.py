"""`make bench-compare`: both builds run alternately with their own benchmarks, and ratios are taken pair by pair."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
MAKEFILE = "setup:\n\tmkdir -p .venv/bin\n\tln -sf {python} .venv/bin/python\n"
RUN = """import json, pathlib, sys
assert sys.argv[1:3] == ["--area", "e2e"], sys.argv
calls = pathlib.Path({calls!r})
calls.write_text((calls.read_text() if calls.exists() else "") + {name!r} + " ")
print("machine   of a test")
print(json.dumps({{"figure": "e2e_rate_cps", "value": {rate}, "unit": "1/s", "runs": 1, "min": 1, "max": 9999}}))
print(json.dumps({{"figure": "only_{name}", "value": 1, "unit": "s", "runs": 1, "min": 1, "max": 1}}))
print(json.dumps({{"figure": "absent", "value": None, "reason": "no second core"}}))
sys.exit({code})
"""


def commit(tree: Path, calls: Path, *, name: str, rate: float, code: int = 0) -> None:
    (tree / "tests/bench").mkdir(parents=True, exist_ok=True)
    (tree / "tests/bench/run.py").write_text(RUN.format(calls=str(calls), name=name, rate=rate, code=code))
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@test.invalid", "commit", "-qm", name]):
        subprocess.run(["git", *command], cwd=tree, check=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    (tree / "Makefile").write_text(MAKEFILE.format(python=sys.executable))
    (tree / ".gitignore").write_text(".venv\n")
    (tree / "tests/bench").mkdir(parents=True)
    for script in ("compare.py", "figures.py"):
        (tree / "tests/bench" / script).write_text((BENCH / script).read_text())
    commit(tree, tmp_path / "calls", name="base", rate=2000)
    subprocess.run(["git", "tag", "before"], cwd=tree, check=True)
    commit(tree, tmp_path / "calls", name="tree", rate=3000)
    subprocess.run(["make", "-s", "setup"], cwd=tree, check=True)
    return tree


def compare(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tests/bench/compare.py", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=120)


def test_builds_run_in_turn_and_ratios_are_printed(tree: Path, tmp_path: Path) -> None:
    done = compare(tree, "before", "e2e", "--pairs", "2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text().split() == ["base", "tree", "tree", "base"]
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"figure"')]
    assert [(each["figure"], each["value"], each["runs"]) for each in printed] == [("e2e_rate_cps_ratio", 1.5, 2)]
    assert "not compared, since one build alone prints them: only_base, only_tree" in done.stdout


def test_no_worktree_stays(tree: Path) -> None:
    assert compare(tree, "before", "e2e", "--pairs", "1").returncode == 0
    listed = subprocess.run(["git", "worktree", "list"], cwd=tree, capture_output=True, text=True, check=True).stdout
    assert listed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "e2e"), 1, "git worktree add"),
        (("before", "e2e", "--pairs", "0"), 2, "--pairs must be at least 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(tree: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = compare(tree, *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_a_benchmark_that_cannot_measure_ends_the_comparison(tree: Path, tmp_path: Path) -> None:
    commit(tree, tmp_path / "calls", name="tree", rate=3000, code=3)
    done = compare(tree, "before", "e2e", "--pairs", "1")
    assert done.returncode == 1
    assert "ended with 3" in done.stderr

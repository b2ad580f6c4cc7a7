"""What a killed run of the tests in containers has left is ended by its notes, and nothing else is."""

import gc
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.containers import engine, leftovers

ROOT = Path(__file__).resolve().parents[2]
KILLED = """
import os, subprocess, sys
from pathlib import Path
from tests.containers import leftovers
leftovers.NOTES = Path(sys.argv[1])
engine = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True, stdout=-3)
other = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True, stdout=-3)
with leftovers.noted("engine", str(engine.pid)), leftovers.noted("project", "luxor-test-none"):
    print(engine.pid, other.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(leftovers, "NOTES", tmp_path)
    return tmp_path


def test_what_a_killed_run_started_is_ended_and_nothing_else(notes: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(notes)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert done.returncode == -9
    started, other = map(int, done.stdout.split())
    try:
        before = leftovers.started_at(started)
        assert before
        assert leftovers.remove() == ["project luxor-test-none", f"engine {started}"]
        assert not _runs(started)
        assert _runs(other)
        assert list(notes.iterdir()) == []
        assert leftovers.remove() == []
    finally:
        os.kill(other, 9)


def test_a_process_that_has_the_number_by_chance_is_left_alone(notes: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        (notes / "engine-999999999-1").write_text(f"{process.pid}\n1")
        leftovers.remove()
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_what_ended_well_leaves_no_note(notes: Path) -> None:
    with leftovers.noted("mount", "/nowhere"):
        assert len(list(notes.iterdir())) == 1
    assert list(notes.iterdir()) == []


def test_where_no_engine_runs_that_is_found_without_a_socket_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as once:  # its file stays, as that of an engine that has ended
        once.bind(str(gone))
    for place in (gone, tmp_path / "never.sock"):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
        with warnings.catch_warnings():  # what tests before left open is not meant
            warnings.simplefilter("ignore")
            gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert engine._client() is None
            gc.collect()
        assert [str(each.message) for each in caught] == []


def test_the_tests_in_containers_end_by_themselves_before_they_are_killed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    inner = int(makefile.split("COMPOSE_TEST_SECONDS ?= ")[1].split()[0])
    more = int(makefile.split("timeout --kill-after=")[1].split()[0])
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    outer = int(run.split(' "containers" ')[0].rsplit("suite ", 1)[1])
    assert inner <= outer - 200
    assert inner + more < outer
    assert "-m tests.containers.leftovers" in run.split("finish() {")[1].split("\n}")[0]


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

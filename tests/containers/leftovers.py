"""What a run of the tests in containers has made on this machine, written down so that it is removed even when the run was killed.

    python -m tests.containers.leftovers

ends what the notes name and nothing else: containers, networks and volumes by their project, mounts by their place, the engine by
its process, if that is still the one that was started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTES = ROOT / ".luxor" / "compose-test"
"""A file for each thing: its kind and its name."""
END_SECONDS = 30.0


@contextlib.contextmanager
def noted(kind: str, name: str) -> Iterator[None]:
    """Keep a note for as long as something is there: an `engine` by its process, a `project`, a `mount` by its place."""
    NOTES.mkdir(parents=True, exist_ok=True)
    note = NOTES / f"{kind}-{os.getpid()}-{time.monotonic_ns()}"
    note.write_text(f"{name}\n{started_at(int(name)) if kind == 'engine' else ''}")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def started_at(process: int) -> str:
    """When a process was started, in the kernel's ticks: with its number this names one process and no other."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def remove() -> list[str]:
    """Remove what the notes name, the engine last; give what was removed."""
    done = []
    for kind in ("project", "mount", "engine"):
        for note in sorted(NOTES.glob(f"{kind}-*")) if NOTES.is_dir() else []:
            if Path(f"/proc/{note.name.split('-')[1]}").exists() and "pytest" in _words(note.name.split("-")[1]):
                continue  # its run goes on, and removes it by itself
            name, _, ticks = note.read_text().partition("\n")
            {"project": _project, "mount": _mount}.get(kind, lambda each, t=ticks: _engine(each, t))(name)
            note.unlink(missing_ok=True)
            done.append(f"{kind} {name}")
    return done


def _words(process: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_text()
    return ""


def _quiet(*command: str) -> list[str]:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.split()
    return []


def _project(name: str) -> None:
    label = f"label=com.docker.compose.project={name}"
    for words, end in (
        (["ps", "--all"], ["rm", "--force", "--volumes"]),
        (["network", "ls"], ["network", "rm"]),
        (["volume", "ls"], ["volume", "rm", "--force"]),
    ):
        if found := _quiet("docker", *words, "--quiet", "--filter", label):
            _quiet("docker", *end, *found)


def _mount(place: str) -> None:
    _quiet("umount", "--lazy", place)
    shutil.rmtree(Path(place).parent, ignore_errors=True)


def _engine(number: str, ticks: str) -> None:
    process = int(number)
    if not ticks or started_at(process) != ticks:
        return
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, ending)
        ends_at = time.monotonic() + END_SECONDS
        while started_at(process) == ticks:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)
            if time.monotonic() > ends_at:
                break
            time.sleep(0.1)


if __name__ == "__main__":
    for line in remove():
        print(f"removed what a run of the tests in containers left: {line}", file=sys.stderr)

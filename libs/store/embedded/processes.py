"""The processes of a server, whatever started them, and running async work from any context."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

POLL_SECONDS: Final = 0.02

_Result = TypeVar("_Result")


def postmaster_of(cluster: Path) -> psutil.Process | None:
    """The postmaster of `cluster` by its pid file; a pid that meanwhile is another program's does not count."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not _is_of(process, cluster):
            return None
    except (OSError, ValueError, psutil.Error):
        return None
    return process


def kill_orphans(cluster: Path, seconds: float) -> None:
    """Ends what a killed postmaster left behind: children that have not noticed yet hold its memory and forbid a
    start."""
    orphans = [each for each in psutil.process_iter() if _is_of(each, cluster)]
    kill_all(orphans, seconds)


def kill_all(processes: Sequence[psutil.Process], seconds: float) -> None:
    """SIGKILL to each, and waits for their end."""
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    _await_end(processes, seconds)


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that descend from it."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _await_end(processes: Sequence[psutil.Process], seconds: float) -> None:
    """Waits until none of the processes works any more; a process that is not reaped yet has ended too."""
    deadline = time.monotonic() + seconds
    remaining = list(processes)
    while remaining and time.monotonic() < deadline:
        remaining = [each for each in remaining if _works(each)]
        if remaining:
            time.sleep(POLL_SECONDS / 4)


def _works(process: psutil.Process) -> bool:
    try:
        return bool(process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD})
    except psutil.NoSuchProcess:
        return False


def _is_of(process: psutil.Process, cluster: Path) -> bool:
    """Whether a process is of the server of `cluster`: each of them works in the cluster's directory."""
    try:
        return process.name() in {"postgres", "postmaster"} and Path(process.cwd()) == cluster.resolve()
    except (psutil.Error, OSError):
        return False


def run_apart(work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs a coroutine to its end in a thread of its own, so that callers with and without a running loop are
    alike."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target, name="luxor-postgres", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]

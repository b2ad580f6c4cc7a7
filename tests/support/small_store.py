"""A PostgreSQL of one service's own on a small file system, kept running as the supervisor keeps its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from libs.cli.local.processes import Backoff, Child
from libs.store.embedded.server import EmbeddedPostgres
from tests.support.databases import enterable_directory

BYTES: Final = 320 * 1024 * 1024
_TICK_SECONDS: Final = 0.05
# The log of commits stays small, so that what is full is the disk and not the log's own allowance.
_SETTINGS: Final = "max_wal_size = 64MB\nmin_wal_size = 32MB\nshared_buffers = 32MB\n"


@contextmanager
def small_file_system(size: int = BYTES) -> Iterator[Path]:
    """Mount a file system of `size` bytes in memory; skip the test where this account may not mount."""
    directory = enterable_directory()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "luxor-test", str(directory)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", str(directory)], check=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class SmallStore:
    """The server on such a file system, with databases for all services, and a ballast that fills it up."""

    def __init__(self, directory: Path, logs: Path) -> None:
        """Work in a mounted directory; the keeper writes its own log elsewhere."""
        self.server = EmbeddedPostgres(directory)
        self._ballast = directory / "ballast"
        self._child = Child("small store", ["postgres", str(directory), "200"], os.environ, logs / "small-store.log")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="small store", daemon=True)

    @property
    def restarts(self) -> int:
        """How often its keeper was started again since the server had died."""
        return self._child.restarts

    def fill(self) -> None:
        """Leave no space at all, also none that was set free meanwhile."""
        block = b"\0" * 65536
        with self._ballast.open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(block)
                except OSError:
                    if len(block) == 4096:
                        return
                    block = block[: len(block) // 2]

    def empty(self) -> None:
        """Give the space back."""
        self._ballast.unlink()

    def _keep(self) -> None:
        backoff = Backoff()
        self._child.start()
        while not self._stop.wait(_TICK_SECONDS):
            self._child.look(backoff)
            if self._child.due is not None and time.monotonic() >= self._child.due:
                self._child.restart()
        self._child.end()
        self._child.wait(60)

    def __enter__(self) -> Self:
        """Make the server and have it kept."""
        self.server.start()
        (self.server.cluster / "local.conf").write_text(_SETTINGS)
        self.server.stop()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop both."""
        self._stop.set()
        self._thread.join()
        self.server.destroy()

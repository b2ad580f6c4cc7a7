"""A process of the supervisor: start, restart with back-off, end."""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import libs

LOG_BYTES_MAX: Final = 10 * 1024 * 1024
ROOT: Final = Path(libs.__file__ or "").resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses of the supervisor before it restarts a process that died."""

    first_seconds: float = 0.2
    """After the first death."""
    most_seconds: float = 10.0
    """The pause doubles up to this."""
    calm_seconds: float = 30.0
    """After this running time, the next pause is the first one again."""

    def pause(self, deaths: int) -> float:
        """Return the pause after so many deaths in a row, from 1."""
        return float(min(self.most_seconds, self.first_seconds * 2 ** min(deaths - 1, 20)))


class Child:
    """A process of the supervisor, in a session of its own, its output in a log file."""

    def __init__(self, name: str, arguments: list[str], environ: Mapping[str, str], log: Path) -> None:
        """Define a process; `arguments` are those of libs.cli.local.child."""
        self.name = name
        self.log = log
        self.restarts = 0
        """Number of restarts."""
        self.since = ""
        """Time of the last start, ISO 8601."""
        self.last_exit: int | None = None
        self.due: float | None = None
        """Time of the next restart, by time.monotonic; None while it runs."""
        self.arguments = arguments
        self.environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is down."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def start(self) -> None:
        """Start it; a large log is rotated."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        # -P: a directory called `services` in the current directory must not be imported.
        path = os.pathsep.join(filter(None, [str(ROOT), self.environ.get("PYTHONPATH", "")]))
        command = [sys.executable, "-P", "-m", "libs.cli.local.child", str(os.getpid()), *self.arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ | {"PYTHONPATH": path},
                start_new_session=True,
            )
        self._started = time.monotonic()
        self.since = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        self.due = None

    def look(self, backoff: Backoff) -> bool:
        """Check whether it died since the last call, and schedule its restart; return whether it did."""
        if self._process is None or self.due is not None or self._process.poll() is None:
            return False
        now = time.monotonic()
        self.last_exit = self._process.returncode
        self._deaths = 1 if now - self._started >= backoff.calm_seconds else self._deaths + 1
        self.due = now + backoff.pause(self._deaths)
        return True

    def restart(self) -> None:
        """Start it after a death."""
        self.restarts += 1
        self.start()

    def signal(self, number: signal.Signals) -> None:
        """Signal it; no error if it is down."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def end(self) -> None:
        """Request its end; a process that was stopped (SIGSTOP) is continued first."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)

    def wait(self, seconds: float) -> None:
        """Wait for its end; kill its process group if it takes longer than `seconds`."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()
        self.last_exit = self._process.returncode

    def kill(self) -> None:
        """Kill its process group, and reap it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, characters: int = 1500) -> str:
        """Return the end of its log."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - characters))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

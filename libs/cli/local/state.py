"""The published state of a running supervisor: the state file, the lock that proves that it runs, and its ports."""

import contextlib
import fcntl
import json
import os
import random
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

SERVICES: Final = ("ingestion", "risk", "revenue", "clearance", "statistics")
REPLICAS_MAX: Final = 8
"""Replicas of one service on one machine: with so many of each, the five services hold 480 connections to the embedded PostgreSQL."""
CONNECTIONS_A_REPLICA: Final = 12
"""Connections to its database that a replica holds at most."""
_LOWEST: Final = 15_000
_HIGHEST: Final = 32_000
"""Free ports are taken below the range that outgoing connections use, so that none takes one in the meantime."""
_PART: Final = 64
"""Ports next to each other that a process has for itself."""
_unused: list[int] = []
"""Ports of this process's parts that it has not given out yet."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The three ports of one process; see libs.server.config.server_config."""

    main: int
    health: int
    metrics: int


@dataclass(frozen=True, slots=True)
class State:
    """What stands in `supervisor.json`."""

    pid: int
    started: str
    """ISO 8601, UTC."""
    data_dir: str
    ports: dict[str, Ports]
    """By process: the service's name, with `-2` and so on for further replicas."""
    processes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By process: pid (None while it is down), restarts, since (ISO 8601)."""

    @property
    def endpoints(self) -> dict[str, str]:
        """Targets by service, those of all replicas."""
        return endpoints_of(self.ports)


def endpoints_of(ports: Mapping[str, Ports]) -> dict[str, str]:
    """Return the gRPC target of each service: one address, or all of its replicas'."""
    found: dict[str, list[str]] = {}
    for process, each in ports.items():
        found.setdefault(service_of(process), []).append(f"127.0.0.1:{each.main}")
    return {
        service: f"dns:///{addresses[0]}" if len(addresses) == 1 else "ipv4:" + ",".join(addresses)
        for service, addresses in found.items()
    }


def process_names(replicas: Mapping[str, int]) -> list[str]:
    """Return the processes of all services: one of each, or as many as `replicas` says; the first has the service's name."""
    return [
        service if number == 1 else f"{service}-{number}"
        for service in SERVICES
        for number in range(1, replicas.get(service, 1) + 1)
    ]


def service_of(process: str) -> str:
    """Return the service that a process is a replica of."""
    return process.partition("-")[0]


def state_path(data_dir: Path) -> Path:
    """Return where the state file of a data directory is."""
    return data_dir / "supervisor.json"


def write_state(state: State) -> None:
    """Replace the state file in one step."""
    path = state_path(Path(state.data_dir))
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    unfinished.replace(path)


def read_state(data_dir: Path) -> State | None:
    """Return the last state of the supervisor of a data directory, or None if it is not readable."""
    try:
        found = json.loads(state_path(data_dir).read_text(encoding="utf-8"))
        return State(**(found | {"ports": {name: Ports(**each) for name, each in found["ports"].items()}}))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def running_state(data_dir: Path) -> State | None:
    """Return the state of the supervisor that runs on a data directory, None where none does."""
    return read_state(data_dir) if is_locked(data_dir) else None


@contextlib.contextmanager
def lock(data_dir: Path) -> Iterator[bool]:
    """Hold the data directory's lock while supervising; gives False where another supervisor holds it."""
    handle = os.open(data_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def is_locked(data_dir: Path) -> bool:
    """Return whether a supervisor runs on a data directory: the kernel releases its lock when it ends."""
    try:
        handle = os.open(data_dir / "supervisor.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def free_ports(processes: Iterable[str]) -> dict[str, Ports]:
    """Return unused ports, found by binding them; none is returned twice, and no other process gets one while this process runs.

    Seconds pass until somebody listens there, in which another system may look for ports of its own.
    """
    wanted = list(processes)
    candidates = _candidates()
    with contextlib.ExitStack() as bound:
        numbers: list[int] = []
        while len(numbers) < 3 * len(wanted):
            number = next(candidates, None)
            if number is None:
                raise OSError("no free ports were found on 127.0.0.1")
            if _bind(number, bound):
                numbers.append(number)
    return {
        name: Ports(*numbers[3 * index : 3 * index + 3]) for index, name in enumerate(wanted)
    }  # fmt: skip


def _candidates() -> Iterator[int]:
    """Return free ports of this process's own parts, and if none is left, of any part."""
    while True:
        try:
            number = _unused.pop()  # in one step: systems may be made by several threads
        except IndexError:
            if _claimed():
                continue
            break
        yield number
    yield from random.sample(range(_LOWEST, _HIGHEST), _HIGHEST - _LOWEST)


def _claimed() -> bool:
    """Claim one more part for this process; False where all have an owner, or where the system knows no such claim.

    The claim is a name that the kernel keeps beside the ports themselves, and takes back with the process.
    """
    parts = range(_LOWEST, _HIGHEST, _PART)
    for first in random.sample(parts, len(parts)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0luxor ports {first}")
        except (OSError, ValueError):
            claim.close()
            continue
        claim.detach()  # it stays open as long as the process
        _unused.extend(range(first, min(first + _PART, _HIGHEST)))
        return True
    return False


def taken(ports: Iterable[int]) -> list[int]:
    """Return those of the ports that are in use."""
    with contextlib.ExitStack() as bound:
        return [number for number in ports if not _bind(number, bound)]


def _bind(number: int, bound: contextlib.ExitStack) -> bool:
    attempt = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        attempt.bind(("127.0.0.1", number))
    except OSError:
        attempt.close()
        return False
    bound.enter_context(contextlib.closing(attempt))
    return True

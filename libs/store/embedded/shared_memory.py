"""The shared memory that a killed PostgreSQL leaves behind, which remains after its processes until it is removed."""

import contextlib
import ctypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_IPC_RMID: Final = 0
_POSIX_SEGMENT: Final = re.compile(r"(/dev/shm/PostgreSQL\.\d+)")


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """One server's segments: the System V id of its lock segment (None if unknown), the files of its POSIX
    segments."""

    system_v: int | None
    posix: tuple[Path, ...]

    @classmethod
    def of_processes(cls, pids: Iterable[int], cluster: Path) -> Self:
        """What the living processes `pids` of the server of `cluster` hold; some segments only the children map."""
        system_v: int | None = None
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The seventh line of the pid file: the segment's key and id.
            system_v = int((cluster / "postmaster.pid").read_text().split("\n")[6].split()[1])
        files: set[str] = set()
        for pid in pids:
            with contextlib.suppress(OSError):
                files.update(_POSIX_SEGMENT.findall(Path(f"/proc/{pid}/maps").read_text()))
        return cls(system_v, tuple(Path(name) for name in sorted(files)))

    def release(self) -> None:
        """Removes what is still there, once no process of the server lives."""
        if self.system_v is not None:
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(None).shmctl(self.system_v, _IPC_RMID, None)
        for path in self.posix:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

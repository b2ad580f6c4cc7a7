"""The file in which a replica keeps what it remembers over a restart: written beside the older one, then put in its place."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from libs.columns.packing import PackingError
from services.risk.history import Bounds, History, SnapshotError, restore
from services.risk.history import Snapshot as Snapshot
from services.risk.selection import Tally
from services.risk.store.assessment_log import Place, Read

SNAPSHOT: Final = "history.snapshot"
_FORMAT: Final = 3
_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the log had been read when a snapshot began."""

    read: Read
    epoch: int
    """The log's epoch then, which may be later than that of the row that was read last."""
    since_day: int
    """Day of the log from which on rows may still come."""
    whole_since: int
    """Minute since which all rows of the log could be taken in."""

    def facts(self) -> dict[str, int | str]:
        """The same for the file."""
        place = self.read.place
        return {
            "format": _FORMAT,
            "present_epoch": self.epoch,
            "epoch": place.epoch,
            "xid": place.xid,
            "day": self.read.day,
            "stamp": self.read.stamp,
            "since_day": self.since_day,
            "whole_since": self.whole_since,
        }


def begin(history: History, tally: bytes, moment: Moment) -> Snapshot:
    """Begin a snapshot of this moment; write it with `put`."""
    return Snapshot(history, moment.facts(), {"tally": np.frombuffer(tally, np.uint8)})


async def put(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot in a thread while history goes on, then put it in the place of the older one.

    Raises OSError and SnapshotError; the older one stays then, and nothing of the new one.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        file = await asyncio.to_thread(_open, beside)
        try:
            await asyncio.to_thread(snapshot.write, file)
            snapshot.release()
            await asyncio.to_thread(write_complete, snapshot, file)
        finally:
            file.close()
        await asyncio.to_thread(_replace, beside, path)
    except BaseException:
        # Not in a thread: it may be the end of the process that cut it.
        beside.unlink(missing_ok=True)
        raise
    finally:
        snapshot.release()


def _open(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")


def write_complete(snapshot: Snapshot, file: BinaryIO) -> None:
    """Write a snapshot and flush it to the disk."""
    snapshot.finish(file)
    os.fsync(file.fileno())


def _replace(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def tidy(path: Path) -> None:
    """Remove what a writer left half done. A directory belongs to one replica."""
    for left in path.parent.glob(f"{path.name}.*"):
        left.unlink(missing_ok=True)


def get(path: Path, mark: int, bounds: Bounds | None) -> tuple[History, Tally, Moment]:
    """What the file holds. Raises FileNotFoundError where there is none, SnapshotError or OSError where it cannot be used."""
    with path.open("rb") as file:
        history, facts, arrays = restore(file, os.fstat(file.fileno()).st_size, mark, bounds)
    if facts.get("format") != _FORMAT:
        raise SnapshotError(f"the file has format {facts.get('format')}; {_FORMAT} is read")
    try:
        tally = Tally.restore(arrays["tally"].tobytes())
        numbers: dict[str, Any] = {
            name: int(facts[name]) for name in ("present_epoch", "epoch", "xid", "day", "since_day", "whole_since")
        }
        read = Read(Place(numbers["epoch"], numbers["xid"]), numbers["day"], str(facts["stamp"]))
    except (KeyError, ValueError, PackingError) as error:
        raise SnapshotError(f"the file cannot be read: {error}") from None
    return history, tally, Moment(read, numbers["present_epoch"], numbers["since_day"], numbers["whole_since"])

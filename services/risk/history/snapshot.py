"""Snapshots of history that are written while history goes on.

`Snapshot` is made between two batches and stands for that moment. Its `write` and `finish` copy arrays slice by slice and may
run in a thread, while batches are read and applied; what these change is put down first (tables/undo_log.py) and laid over the copy by
whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Final

from services.risk.history.history import Bounds, History
from services.risk.history.snapshot_file import SnapshotError, Writer, read, rows_of_slice
from services.risk.history.tables.inspection_results import Results
from services.risk.history.tables.undo_log import Array, Undo

_VERSION: Final = 4
_OWN: Final = "history/"


class Snapshot:
    """A history as it is when this is made. Call `write`, `release`, `finish`; only `release` on the thread that applies."""

    def __init__(self, history: History, facts: Mapping[str, int | str], extra_arrays: Mapping[str, Array]) -> None:
        """Begin; `facts` and arrays that nobody changes (`extra_arrays`) are the caller's. Raises RuntimeError where one is being written."""
        told, small, results = history.begin_snapshot()
        self._history = history
        self._facts = {**facts, "version": _VERSION, "mark": f"{history.mark:016x}"}
        self._facts |= {f"{_OWN}{name}": value for name, value in told.items()}
        self._small = {**extra_arrays, **{f"{_OWN}{name}": values for name, values in small.items()}}
        self._results: Results | None = results
        self.undo = Undo(history.arrays())
        self._writer: Writer | None = None
        history.watch(self.undo)

    def write(self, file: BinaryIO) -> None:
        """Write all that may change, in slices, each copied at once. Raises OSError, and SnapshotError where it is given up."""
        writer = self._writer = Writer(file, self._facts)
        for name, values in self._small.items():
            writer.array(name, values)
        assert self._results is not None
        for name, values in self._results.arrays().items():
            writer.array(f"{_OWN}{name}", values)
        self._results = None
        # All are announced first: what changes of one may be written while another is.
        for name, values in self.undo.arrays.items():
            writer.declare(f"{_OWN}{name}", values)
        for name, values in self.undo.arrays.items():
            for at in range(0, len(values), step := rows_of_slice(values)):
                writer.slice(f"{_OWN}{name}", at, values[at : at + step].copy())
                self._drain()

    def release(self) -> None:
        """Let changes pass unheeded again; also where writing failed. May be called twice."""
        self._history.watch(None)

    def finish(self, file: BinaryIO) -> None:
        """Write what changed meanwhile, and the end."""
        assert self._writer is not None
        self._drain()
        self._writer.end()
        file.flush()

    def _drain(self) -> None:
        assert self._writer is not None
        if self.undo.lost:
            raise SnapshotError("history changes faster than the disk takes the snapshot; it is given up")
        for name, rows, before in self.undo.take():
            self._writer.changes(f"{_OWN}{name}", rows, before)


def restore(
    file: BinaryIO, size: int, mark: int, bounds: Bounds | None = None
) -> tuple[History, dict[str, int | str], dict[str, Array]]:
    """A history from a snapshot, with the facts and arrays that its writer added. Raises SnapshotError and leaves nothing half done."""
    facts, arrays = read(file, size)
    if facts.get("version") != _VERSION:
        raise SnapshotError(f"the snapshot has version {facts.get('version')}; {_VERSION} is read")
    history = History(mark, bounds)
    if facts.get("mark") != f"{history.mark:016x}":
        raise SnapshotError("the snapshot was made with another secret of the deployment")
    own = {name.removeprefix(_OWN): arrays.pop(name) for name in list(arrays) if name.startswith(_OWN)}
    told = {name.removeprefix(_OWN): value for name, value in facts.items() if name.startswith(_OWN)}
    try:
        history.take_over({name: int(value) for name, value in told.items()}, own)
    except KeyError as error:
        raise SnapshotError(f"the snapshot lacks {error}") from None
    except ValueError as error:
        raise SnapshotError(f"the snapshot does not fit: {error}") from None
    return history, facts, arrays

"""Snapshots of histories in memory, for tests."""

from __future__ import annotations

from io import BytesIO

from services.risk.history import Bounds, History, Snapshot, restore
from tests.risk.history.oracle import MARK

SMALL = Bounds(keys=1_024, events=1_024)


def content_of(history: History) -> bytes:
    """A snapshot, with nothing done meanwhile."""
    file = BytesIO()
    snapshot = Snapshot(history, {"place": 5}, {})
    snapshot.write(file)
    snapshot.release()
    snapshot.finish(file)
    return file.getvalue()


def from_content(content: bytes, mark: int = MARK, bounds: Bounds = SMALL) -> History:
    """The history of a snapshot."""
    history, facts, more = restore(BytesIO(content), len(content), mark, bounds)
    assert (facts["place"], more) == (5, {})
    return history


def again(history: History) -> History:
    """A history by way of its snapshot."""
    return from_content(content_of(history))

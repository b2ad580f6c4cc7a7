"""Keeps the lists in force: reads them at start, looks in the background whether files have changed, and swaps.

A list that is broken or cut off changes nothing: the version in force stays, the log tells it once, and the metric
luxor_risk_list_refused is 1 until a sound version is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from libs.telemetry import gauge, get_logger
from services.risk.screening.delta import Delta, Screener
from services.risk.screening.index import Index
from services.risk.screening.list_files import INDEX, ListFile, Stamp, read_index, stamp
from services.risk.screening.lists import ListRefused, PartyList

_refused = gauge(
    "luxor_risk_list_refused",
    "1 while the newest files of a list are refused, so that an older version of it is in force",
    ("list",),
)
_entries = gauge(
    "luxor_risk_list_entries", "Entries in force of each list that parties are screened against", ("list",)
)
_log = get_logger()

#: What stands for lists.yaml itself among the lists.
_ALL: Final = "ALL"


class Lists:
    """The lists of a directory, in force."""

    def __init__(self, directory: Path) -> None:
        """Read all lists. Raises ListRefused where one is: at start there is no older version that could stay."""
        self._directory = directory
        self._index_stamp = stamp(directory / INDEX)
        self._files: Mapping[str, ListFile] = read_index(directory)
        self._stamps: dict[str, tuple[Stamp, ...]] = {name: file.stamps for name, file in self._files.items()}
        self._lists: dict[str, PartyList] = {name: file.load() for name, file in self._files.items()}
        self._screener = Screener(list(self._lists.values()))
        _refused.labels(_ALL).set(0)
        for name, loaded in self._lists.items():
            _refused.labels(name).set(0)
            _entries.labels(name).set(loaded.version.entries)

    @property
    def index(self) -> Index:
        """The index in force; a batch takes it once."""
        return self._screener.index

    def look(self) -> list[Delta]:
        """Take what has changed since the last look; gives what it changed. One thread at a time may call it."""
        self._look_at_index()
        deltas = []
        for name, file in self._files.items():
            stamps = file.stamps
            if stamps == self._stamps.get(name):
                continue
            self._stamps[name] = stamps
            try:
                loaded = file.load()
                delta = self._screener.take(loaded, share_least=file.text.share_least_percent / 100)
            except ListRefused as error:
                self._refuse(name, error)
                continue
            self._lists[name] = loaded
            _refused.labels(name).set(0)
            _entries.labels(name).set(loaded.version.entries)
            _log.info(
                "LIST_IN_FORCE",
                list=loaded.version.id,
                added=len(delta.added),
                changed=len(delta.changed),
                removed=len(delta.removed),
            )
            deltas.append(delta)
        return deltas

    def _look_at_index(self) -> None:
        now = stamp(self._directory / INDEX)
        if now == self._index_stamp:
            return
        self._index_stamp = now
        try:
            files = read_index(self._directory)
        except ListRefused as error:
            self._refuse(_ALL, error)
            return
        _refused.labels(_ALL).set(0)
        gone = self._lists.keys() - files.keys()
        for name, file in files.items():
            if self._files.get(name) != file:
                self._stamps.pop(name, None)
        self._files = files
        if gone:
            for name in sorted(gone):
                del self._lists[name]
                self._stamps.pop(name, None)
                _refused.remove(name)
                _entries.remove(name)
                _log.info("LIST_WITHDRAWN", list=name)
            self._screener = Screener(list(self._lists.values()))

    def _refuse(self, name: str, error: ListRefused) -> None:
        in_force = self._lists.get(name)
        kept = in_force.version.id if in_force is not None else ""
        _refused.labels(name).set(1)
        _log.error("LIST_REFUSED", list=name, why=str(error), in_force=kept)

    async def watch(self, stop: asyncio.Event, seconds: float) -> None:
        """Look every so many seconds, in a thread, until `stop`."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await stop.wait()
            except TimeoutError:
                try:
                    await asyncio.to_thread(self.look)
                except Exception as error:  # whatever a file holds, the lists in force stay and the watch goes on
                    _refused.labels(_ALL).set(1)
                    _log.error("LISTS_NOT_LOOKED_AT", error)

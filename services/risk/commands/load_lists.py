"""Keeps the lists in force: reads them at start, looks in the background whether files have changed, and swaps.

A list that is broken, cut off, gone or named no more changes nothing: the version in force stays, the log tells it once, and
the metric luxor_risk_list_refused is 1 until a sound version is there, or lists.yaml withdraws the list with a reason.
At start the version in force is the copy that was kept of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from libs.telemetry import gauge, get_logger
from services.risk.screening.lists.cleared_pairs import CLEARED, ClearedPairs, load_cleared
from services.risk.screening.lists.list_files import ALL, INDEX, ListFile, ListsFile, Stamp, read_lists_file, stamp
from services.risk.screening.lists.party_list import ListRefused, PartyList
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.list_changes import Delta, Screener
from services.risk.screening.parties import versions_of
from services.risk.store.data_dir.list_copies import ListCopies

_refused = gauge(
    "luxor_risk_list_refused",
    "1 while the newest files of a list are refused, so an older version of it is active",
    ("list",),
)
_entries = gauge("luxor_risk_list_entries", "Active entries of each list that parties are screened against", ("list",))
_sample = gauge(
    "luxor_risk_sample_list", "1 while an active list is a sample of invented names, which stops no real party"
)
_log = get_logger()

#: Changes that are remembered of each list: who was screened before the oldest of them is screened against the whole list.
STEPS_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class ActiveLists:
    """The lists in force at one moment, and what has come since earlier versions of them."""

    index: Index
    steps: Mapping[str, tuple[tuple[str, frozenset[str]], ...]] = field(default_factory=dict, repr=False)
    """For each list: ids of versions that were in force, and of the entries that came right after each; the oldest first."""
    pair_steps: tuple[tuple[str, frozenset[tuple[str, str]]], ...] = field(default=(), repr=False)
    """The same of cleared pairs: lists and entries whose pairs went right after the version."""

    @property
    def versions(self) -> str:
        """As an assessment tells them."""
        return versions_of(self.index)

    def coming_since(self, versions: str) -> Mapping[str, frozenset[str] | None]:
        """What may hit anew who was screened against these versions: by list the ids of entries, None for all of them."""
        before = {each.partition(":")[0]: each for each in versions.split()}
        coming: dict[str, frozenset[str] | None] = {}
        for version in self.index.versions:
            older = before.get(version.source)
            if older != version.id:
                known = None if older is None else _since(self.steps.get(version.source, ()), older)
                coming[version.source] = None if known is None else frozenset().union(*known)
        older = before.get(CLEARED)
        pairs = self.index.cleared.version
        if older is not None and older != (pairs.id if pairs else ""):
            gone = _since(self.pair_steps, older)
            if gone is None:
                return dict.fromkeys((version.source for version in self.index.versions), None)
            for source, entry in frozenset().union(*gone):
                ids = coming.get(source, frozenset())
                coming[source] = None if ids is None else ids | {entry}
        return coming


def _since(steps: tuple[tuple[str, frozenset], ...], older: str) -> list[frozenset] | None:  # type: ignore[type-arg]
    """What came with the steps from a version on; None where it is not known."""
    at = next((place for place, (version, _) in enumerate(steps) if version == older), None)
    return None if at is None else [came for _, came in steps[at:]]


class ListLoader:
    """The lists of a directory, in force."""

    def __init__(self, directory: Path, copies: Path | None = None) -> None:
        """Read all lists; those that are refused are taken from the copies. Raises ListRefused where there is none."""
        self._directory = directory
        self._copies = ListCopies(copies) if copies is not None else None
        self._stamps: dict[str, tuple[Stamp, ...]] = {}
        self._lists: dict[str, PartyList] = {}
        self._index_stamp = stamp(directory / INDEX)
        self._index_refused = False
        self._file = self._begin()
        self._screener = Screener(list(self._lists.values()))
        self._state = ActiveLists(self._screener.index)
        for each in self._lists.values():
            self._set_metrics(each)
        # What has changed since the copies were made, and the cleared pairs, as at any later look.
        self._look_at_lists()
        self._look_at_pairs()
        self._samples: tuple[str, ...] = ()
        self._warn_of_samples()

    @property
    def state(self) -> ActiveLists:
        """The lists in force, all of one moment; a batch takes it once."""
        return self._state

    @property
    def index(self) -> Index:
        """The index in force; a batch takes it once."""
        return self._state.index

    def _begin(self) -> ListsFile:
        """Take the lists of the directory, and what was in force before where one is refused or was changed meanwhile."""
        copies = self._copies
        kept = copies.names() if copies is not None else ()
        _refused.labels(ALL).set(0)
        readable = True
        try:
            file = read_lists_file(self._directory)
        except ListRefused as error:
            if not kept:
                raise
            self._refuse(ALL, error)
            self._index_refused = True
            readable = False
            file = ListsFile({}, {}, None)
        for name, each in file.lists.items():
            stamps = each.stamps
            # The copy is what was in force: the newest version is measured by it like any other that comes.
            changed = copies is not None and name in kept and not copies.has(each)
            before = copies.load(name) if copies is not None and changed else None
            if before is None:
                self._stamps[name] = stamps
                self._lists[name] = each.load()
                self._copy(each, self._lists[name])
            else:
                self._lists[name] = before
        for name in kept:
            if copies is None or name in self._lists:
                continue
            if name in file.withdrawn:
                self._withdraw(name, file.withdrawn[name])
            elif (before := copies.load(name)) is not None:
                self._lists[name] = before
                if readable:
                    self._refuse(name, _named_no_more(name))
        return file

    def look(self) -> list[Delta]:
        """Take what has changed since the last look; gives what it changed. One thread at a time may call it."""
        self._look_at_index()
        deltas = self._look_at_lists()
        self._look_at_pairs()
        self._warn_of_samples()
        # What went wrong in an earlier look has not done so again; a lists.yaml that is refused still is.
        _refused.labels(ALL).set(self._index_refused)
        return deltas

    def _warn_of_samples(self) -> None:
        """Warn where a list in force has invented names: whoever is really listed is not hit by it."""
        samples = tuple(sorted(name for name, each in self._lists.items() if each.invented))
        _sample.set(bool(samples))
        if samples and samples != self._samples:
            _log.error(
                "SAMPLE_LIST_ACTIVE",
                lists=" ".join(samples),
                why="its names are invented, so no real party matches; name your own lists by LUXOR_RISK_LISTS, and withdraw the sample",
            )
        self._samples = samples

    def _look_at_lists(self) -> list[Delta]:
        deltas = []
        for name, file in self._file.lists.items():
            stamps = file.stamps
            if stamps == self._stamps.get(name):
                continue
            try:
                delta = self._look_at_list(name, file)
            except Exception as error:  # whatever a file holds: the other lists are looked at, and this one again
                why = f"{name}: {type(error).__name__}: {error}; it is read again at each look"
                self._refuse(name, ListRefused(why))
                continue
            # Noted only now: what ended otherwise than by a verdict on the file is tried again.
            self._stamps[name] = stamps
            if delta is not None:
                deltas.append(delta)
        return deltas

    def _look_at_list(self, name: str, file: ListFile) -> Delta | None:
        """Take the list where it is sound and another than the one in force."""
        try:
            loaded = file.load()
            if (before := self._lists.get(name)) is not None and before.version == loaded.version:
                _refused.labels(name).set(0)
                return None
            delta = self._screener.take(loaded, share_least=file.text.share_least_percent / 100)
        except ListRefused as error:
            self._refuse(name, error)
            return None
        self._take(file, loaded, delta)
        return delta

    def _take(self, file: ListFile, loaded: PartyList, delta: Delta) -> None:
        name = file.text.name
        before = self._lists.get(name)
        self._lists[name] = loaded
        steps = dict(self._state.steps)
        if before is not None:
            came = frozenset(entry.id for entry in delta.added_or_changed)
            steps[name] = (*steps.get(name, ()), (before.version.id, came))[-STEPS_MAX:]
        self._swap(steps=steps)
        self._copy(file, loaded)
        self._set_metrics(loaded)
        _log.info(
            "LIST_ACTIVE",
            list=loaded.version.id,
            added=len(delta.added),
            changed=len(delta.changed),
            removed=len(delta.removed),
        )

    def _swap(
        self,
        *,
        steps: Mapping[str, tuple[tuple[str, frozenset[str]], ...]] | None = None,
        cleared: ClearedPairs | None = None,
        pair_steps: tuple[tuple[str, frozenset[tuple[str, str]]], ...] | None = None,
    ) -> None:
        """Put the screener's index in force, in one step with what belongs to it."""
        state = self._state
        self._state = ActiveLists(
            replace(self._screener.index, cleared=state.index.cleared if cleared is None else cleared),
            state.steps if steps is None else steps,
            state.pair_steps if pair_steps is None else pair_steps,
        )

    def _look_at_pairs(self) -> None:
        """Take the cleared pairs where they have changed. Where the first are refused there are none: more hits, not fewer."""
        path = self._file.cleared
        stamps = () if path is None else (stamp(path),)
        if stamps == self._stamps.get(CLEARED, ()):
            return
        before = self._state.index.cleared
        try:
            pairs = ClearedPairs() if path is None else load_cleared(path)
        except ListRefused as error:
            self._stamps[CLEARED] = stamps
            _refused.labels(CLEARED).set(1)
            _log.error("LIST_REFUSED", list=CLEARED, why=str(error), active=before.version.id if before.version else "")
            return
        self._stamps[CLEARED] = stamps
        _refused.labels(CLEARED).set(0)
        if pairs.version == before.version:
            return
        steps = self._state.pair_steps
        if before.version is not None:
            steps = (*steps, (before.version.id, before.uncovered(pairs)))[-STEPS_MAX:]
        self._swap(cleared=pairs, pair_steps=steps)
        unknown = [pair for pair in pairs.pairs if pair.list not in self._lists]
        _log.info(
            "CLEARED_PAIRS_ACTIVE",
            list=pairs.version.id if pairs.version else "",
            pairs=len(pairs.pairs),
            of_unknown_lists=len(unknown),
        )

    def _look_at_index(self) -> None:
        now = stamp(self._directory / INDEX)
        if now == self._index_stamp:
            return
        try:
            file = read_lists_file(self._directory)
        except ListRefused as error:
            self._index_stamp, self._index_refused = now, True
            self._refuse(ALL, error)
            return
        self._index_stamp, self._index_refused = now, False
        _refused.labels(ALL).set(0)
        for name, each in file.lists.items():
            if self._file.lists.get(name) != each:
                self._stamps.pop(name, None)
        self._file = file
        gone = self._lists.keys() - file.lists.keys()
        for name in sorted(gone):
            self._stamps.pop(name, None)
            if name not in file.withdrawn:
                self._refuse(name, _named_no_more(name))
                continue
            self._withdraw(name, file.withdrawn[name])
        if gone & file.withdrawn.keys():
            self._screener = Screener(list(self._lists.values()))
            self._swap(steps={name: each for name, each in self._state.steps.items() if name in self._lists})

    def _withdraw(self, name: str, reason: str) -> None:
        self._lists.pop(name, None)
        for each in (_refused, _entries):
            each.labels(name)
            each.remove(name)
        if self._copies is not None:
            self._copies.forget(name)
        _log.warning("LIST_WITHDRAWN", list=name, why=reason)

    def _copy(self, file: ListFile, loaded: PartyList) -> None:
        if self._copies is not None:
            self._copies.store(file, loaded.version)

    def _set_metrics(self, loaded: PartyList) -> None:
        name = loaded.version.source
        if name in self._file.lists:
            _refused.labels(name).set(0)
        _entries.labels(name).set(loaded.version.entries)

    def _refuse(self, name: str, error: ListRefused) -> None:
        in_force = self._lists.get(name)
        kept = in_force.version.id if in_force is not None else ""
        _refused.labels(name).set(1)
        _log.error("LIST_REFUSED", list=name, why=str(error), active=kept)

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
                    _refused.labels(ALL).set(1)
                    _log.error("LISTS_NOT_REFRESHED", error)


def _named_no_more(name: str) -> ListRefused:
    return ListRefused(
        f"{INDEX} names {name} no more; it stays in force. If nobody shall be screened against it, write "
        f"{{name: {name}, withdrawn: true, reason: …}}"
    )

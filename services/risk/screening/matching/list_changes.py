"""What changes when a list is published anew, the next index from it, and who must be looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.screening.lists.party_list import ENTRIES_SHARE_LEAST, ListEntry, ListVersion, PartyList
from services.risk.screening.matching.index import Index, build, replaced
from services.risk.screening.matching.scores import THRESHOLD, NameMatches, read_batch, screen

#: Share of all entries that may have come at most for looking into an index of these alone first.
SHARE_MOST: Final = 0.25


@dataclass(frozen=True, slots=True)
class Delta:
    """From one version of a list to the next."""

    version: ListVersion
    """The next version."""
    added: tuple[ListEntry, ...]
    changed: tuple[ListEntry, ...]
    """As they are now."""
    removed: frozenset[str]
    """Ids."""

    @property
    def added_or_changed(self) -> tuple[ListEntry, ...]:
        """Return the entries that may cause new matches."""
        return (*self.added, *self.changed)


def difference(current: Iterable[ListEntry], new: PartyList) -> Delta:
    """Compare a list's current entries with its new version, by their ids."""
    old = {entry.id: entry for entry in current}
    pairs = [(entry, old.pop(entry.id, None)) for entry in new.entries]
    return Delta(
        version=new.version,
        added=tuple(entry for entry, before in pairs if before is None),
        changed=tuple(entry for entry, before in pairs if before is not None and before != entry),
        removed=frozenset(old),
    )


def apply(index: Index, delta: Delta) -> Index:
    """Make the next index. Raises KeyError where the index is not what the delta starts from."""
    gone = delta.removed | {entry.id for entry in delta.changed}
    return replaced(index, delta.version, added=delta.added_or_changed, removed=gone)


def entries_of(index: Index, source: str) -> list[ListEntry]:
    """The entries of one list, by its source."""
    place = next((at for at, version in enumerate(index.versions) if version.source == source), -1)
    return [index.entries[row] for row in np.flatnonzero(index.entry_list == place).tolist()]


class Screener:
    """Holds the index in force. Readers take `index` once a batch; a new list is built beside it and put in its place.

    One task may call `take` at a time; readers are never held up, and who has taken the old index ends with it.
    """

    def __init__(self, lists: Sequence[PartyList] = ()) -> None:
        """Build the index of whole lists."""
        self._index = build([(each.version, each.entries) for each in lists])

    @property
    def index(self) -> Index:
        """The index in force: immutable, so a batch that holds it sees one version of every list."""
        return self._index

    def take(self, new: PartyList, *, share_least: float = ENTRIES_SHARE_LEAST) -> Delta:
        """Put a list's new version in force and return what has changed.

        Raises ListRefused, and changes nothing, where it has less than `share_least` of the entries in force.
        """
        before = self._index
        current = next((each for each in before.versions if each.source == new.version.source), None)
        new.check_size(current, share_least=share_least)
        delta = difference(entries_of(before, new.version.source), new)
        self._index = apply(before, delta)
        return delta


class ChangedEntries:
    """Screens names that were screened before against entries that have come since, with the scores of a full screening.

    Whether a hit is new to a party, the record of its last screening says. Most names are done with after a look into an
    index of what has come alone.
    """

    def __init__(self, index: Index, entry_ids: Mapping[str, frozenset[str] | None]) -> None:
        """Prepare for an index and, by its list's source, the ids of the entries that have come; None for all of a list."""
        self._index = index
        places = {version.source: place for place, version in enumerate(index.versions)}
        self._comes = np.zeros(len(index.entries), np.bool_)
        small: list[tuple[ListVersion, list[ListEntry]]] = []
        for source, ids in entry_ids.items():
            if source not in places or (ids is not None and not ids):
                continue
            rows = np.flatnonzero(index.entry_list == places[source])
            if ids is not None:
                rows = rows[np.fromiter((index.entries[row].id in ids for row in rows.tolist()), np.bool_, len(rows))]
            self._comes[rows] = True
            small.append((index.versions[places[source]], [index.entries[row] for row in rows.tolist()]))
        self.entries = int(np.count_nonzero(self._comes))
        """How many have come."""
        # Where most have come, looking first into an index of them saves nothing.
        self._small = None if self.entries > SHARE_MOST * len(index.entries) else build(small)
        if self._small is not None:
            self._leading = self._leading_tokens(self._small)

    def _leading_tokens(self, small: Index) -> npt.NDArray[np.bool_]:
        """Tokens of the small index that lead to a name: whoever hits a name is near to one by which it is reached."""
        index = self._index
        reached = index.block_place[self._comes[index.names.entry[index.name_of_place[index.block_place]]]]
        tokens = {index.vocabulary.tokens[token] for token in index.names.tokens[reached].tolist()}
        return np.fromiter((token in tokens for token in small.vocabulary.tokens), np.bool_)

    def screen(self, names: Sequence[str], threshold: int = THRESHOLD) -> NameMatches:
        """Hits of at least `threshold` on entries that have come."""
        if not self.entries or not names:
            return _selected(screen(self._index, [], threshold), np.zeros(0, np.bool_))
        if self._small is None:
            hits = screen(self._index, names, threshold)
            return _selected(hits, self._comes[hits.entry])
        batch = read_batch(self._small, names)
        likely = np.unique(batch.near_name[self._leading[batch.near_token]])
        hits = screen(self._index, [names[row] for row in likely.tolist()], threshold)
        kept = _selected(hits, self._comes[hits.entry])
        return replace(kept, name=likely[kept.name])


def _selected(matches: NameMatches, mask: npt.NDArray[np.bool_]) -> NameMatches:
    return NameMatches(
        matches.versions,
        matches.name[mask],
        matches.entry[mask],
        matches.entry_name[mask],
        matches.score[mask],
        matches.firm[mask],
    )

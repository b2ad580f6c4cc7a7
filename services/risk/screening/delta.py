"""What changes when a list is published anew, the next index from it, and who must be looked at again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from services.risk.screening.index import Index, build, replaced
from services.risk.screening.lists import ENTRIES_SHARE_LEAST, Entry, ListVersion, PartyList
from services.risk.screening.matching import THRESHOLD, Hits, read_batch, screen


@dataclass(frozen=True, slots=True)
class Delta:
    """From one version of a list to the next."""

    version: ListVersion
    """The next version."""
    added: tuple[Entry, ...]
    changed: tuple[Entry, ...]
    """As they are now."""
    removed: frozenset[str]
    """Ids."""

    @property
    def coming(self) -> tuple[Entry, ...]:
        """Entries that may hit who was not hit before."""
        return (*self.added, *self.changed)


def difference(in_force: Iterable[Entry], new: PartyList) -> Delta:
    """Compare a list's entries in force with its new version, by their ids."""
    old = {entry.id: entry for entry in in_force}
    coming = [(entry, old.pop(entry.id, None)) for entry in new.entries]
    return Delta(
        version=new.version,
        added=tuple(entry for entry, before in coming if before is None),
        changed=tuple(entry for entry, before in coming if before is not None and before != entry),
        removed=frozenset(old),
    )


def apply(index: Index, delta: Delta) -> Index:
    """Make the next index. Raises KeyError where the index is not what the delta starts from."""
    gone = delta.removed | {entry.id for entry in delta.changed}
    return replaced(index, delta.version, added=delta.coming, removed=gone)


def entries_of(index: Index, source: str) -> list[Entry]:
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
        in_force = next((each for each in before.versions if each.source == new.version.source), None)
        new.check_size(in_force, share_least=share_least)
        delta = difference(entries_of(before, new.version.source), new)
        self._index = apply(before, delta)
        return delta


def screen_again(index: Index, delta: Delta, names: Sequence[str], threshold: int = THRESHOLD) -> Hits:
    """Screen names that were screened before against what has come with a delta; `index` is the one after it.

    Returns the hits on added and changed entries, with the scores that a full screening gives. Whether one is new to a
    party, the record of its last screening says. Most names are done with after a look into an index of the delta alone.
    """
    coming = delta.coming
    if not coming or not names:
        return _only(screen(index, [], threshold), np.zeros(0, np.bool_))
    place = [version.source for version in index.versions].index(delta.version.source)
    ids = {entry.id for entry in coming}
    comes = np.fromiter((entry.id in ids for entry in index.entries), np.bool_, len(index.entries))
    comes &= index.entry_list == place
    # Whoever hits a name that has come is near to one of the tokens by which it is reached.
    reached = index.block_place[comes[index.names.entry[index.name_of_place[index.block_place]]]]
    tokens = {index.vocabulary.tokens[token] for token in index.names.tokens[reached].tolist()}
    small = build([(delta.version, coming)])
    telling = np.fromiter((token in tokens for token in small.vocabulary.tokens), np.bool_)
    batch = read_batch(small, names)
    likely = np.unique(batch.near_name[telling[batch.near_listed]])
    hits = screen(index, [names[row] for row in likely.tolist()], threshold)
    kept = _only(hits, comes[hits.entry])
    return Hits(kept.versions, likely[kept.name], kept.entry, kept.listed, kept.score)


def _only(hits: Hits, wanted: np.typing.NDArray[np.bool_]) -> Hits:
    return Hits(hits.versions, hits.name[wanted], hits.entry[wanted], hits.listed[wanted], hits.score[wanted])

"""The index of listed names: tokens with their rarity, what leads to a token, and which names a token leads to.

An index is immutable. `build` makes one from lists; `replaced` makes the next one from the index in force and the entries
that have changed: only those are read in Python, all else is arrays put together anew.

A name is reached by its rarest tokens, so many that no name without a token near to one of them can score `FLOOR`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.screening.lists.cleared_pairs import ClearedPairs
from services.risk.screening.lists.party_list import EntryKind, ListEntry, ListVersion, Quality
from services.risk.screening.names.known_words import LEGAL_FORMS, PARTICLES
from services.risk.screening.names.spelling import Bools, Hashes, Ints
from services.risk.screening.names.tokens import token_sets
from services.risk.screening.names.vocabulary import TokenVocabulary

Floats = npt.NDArray[np.float32]

#: No score under this share is ever found.
FLOOR: Final = 0.7
#: Share of a listed name's weight that may be missing at most for a score of FLOOR, both names weighing the same.
MISSING_MOST: Final = 1 - FLOOR / (2 - FLOOR)

#: A token that stands in one listed name weighs so many bits; each doubling of the names takes one.
WEIGHT_MOST: Final = 12.0
WEIGHT_LEAST: Final = 2.0
WEIGHT_COMMON_WORD: Final = 0.7
WEIGHT_LETTER: Final = 1.5
#: Short tokens are common in the world whatever the lists say.
WEIGHT_SHORT: Final = {2: 6.0, 3: 9.0}
#: Numbers tell ships and firms apart however short they are, so they count as long ones.
LENGTH_OF_NUMBER: Final = 9
#: Words that tell nothing apart.
COMMON: Final = PARTICLES | LEGAL_FORMS


@dataclass(frozen=True, slots=True)
class Names:
    """Listed names: whose each is, and which tokens it has (each once)."""

    entry: Ints
    place: Ints
    """Place among the entry's names."""
    starts: Ints
    """Where its tokens begin in `tokens`; one more at the end."""
    tokens: Ints
    join_starts: Ints
    """Where its pairs of neighbours begin in `joins`; one more at the end."""
    joins: Ints

    def __len__(self) -> int:
        return len(self.entry)


@dataclass(frozen=True, slots=True)
class Skeletons:
    """Consonant skeletons of tokens in use, sorted, each once, and the spellings that have them."""

    hashes: Hashes
    starts: Ints
    spellings: Ints
    names: Ints
    """How many names have a token with the skeleton."""

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Return which of the hashes are here, and where."""
        some = np.flatnonzero(hashes)
        if not len(self.hashes):
            return some[:0], some[:0]
        at = np.minimum(np.searchsorted(self.hashes, hashes[some]), len(self.hashes) - 1)
        here = self.hashes[at] == hashes[some]
        return some[here], at[here]


@dataclass(frozen=True, slots=True)
class Index:
    """Listed names, ready to be searched. Rows of names and of entries are this index's own."""

    versions: tuple[ListVersion, ...]
    """The lists that were put in."""
    entries: tuple[ListEntry, ...] = field(repr=False)
    entry_list: Ints = field(repr=False)
    """For each entry: its list, as a place in `versions`."""
    vocabulary: TokenVocabulary = field(repr=False)
    names: Names = field(repr=False)
    skeletons: Skeletons = field(repr=False)
    token_names: Ints = field(repr=False)
    """For each token: how many names have it."""
    token_weight: Floats = field(repr=False)
    join_used: Bools = field(repr=False)
    """For each pair of tokens: whether they stand side by side in a name."""
    name_weight: Floats = field(repr=False)
    name_person: Bools = field(repr=False)
    """For each name: whether its entry may be a person, whose names may be cut to initials."""
    token_first: Ints = field(repr=False)
    """For each token: its first letter as a bit."""
    name_letters: Ints = field(repr=False)
    """For each name: its tokens that are single letters, as bits."""
    name_firsts: Ints = field(repr=False)
    """For each name: the first letters of its tokens, as bits."""
    name_signature: Ints = field(repr=False)
    """For each name: its tokens by the last bits of their numbers, as bits."""
    block_starts: Ints = field(repr=False)
    """For each token: where its places begin in `block_place`; one more at the end."""
    block_place: Ints = field(repr=False)
    """The tokens of names by which these are reached, as places in `names.tokens`."""
    name_of_place: Ints = field(repr=False)
    """For each place in `names.tokens`: the name."""
    name_blocked: Floats = field(repr=False)
    """For each name: the weight of the tokens by which it is reached."""
    keys: Ints = field(repr=False)
    """name × tokens + token of each occurrence, sorted: to ask whether a name has a token."""
    cleared: ClearedPairs = field(default_factory=ClearedPairs, repr=False)
    """Pairs of a name and an entry that are no hit."""

    def name_text(self, name: int) -> str:
        """A listed name as its list writes it."""
        return self.entries[int(self.names.entry[name])].names[int(self.names.place[name])].text

    def quality(self, name: int) -> Quality:
        """How well a listed name identifies its entry."""
        return self.entries[int(self.names.entry[name])].names[int(self.names.place[name])].quality

    def version_of(self, entry: int) -> ListVersion:
        """The list that an entry is of."""
        return self.versions[int(self.entry_list[entry])]


_NONE: Final = np.zeros(0, np.int64)
_NO_NAMES: Final = Names(_NONE, _NONE, np.zeros(1, np.int64), _NONE, np.zeros(1, np.int64), _NONE)


def build(lists: Sequence[tuple[ListVersion, Sequence[ListEntry]]]) -> Index:
    """Make the index of whole lists, each with a source of its own. Raises ValueError where two have the same."""
    sources = [version.source for version, _ in lists]
    if len(set(sources)) < len(sources):
        raise ValueError(f"two lists have the same source: {sorted(sources)}; give each its own")
    entries = tuple(entry for _, each in lists for entry in each)
    entry_list = np.repeat(np.arange(len(lists)), [len(each) for _, each in lists])
    return _extended(TokenVocabulary.empty(), _NO_NAMES, tuple(version for version, _ in lists), entries, entry_list, 0)


def replaced(index: Index, version: ListVersion, *, added: Sequence[ListEntry], removed: frozenset[str]) -> Index:
    """Make the next index: of `version`'s list, the entries with the ids in `removed` go and those `added` come.

    An entry that has changed is in both. The list is known by its source; one that is not there is new. Entries keep no
    row. Raises KeyError where an id to remove is not there.
    """
    place = next((at for at, each in enumerate(index.versions) if each.source == version.source), len(index.versions))
    of_list = np.flatnonzero(index.entry_list == place).tolist() if removed else []
    goes = {index.entries[row].id: row for row in of_list if index.entries[row].id in removed}
    if len(goes) < len(removed):
        raise KeyError(f"{version.source} has no entry {min(removed - goes.keys())}")
    stays = np.ones(len(index.entries), np.bool_)
    stays[list(goes.values())] = False
    kept = [entry for entry, stay in zip(index.entries, stays.tolist(), strict=True) if stay]
    names = index.names
    name_stays = stays[names.entry]
    counts, joins = np.diff(names.starts), np.diff(names.join_starts)
    staying = Names(
        (np.cumsum(stays) - 1)[names.entry[name_stays]],
        names.place[name_stays],
        np.concatenate([[0], np.cumsum(counts[name_stays])]),
        names.tokens[np.repeat(name_stays, counts)],
        np.concatenate([[0], np.cumsum(joins[name_stays])]),
        names.joins[np.repeat(name_stays, joins)],
    )
    return _extended(
        index.vocabulary,
        staying,
        (*index.versions[:place], version, *index.versions[place + 1 :]),
        (*kept, *added),
        np.concatenate([index.entry_list[stays], np.full(len(added), place)]),
        len(kept),
    )


def _extended(
    vocabulary: TokenVocabulary,
    names: Names,
    versions: tuple[ListVersion, ...],
    entries: tuple[ListEntry, ...],
    entry_list: Ints,
    new: int,
) -> Index:
    """Put the names of the entries from row `new` on to those that are there, and derive the rest."""
    rows = [(row, place) for row in range(new, len(entries)) for place in range(len(entries[row].names))]
    texts = [entries[row].names[place].text for row, place in rows]
    read = token_sets(texts)
    vocabulary, joins, join_counts = vocabulary.with_names(texts, read.tokens)
    numbers = np.fromiter((vocabulary.ids[token] for token in read.tokens), np.int64, len(read.tokens))
    where = np.array(rows, np.int64).reshape(-1, 2)
    counts = np.bincount(read.name, minlength=len(texts))
    names = Names(
        np.concatenate([names.entry, where[:, 0]]),
        np.concatenate([names.place, where[:, 1]]),
        np.concatenate([names.starts, names.starts[-1] + np.cumsum(counts)]),
        np.concatenate([names.tokens, numbers[read.token]]),
        np.concatenate([names.join_starts, names.join_starts[-1] + np.cumsum(join_counts)]),
        np.concatenate([names.joins, joins]),
    )
    return _derived(versions, entries, entry_list, vocabulary, names)


def _derived(
    versions: tuple[ListVersion, ...],
    entries: tuple[ListEntry, ...],
    entry_list: Ints,
    vocabulary: TokenVocabulary,
    names: Names,
) -> Index:
    """Derive rarity, weights and blocks from which name has which token: arrays alone."""
    tokens = len(vocabulary.tokens)
    counts = np.diff(names.starts)
    owner = np.repeat(np.arange(len(names)), counts)
    token_names = np.bincount(names.tokens, minlength=tokens)
    skeletons, alike = _skeletons(vocabulary, token_names)
    length = vocabulary.features.length[vocabulary.token_spelling]
    common = np.fromiter((token in COMMON for token in vocabulary.tokens), np.bool_, tokens)
    numeric = vocabulary.features.numeric[vocabulary.token_spelling]
    weight = weights(np.maximum(token_names, 1), alike, np.where(numeric, LENGTH_OF_NUMBER, length), common)
    by_token = weight[names.tokens].astype(np.float64)
    name_weight = np.bincount(owner, by_token, len(names))
    # The rarest first; the text breaks ties, so that the order of reading does not.
    order = np.lexsort((vocabulary.features.whole[vocabulary.token_spelling][names.tokens], -by_token, owner))
    before = np.cumsum(by_token[order]) - by_token[order]
    filled = counts > 0
    before -= np.repeat(before[names.starts[:-1][filled]], counts[filled])
    reached = order[before <= name_weight[owner] * MISSING_MOST + 1e-6]
    reached = reached[np.lexsort((owner[reached], names.tokens[reached]))]
    first = vocabulary.features.first[vocabulary.token_spelling]
    person = np.fromiter(
        (entry.kind in (EntryKind.PERSON, EntryKind.UNKNOWN) for entry in entries), np.bool_, len(entries)
    )
    return Index(
        versions=versions,
        entries=entries,
        entry_list=entry_list,
        vocabulary=vocabulary,
        names=names,
        skeletons=skeletons,
        token_names=token_names,
        token_weight=weight,
        join_used=np.bincount(names.joins, minlength=len(vocabulary.joins)) > 0,
        name_weight=name_weight.astype(np.float32),
        name_person=person[names.entry],
        token_first=first,
        name_letters=bits_of(np.where(length == 1, first, 0)[names.tokens], names.starts),
        name_firsts=bits_of(first[names.tokens], names.starts),
        name_signature=bits_of(signature(names.tokens), names.starts),
        block_starts=np.concatenate([[0], np.cumsum(np.bincount(names.tokens[reached], minlength=tokens))]),
        block_place=reached,
        name_of_place=owner,
        name_blocked=np.bincount(owner[reached], by_token[reached], len(names)).astype(np.float32),
        keys=np.sort(owner * tokens + names.tokens),
    )


def _skeletons(vocabulary: TokenVocabulary, token_names: Ints) -> tuple[Skeletons, Ints]:
    """The skeletons of tokens in use; and for each token, how many names have its skeleton."""
    hashes = vocabulary.features.skeleton
    used = np.flatnonzero((token_names[vocabulary.spelling_token] > 0) & (hashes != 0))
    order = used[np.lexsort((vocabulary.spelling_token[used], hashes[used]))]
    found, starts = np.unique(hashes[order], return_index=True)
    token = vocabulary.spelling_token[order]
    # A token counts once, however many of its spellings have the skeleton.
    again = np.zeros(len(order), np.bool_)
    again[1:] = (token[1:] == token[:-1]) & (hashes[order][1:] == hashes[order][:-1])
    counted = np.where(again, 0, token_names[token])
    names = np.add.reduceat(counted, starts) if len(order) else _NONE
    skeletons = Skeletons(found, np.concatenate([starts, [len(order)]]), order, names)
    alike = np.zeros(len(vocabulary.tokens), np.int64)
    row, at = skeletons.find(hashes[vocabulary.token_spelling])
    alike[row] = names[at]
    return skeletons, alike


def bits_of(bits: Ints, starts: Ints) -> Ints:
    """The bits of each range together; `starts` has one more at the end."""
    made = np.zeros(len(starts) - 1, np.int64)
    filled = np.flatnonzero(np.diff(starts))
    if len(filled):
        made[filled] = np.bitwise_or.reduceat(bits, starts[filled])
    return made


def signature(tokens: Ints) -> Ints:
    """A bit for each token: that two names share none of them is certain where they share no bit."""
    made: Ints = np.int64(1) << (tokens & 63)
    return made


def weights(names: Ints, consonant_names: Ints, length: Ints, common: Bools) -> Floats:
    """Weight of tokens by how many listed names have them, and how many have one with the same consonants.

    `length` is LENGTH_OF_NUMBER for numbers.
    """
    seen = np.maximum((names + consonant_names) / 2, 1)
    made = np.clip(WEIGHT_MOST - np.log2(seen), WEIGHT_LEAST, WEIGHT_MOST)
    for letters, most in WEIGHT_SHORT.items():
        made = np.where(length == letters, np.minimum(made, most), made)
    made = np.where(length == 1, WEIGHT_LETTER, made)
    return np.where(common, WEIGHT_COMMON_WORD, made).astype(np.float32)

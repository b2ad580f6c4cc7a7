"""Scores a batch of names against the index: which entries each may be, from 0 to 1000.

The score is the weight of what two names share over the weight of both: each token counts its rarity times its nearness
to the nearest token of the other name. Order, case, accents and punctuation play no part; 1000 is the same tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import Indel
from rapidfuzz.process import cpdist

from services.risk.screening.lists.party_list import ListVersion, Quality
from services.risk.screening.matching.index import FLOOR, WEIGHT_LETTER, Floats, Index, bits_of, signature
from services.risk.screening.matching.token_similarity import (
    EQUAL,
    JOINED,
    BatchTokens,
    best_pairs,
    join_pairs,
    read_tokens,
    with_pairs,
)
from services.risk.screening.names.spelling import Bools, Ints
from services.risk.screening.names.tokens import expand, first_of, normalise, starts_of, token_sets

#: Scores from here on are hits unless told otherwise.
THRESHOLD: Final = 870
#: Hits from here on, on a name that is no weak alias, are strong unless told otherwise.
STRONG: Final = 930
#: How near an initial is to a name that begins with it, in thousandths.
INITIAL: Final = 600
#: Names that weigh less than this are borne by many; what is amiss with them counts for more.
WEIGHT_DISTINCTIVE: Final = 10.0
#: The most that a name scores which is not letter by letter the listed one.
SCORE_OTHERWISE_SPELT: Final = 995
#: What a name must share is estimated with this much slack: tokens that are near weigh a little different on both sides.
SLACK: Final = 1.15


@dataclass(frozen=True, slots=True)
class NameMatches:
    """Pairs of a screened name and an entry, by name and then from the highest score down."""

    versions: tuple[ListVersion, ...]
    """Every list that the names were screened against, hit or not: what a record of screening names."""
    name: Ints
    """Row of the name in the batch."""
    entry: Ints
    """Row of the entry in the index; each at most once a name."""
    entry_name: Ints
    """Row in the index of the entry's name that scores highest."""
    score: Ints
    firm: Ints
    """The highest score of those of the entry's names that are no weak aliases; 0 where only weak ones hit."""


@dataclass(frozen=True, slots=True)
class NameBatch:
    """Occurrences of tokens in the names of a batch, and the listed tokens that each is near to."""

    tokens: BatchTokens
    names: int
    name: Ints
    token: Ints
    starts: Ints
    """For each name: where its occurrences begin; one more at the end."""
    weight: Floats
    extra_weight: Floats
    """What each occurrence weighs more where it meets no listed token."""
    total: Floats
    """Weight of each name, if each of its tokens meets a listed one."""
    near_starts: Ints
    """For each name: where its pairs of an occurrence and a listed token begin."""
    near_name: Ints
    near_occurrence: Ints
    near_token: Ints
    nearness: Ints
    letters: Ints
    """For each name: its tokens that are single letters, as bits."""
    firsts: Ints
    """For each name: the first letters of its tokens, as bits."""


def screen(index: Index, names: Sequence[str], threshold: int = THRESHOLD) -> NameMatches:
    """Screen a batch of names, as written, against the index.

    Returns the hits with at least `threshold` (from 700 to 1000). Raises ValueError for a threshold out of its range.
    """
    if not FLOOR * 1000 <= threshold <= 1000:
        raise ValueError(f"the threshold is {threshold}; it must be from {round(FLOOR * 1000)} to 1000")
    distinct = dict.fromkeys(names)
    if len(distinct) == len(names):
        return _screen_distinct(index, names, threshold)
    place_of = dict(zip(distinct, count(), strict=False))
    rows = np.fromiter(map(place_of.__getitem__, names), np.int64, len(names))
    hits = _screen_distinct(index, list(distinct), threshold)
    starts = starts_of(hits.name, len(distinct))
    name, place = expand(starts[rows], starts[rows + 1] - starts[rows])
    return NameMatches(
        index.versions, name, hits.entry[place], hits.entry_name[place], hits.score[place], hits.firm[place]
    )


def _screen_distinct(index: Index, names: Sequence[str], threshold: int) -> NameMatches:
    batch = read_batch(index, names)
    name, entry_name = candidates(index, batch, threshold / 1000)
    score = scores(index, batch, name, entry_name)
    kept = score >= threshold
    return _by_entry(index, names, name[kept], entry_name[kept], score[kept])


def read_batch(index: Index, names: Sequence[str]) -> NameBatch:
    """Cut names into tokens and look these up."""
    sets = token_sets(names)
    tokens = read_tokens(index, sets.tokens)
    starts = starts_of(sets.name, sets.names)
    weight = tokens.weight[sets.token]
    begin = tokens.starts[sets.token]
    occurrence, place = expand(begin, tokens.starts[sets.token + 1] - begin)
    near, nearness = tokens.near[place], tokens.nearness[place]
    parts, whole = join_pairs(index, tokens, sets.name, sets.token, starts)
    if len(parts):
        occurrence, near, nearness = with_pairs(
            (occurrence, near, nearness), (parts, whole, np.full(len(parts), JOINED)), len(index.vocabulary.tokens)
        )
    near_name = sets.name[occurrence]
    first = tokens.features.first[sets.token]
    return NameBatch(
        tokens=tokens,
        names=sets.names,
        name=sets.name,
        token=sets.token,
        starts=starts,
        weight=weight,
        extra_weight=tokens.unmatched_weight[sets.token] - weight,
        total=np.bincount(sets.name, weight, sets.names).astype(np.float32),
        near_starts=starts_of(near_name, sets.names),
        near_name=near_name,
        near_occurrence=occurrence,
        near_token=near,
        nearness=nearness,
        letters=bits_of(np.where(tokens.features.length[sets.token] == 1, first, 0), starts),
        firsts=bits_of(first, starts),
    )


def candidates(index: Index, batch: NameBatch, least: float) -> tuple[Ints, Ints]:
    """Pairs of a name and a listed one that may reach `least`: they share a token by which the listed one is reached.

    Names that have too little near to anything listed have none. Nor has a pair that lacks too much of the tokens by
    which the listed one is reached, since all of these were looked up.
    """
    best = np.where(batch.tokens.features.length[batch.token] == 1, INITIAL, 0)
    np.maximum.at(best, batch.near_occurrence, batch.nearness)
    reach = np.bincount(batch.name, batch.weight * best, batch.names) / EQUAL
    possible = reach * SLACK >= batch.total * (least / (2 - least))
    pairs = np.flatnonzero(possible[batch.near_name])
    token = batch.near_token[pairs]
    begin = index.block_starts[token]
    row, at = expand(begin, index.block_starts[token + 1] - begin)
    pairs = pairs[row]
    # The best of each token of the listed name, then what all of them are worth.
    name, place, nearness = best_pairs(
        batch.near_name[pairs], index.block_place[at], batch.nearness[pairs], len(index.names.tokens)
    )
    worth = index.token_weight[index.names.tokens[place]] * nearness / EQUAL
    entry_name = index.name_of_place[place]
    start = first_of(name * np.int64(len(index.names)) + entry_name)
    if not len(start):
        return name, entry_name
    name, entry_name, found = name[start], entry_name[start], np.add.reduceat(worth, start)
    lacking = index.name_blocked[entry_name] - found
    # What an initial on the other side may make good.
    person = index.name_person[entry_name]
    lacking = np.where(person & (batch.letters[name] != 0), lacking * (1 - INITIAL / EQUAL), lacking)
    mine = np.where(person & (index.name_letters[entry_name] != 0), batch.total[name], reach[name])
    most = index.name_weight[entry_name] - lacking + mine
    kept = most >= least * (batch.total[name] + index.name_weight[entry_name]) - 1e-3
    name, entry_name, person, most = name[kept], entry_name[kept], person[kept], (most - mine)[kept]
    # Only what of the name may be near to a token of the listed one, as far as a few bits tell.
    ends = starts_of(batch.near_occurrence, len(batch.name))
    bits = bits_of(signature(batch.near_token), ends)
    row, place = expand(batch.starts[name], batch.starts[name + 1] - batch.starts[name])
    shared = (bits[place] & index.name_signature[entry_name[row]]) != 0
    shared |= batch.tokens.features.length[batch.token[place]] == 1
    mine = np.bincount(row, (batch.weight * best)[place] * shared, len(name)) / EQUAL
    mine = np.where(person & (index.name_letters[entry_name] != 0), batch.total[name], mine)
    kept = most + mine >= least * (batch.total[name] + index.name_weight[entry_name]) - 1e-3
    return name[kept], entry_name[kept]


def scores(index: Index, batch: NameBatch, name: Ints, entry_name: Ints) -> Ints:
    """Score pairs of a name of the batch and a listed one."""
    if not len(name):
        return np.zeros(0, np.int64)
    starts = batch.near_starts[name]
    pair, place = expand(starts, batch.near_starts[name + 1] - starts)
    key = entry_name[pair] * len(index.vocabulary.tokens) + batch.near_token[place]
    at = np.minimum(np.searchsorted(index.keys, key), len(index.keys) - 1)
    has = index.keys[at] == key
    pair, place = pair[has], place[has]
    nearness = batch.nearness[place]
    name_best = best_pairs(pair, batch.near_occurrence[place], nearness, len(batch.name))
    entry_best = best_pairs(pair, batch.near_token[place], nearness, len(index.vocabulary.tokens))
    shared: npt.NDArray[np.float64] = _worth(name_best, batch.weight, len(name))
    shared += _worth(entry_best, index.token_weight, len(name))
    shared += _initials(index, batch, name, entry_name, name_best, entry_best)
    both = batch.total[name] + index.name_weight[entry_name]
    both += np.bincount(batch.name, batch.extra_weight, batch.names)[name] - np.bincount(
        name_best[0], batch.extra_weight[name_best[1]], len(name)
    )
    amiss = (1 - shared / (EQUAL * both)) * np.maximum(WEIGHT_DISTINCTIVE / index.name_weight[entry_name], 1)
    made: Ints = np.clip(np.floor(1000 * (1 - amiss) + 1e-2), 0, 1000).astype(np.int64)
    return made


def _worth(best: tuple[Ints, Ints, Ints], weight: Floats, pairs: int) -> npt.NDArray[np.float64]:
    """For each pair, the sum of weight times nearness over its tokens."""
    pair, token, nearness = best
    made: npt.NDArray[np.float64] = np.bincount(pair, weight[token] * nearness, pairs).astype(np.float64, copy=False)
    return made


def _initials(
    index: Index,
    batch: NameBatch,
    name: Ints,
    entry_name: Ints,
    name_best: tuple[Ints, Ints, Ints],
    entry_best: tuple[Ints, Ints, Ints],
) -> npt.NDArray[np.float64]:
    """For each pair, what initials of the one are worth for tokens of the other that nothing else is near to."""
    made = np.zeros(len(name))
    both = batch.letters[name] & index.name_letters[entry_name]
    mine_for_theirs = batch.letters[name] & ~both & index.name_firsts[entry_name]
    theirs_for_mine = index.name_letters[entry_name] & ~both & batch.firsts[name]
    some = np.flatnonzero(((mine_for_theirs | theirs_for_mine) != 0) & index.name_person[entry_name])
    if not len(some):
        return made
    starts, tokens = index.names.starts, index.names.tokens
    begin = starts[entry_name[some]]
    row, place = expand(begin, starts[entry_name[some] + 1] - begin)
    letters = mine_for_theirs[some]
    free = ~_has(entry_best, some[row], tokens[place], len(index.token_names))
    made[some] += _initials_worth(
        row, index.token_first[tokens[place]], index.token_weight[tokens[place]], free, letters
    )
    begin = batch.starts[name[some]]
    row, place = expand(begin, batch.starts[name[some] + 1] - begin)
    letters = theirs_for_mine[some]
    free = ~_has(name_best, some[row], place, len(batch.name))
    made[some] += _initials_worth(
        row, batch.tokens.features.first[batch.token[place]], batch.weight[place], free, letters
    )
    return made


def _has(best: tuple[Ints, Ints, Ints], pair: Ints, token: Ints, tokens: int) -> Bools:
    """Whether the pair and the token, below `tokens`, are among the sorted best ones."""
    known, wanted = best[0] * tokens + best[1], pair * tokens + token
    at = np.searchsorted(known, wanted)
    made: Bools = np.append(known, -1)[at] == wanted
    return made


def _initials_worth(row: Ints, first: Ints, weight: Floats, free: Bools, letters: Ints) -> npt.NDArray[np.float64]:
    """The heaviest free token for each letter, and the letter itself, by row."""
    made = np.zeros(len(letters))
    fit = np.flatnonzero(free & ((first & letters[row]) != 0) & (weight > WEIGHT_LETTER))
    order = fit[np.lexsort((-weight[fit], first[fit], row[fit]))]
    kept = order[first_of(row[order] * (1 << 26) + first[order])]
    np.add.at(made, row[kept], (weight[kept] + WEIGHT_LETTER) * INITIAL)
    return made


def _by_entry(index: Index, names: Sequence[str], name: Ints, entry_name: Ints, score: Ints) -> NameMatches:
    """Keep the best name of each entry, the best entry first; of equal ones, the one whose letters are nearest."""
    if not len(name):
        return NameMatches(index.versions, name, entry_name, entry_name, score, score)
    name_words = _sorted_words([names[row] for row in name.tolist()])
    entry_words = _sorted_words([index.name_text(row) for row in entry_name.tolist()])
    likeness: npt.NDArray[np.float32] = cpdist(
        name_words, entry_words, scorer=Indel.normalized_similarity, dtype=np.float32
    )
    score = np.where((score > SCORE_OTHERWISE_SPELT) & (likeness < 1), SCORE_OTHERWISE_SPELT, score)
    entry = index.names.entry[entry_name]
    order = np.lexsort((index.names.place[entry_name], -likeness, -score, entry, name))
    new = np.ones(len(order), np.bool_)
    new[1:] = (name[order][1:] != name[order][:-1]) | (entry[order][1:] != entry[order][:-1])
    # Of the weak ones the list itself says that many others bear them.
    weak = np.fromiter((index.quality(row) is Quality.WEAK for row in entry_name[order].tolist()), np.bool_, len(order))
    firm = np.maximum.reduceat(np.where(weak, 0, score[order]), np.flatnonzero(new))
    order = order[new]
    again = np.lexsort((entry[order], -likeness[order], -score[order], name[order]))
    order, firm = order[again], firm[again]
    return NameMatches(index.versions, name[order], entry[order], entry_name[order], score[order], firm)


def _sorted_words(names: Sequence[str]) -> list[str]:
    return [" ".join(sorted(line.split())) for line in normalise(names)]

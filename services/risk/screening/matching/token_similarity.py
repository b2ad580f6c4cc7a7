"""Which listed tokens a token of a batch is near to, and how near: a slip of the pen, doubled letters, other vowels.

Nearness is in thousandths: 1000 is equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Final

import numpy as np

from services.risk.screening.matching.index import COMMON, LENGTH_OF_NUMBER, Floats, Index, weights
from services.risk.screening.names.spelling import Bools, Ints, Spelling, joined, spelling
from services.risk.screening.names.spelling_table import Way, Ways, ways_of
from services.risk.screening.names.tokens import expand, first_of, starts_of

EQUAL: Final = 1000
#: Two tokens written as one, or one as two.
JOINED: Final = 970
#: Doubled letters as one make them equal.
DOUBLED: Final = 970
#: The same consonants in order; less for each letter that differs, of which there may be a few.
SKELETON: Final = 970
SKELETON_SLIP: Final = 50
SKELETON_SLIPS_MAX: Final = 2
#: What slips cost, in thousandths of a letter: letters swapped, one more or less, another one, another in front, two.
COST_SWAPPED: Final = 450
COST_MORE_OR_LESS: Final = 550
COST_OTHER: Final = 700
COST_OTHER_FIRST: Final = 1300
COST_TWO: Final = 1500
TWO_SLIPS_LENGTH_LEAST: Final = 8
#: Slips of such tokens cost so many percent, swapped letters apart: a token that stands in several listed names itself is
#: less likely a slip of another one; and without vowels, each letter makes another name.
UNLIKELY_PERCENT: Final = 300
KNOWN_TOKEN_NAMES: Final = 2
#: Tokens less near than this are not taken for the same.
LEAST: Final = 700
#: A token that is in no list weighs as one that it is near to, if it is as near as this.
SAME_WEIGHT: Final = 750
#: A name's tokens are tried in pairs as one token up to this many.
JOIN_TOKENS_MAX: Final = 8
JOIN_LENGTH_LEAST: Final = 4

_STEP_BITS: Final = 10


@dataclass(frozen=True, slots=True)
class BatchTokens:
    """A batch's tokens beside the index, and the pairs of them and listed tokens that are near."""

    texts: Sequence[str]
    features: Spelling
    index_token: Ints
    """The same token in the index; -1 where it is in no listed name."""
    weight: Floats
    """What the token counts where it meets a listed one: as much as that one, if it is not listed itself."""
    unmatched_weight: Floats
    """What it counts where it meets none: at least as much."""
    starts: Ints
    """For each token: where its pairs begin; one more at the end."""
    near: Ints
    """The listed token of each pair."""
    nearness: Ints


def read_tokens(index: Index, texts: Sequence[str]) -> BatchTokens:
    """Look up tokens in the index."""
    features = spelling(texts)
    index_token = np.fromiter(map(index.vocabulary.ids.get, texts, repeat(-1)), np.int64, len(texts))
    names = np.zeros(len(texts), np.int64)
    names[index_token >= 0] = index.token_names[index_token[index_token >= 0]]
    index_token[names == 0] = -1
    skeletons = index.skeletons.find(features.skeleton)
    slips, by_consonants = _slips(index, features, names), _same_consonants(index, features, skeletons)
    token, near = np.concatenate([slips[0], by_consonants[0]]), np.concatenate([slips[1], by_consonants[1]])
    nearness, like = np.concatenate([slips[2], by_consonants[2]]), np.concatenate([slips[3], by_consonants[3]])
    weight, unmatched_weight = _weights(index, texts, features, index_token, skeletons, (token, nearness, like))
    token, near, nearness = best_pairs(token, near, nearness, len(index.vocabulary.tokens))
    return BatchTokens(
        texts, features, index_token, weight, unmatched_weight, starts_of(token, len(texts)), near, nearness
    )


def best_pairs(row: Ints, token: Ints, nearness: Ints, tokens: int) -> tuple[Ints, Ints, Ints]:
    """Sort pairs by row and token (below `tokens`) and keep the nearest of equal ones."""
    # One number for all three is sorted several times faster than three columns, and shifts are faster than divisions.
    bits = tokens.bit_length()
    keys = np.sort((((row << bits) | token) << _STEP_BITS) | (EQUAL - nearness), kind="stable")
    pairs = keys >> _STEP_BITS
    kept = first_of(pairs)
    pairs, keys = pairs[kept], keys[kept]
    return pairs >> bits, pairs & ((1 << bits) - 1), EQUAL - (keys & ((1 << _STEP_BITS) - 1))


def with_pairs(
    pairs: tuple[Ints, Ints, Ints], extra_pairs: tuple[Ints, Ints, Ints], tokens: int
) -> tuple[Ints, Ints, Ints]:
    """Put a few more pairs to sorted ones, as best_pairs would of all of them."""
    bits = tokens.bit_length()
    row, token, nearness = best_pairs(*extra_pairs, tokens)
    keys, new = (pairs[0] << bits) | pairs[1], (row << bits) | token
    at = np.searchsorted(keys, new)
    here = np.append(keys, -1)[at] == new
    kept = pairs[2].copy()
    np.maximum.at(kept, at[here], nearness[here])
    fresh = ~here
    made = (pairs[0], row), (pairs[1], token), (kept, nearness)
    first, second, third = (np.insert(old, at[fresh], added[fresh]) for old, added in made)
    return first, second, third


def _slips(index: Index, features: Spelling, names: Ints) -> tuple[Ints, Ints, Ints, Floats]:
    """Pairs that are equal, a slip apart, or one token and two; with each, what a token that is not listed would weigh."""
    vocabulary = index.vocabulary
    ways = ways_of(features)
    which, places = vocabulary.forms.find(ways.hashes)
    rows = vocabulary.forms.rows
    way, their_way = ways.way[which], rows.way[places]
    # Most meet with a letter left out in different places: two slips, which only longer tokens may have.
    one = (way < Way.SHORTER) | (their_way < Way.SHORTER) | (np.abs(way - their_way) <= 1)
    worth = np.flatnonzero(one | (features.length[ways.first[which]] >= TWO_SLIPS_LENGTH_LEAST))
    which, places, way, their_way = which[worth], places[worth], way[worth], their_way[worth]
    token, other = ways.first[which].astype(np.int64), rows.first[places]
    near = _nearness(
        way,
        their_way,
        np.maximum(features.length[token], vocabulary.features.length[other]),
        features.letters[token] == vocabulary.features.letters[other],
        (names[token] >= KNOWN_TOKEN_NAMES) | ~features.vowels[token],
    )
    kept = np.flatnonzero(near >= LEAST)
    token, near, other, join = token[kept], near[kept], other[kept], rows.join[places[kept]]
    two = np.flatnonzero(join >= 0)
    if len(two):
        near[two] = np.where(index.join_used[join[two]], near[two], 0)
    index_token = vocabulary.spelling_token[np.concatenate([other, vocabulary.join_right[join[two]]])]
    like = index.token_weight[index_token]
    # A token that is two weighs as both.
    like[two] += like[len(kept) :]
    like = np.concatenate([like[: len(kept)], like[two]])
    token, near = np.concatenate([token, token[two]]), np.concatenate([near, near[two]])
    used = (index.token_names[index_token] > 0) & (near > 0)
    return token[used], index_token[used], near[used], like[used]


def _nearness(way: Ways, entry_way: Ways, length: Ints, same_letters: Bools, unlikely: Bools) -> Ints:
    """How near two tokens are that meet in these ways; 0 where meeting so says nothing.

    `length` is the longer one's; `unlikely` says that a slip is.
    """
    both_shorter = (way >= Way.SHORTER) & (entry_way >= Way.SHORTER)
    whole, their_whole = way == Way.WHOLE, entry_way == Way.WHOLE
    apart = np.abs(way - entry_way)
    cost = np.where(both_shorter, COST_TWO, EQUAL * length)
    cost[(whole & (entry_way >= Way.SHORTER)) | (their_whole & (way >= Way.SHORTER))] = COST_MORE_OR_LESS
    cost[both_shorter & (apart == 0)] = COST_OTHER
    cost[both_shorter & (apart == 0) & (way == Way.SHORTER)] = COST_OTHER_FIRST
    near = EQUAL - np.where(unlikely, cost * UNLIKELY_PERCENT // 100, cost) // length
    swapped = (both_shorter & (apart == 1) & same_letters) | ((way == Way.ANY_ORDER) & (entry_way == Way.ANY_ORDER))
    near = np.where(swapped, EQUAL - COST_SWAPPED // length, near)
    near[((way == Way.COLLAPSED) | (entry_way == Way.COLLAPSED)) & (way < 0) & (entry_way < 0)] = DOUBLED
    near[whole & their_whole] = EQUAL
    join = (entry_way == Way.JOINED) & (length >= JOIN_LENGTH_LEAST)
    near = np.where(entry_way == Way.JOINED, 0, near)
    near[join & whole] = JOINED
    # Two as one, and a letter too many; that letter doubled is the same.
    slip = join & (way >= Way.SHORTER)
    near[slip] = JOINED - COST_MORE_OR_LESS // length[slip]
    return near


def _same_consonants(index: Index, features: Spelling, skeletons: tuple[Ints, Ints]) -> tuple[Ints, Ints, Ints, Floats]:
    """Pairs with the same consonants in the same order; with each, what a token that is not listed would weigh."""
    vocabulary = index.vocabulary
    some, at = skeletons
    begin = index.skeletons.starts[at]
    group, member = expand(begin, index.skeletons.starts[at + 1] - begin)
    tokens, index_spellings = some[group], index.skeletons.spellings[member]
    fit = features.first[tokens] == vocabulary.features.first[index_spellings]
    # Without vowels on either side, nothing but consonants differs.
    fit &= features.vowels[tokens] | vocabulary.features.vowels[index_spellings]
    fit &= features.whole[tokens] != vocabulary.features.whole[index_spellings]
    tokens, index_spellings = tokens[fit], index_spellings[fit]
    # A slip adds a letter, or puts one in place of another; without vowels there is none to be replaced, so that takes two.
    name_letters, entry_letters = features.alphabet[tokens], vocabulary.features.alphabet[index_spellings]
    exchanged = np.minimum(
        np.bitwise_count(name_letters & ~entry_letters), np.bitwise_count(entry_letters & ~name_letters)
    ).astype(np.int64)
    exchanged *= np.where(features.vowels[tokens] & vocabulary.features.vowels[index_spellings], 1, 2)
    slips = np.maximum(np.abs(features.length[tokens] - vocabulary.features.length[index_spellings]) + exchanged, 1)
    kept = slips <= SKELETON_SLIPS_MAX
    near = vocabulary.spelling_token[index_spellings[kept]]
    return tokens[kept], near, SKELETON - SKELETON_SLIP * slips[kept], index.token_weight[near]


def _weights(
    index: Index,
    texts: Sequence[str],
    features: Spelling,
    index_token: Ints,
    skeletons: tuple[Ints, Ints],
    pairs: tuple[Ints, Ints, Floats],
) -> tuple[Floats, Floats]:
    """A listed token weighs what it weighs there; another as a near listed one where it meets one, or as a rare one."""
    consonant_names = np.zeros(len(texts), np.int64)
    row, at = skeletons
    consonant_names[row] = index.skeletons.names[at]
    here = index_token >= 0
    # A listed token's weight is taken from the index.
    common = np.zeros(len(texts), np.bool_)
    common[~here] = list(map(COMMON.__contains__, compress(texts, (~here).tolist())))
    length = np.where(features.numeric, LENGTH_OF_NUMBER, features.length)
    made = weights(np.ones(len(texts), np.int64), consonant_names, length, common)
    made[here] = index.token_weight[index_token[here]]
    token, nearness, like = pairs
    close = ~here[token] & (nearness >= SAME_WEIGHT)
    least = np.full(len(texts), np.inf, np.float32)
    np.minimum.at(least, token[close], like[close] + 1)
    return np.minimum(made, least), made


def join_pairs(index: Index, tokens: BatchTokens, name: Ints, token: Ints, starts: Ints) -> tuple[Ints, Ints]:
    """Find two tokens of one name that are one listed token together: (occurrence, listed token) for each of the two.

    `name` and `token` are the occurrences, sorted by name; `starts` is where each name's begin, one more at the end.
    Any two are tried in either order, since the order of tokens tells nothing.
    """
    vocabulary = index.vocabulary
    counts = np.diff(starts)
    counts = np.where(counts <= JOIN_TOKENS_MAX, counts, 0)
    left, right = expand(starts[name], counts[name])
    length = tokens.features.length
    fit = (left != right) & (length[token[left]] + length[token[right]] >= JOIN_LENGTH_LEAST)
    left, right = left[fit], right[fit]
    a, b = token[left], token[right]
    which, places = vocabulary.forms.find(joined(tokens.features.whole[a], length[a], tokens.features.whole[b]))
    whole = vocabulary.forms.rows.way[places] == Way.WHOLE
    which, places = which[whole], places[whole]
    index_token = vocabulary.spelling_token[vocabulary.forms.rows.first[places]]
    used = index.token_names[index_token] > 0
    which, index_token = which[used], index_token[used]
    return np.concatenate([left[which], right[which]]), np.concatenate([index_token, index_token])

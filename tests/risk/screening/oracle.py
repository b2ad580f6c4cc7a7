"""The score once more, a pair at a time in plain Python, on texts instead of hashes: what the batches must agree with."""

from __future__ import annotations

import math

from rapidfuzz.distance import OSA

from services.risk.screening.matching import token_similarity as near
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.scores import WEIGHT_DISTINCTIVE
from services.risk.screening.names.spelling import DELETION_LENGTH_LEAST
from services.risk.screening.names.tokens import canonical_words


def nearness(token: str, listed: str, known: bool) -> int:
    """How near two tokens are by slips alone; `known` says that the token is not likely a slip."""
    if token == listed:
        return near.EQUAL
    if any(letter.isdigit() for letter in token + listed):
        return 0
    if collapsed(token) == collapsed(listed):
        return near.DOUBLED
    length, slips = max(len(token), len(listed)), OSA.distance(token, listed)
    long = min(len(token), len(listed)) >= DELETION_LENGTH_LEAST
    if slips > 1:
        return 0
    if sorted(token) == sorted(listed):
        return near.EQUAL - near.COST_SWAPPED // length if long or length == 3 else 0
    if len(token) != len(listed):
        cost = near.COST_MORE_OR_LESS if length >= DELETION_LENGTH_LEAST else math.inf
    else:
        cost = (near.COST_OTHER_FIRST if token[0] != listed[0] else near.COST_OTHER) if long else math.inf
    cost = cost * near.UNLIKELY_PERCENT // 100 if known and cost < math.inf else cost
    return int(near.EQUAL - cost // length) if cost < math.inf else 0


def collapsed(token: str) -> str:
    return "".join(letter for place, letter in enumerate(token) if token[place - 1 : place] != letter)


def score_least(index: Index, name: str, listed: int) -> int:
    """A score that the pair has at least: by equal tokens and single slips, without what else brings names together."""
    vocabulary = index.vocabulary
    begin, end = index.names.starts[listed], index.names.starts[listed + 1]
    theirs = [int(token) for token in index.names.tokens[begin:end]]
    mine = sorted(set(canonical_words([name])[0]))
    weight = {token: weight_of(index, token) for token in mine}
    alone = {token: float(near.read_tokens(index, [token]).unmatched_weight[0]) for token in mine}
    shared = 0.0
    best = {
        (token, other): found
        for token in mine
        for other in theirs
        if (found := nearness(token, vocabulary.tokens[other], known(index, token))) >= near.LEAST
    }
    for token in mine:
        shared += weight[token] * max((best.get((token, other), 0) for other in theirs), default=0)
    for other in theirs:
        shared += float(index.token_weight[other]) * max((best.get((token, other), 0) for token in mine), default=0)
    met = {token for token, _ in best}
    both = sum((weight if token in met else alone)[token] for token in mine) + float(index.name_weight[listed])
    amiss = (1 - shared / (near.EQUAL * both)) * max(WEIGHT_DISTINCTIVE / float(index.name_weight[listed]), 1)
    return max(0, math.floor(1000 * (1 - amiss) + 1e-2))


def known(index: Index, token: str) -> bool:
    number = index.vocabulary.ids.get(token)
    if not set(token) & set("aeiou"):
        return True
    return number is not None and index.token_names[number] >= near.KNOWN_TOKEN_NAMES


def weight_of(index: Index, token: str) -> float:
    return float(near.read_tokens(index, [token]).weight[0])

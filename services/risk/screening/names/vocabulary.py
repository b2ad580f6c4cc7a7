"""The tokens of listed names, how each may be written, and the table of hashes that leads from writing to token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from services.risk.screening.names.known_words import VARIANTS
from services.risk.screening.names.spelling import TOKEN_LENGTH_MAX, Ints, Spelling, spelling
from services.risk.screening.names.spelling_table import Forms, SpellingRows, Way, ways_of
from services.risk.screening.names.tokens import TOKENS_MAX, canonical, normalise


@dataclass(frozen=True, slots=True)
class TokenVocabulary:
    """Every token that ever stood in a name. Only grows: an index knows which of them stand in its names."""

    tokens: tuple[str, ...] = field(repr=False)
    ids: dict[str, int] = field(repr=False)
    spellings: tuple[str, ...] = field(repr=False)
    """How tokens are written: each as it is, and the commonest in their other spellings."""
    spelling_token: Ints = field(repr=False)
    token_spelling: Ints = field(repr=False)
    """For each token: the spelling that is the token itself."""
    joins: dict[tuple[str, str], int] = field(repr=False)
    """Words that stood side by side, as written, numbered: who is listed as Al Qaida may be written Alqaida."""
    join_right: Ints = field(repr=False)
    """For each such pair: the spelling of its right one."""
    features: Spelling = field(repr=False)
    forms: Forms = field(repr=False)
    """Hashes that lead to spellings; those of two tokens as one lead to the left one and the number of the pair."""

    @staticmethod
    def empty() -> TokenVocabulary:
        """No token at all."""
        none = np.zeros(0, np.int64)
        nothing = spelling([])
        return TokenVocabulary((), {}, (), none, none, {}, none, nothing, Forms.from_rows(ways_of(nothing)))

    def with_names(self, texts: Sequence[str], tokens: Sequence[str]) -> tuple[TokenVocabulary, Ints, Ints]:
        """Return the same with the tokens of more names; for each name, its pairs one behind the other and how many."""
        ids = dict(self.ids)
        fresh = [token for token in tokens if token not in ids]
        ids.update(zip(fresh, range(len(ids), len(ids) + len(fresh)), strict=True))
        variants = [VARIANTS.get(token, ()) for token in fresh]
        written = [spelling for token, others in zip(fresh, variants, strict=True) for spelling in (token, *others)]
        counts = np.array([1 + len(others) for others in variants], np.int64)
        own = len(self.spellings) + np.cumsum(counts) - counts
        token_spelling = np.concatenate([self.token_spelling, own])
        extra = spelling(written)
        features = self.features.joined_with(extra)
        joins = dict(self.joins)
        pairs = [
            [joins.setdefault(pair, len(joins)) for pair in pairwise(line.split()[:TOKENS_MAX])]
            for line in normalise(texts)
        ]
        new = list(joins)[len(self.joins) :]
        left, right = (
            token_spelling[np.fromiter((ids[canonical(pair[side])] for pair in new), np.int64, len(new))]
            for side in (0, 1)
        )
        together = spelling([(one + other)[:TOKEN_LENGTH_MAX] for one, other in new])
        ways = ways_of(extra)
        rows = SpellingRows(
            np.concatenate([ways.hashes, together.whole]),
            np.concatenate([ways.first + len(self.spellings), left]).astype(np.int32),
            np.concatenate([ways.join, np.arange(len(self.joins), len(joins))]).astype(np.int32),
            np.concatenate([ways.way, np.full(len(new), Way.JOINED, np.int8)]),
        )
        token_of_new = np.repeat(np.arange(len(self.tokens), len(ids)), counts)
        vocabulary = TokenVocabulary(
            tokens=(*self.tokens, *fresh),
            ids=ids,
            spellings=(*self.spellings, *written),
            spelling_token=np.concatenate([self.spelling_token, token_of_new]),
            token_spelling=token_spelling,
            joins=joins,
            join_right=np.concatenate([self.join_right, right]),
            features=features,
            forms=self.forms.with_more(rows),
        )
        flat = np.array([pair for each in pairs for pair in each], np.int64)
        return vocabulary, flat, np.array([len(each) for each in pairs], np.int64)

"""Says of a hit why it is one: which listed name, which tokens meet how, what was transliterated, what is left over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from rapidfuzz.distance import OSA

from services.risk.screening.index import Index
from services.risk.screening.lists import Quality
from services.risk.screening.matching import INITIAL, read_batch, scores
from services.risk.screening.names import canonical_words, normalise

SAME: Final = "the same"
OTHER_SPELLING: Final = "another spelling of the same word"
SWAPPED: Final = "two letters swapped"
DOUBLED_LETTER: Final = "a letter doubled"
ONE_LETTER: Final = "one letter differs"
MORE_LETTERS: Final = "a few letters differ"
CONSONANTS: Final = "the same consonants"
WRITTEN_TOGETHER: Final = "written together"
WRITTEN_APART: Final = "written apart"
AN_INITIAL: Final = "an initial"


@dataclass(frozen=True, slots=True)
class Meeting:
    """A token of the screened name and one of the listed name that were taken for the same."""

    token: str
    listed: str
    how: str
    nearness: int
    """In thousandths."""
    weight: float
    """The listed token's rarity."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a name hits an entry. Tokens are as transliterated, in lower case."""

    version: str
    """Id of the list's version."""
    entry: str
    """The list's own id of the entry."""
    listed_name: str
    """As the list writes it."""
    quality: Quality
    score: int
    meetings: tuple[Meeting, ...]
    """The heaviest first."""
    only_screened: tuple[str, ...]
    """Tokens of the screened name that meet none."""
    only_listed: tuple[str, ...]
    transliterated: tuple[str, str] | None
    """The screened name in the letters in which it was compared, and the listed one; None if both were in ASCII."""

    def sentence(self) -> str:
        """The explanation in words."""
        parts = [f"{each.token} is {each.listed}: {each.how}" for each in self.meetings]
        if self.only_screened:
            parts.append(f"only in the screened name: {', '.join(self.only_screened)}")
        if self.only_listed:
            parts.append(f"only in the listed name: {', '.join(self.only_listed)}")
        if self.transliterated:
            parts.append(f"compared as {self.transliterated[0]} and {self.transliterated[1]}")
        return f"{self.score} of 1000 for {self.listed_name} ({self.version}, entry {self.entry}): " + "; ".join(parts)


def explain(index: Index, name: str, listed: int, score: int | None = None) -> Explanation:
    """Explain a hit of `name` on the listed name in that row of the index; `score` is the hit's, or is computed."""
    batch = read_batch(index, [name])
    if score is None:
        score = int(scores(index, batch, np.zeros(1, np.int64), np.array([listed]))[0])
    entry = int(index.names.entry[listed])
    written = index.name_text(listed)
    mine, theirs = normalise([name, written])
    words = _by_token(name, mine)
    listed_words = _by_token(written, theirs)
    tokens = index.vocabulary.tokens
    here = set(index.names.tokens[index.names.starts[listed] : index.names.starts[listed + 1]].tolist())
    pairs = [
        (nearness, batch.tokens.texts[batch.token[occurrence]], tokens[other])
        for occurrence, other, nearness in zip(
            batch.near_occurrence.tolist(), batch.near_listed.tolist(), batch.nearness.tolist(), strict=True
        )
        if other in here
    ]
    weight = {tokens[token]: float(index.token_weight[token]) for token in here}
    meetings: list[Meeting] = []
    met_mine: set[str] = set()
    met_theirs: set[str] = set()
    for nearness, token, other in sorted(pairs, key=lambda pair: (-pair[0], -weight[pair[2]], pair[1], pair[2])):
        # Each token is told once with its nearest, on whichever side it is still open.
        if token in met_mine and other in met_theirs:
            continue
        met_mine.add(token)
        met_theirs.add(other)
        how = _how(token, other, words[token], listed_words[other])
        meetings.append(Meeting(words[token], listed_words[other], how, nearness, weight[other]))
    if index.name_person[listed]:
        for token in sorted(words.keys() - met_mine):
            for other in sorted(listed_words.keys() - met_theirs, key=lambda each: -weight[each]):
                if token[0] == other[0] and (len(token) == 1) != (len(other) == 1):
                    met_mine.add(token)
                    met_theirs.add(other)
                    meetings.append(Meeting(words[token], listed_words[other], AN_INITIAL, INITIAL, weight[other]))
                    break
    return Explanation(
        version=index.version_of(entry).id,
        entry=index.entries[entry].id,
        listed_name=written,
        quality=index.entries[entry].names[int(index.names.place[listed])].quality,
        score=score,
        meetings=tuple(sorted(meetings, key=lambda meeting: (-meeting.weight, meeting.listed, meeting.token))),
        only_screened=tuple(word for token, word in words.items() if token not in met_mine),
        only_listed=tuple(word for token, word in listed_words.items() if token not in met_theirs),
        transliterated=None if name.isascii() and written.isascii() else (mine, theirs),
    )


def _by_token(name: str, normalised: str) -> dict[str, str]:
    """For each token that is compared, the word that it was made of."""
    return dict(zip(canonical_words([name])[0], normalised.split(), strict=False))


def _how(token: str, other: str, word: str, listed_word: str) -> str:
    if token == other:
        return SAME if word == listed_word else OTHER_SPELLING
    if len(token) > len(other) and len(other) < 0.8 * len(token) and other in token and len(token) - len(other) > 1:
        return WRITTEN_TOGETHER
    if len(other) > len(token) and token in other and len(other) - len(token) > 1:
        return WRITTEN_APART
    slips = int(OSA.distance(token, other))
    if _single(token) == _single(other):
        return DOUBLED_LETTER
    if slips == 1:
        return SWAPPED if sorted(token) == sorted(other) else ONE_LETTER
    return CONSONANTS if _consonants(token) == _consonants(other) else MORE_LETTERS


def _single(token: str) -> str:
    return "".join(letter for place, letter in enumerate(token) if place == 0 or letter != token[place - 1])


def _consonants(token: str) -> str:
    return "".join(letter for letter in _single(token)[1:] if letter not in "aeiouhwy")

"""Says of a hit why it is one: which listed name, which tokens meet how, what was transliterated, what is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rapidfuzz.distance import OSA

from services.risk.screening.lists.party_list import Quality
from services.risk.screening.matching.index import Index
from services.risk.screening.matching.scores import INITIAL, read_batch
from services.risk.screening.names.tokens import canonical_words, normalise

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
    entry_token: str
    relation: str
    nearness: int
    """In thousandths."""
    weight: float
    """The listed token's rarity."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a name matches an entry. Tokens are transliterated, in lower case."""

    version: str
    """Id of the list's version."""
    entry: str
    """The list's own id of the entry."""
    entry_name: str
    """As the list writes it."""
    quality: Quality
    score: int
    meetings: tuple[Meeting, ...]
    """The heaviest first."""
    only_screened: tuple[str, ...]
    """Tokens of the screened name that meet none."""
    only_entry: tuple[str, ...]


class Explainer:
    """Explains hits of a batch of names: each name, and each listed one that is met, is read once for all its hits."""

    def __init__(self, index: Index, names: Sequence[str], entry_names: Sequence[int]) -> None:
        """Prepare for matches of these names with names of entries, by their rows in the index."""
        self._index = index
        self._batch = read_batch(index, names)
        self._words = _words_of(names)
        rows = list(dict.fromkeys(entry_names))
        written = [index.name_text(row) for row in rows]
        self._entry_names = dict(zip(rows, zip(written, _words_of(written), strict=True), strict=True))

    def explain(self, name: int, entry_name: int, score: int) -> Explanation:
        """Explain a match of the name in that row of the batch with the name of an entry, with its score."""
        index = self._index
        entry = int(index.names.entry[entry_name])
        written, entry_words = self._entry_names[entry_name]
        words = self._words[name]
        pairs, weight = self._near(name, entry_name)
        meetings: list[Meeting] = []
        met_mine: set[str] = set()
        met_theirs: set[str] = set()
        for nearness, token, other in sorted(pairs, key=lambda pair: (-pair[0], -weight[pair[2]], pair[1], pair[2])):
            # Each token is told once with its nearest, on whichever side it is still open.
            if token in met_mine and other in met_theirs:
                continue
            met_mine.add(token)
            met_theirs.add(other)
            relation = _relation(token, other, words[token], entry_words[other])
            meetings.append(Meeting(words[token], entry_words[other], relation, nearness, weight[other]))
        if index.name_person[entry_name]:
            for token in sorted(words.keys() - met_mine):
                for other in sorted(entry_words.keys() - met_theirs, key=lambda each: -weight[each]):
                    if token[0] == other[0] and (len(token) == 1) != (len(other) == 1):
                        met_mine.add(token)
                        met_theirs.add(other)
                        meetings.append(Meeting(words[token], entry_words[other], AN_INITIAL, INITIAL, weight[other]))
                        break
        return Explanation(
            version=index.version_of(entry).id,
            entry=index.entries[entry].id,
            entry_name=written,
            quality=index.entries[entry].names[int(index.names.place[entry_name])].quality,
            score=score,
            meetings=tuple(sorted(meetings, key=lambda meeting: (-meeting.weight, meeting.entry_token, meeting.token))),
            only_screened=tuple(word for token, word in words.items() if token not in met_mine),
            only_entry=tuple(word for token, word in entry_words.items() if token not in met_theirs),
        )

    def _near(self, name: int, entry_name: int) -> tuple[list[tuple[int, str, str]], dict[str, float]]:
        """Nearness of the name's tokens and the listed ones that they are near to, and what each listed token weighs."""
        index, batch = self._index, self._batch
        tokens = index.vocabulary.tokens
        here = index.names.tokens[index.names.starts[entry_name] : index.names.starts[entry_name + 1]].tolist()
        near = slice(int(batch.near_starts[name]), int(batch.near_starts[name + 1]))
        pairs = [
            (nearness, batch.tokens.texts[batch.token[occurrence]], tokens[other])
            for occurrence, other, nearness in zip(
                batch.near_occurrence[near].tolist(),
                batch.near_token[near].tolist(),
                batch.nearness[near].tolist(),
                strict=True,
            )
            if other in here
        ]
        return pairs, {tokens[token]: float(index.token_weight[token]) for token in here}


def _words_of(names: Sequence[str]) -> list[dict[str, str]]:
    """For each name, by token that is compared, the word that it was made of."""
    return [
        dict(zip(tokens, normalised.split(), strict=False))
        for tokens, normalised in zip(canonical_words(names), normalise(names), strict=True)
    ]


def _relation(token: str, other: str, word: str, entry_word: str) -> str:
    if token == other:
        return SAME if word == entry_word else OTHER_SPELLING
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

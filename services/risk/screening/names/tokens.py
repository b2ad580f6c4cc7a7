"""Names in the form in which they are compared: ASCII, lower case, cut into tokens, and the tokens' numbers.

A batch is worked on as a whole: one pass over its text, and each distinct token once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import numpy as np
import numpy.typing as npt
from anyascii import anyascii

from services.risk.screening.names.known_words import CANONICAL
from services.risk.screening.names.spelling import TOKEN_LENGTH_MAX, Ints

#: Tokens of a name that are compared; a longer text is no name, and its end is left out.
TOKENS_MAX: Final = 40


#: Marks over and under letters, Arabic and Hebrew vowels among them: names are written with and without.
_MARKS: Final = frozenset(
    [
        *range(0x300, 0x370),
        *range(0x591, 0x5C8),
        *range(0x610, 0x61B),
        *range(0x640, 0x641),
        *range(0x64B, 0x660),
        0x670,
    ]
)
#: The Arabic article, written with its noun; not in the name of God, which is put aside meanwhile.
_ARTICLE: Final = "ال"
_GOD: Final = "الله"
_ASIDE: Final = "\x01"
#: Letters that are put together of parts which alone would be other letters: Korean and Japanese.
_PARTS: Final = frozenset([*range(0x1100, 0x1200), 0x3099, 0x309A])
#: What such a part becomes: where it comes out, the text has to be put together first.
_PART: Final = "\0"


class _Letters(dict[int, str]):
    """What each character becomes: lower-case ASCII letters and digits, a space, or nothing.

    Filled as characters are met; bounded by Unicode.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if code in _MARKS:
            made = ""
        elif code in _PARTS:
            made = _PART
        else:
            plain = anyascii(character).lower()
            made = "".join(letter if letter.isalnum() else "" if letter in "'`\"" else " " for letter in plain)
            if not made and character.isspace():
                made = " "
        self[code] = made
        return made


#: Between names in one text; "|" comes out of no other character.
_BETWEEN: Final = "\x1e"
_END: Final = "|"
_LETTERS: Final = _Letters(
    {0: " ", ord(_ASIDE): " ", ord(_BETWEEN): f" {_END} ", ord("\n"): " ", ord("'"): "", ord('"'): " ", ord("`"): ""}
)
# Quotation marks stand around names and apostrophes within them: the first part tokens, the second do not.
_LETTERS.update({ord(mark): " " for mark in "“”„«»"})


def _letters_of(names: Sequence[str]) -> str:
    """The names as one text of tokens, with _END between two."""
    text = _BETWEEN.join(names)
    if text.count(_BETWEEN) >= len(names):
        text = _BETWEEN.join(name.replace(_BETWEEN, " ") for name in names)
    if not text.isascii() and _ARTICLE in text:
        text = f" {text}".replace(_ASIDE, " ").replace(_GOD, _ASIDE)
        for before in (" ", _BETWEEN):
            text = text.replace(before + _ARTICLE, f"{before}al ")
        text = text.replace(_ASIDE, _GOD)
    made = text.translate(_LETTERS)
    if _PART in made:
        made = unicodedata.normalize("NFC", text).translate(_LETTERS).replace(_PART, "")
    return made


def normalise(names: Sequence[str]) -> list[str]:
    """Return each name transliterated to ASCII in lower case, punctuation as spaces, apostrophes and marks gone."""
    return [" ".join(line.split()) for line in _letters_of(names).split(_END)] if names else []


def canonical(word: str) -> str:
    """Return a word as it is compared: one spelling for many of the same name, cut off where it is too long."""
    return CANONICAL.get(word, word)[:TOKEN_LENGTH_MAX]


def canonical_words(names: Sequence[str]) -> list[list[str]]:
    """Return the tokens of each name in their order, as they are compared."""
    return [
        [CANONICAL.get(word, word)[:TOKEN_LENGTH_MAX] for word in line.split()[:TOKENS_MAX]]
        for line in normalise(names)
    ]


@dataclass(frozen=True, slots=True)
class TokenSets:
    """The tokens of a batch of names: each distinct token once, and which name has which (each once a name)."""

    tokens: list[str]
    """Distinct tokens, spelling variants of the commonest as one (Mohamed as muhammad)."""
    names: int
    name: Ints
    """Row of the name of each occurrence, ascending."""
    token: Ints
    """Place in `tokens` of each occurrence."""


def token_sets(names: Sequence[str]) -> TokenSets:
    """Cut names into tokens."""
    if not names:
        return TokenSets([], 0, np.zeros(0, np.int64), np.zeros(0, np.int64))
    words = _letters_of(names).split()
    # Loops in C: a call for each word would cost more than all that is done to it.
    distinct = dict.fromkeys(words)
    distinct.pop(_END, None)
    tokens = list(map(CANONICAL.get, distinct, distinct))
    if max(map(len, tokens), default=0) > TOKEN_LENGTH_MAX:
        tokens = [token[:TOKEN_LENGTH_MAX] for token in tokens]
    numbers = dict(zip(dict.fromkeys(tokens), count(), strict=False))
    of_word = dict(zip(distinct, map(numbers.__getitem__, tokens), strict=True))
    of_word[_END] = -1
    token = np.fromiter(map(of_word.__getitem__, words), np.int64, len(words))
    end = token < 0
    name = np.cumsum(end, dtype=np.int64)[~end]
    token = token[~end]
    starts = starts_of(name, len(names))
    if np.diff(starts).max(initial=0) > TOKENS_MAX:
        few = np.arange(len(name)) - starts[name] < TOKENS_MAX
        name, token = name[few], token[few]
    bits = len(numbers).bit_length()
    keys = np.sort((name << bits) | token, kind="stable")
    keys = keys[first_of(keys)]
    return TokenSets(list(numbers), len(names), keys >> bits, keys & ((1 << bits) - 1))


def starts_of(rows: Ints, count: int) -> Ints:
    """Where each row begins among sorted rows from 0 to `count` - 1; one more at the end."""
    made = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=count), out=made[1:])
    return made


def first_of(keys: Ints) -> Ints:
    """Places of the first of each run of equal keys."""
    new = np.ones(len(keys), np.bool_)
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    return np.flatnonzero(new)


def expand(starts: npt.NDArray[np.integer], counts: npt.NDArray[np.integer]) -> tuple[Ints, Ints]:
    """For each range (start, count): its own number and each place in it, one behind the other."""
    rows = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(counts) else 0
    places = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return rows, places

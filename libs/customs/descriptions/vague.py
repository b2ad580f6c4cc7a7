"""Finds descriptions that name no goods, by a list of terms in the main trading languages and by patterns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from libs.files.yaml_file import YamlFile

PATH: Final = Path(__file__).with_name("vague_descriptions.yaml")
_CHUNK: Final = re.compile(r"[^\s,;:()]+")
_IDEOGRAPHS: Final = "\u3040-\u30ff\u3400-\u9fff"
_RUN: Final = re.compile(rf"[{_IDEOGRAPHS}]+|[^\W\d_{_IDEOGRAPHS}]+")
_IDEOGRAPHIC: Final = re.compile(rf"[{_IDEOGRAPHS}]")
_LETTERS: Final = re.compile(r"[^\W\d_]{2}")
_WORD_LETTERS_MIN: Final = 2
"""Fewer letters are an initial or a size."""
_LETTERS_BESIDE_DIGITS_MIN: Final = 4
"""Fewer letters beside digits belong to an article number or a measure, such as AB-1234 or 500ml."""


class Vagueness(StrEnum):
    """Why a description names no goods."""

    NO_WORD = "it has no word"
    ATTRIBUTES = "it has only a size, a colour, a count or an article number"
    GENERAL = "it has only general words"


class _Lists(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    source: str
    terms: Mapping[str, tuple[str, ...]]
    fillers: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]


class VagueTerms:
    """The terms of which a description must not consist alone."""

    def __init__(self, general: Iterable[str], attributes: Iterable[str]) -> None:
        """Take phrases as they are written; those without any word are left out."""
        self._attributes = frozenset(_phrases(attributes))
        self._all = self._attributes | frozenset(_phrases(general))
        self._words = frozenset(word for phrase in self._all for word in phrase.split(" "))
        self._words_max = max((phrase.count(" ") + 1 for phrase in self._all), default=1)
        self._characters_max = max(map(len, self._all), default=1)

    def vagueness(self, description: str) -> Vagueness | None:
        """Return why a description names no goods; None if it may name some."""
        # Most descriptions have a word that is in no term, and end here: all else would take four times as long.
        if description.isascii():
            for chunk in description.lower().split():
                if chunk not in self._words and chunk.isalpha() and len(chunk) >= _WORD_LETTERS_MIN:
                    return None
        words, has_general = [], False
        for word in _words(description):
            if word in self._words:
                words.append(word)
            elif not _IDEOGRAPHIC.match(word):
                return None
            # Languages written without blanks: the run must divide into terms.
            elif not _divides(word, "", self._attributes, self._characters_max):
                if not _divides(word, "", self._all, self._characters_max):
                    return None
                has_general = True
            else:
                words.append("")
        if not words and not has_general:
            return Vagueness.ATTRIBUTES if _LETTERS.search(description) else Vagueness.NO_WORD
        parts = [word for word in words if word]
        if not has_general and _divides(parts, " ", self._attributes, self._words_max):
            return Vagueness.ATTRIBUTES
        return Vagueness.GENERAL if _divides(parts, " ", self._all, self._words_max) else None


def included(further: Iterable[str] = ()) -> VagueTerms:
    """Return the included terms, with further ones."""
    lists = _lists()
    general = [*_values(lists.terms), *_values(lists.fillers), *further]
    return VagueTerms(general, _values(lists.attributes))


@lru_cache(maxsize=1)
def included_alone() -> VagueTerms:
    """Return the included terms, read once."""
    return included()


def has_word(text: str) -> bool:
    """Return whether a text has a word, so that it may be a term."""
    return any(True for _ in _words(text))


def is_vague(description: str) -> bool:
    """Return whether a description names no goods, by the included terms."""
    return included_alone().vagueness(description) is not None


@lru_cache(maxsize=1)
def _lists() -> _Lists:
    return YamlFile(PATH).convert(_Lists)


def _values(lists: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for values in lists.values():
        yield from values


def _phrases(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        phrase = " ".join(_words(text))
        if phrase:
            yield phrase


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text, in small letters without accents; a run of ideographs is one word."""
    for chunk in _CHUNK.findall(_plain(text)):
        if chunk.isascii() and chunk.isalpha():
            if len(chunk) >= _WORD_LETTERS_MIN:
                yield chunk
            continue
        beside_digits = any(map(str.isdigit, chunk))
        least = _LETTERS_BESIDE_DIGITS_MIN if beside_digits else _WORD_LETTERS_MIN
        for run in _RUN.findall(chunk):
            if len(run) >= least or _IDEOGRAPHIC.match(run):
                yield run


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(each for each in decomposed if not unicodedata.combining(each)))


def _divides(parts: Sequence[str], joint: str, phrases: frozenset[str], longest: int) -> bool:
    """Return whether a sequence divides into phrases of at most `longest` parts; the empty sequence does."""
    reached = [True]
    for end in range(1, len(parts) + 1):
        starts = range(max(0, end - longest), end)
        reached.append(any(reached[start] and joint.join(parts[start:end]) in phrases for start in starts))
    return reached[-1]

"""What is compared of tokens, as numbers: hashes of the whole, with a letter left out, of the consonants, for a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

#: Letters of a token that are compared; what is beyond them is cut off.
TOKEN_LENGTH_MAX: Final = 24
#: Tokens with fewer letters are compared without a letter left out: too many others would be near.
DELETION_LENGTH_LEAST: Final = 4
#: A consonant skeleton with fewer letters says nothing.
SKELETON_LENGTH_LEAST: Final = 3

_BASE: Final = 0x9E3779B97F4A7C15
_POWERS: Final = np.array([pow(_BASE, power, 1 << 64) for power in range(2 * TOKEN_LENGTH_MAX + 1)], np.uint64)
_ONE_MORE: Final = _POWERS[1]
#: A hash for each letter, 0 for none, so that their sum tells which letters there are.
_LETTER_HASHES: Final = np.array([0, *(pow(_BASE + letter, 3, 1 << 64) for letter in range(1, 256))], np.uint64)

# Letters that transliterations of the same sound differ in, as one; 0 is left out (vowels, and h, y and w within a word).
_SOUNDS: Final = np.arange(256, dtype=np.uint8)
for _letter in b"aeiouyhw":
    _SOUNDS[_letter] = 0
for _pair in (b"qk", b"ck", b"zs", b"jg", b"vf"):
    _SOUNDS[_pair[0]] = _pair[1]
_LETTER_BITS: Final = np.array([1 << (code - 97) if 97 <= code <= 122 else 0 for code in range(256)], np.int32)
_VOWELS: Final = np.int32(sum(1 << (letter - 97) for letter in b"aeiou"))
_FIRSTS: Final = _SOUNDS.copy()
for _letter in b"yhw":
    _FIRSTS[_letter] = _letter
for _letter in b"aeiou":
    _FIRSTS[_letter] = ord("a")


@dataclass(frozen=True, slots=True)
class Spelling:
    """What is compared of tokens, for each a row: lengths and hashes of 64 bits."""

    length: Ints
    whole: Hashes
    """Hash of the token."""
    shorter: Hashes
    """Tokens × letters: the hash with that letter left out; 0 where there is no such letter or the token is too short."""
    collapsed: Hashes
    """Hash with doubled letters as one."""
    letters: Hashes
    """Hash of which letters there are, in whatever order."""
    alphabet: npt.NDArray[np.int32]
    """Which letters there are, as bits: `1 << (letter - 'a')`."""
    skeleton: Hashes
    """Hash of the consonants, letters of like sound as one; 0 where there are too few."""
    first: Ints
    """The first letter as a bit, `1 << (letter - 'a')`; 0 for a digit."""
    numeric: Bools
    """Whether there is a digit: such a token is a number, and another number is another thing."""
    vowels: Bools
    """Whether there is one of a, e, i, o, u: what comes from Arabic or Hebrew letters often has none."""

    def joined_with(self, extra: Spelling) -> Spelling:
        """These tokens and then the others."""
        width = max(self.shorter.shape[1], extra.shorter.shape[1])
        columns = {}
        for column in fields(self):
            pair = [getattr(each, column.name) for each in (self, extra)]
            if column.name == "shorter":
                pair = [np.pad(each, ((0, 0), (0, width - each.shape[1]))) for each in pair]
            columns[column.name] = np.concatenate(pair)
        return Spelling(**columns)


def spelling(tokens: Sequence[str]) -> Spelling:
    """Compute the hashes of tokens (ASCII, at most TOKEN_LENGTH_MAX letters)."""
    count = len(tokens)
    matrix = np.array(tokens, dtype=f"S{TOKEN_LENGTH_MAX}").view(np.uint8).reshape(count, TOKEN_LENGTH_MAX)
    # By letter rather than by token, so that each step below is over one row of memory.
    letters = np.ascontiguousarray(matrix.T)
    length = np.count_nonzero(letters, axis=0)
    places = int(length.max(initial=1))
    letters = letters[:places]
    numeric = ((letters < ord("a")) & (letters != 0)).any(axis=0)
    whole, moved, collapsed, skeleton, mixed = (np.zeros(count, np.uint64) for _ in range(5))
    collapsed_power, skeleton_power = np.ones(count, np.uint64), np.ones(count, np.uint64)
    consonants = np.zeros(count, np.int64)
    shorter = np.zeros((places, count), np.uint64)
    previous = np.zeros(count, np.uint8)
    alphabet = np.zeros(count, np.int32)
    for place in range(places):
        letter = letters[place]
        # The letters behind the one that is left out move one place to the front.
        if place:
            moved += letter * _POWERS[place - 1]
        np.subtract(whole, moved, out=shorter[place])
        whole += letter * _POWERS[place]
        mixed += _LETTER_HASHES[letter]
        alphabet |= _LETTER_BITS[letter]
        single = letter != previous
        collapsed += letter * (collapsed_power * single)
        collapsed_power = np.where(single, collapsed_power * _ONE_MORE, collapsed_power)
        sound = (_SOUNDS if place else _FIRSTS)[letter] * single
        skeleton += sound * skeleton_power
        heard = sound != 0
        skeleton_power = np.where(heard, skeleton_power * _ONE_MORE, skeleton_power)
        consonants += heard
        previous = letter
    shorter += moved
    shorter[(letters == 0) | (length < DELETION_LENGTH_LEAST) | numeric] = 0
    skeleton[(consonants < SKELETON_LENGTH_LEAST) | numeric] = 0
    first = _LETTER_BITS[letters[0]].astype(np.int64)
    vowels = (alphabet & _VOWELS) != 0
    collapsed = np.where(numeric, whole, collapsed)
    return Spelling(length, whole, shorter.T, collapsed, mixed, alphabet, skeleton, first, numeric, vowels)


def joined(whole_a: Hashes, length_a: Ints, whole_b: Hashes) -> Hashes:
    """Hash of two tokens written as one, from their hashes."""
    made: Hashes = whole_a + whole_b * _POWERS[length_a]
    return made

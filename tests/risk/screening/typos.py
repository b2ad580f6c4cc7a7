"""Seeded slips of the pen in names, as people make them: for tests and for the figures."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def swapped(random: Random, text: str) -> str:
    place = random.randrange(len(text) - 1)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


def doubled(random: Random, text: str) -> str:
    place = random.randrange(len(text))
    return text[:place] + text[place] + text[place:]


def left_out(random: Random, text: str) -> str:
    place = random.randrange(len(text))
    return text[:place] + text[place + 1 :]


def replaced(random: Random, text: str) -> str:
    place = random.randrange(len(text))
    return text[:place] + random.choice(LETTERS) + text[place + 1 :]


def inserted(random: Random, text: str) -> str:
    place = random.randrange(len(text) + 1)
    return text[:place] + random.choice(LETTERS) + text[place:]


def together(random: Random, text: str) -> str:
    spaces = [place for place, letter in enumerate(text) if letter == " "]
    place = random.choice(spaces) if spaces else len(text)
    return text[:place] + text[place + 1 :]


def turned(random: Random, text: str) -> str:
    words = text.split()
    random.shuffle(words)
    return " ".join(words)


SLIPS = (swapped, doubled, left_out, replaced, inserted)


def with_slips(random: Random, name: str, slips: int = 1) -> str:
    """A name with so many slips; or, now and then, with its words in another order, or two of them together and no slip."""
    way = random.random()
    if way < 0.1:
        return together(random, name)
    if way < 0.2:
        name = turned(random, name)
    for _ in range(slips):
        name = random.choice(SLIPS)(random, name)
    return name


def mistyped(names: Sequence[str], seed: int, slips: int = 1) -> list[str]:
    random = Random(seed)
    return [with_slips(random, name, slips) for name in names]

"""Parties of filings as keyed hashes: names that differ only in spelling become equal, and no name is stored.

The forms are those of `libs.customs.parties`; here they are taken for a whole column at once, which is several times
faster. The hash is BLAKE2b with the deployment's key, 64 bits: whoever holds the keys without that key cannot try names
on them. With 50 million keys some 70 pairs in a million million collide, so it is no matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt
from anyascii import anyascii

from libs.columns.arrays import Strings
from libs.columns.table import Table
from libs.customs.parties import name_key, plain

Keys = npt.NDArray[np.uint64]

HASH_BYTES: Final = 8
KEY_BYTES_MIN: Final = 16
KEY_BYTES_MAX: Final = 64
#: Parts of one text, and texts of one column, are joined by what no filing may hold.
_BETWEEN: Final = "\x1f"
_DOTTED: Final = re.compile(r"\b(?:[a-z]\.){2,}")


class _Plain(dict[int, str]):
    """What each character becomes: Latin small letters and digits, a blank for all else. Dots and underlines stay, since
    they say where abbreviations are. Filled as characters come; there are no more of them than Unicode has.
    """

    def __missing__(self, code: int) -> str:
        letters = anyascii(chr(code)).lower()
        self[code] = "".join(each if each.isalnum() or each in "._" else " " for each in letters)
        return self[code]


_PLAIN: Final = _Plain({ord(_BETWEEN): _BETWEEN})
#: A name with one of these words may hold a spelled-out legal form, which `name_key` shortens.
_FORM_WORDS: Final = frozenset(
    "limited incorporated corporation company gesellschaft aktiengesellschaft societe sociedad spolka sp private proprietary".split()  # noqa: SIM905
)
_STREETS: Final = {
    **{"street": "st", "str": "st", "strasse": "st", "road": "rd", "avenue": "ave", "av": "ave", "lane": "ln"},
    **{"boulevard": "blvd", "drive": "dr", "square": "sq", "court": "ct", "apartment": "apt", "flat": "apt"},
    **{"floor": "fl", "building": "bldg", "number": "no", "nr": "no", "room": "rm", "suite": "ste"},
}
_ATTACHED: Final = re.compile(r"^([a-z]{3,})(?:strasse|str)$")


def plain_all(texts: Sequence[str]) -> list[str]:
    """`libs.customs.parties.plain` of every text, but for blanks: words are separated by one or more."""
    found = _BETWEEN.join(texts).translate(_PLAIN).split(_BETWEEN)
    if len(found) != len(texts):
        return [plain(text) for text in texts]
    for place, text in enumerate(found):
        if "_" in text:
            found[place] = plain(texts[place])
        elif "." in text:
            found[place] = _DOTTED.sub(_undotted, text).replace(".", " ")
    return found


def _undotted(match: re.Match[str]) -> str:
    return match.group().replace(".", "")


def name_keys(texts: Sequence[str]) -> list[str]:
    """`libs.customs.parties.name_key` of every text."""
    keys = []
    for text, words in zip(texts, plain_all(texts), strict=True):
        parts = words.split()
        keys.append(" ".join(sorted(parts)) if _FORM_WORDS.isdisjoint(parts) else name_key(text))
    return keys


def street_keys(texts: Sequence[str]) -> list[str]:
    """Return streets for comparing: plain, their words shortened and in alphabetical order."""
    keys = []
    for words in plain_all(texts):
        parts: list[str] = []
        for word in words.split():
            attached = _ATTACHED.match(word) if word.endswith(("strasse", "str")) else None
            parts += [attached.group(1), "st"] if attached else [_STREETS.get(word, word)]
        parts.sort()
        keys.append(" ".join(parts))
    return keys


class Hasher:
    """Turns texts into 64-bit keys by the deployment's key."""

    def __init__(self, key: bytes) -> None:
        """Take the deployment's key, 16 to 64 bytes; raises ValueError."""
        if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
            raise ValueError(
                f"the key has {len(key)} bytes; it must have {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, random and secret"
            )
        self._start = blake2b(key=key, digest_size=HASH_BYTES)
        #: Tells whether two histories were made with the same key, without telling the key.
        self.mark = int(self.hash(["history"], "mark")[0])

    def hash(self, texts: Sequence[str], domain: str) -> Keys:
        """The key of each text, 0 for ""; texts of different domains never meet. Shape (n,)."""
        start = self._start.copy()
        start.update(f"{domain}{_BETWEEN}".encode())
        digests = bytearray()
        for text in texts:
            if text:
                hasher = start.copy()
                hasher.update(text.encode())
                digests += hasher.digest()
            else:
                digests += bytes(HASH_BYTES)
        hashed: Keys = np.frombuffer(bytes(digests), "<u8").astype(np.uint64)
        return hashed

    def column(self, column: Strings, domain: str) -> Keys:
        """The key of each row of a column."""
        return np.take(self.hash(column.dictionary, domain), column.indices)


class Parts:
    """Columns of a table of ConsignmentColumns in the form in which they are compared."""

    def __init__(self, table: Table) -> None:
        """Take the table."""
        self.table = table

    def texts(self, name: str) -> list[str]:
        """A column as it is."""
        return self.table.strings(name).tolist()

    def plain(self, name: str) -> list[str]:
        """A column in plain words, one blank between them."""
        return _rows(self.table.strings(name), [" ".join(text.split()) for text in self._dictionary(name)])

    def compact(self, name: str) -> list[str]:
        """A column in plain letters without blanks: numbers and postcodes."""
        return _rows(self.table.strings(name), [text.replace(" ", "") for text in self._dictionary(name)])

    def names(self, name: str) -> list[str]:
        """A column of names, for comparing."""
        column = self.table.strings(name)
        return _rows(column, name_keys(column.dictionary))

    def streets(self, name: str) -> list[str]:
        """A column of streets, for comparing."""
        column = self.table.strings(name)
        return _rows(column, street_keys(column.dictionary))

    def _dictionary(self, name: str) -> list[str]:
        return plain_all(self.table.strings(name).dictionary)


def _rows(column: Strings, values: list[str]) -> list[str]:
    return list(map(values.__getitem__, column.indices.tolist()))


def consignees(parts: Parts, postcodes: list[str], cities: list[str]) -> list[str]:
    """Return the key of a consignee: its identifier; without one its name at its postcode, or in its city without a postcode."""
    names = parts.names("consignee_name")
    identifiers = parts.compact("consignee_identifier")
    countries = parts.texts("consignee_address_country")
    return [
        f"#{identifier}" if identifier else f"{name}|{postcode or city}|{country}" if name else ""
        for identifier, name, postcode, city, country in zip(
            identifiers, names, postcodes, cities, countries, strict=True
        )
    ]

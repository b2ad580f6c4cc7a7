"""Who a consignment is from and for, as keyed hashes: what differs only in writing becomes equal, and no name is kept.

The forms are those of `libs.customs.parties`; here they are taken for a whole column at once, which is several times
faster. The hash is BLAKE2b with the deployment's key, 64 bits: whoever holds history without the key cannot try names
on it. With 50 million keys some 70 pairs in a million million collide, so it is no matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np
from anyascii import anyascii

from libs.columns import Strings, Table
from libs.customs.parties import LEGAL_FORMS, name_key, plain
from services.risk.history.open_table import BoolArray, IntArray, Keys
from services.risk.history.record import KINDS, Kind, Record

if TYPE_CHECKING:
    from services.risk.derived import Facts  # which itself knows history's columns

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
    """The street's part of `libs.customs.parties.address_key` of every text."""
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
                f"the key has {len(key)} bytes; it must have {KEY_BYTES_MIN} to {KEY_BYTES_MAX}, random and kept secret"
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


class _Parts:
    """Columns of a table in the form in which they are compared."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def texts(self, name: str) -> list[str]:
        return self.table.strings(name).tolist()

    def plain(self, name: str) -> list[str]:
        return _rows(self.table.strings(name), [" ".join(text.split()) for text in self._dictionary(name)])

    def compact(self, name: str) -> list[str]:
        return _rows(self.table.strings(name), [text.replace(" ", "") for text in self._dictionary(name)])

    def names(self, name: str) -> list[str]:
        column = self.table.strings(name)
        return _rows(column, name_keys(column.dictionary))

    def streets(self, name: str) -> list[str]:
        column = self.table.strings(name)
        return _rows(column, street_keys(column.dictionary))

    def _dictionary(self, name: str) -> list[str]:
        return plain_all(self.table.strings(name).dictionary)


def _rows(column: Strings, values: list[str]) -> list[str]:
    return list(map(values.__getitem__, column.indices.tolist()))


def _consignees(parts: _Parts, postcodes: list[str], cities: list[str]) -> list[str]:
    """A consignee is its identifier; without one its name at its postcode, or in its city where no postcode is told."""
    names = parts.names("consignee_name")
    identifiers = parts.compact("consignee_identifier")
    countries = parts.texts("consignee_address_country")
    return [
        f"#{identifier}" if identifier else f"{name}|{postcode or city}|{country}" if name else ""
        for identifier, name, postcode, city, country in zip(
            identifiers, names, postcodes, cities, countries, strict=True
        )
    ]


def _addresses(parts: _Parts, postcodes: list[str], cities: list[str]) -> list[str]:
    """An address needs a street; a postcode alone is a quarter of a town."""
    streets = parts.streets("consignee_address_street")
    countries = parts.texts("consignee_address_country")
    return [
        f"{street}|{city}|{postcode}|{country}" if street else ""
        for street, city, postcode, country in zip(streets, cities, postcodes, countries, strict=True)
    ]


def _sellers(parts: _Parts) -> list[str]:
    """The seller, or the consignor where no seller is told: by identifier, else by name and country."""
    found = []
    for role in ("seller", "consignor"):
        identifiers, names = parts.compact(f"{role}_identifier"), parts.names(f"{role}_name")
        countries = parts.texts(f"{role}_address_country")
        found.append(
            [
                f"#{identifier}" if identifier else f"{' '.join(_bare(name))}|{country}" if name else ""
                for identifier, name, country in zip(identifiers, names, countries, strict=True)
            ]
        )
    return [seller or consignor for seller, consignor in zip(*found, strict=True)]


def _bare(name: str) -> list[str]:
    words = name.split()
    return [word for word in words if word not in LEGAL_FORMS] or words


def goods_of(codes: Strings, origins: Strings) -> IntArray:
    """HS6 and origin of each item as one number, HS6 * 1,024 + origin; -1 where either is unknown. Shape (m,)."""
    six = codes.map(lambda code: int(code[:6]) if len(code) >= 6 and code[:6].isdecimal() else -1, np.int64)
    origin = origins.map(_country_number, np.int64)
    return np.where((six >= 0) & (origin >= 0), six * 1_024 + origin, -1)


def _country_number(code: str) -> int:
    letters = [ord(letter) - ord("A") for letter in code]
    known = len(letters) == 2 and all(0 <= letter < 26 for letter in letters)
    return letters[0] * 26 + letters[1] if known else -1


def party_keys(table: Table, hasher: Hasher) -> Keys:
    """The keyed hash of each party of a batch of consignments (a table of ConsignmentColumns), rows by Kind, 0 where nobody is told.

    Shape (5, n).
    """
    parts = _Parts(table)
    postcodes, cities = parts.compact("consignee_address_postcode"), parts.plain("consignee_address_city")
    keys = np.zeros((KINDS, table.rows), np.uint64)
    keys[Kind.CONSIGNEE] = hasher.hash(_consignees(parts, postcodes, cities), "consignee")
    keys[Kind.ADDRESS] = hasher.hash(_addresses(parts, postcodes, cities), "address")
    keys[Kind.SELLER] = hasher.column(Strings.of(_sellers(parts)), "seller")
    keys[Kind.PLATFORM] = hasher.column(table.strings("order_platform").translate(str.lower), "platform")
    carrier, filer = table.strings("carrier_identifier"), table.strings("filer")
    keys[Kind.CARRIER] = np.where(carrier.present, hasher.column(carrier, "carrier"), hasher.column(filer, "carrier"))
    return keys


def record_of(
    table: Table, facts: Facts, hasher: Hasher, time: int, *, counted: BoolArray, thresholds: Mapping[str, int]
) -> Record:
    """The compact record of a batch of consignments that are being assessed at `time` (microseconds since 1970).

    `counted` tells which were never assessed before (see Record); `thresholds` is, per country of destination, the
    value in euro cents under which consignments are favoured, and which splitting is to keep under. Positions in the log
    are not known yet (-1); `Record.at` sets them.
    """
    rows = table.rows
    value = facts.value_eur_cents
    threshold = facts.destination.map(lambda country: thresholds.get(country, 0), np.int64)
    unplaced = np.full(rows, -1, np.int64)
    price = facts.price_eur_cents_per_kg
    return Record(
        time=time,
        mark=hasher.mark,
        keys=party_keys(table, hasher),
        counted=np.asarray(counted, np.bool_),
        value=np.where(value.valid, np.maximum(value.values, 0), 0),
        low=value.valid & (value.values < threshold),
        partition=unplaced,
        major=unplaced,
        minor=unplaced,
        owner=facts.owners,
        goods=goods_of(facts.items.strings("commodity_code"), facts.items.strings("origin_country")),
        price=np.where(price.valid, np.maximum(price.values, 0), 0),
    )

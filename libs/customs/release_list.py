"""The signed form of a release list: its rows, the digest over them, and the signature of a page. Pure.

A list is a text of CSV rows, so that a phone opens it and a printer prints it: a header, the lines, and after each page a row with its signature.
The digest begins with the header and continues with each line, so a signature covers everything before it. Each line ends with the first digits
of the digest, so that a change can be located. Source of the signature: RFC 8032 (Ed25519). See docs/outage.md.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.customs.time import instant_text

FORM: Final = "LUXOR-RELEASE-LIST-1"
CHECK_DIGITS: Final = 8
KEY_BYTES: Final = 32
LINE_MAX: Final = 2**31 - 1
CLOCK_MICROS: Final = 5 * 60 * 1_000_000
"""By how much the clock at the door may differ from that of clearance."""
_DECISIONS: Final = {True: "RELEASE", False: "STAY"}
_FORMULA: Final = ("=", "+", "-", "@", "'")
"""First characters that a spreadsheet program may execute, and the one that stops it."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a list is about; times are microseconds since 1970-01-01 UTC."""

    serial: str
    conveyance: str
    made_at: int
    arrives_at: int
    valid_until: int
    officer: str
    key_number: int
    public_key: bytes

    @property
    def row(self) -> str:
        """The first row of the list, with the first digits of its digest."""
        return row_of(*self._cells(), self.digest.hex()[:CHECK_DIGITS])

    @property
    def digest(self) -> bytes:
        """The digest with which the lines continue."""
        return sha256(row_of(*self._cells()).encode()).digest()

    def _cells(self) -> tuple[str, ...]:
        times = (instant_text(each) for each in (self.made_at, self.arrives_at, self.valid_until))
        key = (str(self.key_number), self.public_key.hex())
        return FORM, self.serial, self.conveyance, *times, self.officer, *key


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list."""

    line: int
    house_document: str
    mrn: str
    version: int
    release: bool

    def digest(self, previous: bytes) -> bytes:
        """Return the digest up to this line."""
        return sha256(previous + row_of(*self._cells()).encode()).digest()

    def row(self, digest: bytes) -> str:
        """Return the row of the line, with the first digits of the digest up to it."""
        return row_of(*self._cells(), digest.hex()[:CHECK_DIGITS])

    def _cells(self) -> tuple[str, ...]:
        return str(self.line), self.house_document, self.mrn, str(self.version), _DECISIONS[self.release]


@dataclass(frozen=True, slots=True)
class Page:
    """A signed part of a list."""

    header: Header
    number: int
    previous: bytes
    """Digest of all before this page."""
    entries: Sequence[Entry]
    last: bool
    signature: bytes = b""

    @property
    def digest(self) -> bytes:
        """The digest after the last line."""
        digest = self.previous
        for entry in self.entries:
            digest = entry.digest(digest)
        return digest

    def sign(self, seed: bytes) -> bytes:
        """Return the signature of this page with a private key."""
        return Ed25519PrivateKey.from_private_bytes(seed).sign(self._signed())

    def is_signed_by(self, public_key: bytes) -> bool:
        """Return whether the signature is that of a public key."""
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, self._signed())
        except (InvalidSignature, ValueError):
            return False
        return True

    def _signed(self) -> bytes:
        first, last = (self.entries[0].line, self.entries[-1].line) if self.entries else (0, 0)
        # Begin and end of the page, so that lines can be cut off at neither.
        place = row_of(str(self.number), str(first), str(last), str(self.last))
        return f"{FORM}\0{place}\0".encode() + self.header.digest + self.previous + self.digest


def public_key_of(seed: bytes) -> bytes:
    """Return the public key of a private key."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def row_of(*cells: str) -> str:
    """Return a CSV row without its end; a cell that a spreadsheet program would execute gets an apostrophe, and so does one that begins with it."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([f"'{each}" if each.startswith(_FORMULA) else each for each in cells])
    return out.getvalue()


def cells_of(row: str) -> list[str] | None:
    """Return the cells of a row, None if `row_of` would write them differently.

    >>> cells_of(row_of("=1", "a,b"))
    ['=1', 'a,b']
    """
    try:
        read = next(csv.reader([row], strict=True), [])
    except csv.Error:
        return None
    cells = [each.removeprefix("'") for each in read]
    return cells if row_of(*cells) == row else None

"""Records of an audit trail: their hashed form, and roots under which single digests are proven.

A record is hashed by the digest of its content, so that a part of the chain is proven without the content of the records between.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from libs.chain.hashing import link, text_bytes

DECISION: Final = 1
ACCESS: Final = 2
DROPPED: Final = 3
OPENING: Final = 4
GROUP: Final = 64
"""Digests that are hashed together, so that a path to one of many thousands has few hundred digests."""
HASH_BYTES: Final = 32
_FORM: Final = 1
_HEAD: Final = struct.Struct("<BiqBqiqi")
_LENGTH: Final = struct.Struct("<H")
_COUNT: Final = struct.Struct("<i")


@dataclass(frozen=True, slots=True)
class Record:
    """One record, as luxor.clearance.v1.AuditRecord describes it."""

    day: int
    number: int
    kind: int
    at: int
    actor: str
    method: str
    reason: str
    batch_day: int
    batch_id: int
    rows: int
    digest: bytes
    row_digest: bytes
    subjects: int
    subject_digest: bytes
    cause: str | None = None
    """Only in the former form of records: the changes of a batch, or what an access was about otherwise."""

    @property
    def has_rows(self) -> bool:
        """Return whether single versions are proven by its root. That of the former form was over digests of another form."""
        return bool(self.row_digest) and self.cause is None

    def content_digest(self) -> bytes:
        """Return SHA-256 of the hashed bytes. Raises struct.error for a number that no record has."""
        head = _HEAD.pack(_FORM, self.day, self.number, self.kind, self.at, self.batch_day, self.batch_id, self.rows)
        former = () if self.cause is None else (self.cause,)
        texts = map(text_bytes, (self.actor, self.method, self.reason, *former))
        digests = (_LENGTH.pack(len(each)) + each for each in (self.digest, self.row_digest, self.subject_digest))
        return sha256(b"".join((head, *texts, *digests, _COUNT.pack(self.subjects)))).digest()

    def hashed(self, before: bytes) -> bytes:
        """Return its hash behind the hash before it. Raises struct.error for a number that no record has."""
        return link(before, self.content_digest())


def root(digests: Sequence[bytes]) -> bytes:
    """Return the root over digests of 32 bytes in their order: SHA-256 over their groups, of which each is SHA-256 over its digests."""
    return sha256(b"".join(_groups(digests))).digest()


def _groups(digests: Sequence[bytes]) -> list[bytes]:
    return [sha256(b"".join(digests[start : start + GROUP])).digest() for start in range(0, len(digests), GROUP)]


def path_to(digests: Sequence[bytes], place: int) -> tuple[bytes, bytes]:
    """Return the digests of the group in which a place is, and those of all groups, each joined."""
    start = place - place % GROUP
    return b"".join(digests[start : start + GROUP]), b"".join(_groups(digests))


def is_under(top: bytes, count: int, digest: bytes, place: int, group: bytes, groups: bytes) -> bool:
    """Return whether a digest is at a place among `count` digests under a root, by its path."""
    if not 0 <= place < count or len(groups) != HASH_BYTES * -(-count // GROUP):
        return False
    own, within = divmod(place, GROUP)
    return (
        sha256(groups).digest() == top
        and len(group) == HASH_BYTES * min(GROUP, count - own * GROUP)
        and groups[HASH_BYTES * own : HASH_BYTES * (own + 1)] == sha256(group).digest()
        and group[HASH_BYTES * within : HASH_BYTES * (within + 1)] == digest
    )


def subject_digests(secret: bytes, about: str, subjects: Sequence[str]) -> list[bytes]:
    """Return the digest of what an access was about otherwise, and behind it those of its consignments, each with the salt of its place.

    Numbers of consignments can be counted up, so nobody who knows one digest, or its salt, finds another one by trying.
    """
    return [salted(salt_of(secret, place), text) for place, text in enumerate((about, *subjects))]


def salt_of(secret: bytes, place: int) -> bytes:
    """Return the salt of a place, from the secret of its record."""
    return sha256(secret + _COUNT.pack(place)).digest()


def salted(salt: bytes, text: str) -> bytes:
    """Return SHA-256 of a salt and the UTF-8 of a text."""
    return sha256(salt + text.encode()).digest()


NO_SUBJECTS: Final = root(subject_digests(b"", "", ()))
"""The root in records that are not about an access."""


def batch_digest(
    *, day: int, number: int, created_at: int, rows: int, schema_version: int, schema: str, trace: str, payload: bytes
) -> bytes:
    """Return SHA-256 over a stored batch: its numbers and texts with a space behind each, and its payload."""
    head = " ".join((str(day), str(number), str(created_at), str(rows), str(schema_version), schema, trace, ""))
    return sha256(head.encode() + payload).digest()

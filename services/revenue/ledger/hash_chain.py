"""The chain of a partition: each entry's hash covers its content and the hash before it. Seals join all chains.

An entry is hashed as bytes that say the same for ever: names of accounts, never their ids. SHA-256 (FIPS 180-4).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from libs.customs.partitions import PARTITIONS
from services.revenue.ledger.entry import Entries

START: Final = bytes(32)
"""What stands before the first entry of a chain, and before the first seal."""
_FORM: Final = 1
_HEAD: Final = struct.Struct("<BBqBBqqH")
_POSTING: Final = struct.Struct("<Bq")
_LENGTH: Final = struct.Struct("<H")
_SEAL: Final = struct.Struct("<BqqQ")
_SEALED: Final = struct.Struct("<q32s")


def text_bytes(text: str) -> bytes:
    """Return the hashed form of a text: its length in bytes and UTF-8."""
    encoded = text.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def canonical(
    partition: int,
    number: int,
    kind: int,
    reverses: int,
    booked_at: int,
    version: int,
    texts: bytes,
    postings: Sequence[tuple[bytes, int, int]],
) -> bytes:
    """Return the hashed bytes of an entry.

    `texts` are mrn, reference, currency and destination, each as `text_bytes`; a posting is the account's name as
    `text_bytes`, the kind of charge and the amount.
    """
    parts = [_HEAD.pack(_FORM, partition, number, kind, reverses, booked_at, version, len(postings)), texts]
    for account, charge_kind, amount in postings:
        parts += (account, _POSTING.pack(charge_kind, amount))
    return b"".join(parts)


def link(before: bytes, content: bytes) -> bytes:
    """Return the hash of an entry after the hash before it."""
    return sha256(before + content).digest()


def chained(
    entries: Entries,
    heads: dict[int, tuple[int, bytes]],
    booked_at: dict[int, int],
    names_of: Mapping[int, str],
) -> tuple[list[int], list[bytes]]:
    """Number and hash entries in their order; return both, one each, and moves `heads`.

    `heads` has the last number and hash of each partition, `booked_at` the time of booking; `names_of` has the names
    of accounts by their ids.
    """
    numbers: list[int] = []
    hashes: list[bytes] = []
    accounts, kinds, amounts = entries.account.tolist(), entries.charge_kind.tolist(), entries.amount.tolist()
    names = {account: text_bytes(names_of[account]) for account in set(accounts)}
    texts: dict[str, bytes] = {}
    columns = zip(
        entries.partition.tolist(),
        entries.kind.tolist(),
        entries.reverses.tolist(),
        entries.version.tolist(),
        entries.mrn,
        entries.reference,
        entries.currency,
        entries.destination,
        entries.offsets[:-1].tolist(),
        entries.offsets[1:].tolist(),
        strict=True,
    )
    for partition, kind, reverses, version, mrn, reference, currency, destination, first, end in columns:
        number, before = heads[partition]
        number += 1
        told = []
        for text in (mrn, reference, currency, destination):
            packed = texts.get(text)
            if packed is None:
                packed = texts[text] = text_bytes(text)
            told.append(packed)
        postings = [(names[accounts[place]], kinds[place], amounts[place]) for place in range(first, end)]
        content = canonical(partition, number, kind, reverses, booked_at[partition], version, b"".join(told), postings)
        digest = link(before, content)
        heads[partition] = (number, digest)
        numbers.append(number)
        hashes.append(digest)
    return numbers, hashes


def seal(number: int, sealed_at: int, before: bytes, heads: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the hash of a seal over the heads of all partitions (last number and hash, by partition) and the seal before.

    Raises ValueError unless there is one head for each partition.
    """
    if len(heads) != PARTITIONS:
        raise ValueError(f"a seal takes the heads of all {PARTITIONS} partitions, not of {len(heads)}")
    parts = [before, _SEAL.pack(_FORM, number, sealed_at, len(heads))]
    parts += [_SEALED.pack(last, digest) for last, digest in heads]
    return sha256(b"".join(parts)).digest()

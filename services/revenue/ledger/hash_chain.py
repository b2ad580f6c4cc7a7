"""The chain of a partition: each entry's hash covers its content and the hash before it.

An entry is hashed as bytes that say the same for ever: names of accounts, never their ids (libs/chain/hashing.py).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.chain.hashing import text_bytes
from services.revenue.ledger.entry import Entries, Int64

_FORM: Final = 1
_HEAD: Final = struct.Struct("<BBqBBqqH")
_POSTING: Final = struct.Struct("<Bq")
# The same as columns.
_HEADS: Final = np.dtype(
    [
        ("form", "u1"),
        ("partition", "u1"),
        ("number", "<i8"),
        ("kind", "u1"),
        ("reverses", "u1"),
        ("booked_at", "<i8"),
        ("version", "<i8"),
        ("postings", "<u2"),
    ]
)
_POSTINGS: Final = np.dtype([("kind", "u1"), ("amount", "<i8")])


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
    count = len(entries)
    heads_packed = np.zeros(count, _HEADS)
    partitions = entries.partition.tolist()
    numbers: list[int] = []
    following = {partition: number for partition, (number, _) in heads.items()}
    for partition in partitions:
        following[partition] = number = following[partition] + 1
        numbers.append(number)
    for name, values in (
        ("form", _FORM),
        ("partition", entries.partition),
        ("number", np.array(numbers, np.int64)),
        ("kind", entries.kind),
        ("reverses", entries.reverses),
        ("booked_at", np.array([booked_at[partition] for partition in partitions], np.int64)),
        ("version", entries.version),
        ("postings", np.diff(entries.offsets)),
    ):
        heads_packed[name] = _checked(name, values)
    postings_packed = np.zeros(len(entries.amount), _POSTINGS)
    postings_packed["kind"], postings_packed["amount"] = _checked("kind", entries.charge_kind), entries.amount
    names = {account: text_bytes(names_of[account]) for account in np.unique(entries.account).tolist()}
    lines = [
        names[account] + packed
        for account, packed in zip(entries.account.tolist(), _rows(postings_packed), strict=True)
    ]
    texts = _Texts()
    hashes: list[bytes] = []
    offsets = entries.offsets.tolist()
    columns = zip(
        partitions,
        numbers,
        _rows(heads_packed),
        entries.mrn,
        entries.reference,
        entries.currency,
        entries.destination,
        offsets,
        offsets[1:],
        strict=False,
    )
    for partition, number, head, mrn, reference, currency, destination, first, end in columns:
        content = (texts[mrn], texts[reference], texts[currency], texts[destination], *lines[first:end])
        digest = sha256(b"".join((heads[partition][1], head, *content))).digest()
        heads[partition] = (number, digest)
        hashes.append(digest)
    return numbers, hashes


class _Texts(dict[str, bytes]):
    """The hashed forms of texts, each made once."""

    def __missing__(self, text: str) -> bytes:
        self[text] = packed = text_bytes(text)
        return packed


def _checked(name: str, values: Int64 | int) -> Int64 | int:
    """Return values; raises ValueError where one has no place in its field, in which numpy would wrap it."""
    limits = np.iinfo(dict(_HEADS.fields or {})[name][0])
    if not isinstance(values, int) and len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
        raise ValueError(f"a {name} of an entry is not within {limits.min} to {limits.max}")
    return values


def _rows(packed: npt.NDArray[np.void]) -> list[bytes]:
    data, width = packed.tobytes(), packed.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]

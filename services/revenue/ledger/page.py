"""Pages: the entries and postings of one transaction in one partition, as columns, with one hash that binds them all.

The hash of a page is that of its last entry in the chain of the partition; those of the entries before it follow from the hash before
the page and from its content, so that one entry is proven by its page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Final

import numpy as np

from services.revenue.ledger.entry import POSTINGS_MAX, Entries, Int64

ENTRIES_MAX: Final = 500
"""Entries of one page. A page is found by a number in it: no more places of the index are read for it than a page has entries."""


class PageError(ValueError):
    """A page whose columns do not fit together; the message says how."""


@dataclass(frozen=True, slots=True)
class Page:
    """n entries of a partition, numbered without gap, and their m postings."""

    partition: int
    first_number: int
    last_number: int
    hash_before: bytes
    hash: bytes
    currencies: list[str]
    """The distinct currencies; entries and postings have places in this list, from 1 on. So it is with destinations."""
    destinations: list[str]
    kind: list[int]
    reverses: list[int]
    version: list[int]
    mrn: list[str]
    reference: list[str]
    currency: list[int]
    destination: list[int]
    entry: list[int]
    """Of each posting the place of its entry, from 1 on."""
    place: list[int]
    """Of each posting its place in the entry, from 0 on."""
    account: list[int]
    charge: list[int]
    """luxor.revenue.v1.Kind of each posting; 0 for none or several."""
    amount: list[int]
    posting_currency: list[int]

    def __len__(self) -> int:
        return self.last_number - self.first_number + 1

    def bounds(self) -> list[int]:
        """Return n + 1 bounds: entry i owns the postings from bounds[i] up to bounds[i + 1].

        Raises PageError where the columns are no page: too many entries, a column of lists, another length than the numbers say, a missing
        value, an unknown or unused place of a list, postings of no entry or out of order, another currency than the entry's.
        """
        # Not len(self), which Python refuses to be negative.
        entries, postings = self.last_number - self.first_number + 1, len(self.entry)
        if not 0 < entries <= ENTRIES_MAX:
            raise PageError(f"it has {entries} numbers; a page has 1 to {ENTRIES_MAX}")
        if any(is_nested(getattr(self, field.name)) for field in fields(self)):
            raise PageError("one of its columns has lists in place of values")
        for name in ("kind", "reverses", "version", "mrn", "reference", "currency", "destination"):
            if len(getattr(self, name)) != entries:
                raise PageError(f"it has {entries} numbers and {len(getattr(self, name))} values of {name}")
        for name in ("place", "account", "charge", "amount", "posting_currency"):
            if len(getattr(self, name)) != postings:
                raise PageError(f"it has {postings} postings and {len(getattr(self, name))} values of {name}")
        if any(
            None in getattr(self, field.name) for field in fields(self) if isinstance(getattr(self, field.name), list)
        ):
            raise PageError("one of its values is missing")
        for name, texts in (("currency", self.currencies), ("destination", self.destinations)):
            named = set(getattr(self, name))
            if not named <= set(range(1, len(texts) + 1)):
                raise PageError(f"an entry names a {name} that the page does not have")
            if len(named) < len(texts) or len(set(texts)) < len(texts):
                raise PageError(f"its list of {name} has a value that no entry has, or one twice")
        owner = np.array(self.entry, np.int64)
        if postings and ((np.diff(owner) < 0).any() or not 0 < owner[0] <= owner[-1] <= entries):
            raise PageError("its postings are not in the order of its entries")
        bounds = np.searchsorted(owner, np.arange(1, entries + 2))
        if (np.arange(postings) - bounds[owner - 1] != np.array(self.place, np.int64)).any():
            raise PageError("its postings are not in the order of their places")
        if (np.array(self.currency, np.int64)[owner - 1] != np.array(self.posting_currency, np.int64)).any():
            raise PageError("a posting has another currency than its entry")
        return [int(bound) for bound in bounds]


def is_nested(column: object) -> bool:
    """Return whether a column has lists in place of values: an array of several dimensions, of which all elements are lists."""
    return isinstance(column, list) and bool(column) and isinstance(column[0], list)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of entries that are booked together, as columns: of page i the entries from entry_offsets[i] up to entry_offsets[i + 1]
    and the postings from posting_offsets[i] up to posting_offsets[i + 1].
    """

    partition: list[int]
    first_number: list[int]
    last_number: list[int]
    hash_before: list[bytes]
    hash: list[bytes]
    currencies: list[list[str]]
    destinations: list[list[str]]
    entry_offsets: Int64
    posting_offsets: Int64
    kind: Int64
    reverses: Int64
    version: Int64
    mrn: list[str]
    reference: list[str]
    currency: Int64
    destination: Int64
    entry: Int64
    place: Int64
    account: Int64
    charge: Int64
    amount: Int64
    posting_currency: Int64

    def __len__(self) -> int:
        return len(self.partition)


def pages_of(entries: Entries, numbers: Sequence[int], hashes: Sequence[bytes], before: Mapping[int, bytes]) -> Pages:
    """Return the pages of entries that are numbered and hashed in their order; `before` has the hash before each partition's first."""
    order = np.argsort(entries.partition, kind="stable")
    lengths = np.diff(entries.offsets)[order]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    owner = np.repeat(np.arange(len(order)), lengths)
    places = np.arange(len(owner)) - offsets[owner]
    postings = entries.offsets[order][owner] + places
    partitions = entries.partition[order]
    bounds = np.array(_cut(partitions, lengths), np.int64)
    starts, ends = order[bounds[:-1]].tolist(), order[bounds[1:] - 1].tolist()
    page_of = np.repeat(np.arange(len(starts)), np.diff(bounds))
    currencies, currency = _places(_codes(entries.currency)[order], entries.currency, page_of, len(starts))
    destinations, destination = _places(_codes(entries.destination)[order], entries.destination, page_of, len(starts))
    last: dict[int, bytes] = dict(before)
    of_pages = partitions[bounds[:-1]].tolist()
    befores = []
    for partition, end in zip(of_pages, ends, strict=True):
        befores.append(last[partition])
        last[partition] = hashes[end]
    in_order = order.tolist()
    return Pages(
        of_pages,
        [numbers[place] for place in starts],
        [numbers[place] for place in ends],
        befores,
        [hashes[place] for place in ends],
        currencies,
        destinations,
        bounds,
        offsets[bounds],
        entries.kind[order],
        entries.reverses[order],
        entries.version[order],
        [entries.mrn[place] for place in in_order],
        [entries.reference[place] for place in in_order],
        currency,
        destination,
        owner - bounds[page_of][owner] + 1,
        places,
        entries.account[postings],
        entries.charge_kind[postings],
        entries.amount[postings],
        currency[owner],
    )


def _codes(texts: Sequence[str]) -> Int64:
    """Return for each text the place of its first occurrence."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, place) for place, text in enumerate(texts)], np.int64)


def _places(codes: Int64, texts: Sequence[str], page_of: Int64, count: int) -> tuple[list[list[str]], Int64]:
    """Return the distinct texts of each page, and of each entry the place of its text among those of its page, from 1 on."""
    distinct, place = np.unique(page_of * len(texts) + codes, return_inverse=True)
    firsts = np.searchsorted(distinct, np.arange(count + 1) * len(texts))
    named = [texts[code] for code in (distinct % len(texts)).tolist()]
    return [named[start:end] for start, end in pairwise(firsts.tolist())], place.reshape(-1) - firsts[page_of] + 1


def _cut(partitions: Int64, lengths: Int64) -> list[int]:
    """Return where pages begin, and the end: each has one partition and keeps the limits of entries and postings."""
    borders = np.flatnonzero(np.diff(partitions)) + 1
    bounds = [0]
    for end in [*borders.tolist(), len(partitions)]:
        while bounds[-1] < end:
            at = bounds[-1]
            running = np.cumsum(lengths[at : min(end, at + ENTRIES_MAX)])
            bounds.append(at + max(1, int(np.searchsorted(running, POSTINGS_MAX, side="right"))))
    return bounds

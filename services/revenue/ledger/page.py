"""Pages: the entries and postings of one transaction in one partition, as columns, with one hash that binds them all.

The hash of a page is that of its last entry in the chain of the partition; those of the entries before it follow from the hash before
the page and from its content, so that one entry is proven by its page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

        Raises PageError where the columns are no page: another length than the numbers say, a missing value, an unknown or unused place of a list,
        postings of no entry or out of order, another currency than the entry's.
        """
        entries, postings = len(self), len(self.entry)
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


def pages_of(
    entries: Entries, numbers: Sequence[int], hashes: Sequence[bytes], before: Mapping[int, bytes]
) -> list[Page]:
    """Return the pages of entries that are numbered and hashed in their order; `before` has the hash before each partition's first."""
    order = np.argsort(entries.partition, kind="stable")
    lengths = np.diff(entries.offsets)[order]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    owner = np.repeat(np.arange(len(order)), lengths)
    places = np.arange(len(owner)) - offsets[owner]
    postings = entries.offsets[order][owner] + places
    currency, destination = (_codes(texts)[order] for texts in (entries.currency, entries.destination))
    partitions = entries.partition[order]
    numbered = [numbers[place] for place in order.tolist()]
    last: dict[int, bytes] = dict(before)
    pages = []
    columns = _Columns(entries, order, postings)
    for start, end in _cut(partitions, lengths):
        first, after = int(offsets[start]), int(offsets[end])
        currencies, currency_at = _distinct(currency[start:end], entries.currency)
        destinations, destination_at = _distinct(destination[start:end], entries.destination)
        partition, digest = int(partitions[start]), hashes[int(order[end - 1])]
        entry = owner[first:after] - start
        pages.append(
            Page(
                partition,
                numbered[start],
                numbered[end - 1],
                last[partition],
                digest,
                currencies,
                destinations,
                columns.kind[start:end],
                columns.reverses[start:end],
                columns.version[start:end],
                columns.mrn[start:end],
                columns.reference[start:end],
                currency_at.tolist(),
                destination_at.tolist(),
                (entry + 1).tolist(),
                places[first:after].tolist(),
                columns.account[first:after],
                columns.charge[first:after],
                columns.amount[first:after],
                currency_at[entry].tolist(),
            )
        )
        last[partition] = digest
    return pages


class _Columns:
    """The columns of entries and postings as lists, in the order of pages."""

    def __init__(self, entries: Entries, order: Int64, postings: Int64) -> None:
        self.kind, self.reverses, self.version = (
            column[order].tolist() for column in (entries.kind, entries.reverses, entries.version)
        )
        self.mrn, self.reference = ([texts[place] for place in order] for texts in (entries.mrn, entries.reference))
        self.account, self.charge, self.amount = (
            column[postings].tolist() for column in (entries.account, entries.charge_kind, entries.amount)
        )


def _codes(texts: Sequence[str]) -> Int64:
    """Return for each text the place of its first occurrence."""
    first: dict[str, int] = {}
    return np.array([first.setdefault(text, place) for place, text in enumerate(texts)], np.int64)


def _distinct(codes: Int64, texts: Sequence[str]) -> tuple[list[str], Int64]:
    """Return the distinct texts of codes, and of each code its place among them, from 1 on."""
    distinct, places = np.unique(codes, return_inverse=True)
    return [texts[code] for code in distinct.tolist()], places.reshape(-1) + 1


def _cut(partitions: Int64, lengths: Int64) -> Iterator[tuple[int, int]]:
    """Return the bounds of pages: of one partition each, within the limits of entries and postings."""
    borders = np.flatnonzero(np.diff(partitions)) + 1
    for start, end in pairwise([0, *borders.tolist(), len(partitions)]):
        while start < end:
            running = np.cumsum(lengths[start : start + ENTRIES_MAX])
            count = max(1, min(end - start, int(np.searchsorted(running, POSTINGS_MAX, side="right"))))
            yield start, start + count
            start += count

"""An entry as it is stored in a page or in former rows, and its hash."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from libs.chain.hashing import link, text_bytes
from services.revenue.ledger.hash_chain import canonical
from services.revenue.ledger.page import PageError
from services.revenue.store.ledger.pages import StoredPage


@dataclass(frozen=True, slots=True)
class StoredPosting:
    """One line of an entry."""

    account: str
    amount: int
    """Minor units; positive is a debit."""
    kind: int
    """luxor.revenue.v1.Kind; 0 for none or several."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One entry, as it is stored."""

    day: int
    partition: int
    number: int
    kind: int
    reverses: int
    booked_at: int
    """Microseconds since 1970-01-01 UTC."""
    mrn: str
    version: int
    reference: str
    currency: str
    destination: str
    hash: bytes
    postings: list[StoredPosting] = field(default_factory=list)

    @staticmethod
    def of_page(stored: StoredPage, names: Mapping[int, str], last: int = 2**63 - 1) -> list[StoredEntry]:
        """Return the entries of a page up to a number, each with the hash that follows from the hash before the page. Raises PageError."""
        page = stored.page
        if not stored.from_one:
            raise PageError("one of its columns is no list whose first place is 1")
        bounds = page.bounds()
        postings = [
            StoredPosting(names.get(account, f"?{account}"), amount, kind)
            for account, amount, kind in zip(page.account, page.amount, page.charge, strict=True)
        ]
        entries: list[StoredEntry] = []
        digest = page.hash_before
        for place in range(min(len(page), last - page.first_number + 1)):
            entry = StoredEntry(
                stored.day,
                page.partition,
                page.first_number + place,
                page.kind[place],
                page.reverses[place],
                stored.booked_at,
                page.mrn[place],
                page.version[place],
                page.reference[place],
                page.currencies[page.currency[place] - 1],
                page.destinations[page.destination[place] - 1],
                b"",
                postings[bounds[place] : bounds[place + 1]],
            )
            try:
                digest = entry.hashed(digest)
            except struct.error as error:
                raise PageError(f"entry {entry.number} has a number that no entry has: {error}") from error
            entries.append(replace(entry, hash=digest))
        return entries

    def hashed(self, before: bytes) -> bytes:
        """Compute its hash behind the hash before it."""
        texts = b"".join(map(text_bytes, (self.mrn, self.reference, self.currency, self.destination)))
        postings = [(text_bytes(each.account), each.kind, each.amount) for each in self.postings]
        content = canonical(
            self.partition, self.number, self.kind, self.reverses, self.booked_at, self.version, texts, postings
        )
        return link(before, content)

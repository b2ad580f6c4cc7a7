"""An entry as it is stored in a page or in former rows, and its hash."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
            number, kind, reverses, version = (
                page.first_number + place, page.kind[place], page.reverses[place], page.version[place]
            )  # fmt: skip
            texts = (
                page.mrn[place],
                page.reference[place],
                page.currencies[page.currency[place] - 1],
                page.destinations[page.destination[place] - 1],
            )
            own = postings[bounds[place] : bounds[place + 1]]
            try:
                digest = _hashed(digest, page.partition, number, kind, reverses, stored.booked_at, version, texts, own)
            except struct.error as error:
                raise PageError(f"entry {number} has a number that no entry has: {error}") from error
            mrn, reference, currency, destination = texts
            entries.append(
                StoredEntry(
                    stored.day,
                    page.partition,
                    number,
                    kind,
                    reverses,
                    stored.booked_at,
                    mrn,
                    version,
                    reference,
                    currency,
                    destination,
                    digest,
                    own,
                )
            )
        return entries

    def hashed(self, before: bytes) -> bytes:
        """Compute its hash behind the hash before it."""
        return _hashed(
            before,
            self.partition,
            self.number,
            self.kind,
            self.reverses,
            self.booked_at,
            self.version,
            (self.mrn, self.reference, self.currency, self.destination),
            self.postings,
        )


def _hashed(
    before: bytes,
    partition: int,
    number: int,
    kind: int,
    reverses: int,
    booked_at: int,
    version: int,
    texts: tuple[str, str, str, str],
    postings: Sequence[StoredPosting],
) -> bytes:
    """Compute the hash of an entry; `texts` are MRN, reference, currency and destination."""
    lines = [(text_bytes(each.account), each.kind, each.amount) for each in postings]
    content = canonical(partition, number, kind, reverses, booked_at, version, b"".join(map(text_bytes, texts)), lines)
    return link(before, content)

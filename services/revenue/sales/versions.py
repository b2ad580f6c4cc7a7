"""Versions of sales: which sales of a request are new, which are stored already, and which contradict what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.revenue.sales.documents import Document


@dataclass(frozen=True, slots=True)
class SaleKey:
    """What a sale of a request is identified by, within its platform."""

    order_number: str
    replaced: int
    """The version that it replaces; 0 for a sale that was not filed before."""
    digest: bytes
    """Of its content."""
    documents: tuple[Document, ...] = ()
    """The house documents that it names."""

    @property
    def version(self) -> int:
        """Return the version that it is to be."""
        return self.replaced + 1


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version that is stored."""

    version: int
    digest: bytes
    day: int
    batch: int
    row: int
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of the sales of a request, by their rows."""

    fresh: list[int] = field(default_factory=list)
    """Those to be stored, in their order."""
    same: dict[int, int] = field(default_factory=dict)
    """Those with the content of a new one of the same request, with its row."""
    stored: dict[int, StoredVersion] = field(default_factory=dict)
    """Those that were stored before with the same content."""
    refused: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Reason of those that are refused, and the current version, 0 for none."""
    reused: dict[int, tuple[Document, str]] = field(default_factory=dict)
    """Of those that are refused with HOUSE_DOCUMENT_REUSED the document, and the order number of the sale that it belongs to."""


def decide(
    keys: Sequence[SaleKey],
    rows: Iterable[int],
    stored: Mapping[str, Sequence[StoredVersion]],
    holders: Mapping[Document, str] | None = None,
) -> Decided:
    """Decide on some rows of a request, in their order; `stored` has all versions of each order number.

    `holders` has the order number of the sale that each house document of the request belongs to, if any. A sale that is replaced by one without the
    document frees it.
    """
    decided = Decided()
    owners = _Owners(stored, holders or {})
    newest = {number: max(each.version for each in versions) for number, versions in stored.items() if versions}
    prior = {(number, each.version): each for number, versions in stored.items() for each in versions}
    new: dict[tuple[str, int], int] = {}
    for row in rows:
        key = keys[row]
        number, place = key.order_number, (key.order_number, key.version)
        if place in prior and prior[place].digest == key.digest:
            decided.stored[row] = prior[place]
        elif place in new and keys[new[place]].digest == key.digest:
            decided.same[row] = new[place]
        elif place in prior or place in new:
            decided.refused[row] = ("VERSION_REPLACED" if key.replaced else "ORDER_REUSED", newest[number])
        elif key.replaced == newest.get(number, 0) and (reused := owners.reused(key)):
            decided.refused[row], decided.reused[row] = ("HOUSE_DOCUMENT_REUSED", newest.get(number, 0)), reused
        elif key.replaced == newest.get(number, 0):
            owners.assign(key)
            decided.fresh.append(row)
            new[place], newest[number] = row, key.version
        elif number in newest:
            decided.refused[row] = ("AMENDED_VERSION_UNKNOWN", newest[number])
        else:
            decided.refused[row] = ("AMENDED_SALE_UNKNOWN", 0)
    return decided


class _Owners:
    """The sales that house documents belong to, while the sales of a request follow each other."""

    def __init__(self, stored: Mapping[str, Sequence[StoredVersion]], holders: Mapping[Document, str]) -> None:
        self._owner = dict(holders)
        self._documents = {
            number: max(versions, key=lambda each: each.version).documents
            for number, versions in stored.items()
            if versions
        }

    def reused(self, key: SaleKey) -> tuple[Document, str] | None:
        """Return the first document of a sale that belongs to another one, with the order number of that; None if there is none."""
        for each in key.documents:
            owner = self._owner.get(each, key.order_number)
            if owner != key.order_number:
                return each, owner
        return None

    def assign(self, key: SaleKey) -> None:
        """Assign its documents to a sale, and free those that it named before."""
        for each in self._documents.get(key.order_number, ()):
            if self._owner.get(each) == key.order_number:
                del self._owner[each]
        self._owner.update(dict.fromkeys(key.documents, key.order_number))
        self._documents[key.order_number] = key.documents

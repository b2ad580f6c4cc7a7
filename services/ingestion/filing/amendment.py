"""What an amendment or an invalidation may change, and which version of a filing it makes. Pure.

Law: UCC, articles 173 (amendment: never to other goods) and 174 (invalidation). ICS2 excludes parties that answer for the filing and its transport
document from amendments. The MRN states the country that decides on the filing: of destination, for exports of dispatch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.columns import Table, digests
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, MESSAGE_FUNCTION_INVALIDATE
from services.ingestion.filing.findings import ElementError, consignment_place, element_path
from services.ingestion.filing.validation import ENVELOPE

NEVER_AMENDED: Final = (
    "declarant_identifier",
    "representative_identifier",
    "house_document_number",
    "destination_country",
)
"""Elements that no amendment replaces or removes; what was absent may be added. Another one needs an invalidation and a new filing.

Nor does one change the direction, and of an export the country of dispatch, which decides on it."""
CHANGED_DAYS: Final = 380
"""Days after its acceptance in which a filing is changed. Clearance deletes its state soon after, and then decides on no change of it."""
_IDENTIFICATION: Final = frozenset({"local_reference", "amended_mrn"})
"""Elements that only name the filing: one of them is enough, so they are no content."""
_RETURN: Final = ("return_document_number", "return_document_type")


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one version: a row of a table."""

    table: Table
    row: int

    def text(self, name: str) -> str:
        """Return a text element, "" where it is absent."""
        return self.table.strings(name)[self.row]

    def is_withdrawn(self) -> bool:
        """Return whether the version is an invalidation."""
        return self.table.ints("function")[self.row] == MESSAGE_FUNCTION_INVALIDATE

    def is_export(self) -> bool:
        """Return whether the version is an export."""
        return self.table.ints("direction")[self.row] == DIRECTION_EXPORT


@dataclass(slots=True)
class Versions:
    """The versions of one filing that a batch concerns; those that the batch adds are put among them."""

    reference: str
    number: str | int
    """The MRN, or the place of the first version among the new filings of the same batch."""
    filer: str
    """Who filed the first version."""
    current: int = 1
    contents: dict[int, Content] = field(default_factory=dict)
    """The current version and those that are repeated. An invalidation has the content of the version before it."""
    times: dict[int, int] = field(default_factory=dict)
    """When stored versions were accepted, microseconds since 1970-01-01 UTC."""
    changed_by: dict[int, str] = field(default_factory=dict)
    """Who filed a version, where it was not the filer of the first one."""
    withdrawals: dict[int, Content] = field(default_factory=dict)
    """The rows of the batch that made invalidations."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one amendment or invalidation."""

    error: ElementError | None = None
    filing: Versions | None = None
    version: int = 0
    is_new: bool = False


def outcome_of(own: Content, filing: Versions) -> Outcome:
    """Return what a row of a batch does to its filing, and put a new version among those of the filing.

    A version that is there already gives an outcome that is not new; `differing` says whether its content is another one.
    """
    replaced = own.table.ints("amended_version")[own.row]
    assert replaced is not None
    version = replaced + 1
    if version > filing.current + 1:
        return Outcome(_error(own, "amended_version", "AMENDED_VERSION_UNKNOWN", str(replaced), version=filing.current))
    if version <= filing.current:
        return Outcome(filing=filing, version=version)
    current = filing.contents[filing.current]
    if own.is_withdrawn():
        filing.withdrawals[version] = own
        filing.contents[version] = current
    else:
        for name in NEVER_AMENDED:
            former = current.text(name)
            if former and own.text(name) != former:
                return Outcome(_error(own, name, "ELEMENT_NEVER_AMENDED"))
        if own.is_export() != current.is_export():
            return Outcome(_error(own, "direction", "ELEMENT_NEVER_AMENDED"))
        if own.is_export() and own.text("dispatch_country") != current.text("dispatch_country"):
            return Outcome(_error(own, "dispatch_country", "ELEMENT_NEVER_AMENDED"))
        filing.contents[version] = own
    filing.current = version
    return Outcome(filing=filing, version=version, is_new=True)


def unknown_filing(own: Content) -> ElementError:
    """Return the error of a filing that does not exist or is not the caller's to change: nobody learns which of the two."""
    name = "amended_mrn" if own.text("amended_mrn") else "local_reference"
    return _error(own, name, "AMENDED_FILING_UNKNOWN", own.text(name))


def replaced_before(own: Content, filing: Versions) -> ElementError:
    """Return the error of a row that names a version which other content replaced."""
    value = str(own.table.ints("amended_version")[own.row])
    return _error(own, "amended_version", "VERSION_REPLACED", value, version=filing.current)


def differing(pairs: Sequence[tuple[Content, Versions, int]]) -> list[bool]:
    """Return for each row of a batch whether the version of the filing that is there already has other content."""
    differs = [True] * len(pairs)
    compared: dict[int, tuple[Content, Content]] = {}
    for place, (own, filing, version) in enumerate(pairs):
        withdrawal = filing.withdrawals.get(version)
        stored = withdrawal or filing.contents[version]
        if own.is_withdrawn() and stored.is_withdrawn():
            differs[place] = any(own.text(name) != stored.text(name) for name in _RETURN)
        elif not own.is_withdrawn() and not stored.is_withdrawn():
            compared[place] = own, stored
    sides = [_digests([pair[side] for pair in compared.values()]) for side in (0, 1)]
    for place, own_digest, stored_digest in zip(compared, *sides, strict=True):
        differs[place] = own_digest != stored_digest
    return differs


def _digests(contents: Sequence[Content]) -> list[bytes]:
    """Return the digest of each content, those of one table together."""
    found = [b""] * len(contents)
    tables: dict[int, list[int]] = {}
    for place, each in enumerate(contents):
        tables.setdefault(id(each.table), []).append(place)
    for places in tables.values():
        rows = np.array([contents[place].row for place in places], np.int64)
        some = digests(contents[places[0]].table.take(rows), ENVELOPE | _IDENTIFICATION)
        for place, digest in zip(places, some, strict=True):
            found[place] = digest
    return found


def _error(own: Content, name: str, reason: str, value: str = "", **facts: object) -> ElementError:
    return ElementError(reason, element_path(consignment_place, own.row, name, True), value, facts=facts)

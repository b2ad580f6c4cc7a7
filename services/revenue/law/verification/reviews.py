"""Reviews of values and references: which of them a person compared with the text of the law, and until when that counts.

A review belongs to what a value says, not to its place: it counts for the same value in a later version, and for no value that was
changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.yaml_source import LawFileError, Source

PLACE_FORM: Final = "eu/rulebook.yaml: charges[vat].rates[0]"


@dataclass(frozen=True, slots=True)
class ReviewedValue:
    """What a review is of."""

    file: str
    """Name of the law file."""
    content: bytes
    """SHA-256 of the value as it is written, without its `verified` (`content_of`)."""
    counts_from: datetime
    """When it begins to count: on all replicas at one moment."""
    expires_on: date
    """The last day on which the review counts."""


def content_of(files: Mapping[str, str], place: str) -> tuple[str, bytes]:
    """Return the file and the digest of the value or reference at a place such as `eu/rulebook.yaml: charges[vat].rates[0]`.

    Raises LawFileError where the place is none, or where no value with a reference stands there.
    """
    file, _, where = (part.strip() for part in place.partition(":"))
    if file not in files or not where:
        raise LawFileError(place, 0, "", f"is no place of this version; write it as {PLACE_FORM!r}")
    source = Source(file, files[file])
    found = dict(_values(source.data, ())).get(where)
    if found is None:
        raise LawFileError(
            file, 0, where, "is neither a dated value nor a reference of this version; copy a place from its file"
        )
    return file, _digest(found)


def contents_of(files: Mapping[str, str]) -> frozenset[tuple[str, bytes]]:
    """Return all values and references of rulebooks and tariffs that may be reviewed, by file and content."""
    names = [name for name in files if name.endswith(".yaml") and not name.partition("/")[2].startswith("cases")]
    return frozenset(
        (name, _digest(value)) for name in names for _, value in _values(Source(name, files[name]).data, ())
    )


def expired_on(reviews: Iterable[ReviewedValue], day: date) -> frozenset[tuple[str, bytes]]:
    """Return the values, by file and content, of which every review has expired on a day."""
    last: dict[tuple[str, bytes], date] = {}
    for each in reviews:
        key = (each.file, each.content)
        last[key] = max(each.expires_on, last.get(key, each.expires_on))
    return frozenset(key for key, until in last.items() if until < day)


def with_reviews(
    files: Mapping[str, str], reviews: Iterable[ReviewedValue], expired: frozenset[tuple[str, bytes]]
) -> Mapping[str, str]:
    """Return the files with `verified` of each reviewed value: true, or false where its reviews have expired."""
    wanted: dict[str, set[bytes]] = {}
    for each in reviews:
        if each.file in files:
            wanted.setdefault(each.file, set()).add(each.content)
    changes: list[tuple[str, Any]] = []
    for file, contents in wanted.items():
        for place, value in _values(Source(file, files[file]).data, ()):
            digest = _digest(value)
            if digest in contents:
                changes.append((f"{file}: {place}.verified", (file, digest) not in expired))
    return overlay(files, changes) if changes else files


def _values(data: Any, path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the places and contents of all mappings that may be verified: values with a reference, and the references."""
    if isinstance(data, dict):
        dated = "reference" in data and ("from" in data or ".preferences" in path)
        if dated or (len(path) == 2 and path[0] == "references"):
            yield "".join(path), data
        for key, value in data.items():
            yield from _values(value, (*path, f".{key}" if path else str(key)))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            name = value.get("id", place) if isinstance(value, dict) else place
            yield from _values(value, (*path, f"[{name}]"))


def _digest(value: Mapping[str, Any]) -> bytes:
    content = {name: each for name, each in value.items() if name != "verified"}
    return sha256(msgspec.json.encode(content, order="deterministic")).digest()

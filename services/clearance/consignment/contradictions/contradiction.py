"""The elements of which parts of other parties state other values than the filing: what versions state, and what stands of it. Pure.

Consignments with a contradiction are rare, so they are worked on one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.columns import values_in_rows

PARTS_CONTRADICT: Final = "PARTS_CONTRADICT"
"""The reason of the notice to the filer."""
STANDING_MAX: Final = 20
"""Contradictions of one consignment that its state has; the others are counted."""
_SCHEMA: Final = schema_of(ClearanceColumns).children["contradictions"]
_TEXTS: Final = ("path", "consignment_value", "stated_by", "part_value", "part_filer")
_NUMBERS: Final = ("part_role", "first_version", "last_version")


class Contradiction(NamedTuple):
    """An element of which a part states another value than the consignment."""

    path: str
    consignment_value: str
    stated_by: str
    part_value: str
    part_filer: str
    part_role: int
    """luxor.ingestion.v1.PartyRole."""
    first_version: int
    """The first version of the filing with the value of the consignment."""
    last_version: int
    """The version that states the contradiction."""

    @property
    def content(self) -> tuple[object, ...]:
        """What it says, without the versions."""
        return self[:6]

    @property
    def statement_of_part(self) -> tuple[object, ...]:
        """What the part states, whatever value the consignment has."""
        return self.path, self.part_value, self.part_filer, self.part_role


class Contradictions(NamedTuple):
    """The contradictions of one consignment."""

    entries: tuple[Contradiction, ...] = ()
    """The first ones, STANDING_MAX at most."""
    total: int = 0
    """All of them."""

    def says_the_same(self, other: Contradictions) -> bool:
        """Return whether both say the same, whichever versions state it."""
        return self.total == other.total and {each.content for each in self.entries} == {
            each.content for each in other.entries
        }


class Statement(NamedTuple):
    """What a version of a filing states about contradictions."""

    version: int
    contradictions: Contradictions
    unchanged_since: int | None
    """The first version since which no element changed; None where the version changes any."""


def statements(filings: Table) -> dict[int, Statement]:
    """Return by row what filings (ConsignmentColumns) state about contradictions; those that state nothing are not there."""
    if not filings.may_have("contradiction_count"):
        return {}
    versions, since = filings.ints("version").tolist(), filings.ints("unchanged_since").tolist()
    return {
        row: Statement(int(versions[row] or 0), found, since[row])
        for row, found in enumerate(_read(filings))
        if found is not None
    }


def contradictions_of(states: Table) -> list[Contradictions]:
    """Return the contradictions of each state."""
    if not states.may_have("contradiction_count"):
        return [Contradictions()] * states.rows
    return [each or Contradictions() for each in _read(states)]


def current_contradictions(stored: Contradictions, statement: Statement, filing_version: int) -> Contradictions:
    """Return which contradictions the version of a filing has that counts, `filing_version`, after a later version states some.

    If the later version came too late, those of the version that counts stay, and only those are added that it has, too; a version that changes
    nothing of the one that counts states all of them. An earlier version changes nothing.
    """
    new = statement.contradictions
    if statement.version < max([filing_version, *(each.last_version for each in stored.entries)]):
        return stored
    if filing_version == statement.version:
        return new
    if statement.unchanged_since is not None and statement.unchanged_since <= filing_version:
        return new
    own = [each for each in new.entries if each.first_version <= filing_version]
    stated = {each.statement_of_part for each in own}
    stays = [
        each
        for each in stored.entries
        if each.first_version <= filing_version <= each.last_version and each.statement_of_part not in stated
    ]
    entries = (*stays, *own)
    if entries == stored.entries:
        return stored
    count = new.total if entries == new.entries else len(entries)
    return Contradictions(entries[:STANDING_MAX], count)


def carried(stored: Table, stated: Mapping[int, Statement]) -> dict[str, Column]:
    """Return the columns of states with new versions of their filings: the stored ones, by the new version where it states the same.

    What it states differently is an event of its own.
    """
    if not has_contradictions(stored):
        return {}
    found = contradictions_of(stored)
    for row, statement in stated.items():
        if statement.contradictions.says_the_same(found[row]):
            found[row] = statement.contradictions
    return columns_of(found, stored.ints("contradiction_count"))


def columns_of(contradictions: Sequence[Contradictions], counts: Ints) -> dict[str, Column]:
    """Return the columns of states with contradictions; `counts` is valid where a state had any, now or before."""
    lines = [each for some in contradictions for each in some.entries]
    columns: dict[str, Column] = {
        **{name: Strings.of([getattr(each, name) for each in lines]) for name in _TEXTS},
        **{name: Ints.of([getattr(each, name) for each in lines]) for name in _NUMBERS},
    }
    numbers = np.array([each.total for each in contradictions], np.int64)
    return {
        "contradictions": Ragged.of_lengths(
            [len(each.entries) for each in contradictions], Table(_SCHEMA, len(lines), columns)
        ),
        "contradiction_count": Ints.of(numbers, counts.valid | (numbers > 0)),
    }


def has_contradictions(states: Table) -> bool:
    """Return whether any of the states has contradictions, or had some."""
    return states.may_have("contradiction_count") and bool(states.ints("contradiction_count").valid.any())


def stands(states: Table) -> NDArray[np.bool_]:
    """Return which states have contradictions, shape (n,)."""
    if not states.may_have("contradiction_count"):
        return np.zeros(states.rows, np.bool_)
    counts: NDArray[np.bool_] = states.ints("contradiction_count").filled(0) > 0
    return counts


def public_contradictions(table: Table) -> dict[str, Column]:
    """Return the column of contradictions as filers read it: of the two values only what the filer of the consignment stated itself."""
    if not has_contradictions(table):
        return {}
    found, lines = table.ragged("contradictions"), table.child("contradictions")
    filers = table.strings("filer").take(found.owners()).tolist()
    columns: dict[str, Column] = {"stated_by": Strings.absent(lines.rows)}
    for value, party in (("consignment_value", "stated_by"), ("part_value", "part_filer")):
        own = [each == filer for each, filer in zip(lines.strings(party).tolist(), filers, strict=True)]
        columns[value] = values_in_rows(lines.strings(value), np.array(own, np.bool_))
    return {"contradictions": Ragged(found.offsets, lines.with_columns(columns))}


def _read(table: Table) -> list[Contradictions | None]:
    """Return the contradictions of each row of a table with these columns; None where the count is absent."""
    counts, owners, lines = (
        table.ints("contradiction_count").tolist(),
        table.ragged("contradictions"),
        table.child("contradictions"),
    )
    texts = [lines.strings(name).tolist() for name in _TEXTS]
    numbers = [lines.ints(name).values.tolist() for name in _NUMBERS]
    entries = [Contradiction(*each) for each in zip(*texts, *numbers, strict=True)]
    return [
        None if count is None else Contradictions(tuple(entries[owners.span(row)]), count)
        for row, count in enumerate(counts)
    ]

"""What the data sets of the stages require of filings: which lack an element, and of which elements filers are warned. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.columns.arrays import BoolArray
from libs.filing_stages import completeness, deadlines
from libs.filing_stages.direction import exports
from libs.filing_stages.law import ITEMS, Stage, included
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_INVALIDATE, MESSAGE_FUNCTION_NEW
from luxor.ingestion.v1.parts_pb2 import PartyRole
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.filing.elements import ITEMS_REQUIRED, REQUIRED
from services.ingestion.filing.plausibility import Finding

_EARLY: Final = included().mandatory(Stage.PRE_LOADING)
_LATER: Final = frozenset((*REQUIRED, *(ITEMS + name for name in ITEMS_REQUIRED))) - frozenset(_EARLY)
"""Elements that a declaration needs, and a filing before it does not."""
_OF_EXPORTS: Final = frozenset(included().export.required)
_NAMES: Final = {
    Stage.PRE_LOADING: "assessment before loading",
    Stage.PRE_ARRIVAL: "entry summary declaration before arrival",
    Stage.SIMPLIFIED: "simplified declaration",
    Stage.FULL: "full declaration",
}
"""The stages in words."""
_REASON: Final = "STAGE_ELEMENT_MISSING"
_AWAITED: Final = schema_of(ConsignmentColumns).children["awaited_parts"]
LATE: Final = "FILED_LATE"
"""The reason of late filings."""


def before_declaration(table: Table) -> BoolArray:
    """Return which filings are made for security alone, shape (n,): they need the minimum set."""
    return completeness.before_declaration(table, included())


def is_later(element: str) -> bool:
    """Return whether only declarations need a required element; those of the goods begin with `items.`."""
    return element in _LATER


def lacking(table: Table, early: BoolArray) -> Iterator[tuple[str, npt.NDArray[np.integer]]]:
    """Yield the elements of the minimum set that declarations may omit, each with the filings before the declaration that lack it."""
    for element in _EARLY:
        if element not in REQUIRED and not element.startswith(ITEMS):
            rows = np.flatnonzero(early & completeness.lacks(table, element))
            if len(rows):
                yield _column(element), rows


def required_of_exports(element: str) -> bool:
    """Return whether exports need an element that every declaration needs; those of the goods begin with `items.`."""
    return element in _OF_EXPORTS


def lacking_of_exports(table: Table, exported: BoolArray) -> Iterator[tuple[str, npt.NDArray[np.integer]]]:
    """Yield the elements that exports need and imports may omit, each with the exports that lack it."""
    for element in included().export.required:
        if element not in REQUIRED and not element.startswith(ITEMS):
            rows = np.flatnonzero(exported & completeness.lacks(table, element))
            if len(rows):
                yield _column(element), rows


def unused_in_exports(table: Table, exported: BoolArray) -> Iterator[tuple[str, npt.NDArray[np.integer]]]:
    """Yield the elements of imports that exports state, each with the rows of its own table."""
    for element in included().export.unused:
        of_items = element.startswith(ITEMS)
        level, rows = (table.child("items"), table.ragged("items").owners()) if of_items else (table, slice(None))
        column = element.removeprefix(ITEMS)
        if level.may_have(column):
            values = level.column(column)
            stated = values.lengths > 0 if isinstance(values, Ragged) else values.present
            yield element, np.flatnonzero(stated & exported[rows])


def gaps(table: Table, rows: npt.NDArray[np.integer], day: int) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield for rows of a table, accepted on `day`, each stage for which they are not complete, and what they lack, as facts of a warning."""
    if len(rows):
        found = completeness.gaps(table.take(rows), included(), np.full(len(rows), day, np.int64))
        for row, stages in zip(rows.tolist(), found, strict=True):
            for stage, elements in stages:
                yield row, {"stage": _NAMES[stage], "elements": ", ".join(elements)}


def required_roles(table: Table, day: int) -> dict[int, tuple[str, ...]]:
    """Return by row the roles of which the jurisdiction of a filing, accepted on `day`, requires a part; none of invalidations."""
    found = completeness.required_parts(table, included(), day)
    if not any(found):
        return {}
    filed = (table.ints("function").values != MESSAGE_FUNCTION_INVALIDATE).tolist()
    return {row: roles for row, roles in enumerate(found) if roles and filed[row]}


def with_missing_roles(table: Table, roles: Mapping[int, Sequence[str]]) -> Table:
    """Return filings with the column of the roles of which they lack a required part; `roles` by row, the names as in the data sets."""
    lengths = [len(roles.get(row, ())) for row in range(table.rows)]
    numbers = [PartyRole.Value(f"PARTY_ROLE_{each}") for row in range(table.rows) for each in roles.get(row, ())]
    return table.with_columns({"missing_roles": Ragged.of_lengths(lengths, Ints.of(numbers))})


def missing_roles(table: Table, row: int) -> tuple[PartyRole.ValueType, ...]:
    """Return the roles of which a filing lacks a required part."""
    roles = table.ragged("missing_roles")
    assert isinstance(roles.values, Ints)
    return tuple(roles.values.values[roles.span(row)].tolist())


def with_awaited_parts(table: Table, parties: Mapping[int, Sequence[tuple[int, str]]]) -> Table:
    """Return filings with the column of the parties of which they await a required part; `parties` by row, each with its role first."""
    lengths = [len(parties.get(row, ())) for row in range(table.rows)]
    lines = [each for row in range(table.rows) for each in parties.get(row, ())]
    columns: dict[str, Column] = {
        "role": Ints.of([role for role, _ in lines]),
        "party": Strings.of([party for _, party in lines]),
    }
    awaited = Table(_AWAITED, len(lines), columns)
    return table.with_columns({"awaited_parts": Ragged.of_lengths(lengths, awaited)})


def additions(table: Table, early: BoolArray, rules: CheckRules, day: int) -> Iterator[Finding]:
    """Yield what declarations accepted on `day` lack of the elements that the jurisdiction of their destination adds."""
    if rules.levels[_REASON] == "none":
        return
    for jurisdiction, addition, rows in completeness.additions(table, included(), Stage.SIMPLIFIED, day):
        facts = {
            "jurisdiction": jurisdiction,
            "from_day": addition.start.isoformat(),
            "condition": included().conditions[addition.condition].text,
        }
        rows = rows & ~early & (table.ints("function").values != MESSAGE_FUNCTION_INVALIDATE)
        of_items = addition.element.startswith(ITEMS)
        if of_items:
            absent = ~table.child("items").column(addition.element.removeprefix(ITEMS)).present
            rows = rows[table.ragged("items").owners()] & absent
        at = np.flatnonzero(rows)
        if len(at):
            yield Finding(_column(addition.element), at, _REASON, of_items, facts=facts)


@dataclass(frozen=True, slots=True)
class Timeliness:
    """Which new filings of a batch came in time, and which late; of later versions the declarations, should they be the first of their filing."""

    findings: list[Finding]
    """Late new filings at the level of the administration."""
    judged: BoolArray
    """Those whose deadline and time are known, shape (n,)."""
    late: BoolArray
    """Those of them that came after it, shape (n,)."""


def timeliness(table: Table, early: BoolArray, rules: CheckRules, now: int) -> Timeliness:
    """Return which filings of `now`, microseconds since 1970-01-01 UTC, came in time and which after their deadline."""
    level = rules.levels[LATE]
    function = table.ints("function").filled(0)
    new = function <= MESSAGE_FUNCTION_NEW
    declared = new | (~early & (function != MESSAGE_FUNCTION_INVALIDATE))
    found = Timeliness([], np.zeros(table.rows, np.bool_), np.zeros(table.rows, np.bool_))
    times = np.full(table.rows, now)
    for jurisdiction, deadline, judged, missed in deadlines.judged(table, included(), early, times):
        np.logical_or(found.judged, judged & declared, out=found.judged)
        np.logical_or(found.late, missed & declared, out=found.late)
        rows = missed & new
        if level != "none" and rows.any():
            facts = {"jurisdiction": jurisdiction, "minutes": deadline.minutes, "event": deadline.before}
            column = f"transport_{deadline.before}_time"
            found.findings.append(Finding(column, np.flatnonzero(rows), LATE, facts=facts))
    return found


def lacking_of_stage(table: Table, early: BoolArray, day: int) -> npt.NDArray[np.int64]:
    """Return how many elements each filing lacks of its own stage: before loading, simplified, or export; shape (n,)."""
    count = completeness.counted(table, included(), Stage.SIMPLIFIED, day)
    if early.any():
        rows = np.flatnonzero(early)
        count[rows] = completeness.counted(table.take(rows), included(), Stage.PRE_LOADING, day)
    exported = exports(table)
    if exported.any():
        rows = np.flatnonzero(exported)
        taken = table.take(rows)
        count[rows] = sum(completeness.lacks(taken, name).astype(np.int64) for name in included().export.required)
    return count


def _column(element: str) -> str:
    """Return the column at which an error about an element points: that of its first alternative."""
    return element.partition("|")[0].partition(":")[0].removeprefix(ITEMS).partition(".")[0]

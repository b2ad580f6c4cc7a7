"""What the data sets of the stages require of filings: which lack an element, and of which elements filers are warned. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.arrays import BoolArray
from libs.filing_stages import completeness, deadlines
from libs.filing_stages.law import ITEMS, Stage, included
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_INVALIDATE, MESSAGE_FUNCTION_NEW
from services.ingestion.filing.check_rules import CheckRules
from services.ingestion.filing.elements import ITEMS_REQUIRED, REQUIRED
from services.ingestion.filing.plausibility import Finding

_EARLY: Final = included().mandatory(Stage.PRE_LOADING)
_LATER: Final = frozenset((*REQUIRED, *(ITEMS + name for name in ITEMS_REQUIRED))) - frozenset(_EARLY)
"""Elements that a declaration needs, and a filing before it does not."""
_NAMES: Final = {
    Stage.PRE_LOADING: "assessment before loading",
    Stage.PRE_ARRIVAL: "entry summary declaration before arrival",
    Stage.SIMPLIFIED: "simplified declaration",
    Stage.FULL: "full declaration",
}
"""The stages in words."""
_REASON: Final = "STAGE_ELEMENT_MISSING"
_LATE: Final = "FILED_LATE"


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


def gaps(table: Table, rows: npt.NDArray[np.integer], day: int) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield for rows of a table, accepted on `day`, each stage for which they are not complete, and what they lack, as facts of a warning."""
    if len(rows):
        found = completeness.gaps(table.take(rows), included(), np.full(len(rows), day, np.int64))
        for row, stages in zip(rows.tolist(), found, strict=True):
            for stage, elements in stages:
                yield row, {"stage": _NAMES[stage], "elements": ", ".join(elements)}


def additions(table: Table, early: BoolArray, rules: CheckRules, day: int) -> Iterator[Finding]:
    """Yield what declarations accepted on `day` lack of the elements that the jurisdiction of their destination adds."""
    level = rules.levels[_REASON]
    if level == "none":
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
            yield Finding(_column(addition.element), at, _REASON, of_items, level == "warn", facts)


def late(table: Table, early: BoolArray, rules: CheckRules, now: int) -> tuple[list[Finding], frozenset[int]]:
    """Return which new filings of `now` came after their deadline: the findings at the level of the administration, and all of these rows."""
    level = rules.levels[_LATE]
    new = table.ints("function").filled(0) <= MESSAGE_FUNCTION_NEW
    findings: list[Finding] = []
    late_rows: set[int] = set()
    for jurisdiction, deadline, rows in deadlines.late(table, included(), early, np.full(table.rows, now)):
        at = np.flatnonzero(rows & new)
        late_rows.update(at.tolist())
        if level != "none" and len(at):
            facts = {"jurisdiction": jurisdiction, "minutes": deadline.minutes, "event": deadline.before}
            column = f"transport_{deadline.before}_time"
            findings.append(Finding(column, at, _LATE, warns=level == "warn", facts=facts))
    return findings, frozenset(late_rows)


def _column(element: str) -> str:
    """Return the column at which an error about an element points: that of its first alternative."""
    return element.partition("|")[0].partition(":")[0].removeprefix(ITEMS).partition(".")[0]

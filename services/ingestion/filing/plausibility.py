"""Checks of what a valid consignment says: descriptions that name no goods. Pure: columns in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.customs.descriptions.vague import Vagueness
from luxor.consignment.v1 import consignment_pb2 as consignment
from services.ingestion.filing.check_rules import CheckRules

IntArray = npt.NDArray[np.integer]
_CAUSES: Final = tuple(Vagueness)


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of one table of a batch with the same finding."""

    column: str
    rows: IntArray
    reason: str
    """Of the catalogue."""
    is_of_items: bool = False
    """Whether column and rows are those of the table of items, not of consignments."""
    warns: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


def findings(table: Table, rules: CheckRules) -> Iterator[Finding]:
    """Yield what is implausible in the consignments of a batch."""
    yield from _vague_descriptions(table, rules)


def _vague_descriptions(table: Table, rules: CheckRules) -> Iterator[Finding]:
    """Find descriptions that name no goods, once per distinct description, but not those of documents or with refused characters."""
    descriptions = table.child("items").strings("description")

    def cause(description: str) -> int:
        found = rules.vague_terms.vagueness(description) if description.isprintable() and description else None
        return -1 if found is None else _CAUSES.index(found)

    causes = descriptions.map(cause, np.int8)
    if not (causes >= 0).any():
        return
    documents = table.ints("nature").values == consignment.NATURE_DOCUMENT
    causes[documents[table.ragged("items").owners()]] = -1
    for place, each in enumerate(_CAUSES):
        rows = np.flatnonzero(causes == place)
        if len(rows):
            yield Finding("description", rows, "DESCRIPTION_VAGUE", is_of_items=True, facts={"cause": each.value})

"""What risk answered for a consignment, as plain values: one for each answer, its findings below it; and what it found later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from libs.client.client import Client
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb

if TYPE_CHECKING:
    from libs.columns import Table

# Columns are imported where an answer is read: the start of a command needs no numpy.
_ENUMS: Mapping[str, Callable[[int], str]] = {
    "lane": lambda number: common_pb2.Lane.Name(common_pb2.Lane.ValueType(number)),
    "selection_cause": lambda number: common_pb2.SelectionCause.Name(common_pb2.SelectionCause.ValueType(number)),
    "referral": lambda number: pb.Referral.Name(pb.Referral.ValueType(number)),
}
"""Columns that hold numbers of enums, and how each is named."""


async def assessments(client: Client, mrn: str) -> list[dict[str, Any]]:
    """Return the stored answers on a consignment, by version and purpose, without unknown values."""
    return plain_assessments(await client.assessments(mrn))


async def assessments_and_later_matches(client: Client, mrn: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the same, and the hits that screening the consignment again found, by version and time."""
    answer = await client.assessments(mrn)
    return plain_assessments(answer), [plain_later_screening(each) for each in answer.later_screenings]


def plain_later_screening(screening: pb.LaterScreening) -> dict[str, Any]:
    """Hits that screening again found, as plain values."""
    from libs.columns import Table

    def rows_of(columns: pb.FindingColumns) -> list[dict[str, Any]]:
        rows = columns.offsets[-1] if columns.offsets else 0
        table = Table.decode(pb.AssessmentColumns(rows=1, findings=columns)).child("findings")
        return [_row(table, row) for row in range(rows)]

    return {
        "version": screening.version,
        "screened_at": screening.screened_at.ToJsonString(),
        "lists": screening.lists,
        "match_threshold": screening.match_threshold,
        "findings": rows_of(screening.findings),
        "cleared": rows_of(screening.cleared),
    }


def plain_assessments(answer: pb.ListAssessmentsResponse) -> list[dict[str, Any]]:
    """Return assessments as plain values."""
    from libs.columns import Table

    found = []
    for each in answer.assessments:
        table = Table.decode(each.assessment)
        entry = {"version": each.version, "purpose": pb.Purpose.Name(each.purpose), "day": each.day}
        entry |= _row(table, 0)
        findings = table.child("findings")
        entry["findings"] = [_row(findings, row) for row in range(findings.rows)]
        found.append(entry)
    return found


def _row(table: Table, row: int) -> dict[str, Any]:
    """One row of a table, without its child tables and what is absent."""
    from libs.columns import Ints, Ragged, Strings

    values: dict[str, Any] = {}
    for name, column in table.columns.items():
        if isinstance(column, Strings) and column[row]:
            values[name] = column[row]
        elif isinstance(column, Ints) and (number := column[row]) is not None:
            values[name] = _ENUMS[name](number) if name in _ENUMS else number
        elif isinstance(column, Ragged) and isinstance(column.values, Strings) and column.lengths[row]:
            values[name] = column.values.tolist()[column.span(row)]
    return values

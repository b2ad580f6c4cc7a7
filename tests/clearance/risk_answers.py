"""Answers of risk that tests shape: causes of selection, waits, confidential findings, hits after a list change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from libs.feed.types import Cursor, FeedBatch
from luxor.risk.v1 import risk_pb2
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from tests.clearance.desk import ACCEPTED_AT, DAY, LANES, TRACE, mrns

SECRET = "PARTY_LISTED"
"""Reason that no filer and no carrier may read, nor anything else of its finding."""
SENTENCE = "The consignee's name is that of a listed one."
LIST = "UN:2026-02-27:0f3a94c1d2e7"


@dataclass(frozen=True)
class ServiceSpan:
    """What risk tells of a consignment beside its lane."""

    cause: int = 0
    reason: str = ""
    open: tuple[str, ...] = ()
    """Reasons of findings that everybody may read."""
    confidential: tuple[str, ...] = ()
    """Reasons of findings that only officers and analysts may."""
    delay_minutes: int | None = None
    days: int | None = None
    extra: dict[str, int] = field(default_factory=dict)


def answering(tell: dict[str, ServiceSpan]) -> Callable[[Table], Table]:
    """Answer by local reference: its lane by its first word, all else as told."""

    def answer(table: Table) -> Table:
        references = table.strings("local_reference").tolist()
        told = [tell.get(each, ServiceSpan()) for each in references]
        lanes = [LANES.get(each.split("-")[0], 1) for each in references]
        rows = table.rows
        found = [
            (reason, secret)
            for each in told
            for reason, secret in (*((r, False) for r in each.open), *((r, True) for r in each.confidential))
        ]
        findings = _findings([reason for reason, _ in found], [secret for _, secret in found])

        def absent_where_none(values: Sequence[int | None]) -> Ints:
            return Ints.of([value or 0 for value in values], [value is not None for value in values])

        return Table.of(
            risk_pb2.AssessmentColumns,
            rows,
            {
                "lane": Ints.of(lanes),
                "score": Ints.constant(700, rows),
                "unjudged": Ints.constant(0, rows),
                "rule_set": Strings.constant("first-light/1+abc", rows),
                "findings": Ragged.of_lengths([len(each.open) + len(each.confidential) for each in told], findings),
                "selection_cause": absent_where_none([each.cause or None for each in told]),
                "selection_reason": Strings.of([each.reason for each in told]),
                "chance_ppm": absent_where_none([12_345 if each.cause else None for each in told]),
                "model_score_ppm": Ints.constant(654_321, rows),
                "model": Strings.constant("items-2026-11+5d0c2b7a9e13", rows),
                "office": Strings.constant("DE004851", rows),
                "green_delay_minutes": absent_where_none([each.delay_minutes for each in told]),
                "yellow_to_blue_days": absent_where_none([each.days for each in told]),
            },
        )

    return answer


def _findings(reasons: Sequence[str], secret: Sequence[bool], entries: Sequence[str] = (), *, lane: int = 4) -> Table:
    count = len(reasons)
    return Table(
        schema_of(risk_pb2.AssessmentColumns).children["findings"],
        count,
        {
            "rule": Strings.of(["LISTED_PARTY" if each else "A_RULE" for each in secret]),
            "rule_version": Ints.constant(3, count),
            "points": Ints.constant(400, count),
            "item_number": Ints.constant(1, count),
            "reason": Strings.of(reasons),
            "lane": Ints.constant(lane, count),
            "sentence": Strings.of([SENTENCE if each else "An open sentence." for each in secret]),
            "confidential": Bools.of(list(secret)),
            "kind": Ints.of([4 if each else 1 for each in secret]),
            "party": Strings.of(["consignee" if each else "" for each in secret]),
            "list": Strings.of([LIST if each else "" for each in secret]),
            "list_entry": Strings.of(list(entries) or ["6908555" if each else "" for each in secret]),
            "match_score": Ints.of([930 if each else 0 for each in secret], list(secret)),
            "explanation": Strings.of(["ivan ~ iwan" if each else "" for each in secret]),
        },
    )


def screening(
    filed: Table, entries: Sequence[str] = ("6908555",), *, version: int = 1, at: int = ACCEPTED_AT, lane: int = 4
) -> FeedBatch:
    """Tell hits of filings as risk's feed does: one a consignment and entry of the list, advising a lane."""
    rows, count = filed.rows, len(entries)
    findings = _findings([SECRET] * rows * count, [True] * rows * count, list(entries) * rows, lane=lane)
    table = Table.of(
        ScreeningColumns,
        rows,
        {
            "mrn": Strings.of(mrns(filed)),
            "filing_version": Ints.constant(version, rows),
            "screened_at": Ints.constant(at, rows),
            "lists": Strings.constant(LIST, rows),
            "match_threshold": Ints.constant(880, rows),
            "findings": Ragged.of_lengths([count] * rows, findings),
        },
    )
    partitions = filed.ints("partition").values
    return FeedBatch(table, partitions, Cursor(1, DAY, 1, 1), np.arange(rows), at, TRACE, "", 1)

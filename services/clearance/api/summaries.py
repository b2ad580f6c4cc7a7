"""Numbers of consignments by what became of them, as messages."""

from collections.abc import Mapping, Sequence

from libs.server.identity import Role
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.api.queries import Query
from services.clearance.commands.summarize import COUNTED_MAX, Summary, summarize
from services.clearance.store import Store

READERS = frozenset({Role.OFFICER, Role.ANALYST})
"""Roles that may know of all consignments under a master document."""


async def summaries(
    store: Store, status_queries: Sequence[pb.StatusQuery], read: Sequence[Query | None], role: Role
) -> dict[int, pb.TransportSummary]:
    """Return the numbers that queries ask for, by place. All queries of a call together count COUNTED_MAX consignments, equal ones once."""
    counted: dict[str, pb.TransportSummary] = {}
    answers: dict[int, pb.TransportSummary] = {}
    left = COUNTED_MAX
    for place, (asked, query) in enumerate(zip(status_queries, read, strict=True)):
        if query is None or not asked.with_summary or query.kind != "master_document_number" or role not in READERS:
            continue
        if query.value not in counted:
            found = await summarize(store, query.value, left)
            left -= found.consignments
            counted[query.value] = _message(found)
        answers[place] = counted[query.value]
    return answers


def hold_counts(counts: Mapping[int, int]) -> list[pb.HoldCount]:
    """Return the numbers of held consignments by cause, the gravest cause first."""
    return [
        pb.HoldCount(cause=cause, consignments=count)  # type: ignore[arg-type]
        for cause, count in sorted(counts.items(), reverse=True)
    ]


def _message(summary: Summary) -> pb.TransportSummary:
    return pb.TransportSummary(
        consignments=summary.consignments,
        released=summary.released,
        awaiting_arrival=summary.awaiting_arrival,
        final=summary.final,
        hold_counts=hold_counts(summary.hold_counts),
        incomplete=summary.incomplete,
    )

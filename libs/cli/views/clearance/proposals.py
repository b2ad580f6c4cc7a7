"""Decisions that wait for a second person, in words."""

from collections.abc import Sequence
from typing import Any

from libs.cli.views.text import safe, short, when, words


def proposal_words(proposal: dict[str, Any]) -> str:
    """Return what was decided, and why."""
    kind = short(proposal.get("kind", ""), "PROPOSAL_KIND_")
    if kind == "CONCLUSION":
        result = words(short(proposal.get("control_result", ""), "CONTROL_RESULT_"))
        text = f"control {proposal.get('control_number', '')}: {result}"
    elif kind == "DISPOSAL":
        text = words(short(proposal.get("disposal", ""), "DISPOSAL_KIND_"))
    else:
        text = words(kind)
    return f"{text} ({safe(proposal.get('reason', ''))})"


def second_person(status: dict[str, Any]) -> Sequence[str]:
    """Return whether a second person confirms decisions on a consignment, and the last decision that was proposed."""
    required = status.get("decision", {}).get("second_person")
    parts = ["a second officer confirms each decision" if required else ""]
    for each in status.get("proposals", ()):
        parts.append(
            f"{safe(each.get('proposed_by', ''))} proposed at {when(each.get('proposed_at', ''))}: {proposal_words(each)}"
        )
        outcome = each.get("outcome")
        parts.append(
            f"{words(short(outcome, 'PROPOSAL_OUTCOME_'))} by {safe(each.get('ended_by', ''))} {safe(each.get('end_reason', ''))}".strip()
            if outcome
            else f"lapses at {when(each.get('due_at', ''))}"
        )
    return parts

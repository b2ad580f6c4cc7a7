"""How much of an answer rests on reviewed law, and whether its totals are what is owed at least, in words."""

from collections.abc import Mapping
from typing import Any

from libs.cli.views.text import money

UNKNOWN = "How much of the law applied was reviewed is not recorded."


def share_text(part: int, whole: int) -> str:
    """Return a part of a whole in per cent, exact to a tenth and rounded down; nothing and all are said of nothing and all alone.

    Example: 1 of 3 gives "33.3 %", 1 of 100,000 "under 0.1 %".
    """
    if 0 < part * 1000 < whole:
        return "under 0.1 %"
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %"


def review_text(charged: int, reviewed: int | None, currency: str) -> str:
    """Return how much of an amount rests on reviewed law; amounts in minor units, None where it is not known."""
    if reviewed is None:
        return UNKNOWN
    if not charged:
        return "Nothing is charged, so that no amount rests on reviewed law."
    return f"{money(reviewed, currency)} of {money(charged, currency)} ({share_text(reviewed, charged)}) rest on reviewed law."


def answer_text(review: Mapping[str, Any]) -> str:
    """Return a LawReview in words, once for a whole answer."""
    amounts = review.get("amounts", ())
    told = [
        review_text(each.get("charged_minor", 0), each.get("reviewed_minor", 0), each.get("currency", ""))
        for each in amounts
    ]
    references = review.get("references", 0)
    if references:
        told.append(f"{review.get('reviewed_references', 0)} of {references} references are reviewed.")
    return " ".join(told)


def at_least(answer: Mapping[str, Any]) -> str:
    """Return "at least " where the totals of a quote or a status are a lower bound, else nothing."""
    return "at least " if answer.get("lower_bound") else ""


def not_covered_text(answer: Mapping[str, Any]) -> str:
    """Return why totals are a lower bound; nothing where they are not."""
    if not answer.get("lower_bound"):
        return ""
    what = ", ".join(answer.get("not_covered", ())) or "something that the law at hand does not hold"
    return f"Not computed and perhaps owed as well: {what}."

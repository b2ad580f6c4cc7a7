"""Texts about the part of an answer that rests on reviewed law, and about totals that are lower bounds."""

from collections.abc import Mapping
from typing import Any

from libs.cli.views.text import money

UNKNOWN = "It is not recorded how much of the applied law was reviewed."


def share_text(part: int, whole: int) -> str:
    """Return a part of a whole in per cent, rounded down to a tenth. 0 % and 100 % are exact.

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
        return "Nothing is charged, so no amount rests on reviewed law."
    return f"{money(reviewed, currency)} of {money(charged, currency)} ({share_text(reviewed, charged)}) rest on reviewed law."


def answer_text(review: Mapping[str, Any]) -> str:
    """Return a LawReview in words, once for a whole answer."""
    amounts = review.get("amounts", ())
    sentences = [
        review_text(each.get("charged_minor", 0), each.get("reviewed_minor", 0), each.get("currency", ""))
        for each in amounts
    ]
    references = review.get("references", 0)
    if references:
        sentences.append(f"{review.get('reviewed_references', 0)} of {references} references are reviewed.")
    return " ".join(sentences)


def at_least(answer: Mapping[str, Any]) -> str:
    """Return "at least " if the totals of a quote or a status are a lower bound, otherwise an empty text."""
    return "at least " if answer.get("lower_bound") else ""


def not_covered_text(answer: Mapping[str, Any]) -> str:
    """Return why totals are a lower bound; an empty text if they are not."""
    if not answer.get("lower_bound"):
        return ""
    charges = ", ".join(answer.get("not_covered", ())) or "charges that the included law does not cover"
    return f"Perhaps also owed, and not computed: {charges}."

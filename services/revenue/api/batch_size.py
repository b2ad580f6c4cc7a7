"""How much a call of revenue's edge may bring."""

from __future__ import annotations

from libs.server.errors import Refusal


def check_count(count: int, count_max: int) -> None:
    """Raise Refusal for a batch of nothing, or of more than is taken."""
    if not count:
        raise Refusal("BATCH_EMPTY", count_max=count_max)
    if count > count_max:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=count_max)

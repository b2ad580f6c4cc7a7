"""Bounds of the batches that callers of revenue send."""

from __future__ import annotations

from libs.server.errors import Refusal


def check_batch_size(count: int, count_max: int) -> None:
    """Raise Refusal for an empty batch, or one of more than `count_max`."""
    if not count:
        raise Refusal("BATCH_EMPTY", count_max=count_max)
    if count > count_max:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=count_max)

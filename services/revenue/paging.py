"""Places in the lists of revenue's edge, and how much of one a call may bring."""

from __future__ import annotations

import base64

from libs.server.errors import Refusal


def check_count(count: int, count_max: int) -> None:
    """Raise Refusal for a batch of nothing, or of more than is taken."""
    if not count:
        raise Refusal("BATCH_EMPTY", count_max=count_max)
    if count > count_max:
        raise Refusal("BATCH_TOO_LARGE", count=count, count_max=count_max)


def token_of(*parts: object) -> str:
    """Give a place as a page token."""
    return base64.urlsafe_b64encode("\n".join(map(str, parts)).encode()).decode()


def parts_of(token: str, count: int) -> list[str]:
    """Read the parts of a page token. Raises Refusal."""
    try:
        parts = base64.urlsafe_b64decode(token).decode().split("\n")
    except ValueError:
        parts = []
    if len(parts) != count:
        raise Refusal("PAGE_TOKEN_MALFORMED", path="page_token")
    return parts


def whole(parts: list[str]) -> list[int]:
    """Read parts of a page token that are whole numbers. Raises Refusal."""
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise Refusal("PAGE_TOKEN_MALFORMED", path="page_token")
    return [int(part) for part in parts]


def numbers_of(token: str, count: int) -> list[int]:
    """Read a page token of whole numbers alone. Raises Refusal."""
    return whole(parts_of(token, count))

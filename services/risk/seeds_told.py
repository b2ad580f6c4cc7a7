"""Which seeds of the draws are told: what is published of each, and the seed itself once its day is long past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.server.errors import Refusal
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.selection.draws import MadeSeed, commitment

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
#: After every day that an MRN can tell.
_END: Final = 2**31 - 1


def asked_page(request: pb.ListSeedsRequest) -> tuple[int, int]:
    """Before which day seeds are asked for, and how many at most. Raises Refusal."""
    token = request.page_token
    if token and not (token.isascii() and token.isdigit() and int(token) <= _END):
        raise Refusal("PAGE_TOKEN_MALFORMED", path="page_token")
    return int(token) if token else _END, min(request.page_size or PAGE_DEFAULT, PAGE_MAX)


def told_page(found: Sequence[MadeSeed], rows: int, told_after_days: int) -> pb.ListSeedsResponse:
    """A page of seeds, the latest first, of which each is told when its day ended `told_after_days` ago.

    `found` has one more than the `rows` that are told where there is a next page.
    """
    page = found[:rows]
    return pb.ListSeedsResponse(
        seeds=[_told(each, told_after_days) for each in page],
        next_page_token=str(page[-1].day) if len(found) > rows else "",
    )


def _told(made: MadeSeed, told_after_days: int) -> pb.DrawSeed:
    told_from = made.day + 1 + told_after_days
    at = Timestamp()
    at.FromMicroseconds(made.made_at)
    return pb.DrawSeed(
        day=made.day,
        commitment=commitment(made.seed),
        made_at=at,
        seed=made.seed if made.today >= told_from else b"",
        told_from_day=told_from,
    )

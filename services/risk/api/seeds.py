"""Which seeds of the draws are told: what is published of each, and the seed itself once its day is long past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.selection.draws import MadeSeed, commitment

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
#: After every day that an MRN can tell.
END: Final = 2**31 - 1


def seeds_page(page: Sequence[MadeSeed], published_after_days: int, token: str) -> pb.ListSeedsResponse:
    """A page of seeds, the latest first, of which each is told when its day ended `told_after_days` ago."""
    return pb.ListSeedsResponse(
        seeds=[_seed_message(each, published_after_days) for each in page], next_page_token=token
    )


def _seed_message(made: MadeSeed, published_after_days: int) -> pb.DrawSeed:
    published_from = made.day + 1 + published_after_days
    at = Timestamp()
    at.FromMicroseconds(made.made_at)
    return pb.DrawSeed(
        day=day_text(made.day),
        commitment=commitment(made.seed),
        made_at=at,
        seed=made.seed if made.today >= published_from else b"",
        published_from_day=day_text(published_from),
    )

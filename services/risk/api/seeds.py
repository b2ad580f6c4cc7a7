"""Pages of the seeds of the draws: each with its commitment, and the seed itself from the day of its publication on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.selection.draws import MadeSeed, commitment

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
#: Later than every day that an MRN can state.
END: Final = 2**31 - 1


def seeds_page(page: Sequence[MadeSeed], published_after_days: int, token: str) -> pb.ListSeedsResponse:
    """Return a page of seeds, the latest first; a seed itself is included if its day ended `published_after_days` ago."""
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

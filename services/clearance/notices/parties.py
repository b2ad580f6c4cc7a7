"""What parties other than the filer are notified of: the parts that they are to file. Pure.

A party reads its role, the link, the filer and the last day, which are what it needs to file its part, and nothing else of the consignment.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.customs.time import day_text
from libs.filing_stages.law import ROLES_BY_DOCUMENT
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.state.awaited_parts import AwaitedPart, notified_parts


def is_foreign(states: Table, filer: str) -> NDArray[np.bool_]:
    """Return which versions in the notices of a filer are of declarations of others, shape (n,): it is notified of them as a party."""
    return ~states.strings("filer").isin({filer})


def party_notices(states: Table, party: str, last_days: Iterable[int]) -> list[list[pb.Notice]]:
    """Return what a party is notified of with each version, one notice of a part; `last_days` are those of the declarations, since 1970-01-01 UTC."""
    filers, times = states.strings("filer").tolist(), states.ints("changed_at").values.tolist()
    found: list[list[pb.Notice]] = []
    for some, filer, at, last_day in zip(notified_parts(states), filers, times, last_days, strict=True):
        found.append([_notice(each, filer, at, last_day) for each in some if each.party == party])
    return found


def _notice(part: AwaitedPart, filer: str, at: int, last_day: int) -> pb.Notice:
    notice = pb.Notice(kind=pb.NOTICE_KIND_PART_MISSING)
    notice.time.FromMicroseconds(at)
    awaited = notice.awaited_part
    awaited.role, awaited.consignment_filer, awaited.last_day = part.role, filer, day_text(last_day)  # type: ignore[assignment]  # a number of the enumeration
    if part.role in ROLES_BY_DOCUMENT:
        awaited.house_document.carrier_identifier, awaited.house_document.number = part.issuer, part.number
    else:
        awaited.order.platform, awaited.order.number = part.issuer, part.number
    return notice

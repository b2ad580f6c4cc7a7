"""Questions about goods: may they be sent, and which documents do they need?"""

from collections.abc import Iterable
from typing import Any

from libs.client.client import Client
from libs.client.plain import plain
from luxor.risk.v1.risk_pb2 import GoodsLine


async def check(client: Client, lines: Iterable[GoodsLine], *, as_of: int) -> dict[str, Any]:
    """Return the answers as plain values; `as_of` is the day of acceptance assumed, microseconds since 1970."""
    return plain(await client.check_goods(lines, as_of=as_of))

"""Questions about goods: may they be sent, which documents do they need, and which codes do they have?"""

from collections.abc import Iterable, Sequence
from typing import Any

from libs.client.client import Client
from libs.client.plain import plain
from luxor.risk.v1.risk_pb2 import DescribedGoods, GoodsLine


async def check(client: Client, lines: Iterable[GoodsLine], *, as_of: int) -> dict[str, Any]:
    """Return the answers as plain values; `as_of` is the day of acceptance assumed, microseconds since 1970."""
    return plain(await client.check_goods(lines, as_of=as_of))


async def suggest_codes(client: Client, descriptions: Sequence[str], declared_code: str = "") -> dict[str, Any]:
    """Return the version of the model, and for each description the suggested codes and the check of the declared code.

    A probability of None is unknown; `reason` says why a line has no answer, "" if it has one.
    """
    answer = await client.suggest_codes(
        DescribedGoods(description=description, declared_code=declared_code) for description in descriptions
    )
    return {
        "model": answer.model,
        "descriptions": [
            {
                "description": description,
                "suggestions": [{"code": one.code, "probability": one.probability} for one in each.suggestions],
                "declared": each.declared_probability if each.HasField("declared_probability") else None,
                "warning": each.warning,
                "reason": each.reason,
                "hint": each.hint,
            }
            for description, each in zip(descriptions, answer.answers, strict=True)
        ],
    }

"""Rulebooks are found by their jurisdiction and by the countries in which they hold."""

from typing import Any

import pytest

from libs.client.revenue.rulebooks import rulebooks
from luxor.revenue.v1.revenue_pb2 import ListRulebooksResponse, Rulebook

LOADED = ListRulebooksResponse(
    rulebooks=[
        Rulebook(jurisdiction="EU", areas=["DE", "FR"], values=5, unverified_values=2),
        Rulebook(jurisdiction="UK", areas=["GB"], values=7),
    ]
)


class Loaded:
    async def rulebooks(self) -> ListRulebooksResponse:
        return LOADED


@pytest.mark.parametrize(
    ("asked", "found", "values"),
    [("", ["EU", "UK"], 12), ("EU", ["EU"], 5), ("fr", ["EU"], 5), ("GB", ["UK"], 7), ("uk", ["UK"], 7), ("E", [], 0), ("QX", [], 0)],
)  # fmt: skip
async def test_a_rulebook_is_found_by_jurisdiction_or_country(asked: str, found: list[str], values: int) -> None:
    client: Any = Loaded()
    told = await rulebooks(client, asked)
    assert [book["jurisdiction"] for book in told["rulebooks"]] == found
    assert told["totals"]["values"] == values

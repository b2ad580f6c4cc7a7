"""The client library over a channel of a test's service."""

from __future__ import annotations

from typing import Any, cast

from libs.client.client import Client
from tests.revenue.ledger.service_client import SECONDS
from tests.support.services import Running


class _Caller:
    def __init__(self, channel: Any) -> None:
        self._channel = channel

    async def ask(self, _: str, stub: Any, method: str, request: Any, *__: object) -> Any:
        return await getattr(stub(self._channel), method)(request, timeout=SECONDS)


async def client_of(house: Running, role: str = "analyst", ident: str = "analyst-1") -> Client:
    """What makes calls of one caller, as the client library makes them."""
    return cast(Client, _Caller(await house.channel(role, ident)))

"""The pages of a call that lists."""

import copy
from collections.abc import AsyncIterator
from typing import Any

from libs.client.client import Answer, Client


async def pages(
    client: Client, service: str, stub: Any, method: str, request: Any, kind: type[Answer]
) -> AsyncIterator[Answer]:
    """Yield the answers of a call, from the page of the request to the last."""
    while True:
        answer: Any = await client.ask(service, stub, method, request, kind)
        yield answer
        if not answer.next_page_token:
            return
        request = copy.deepcopy(request)
        request.page_token = answer.next_page_token

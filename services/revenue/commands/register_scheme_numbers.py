"""Put scheme numbers into the register or change them, once per request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from libs.server.requests import once
from libs.store.database import Transaction
from luxor.revenue.v1 import schemes_pb2 as pb
from services.revenue.assessment.scheme_register import SchemeEntry
from services.revenue.store.schemes import SchemeStore


async def register_scheme_numbers(
    store: SchemeStore,
    request: pb.RegisterSchemeNumbersRequest,
    entries: Sequence[SchemeEntry],
    by: str,
    answer: Callable[[Mapping[tuple[int, str], bool]], pb.RegisterSchemeNumbersResponse],
    committed: Callable[[pb.RegisterSchemeNumbersResponse], None],
) -> pb.RegisterSchemeNumbersResponse:
    """Store the entries of a request, each number at most once; return its answer, or the stored one of a repeated request.

    `answer` gets the numbers that changed, each with whether it is new; `committed` is called with a new answer after the commit.
    Raises Refusal.
    """

    async def work(tx: Transaction) -> pb.RegisterSchemeNumbersResponse:
        response = answer(await store.put(tx, entries, by) if entries else {})
        tx.after_commit(lambda: committed(response))
        return response

    return await once(store.database, pb.RegisterSchemeNumbersResponse, request, work)

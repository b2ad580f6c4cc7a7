"""Record the payments or payouts of a request, and store its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from libs.server.requests import Answer, store_answer
from libs.store.database import Database

M = TypeVar("M", contravariant=True)
R = TypeVar("R", covariant=True)


class Recorder(Protocol[M, R]):
    """Books money by the bank's ids: `Payments` or `Payouts`."""

    async def record(self, money: Sequence[M], by: str, request: str = "") -> Sequence[R]:
        """Post what is not booked yet; return what became of each."""
        ...


async def record(
    database: Database,
    request: Any,
    recorder: Recorder[M, R],
    money: Sequence[M],
    by: str,
    answer: Callable[[Sequence[R]], Answer],
) -> Answer:
    """Post the payments or payouts of a request and return its answer, or the stored answer if there is one. Raise Refusal.

    They are booked in transactions of their own. What became of each is stored by its id until the answer is stored as a whole.
    """
    return await store_answer(database, request, answer(await recorder.record(money, by, request.request_id)))

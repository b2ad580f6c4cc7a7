"""The gRPC edge of the register of scheme numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import grpc.aio

from libs.server import call
from libs.server.errors import item_error
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of, recalled
from libs.telemetry import counter
from luxor.revenue.v1 import schemes_pb2 as pb
from luxor.revenue.v1.schemes_pb2_grpc import SchemeServiceServicer
from services.revenue.api.batch_size import check_batch_size
from services.revenue.assessment.scheme_register import RejectedEntry, SchemeEntry, entry_message, read_entry
from services.revenue.commands.register_scheme_numbers import register_scheme_numbers
from services.revenue.law.program.scheme_numbers import SchemeForm
from services.revenue.store.schemes import ActiveSchemes, SchemeStore

NUMBERS_MAX: Final = 1_000
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000

_registered = counter(
    "luxor_revenue_scheme_numbers_registered_total",
    "Scheme numbers submitted for the register, by result",
    ("outcome",),
)


class SchemeService(SchemeServiceServicer):
    """Keeps the register and tells it."""

    def __init__(self, active_schemes: ActiveSchemes, forms: Callable[[], Mapping[int, Sequence[SchemeForm]]]) -> None:
        """Serve from the store of what is in force here, which is brought up to date after each change; `forms` of the law in force."""
        self._store: SchemeStore = active_schemes.store
        self._active_schemes = active_schemes
        self._pages = PageTokens(self._store.database)
        self._forms = forms

    async def RegisterSchemeNumbers(
        self, request: pb.RegisterSchemeNumbersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RegisterSchemeNumbersResponse:
        """Register numbers or change them, once per request; each has its own result."""
        before = await recalled(self._store.database, pb.RegisterSchemeNumbersResponse, request)
        if before is not None:
            return before
        check_batch_size(len(request.numbers), NUMBERS_MAX)
        forms = self._forms()
        read = [read_entry(each, forms) for each in request.numbers]
        seen: set[tuple[int, str]] = set()
        for place, each in enumerate(read):
            if isinstance(each, SchemeEntry):
                if each.key in seen:
                    read[place] = RejectedEntry("SCHEME_NUMBER_REPEATED", "number", each.number)
                seen.add(each.key)
        who = str(call.current().identity)

        def answer(changed: Mapping[tuple[int, str], bool]) -> pb.RegisterSchemeNumbersResponse:
            return pb.RegisterSchemeNumbersResponse(
                results=[_result(place, each, changed) for place, each in enumerate(read)]
            )

        entries = [each for each in read if isinstance(each, SchemeEntry)]
        response = await register_scheme_numbers(self._store, request, entries, who, answer, _count)
        await self._active_schemes.look()
        return response

    async def ListSchemeNumbers(
        self, request: pb.ListSchemeNumbersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListSchemeNumbersResponse:
        """Return a page of the register."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        if request.HasField("changed_after"):
            return await self._changes(request, limit)
        number = request.number
        after = await self._pages.place(request, (0, ""))
        found = await self._store.page(after, int(request.scheme), number, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        token = await self._pages.token(request, int(last.scheme), last.number) if last else ""
        return pb.ListSchemeNumbersResponse(numbers=map(entry_message, found[:limit]), next_page_token=token)

    async def _changes(self, request: pb.ListSchemeNumbersRequest, limit: int) -> pb.ListSchemeNumbersResponse:
        """Return a page of the register in the order of changes."""
        (after,) = await self._pages.place(request, (request.changed_after,))
        found, changes = await self._store.page_of_changes(after, int(request.scheme), request.number, limit + 1)
        last = changes[:limit][-1] if changes else after
        token = await self._pages.token(request, last) if len(found) > limit else ""
        numbers = map(entry_message, found[:limit])
        return pb.ListSchemeNumbersResponse(numbers=numbers, next_page_token=token, last_change=last)


def _result(
    place: int, read: SchemeEntry | RejectedEntry, changed: Mapping[tuple[int, str], bool]
) -> pb.SchemeNumberResult:
    if isinstance(read, RejectedEntry):
        error = item_error(read.reason, path=f"numbers[{place}].{read.element}", value=read.value)
        return pb.SchemeNumberResult(outcome=pb.SCHEME_NUMBER_OUTCOME_REFUSED, error=error)
    new = changed.get(read.key)
    if new is None:
        return pb.SchemeNumberResult(outcome=pb.SCHEME_NUMBER_OUTCOME_KNOWN)
    return pb.SchemeNumberResult(
        outcome=pb.SCHEME_NUMBER_OUTCOME_REGISTERED if new else pb.SCHEME_NUMBER_OUTCOME_CHANGED
    )


def _count(response: pb.RegisterSchemeNumbersResponse) -> None:
    for each in response.results:
        name = pb.SchemeNumberOutcome.Name(each.outcome).removeprefix("SCHEME_NUMBER_OUTCOME_").lower()
        _registered.labels(name).inc()

"""The gRPC service of the journal."""

from __future__ import annotations

from typing import Any, Final

import grpc.aio

from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import day_of_text, page_size_of
from libs.store.database import Database
from luxor.revenue.v1 import journal_pb2 as pb
from luxor.revenue.v1.journal_pb2_grpc import JournalServiceServicer
from services.revenue.api.ledger import check_days
from services.revenue.api.ledger_messages import entry_message
from services.revenue.ledger.page import PageError
from services.revenue.store.ledger.names import Names
from services.revenue.store.proofs.chain import Chain
from services.revenue.store.proofs.journal import Journal, JournalPlace

ENTRIES_MAX: Final = 1_000


class JournalService(JournalServiceServicer):
    """Serves JournalService."""

    def __init__(self, database: Database, names: Names) -> None:
        """Serve from the ledger's database."""
        self._pages = PageTokens(database)
        self._journal = Journal(database, Chain(database, names))

    async def ListJournal(
        self, request: pb.ListJournalRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListJournalResponse:
        """Return the entries of some days by day, partition and number."""
        limit = page_size_of(request.page_size, ENTRIES_MAX, ENTRIES_MAX)
        first, last = (day_of_text(getattr(request, name), name) for name in ("from_day", "to_day"))
        check_days(first, last)
        after = JournalPlace(*await self._pages.place(request, (first, -1, 0)))
        try:
            entries = await self._journal.page(after, last, rows_max=limit)
        except PageError as error:
            raise Refusal("LEDGER_PAGE_ALTERED", why=str(error)) from error
        end = entries[-1] if len(entries) == limit else None
        token = await self._pages.token(request, end.day, end.partition, end.number) if end is not None else ""
        return pb.ListJournalResponse(entries=map(entry_message, entries), next_page_token=token)

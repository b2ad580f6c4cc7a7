"""luxor.feed.v1.DeadLetterService: a consumer's edge for looking at its dead letters and having them replayed."""

import hashlib
from typing import Any, Final

from libs.server import call as calls
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import page_size_of
from libs.store.database import Database
from libs.store.tables.requests import RequestLog, RequestReused
from luxor.feed.v1 import dead_letters_pb2, dead_letters_pb2_grpc

PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
CHOSEN_MAX: Final = 1_000

_MICROS: Final = "coalesce((extract(epoch from {}) * 1000000)::bigint, 0)"
_WHERE: Final = "($1 = '' or source = $1) and ($2 = '' or key = $2) and ($3 = '' or reason = $3)"
_LIST: Final = f"""
    select id, source, partition, key, schema, schema_version, reason, message, tries, committed_at, traceparent, replay,
        {_MICROS.format("set_aside_at")} as set_aside_at, {_MICROS.format("tried_at")} as tried_at,
        case when $6 then payload else ''::bytea end as payload
    from dead_letter where {_WHERE} and id > $4 order by id limit $5
"""  # noqa: S608  # texts of our own
_COUNT: Final = f"select count(*) from dead_letter where {_WHERE}"  # noqa: S608
_REPLAY: Final = """
    with marked as (
        update dead_letter d set replay = true
        from (
            select distinct source, partition, key from dead_letter
            where ($1 = '' or source = $1) and ($2 or id = any($3::bigint[]) or key = any($4::text[]))
        ) chosen
        where d.source = chosen.source and d.partition = chosen.partition and d.key = chosen.key
        returning d.source, d.partition, d.key
    )
    select count(*) as letters, count(distinct (source, partition, key)) as keys from marked
"""


class DeadLetterServicer(dead_letters_pb2_grpc.DeadLetterServiceServicer):
    """Serves the dead letters of all feeds that a service consumes. Its database needs libs.store's `request_log` and `page_key` too."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._requests = RequestLog()
        self._pages = PageTokens(database)

    async def ListDeadLetters(
        self, request: dead_letters_pb2.ListDeadLettersRequest, context: Any
    ) -> dead_letters_pb2.ListDeadLettersResponse:
        """Return a page of letters by ascending id."""
        size = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        filters = (request.source, request.key, request.reason)
        (begin,) = await self._pages.place(request, (0,))
        async with self._database.connection() as reading:
            total = await reading.raw.fetchval(_COUNT, *filters)
            rows = await reading.raw.fetch(_LIST, *filters, begin, size + 1, request.with_payload)
        letters = [
            dead_letters_pb2.DeadLetter(
                id=row["id"],
                source=row["source"],
                partition=row["partition"],
                key=row["key"],
                schema=row["schema"],
                schema_version=row["schema_version"],
                reason=row["reason"],
                message=row["message"],
                tries=row["tries"],
                committed_at_micros=row["committed_at"],
                set_aside_at_micros=row["set_aside_at"],
                tried_at_micros=row["tried_at"],
                traceparent=row["traceparent"],
                replaying=row["replay"],
                payload=row["payload"],
            )
            for row in rows[:size]
        ]
        following = await self._pages.token(request, letters[-1].id) if len(rows) > size else ""
        return dead_letters_pb2.ListDeadLettersResponse(letters=letters, next_page_token=following, total=total)

    async def ReplayDeadLetters(
        self, request: dead_letters_pb2.ReplayDeadLettersRequest, context: Any
    ) -> dead_letters_pb2.ReplayDeadLettersResponse:
        """Mark letters, and with them all letters of their keys; the consumer does the work."""
        chosen = [bool(request.ids), bool(request.keys), request.all]
        if sum(chosen) != 1 or len(request.ids) > CHOSEN_MAX or len(request.keys) > CHOSEN_MAX:
            raise Refusal("LETTERS_NOT_CHOSEN", path="ids")
        call = calls.current_or_none()
        caller = f"{call.identity.role}/{call.identity.id}" if call is not None else "local"
        content = dead_letters_pb2.ReplayDeadLettersRequest()
        content.CopyFrom(request)
        content.ClearField("request_id")
        digest = hashlib.sha256(content.SerializeToString(deterministic=True)).digest()
        request_id = request.request_id or (call.request_id if call is not None else "")
        try:
            async with self._database.transaction() as tx:
                told = await self._requests.recall(tx, caller, request_id, digest)
                if told is not None:
                    return dead_letters_pb2.ReplayDeadLettersResponse.FromString(told)
                row = await tx.raw.fetchrow(_REPLAY, request.source, request.all, list(request.ids), list(request.keys))
                answer = dead_letters_pb2.ReplayDeadLettersResponse(letters=row["letters"], keys=row["keys"])
                await self._requests.remember(tx, caller, request_id, digest, answer.SerializeToString())
                return answer
        except RequestReused as error:
            raise Refusal("REQUEST_REUSED", path="request_id", value=request_id) from error

"""What was answered under a `request_id`, so that a repeated request gets its first answer and changes nothing.

In the transaction that does the work:

    answer = await log.recall(tx, caller, request_id, digest)
    if answer is None:
        ...do the work...
        await log.remember(tx, caller, request_id, digest, answer)

`recall` puts a row without an answer there. An equal request that runs at the same time waits at its own `recall` for
this transaction's end: after a commit it gets the answer, after a rollback it does the work itself.
"""
# ruff: noqa: S608 (only names and expressions of our own enter a statement's text; values are arguments)

from collections.abc import Callable
from typing import Final

from libs.store.database import Database, Transaction
from libs.store.errors import StoreError, StoreMisuse, StoreUnavailable
from libs.store.tables.schema import TODAY

IDENTIFIER_BYTES_MAX: Final = 512
PURGE_ROWS_MAX: Final = 2_000


class RequestReused(StoreError):
    """The caller sent other content under a `request_id` that it had used before; `request_id` names it."""

    def __init__(self, request_id: str, *, database: str) -> None:
        super().__init__("the request_id was used before with other content; take a new one", database=database)
        self.request_id = request_id


class RequestLog:
    """The table `request_log` (`libs.store.tables.schema.create_request_log`)."""

    async def recall(
        self,
        tx: Transaction,
        caller: str,
        request_id: str,
        digest: bytes,
        *,
        other_form: Callable[[], bytes] | None = None,
    ) -> bytes | None:
        """The answer given before, or None where the work is this transaction's to do.

        `digest` stands for the request's content; `other_form` computes it in the form that another release stores. Raises
        `RequestReused` where the first one's is neither.
        """
        for name, value in (("caller", caller), ("request_id", request_id)):
            if not 0 < len(value.encode()) <= IDENTIFIER_BYTES_MAX:
                raise StoreMisuse(f"{name} must have 1 to {IDENTIFIER_BYTES_MAX} bytes", database=tx.database)
        for _ in range(2):  # once more where a purge took the row between the two statements
            new = await tx.raw.fetchval(
                f"insert into request_log (caller, request_id, digest, day) values ($1, $2, $3, {TODAY}) "
                "on conflict do nothing returning true",
                caller,
                request_id,
                digest,
            )
            if new:
                return None
            row = await tx.raw.fetchrow(
                "select digest, answer from request_log where caller = $1 and request_id = $2 for update",
                caller,
                request_id,
            )
            if row is not None:
                if row["digest"] != digest and (other_form is None or row["digest"] != other_form()):
                    raise RequestReused(request_id, database=tx.database)
                answer: bytes | None = row["answer"]
                return answer
        raise StoreUnavailable(
            f"database {tx.database}: the request's row is being purged", reason="lock", database=tx.database
        )

    async def is_begun(self, tx: Transaction, caller: str, request_id: str) -> bool:
        """Return whether an earlier transaction took the work on and stored no answer; ask before `recall`.

        For work of several transactions, of which others may complete the later ones.
        """
        begun = "select true from request_log where caller = $1 and request_id = $2 and answer is null"
        return bool(await tx.raw.fetchval(begun, caller, request_id))

    async def look(self, reader: Transaction, caller: str, request_id: str, digest: bytes) -> bytes | None:
        """The answer given before, without waiting for anybody and without taking the work on; None where there is none yet.

        For work that is to be checked before its transaction: a repeat is answered first. Raises `RequestReused`.
        """
        row = await reader.raw.fetchrow(
            "select digest, answer from request_log where caller = $1 and request_id = $2", caller, request_id
        )
        if row is None:
            return None
        if row["digest"] != digest:
            raise RequestReused(request_id, database=reader.database)
        answer: bytes | None = row["answer"]
        return answer

    async def remember(self, tx: Transaction, caller: str, request_id: str, digest: bytes, answer: bytes) -> None:
        """Keeps the answer, in the transaction that did the work. Raises `RequestReused` where other content has the
        id."""
        kept = await tx.raw.execute(
            "insert into request_log as kept (caller, request_id, digest, answer, day) values ($1, $2, $3, $4, "
            f"{TODAY}) "
            "on conflict (caller, request_id) do update set answer = excluded.answer where kept.digest = "
            "excluded.digest",
            caller,
            request_id,
            digest,
            answer,
        )
        if kept != "INSERT 0 1":
            raise RequestReused(request_id, database=tx.database)

    async def purge(self, database: Database, before_day: int, *, rows_max: int = PURGE_ROWS_MAX) -> int:
        """Deletes what is older than `before_day`, `rows_max` rows a transaction; gives how many went."""
        return await purge_before(database, "request_log", before_day, rows_max=rows_max)


async def purge_before(database: Database, table: str, before_day: int, *, rows_max: int, counted: str = "1") -> int:
    """Delete the rows of a partitioned table with `day < before_day`, at most `rows_max` in each transaction.

    Return how many there were, or the sum of the expression `counted` over them. A part without a page has no row: it costs nothing.
    """
    async with database.connection() as reader:
        parts = await reader.raw.fetch(
            "select inhrelid::regclass::text as part from pg_inherits "
            "where inhparent = to_regclass($1) and pg_relation_size(inhrelid) > 0",
            table,
        )
    purged = 0
    for row in parts:
        while True:
            async with database.transaction() as tx:
                deleted = await tx.raw.fetchrow(
                    f"with old as (delete from {row['part']} where ctid = any(array("
                    f"select ctid from {row['part']} where day < $1 limit $2 for update skip locked)) returning {counted} as counted) "
                    "select count(*) as rows, coalesce(sum(counted), 0)::bigint as counted from old",
                    before_day,
                    rows_max,
                )
            purged += deleted["counted"]
            if deleted["rows"] < rows_max:
                break
    return purged

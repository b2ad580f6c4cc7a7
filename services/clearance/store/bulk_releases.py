"""How far bulk releases have come that are not complete, by request."""

from libs.store.database import Transaction
from libs.store.tables.schema import TODAY


class BulkReleases:
    """The table of bulk releases under way."""

    async def progress(self, tx: Transaction, caller: str, request_id: str) -> bytes:
        """Return what the last transaction of a request stored; empty if there is none."""
        stored: bytes | None = await tx.raw.fetchval(
            "select progress from bulk_release where caller = $1 and request_id = $2", caller, request_id
        )
        return stored or b""

    async def store(self, tx: Transaction, caller: str, request_id: str, progress: bytes) -> None:
        """Store how far a request has come."""
        await tx.raw.execute(
            f"insert into bulk_release (caller, request_id, day, progress) values ($1, $2, {TODAY}, $3) "  # noqa: S608  # an expression of our own
            "on conflict (caller, request_id) do update set progress = excluded.progress",
            caller,
            request_id,
            progress,
        )

    async def delete(self, tx: Transaction, caller: str, request_id: str) -> None:
        """Delete what is stored of a request that is complete."""
        await tx.raw.execute("delete from bulk_release where caller = $1 and request_id = $2", caller, request_id)

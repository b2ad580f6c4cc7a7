"""Whether a store whose disk was full has space again.

The server says "disk full" to who wrote, and a small write may succeed by luck right after. So it counts as full until
a write of some megabytes has found its place.
"""

from typing import Final

from libs.store.database import Database
from libs.store.errors import StoreMisuse, StoreUnavailable

SPACE_BYTES_MIN: Final = 4 * 1024 * 1024
"""What must find a place before work goes on: many batches, so that it does not stop again at once."""
_ROW_BYTES: Final = 8_000
_MILLIS_MAX: Final = 3_000


async def has_space(database: Database) -> bool:
    """Try a write of `SPACE_BYTES_MIN` that leaves nothing behind. Raises `StoreUnavailable` where the server is away.

    Where the account may not make temporary tables it is True: only the work itself can tell there.
    """
    try:
        async with database.transaction(timeout_millis=_MILLIS_MAX) as tx:
            # A row a page, stored as it is: pages are what a disk lacks. The message goes through the log of commits.
            await tx.raw.execute(
                "create temporary table luxor_space (filler text) on commit drop; "
                "alter table luxor_space alter column filler set storage plain"
            )
            await tx.raw.execute(
                "insert into luxor_space select repeat('x', $1) from generate_series(1, $2)",
                _ROW_BYTES,
                SPACE_BYTES_MIN // _ROW_BYTES + 1,
            )
            await tx.raw.execute("select pg_logical_emit_message(true, 'luxor.space', repeat('x', 65536))")
    except StoreMisuse:
        return True
    except StoreUnavailable as error:
        if error.reason == "disk_full":
            return False
        raise
    return True

"""Whether a store whose disk was full has space again.

The server says "disk full" to who wrote, and a small write may succeed by luck right after. So it counts as full until
a write of some megabytes has found its place.
"""

import os
from typing import Final
from urllib.parse import parse_qs, urlsplit

from libs.store.database import Database
from libs.store.errors import StoreMisuse, StoreUnavailable

SPACE_BYTES_MIN: Final = 4 * 1024 * 1024
"""Free space before work continues: for many batches, so that it does not stop again immediately."""
LOG_BYTES_MIN: Final = 16 * 1024 * 1024
"""One segment of PostgreSQL's log of commits: without room for it the server ends, and cannot recover."""
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


def is_full_here(url: str) -> bool:
    """Whether the disk is full of a server that is reached by a socket on this machine, as far as can be seen from here.

    A server that cannot write its log of commits is gone without a word, and this tells why. Of servers elsewhere
    nothing is known: False.
    """
    directory = parse_qs(urlsplit(url).query).get("host", [""])[0]
    if not directory.startswith("/"):
        return False
    try:
        state = os.statvfs(directory)
    except OSError:
        return False
    return state.f_bavail * state.f_frsize < LOG_BYTES_MIN

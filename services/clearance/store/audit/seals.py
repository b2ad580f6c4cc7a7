"""The seals over the chain of records."""

from collections.abc import Sequence
from typing import Final

from libs.chain.seals import SealTable
from libs.store.database import Database, Transaction
from services.clearance.store.audit.trail import DAYS_OF_NUMBERS

_STORED: Final = "select number, hash from audit_record where day = any($1::integer[]) and number = any($2::bigint[])"


class AuditSeals(SealTable):
    """The seals over the chain of records."""

    def __init__(self, database: Database) -> None:
        """Store them in a database."""
        super().__init__(database, "audit", chains=1, event="AUDIT_SEALED", entry="record", entries="records")

    async def stored(
        self, reader: Transaction, chain: int, after: int, last: int, numbers: Sequence[int]
    ) -> dict[int, bytes]:
        """Return the stored hashes of records by number, which are behind `after` and up to `last`."""
        days = [row["day"] for row in await reader.raw.fetch(DAYS_OF_NUMBERS, after, last)]
        return {row["number"]: bytes(row["hash"]) for row in await reader.raw.fetch(_STORED, days, list(numbers))}

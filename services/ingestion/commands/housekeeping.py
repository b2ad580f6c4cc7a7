"""Steps of housekeeping: serial numbers of days that are over, generations of references, and summaries that are not stored yet."""

from __future__ import annotations

from libs.feed.publish.outbox import Outbox
from libs.store.database import Database
from services.ingestion.metrics import parts as parts_counted
from services.ingestion.store import filings, submissions
from services.ingestion.store.parts import EXPIRED_AT_ONCE, PartStore
from services.ingestion.store.submissions import Unsummarized


async def drop_serials(database: Database) -> None:
    """Drop the sequences that gave serial numbers of days that are over."""
    async with database.transaction() as tx:
        await filings.drop_serials(tx)


async def rotate_generations(database: Database) -> None:
    """Make the generations of references ahead and drop those that bind no more, each in a transaction of its own."""
    async with database.transaction() as tx:
        old = await filings.make_generations(tx)
    for generation in old:
        async with database.transaction() as tx:
            await filings.drop_generation(tx, generation)


async def expire_parts(database: Database) -> None:
    """Let parts expire that waited for their consignment until their last day, and count them."""
    store, expired = PartStore(database), EXPIRED_AT_ONCE
    while expired == EXPIRED_AT_ONCE:
        async with database.transaction() as tx:
            expired = await store.expire(tx)
        parts_counted.labels("expired").inc(expired)


async def summarize_submission(database: Database, outbox: Outbox, submission: Unsummarized) -> None:
    """Store the summary of a submission of the release before, which stored none."""
    async with database.transaction() as tx:
        await submissions.summarize(tx, outbox, submission)

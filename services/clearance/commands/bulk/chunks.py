"""Carries out a request on the consignments of one transport in chunks.

Each chunk is a transaction that also stores how far the request has come. So a request that ended early, or whose COMMIT was not answered, continues
after the last committed chunk, and each consignment is changed once.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec

from libs.store.database import Transaction
from libs.store.tables.requests import RequestReused
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.transport import Position, Transport, consignments_after
from services.clearance.store import Store

CHUNK_ROWS: Final = 500
"""Consignments that one transaction changes: 1,000 take over 100 ms on a busy machine, which delays the feed."""


class ChunkProgress(msgspec.Struct, frozen=True):
    """How far a request has come. The next consignment is in `row` of the batch, or in the one after it if `row` is 0."""

    digest: str = ""
    """Stands for the content of the request; "" in what an earlier release stored."""
    document: str = ""
    day: int = 0
    batch: int = 0
    row: int = 0
    complete: bool = False
    consignments: int = 0


P = TypeVar("P", bound=ChunkProgress)
Chunk = Callable[[Transaction, Mapping[str, str], P], Awaitable[P]]
"""Carry out a request on a chunk: the document under which each MRN was found, and the progress after it; return the progress with its counts."""


async def run_in_chunks(
    store: Store,
    transport: Transport,
    carry_out: Chunk[P],
    *,
    first: P,
    request: Request,
    encode: Callable[[P], bytes],
    chunk_rows: int = CHUNK_ROWS,
    filer: str = "",
) -> bytes:
    """Carry out a request on the consignments of a transport, of a `filer` if one is named, once; return what `encode` made of the result.

    `first` is the progress before the first chunk. A call of the same request that runs at the same time, or ended early, continues this one: the
    stored progress counts. Raises RequestReused.
    """
    known: P | None = None
    digest = request.digest.hex()
    while True:
        if known is not None:
            place = Position(known.document, known.day, known.batch, known.row)
            documents, after = await consignments_after(store, transport, place, chunk_rows, filer)
            following = msgspec.structs.replace(known, **after._asdict(), complete=not after.document)
        async with store.database.transaction() as tx:
            # It locks the request, so that its chunks follow each other.
            before = await store.requests.recall(tx, *request.key)
            if before is not None:
                return before
            stored = await store.bulk_releases.progress(tx, request.caller, request.request_id)
            if stored and msgspec.json.decode(stored, type=ChunkProgress).digest not in ("", digest):
                # The log of requests forgets them earlier.
                raise RequestReused(request.request_id, database=tx.database)
            progress = msgspec.json.decode(stored, type=type(first)) if stored else first
            progress = msgspec.structs.replace(progress, digest=digest)
            if known is not None and progress == known:
                progress = await carry_out(tx, documents, following)
                if progress.complete:
                    answer = encode(progress)
                    await store.requests.remember(tx, *request.key, answer)
                    await store.bulk_releases.delete(tx, request.caller, request.request_id)
                    return answer
                stored = msgspec.json.encode(progress)
                await store.bulk_releases.store(tx, request.caller, request.request_id, stored)
        known = progress

"""File parts, once per request. Whether a consignment is there plays no role, so the answer says nothing of consignments of others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from libs.customs.time import day_text
from libs.server.errors import item_error
from libs.server.requests import once
from libs.store.database import Transaction
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.ingestion.v1 import parts_pb2 as pb
from services.ingestion.filing.findings import ERRORS_MAX
from services.ingestion.store.filings import MICROS_A_DAY
from services.ingestion.store.parts import (
    PARTS_A_DAY_MAX,
    PARTS_OF_LINK_MAX,
    WAIT_DAYS,
    NewPart,
    PartStore,
    StoredReference,
)


@dataclass(frozen=True, slots=True)
class PartContent:
    """A part of a request that is not refused for what it states."""

    reference: str
    role: int
    key: bytes
    consignment_filer: str
    content: bytes
    """The message of the consignment, cleaned."""
    content_digest: bytes

    def new(self) -> NewPart:
        """Return the part as it is stored."""
        stated = (str(self.role), self.key.hex(), self.consignment_filer, self.content_digest.hex())
        digest = sha256("|".join(stated).encode()).digest()
        return NewPart(self.reference, self.role, self.key, self.consignment_filer, self.content, digest)


class FileParts:
    """Files parts."""

    def __init__(self, store: PartStore, due: asyncio.Event) -> None:
        """Store parts; `due` is set after new ones."""
        self._store = store
        self._due = due

    async def run(
        self,
        request: pb.FilePartsRequest,
        filer: str,
        parts: Mapping[int, PartContent],
        errors: Mapping[int, Sequence[ItemError]],
        denials: Mapping[int, Sequence[ItemError]],
        committed: Callable[[int, int, int], None],
    ) -> pb.FilePartsResponse:
        """File parts by their places in the request; `errors` are those of the others, and warnings. Parts with
        `denials` are not filed, but have their receipt again where they were filed before.

        After the commit of a new answer `committed` is called with the number of parts that are new, were stored before, and are refused.
        Raises Refusal.
        """

        async def work(tx: Transaction) -> pb.FilePartsResponse:
            day, filed, now = await self._store.begin(tx, filer)
            stored = await self._store.references(tx, filer, [each.reference for each in parts.values()])
            counts = await self._store.counts_of_links(tx, filer, {each.key for each in parts.values()})
            receipts: dict[int, pb.PartReceipt] = {}
            refused: dict[int, ItemError] = {}
            added: list[NewPart] = []
            for place, each in parts.items():
                part, path = each.new(), f"parts[{place}]"
                before = stored.get(part.reference)
                if before is not None and before.digest != part.digest:
                    refused[place] = item_error("PART_REFERENCE_REUSED", f"{path}.reference", part.reference)
                elif before is not None:
                    receipts[place] = receipt_of(part.reference, before.filed_at)
                elif denials.get(place):
                    continue
                elif filed + len(added) >= PARTS_A_DAY_MAX:
                    refused[place] = item_error("PARTS_TOO_MANY", path, count_max=PARTS_A_DAY_MAX)
                elif counts.get(part.key, 0) >= PARTS_OF_LINK_MAX:
                    refused[place] = item_error("PARTS_OF_LINK_TOO_MANY", f"{path}.link", count_max=PARTS_OF_LINK_MAX)
                else:
                    added.append(part)
                    counts[part.key] = counts.get(part.key, 0) + 1
                    stored[part.reference] = StoredReference(part.digest, now)
                    receipts[place] = receipt_of(part.reference, now)
            await self._store.add(tx, filer, added, day, now)
            tx.after_commit(self._due.set)
            new, refusals = len(added), len(request.parts) - len(receipts)
            tx.after_commit(lambda: committed(new, len(receipts) - new, refusals))
            results = []
            for place in range(len(request.parts)):
                denied = () if place in receipts else denials.get(place, ())
                some = [*denied, *([refused[place]] if place in refused else []), *errors.get(place, ())][:ERRORS_MAX]
                results.append(pb.PartResult(receipt=receipts.get(place), errors=some))
            return pb.FilePartsResponse(results=results)

        return await once(self._store.database, pb.FilePartsResponse, request, work)


def receipt_of(reference: str, filed_at: int) -> pb.PartReceipt:
    """Return the receipt of a part; `filed_at` in microseconds since 1970-01-01 UTC."""
    receipt = pb.PartReceipt(reference=reference, last_day=day_text(filed_at // MICROS_A_DAY + WAIT_DAYS))
    receipt.filed_at.FromMicroseconds(filed_at)
    return receipt

"""Submit a batch of consignments: valid ones are accepted in one transaction, which also stores the request.

A repeated request gets its first answer; with other content it is refused (RequestReused).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from libs.columns import Table, digests
from libs.customs.partitions import partitions_of
from libs.feed.publish.backlog import Backlog
from services.ingestion.filing import validation
from services.ingestion.store.filings import Filing, Store, Taken


@dataclass(frozen=True, slots=True)
class Submitted:
    """The result of a batch."""

    checked: validation.Checked
    digests: Sequence[bytes] = ()
    """Digest of the content of each consignment."""
    filing: Filing | None = None
    """The valid consignments, each reference once; None if there is none."""
    places: dict[int, int] = field(default_factory=dict)
    """The place in the filing of each valid row of the batch."""
    taken: Taken | None = None
    """The result of the store for the filing."""
    answer: bytes = b""
    """The response as it is stored for a repeated request; empty if it is rebuilt from the stored references."""
    is_repeated: bool = False
    """Whether the request was answered before; then only its answer is known."""

    @property
    def accepted(self) -> int:
        """Return the number of consignments that were accepted now."""
        return 0 if self.taken is None else int(self.taken.fresh.sum())

    def is_reused(self, row: int) -> bool:
        """Return whether a valid row has the reference of another consignment, filed before or in the same batch."""
        assert self.filing is not None
        assert self.taken is not None
        place = self.places[row]
        return bool(self.taken.conflicts[place]) or self.digests[row] != self.filing.digests[place]

    @property
    def is_refused_in_part(self) -> bool:
        """Return whether any consignment of the batch was refused."""
        if self.checked.refused.any() or self.taken is None or self.taken.conflicts.any():
            return True
        is_each_once = self.filing is not None and len(self.filing.references) == len(self.places)
        return not is_each_once and any(map(self.is_reused, self.places))


class Submit:
    """Submits batches."""

    def __init__(self, store: Store, *, shift_micros: int = 0, backlog: Backlog | None = None) -> None:
        """Write to `store`; `shift_micros` moves the time of acceptance (for tests of other days), `backlog` counts accepted filings."""
        self._store = store
        self._shift_micros = shift_micros
        self._backlog = backlog

    async def run(
        self,
        filer: str,
        request_id: str,
        table: Table,
        *,
        trace: str,
        request_bytes: int,
        encode: Callable[[Submitted], bytes],
    ) -> Submitted:
        """Check a batch (ConsignmentColumns) and accept its valid consignments.

        `encode` serialises the response that is stored in the same transaction. Raises RequestReused.
        """
        checked = validation.check(table)
        # The same filing with other capital letters is a repeat, as before ids were stored as filed.
        own = digests(checked.table, exclude={validation.CARRIER_ID})
        whole = sha256(b"".join(own)).digest()
        filing, places = _filing(filer, checked, own)
        async with self._store.database.transaction() as tx:
            before = await self._store.requests.recall(tx, filer, request_id, whole)
            if before:
                return Submitted(checked, answer=before, is_repeated=True)
            taken = None
            if filing is not None:
                taken = await self._store.accept(tx, filing, trace=trace, shift_micros=self._shift_micros)
            submitted = Submitted(checked, own, filing, places, taken)
            if before is None:
                # An acceptance is rebuilt from its reference. A refusal may differ later, so its response is stored.
                if submitted.is_refused_in_part:
                    submitted = replace(submitted, answer=encode(submitted))
                await self._store.requests.remember(tx, filer, request_id, whole, submitted.answer)
        if taken is not None and submitted.accepted and self._backlog is not None:
            self._backlog.accepted(taken.xid, submitted.accepted, request_bytes)
        return submitted


def _filing(filer: str, checked: validation.Checked, own: Sequence[bytes]) -> tuple[Filing | None, dict[int, int]]:
    """Return a filing of the valid rows, each reference once, and the place in it of every valid row."""
    references = checked.table.strings("local_reference").tolist()
    first: dict[str, int] = {}
    places: dict[int, int] = {}
    rows: list[int] = []
    for row in np.flatnonzero(~checked.refused).tolist():
        place = first.setdefault(references[row], len(rows))
        if place == len(rows):
            rows.append(row)
        places[row] = place
    if not rows:
        return None, places
    names = [references[row] for row in rows]
    whole = len(rows) == checked.table.rows
    table = checked.table if whole else checked.table.take(np.asarray(rows, np.int64))
    filing = Filing(
        filer=filer,
        table=table,
        digests=[own[row] for row in rows],
        references=names,
        partitions=partitions_of(filer, names),
        countries=table.strings("destination_country").tolist(),
    )
    return filing, places

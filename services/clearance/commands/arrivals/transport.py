"""The consignments of one transport, in the order of its documents and of the batches in which they were filed."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from libs.feed.types import BatchRef
from libs.store.database import Transaction
from services.clearance.consignment.state.arrivals import arrival_numbers
from services.clearance.consignment.state.transport_numbers import travels_under, travels_under_each
from services.clearance.store import Store

_BATCHES_A_LOOK: Final = 32
_DOCUMENTS_A_LOOK: Final = 100


class Transport(NamedTuple):
    """Master documents or receptacles, or a conveyance with the time of its arrival in microseconds since 1970-01-01 UTC."""

    masters: tuple[str, ...]
    """Ascending; empty for all documents of the conveyance."""
    conveyance: str = ""
    arrived_from: int = 0
    arrived_before: int = 0


class Position(NamedTuple):
    """Where the next consignment is: in `row` of the batch, or in the batch after it if `row` is 0."""

    document: str = ""
    """Empty before the first document and after the last one."""
    day: int = 0
    batch: int = 0
    row: int = 0


async def consignments_after(
    store: Store, transport: Transport, place: Position, rows_max: int, filer: str = ""
) -> tuple[dict[str, str], Position]:
    """Return the MRNs from a place on, each with the document under which it was found, and the place after them.

    Batches in which no consignment is a `filer`'s are left out, if one is named. The states are read, so that inside a later transaction their
    batches come from memory.
    """
    documents: dict[str, str] = {}
    document, day, batch, row = place
    async with store.database.connection() as reading:
        following = await _documents_after(store, reading, transport, document)
        if not document:
            document = following.pop(0) if following else ""
        is_full = False
        while document and not is_full:
            # The batch in which the previous chunk ended is read again from its row on.
            after = BatchRef(day, batch - 1) if row else BatchRef(day, batch)
            batches = await store.references.under_master(
                reading, document, after, _BATCHES_A_LOOK, filers=[filer] if filer else ()
            )
            for ref, mrns in batches:
                begin = row if (ref.day, ref.id) == (day, batch) else 0
                end = min(len(mrns), begin + rows_max - len(documents))
                if not documents.keys().isdisjoint(mrns[begin:end]):
                    # Found by another number before: they are in the next chunk under this one.
                    is_full = True
                    break
                documents |= dict.fromkeys(mrns[begin:end], document)
                day, batch, row = ref.day, ref.id, end if end < len(mrns) else 0
                is_full = len(documents) >= rows_max
                if is_full:
                    break
            else:
                if len(batches) < _BATCHES_A_LOOK:
                    following = following or await _documents_after(store, reading, transport, document)
                    document = following.pop(0) if following else ""
                    day = batch = row = 0
        await store.states(reading, list((await store.find(reading, list(documents))).values()))
    return documents, Position(document, day, batch, row)


async def _documents_after(store: Store, tx: Transaction, transport: Transport, document: str) -> list[str]:
    """Return the next master documents of a transport; none after the last one."""
    if transport.masters:
        return [each for each in transport.masters if each > document]
    _, conveyance, first, before = transport
    return await store.arrivals.documents_after(tx, conveyance, first, before, document, _DOCUMENTS_A_LOOK)


def travels(states: Table, transport: Transport, documents: Mapping[str, str]) -> NDArray[np.bool_]:
    """Return which consignments belong to the transport: an amendment may have moved them, or another carrier's arrival may be theirs."""
    numbers = [documents[mrn] for mrn in states.strings("mrn").tolist()]
    found = travels_under_each(states, numbers)
    if len(transport.masters) > 1:
        # Goods under several of the numbers are those of the first.
        first = np.full(states.rows, "", object)
        for number in reversed(transport.masters):
            first[travels_under(states, {number})] = number
        found &= first == np.array(numbers, object)
    if not transport.masters:
        # What was reported by master document and by receptacle is in the conveyance once.
        found &= np.array(
            [own == each for own, each in zip(arrival_numbers(states).tolist(), numbers, strict=True)], np.bool_
        )
        arrived = states.ints("arrived_at")
        found &= states.strings("arrival_conveyance_reference").isin({transport.conveyance}) & arrived.valid
        found &= (arrived.values >= transport.arrived_from) & (arrived.values < transport.arrived_before)
    return found

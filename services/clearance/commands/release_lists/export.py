"""Writes release lists, page by page."""

import secrets
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from libs.customs.release_list import Entry, Header, Page, public_key_of
from services.clearance.commands.arrivals.transport import Position, Transport, consignments_after, travels
from services.clearance.release_lists.reconciliation import may_leave
from services.clearance.store import Store

PURPOSE: Final = b"release-list"
"""What the keys of lists are derived for, from those of page tokens."""


class ListProgress(NamedTuple):
    """How far a list has come."""

    serial: str = ""
    made_at: int = 0
    arrives_at: int = 0
    valid_until: int = 0
    key_number: int = 0
    page: int = 0
    line: int = 0
    digest: str = ""
    document: str = ""
    day: int = 0
    batch: int = 0
    row: int = 0


def new_serial(at: int) -> str:
    """Return the serial number of a list begun at an instant. It is drawn, so that a restored store uses none twice."""
    return f"RL-{at:X}-{secrets.token_hex(4).upper()}"


async def next_page(
    store: Store, transport: Transport, header: Header, seed: bytes, progress: ListProgress, rows_max: int
) -> tuple[Page, ListProgress | None]:
    """Return the page of a list after `progress`, signed, and the progress with it; None after the last page."""
    documents, place = await consignments_after(store, transport, Position(*progress[8:]), rows_max)
    async with store.database.connection() as reading:
        rows = await store.find(reading, list(documents))
        states = await store.states(reading, list(rows.values()))
    states = states.take(np.flatnonzero(travels(states, transport, documents)))
    columns = (
        states.strings("house_document_number").tolist(),
        states.strings("mrn").tolist(),
        states.ints("version").values.tolist(),
        may_leave(states, header.arrives_at).tolist(),
    )
    entries = [
        Entry(progress.line + place + 1, house or "", *rest)
        for place, (house, *rest) in enumerate(zip(*columns, strict=True))
    ]
    previous = bytes.fromhex(progress.digest) or header.digest
    page = Page(header, progress.page + 1, previous, entries, last=not place.document)
    page = replace(page, signature=page.sign(seed))
    if page.last:
        return page, None
    line = progress.line + len(entries)
    return page, ListProgress(*progress[:5], page.number, line, page.digest.hex(), *place)


def header_of(progress: ListProgress, conveyance: str, officer: str, seed: bytes) -> Header:
    """Return the header of a list that has begun."""
    serial, made_at, arrives_at, valid_until, key_number = progress[:5]
    return Header(serial, conveyance, made_at, arrives_at, valid_until, officer, key_number, public_key_of(seed))

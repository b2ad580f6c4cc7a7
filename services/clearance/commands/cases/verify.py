"""Replay the events of a case, and compare what they leave with what is stored."""

import asyncio
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.cases.case import CONSIGNMENTS_MAX, Case, CaseError, Replay
from services.clearance.store import Store

_EVENTS_A_READ: Final = 100
_MILLIS: Final = 20_000


async def is_consistent(store: Store, number: int) -> bool:
    """Return whether the events of a case lead to the case, the consignments and the attachments that are stored of it.

    One moment is read, so a change meanwhile is no inconsistency.
    """
    replay = Replay(number)
    async with store.database.connection(snapshot=True, timeout_millis=_MILLIS) as reading:
        case = (await store.cases.find(reading, [number])).get(number, Case(number))
        members = {mrn for mrn, _, _ in await store.cases.consignments(reading, number, "", CONSIGNMENTS_MAX + 1)}
        hashes = {each.sha256.hex() for each in await store.contents.attachments(reading, number)}
        while True:
            payloads = await store.cases.events(reading, number, replay.case.version, _EVENTS_A_READ)
            if not payloads:
                return (replay.case, replay.mrns, replay.hashes) == (case, members, hashes)
            try:
                await asyncio.to_thread(_apply, replay, payloads)
            except (CaseError, DecodeError):
                return False


def _apply(replay: Replay, payloads: Sequence[bytes]) -> None:
    for payload in payloads:
        replay.apply(pb.CaseEvent.FromString(payload))

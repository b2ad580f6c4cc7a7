"""Replay the events of a case, and compare what they leave with what is stored."""

import asyncio
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.cases.case import CONSIGNMENTS_MAX, Case, CaseError, Replay
from services.clearance.cases.content import parts_of
from services.clearance.store import Store
from services.clearance.store.cases.contents import Attachment

_EVENTS_A_READ: Final = 100
_MILLIS: Final = 20_000


async def is_consistent(store: Store, number: int) -> bool:
    """Return whether the events of a case lead to the case, the consignments and the attachments that are stored of it, with all their parts.

    One moment is read, so a change meanwhile is no inconsistency.
    """
    replay = Replay(number)
    async with store.database.connection(snapshot=True, timeout_millis=_MILLIS) as reading:
        case = (await store.cases.find(reading, [number])).get(number, Case(number))
        members = {
            mrn: added for mrn, *added in await store.cases.consignments(reading, number, "", CONSIGNMENTS_MAX + 1)
        }
        attachments = {each.sha256.hex(): _values(each) for each in await store.contents.attachments(reading, number)}
        parts = await store.contents.parts(reading, number)
        while True:
            payloads = await store.cases.events(reading, number, replay.case.version, _EVENTS_A_READ)
            if not payloads:
                return (
                    replay.case == case
                    and {mrn: list(added) for mrn, added in replay.members.items()} == members
                    and {key: _replayed(each) for key, each in replay.attachments.items()} == attachments
                    and {key: (each.bytes, parts_of(each.bytes)) for key, each in replay.attachments.items()} == parts
                )
            try:
                await asyncio.to_thread(_apply, replay, payloads)
            except (CaseError, DecodeError):
                return False


def _values(stored: Attachment) -> tuple[object, ...]:
    return stored.name, stored.content_type, stored.bytes, stored.attached_at, stored.attached_by


def _replayed(each: pb.CaseAttachment) -> tuple[object, ...]:
    return each.name, each.content_type, each.bytes, each.attached_at.ToMicroseconds(), each.attached_by


def _apply(replay: Replay, payloads: Sequence[bytes]) -> None:
    for payload in payloads:
        replay.apply(pb.CaseEvent.FromString(payload))

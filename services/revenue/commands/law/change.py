"""The life of a version of law: proposed, reviewed, confirmed by a second person, cancelled. Each change is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from libs.server.errors import Refusal
from libs.server.identity import Identity
from libs.server.requests import once
from libs.store.database import Transaction
from libs.telemetry import counter, get_logger
from services.revenue.commands.law.load import LawLoader, LoadedLaw
from services.revenue.commands.law.schedule import (
    AHEAD_DAYS_MAX,
    ANNOUNCE_SECONDS,
    is_announced,
    is_too_late,
    schedule_of,
)
from services.revenue.store.law.versions import LawStore, StoredActivation, StoredLaw, StoredReview

PENDING_MAX: Final = 8
"""Activations that may wait for their moment at once; the law of each later moment is checked with a new one."""

_changes = counter("luxor_revenue_law_changes_total", "Changes of the stored versions of law, by kind", ("act",))
_log = get_logger()
Answer = TypeVar("Answer", bound=Message)
Answered = Callable[[StoredLaw], Answer]


def state_of(version: StoredLaw, now: datetime, is_active: bool) -> str:
    """Return the state of a version as the name of luxor.revenue.v1.LawVersionState, without its beginning."""
    confirmed = [each for each in version.activations if each.cancelled_at is None]
    if is_active:
        return "ACTIVE"
    if any(each.effective_at > now for each in confirmed):
        return "SCHEDULED"
    if confirmed:
        return "SUPERSEDED"
    if version.withdrawn_by is not None:
        return "WITHDRAWN"
    return "REVIEWED" if version.reviewed_by is not None else "DRAFT"


def person_of(identity: str) -> str:
    """Return the person of a role/id: certificates of several roles, or ids in other capitals, are of one person."""
    return identity.partition("/")[2].casefold()


async def propose(
    store: LawStore, request: Any, version: str, files: Mapping[str, str], identity: Identity, kind: type[Answer],
    answer: Answered[Answer],
) -> Answer:  # fmt: skip
    """Store a version as a draft, once per request. Raises Refusal."""

    async def work(tx: Transaction) -> Answer:
        await store.lock(tx)
        if not await store.add(tx, version, files, request.note, str(identity), request.what_if_ids):
            raise Refusal("LAW_VERSION_KNOWN", path="files", value=version)
        return await _done(tx, store, version, "proposed", identity, answer)

    return await once(store.database, kind, request, work)


async def review(
    store: LawStore, request: Any, reviews: Sequence[StoredReview], identity: Identity, kind: type[Answer],
    answer: Answered[Answer],
) -> Answer:  # fmt: skip
    """Store reviews of a version, once per request; they count from ANNOUNCE_SECONDS on. Raises Refusal."""

    async def work(tx: Transaction) -> Answer:
        stored = await _locked(tx, store, request.version)
        if stored.withdrawn_by is not None:
            raise Refusal("LAW_STATE_WRONG", path="version", value=stored.version, state="withdrawn")
        now: datetime = await tx.raw.fetchval("select clock_timestamp()")
        late = next((place for place, each in enumerate(reviews) if each.day > now.date()), None)
        if late is not None:
            raise Refusal("LAW_REVIEW_MALFORMED", path=f"reviews[{late}].day", why="is in the future")
        counts_from = now + timedelta(seconds=ANNOUNCE_SECONDS)
        placed = [replace(each, counts_from=counts_from) for each in reviews]
        await store.review(tx, stored.version, placed, str(identity), request.what_if_ids)
        return await _done(tx, store, stored.version, "reviewed", identity, answer)

    return await once(store.database, kind, request, work)


@dataclass(frozen=True)
class Checked:
    """A version that was compiled with the law of each moment at which it will be in force."""

    activations: tuple[StoredActivation, ...]
    """The schedule with which it was checked."""
    law: LoadedLaw
    """The law of the moment at which it comes into force."""


class Confirmation:
    """Brings a version into force. `check` compiles before the transaction, which finds out whether the schedule is still the same."""

    def __init__(self, loader: LawLoader) -> None:
        """Confirm what the loader's store has."""
        self._loader = loader
        self._store = loader.store

    async def check(self, version: StoredLaw, effective_at: datetime | None) -> Checked:
        """Compile the version with the law of its moment and of each later one. Raises LawFileError, ProgramError and Refusal."""
        stored = await self._loader.read_schedule()
        moment = effective_at or stored.now + timedelta(seconds=ANNOUNCE_SECONDS)
        planned = _activation(version, moment, "", stored.now)
        schedule = schedule_of(stored, (planned,))
        law = await self._loader.compiled(schedule.at(moment))
        for each in stored.activations:
            if each.effective_at > moment:
                await self._loader.compiled(schedule.at(each.effective_at))
        return Checked(stored.activations, law)

    async def confirm(
        self, request: Any, checked: Checked, effective_at: datetime | None, identity: Identity, kind: type[Answer],
        answer: Answered[Answer],
    ) -> Answer:  # fmt: skip
        """Store the activation, once per request. Raises Refusal."""
        store = self._store

        async def work(tx: Transaction) -> Answer:
            stored = await _locked(tx, store, request.version)
            schedule = await store.schedule(tx)
            _check_confirmable(stored, schedule.activations, schedule.now, identity)
            if {each.number for each in schedule.activations if each.effective_at > schedule.now} != {
                each.number for each in checked.activations if each.effective_at > schedule.now
            }:
                raise Refusal("LAW_SCHEDULE_CHANGED", path="version", value=stored.version)
            moment = effective_at or schedule.now + timedelta(seconds=ANNOUNCE_SECONDS)
            if not is_announced(schedule.now, moment) or is_too_late(schedule.now, moment):
                raise Refusal(
                    "LAW_MOMENT_OUT_OF_BOUNDS", path="effective_at", value=moment.isoformat(), seconds=ANNOUNCE_SECONDS,
                    days=AHEAD_DAYS_MAX,
                )  # fmt: skip
            await store.activate(tx, stored.version, stored.folder, moment, str(identity), schedule.now)
            return await _done(tx, store, stored.version, "confirmed", identity, answer)

        return await once(store.database, kind, request, work)


async def cancel(
    store: LawStore, request: Any, identity: Identity, kind: type[Answer], answer: Answered[Answer]
) -> Answer:
    """Cancel the next activation of a version, or withdraw one that was never confirmed, once per request. Raises Refusal."""

    async def work(tx: Transaction) -> Answer:
        stored = await _locked(tx, store, request.version)
        schedule = await store.schedule(tx)
        active = [each for each in stored.activations if each.cancelled_at is None]
        waiting = next((each for each in active if each.effective_at > schedule.now), None)
        if waiting is not None:
            # Some replica may not hear of it in time and would change all the same.
            if not is_announced(schedule.now, waiting.effective_at):
                raise Refusal(
                    "LAW_MOMENT_OUT_OF_BOUNDS", path="version", value=waiting.effective_at.isoformat(),
                    seconds=ANNOUNCE_SECONDS, days=AHEAD_DAYS_MAX,
                )  # fmt: skip
            await store.cancel(tx, waiting.number, str(identity))
        elif active or stored.withdrawn_by is not None:
            state = "withdrawn" if stored.withdrawn_by is not None else "in force or superseded"
            raise Refusal("LAW_STATE_WRONG", path="version", value=stored.version, state=state)
        else:
            await store.withdraw(tx, stored.version, str(identity))
        return await _done(tx, store, stored.version, "cancelled", identity, answer)

    return await once(store.database, kind, request, work)


def _check_confirmable(
    version: StoredLaw, activations: Sequence[StoredActivation], now: datetime, identity: Identity
) -> None:
    """Refuse a version that is not reviewed, in force already, or whose second person the caller is not."""
    is_active = any(each.version == version.version and each.effective_at <= now for each in activations)
    replaced = any(
        each.folder == version.folder and each.effective_at > now and each.version != version.version
        for each in activations
    )
    state = state_of(version, now, is_active)
    was_active = state == "SUPERSEDED" or (state == "ACTIVE" and replaced)
    if not (state == "REVIEWED" or (was_active and version.reviewed_by is not None)):
        raise Refusal("LAW_STATE_WRONG", path="version", value=version.version, state=state.lower().replace("_", " "))
    if person_of(str(identity)) in {person_of(each) for each in (version.proposed_by, version.reviewed_by or "")}:
        raise Refusal("LAW_OWN", path="version", value=version.version)
    if sum(each.effective_at > now for each in activations) >= PENDING_MAX:
        raise Refusal("LAW_ACTIVATIONS_TOO_MANY", count_max=PENDING_MAX)


async def _locked(tx: Transaction, store: LawStore, version: str) -> StoredLaw:
    await store.lock(tx)
    found = await store.find(tx, version)
    if found is None:
        raise Refusal("LAW_VERSION_UNKNOWN", path="version", value=version)
    return found


async def _done(
    tx: Transaction, store: LawStore, version: str, act: str, identity: Identity, answer: Answered[Answer]
) -> Answer:
    stored = await store.find(tx, version)
    assert stored is not None
    tx.after_commit(lambda: _note(act, version, identity))
    return answer(stored)


def _note(act: str, version: str, identity: Identity) -> None:
    _changes.labels(act).inc()
    _log.info("LAW_CHANGED", act=act, version=version, by=str(identity))


def _activation(version: StoredLaw, moment: datetime, identity: str, now: datetime) -> StoredActivation:
    # Numbered behind all others, as it will be.
    return StoredActivation(2**62, version.version, version.folder, moment, identity, now, None, None)

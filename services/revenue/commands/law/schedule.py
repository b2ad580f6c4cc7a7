"""Which versions of law and which reviews are in force at which moment, as the store says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from services.revenue.law.verification.reviews import ReviewedValue, expired_on
from services.revenue.store.law.versions import StoredActivation, StoredSchedule

ANNOUNCE_SECONDS: Final = 60
"""An activation is stored at least so long before it takes effect, by the database's clock. A replica that has not read the schedule for so long
may have missed one, and assesses nothing."""
AHEAD_DAYS_MAX: Final = 366


@dataclass(frozen=True, slots=True)
class LawState:
    """The law of one moment: what is compiled to one program."""

    versions: tuple[tuple[str, str], ...]
    """Folder and version, by folder."""
    expired: frozenset[tuple[str, bytes]]
    """Reviewed values, by file and content, of which all reviews have expired."""
    reviewed: frozenset[ReviewedValue]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The law by moment."""

    now: datetime
    """When it was read, by the database's clock."""
    moments: tuple[tuple[datetime, LawState], ...]
    """From `now` on, each moment at which something changes, with what holds from then on."""

    def at(self, moment: datetime) -> LawState:
        """Return what holds at a moment, `now` or later."""
        found = self.moments[0][1]
        for start, state in self.moments:
            if start > moment:
                break
            found = state
        return found


def schedule_of(stored: StoredSchedule, extra: Sequence[StoredActivation] = ()) -> Schedule:
    """Return the schedule that the store has, with further activations."""
    activations = sorted([*stored.activations, *extra], key=lambda each: (each.effective_at, each.number))
    changes = {each.effective_at for each in activations} | {each.counts_from for each in stored.reviews}
    changes |= set(_expiries(stored.reviews))
    moments = [stored.now, *sorted(moment for moment in changes if moment > stored.now)]
    return Schedule(stored.now, tuple((moment, _state(activations, stored.reviews, moment)) for moment in moments))


def day_of(moment: datetime) -> date:
    """Return the day of a moment, UTC: that by which reviews expire."""
    return moment.astimezone(UTC).date()


def is_announced(now: datetime, effective_at: datetime) -> bool:
    """Return whether a moment is far enough ahead for all replicas to know of it."""
    return effective_at >= now + timedelta(seconds=ANNOUNCE_SECONDS)


def is_too_late(now: datetime, effective_at: datetime) -> bool:
    """Return whether a moment is further ahead than activations may be."""
    return effective_at > now + timedelta(days=AHEAD_DAYS_MAX)


def _expiries(reviews: Iterable[ReviewedValue]) -> Iterable[datetime]:
    """Return the moments at which reviews expire: the beginning of the day after their last one."""
    for day in {each.expires_on for each in reviews}:
        yield datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _state(activations: Iterable[StoredActivation], reviews: Sequence[ReviewedValue], moment: datetime) -> LawState:
    versions: dict[str, str] = {}
    for each in activations:
        if each.effective_at <= moment:
            versions[each.folder] = each.version
    counted = frozenset(each for each in reviews if each.counts_from <= moment)
    return LawState(tuple(sorted(versions.items())), expired_on(counted, day_of(moment)), counted)

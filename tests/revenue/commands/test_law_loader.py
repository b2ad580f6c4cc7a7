"""Which law a replica assesses by, from what it read of the schedule and its own clock: each bound, on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from libs.server.errors import Refusal
from libs.store.database import Database
from services.revenue.commands.law.change import person_of
from services.revenue.commands.law.load import LawLoader, LoadedLaw
from services.revenue.commands.law.schedule import is_announced, is_too_late, schedule_of
from services.revenue.law.program.program import Program
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.verification.reviews import ReviewedValue
from services.revenue.store.law.versions import LawStore, StoredActivation, StoredSchedule
from services.revenue.store.law_files import program_of
from tests.revenue.law_versions import RATES, files

NOW = datetime(2026, 8, 3, 12, tzinfo=UTC)
MICRO = timedelta(microseconds=1)


def activation(number: int, version: str, at: datetime, folder: str = "xx") -> StoredActivation:
    return StoredActivation(number, version, folder, at, "officer/o", at, None, None)


def stored(
    *activations: StoredActivation, reviews: tuple[ReviewedValue, ...] = (), now: datetime = NOW
) -> StoredSchedule:
    return StoredSchedule(now, activations, reviews)


class Clock:
    """A monotonic clock that stands still."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Told(LawStore):
    """A store whose versions are named by their rate of tax."""

    def __init__(self) -> None:
        """It has no database."""

    async def texts(self, versions: object) -> dict[str, dict[str, str]]:
        assert isinstance(versions, list)
        return {version: files(version, int(version)) for version in versions}


class Loader(LawLoader):
    """A loader that reads a schedule of the test."""

    def __init__(self, schedule: StoredSchedule, clock: Clock | None = None) -> None:
        super().__init__(installed(), Told(), program_of, clock or Clock())
        self.told = schedule
        self.fails = False

    async def read_schedule(self) -> StoredSchedule:
        if self.fails:
            raise ConnectionError("the store does not answer")
        return self.told


def installed() -> LoadedLaw:
    law = {**files("1", 10), "rates/utopia.yaml": RATES}
    return LoadedLaw(law, program_of(law))


def percent(law: LoadedLaw) -> str:
    return law.program.books[0].rulebook.charges[0].rates[0].rate


def refusal(loader: LawLoader) -> str:
    with pytest.raises(Refusal) as refused:
        _ = loader.law
    assert refused.value.retry_after_seconds is not None
    return refused.value.reason


@pytest.mark.parametrize(("ahead", "announced"), [(60, True), (59.999999, False), (-1, False), (600, True)])
def test_an_activation_is_announced_a_minute_ahead(ahead: float, announced: bool) -> None:
    assert is_announced(NOW, NOW + timedelta(seconds=ahead)) is announced


@pytest.mark.parametrize(("ahead", "late"), [(timedelta(days=366), False), (timedelta(days=366) + MICRO, True)])
def test_an_activation_is_at_most_a_year_ahead(ahead: timedelta, late: bool) -> None:
    assert is_too_late(NOW, NOW + ahead) is late


def test_of_each_folder_the_last_activation_until_a_moment_is_in_force() -> None:
    later = NOW + timedelta(hours=1)
    schedule = schedule_of(
        stored(
            activation(1, "A", NOW),
            activation(2, "U", NOW, "uk"),
            activation(4, "B", later),
            activation(3, "V", later, "uk"),
        )
    )
    assert schedule.at(NOW).versions == (("uk", "U"), ("xx", "A"))
    assert schedule.at(later - MICRO).versions == (("uk", "U"), ("xx", "A"))
    assert schedule.at(later).versions == (("uk", "V"), ("xx", "B"))
    # Of two at one moment the one that was confirmed last.
    both = schedule_of(stored(activation(1, "A", NOW), activation(3, "C", later), activation(2, "B", later)))
    assert both.at(later).versions == (("xx", "C"),)


def test_a_review_counts_from_its_moment_to_the_end_of_its_last_day() -> None:
    counts = NOW + timedelta(minutes=1)
    review = ReviewedValue("xx/rulebook.yaml", b"1", counts, date(2026, 8, 5))
    schedule = schedule_of(stored(activation(1, "A", NOW), reviews=(review,)))
    assert schedule.at(counts - MICRO).reviewed == frozenset()
    end = datetime(2026, 8, 6, tzinfo=UTC)
    for moment in (counts, end - MICRO):
        assert (schedule.at(moment).reviewed, schedule.at(moment).expired) == (frozenset({review}), frozenset())
    assert schedule.at(end).expired == {("xx/rulebook.yaml", b"1")}
    # Of several reviews of a value the one that lasts longest decides.
    longer = ReviewedValue("xx/rulebook.yaml", b"1", counts, date(2026, 8, 6))
    both = schedule_of(stored(activation(1, "A", NOW), reviews=(review, longer)))
    assert both.at(end).expired == frozenset()
    assert both.at(end + timedelta(days=1)).expired == {("xx/rulebook.yaml", b"1")}


async def test_the_next_version_is_compiled_ahead_and_taken_at_its_moment() -> None:
    clock = Clock()
    law = Loader(stored(activation(1, "10", NOW), activation(2, "20", NOW + timedelta(seconds=60))), clock)
    await law.look()
    held = law.law
    assert percent(held) == "10 %"
    clock.seconds += 59.999
    assert law.law is held
    law.told = stored(*law.told.activations, now=NOW + timedelta(seconds=59.999))
    await law.look()
    clock.seconds += 0.001
    assert percent(law.law) == "20 %"
    # The first minute after the moment, and what was taken before stays as it was.
    clock.seconds += 59.0
    assert percent(law.law) == "20 %"
    assert percent(held) == "10 %"


async def test_a_replica_that_cannot_read_the_schedule_assesses_nothing_after_a_minute() -> None:
    clock = Clock()
    law = Loader(stored(activation(1, "10", NOW)), clock)
    assert refusal(law) == "LAW_SCHEDULE_UNKNOWN"
    await law.look()
    law.fails = True
    with pytest.raises(ConnectionError):
        await law.look()
    clock.seconds += 59.999
    assert percent(law.law) == "10 %"
    clock.seconds += 0.001
    assert refusal(law) == "LAW_SCHEDULE_UNKNOWN"
    # What no assessment depends on goes on by the last law.
    assert percent(law.latest) == "10 %"
    law.fails = False
    await law.look()
    assert percent(law.law) == "10 %"


async def test_law_that_this_replica_cannot_read_is_not_replaced_by_other_law() -> None:
    clock = Clock()
    law = Loader(stored(activation(1, "10", NOW)), clock)
    await law.look()
    compiled: list[int] = []

    def refuses(_files: Mapping[str, str], _written: Mapping[str, str]) -> Program:
        compiled.append(1)
        raise LawFileError("xx/rulebook.yaml", 1, "format", "is 2, which this release does not know")

    law.compile_law = refuses  # a release that cannot read what a later one wrote
    law.told = stored(activation(2, "20", NOW))
    for _ in range(2):
        await law.look()
        assert refusal(law) == "LAW_NOT_LOADED"
    assert compiled == [1]
    assert percent(law.latest) == "10 %"
    law.told = stored(activation(3, "10", NOW))
    law.compile_law = program_of
    await law.look()
    assert percent(law.law) == "10 %"


async def test_a_reading_that_seems_to_go_back_a_little_does_not_bring_the_law_before_back() -> None:
    clock = Clock()
    both = activation(1, "10", NOW - timedelta(hours=1)), activation(2, "20", NOW)
    law = Loader(stored(*both, now=NOW), clock)
    await law.look()
    assert percent(law.law) == "20 %"
    law.told = stored(*both, now=NOW - timedelta(milliseconds=999))
    await law.look()
    assert percent(law.law) == "20 %"
    # A clock that really was set back is followed, as the store is.
    law.told = stored(*both, now=NOW - timedelta(seconds=2))
    await law.look()
    assert percent(law.law) == "10 %"


async def test_a_schedule_is_not_read_while_an_activation_is_being_committed(database: Database) -> None:
    store = LawStore(database)
    law = LawLoader(installed(), store, program_of)
    await law.begin()
    ((folder, version),) = law.law.versions.items()
    async with database.transaction() as tx:
        await store.lock(tx)
        reading = asyncio.create_task(law.read_schedule())
        await asyncio.sleep(0.1)
        assert not reading.done()
        now: datetime = await tx.raw.fetchval("select clock_timestamp()")
        moment = now + timedelta(minutes=1)
        await store.activate(tx, version, folder, moment, "officer/o", now)
    read = await reading
    assert moment in {each.effective_at for each in read.activations}
    # So whoever reads has a moment that is not before the one at which the activation was announced.
    assert read.now > now


def test_roles_and_capitals_do_not_make_two_persons_of_one() -> None:
    assert person_of("analyst/Anna") == person_of("officer/anna") != person_of("officer/olga")

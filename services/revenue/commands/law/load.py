"""The law in force at this replica, with everything that is derived of it; whoever works by it takes it once for a batch.

The store says which versions are in force, and from when. Each replica reads this schedule every second and compiles the law of the next moment ahead
of it, so that all replicas change at that moment by the database's clock. An activation is announced ANNOUNCE_SECONDS before it takes effect: a
replica that has not read the schedule for so long could assess by law that was replaced, and assesses nothing until it has read it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import Final

from libs.server.errors import Refusal
from libs.server.process.following import repeat
from libs.telemetry import gauge, get_logger
from services.revenue.assessment.aggregates import aggregate_areas
from services.revenue.assessment.scheme_register import forms_of
from services.revenue.commands.law.schedule import ANNOUNCE_SECONDS, LawState, Schedule, schedule_of
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.program.program import Program, ProgramError
from services.revenue.law.program.scheme_numbers import SchemeForm
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.verification.reviews import ReviewedValue, with_reviews
from services.revenue.ledger.refund import RefundRules
from services.revenue.store.law.versions import LawStore, StoredSchedule
from services.revenue.store.law_files import program_of

SECONDS: Final = 1.0
"""Between two readings of the schedule."""
PREPARE_SECONDS: Final = 2 * ANNOUNCE_SECONDS
"""How long before its moment the next law is compiled: earlier it would take memory for nothing."""
PREPARED_MAX: Final = 3
"""How many programs are in memory at once; a later one is compiled when its turn comes."""
RETRY_SECONDS: Final = 2.0
JITTER: Final = timedelta(seconds=1)
"""Readings of the database's clock differ by the time that they take: a clock that seems to go back by less than this did not."""
SERVICE: Final = "service/revenue"
"""Who proposed and confirmed the law with which a store begins."""
RATES: Final = "rates/"
"""Beginning of the names of exchange tables, which are no part of a version of law: they are dated day by day."""

Compile = Callable[[Mapping[str, str], Mapping[str, str]], Program]

_missing = gauge(
    "luxor_revenue_law_missing",
    "1 while this replica assesses nothing, because the law in force is not loaded or not known",
)
_expired = gauge("luxor_revenue_reviews_expired", "Reviewed values and references of which every review has expired")
_log = get_logger()


@dataclass(frozen=True, eq=False)
class LoadedLaw:
    """Law files and the program that is compiled of them."""

    files: Mapping[str, str]
    """Text of each law file by its name, as services.revenue.store.law_files gives them."""
    program: Program

    @property
    def sharing(self) -> Sharing:
        """Return whose revenue charges are."""
        return self.program.sharing

    @cached_property
    def jurisdictions(self) -> frozenset[str]:
        """Return the jurisdictions that have a rulebook."""
        return frozenset(read.rulebook.jurisdiction for read in self.program.books)

    @cached_property
    def refund_rules(self) -> RefundRules:
        """Return what is paid back when goods go back."""
        return RefundRules(read.rulebook for read in self.program.books)

    @cached_property
    def aggregate_areas(self) -> frozenset[str]:
        """Return the countries of destination whose law has a limit that is tested on an aggregate."""
        return aggregate_areas(self.program)

    @cached_property
    def scheme_forms(self) -> Mapping[int, Sequence[SchemeForm]]:
        """Return how the numbers of schemes are written."""
        return forms_of(self.program)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Return the version of each folder that has a rulebook."""
        found: dict[str, str] = {}
        for read in self.program.books:
            found.setdefault(read.file.partition("/")[0], read.version)
        return found

    def of_folder(self, folder: str) -> dict[str, str]:
        """Return the files of a folder."""
        return {name: text for name, text in self.files.items() if name.startswith(f"{folder}/")}


class LawLoader:
    """Holds the law in force. It is replaced as a whole: what was taken before is worked with to the end of its batch."""

    def __init__(
        self,
        installed: LoadedLaw,
        store: LawStore,
        compile_law: Compile = program_of,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Follow a store, whose law is that of the installed directory until it has any; exchange tables are the installed ones."""
        self.installed = installed
        self.store = store
        self.compile_law = compile_law
        self._monotonic = monotonic
        self._loaded: dict[LawState, LoadedLaw] = {}
        self._refused: dict[LawState, str] = {}
        self._schedule: Schedule | None = None
        self._read_at = 0.0
        self._latest = installed
        self._looking = asyncio.Lock()

    @property
    def law(self) -> LoadedLaw:
        """Return the law of this moment; a batch takes it once. Raises Refusal where it is not known or not loaded here."""
        schedule, elapsed = self._schedule, self._monotonic() - self._read_at
        if schedule is None or elapsed >= ANNOUNCE_SECONDS:
            _missing.set(1)
            raise Refusal("LAW_SCHEDULE_UNKNOWN", seconds=ANNOUNCE_SECONDS, retry_after_seconds=RETRY_SECONDS)
        found = self._loaded.get(schedule.at(schedule.now + timedelta(seconds=elapsed)))
        if found is None:
            _missing.set(1)
            raise Refusal("LAW_NOT_LOADED", retry_after_seconds=RETRY_SECONDS)
        self._latest = found
        return found

    @property
    def latest(self) -> LoadedLaw:
        """Return the law of this moment, or the last one that was loaded: for what no assessment depends on."""
        try:
            return self.law
        except Refusal:
            return self._latest

    async def begin(self) -> None:
        """Store the installed law: in force where the store has none, else what differs as drafts. Then load the law in force.

        Raises LawFileError or ProgramError where this release cannot read the law in force.
        """
        async with self.store.database.transaction() as tx:
            await self.store.lock(tx)
            stored = await self.store.schedule(tx)
            for folder, version in self.installed.versions.items():
                files = self.installed.of_folder(folder)
                new = await self.store.add(tx, version, files, "found in the directory of rulebooks", SERVICE, ())
                if not stored.activations:
                    await self.store.activate(tx, version, folder, stored.now, SERVICE, stored.now)
                elif new:
                    tx.after_commit(partial(_log.warning, "LAW_DRAFT_FOUND", version=version))
        await self.look()
        if self._schedule is not None:
            state = self._schedule.moments[0][1]
            if state in self._refused:
                raise LawFileError("the law in force", 0, "", f"cannot be read by this release: {self._refused[state]}")

    async def look(self) -> None:
        """Read the schedule, and compile the law of this moment and of the next one."""
        async with self._looking:
            read_at = self._monotonic()
            stored = await self.read_schedule()
            schedule = schedule_of(stored)
            if self._schedule is not None:
                # Never back by the time that a reading takes: what a batch was assessed by at one moment holds for the next batch.
                behind = self._schedule.now + timedelta(seconds=read_at - self._read_at) - schedule.now
                if timedelta(0) < behind < JITTER:
                    stored_now = schedule.now + behind
                    schedule = Schedule(
                        stored_now, tuple((max(stored_now, at), state) for at, state in schedule.moments)
                    )
            soon = schedule.now + timedelta(seconds=PREPARE_SECONDS)
            due = [state for at, state in schedule.moments if at <= soon]
            self._schedule, self._read_at = schedule, read_at
            for state in due[:PREPARED_MAX]:
                await self._load(state)
            self._loaded = {state: law for state, law in self._loaded.items() if state in due}
            self._refused = {state: why for state, why in self._refused.items() if state in due}
            _expired.set(len(due[0].expired))
            _missing.set(due[0] not in self._loaded)

    async def read_schedule(self) -> StoredSchedule:
        """Return what is in force and what will be, as the store says; no activation is being committed meanwhile."""
        async with self.store.database.transaction() as tx:
            await self.store.lock_shared(tx)
            return await self.store.schedule(tx)

    async def run(self, stop: asyncio.Event) -> None:
        """Read the schedule every second until `stop`. What fails is logged and tried again."""
        await repeat(self.look, lambda error: _log.error("LAW_SCHEDULE_NOT_READ", error), stop, SECONDS)

    async def compiled(self, state: LawState) -> LoadedLaw:
        """Return the law of a state, compiled in a thread. Raises LawFileError or ProgramError."""
        stored = await self.store.texts([version for _, version in state.versions])
        written = {name: text for name, text in self.installed.files.items() if name.startswith(RATES)}
        for _, version in state.versions:
            written.update(stored[version])
        reviews = sorted(state.reviewed, key=lambda each: (each.file, each.content))
        if written == dict(self.installed.files) and not reviews:
            return self.installed
        return await asyncio.to_thread(self._built, written, reviews, state)

    def _built(self, written: Mapping[str, str], reviews: Sequence[ReviewedValue], state: LawState) -> LoadedLaw:
        return LoadedLaw(written, self.compile_law(with_reviews(written, reviews, state.expired), written))

    async def _load(self, state: LawState) -> None:
        if state in self._loaded or state in self._refused:
            return
        try:
            self._loaded[state] = await self.compiled(state)
        except (LawFileError, ProgramError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            # It is refused until the store says otherwise; other law would assess what is not in force.
            self._refused[state] = str(error)
            _log.error("LAW_REFUSED", error, versions=", ".join(version for _, version in state.versions))
            return
        _log.info("LAW_LOADED", versions=", ".join(version for _, version in state.versions))

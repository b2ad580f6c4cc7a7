"""Which rule set is in force: the profile that the service was started with, until one has been activated in the store.

Each replica looks every second. What it cannot read or compile changes nothing: the set in force stays, the log tells it
once, and the metric luxor_risk_rule_set_refused is 1 until another set is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from libs.telemetry import gauge, get_logger
from services.risk.rule_sets.mistakes import Mistake, RuleSetError
from services.risk.rule_sets.sources import Given
from services.risk.rules import RuleSet, read_rule_set

SECONDS: Final = 1.0

_refused = gauge(
    "luxor_risk_rule_set_refused",
    "1 while the activated rule set cannot be read by this replica, so that an older one is in force here",
)
_info = gauge("luxor_risk_rule_set_info", "1 for the version of the rule set in force", ("version",))
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Files:
    """A rule set as written."""

    profile: str
    """Path of the profile among the files."""
    files: Mapping[str, bytes]

    def read(self) -> RuleSet:
        """Read, check and compile it. Raises RuleSetError."""
        return read_rule_set(Given(self.files), self.profile)


class RuleSets:
    """The rule set in force at this replica."""

    def __init__(
        self,
        started_with: RuleSet,
        version: Callable[[], Awaitable[str | None]],
        files: Callable[[str], Awaitable[Files | None]],
    ) -> None:
        """Begin with the profile of the start; `version` tells the one that is activated in the store, `files` reads it."""
        self._in_force = started_with
        self._version = version
        self._files = files
        self._refusal: tuple[str, RuleSetError] | None = None
        self._looking = asyncio.Lock()
        _refused.set(0)
        _info.labels(started_with.version).set(1)

    @property
    def in_force(self) -> RuleSet:
        """The rule set in force; a batch takes it once."""
        return self._in_force

    async def begin(self) -> None:
        """Take the activated set before anything is served. Raises RuleSetError: there is no older one that could stay."""
        error = await self.look()
        if error is not None:
            raise error

    async def look(self) -> RuleSetError | None:
        """Take the activated set where it is another than the one in force; gives why it is refused."""
        async with self._looking:
            version = await self._version()
            if version is None or version == self._in_force.version:
                self._settle()
                return None
            if self._refusal is not None and self._refusal[0] == version:
                return self._refusal[1]
            found = await self._files(version)
            if found is None:
                # It was replaced and removed between the two questions; the next look tells more.
                return None
            try:
                compiled = await asyncio.to_thread(found.read)
            except RuleSetError as error:
                return self._refuse(version, error)
            except Exception as error:  # a fault of ours is no reason to assess by nothing, and has to be seen
                told = f"it could not be compiled: {type(error).__name__}: {error}"
                return self._refuse(version, RuleSetError([Mistake(found.profile, 0, 0, "", told)]))
            # The store's name stays: under it the content is found, also where this release would call it otherwise.
            self._take(replace(compiled, version=version))
            return None

    def _take(self, rule_set: RuleSet) -> None:
        before = self._in_force
        self._in_force = rule_set
        self._settle()
        _info.clear()
        _info.labels(rule_set.version).set(1)
        _log.info("RULE_SET_IN_FORCE", rule_set=rule_set.version, before=before.version, rules=len(rule_set.rules))

    def _settle(self) -> None:
        self._refusal = None
        _refused.set(0)

    def _refuse(self, version: str, error: RuleSetError) -> RuleSetError:
        self._refusal = version, error
        _refused.set(1)
        why = "; ".join(map(str, error.mistakes[:3]))
        _log.error("RULE_SET_REFUSED", rule_set=version, in_force=self._in_force.version, why=why)
        return error

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Look every so many seconds until `stop`. What fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # whatever the store or a set does, the one in force stays and the watch goes on
                _log.error("RULE_SET_NOT_LOOKED_AT", error)
            try:
                async with asyncio.timeout(seconds):
                    await stop.wait()
            except TimeoutError:
                continue

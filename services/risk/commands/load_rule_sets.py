"""Which rule set is in force: the profile that the service was started with, until one has been activated in the store.

Each replica looks every second. What it cannot read or compile changes nothing: the set in force stays, the log tells it
once, and the metric luxor_risk_rule_set_refused is 1 until another set is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from libs.server.process.following import Following, repeat
from libs.telemetry import gauge, get_logger
from services.risk.rules.rule_set import RuleSet, RuleSetText
from services.risk.rules.validation_errors import RuleSetError, ValidationError

SECONDS: Final = 1.0
_NAME: Final = "rule set"

_refused = gauge(
    "luxor_risk_rule_set_refused",
    "1 while this replica cannot read the activated rule set, so an older one is active here",
)
_info = gauge("luxor_risk_rule_set_info", "1 for the version of the active rule set", ("version",))
_log = get_logger()


class RuleSetLoader:
    """The rule set in force at this replica."""

    def __init__(
        self,
        started_with: RuleSet,
        version: Callable[[], Awaitable[str | None]],
        files: Callable[[str], Awaitable[RuleSetText | None]],
    ) -> None:
        """Begin with the profile of the start; `version` tells the one that is activated in the store, `files` reads it."""
        self._active = started_with
        self._version = version
        self._files = files
        self._following = Following(self._versions, self._load, self._swap, self._report_refusal)
        self._following.taken[_NAME] = started_with.version
        _report_trusted(started_with)
        _refused.set(0)
        _info.labels(started_with.version).set(1)

    @property
    def active(self) -> RuleSet:
        """The rule set in force; a batch takes it once."""
        return self._active

    async def begin(self) -> None:
        """Take the activated set before anything is served. Raises RuleSetError: there is no older one that could stay."""
        error = await self.look()
        if error is not None:
            raise error

    async def look(self) -> RuleSetError | None:
        """Take the activated set where it is another than the one in force; gives why it is refused."""
        error = (await self._following.look()).get(_NAME)
        assert error is None or isinstance(error, RuleSetError)
        return error

    async def run(self, stop: asyncio.Event, seconds: float = SECONDS) -> None:
        """Look every so many seconds until `stop`. What fails is logged and tried again."""
        await repeat(self.look, lambda error: _log.error("RULE_SET_NOT_REFRESHED", error), stop, seconds)

    async def _versions(self) -> Mapping[str, str | None]:
        return {_NAME: await self._version()}

    async def _load(self, _: str, version: str) -> Callable[[], RuleSet] | None:
        found = await self._files(version)
        return None if found is None else partial(_compiled, found, version)

    def _swap(self, _: str, version: str, rule_set: RuleSet | None) -> None:
        assert rule_set is not None
        before, self._active = self._active, rule_set
        _info.clear()
        _info.labels(version).set(1)
        _report_trusted(rule_set)
        _log.info("RULE_SET_ACTIVE", rule_set=version, before=before.version, rules=len(rule_set.rules))

    def _report_refusal(self, _: str, version: str, error: Exception | None) -> None:
        _refused.set(error is not None)
        if isinstance(error, RuleSetError):
            why = "; ".join(map(str, error.errors[:3]))
            _log.error("RULE_SET_REFUSED", rule_set=version, active=self._active.version, why=why)


def _report_trusted(rule_set: RuleSet) -> None:
    """Warn of trusted operators in the parameters of selection, which have no effect."""
    if rule_set.selection is not None and rule_set.selection.trusted_place is not None:
        file, line = rule_set.selection.trusted_place
        _log.warning(
            "TRUSTED_WITHOUT_EFFECT", rule_set=rule_set.version, file=file, line=line, register="luxor filer trust"
        )


def _compiled(files: RuleSetText, version: str) -> RuleSet:
    """A set by the store's name: under it the content is found, also where this release would call it otherwise."""
    try:
        return replace(files.read(), version=version)
    except RuleSetError:
        raise
    except Exception as error:
        told = f"it could not be compiled: {type(error).__name__}: {error}"
        raise RuleSetError([ValidationError(files.profile, 0, 0, "", told)]) from error

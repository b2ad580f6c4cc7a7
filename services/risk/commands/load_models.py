"""Keeps the models in force: looks each second which versions they are, reads what is new in a thread, and swaps.

A model that this replica cannot read, as one of a later release, changes nothing: the one before stays in force here, the log tells
it once, and luxor_risk_model_refused is 1 until a sound one is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from libs.server.process.following import Following, repeat
from libs.telemetry import gauge, get_logger
from services.risk.codes.code_model_file import CodeModel, read_code_model
from services.risk.learning.evaluation.drift_watch import SCORE, Watch
from services.risk.learning.features.consignments import TRAFFIC_COLUMNS
from services.risk.learning.model.model_file import Model, read_model
from services.risk.learning.model.opinion import Models, Opinion

LOOK_SECONDS: Final = 1.0
CHALLENGER: Final = 2
CHAMPION: Final = 3
#: The roles by the number of their state, and the field of Models that has each.
ROLES: Final = {CHAMPION: "champion", CHALLENGER: "challenger"}
CODES: Final = "codes"
"""The role, and the field of Models, of the champion of the models of commodity codes."""

_active = gauge(
    "luxor_risk_model_active",
    "1 while a model is active in a role: champion or challenger scores, codes suggests commodity codes",
    ("role",),
)
_refused = gauge(
    "luxor_risk_model_refused",
    "1 while this replica cannot read the model of a role; it continues with the earlier one or none",
    ("role",),
)
_drift = gauge(
    "luxor_risk_model_drift_psi",
    "Population stability index of the last 24 hours against the data that the champion was trained on: of its score, and the largest of its "
    "columns; absent while too little was scored",
    ("what",),
)
_log = get_logger()


class ModelSource(Protocol):
    """Where models are kept."""

    async def active_versions(self) -> Mapping[int, str]:
        """The versions of champion and challenger by the number of their state."""

    async def content(self, version: str) -> bytes:
        """A model's file."""


class ModelLoader:
    """The models in force on this replica, and what they have seen."""

    def __init__(self, source: ModelSource, codes: ModelSource, *, look_seconds: float = LOOK_SECONDS) -> None:
        """Nothing is in force before the first look; `codes` has the models of commodity codes."""
        self._source = source
        self._codes = codes
        self._look_seconds = look_seconds
        self._watches: dict[str, Watch] = {}
        self._following = Following(self._versions, self._load, self._set, self._report_refusal)
        #: Champion and challenger; a batch takes them once.
        self.models = Models()
        for role in (*ROLES.values(), CODES):
            _active.labels(role).set(0)
            _refused.labels(role).set(0)

    async def begin(self) -> None:
        """Take the models in force before anything is served; one that cannot be read is left out."""
        await self.look()

    def scored(self, opinion: Opinion | None) -> None:
        """Take note of what the champion was given and said, for its drift."""
        if opinion is None or opinion.model is None:
            return
        sample, chances = opinion.of_imports()
        watch = self._watches.get(opinion.model.version)
        if watch is not None and sample.rows:
            watch.put(sample, chances)

    def watch_of(self, version: str) -> Watch | None:
        """What a model in force has seen here; None for others."""
        return self._watches.get(version)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`; what fails is logged and tried again."""
        await repeat(
            self._work, lambda error: _log.warning("MODELS_NOT_REFRESHED", why=str(error)), stop, self._look_seconds
        )

    async def look(self) -> None:
        """Take what has changed since the last look."""
        await self._following.look()

    async def _work(self) -> None:
        await self.look()
        await asyncio.to_thread(self.count, time.time())

    async def _versions(self) -> Mapping[str, str | None]:
        versions, codes = await self._source.active_versions(), await self._codes.active_versions()
        return {role: versions.get(state, "") for state, role in ROLES.items()} | {CODES: codes.get(CHAMPION, "")}

    async def _load(self, role: str, version: str) -> Callable[[], Model | CodeModel] | None:
        if role == CODES:
            return partial(read_code_model, await self._codes.content(version), f"the stored model {version}")
        for known in (self.models.champion, self.models.challenger):
            if known is not None and known.version == version:
                return partial(_same, known)  # the challenger becomes the champion
        content = await self._source.content(version)
        return partial(read_model, content, f"the stored {role} {version}", TRAFFIC_COLUMNS)

    def _report_refusal(self, role: str, version: str, error: Exception | None) -> None:
        _refused.labels(role).set(error is not None)
        if error is not None:
            _log.error("MODEL_REFUSED", role=role, version=version, why=str(error))

    def _set(self, role: str, version: str, model: Model | CodeModel | None) -> None:
        change: dict[str, Any] = {role: model}
        self.models = replace(self.models, **change)
        _active.labels(role).set(model is not None)
        _log.info("MODEL_ACTIVE", role=role, version=version)
        champion = self.models.champion
        if champion is None or champion.version not in self._watches:
            self._watches = {} if champion is None else {champion.version: _watch(champion)}
            for what in (SCORE, "columns"):
                _set_drift(what, None)

    def count(self, seconds: float) -> None:
        """Count what was scored as of a time (seconds since 1970), and tell the drift."""
        for watch in list(self._watches.values()):
            watch.count(seconds)
            found = {drift.column: drift.index for drift in watch.drifts()}
            _set_drift(SCORE, found.pop(SCORE, None))
            _set_drift("columns", max(found.values(), default=None))


def _same(model: Model) -> Model:
    return model


def _set_drift(name: str, index: float | None) -> None:
    """Tell a drift; None takes away what was told before."""
    _drift.labels(name).set(0 if index is None else index)
    if index is None:
        _drift.remove(name)


def _watch(model: Model) -> Watch:
    return Watch(model.version, model.content.profiles)

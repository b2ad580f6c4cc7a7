"""Drift is told of the last day, moves with shifted traffic, and says nothing while too little was seen."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest

from libs.columns import Ints
from libs.telemetry.metrics import REGISTRY
from services.risk.commands import load_models
from services.risk.commands.load_models import ModelLoader
from services.risk.elements.computed import Facts
from services.risk.learning.evaluation.drift import DRIFTED_FROM, profiles
from services.risk.learning.evaluation.drift_watch import ROWS_MIN, SCORE, WAITING_MAX, Watch
from services.risk.learning.features.sample import Sample
from services.risk.learning.model.model_file import Model, read_model
from services.risk.learning.model.opinion import Models, opinion_of
from tests.risk.filings import first_light
from tests.risk.learning.declarations import declarations
from tests.risk.learning.traffic_model import TRAINED, file, shared, traffic

HOUR = 3_600.0


def watch() -> Watch:
    sample, _ = declarations(4000, 1)
    told = profiles(Sample(sample.rows, {**sample.numbers, SCORE: sample.numbers["mass"] / 100}, sample.words))
    return Watch("made/0", told)


def put(watch: Watch, seed: int, rows: int, seconds: float, factor: float = 1.0) -> None:
    sample, _ = declarations(rows, seed)
    shifted = sample.with_numbers({"price": sample.numbers["price"] * factor})
    watch.put(shifted, sample.numbers["mass"] / 100)
    watch.count(seconds)


def test_the_same_traffic_has_not_drifted_and_shifted_prices_have() -> None:
    same, shifted = watch(), watch()
    put(same, 2, 3000, HOUR)
    put(shifted, 2, 3000, HOUR, factor=10.0)
    assert {drift.column for drift in same.drifts()} == {"mass", "price", "hs", "origin", "departure", SCORE}
    assert max(drift.index for drift in same.drifts()) < 0.1
    worst = shifted.drifts()[0]
    assert worst.column == "price"
    assert worst.index > DRIFTED_FROM
    assert worst.verdict == "drifted"


def test_too_few_rows_tell_nothing_and_old_hours_are_forgotten() -> None:
    watched = watch()
    put(watched, 3, ROWS_MIN - 1, HOUR)
    assert watched.drifts() == []
    put(watched, 4, 1, HOUR * 2)
    assert watched.rows == ROWS_MIN
    assert watched.drifts()
    watched.count(HOUR * 25)
    assert watched.rows == 1
    assert watched.drifts() == []


def test_shifted_traffic_of_yesterday_counts_no_more() -> None:
    watched = watch()
    put(watched, 3, 3000, HOUR, factor=10.0)
    put(watched, 4, 3000, HOUR * 30)
    assert max(drift.index for drift in watched.drifts()) < 0.1


def test_drift_is_told_as_of_the_last_count_whatever_is_being_counted() -> None:
    watched = watch()
    put(watched, 3, 3000, HOUR)
    told = watched.drifts()
    counting = watched.hours

    class Changing(dict[int, Any]):
        """Hours that a thread changes at every look: whoever went over them would see it."""

        def values(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    watched.hours = Changing(counting)
    assert watched.drifts() == told != []


def test_what_waits_is_bounded() -> None:
    watched = watch()
    sample, _ = declarations(200, 5)
    for _ in range(WAITING_MAX + 5):
        watched.put(sample, sample.numbers["mass"])
    watched.count(HOUR)
    assert watched.rows == 200 * WAITING_MAX


class _NoCodes:
    """No model of codes."""

    async def active_versions(self) -> dict[int, str]:
        return {}

    async def content(self, version: str) -> bytes:
        raise AssertionError(version)


class _Kept:
    """One model in force."""

    async def active_versions(self) -> dict[int, str]:
        return {3: read_model(file(), "file").version}

    async def content(self, version: str) -> bytes:
        return file()


@pytest.mark.parametrize(("cheap", "least", "most"), [(False, 0.0, 0.6), (True, 1.0, 100.0)])
async def test_the_metric_moves_with_shifted_traffic(cheap: bool, least: float, most: float) -> None:
    active_versions = ModelLoader(_Kept(), _NoCodes())
    await active_versions.look()
    # Of the same world as what the model was trained on.
    whole = shared(1)[0]
    table = whole.take(np.arange(TRAINED, whole.rows))
    if cheap:
        items = table.child("items")
        prices = items.ints("price_minor")
        lines = table.ragged("items")
        cut = items.with_columns({"price_minor": Ints.of(prices.values // 50, prices.valid)})
        table = table.with_columns({"items": type(lines)(lines.offsets, cut)})
    facts = Facts(table, first_light().rates)
    active_versions.scored(opinion_of(active_versions.models, table, facts, Ints.constant(0, table.rows)))
    active_versions.count(HOUR)
    drift = REGISTRY.get_sample_value("luxor_risk_model_drift_psi", {"what": "columns"})
    assert drift is not None
    assert least <= drift < most
    assert REGISTRY.get_sample_value("luxor_risk_model_drift_psi", {"what": "score"}) is not None
    assert REGISTRY.get_sample_value("luxor_risk_model_active", {"role": "champion"}) == 1
    active_versions.count(HOUR * 30)
    for what in ("score", "columns"):
        assert REGISTRY.get_sample_value("luxor_risk_model_drift_psi", {"what": what}) is None


class _Broken(_Kept):
    """A model that this replica cannot read takes the place of one that it can."""

    broken = False

    async def active_versions(self) -> dict[int, str]:
        return {3: "later/1"} if self.broken else await super().active_versions()

    async def content(self, version: str) -> bytes:
        return b'{"format": "luxor-risk-model", "version": 9}' if self.broken else file()


async def test_a_model_that_cannot_be_read_leaves_the_one_before_in_force_and_raises_the_metric() -> None:
    source = _Broken()
    active_versions = ModelLoader(source, _NoCodes())
    await active_versions.look()
    before = active_versions.models.champion
    source.broken = True
    await active_versions.look()
    assert active_versions.models.champion is before is not None
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "champion"}) == 1
    source.broken = False
    await active_versions.look()
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "champion"}) == 0


async def test_a_model_that_cannot_be_read_is_read_once_whatever_is_wrong_and_the_other_role_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    good = read_model(file(), "file").version

    class Both:
        async def active_versions(self) -> dict[int, str]:
            return {3: "later/1", 2: good}

        async def content(self, version: str) -> bytes:
            asked.append(version)
            return file() if version == good else b""

    def breaks(content: bytes, *rest: Any) -> Model:
        return read_model(content, *rest) if content else cast(Model, 1 / 0)

    monkeypatch.setattr(load_models, "read_model", breaks)
    active_versions = ModelLoader(Both(), _NoCodes())
    await asyncio.gather(*(active_versions.look() for _ in range(3)))
    assert asked == ["later/1", good]
    assert active_versions.models.champion is None
    assert active_versions.models.challenger is not None
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "champion"}) == 1
    assert REGISTRY.get_sample_value("luxor_risk_model_refused", {"role": "challenger"}) == 0


def test_unknown_stays_unknown() -> None:
    table, _ = traffic(32, 20)
    facts = Facts(table, first_light().rates)
    assert opinion_of(Models(), table, facts, Ints.constant(0, 20)) is None
    lines = table.ragged("items")
    empty = table.with_columns(
        {"items": type(lines)(np.zeros(21, np.int64), table.child("items").take(np.zeros(0, np.int64)))}
    )
    said = opinion_of(
        Models(read_model(file(), "file")), empty, Facts(empty, first_light().rates), Ints.constant(0, 20)
    )
    assert said is not None
    score = said.columns["model_score_ppm"]
    assert isinstance(score, Ints)
    assert not score.valid.any()
    assert said.contributions(np.full(20, 4))["contributions"].offsets.tolist() == [0] * 21  # type: ignore[union-attr]

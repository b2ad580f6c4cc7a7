"""Scenarios: what a run of the simulator looks like, as YAML that is checked strictly when read."""

import datetime as dt
import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from libs.files.yaml_file import YamlError, YamlFile

LABELS: tuple[str, ...] = (
    "undervaluation",
    "splitting",
    "vague_description",
    "false_description",
    "gift_misuse",
    "throw_away_seller",
    "repeat_offender",
    "prohibited_goods",
    "listed_party",
)
"""Labels that every scenario has a rate for; a scenario's new fraud adds one of its own."""

THROW_AWAY_UNDERVALUED = 0.8
VAGUE_UNDERVALUED = 0.3
"""Shares of throw-away sellers' and of vaguely described consignments that are undervalued as well."""


class ScenarioError(ValueError):
    """A scenario cannot be used; the message names the file, the element and what is expected."""


class Drift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Slow change: every rate is logarithmic and per day after `from_day`, so that day d has exp(rate * (d - from_day))."""

    from_day: int
    price_per_day: float = 0.0
    seller_turnover_per_day: float = 0.0
    groups_per_day: dict[str, float] = {}
    origins_per_day: dict[str, float] = {}
    rates_per_day: dict[str, float] = {}


class NewFraud(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A kind of fraud that appears on `from_day` and reaches its share of all consignments after `ramp_days`."""

    label: str
    from_day: int
    ramp_days: int
    share: float
    honest_share: float
    origin: str
    gateway: str
    service: str
    via: list[str]
    true_codes: list[str]
    cover_codes: list[str]

    def share_on(self, day: int) -> float:
        """Return the share of all consignments on a day, 0 before the first."""
        return self.share * min(1.0, max(0, day - self.from_day + 1) / self.ramp_days)


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a scenario file says; see scenarios/everyday.yaml for the meaning of each element."""

    name: str
    about: str
    start: dt.date
    days: int
    daily_volume: int
    price_level: float
    over_limit_share: float
    gift_share: float
    sellers: int
    households: int
    offender_seller_share: float
    markets: dict[str, float]
    union: dict[str, float]
    origins: dict[str, float]
    services: dict[str, float]
    misbehaviour: dict[str, float]
    drift: Drift | None = None
    new_fraud: NewFraud | None = None

    def drift_days(self, day: int) -> int:
        """Return for how many days drift has been at work on a day (0 without drift)."""
        return 0 if self.drift is None else max(0, day - self.drift.from_day)

    def rates(self, day: int) -> dict[str, float]:
        """Return the share of consignments that carries each label on a day."""
        growth = {} if self.drift is None else self.drift.rates_per_day
        since = self.drift_days(day)
        return {label: rate * math.exp(growth.get(label, 0.0) * since) for label, rate in self.misbehaviour.items()}


def scenario_names() -> list[str]:
    """Return the names of the scenarios that come with the simulator."""
    names = (entry.name for entry in files("libs.simulator").joinpath("scenarios").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def load_scenario(name: str | Path) -> Scenario:
    """Return a scenario by its name, or from a YAML file. Raises ScenarioError where it is absent or wrong."""
    text, stem = _read(name)
    try:
        return _check(msgspec.convert(_merged(text, stem), Scenario, strict=False))
    except (msgspec.ValidationError, YamlError) as error:
        raise ScenarioError(f"scenario {stem!r}: {error}") from error


def _read(name: str | Path) -> tuple[str, str]:
    path = Path(name)
    if path.suffix == ".yaml":
        if not path.is_file():
            raise ScenarioError(f"there is no scenario file {path}")
        return path.read_text(encoding="utf-8"), path.stem
    if str(name) not in scenario_names():
        raise ScenarioError(
            f"there is no scenario {str(name)!r}; choose one of {', '.join(scenario_names())} or a .yaml file"
        )
    return files("libs.simulator").joinpath("scenarios", f"{name}.yaml").read_text(encoding="utf-8"), str(name)


def _merged(text: str, stem: str) -> dict[str, Any]:
    document = YamlFile(f"{stem}.yaml", text).data
    if not isinstance(document, dict):
        raise ScenarioError(f"scenario {stem!r} is no mapping")
    base = document.pop("extends", None)
    merged = {**(_merged(*_read(str(base))) if base else {}), **document}
    merged["name"] = stem
    return merged


def _check(scenario: Scenario) -> Scenario:
    if set(scenario.misbehaviour) != set(LABELS):
        raise ScenarioError(f"scenario {scenario.name!r}: misbehaviour needs a rate for each of {', '.join(LABELS)}")
    if scenario.daily_volume < 1 or scenario.days < 1 or scenario.sellers < 1:
        raise ScenarioError(f"scenario {scenario.name!r}: days, daily_volume and sellers are at least 1")
    for day in (0, scenario.days - 1):
        rates = scenario.rates(day)
        if sum(rates.values()) > 0.9 or min(rates.values()) < 0:
            raise ScenarioError(
                f"scenario {scenario.name!r}: rates of misbehaviour on day {day} leave 0 to 0.9 together"
            )
        if induced_undervaluation(rates) > rates["undervaluation"]:
            raise ScenarioError(
                f"scenario {scenario.name!r}: on day {day} throw-away sellers and vague descriptions bring more "
                f"undervaluation ({induced_undervaluation(rates):.4f}) than its own rate says"
            )
    return scenario


def induced_undervaluation(rates: dict[str, float]) -> float:
    """Return the share of consignments that is undervalued because of what else is wrong with it."""
    return THROW_AWAY_UNDERVALUED * rates["throw_away_seller"] + VAGUE_UNDERVALUED * rates["vague_description"]

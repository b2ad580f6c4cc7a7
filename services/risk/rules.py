"""Rule sets: YAML profiles of dated rules, checked as a whole.

A profile names its rules, the thresholds of its lanes, and the lists and tables that conditions look into. One mistake
anywhere refuses the whole set, since half a set of rules would let through what the other half was to stop; all
mistakes are told at once, each with file, line, rule and column.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np

from libs.customs.countries import COUNTRIES, EU_MEMBERS, UNION
from libs.customs.time import day_of_date
from services.risk import derived
from services.risk.conditions.expressions import Condition, ConditionError, Conditions
from services.risk.conditions.vocabulary import Data, Vocabulary
from services.risk.finding import FindingText
from services.risk.yaml_file import YamlFile, YamlFileError, mistake_of

RULES_MAX: Final = 2_000
SCORE_MAX: Final = 1_000
ENTRIES_MAX: Final = 100_000
#: Day after every day: an open end.
OPEN_END: Final = day_of_date(datetime.date.max)

Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{2,62}$")]
Sentence = Annotated[str, msgspec.Meta(min_length=8, max_length=300)]
Points = Annotated[int, msgspec.Meta(ge=0, le=SCORE_MAX)]
Threshold = Annotated[int, msgspec.Meta(ge=1, le=SCORE_MAX)]
DataName = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{1,39}$")]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class RuleSetError(ValueError):
    """A rule set that is refused; `mistakes` tells each one with its place."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("the rule set is refused:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The score from which on each lane is advised."""

    red: Threshold
    yellow: Threshold
    blue: Threshold


class RuleText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"subject": "judges"}):
    """A rule as written: what it judges, when it counts, what a hit means and who answers for it."""

    id: Code
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    subject: Literal["consignment", "item"]
    condition: Annotated[str, msgspec.Meta(min_length=1)]
    weight: Points
    lane: Literal["red", "yellow", "blue", "none"]
    reason: Code
    sentence: Sentence
    legal_basis: Sentence
    owner: Annotated[str, msgspec.Meta(min_length=3, max_length=70)]
    valid_from: datetime.date
    valid_until: datetime.date | None = None
    jurisdictions: tuple[str, ...] = ()


class DataText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of words, a table of numbers or texts, or a table of lists of words, each in a file of its own."""

    source: Sentence
    words: tuple[Word, ...] | None = None
    numbers: dict[str, int] | None = None
    texts: dict[str, Word] | None = None
    lists: dict[str, tuple[Word, ...]] | None = None

    @property
    def content(self) -> Sequence[str] | Mapping[str, Any] | None:
        """The one that is given; None unless exactly one is, and not empty."""
        given = [part for part in (self.words, self.numbers, self.texts, self.lists) if part is not None]
        return given[0] if len(given) == 1 and len(given[0]) else None


class ProfileText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A profile as written."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
    version: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.-]{1,30}$")]
    thresholds: Thresholds
    data: dict[DataName, str]
    rules: Annotated[tuple[RuleText, ...], msgspec.Meta(min_length=1, max_length=RULES_MAX)]


@dataclass(frozen=True)
class Rule:
    """A rule ready for use. Days are days of acceptance, both ends included; `countries` is empty for all."""

    text: RuleText
    condition: Condition
    first_day: int
    last_day: int
    countries: frozenset[str]


@dataclass(frozen=True)
class RuleSet:
    """A checked and compiled profile."""

    name: str
    version: str
    """Name, declared version and digest of all content: equal exactly when the rules and their data are."""
    thresholds: Thresholds
    rules: tuple[Rule, ...]
    conditions: Conditions
    sources: Mapping[str, str]
    """Where each list and table comes from."""

    @property
    def data(self) -> Data:
        """The lists and tables by name."""
        return self.conditions.vocabulary.data

    @cached_property
    def rates(self) -> Mapping[str, int]:
        """The table that amounts are compared by: currency → millionths of a euro cent for one minor unit."""
        rates = self.data[derived.RATES]
        assert isinstance(rates, Mapping)
        return rates

    @cached_property
    def findings(self) -> tuple[FindingText, ...]:
        """Per rule what its findings say."""
        return tuple(
            FindingText(text.id, text.version, text.weight, text.lane, text.reason, text.sentence)
            for text in (rule.text for rule in self.rules)
        )

    @cached_property
    def first_days(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Per rule the first day of acceptance that it counts for."""
        return np.array([rule.first_day for rule in self.rules], np.int64)

    @cached_property
    def last_days(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Per rule the last day of acceptance that it counts for."""
        return np.array([rule.last_day for rule in self.rules], np.int64)


def load_rule_set(path: Path) -> RuleSet:
    """Read, check and compile a profile with the data files that it names. Raises RuleSetError with every mistake."""
    try:
        file = YamlFile(path)
    except YamlFileError as error:
        raise RuleSetError([str(error)]) from None
    profile = _converted(file, ProfileText)
    mistakes: list[str] = []
    texts = _data(file, profile, mistakes)
    mistakes += _threshold_mistakes(file, profile)
    data: dict[str, Any] = {name: text.content for name, text in texts.items()}
    mistakes += _rate_mistakes(file, profile, data)
    if mistakes:
        # Conditions cannot be judged against data that are not there.
        raise RuleSetError(mistakes)
    conditions = Conditions(Vocabulary(data, derived.ELEMENTS))
    rules = []
    first_place: dict[str, str] = {}
    for index, text in enumerate(profile.rules):
        where = f"$.rules[{index}]"
        place = file.place(where)
        if text.id in first_place:
            mistakes.append(
                f"{place}: rule {text.id}: the id is taken by the rule at {first_place[text.id]}; ids are unique"
            )
        first_place.setdefault(text.id, place)
        countries = _countries(file, where, text, mistakes)
        if text.valid_until is not None and text.valid_until < text.valid_from:
            mistakes.append(
                f"{file.place(where + '.valid_until')}: rule {text.id}: it ends on {text.valid_until}, "
                f"before it begins on {text.valid_from}"
            )
        try:
            condition = conditions.compile(text.condition, text.subject == "item")
        except ConditionError as error:
            mistakes.append(f"{_condition_place(file, where, error)}: rule {text.id}: {error.message}")
            continue
        last_day = OPEN_END if text.valid_until is None else day_of_date(text.valid_until)
        rules.append(Rule(text, condition, day_of_date(text.valid_from), last_day, countries))
    if mistakes:
        raise RuleSetError(mistakes)
    version = f"{profile.name}/{profile.version}+{_digest(profile, texts)}"
    sources = {name: text.source for name, text in texts.items()}
    return RuleSet(profile.name, version, profile.thresholds, tuple(rules), conditions, sources)


def _converted(file: YamlFile, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(file.data, kind)
    except msgspec.ValidationError as error:
        message, where = mistake_of(error)
        if "got `bool`" in message:
            message += "; YAML reads yes, no, on and off as truth values, so put such a text in quotes"
        raise RuleSetError(
            [f"{file.place(where)}: {_owner(file, where)}{message} (at {where.removeprefix('$.')})"]
        ) from None


def _owner(file: YamlFile, where: str) -> str:
    """The rule that a path stands in, by its id."""
    found = re.match(r"\$\.rules\[(\d+)\]", where)
    if found is None:
        return ""
    rule = file.data["rules"][int(found[1])]
    name = rule.get("id") if isinstance(rule, dict) else None
    return f"rule {name}: " if isinstance(name, str) else f"rule {int(found[1]) + 1}: "


def _data(file: YamlFile, profile: ProfileText, mistakes: list[str]) -> dict[str, DataText]:
    texts: dict[str, DataText] = {}
    for name, relative in profile.data.items():
        try:
            data_file = YamlFile(file.path.parent / relative)
            text: DataText = _converted(data_file, DataText)
        except YamlFileError as error:
            mistakes.append(f"{file.place(f'$.data.{name}')}: data {name}: {error}")
            continue
        except RuleSetError as error:
            mistakes += error.mistakes
            continue
        content = text.content
        if content is None:
            mistakes.append(
                f"{data_file.place('$')}: data {name}: give one of words, numbers, texts and lists, not empty"
            )
        elif len(content) > ENTRIES_MAX:
            mistakes.append(
                f"{data_file.place('$')}: data {name}: {len(content)} entries; at most {ENTRIES_MAX} are taken"
            )
        else:
            texts[name] = text
    return texts


def _threshold_mistakes(file: YamlFile, profile: ProfileText) -> list[str]:
    red, yellow, blue = profile.thresholds.red, profile.thresholds.yellow, profile.thresholds.blue
    if red > yellow > blue:
        return []
    place = file.place("$.thresholds")
    return [f"{place}: thresholds must fall from red over yellow to blue; they are {red}, {yellow} and {blue}"]


def _rate_mistakes(file: YamlFile, profile: ProfileText, data: Data) -> list[str]:
    rates = data.get(derived.RATES)
    if derived.RATES not in profile.data:
        return [f"{file.place('$.data')}: data {derived.RATES} is missing; without it no amount can be compared"]
    if rates is None:
        return []
    place = file.place(f"$.data.{derived.RATES}")
    if not isinstance(rates, Mapping) or not all(type(rate) is int for rate in rates.values()):
        return [f"{place}: data {derived.RATES} must be numbers: millionths of a euro cent by currency"]
    return [
        f"{place}: data {derived.RATES}: the rate of {currency} is {rate}; rates lie between 1 and {derived.RATE_MAX}"
        for currency, rate in rates.items()
        if not 1 <= rate <= derived.RATE_MAX
    ]


def _countries(file: YamlFile, where: str, text: RuleText, mistakes: list[str]) -> frozenset[str]:
    countries: set[str] = set()
    for index, code in enumerate(text.jurisdictions):
        if code == UNION:
            countries |= EU_MEMBERS
        elif code in COUNTRIES:
            countries.add(code)
        else:
            place = file.place(f"{where}.jurisdictions[{index}]")
            mistakes.append(f"{place}: rule {text.id}: {code} is no country (alpha-2, or EU for the member states)")
    return frozenset(countries)


def _condition_place(file: YamlFile, where: str, error: ConditionError) -> str:
    path = f"{where}.condition"
    place = file.place(path)
    if path not in file.blocks:
        return f"{place}: condition line {error.line}, column {error.column}"
    # A literal block begins on the line after its sign, and its columns are counted without the indentation.
    return f"{file.path}:{file.lines[path] + error.line}: condition column {error.column}"


def _digest(profile: ProfileText, texts: Mapping[str, DataText]) -> str:
    content = msgspec.json.encode([profile, dict(texts)], order="deterministic")
    return hashlib.sha256(content).hexdigest()[:12]

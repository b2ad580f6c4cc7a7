"""Rule sets, ready for use: dated rules and typologies with the thresholds of the lanes, the lists and tables that conditions
look into, and the parameters of selection; checked and compiled as a whole.

One mistake anywhere refuses the whole set, since half a set of rules would let through what the other half was to stop;
all mistakes are told at once, each with file, line, column and rule. The written form is in schema.py.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from libs.customs.countries import COUNTRIES, EU_MEMBERS, UNION
from libs.customs.time import day_of_date
from luxor.common.v1.common_pb2 import FINDING_KIND_TYPOLOGY
from services.risk.conditions.cel.vocabulary import Data, Vocabulary
from services.risk.conditions.expressions import Condition, ConditionError, Conditions
from services.risk.elements import computed
from services.risk.rules.finding import FindingText
from services.risk.rules.profile import Placed, WrittenProfile, read_written
from services.risk.rules.schema import SCORE_MAX, DataText, RuleText, Stage, Thresholds, TypologyText
from services.risk.rules.sources import Directory, FileSource, SentFiles
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.selection import Parameters

__all__ = [
    "OPEN_END",
    "SCORE_MAX",
    "Rule",
    "RuleSet",
    "RuleSetError",
    "RuleSetText",
    "Thresholds",
    "Typology",
    "load_rule_set",
    "read_rule_set",
]

#: Day after every day: an open end.
OPEN_END: Final = day_of_date(datetime.date.max)


@dataclass(frozen=True)
class Rule:
    """A rule ready for use. Days are days of acceptance, both ends included; `countries` is empty for all."""

    text: RuleText
    condition: Condition
    first_day: int
    last_day: int
    countries: frozenset[str]
    place: tuple[str, int, int] = ("", 0, 0)
    """Where it is written: file, line and column."""

    @property
    def evaluated(self) -> bool:
        """Whether it is judged at all: in shadow or active."""
        return self.text.life in ("shadow", "active")

    @property
    def shadow(self) -> bool:
        """Whether it is counted without effect."""
        return self.text.life == "shadow"


@dataclass(frozen=True)
class Typology:
    """A typology ready for use."""

    text: TypologyText
    members: tuple[tuple[int, int], ...]
    """Place in the set and weight of each rule whose hits count: active ones, and for a typology in shadow those in shadow too."""
    place: tuple[str, int, int] = ("", 0, 0)

    @property
    def evaluated(self) -> bool:
        """Whether it is judged at all: in shadow or active."""
        return self.text.life in ("shadow", "active")

    @property
    def shadow(self) -> bool:
        """Whether it is counted without effect."""
        return self.text.life == "shadow"


@dataclass(frozen=True)
class RuleSet:
    """A checked and compiled profile."""

    name: str
    version: str
    """Name, declared version and digest of all content: equal exactly when rules, data and selection are."""
    thresholds: Thresholds
    rules: tuple[Rule, ...]
    conditions: Conditions
    sources: Mapping[str, str]
    """Where each list and table comes from."""
    typologies: tuple[Typology, ...] = ()
    selection: Parameters | None = None
    """None: nothing is drawn, and the lane is what findings advise."""

    @property
    def data(self) -> Data:
        """The lists and tables by name."""
        return self.conditions.vocabulary.data

    @cached_property
    def rates(self) -> Mapping[str, int]:
        """The table that amounts are compared by: currency → millionths of a euro cent for one minor unit."""
        rates = self.data[computed.RATES]
        assert isinstance(rates, Mapping)
        return rates

    @cached_property
    def findings(self) -> tuple[FindingText, ...]:
        """Per rule what its findings say."""
        return tuple(
            FindingText(
                text.id,
                text.version,
                text.weight,
                text.lane,
                text.reason,
                text.sentence,
                confidential=text.confidential,
                second_person=text.second_person,
            )
            for text in (rule.text for rule in self.rules)
        )

    @cached_property
    def typology_findings(self) -> tuple[FindingText, ...]:
        """Per typology what its findings say."""
        return tuple(
            FindingText(
                text.id,
                text.version,
                text.weight,
                text.lane,
                text.reason,
                text.sentence,
                confidential=text.confidential,
                kind=FINDING_KIND_TYPOLOGY,
                second_person=text.second_person,
            )
            for text in (typology.text for typology in self.typologies)
        )

    @cached_property
    def first_days(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Per rule the first day of acceptance that it counts for."""
        return np.array([rule.first_day for rule in self.rules], np.int64)

    @cached_property
    def last_days(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Per rule the last day of acceptance that it counts for."""
        return np.array([rule.last_day for rule in self.rules], np.int64)

    def evaluated_at(self, stage: Stage) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Per rule whether it is judged at a stage."""
        return self._evaluated[stage]

    @cached_property
    def _evaluated(self) -> dict[Stage, np.ndarray[Any, np.dtype[np.bool_]]]:
        stages: tuple[Stage, ...] = ("clearance", "pre_loading")
        return {
            stage: np.array([rule.evaluated and stage in rule.text.stages for rule in self.rules], np.bool_)
            for stage in stages
        }


@dataclass(frozen=True, slots=True)
class RuleSetText:
    """A rule set as written."""

    profile: str
    """Path of the profile among the files."""
    files: Mapping[str, bytes]

    def read(self) -> RuleSet:
        """Read, check and compile it. Raises RuleSetError."""
        return read_rule_set(SentFiles(self.files), self.profile)


def load_rule_set(path: Path) -> RuleSet:
    """Read, check and compile a profile with the files that it names. Raises RuleSetError with every mistake."""
    return read_rule_set(Directory(path.parent), path.name)


def read_rule_set(source: FileSource, path: str) -> RuleSet:
    """Read, check and compile the profile at a path of a source. Raises RuleSetError with every mistake."""
    written = read_written(source, path)
    errors: list[ValidationError] = written.main.errors
    _check_thresholds(written)
    _check_rates(written)
    if errors:
        # Conditions cannot be judged against data that are not there.
        raise RuleSetError(errors)
    content: dict[str, Any] = {name: text.content for name, text in written.data.items()}
    try:
        conditions = Conditions(Vocabulary(content, computed.ELEMENTS))
    except (ValueError, RuntimeError) as error:
        written.main.add_error("$.data", "", f"conditions cannot look into these data: {error}")
        raise RuleSetError(errors) from None
    rules = tuple(_rule(placed, conditions) for placed in written.rules.values())
    typologies = tuple(_typology(placed, written) for placed in written.typologies.values())
    if errors:
        raise RuleSetError(errors)
    assert written.thresholds is not None
    return RuleSet(
        written.name,
        f"{written.name}/{written.version}+{written.digest}",
        written.thresholds,
        tuple(rule for rule in rules if rule is not None),
        conditions,
        {name: text.source for name, text in written.data.items()},
        typologies,
        written.selection,
    )


def _check_thresholds(written: WrittenProfile) -> None:
    assert written.thresholds is not None
    assert written.thresholds_place is not None
    red, yellow, blue = written.thresholds.red, written.thresholds.yellow, written.thresholds.blue
    if not red > yellow > blue:
        reading, where = written.thresholds_place
        told = f"thresholds must fall from red over yellow to blue; they are {red}, {yellow} and {blue}"
        reading.add_error(where, "", told)


def _check_rates(written: WrittenProfile) -> None:
    text: DataText | None = written.data.get(computed.RATES)
    if text is None:
        told = f"data {computed.RATES} is missing; without it no amount can be compared"
        written.main.add_error("$.data", "", told)
        return
    reading, _ = written.data_places[computed.RATES]
    where = f"$.data.{computed.RATES}"
    if text.numbers is None:
        reading.add_error(where, "", f"data {computed.RATES} must be numbers: millionths of a euro cent by currency")
        return
    for currency, rate in text.numbers.items():
        if not 1 <= rate <= computed.RATE_MAX:
            bounds = f"rates lie between 1 and {computed.RATE_MAX}"
            reading.add_error(where, "", f"data {computed.RATES}: the rate of {currency} is {rate}; {bounds}")


def _rule(placed: Placed[RuleText], conditions: Conditions) -> Rule | None:
    text, reading, where = placed.text, placed.reading, placed.where
    rule = f"rule {text.id}"
    countries: set[str] = set()
    for index, code in enumerate(text.jurisdictions):
        if code == UNION:
            countries |= EU_MEMBERS
        elif code in COUNTRIES:
            countries.add(code)
        else:
            told = f"{code} is no country (alpha-2, or EU for the member states)"
            reading.add_error(f"{where}.jurisdictions[{index}]", rule, told)
    if text.valid_until is not None and text.valid_until < text.valid_from:
        told = f"it ends on {text.valid_until}, before it begins on {text.valid_from}"
        reading.add_error(f"{where}.valid_until", rule, told)
    _check_second_person(placed, rule)
    try:
        condition = conditions.compile(text.condition, text.subject == "item")
    except ConditionError as error:
        reading.errors.append(_condition_error(placed, rule, error))
        return None
    last_day = OPEN_END if text.valid_until is None else day_of_date(text.valid_until)
    first_day = day_of_date(text.valid_from)
    return Rule(text, condition, first_day, last_day, frozenset(countries), _place(placed))


def _check_second_person(placed: Placed[RuleText] | Placed[TypologyText], name: str) -> None:
    if placed.text.second_person and placed.text.lane not in ("yellow", "red"):
        told = "second_person needs lane yellow or red; no officer decides on goods of the other lanes"
        placed.reading.add_error(f"{placed.where}.second_person", name, told)


def _place(placed: Placed[Any]) -> tuple[str, int, int]:
    return placed.reading.file.name, *placed.reading.file.position(placed.where)


def _condition_error(placed: Placed[RuleText], rule: str, error: ConditionError) -> ValidationError:
    """A mistake in a condition, at the place in the file where its own line and column come to stand."""
    file, path = placed.reading.file, f"{placed.where}.condition"
    line, column = file.position(path)
    name = file.name
    indentation = file.block_indentation(path)
    if indentation is not None:
        # A literal block begins on the line after its sign, and its columns are counted without the indentation.
        return ValidationError(name, line + error.line, indentation + error.column, rule, f"condition: {error.message}")
    begins = file.line(line)[column - 1 :]
    quoted = begins[:1] in ("'", '"')
    if begins[quoted:].startswith(placed.text.condition):
        return ValidationError(name, line, column + quoted + error.column - 1, rule, f"condition: {error.message}")
    # Folded or with escapes, so that columns of the text are none of the file.
    told = f"condition, its line {error.line}, column {error.column}: {error.message}"
    return ValidationError(name, line, column, rule, told)


def _typology(placed: Placed[TypologyText], written: WrittenProfile) -> Typology:
    text, reading, where = placed.text, placed.reading, placed.where
    name = f"typology {text.id}"
    if text.id in written.rules:
        reading.add_error(where, name, "the id is taken by a rule; ids are unique over rules and typologies")
    _check_second_person(placed, name)
    lives = ("active", "shadow") if text.life == "shadow" else ("active",)
    places = {rule: place for place, rule in enumerate(written.rules)}
    members = []
    for rule, weight in text.rules.items():
        if rule not in written.rules:
            reading.add_error(f"{where}.rules.{rule}", name, f"there is no rule {rule}{_near(rule, written)}")
        elif written.rules[rule].text.life in lives:
            members.append((places[rule], weight))
    reach = sum(weight for _, weight in members)
    if (
        text.life in ("active", "shadow")
        and all(rule in written.rules for rule in text.rules)
        and reach < text.from_points
    ):
        told = f"its rules that are {' or in '.join(lives)} weigh {reach} together, so {text.from_points} can never be reached"
        reading.add_error(f"{where}.from_points", name, told)
    return Typology(text, tuple(members), _place(placed))


def _near(rule: str, written: WrittenProfile) -> str:
    near = difflib.get_close_matches(rule, written.rules, n=1)
    return f"; did you mean {near[0]}?" if near else ""

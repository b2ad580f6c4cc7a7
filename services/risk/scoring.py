"""Scores a batch: findings of every rule in force, points, and the lane they call for.

Lanes as in ASYCUDA's selectivity (functional manual, section 6.7): red = physical examination, yellow = documents,
blue = audit after release, green = the rest; the higher of what any rule advises and of what the score calls for.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.risk.v1 import risk_pb2
from services.risk.derived import Facts
from services.risk.expressions import judge
from services.risk.nodes import Batch
from services.risk.rules import SCORE_MAX, Rule, RuleSet
from services.risk.vectors import BoolArray, IntArray, per_segment
from services.risk.vocabulary import TableSource

#: A rule names at most so many items of a consignment; an officer needs no more.
ITEMS_NAMED_MAX: Final = 10
LANES: Final = {
    "none": risk_pb2.LANE_UNSPECIFIED,
    "green": risk_pb2.LANE_GREEN,
    "blue": risk_pb2.LANE_BLUE,
    "yellow": risk_pb2.LANE_YELLOW,
    "red": risk_pb2.LANE_RED,
}

_Numbers = npt.NDArray[np.int64]


def assess(rule_set: RuleSet, table: Table) -> Table:
    """Assess consignments (a table of ConsignmentColumns): gives a table of AssessmentColumns, aligned by rows.

    A rule counts for a consignment whose day of acceptance lies in its time and whose destination is one of its
    countries; without a day of acceptance no rule counts.
    """
    facts = Facts(table, rule_set.rates)
    batch = rule_set.conditions.batch(TableSource(table, facts.computed))
    found = _Found(table.rows, len(rule_set.rules))
    for place, scope in _Scopes(rule_set, facts).in_force():
        _judge(rule_set.rules[place], place, scope, facts, batch, found)
    return found.table(rule_set)


class _Scopes:
    """Which rules count for which rows; None for all of them."""

    def __init__(self, rule_set: RuleSet, facts: Facts) -> None:
        self.rule_set = rule_set
        self.days = facts.acceptance_day
        self.destinations = facts.destination
        self._by_time: dict[tuple[int, int], BoolArray] = {}
        self._by_country: dict[frozenset[str], BoolArray] = {}
        self._rows: dict[tuple[int, int, frozenset[str]], BoolArray | None] = {}

    def in_force(self) -> list[tuple[int, BoolArray | None]]:
        """The rules that count for some row, by their place in the set, each with its rows."""
        known = self.days.values[self.days.valid]
        if len(known) == 0:
            return []
        candidates = (self.rule_set.first_days <= known.max()) & (self.rule_set.last_days >= known.min())
        scopes = []
        for place in np.flatnonzero(candidates).tolist():
            rows = self._scope(self.rule_set.rules[place])
            if rows is None or rows.any():
                scopes.append((place, rows))
        return scopes

    def _scope(self, rule: Rule) -> BoolArray | None:
        key = (rule.first_day, rule.last_day, rule.countries)
        if key not in self._rows:
            rows = self.days.valid & (self.days.values >= rule.first_day) & (self.days.values <= rule.last_day)
            if rule.countries:
                rows &= self.destinations.isin(rule.countries)
            self._rows[key] = None if rows.all() else rows
        return self._rows[key]


def _judge(rule: Rule, place: int, scope: BoolArray | None, facts: Facts, batch: Batch, found: _Found) -> None:
    judged = judge(rule.condition, batch)
    holds, failed = judged.holds, judged.failed
    if scope is not None:
        if rule.condition.on_items:
            scope = scope[facts.owners]
        holds = holds & scope
        failed = None if failed is None else failed & scope
    if failed is not None:
        found.unjudged += (per_segment(failed, facts.lines.offsets) > 0) if rule.condition.on_items else failed
    hits = np.flatnonzero(holds)
    if len(hits) == 0:
        return
    if not rule.condition.on_items:
        found.add(place, rule.text.weight, hits, None)
        return
    owners = facts.owners[hits]
    first = np.searchsorted(owners, owners)
    nth = np.arange(len(hits)) - first
    named = nth < ITEMS_NAMED_MAX
    hits, owners, nth = hits[named], owners[named], nth[named]
    declared = facts.items.ints("number")
    position = hits - facts.lines.offsets[owners] + 1
    numbers = np.where(declared.valid[hits], declared.values[hits], position)
    found.add(place, np.where(nth == 0, rule.text.weight, 0), owners, numbers)


class _Found:
    """Findings as they are gathered, rule by rule."""

    def __init__(self, rows: int, rules: int) -> None:
        self.rows = rows
        self.rules = rules
        self.unjudged: _Numbers = np.zeros(rows, np.int64)
        self._places: list[_Numbers] = []
        self._points: list[_Numbers] = []
        self._owners: list[_Numbers] = []
        self._items: list[_Numbers] = []

    def add(self, place: int, points: Any, owners: IntArray, items: IntArray | None) -> None:
        """Add the findings of one rule: owners rise; `items` are item numbers, None for the whole consignment."""
        count = len(owners)
        self._places.append(np.full(count, place, np.int64))
        self._points.append(np.broadcast_to(np.asarray(points, np.int64), count))
        self._owners.append(owners)
        self._items.append(np.zeros(count, np.int64) if items is None else items)

    def table(self, rule_set: RuleSet) -> Table:
        """The assessments: findings of a consignment in the order of rules and items."""
        owners, places = _joined(self._owners), _joined(self._places)
        points, items = _joined(self._points), _joined(self._items)
        order = np.argsort(owners, kind="stable")
        owners, places, points, items = owners[order], places[order], points[order], items[order]
        counts = np.bincount(owners, minlength=self.rows)
        score = np.minimum(np.bincount(owners, weights=points, minlength=self.rows).astype(np.int64), SCORE_MAX)
        advised = _lanes(rule_set)[places]
        lane = _by_score(rule_set, score)
        np.maximum.at(lane, owners, advised)
        findings = Ragged.of_lengths(counts, _findings(rule_set, places, points, items, advised))
        columns: dict[str, Column] = {
            "lane": Ints.of(lane),
            "score": Ints.of(score),
            "unjudged": Ints.of(self.unjudged),
            "rule_set": Strings.constant(rule_set.version, self.rows),
            "findings": findings,
        }
        return Table.of(risk_pb2.AssessmentColumns, self.rows, columns)


def _joined(parts: list[_Numbers]) -> _Numbers:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _lanes(rule_set: RuleSet) -> _Numbers:
    return np.array([LANES[rule.text.lane] for rule in rule_set.rules], np.int64)


def _by_score(rule_set: RuleSet, score: _Numbers) -> _Numbers:
    thresholds = rule_set.thresholds
    steps = np.array([thresholds.blue, thresholds.yellow, thresholds.red])
    lanes: _Numbers = risk_pb2.LANE_GREEN + np.searchsorted(steps, score, side="right")
    return lanes


def _findings(rule_set: RuleSet, places: _Numbers, points: _Numbers, items: _Numbers, advised: _Numbers) -> Table:
    hit, indices = np.unique(places, return_inverse=True)
    rules = [rule_set.rules[place].text for place in hit.tolist()]
    versions = np.array([rule.version for rule in rules], np.int64)

    def text(values: list[str]) -> Strings:
        # Rules share reasons and sentences, and a dictionary holds each value once.
        return Strings(values, indices.astype(np.int32)).translate(str)

    columns: dict[str, Column] = {
        "rule": text([rule.id for rule in rules]),
        "rule_version": Ints.of(versions[indices] if len(rules) else np.zeros(0, np.int64)),
        "points": Ints.of(points),
        "item_number": Ints.of(items, items > 0),
        "reason": text([rule.reason for rule in rules]),
        "lane": Ints.of(advised),
        "sentence": text([rule.sentence for rule in rules]),
    }
    return Table(schema_of(risk_pb2.FindingColumns), len(places), columns)

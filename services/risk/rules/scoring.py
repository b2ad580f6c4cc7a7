"""Scores a batch: findings of every rule in force and of what else was looked at, points, and the lane they call for.

Lanes as in ASYCUDA's selectivity (functional manual, section 6.7): red = physical examination, yellow = documents,
blue = audit after release, green = the rest; the higher of what any rule advises and of what the score calls for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, schema_of
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.evaluation.frames import Batch
from services.risk.conditions.evaluation.vectors import BoolArray, per_segment
from services.risk.conditions.expressions import judge
from services.risk.elements.computed import Facts
from services.risk.rules.finding import ExtraFindings, FindingText
from services.risk.rules.rule_set import Rule, RuleSet
from services.risk.rules.schema import SCORE_MAX, Stage, Thresholds
from services.risk.rules.typologies import judge_typologies

__all__ = ["ITEMS_NAMED_MAX", "LANES", "SCORE_MAX", "Scopes", "assess", "lane_by_score"]

#: A rule names at most so many items of a consignment; an officer needs no more.
ITEMS_NAMED_MAX: Final = 10
LANES: Final = {
    "none": common_pb2.LANE_UNSPECIFIED,
    "green": common_pb2.LANE_GREEN,
    "blue": common_pb2.LANE_BLUE,
    "yellow": common_pb2.LANE_YELLOW,
    "red": common_pb2.LANE_RED,
}

_Numbers = npt.NDArray[np.int64]
_Four = tuple[_Numbers, _Numbers, _Numbers, _Numbers]


def assess(
    rule_set: RuleSet,
    table: Table,
    *,
    facts: Facts | None = None,
    extra_findings: Sequence[ExtraFindings] = (),
    constants: Mapping[str, str] | None = None,
    stage: Stage = "clearance",
) -> Table:
    """Assess consignments (a table of ConsignmentColumns): gives a table of AssessmentColumns, aligned by rows.

    A rule counts at its stages, for a consignment of its directions whose day of acceptance lies in its time and whose destination is one of its
    countries; without a day of acceptance no rule counts. Rules in shadow are told by their ids alone. `facts` are the
    computed elements where they are there already; `extra_findings` is what else was found; it stands behind the rules' findings;
    `constants` are columns that are the same for all rows.
    """
    if facts is None:
        facts = Facts(table, rule_set.rates)
    batch = rule_set.conditions.batch(TableSource(table, facts.computed))
    found = _RuleMatches(table.rows)
    for place, scope in Scopes(rule_set, facts, stage).active():
        _judge(rule_set.rules[place], place, scope, facts, batch, found)
    typologies, shadow = judge_typologies(rule_set, found.places, found.matched_rows, facts)
    found.leave_out_shadow(rule_set)
    return found.table(rule_set, facts, [typologies, *extra_findings], constants or {}).with_columns(
        {"shadow_rules": shadow}
    )


class Scopes:
    """Which rules count for which rows; None for all of them."""

    def __init__(self, rule_set: RuleSet, facts: Facts, stage: Stage) -> None:
        self.rule_set = rule_set
        self.stage = stage
        self.days = facts.acceptance_day
        self.destinations = facts.destination
        self.exports = facts.exports
        self._by_time: dict[tuple[int, int], BoolArray] = {}
        self._by_country: dict[frozenset[str], BoolArray] = {}
        self._rows: dict[tuple[int, int, frozenset[str], frozenset[str]], BoolArray | None] = {}

    def active(self) -> list[tuple[int, BoolArray | None]]:
        """The rules that count for some row, by their place in the set, each with its rows."""
        known = self.days.values[self.days.valid]
        if len(known) == 0:
            return []
        candidates = (self.rule_set.first_days <= known.max()) & (self.rule_set.last_days >= known.min())
        candidates &= self.rule_set.evaluated_at(self.stage)
        scopes = []
        for place in np.flatnonzero(candidates).tolist():
            rows = self.scope(self.rule_set.rules[place])
            if rows is None or rows.any():
                scopes.append((place, rows))
        return scopes

    def scope(self, rule: Rule) -> BoolArray | None:
        """The rows that a rule counts for by day, country and direction, whatever its life and stages."""
        directions = frozenset(rule.text.directions)
        key = (rule.first_day, rule.last_day, rule.countries, directions)
        if key not in self._rows:
            rows = self.days.valid & (self.days.values >= rule.first_day) & (self.days.values <= rule.last_day)
            if rule.countries:
                rows &= self.destinations.isin(rule.countries)
            if "export" not in directions:
                rows &= ~self.exports
            elif "import" not in directions:
                rows &= self.exports
            self._rows[key] = None if rows.all() else rows
        return self._rows[key]


def _judge(rule: Rule, place: int, scope: BoolArray | None, facts: Facts, batch: Batch, matches: _RuleMatches) -> None:
    if scope is not None and rule.condition.on_items:
        scope = scope[facts.owners]
    judged = judge(rule.condition, batch, scope)
    holds, failed = judged.applies, judged.failed
    if scope is not None:
        holds = holds & scope
        failed = None if failed is None else failed & scope
    if failed is not None and not rule.shadow:
        matches.unjudged += (per_segment(failed, facts.lines.offsets) > 0) if rule.condition.on_items else failed
    rows = holds.nonzero()[0]
    if len(rows):
        matches.places.append(place)
        matches.matched_rows.append(rows)


class _RuleMatches:
    """What was found, as it is gathered rule by rule: per rule that hit, its place in the set and the rows it hit."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.unjudged: _Numbers = np.zeros(rows, np.int64)
        self.places: list[int] = []
        self.matched_rows: list[_Numbers] = []

    def leave_out_shadow(self, rule_set: RuleSet) -> None:
        """Forget the hits of rules in shadow."""
        kept = [index for index, place in enumerate(self.places) if not rule_set.rules[place].shadow]
        self.places = [self.places[index] for index in kept]
        self.matched_rows = [self.matched_rows[index] for index in kept]

    def table(
        self,
        rule_set: RuleSet,
        facts: Facts,
        extra_findings: Sequence[ExtraFindings] = (),
        constants: Mapping[str, str] | None = None,
    ) -> Table:
        """The assessments: findings of a consignment in the order of rules and items, then those of each of `extra_findings`."""
        owners, places, points, items = self._findings(rule_set, facts)
        texts: Sequence[FindingText] = rule_set.findings
        if extra_findings:
            texts, owners, places, points, items = _joined(
                texts, (owners, places, points, items), extra_findings, facts
            )
        advised = np.array([LANES[text.lane] for text in texts], np.int64)[places]
        counts = np.bincount(owners, minlength=self.rows)
        score = np.minimum(np.bincount(owners, weights=points, minlength=self.rows).astype(np.int64), SCORE_MAX)
        lane = lane_by_score(rule_set.thresholds, score)
        np.maximum.at(lane, owners, advised)
        columns: dict[str, Column] = {
            "lane": Ints.of(lane),
            "score": Ints.of(score),
            "unjudged": Ints.of(self.unjudged),
            "rule_set": Strings.constant(rule_set.version, self.rows),
            "findings": Ragged.of_lengths(counts, findings_table(texts, places, points, items, advised)),
            **{name: Strings.constant(value, self.rows) for name, value in (constants or {}).items()},
        }
        return Table.of(risk_pb2.AssessmentColumns, self.rows, columns)

    def _findings(self, rule_set: RuleSet, facts: Facts) -> _Four:
        """Per finding its consignment, its rule, its points and its item's number (0: none), sorted by consignment."""
        if not self.matched_rows:
            nothing = np.zeros(0, np.int64)
            return nothing, nothing, nothing, nothing
        places = np.repeat(np.array(self.places, np.int64), [len(hits) for hits in self.matched_rows])
        rows = np.concatenate(self.matched_rows)
        on_items = np.array([rule.condition.on_items for rule in rule_set.rules])[places]
        owners, items = rows.copy(), np.zeros(len(rows), np.int64)
        item_rows = rows[on_items]
        owners[on_items] = facts.owners[item_rows]
        items[on_items] = facts.item_numbers[item_rows]
        weights = np.array([text.points for text in rule_set.findings], np.int64)[places]
        return _ordered(owners, places, weights, items)


def _ordered(owners: _Numbers, places: _Numbers, weights: _Numbers, items: _Numbers) -> _Four:
    """Findings sorted by consignment, each text counting its points once a consignment and naming few items.

    Those of one text and consignment stand together, so a change of either begins a new pair.
    """
    begins = np.ones(len(owners), bool)
    begins[1:] = (places[1:] != places[:-1]) | (owners[1:] != owners[:-1])
    number = np.arange(len(owners))
    nth = number - np.maximum.accumulate(np.where(begins, number, 0))
    points = weights * begins
    order = np.argsort(owners, kind="stable")
    order = order[nth[order] < ITEMS_NAMED_MAX]
    return owners[order], places[order], points[order], items[order]


def _joined(
    texts: Sequence[FindingText], rule_findings: _Four, extra_findings: Sequence[ExtraFindings], facts: Facts
) -> tuple[Sequence[FindingText], _Numbers, _Numbers, _Numbers, _Numbers]:
    """The rules' findings with `extra_findings` behind them, sorted by consignment."""
    all_texts = list(texts)
    parts = [rule_findings]
    for each in extra_findings:
        if len(each.owners) == 0:
            continue
        items = np.zeros(len(each.owners), np.int64)
        on_items = each.items >= 0
        if on_items.any():
            items[on_items] = facts.item_numbers[each.items[on_items]]
        order = np.lexsort((np.arange(len(each.owners)), each.places, each.owners))
        weights = np.array([text.points for text in each.texts], np.int64)[each.places]
        parts.append(_ordered(each.owners[order], each.places[order] + len(all_texts), weights[order], items[order]))
        all_texts += each.texts
    if len(parts) == 1:
        return texts, *rule_findings
    owners, places, points, items = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(owners, kind="stable")
    return all_texts, owners[order], places[order], points[order], items[order]


def lane_by_score(thresholds: Thresholds, score: _Numbers) -> _Numbers:
    """The lane that each score calls for."""
    steps = np.array([thresholds.blue, thresholds.yellow, thresholds.red])
    lanes: _Numbers = common_pb2.LANE_GREEN + np.searchsorted(steps, score, side="right")
    return lanes


def findings_table(
    all_texts: Sequence[FindingText], places: _Numbers, points: _Numbers, items: _Numbers, advised: _Numbers
) -> Table:
    """Findings as a table of FindingColumns."""
    hit, inverse = np.unique(places, return_inverse=True)
    texts = [all_texts[place] for place in hit.tolist()]
    indices = inverse.astype(np.int32)

    def text(values: list[str]) -> Strings:
        # Rules share reasons and sentences, and a dictionary holds each value once.
        return Strings(values, indices).translate(str)

    def numbers(values: list[int]) -> _Numbers:
        return np.array(values, np.int64)[indices] if values else np.zeros(0, np.int64)

    columns: dict[str, Column] = {
        "rule": text([each.id for each in texts]),
        "rule_version": Ints.of(numbers([each.version for each in texts])),
        "points": Ints.of(points),
        "item_number": Ints.of(items, items > 0),
        "reason": text([each.reason for each in texts]),
        "lane": Ints.of(advised),
        "sentence": text([each.sentence for each in texts]),
        "confidential": Bools.of(numbers([each.confidential for each in texts]).astype(np.bool_)),
        "kind": Ints.of(numbers([each.kind for each in texts])),
    }
    if any(each.second_person for each in texts):
        second_person = numbers([each.second_person for each in texts]).astype(np.bool_)
        columns["second_person"] = Bools.of(second_person, second_person)
    if any(each.documents for each in texts):
        documents = [each.documents for each in texts]
        lengths = numbers([len(each) for each in documents])
        columns["documents"] = Ragged.of_lengths(
            lengths, Strings.of([document for place in indices.tolist() for document in documents[place]])
        )
    if any(each.match is not None for each in texts):
        matches = [each.match for each in texts]
        score = numbers([0 if match is None else match.score for match in matches])
        columns |= {
            "party": text(["" if match is None else match.party for match in matches]),
            "list": text(["" if match is None else match.list for match in matches]),
            "list_entry": text(["" if match is None else match.entry for match in matches]),
            "match_score": Ints.of(score, score > 0),
            "explanation": text(["" if match is None else match.explanation for match in matches]),
        }
    return Table(schema_of(risk_pb2.FindingColumns), len(places), columns)

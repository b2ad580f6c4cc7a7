"""Typologies, judged on which rules hit: each a score of its own over a consignment; and the rules in shadow, told apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from libs.columns import Ragged, Strings
from services.risk.elements.computed import Facts
from services.risk.rules.finding import ExtraFindings
from services.risk.rules.rule_set import RuleSet, Typology

_Numbers = npt.NDArray[np.int64]


def judge_typologies(
    rule_set: RuleSet, places: Sequence[int], matched_rows: Sequence[_Numbers], facts: Facts
) -> tuple[ExtraFindings, Ragged]:
    """The findings of typologies, and per consignment the ids of rules and then typologies in shadow that hold.

    `places` are the rules that hit something, in the order of the set, `matched_rows` the rows of each: of items where the rule
    judges items, else of consignments.
    """
    rows = facts.table.rows
    # Most rules are members of no typology: their items are not looked up.
    asked = {place for each in rule_set.typologies if each.evaluated for place, _ in each.members}
    owners = {
        place: np.unique(facts.owners[each]) if rule_set.rules[place].condition.on_items else each
        for place, each in zip(places, matched_rows, strict=True)
        if place in asked or rule_set.rules[place].shadow
    }
    told: list[tuple[int, _Numbers]] = []
    shadow = [(rule_set.rules[place].text.id, each) for place, each in owners.items() if rule_set.rules[place].shadow]
    for number, typology in enumerate(rule_set.typologies):
        if not typology.evaluated:
            continue
        heavy = reached(typology, owners, rows)
        if len(heavy) == 0:
            continue
        if typology.shadow:
            shadow.append((typology.text.id, heavy))
        else:
            told.append((number, heavy))
    nothing = np.zeros(0, np.int64)
    numbers = np.repeat(np.array([number for number, _ in told], np.int64), [len(each) for _, each in told])
    found = np.concatenate([each for _, each in told]) if told else nothing
    return ExtraFindings(rule_set.typology_findings, numbers, found, np.full(len(found), -1, np.int64)), _lists(
        shadow, rows
    )


def reached(typology: Typology, owners: dict[int, _Numbers], rows: int) -> _Numbers:
    """Return the consignments whose matching rules reach the sum of the typology."""
    there = [(owners[place], weight) for place, weight in typology.members if place in owners]
    if sum(weight for _, weight in there) < typology.text.from_points:
        return np.zeros(0, np.int64)
    points = np.zeros(rows, np.int64)
    for each, weight in there:
        points[each] += weight
    return np.flatnonzero(points >= typology.text.from_points)


def _lists(shadow: Sequence[tuple[str, _Numbers]], rows: int) -> Ragged:
    """Per consignment the names whose rows it is one of, in their order."""
    if not shadow:
        return Ragged.of_lengths(np.zeros(rows, np.int64), Strings.of([]))
    owners = np.concatenate([each for _, each in shadow])
    names = np.repeat(np.arange(len(shadow), dtype=np.int32), [len(each) for _, each in shadow])
    order = np.argsort(owners, kind="stable")
    values = Strings(["", *(name for name, _ in shadow)], names[order] + np.int32(1))
    return Ragged.of_lengths(np.bincount(owners, minlength=rows), values)

"""What there is to know of a rule set before it bites: rules that say the same, conditions that hold always or never, what each
rule does on a sample, and what is evaluated row by row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.columns import Table
from services.risk.conditions.cel.syntax_tree import Call, Loop, Name, read_checked
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.expressions import judge
from services.risk.elements.computed import Facts
from services.risk.history.columns import HistoryColumns as HistoryColumns
from services.risk.rules.rule_set import Rule, RuleSet, Typology
from services.risk.rules.scoring import Scopes
from services.risk.rules.validation_errors import ValidationError

#: A batch that was assessed: a table of ConsignmentColumns, and what history said of it then.
Batch = tuple[Table, HistoryColumns | None]
#: Of fewer rows nobody can say that a condition holds always or never.
ROWS_LEAST: Final = 200
#: A condition that is evaluated row by row is tried on so many consignments.
FALLBACK_CONSIGNMENTS_MAX: Final = 500
_ORDERLESS: Final = frozenset({"_&&_", "_||_"})
_SYMMETRIC: Final = frozenset({"_==_", "_!=_"})


@dataclass(slots=True)
class OnSample:
    """What one rule does on the sample: rows are items where it judges items, else consignments."""

    rule: str
    fallback: str = ""
    """Why it is evaluated row by row; empty where it is not."""
    judged: int = 0
    matched: int = 0
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The report of the check of a set."""

    warnings: tuple[ValidationError, ...]
    consignments: int
    """Consignments of the sample."""
    rules: tuple[OnSample, ...]


def report_of(rule_set: RuleSet, sample: Iterable[Batch] = (), unused: Iterable[str] = ()) -> Report:
    """Look a checked set over on a sample of batches; `unused` are files of it that nobody names."""
    rules = [OnSample(rule.text.id, getattr(rule.condition, "fallback", None) or "") for rule in rule_set.rules]
    consignments = 0
    for table, history in sample:
        _try(rule_set, rules, table, history, consignments)
        consignments += table.rows
    warnings = [ValidationError(file, 0, 0, "", "nobody names this file") for file in unused]
    warnings += _duplicates(rule_set)
    for rule, told in zip(rule_set.rules, rules, strict=True):
        warnings += _of_rule(rule_set, rule, told)
    for typology in rule_set.typologies:
        warnings += _of_typology(rule_set, typology)
    return Report(tuple(warnings), consignments, tuple(rules))


def _try(
    rule_set: RuleSet, rules: list[OnSample], table: Table, history: HistoryColumns | None, consignments: int
) -> None:
    facts = Facts(table, rule_set.rates)
    facts.history = history
    batch = rule_set.conditions.batch(TableSource(table, facts.computed))
    scopes = Scopes(rule_set, facts, "clearance")
    every = np.ones(table.rows, np.bool_)
    for rule, told in zip(rule_set.rules, rules, strict=True):
        if told.fallback and consignments >= FALLBACK_CONSIGNMENTS_MAX:
            continue
        rows = scopes.scope(rule)
        scope = every if rows is None else rows
        if rule.condition.on_items:
            scope = scope[facts.owners]
        judged = judge(rule.condition, batch)
        told.judged += int(np.count_nonzero(scope))
        told.matched += int(np.count_nonzero(judged.applies & scope))
        told.unjudged += 0 if judged.failed is None else int(np.count_nonzero(judged.failed & scope))


def _duplicates(rule_set: RuleSet) -> Iterator[ValidationError]:
    """Rules that ask the same of the same rows on a common day."""
    seen: dict[Any, Rule] = {}
    for rule in rule_set.rules:
        text = rule.text
        if text.life == "retired":
            continue
        key = (
            _form_of(rule_set, rule),
            text.subject,
            rule.countries,
            text.stages,
            frozenset(text.directions),
            rule.first_day,
            rule.last_day,
        )
        other = seen.setdefault(key, rule)
        if other is not rule:
            at = f"{other.place[0]}:{other.place[1]}"
            sentence = f"its condition says the same as that of {other.text.id} at {at}, for the same goods, days and countries"
            yield ValidationError(*rule.place, f"rule {text.id}", sentence)


def _of_rule(rule_set: RuleSet, rule: Rule, on_sample: OnSample) -> Iterator[ValidationError]:
    name = f"rule {rule.text.id}"
    if rule.text.life == "retired":
        return
    if not _asks(_tree(rule_set, rule)):
        yield ValidationError(
            *rule.place, name, "its condition asks nothing of the consignment, so it holds for all or for none"
        )
        return
    known = on_sample.judged - on_sample.unjudged
    rows = "items" if rule.condition.on_items else "consignments"
    if on_sample.judged >= ROWS_LEAST and known == 0:
        why = "a value that it needs is absent or an operation fails"
        yield ValidationError(
            *rule.place, name, f"it could be judged for none of the sample's {on_sample.judged} {rows}: {why}"
        )
    elif known >= ROWS_LEAST and on_sample.matched in (0, known):
        often = "none" if on_sample.matched == 0 else "every one"
        yield ValidationError(*rule.place, name, f"its condition holds for {often} of the sample's {known} {rows}")
    if on_sample.fallback:
        cost = "it is evaluated row by row, some hundred times as slow"
        yield ValidationError(*rule.place, name, f"{cost}: {on_sample.fallback}")


def _of_typology(rule_set: RuleSet, typology: Typology) -> Iterator[ValidationError]:
    if not typology.evaluated:
        return
    counted = {rule_set.rules[place].text.id for place, _ in typology.members}
    idle = [rule for rule in typology.text.rules if rule not in counted]
    if idle:
        told = f"these rules never count in it, since of their life: {', '.join(idle)}"
        yield ValidationError(*typology.place, f"typology {typology.text.id}", told)


def _tree(rule_set: RuleSet, rule: Rule) -> Any:
    return read_checked(rule_set.conditions.vocabulary.parse(rule.text.condition).serialize()).expr


def _asks(expr: Any) -> bool:
    """Whether an expression looks at the consignment or its items."""
    if isinstance(expr, Name):
        return expr.name in ("consignment", "item")
    if isinstance(expr, tuple):
        return any(map(_asks, expr))
    return dataclasses.is_dataclass(expr) and any(
        _asks(getattr(expr, field.name)) for field in dataclasses.fields(expr)
    )


def _form_of(rule_set: RuleSet, rule: Rule) -> str:
    return repr(_form(_tree(rule_set, rule), {}))


def _form(expr: Any, names: Mapping[str, str]) -> Any:
    """An expression without what makes no difference: how it is laid out, the order of `&&`, `||`, `==`, names of variables."""
    if isinstance(expr, Name):
        return "name", names.get(expr.name, expr.name)
    if isinstance(expr, Call) and expr.function in _ORDERLESS:
        return expr.function, *sorted({repr(_form(each, names)) for each in _flat(expr, expr.function)})
    if isinstance(expr, Call) and expr.function in _SYMMETRIC:
        return expr.function, *sorted(repr(_form(each, names)) for each in expr.args)
    if isinstance(expr, Loop):
        depth = len(names)
        names = {**names, expr.variable: f"${depth}", expr.accumulator: f"@{depth}"}
    if isinstance(expr, tuple):
        return tuple(_form(each, names) for each in expr)
    if not dataclasses.is_dataclass(expr):
        return (names.get(expr, expr) if isinstance(expr, str) and expr in names else expr), type(expr).__name__
    parts = (_form(getattr(expr, field.name), names) for field in dataclasses.fields(expr) if field.name != "id")
    return type(expr).__name__, *parts


def _flat(expr: Any, function: str) -> Iterator[Any]:
    """The operands of operators of one kind that stand in each other."""
    if isinstance(expr, Call) and expr.function == function:
        for each in expr.args:
            yield from _flat(each, function)
    else:
        yield expr

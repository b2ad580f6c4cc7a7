"""Compiled conditions against the CEL library's own evaluation and against a plain reading of CEL's definition, on
generated expressions and data.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from cel_expr_python import cel
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.columns import Table
from services.risk.conditions.cel.syntax_tree import read_checked
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.evaluation import prefilter as grouping
from services.risk.conditions.expressions import Condition, Conditions, Judged, judge
from tests.risk.conditions import cel_oracle
from tests.risk.conditions.cel_grammar import DATA, VOCABULARY, conditions, tables
from tests.risk.conditions.cel_oracle import ERROR, UNKNOWN

pytestmark = pytest.mark.long

#: The same examples in every run; a failure is told as the shortest condition on the fewest rows.
many = settings(max_examples=800, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
fewer = settings(many, max_examples=250)
Answers = list[Any]


def rows_of(condition: Condition, source: TableSource) -> list[tuple[Any, Any]]:
    """Each row that a condition is judged on: the consignment, and the item or None."""
    return [
        (message, item)
        for message in VOCABULARY.messages(source)
        for item in (message.items if condition.on_items else [None])  # type: ignore[attr-defined]
    ]


def library_says(condition: Condition, source: TableSource) -> Answers:
    """True, false, or None for an error and for null, by row; the library does not tell an unknown from an error."""
    values = [VOCABULARY.evaluate(condition.parsed, *row) for row in rows_of(condition, source)]
    return [value.value() if value.type() == cel.Type.BOOL else None for value in values]


def definition_says(condition: Condition, source: TableSource) -> Answers:
    """True, false, ERROR or UNKNOWN by row, as the oracle reads CEL's definition."""
    expr = read_checked(condition.parsed.serialize()).expr
    data = {f"data.{name}": values for name, values in DATA.items()}
    found = [
        cel_oracle.evaluate(expr, {"consignment": message, "item": item, **data})
        for message, item in rows_of(condition, source)
    ]
    return [UNKNOWN if answer is None else answer for answer in found]


def answers_of(judged: Judged) -> Answers:
    """True, false, ERROR or UNKNOWN by row."""

    def rows(mask: Any) -> list[bool]:
        return [False] * len(judged.applies) if mask is None else mask.tolist()

    assert not (judged.applies & (False if judged.failed is None else judged.failed)).any()
    return [
        UNKNOWN if unknown else ERROR if failed else holds
        for holds, failed, unknown in zip(
            judged.applies.tolist(), rows(judged.failed), rows(judged.unknown), strict=True
        )
    ]


def plain(answers: Answers) -> Answers:
    return [None if answer in (ERROR, UNKNOWN) else answer for answer in answers]


def told(condition: Condition, source: TableSource) -> str:
    """The condition and its rows, for whoever reads of a failure."""
    rows = "".join(
        f"\n{number}: {text_format.MessageToString(message, as_one_line=True)}"
        for number, message in enumerate(VOCABULARY.messages(source))
    )
    return f"{condition.text}\non {'items of ' if condition.on_items else ''}the consignments{rows}"


def agreed(condition: Condition, source: TableSource, answers: Answers) -> None:
    assert plain(answers) == library_says(condition, source), told(condition, source)
    assert answers == definition_says(condition, source), told(condition, source)


@many
@given(tables(), conditions(on_items=False))
def test_a_compiled_condition_on_consignments_says_what_cel_says(table: Table, text: str) -> None:
    condition = Conditions(VOCABULARY).compile(text)
    source = TableSource(table)
    assert condition.fallback is None, text
    agreed(condition, source, answers_of(judge(condition, Conditions(VOCABULARY).batch(source))))


@many
@given(tables(), conditions(on_items=True))
def test_a_compiled_condition_on_items_says_what_cel_says(table: Table, text: str) -> None:
    condition = Conditions(VOCABULARY).compile(text, on_items=True)
    source = TableSource(table)
    assert condition.fallback is None, text
    agreed(condition, source, answers_of(judge(condition, Conditions(VOCABULARY).batch(source))))


@fewer
@given(
    tables(),
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=5).flatmap(
        lambda forms: st.tuples(
            *(
                st.tuples(st.just(on_items), conditions(on_items=on_items, foreign=foreign))
                for on_items, foreign in forms
            )
        )
    ),
)
def test_what_falls_back_says_what_the_library_says_beside_what_is_compiled(
    table: Table, texts: tuple[tuple[bool, str], ...]
) -> None:
    shared = Conditions(VOCABULARY)
    source = TableSource(table)
    batch = shared.batch(source)
    for on_items, text in texts:
        condition = shared.compile(text, on_items)
        assert plain(answers_of(judge(condition, batch))) == library_says(condition, source), told(condition, source)


@fewer
@given(
    tables(),
    st.booleans().flatmap(
        lambda on_items: st.tuples(
            st.just(on_items), st.lists(conditions(on_items=on_items, guarded=True), min_size=1, max_size=4)
        )
    ),
)
def test_grouping_changes_no_answer(table: Table, texts: tuple[bool, list[str]]) -> None:
    shared = Conditions(VOCABULARY)
    batch, parted = shared.batch(TableSource(table)), shared.batch(TableSource(table))
    for text in texts[1]:
        condition = shared.compile(text, texts[0])
        whole = answers_of(judge(replace(condition, needs=()), batch))
        assert answers_of(judge(condition, batch)) == whole, text
        with patch.object(grouping, "PART_ROWS_MIN", 1), patch.object(grouping, "PART_SHARE", 1):
            assert answers_of(judge(condition, parted)) == whole, text


@fewer
@given(
    tables(), conditions(on_items=True, foreign=True, guarded=True), st.lists(st.booleans(), min_size=12, max_size=12)
)
def test_a_scope_changes_no_answer_within_it(table: Table, text: str, scope: list[bool]) -> None:
    shared = Conditions(VOCABULARY)
    source = TableSource(table)
    condition = shared.compile(text, on_items=True)
    everywhere = answers_of(judge(condition, shared.batch(source)))
    within = np.array(scope[: len(everywhere)], bool)
    with patch.object(grouping, "PART_ROWS_MIN", 1), patch.object(grouping, "PART_SHARE", 1):
        inside = answers_of(judge(condition, shared.batch(source), within))
    assert [a for a, counts in zip(inside, within, strict=True) if counts] == [
        a for a, counts in zip(everywhere, within, strict=True) if counts
    ], text


@fewer
@given(tables(), st.lists(conditions(on_items=False), min_size=2, max_size=5))
def test_conditions_that_share_parts_in_one_batch_do_not_disturb_each_other(table: Table, texts: list[str]) -> None:
    shared = Conditions(VOCABULARY)
    source = TableSource(table)
    batch = shared.batch(source)
    for condition in [shared.compile(text) for text in texts]:
        alone = answers_of(judge(condition, Conditions(VOCABULARY).batch(source)))
        assert answers_of(judge(condition, batch)) == alone, condition.text


@fewer
@given(st.lists(tables(), min_size=2, max_size=5), st.lists(conditions(on_items=True), min_size=1, max_size=3))
def test_what_is_remembered_of_texts_from_batch_to_batch_changes_nothing(
    batches: list[Table], texts: list[str]
) -> None:
    shared = Conditions(VOCABULARY)
    compiled = [shared.compile(text, on_items=True) for text in texts]
    with patch("services.risk.conditions.evaluation.text_nodes.TEXTS_MAX", 4):
        for table in batches:
            source = TableSource(table)
            batch = shared.batch(source)
            for condition in compiled:
                assert plain(answers_of(judge(condition, batch))) == library_says(condition, source), told(
                    condition, source
                )

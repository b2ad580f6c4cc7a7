"""Declared codes of whole batches: what the model says of each item, and when the included rule finds a code unlikely."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Ints, Strings
from services.risk.codes.code_model_file import CodeModel, read_code_model
from services.risk.codes.declared_codes import DESCRIBED, PAIRS_AT_ONCE, declared_codes
from services.risk.codes.ngrams import features_of
from services.risk.codes.suggestions import suggest
from services.risk.elements.computed import Facts
from services.risk.history.columns import HistoryColumns
from services.risk.learning.features.consignments import ASSESSED, ASSESSED_WITH_CODES, assessed_items
from services.risk.rules.scoring import assess
from tests.risk import code_models
from tests.risk.filings import first_light, table

ITEMS = st.tuples(
    st.sampled_from(["Lipstick, matte", "trousers", "phone case", "?!", ""]),
    st.sampled_from(["3304100000", "33041000", "330410", "3304", "33", "620463", "010121", ""]),
)


@pytest.fixture(scope="module")
def model() -> CodeModel:
    return read_code_model(code_models.file(), "file")


def expected(model: CodeModel, description: str, code: str) -> tuple[int | None, int | None]:
    """Return both columns of one item by their definition."""
    chance = float(suggest(model.weights, model.content.sharpness, features_of([description]), [code[:6]]).declared[0])
    if chance != chance:
        return None, None
    return int(chance * 1_000_000), 10 * sum(each <= chance for each in model.content.quantiles)


@given(st.lists(ITEMS, max_size=12))
def test_a_batch_says_of_each_item_what_the_model_says_of_it_alone(items: list[tuple[str, str]]) -> None:
    model = read_code_model(code_models.file(), "file")
    columns = declared_codes(model, Strings.of([text for text, _ in items]), Strings.of([code for _, code in items]))
    assert set(columns) == set(DESCRIBED)
    alone = [expected(model, *item) for item in items]
    for place, (column, distance) in enumerate(((columns["code_probability_ppm"], 1), (columns["code_permille"], 0))):
        assert column.valid.tolist() == [each[place] is not None for each in alone]
        # The sum over one row or several differs in the last digit.
        assert all(
            abs(found - (each[place] or 0)) <= distance
            for found, each in zip(column.values.tolist(), alone, strict=True)
        )


def test_long_descriptions_with_many_codes_are_in_memory_a_part_at_a_time(model: CodeModel) -> None:
    texts = Strings.of(["lipstick " * 57] * (4 * PAIRS_AT_ONCE + 1))
    codes = Strings.of(["330410", *(f"{330410 + place:06}" for place in range(1, len(texts)))])
    peaks = []
    for rows in (PAIRS_AT_ONCE, len(texts)):
        some = np.arange(rows)
        tracemalloc.start()
        columns = declared_codes(model, texts.take(some), codes.take(some))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert columns["code_probability_ppm"].valid.tolist() == [
            code in code_models.GOODS for code in codes.take(some).tolist()
        ]
    assert peaks[1] < 1.5 * peaks[0]


def test_what_is_unknown_is_absent_and_not_zero(model: CodeModel) -> None:
    columns = declared_codes(
        model, Strings.of(["", "?!", "lipstick", "lipstick"]), Strings.of(["330410", "330410", "", "010121"])
    )
    assert all(not column.valid.any() for column in columns.values())


@pytest.mark.parametrize(
    ("permille", "ppm", "hits"),
    [(40, 49_999, True), (50, 49_999, False), (40, 50_000, False), (0, 0, True), (None, None, False)],
)
def test_the_included_rule_finds_codes_that_are_improbable_and_less_probable_than_most_right_ones(
    permille: int | None, ppm: int | None, hits: bool
) -> None:
    rows = table([{}])
    facts = Facts(rows, first_light().rates)
    columns = {"code_permille": permille, "code_probability_ppm": ppm}
    facts.history = HistoryColumns({}, {name: _one(value) for name, value in columns.items()})
    assessments = assess(first_light(), rows, facts=facts)
    assert ("CODE_UNLIKELY" in assessments.child("findings").strings("rule").tolist()) == hits


def test_a_model_that_scores_is_given_the_probability_where_it_was_known() -> None:
    rows = table([{}])
    for stored, probability in (({}, np.nan), ({"code_probability_ppm": _one(1_500)}, 1_500.0)):
        facts = Facts(rows, first_light().rates)
        facts.history = HistoryColumns({}, stored)
        items: Any = assessed_items(rows, facts, Ints.constant(0, 1), ASSESSED_WITH_CODES.columns)
        np.testing.assert_array_equal(items.sample.numbers["code_probability_ppm"], [probability])
    assert ASSESSED_WITH_CODES.names[:-1] == ASSESSED.names
    assert "code_probability_ppm" not in ASSESSED.columns


def _one(value: int | None) -> Ints:
    return Ints.absent(1) if value is None else Ints.constant(value, 1)

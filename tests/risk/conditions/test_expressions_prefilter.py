"""What conditions need of columns, and that what is not needed is not evaluated."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns, ItemColumns
from services.risk.conditions.cel.vocabulary import TableSource, Vocabulary
from services.risk.conditions.evaluation.prefilter import PART_ROWS_MIN
from services.risk.conditions.expressions import Conditions, judge
from tools import rule_columns

VOCABULARY = Vocabulary({"words": ("gift", "toy"), "floors": {"61": 500, "62": 7}})
CODE = "items.commodity_code"

#: Condition on items → what it needs: column → members and prefixes, with None among them where absent values matter.
NEEDS: dict[str, dict[str, set[Any]]] = {
    "item.commodity_code == '61'": {CODE: {"61"}},
    "'61' == item.commodity_code && item.gift": {CODE: {"61"}},
    "item.gift && item.commodity_code in ['61', '62']": {CODE: {"61", "62"}},
    "item.commodity_code.startsWith('61') && item.gift": {CODE: {"61*", None}},
    "item.commodity_code in data.words": {CODE: {"gift", "toy"}},
    "item.commodity_code in data.floors": {CODE: {"61", "62", None}},
    "consignment.nature == Nature.NATURE_GIFT && item.commodity_code == '61'": {".nature": {2}, CODE: {"61"}},
    "consignment.nature in [1, 2]": {".nature": {1, 2}},
    "item.commodity_code == '61' || item.commodity_code.startsWith('9')": {CODE: {"61", "9*", None}},
    "(item.commodity_code == '61' && item.gift) || (item.commodity_code == '7' && item.number > 1)": {
        CODE: {"61", "7"}
    },
    "item.commodity_code == '61' || item.gift": {},
    "item.commodity_code == '61' || item.description == 'x'": {},
    "!(item.commodity_code == '61')": {},
    "item.commodity_code != '61'": {},
    "item.gift ? item.commodity_code == '61' : false": {},
    "consignment.items.exists(i, i.commodity_code == '61' && i.number > 1)": {CODE: {"61"}},
    "consignment.items.all(i, i.commodity_code == '61')": {},
    "consignment.items.exists_one(i, i.commodity_code == '61')": {},
    "['61', '62'].exists(c, item.commodity_code.startsWith(c))": {CODE: {"61*", "62*", None}},
    "item.commodity_code == '61' && string(item.number) == '1'": {CODE: {"61"}},
    "normal(item.commodity_code) == '61'": {},
}


@pytest.mark.parametrize(("text", "needs"), NEEDS.items(), ids=range(len(NEEDS)))
def test_what_a_condition_needs_of_columns(text: str, needs: dict[str, set[Any]]) -> None:
    condition = Conditions(VOCABULARY).compile(text, on_items=True)
    told: dict[str, set[Any]] = {
        f"{need.column.path}.{need.column.name}": {
            *need.members,
            *(f"{prefix}*" for prefix in need.prefixes),
            *([None] if need.absent else []),
        }
        for need in condition.needs
    }
    assert told == {column: set(values) for column, values in needs.items()}


def goods(codes: list[str], each: int = 2) -> Table:
    """Consignments of so many items each; the codes go round."""
    rows = len(codes) // each
    items = Table(
        schema_of(ItemColumns),
        len(codes),
        {
            "commodity_code": Strings.of(codes),
            "description": Strings.of([f"goods {number}" for number in range(len(codes))]),
            "number": Ints.of([number % each + 1 for number in range(len(codes))]),
        },
    )
    return Table.of(ConsignmentColumns, rows, {"items": Ragged.of_lengths(np.full(rows, each), items)})


def test_a_rule_whose_value_no_row_has_reads_no_other_column() -> None:
    conditions = Conditions(VOCABULARY)
    source = TableSource(goods(["61", "62", "", "64"]))
    batch = conditions.batch(source)
    asked: list[str] = []
    with patch.object(source, "column", side_effect=lambda path, name: _noted(source, path, name, asked)):
        judged = judge(conditions.compile("item.commodity_code == '95' && item.number > 1", on_items=True), batch)
    # The second tells how many items there are.
    assert asked == ["commodity_code", "items"]
    assert judged.applies.tolist() == [False] * 4
    assert judged.failed is None


def _noted(source: TableSource, path: str, name: str, asked: list[str]) -> Any:
    asked.append(name)
    return TableSource.column(source, path, name)


def test_a_missing_code_leaves_a_rule_on_its_beginning_unjudged_and_not_skipped() -> None:
    conditions = Conditions(VOCABULARY)
    batch = conditions.batch(TableSource(goods(["61", "62", "", "64"])))
    judged = judge(conditions.compile("item.commodity_code.startsWith('95') && item.number > 0", on_items=True), batch)
    assert judged.unknown is not None
    assert judged.unknown.tolist() == [False, False, True, False]


def test_in_a_large_batch_a_function_is_asked_only_about_the_rows_that_meet_the_need() -> None:
    codes = [("61" if number % 40 == 0 else "84") for number in range(2 * PART_ROWS_MIN)]
    conditions = Conditions(VOCABULARY)
    batch = conditions.batch(TableSource(goods(codes)))
    text = "item.commodity_code == '61' && item.description.matches('[05]$')"
    condition = conditions.compile(text, on_items=True)
    asked: list[str] = []
    node = condition.node.args[1]  # type: ignore[attr-defined]
    search = node.function

    def noted(text: str) -> Any:
        asked.append(text)
        return search(text)

    with patch.object(node, "function", noted):
        judged = judge(condition, batch)
    # Both items of a consignment are in the part.
    assert len(asked) == 2 * sum(code == "61" for code in codes)
    assert np.flatnonzero(judged.applies).tolist() == list(range(0, 2 * PART_ROWS_MIN, 40))
    assert judged.failed is None


def test_the_page_of_columns_is_up_to_date() -> None:
    assert rule_columns.PAGE.read_text("utf-8") == rule_columns.page(), f"run {rule_columns.COMMAND}"

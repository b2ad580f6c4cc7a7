"""Conditions: what they can say, what is refused and where, and the rows that could not be judged."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

from libs.columns import Bools, Ints, Kind, Strings, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.risk.conditions.cel.vocabulary import TableSource, Vocabulary
from services.risk.conditions.evaluation.text_nodes import TEXTS_MAX
from services.risk.conditions.expressions import ConditionError, Conditions, judge
from tests.risk.filings import table

VOCABULARY = Vocabulary({"words": ("gift",), "floors": {"61": 500}})
CONDITIONS = Conditions(VOCABULARY)

REFUSED = {
    "consignment.gross_mas > 1": (1, 12, "undefined field 'gross_mas'"),
    "consignment.gross_mass_mg >": (1, 28, "Syntax error"),
    "consignment.gross_mass_mg > 1.5": (1, 27, "no matching overload"),
    "true &&\n  consignment.nature + 1 == 'x'": (2, 26, "no matching overload"),
    "consignment.gross_mass_mg": (1, 1, "must give true or false"),
    "item.gift": (1, 1, "only in a condition on items"),
    "{'a': item.gift}['a']": (1, 1, "only in a condition on items"),
    "consignment.nature == Nature.NATURE_GRIFT": (1, 29, "values of codes are written like Nature.NATURE_GIFT"),
    "data.nothing == 1": (1, 5, "undeclared reference"),
    "consignment.local_reference.matches('(')": (1, 37, "missing )"),
    "consignment.local_reference.matches('(' + 'a')": (1, 41, "missing )"),
    "consignment.items.map(i, i.description.matches('[')).size() > 1": (1, 48, "missing ]"),
    "consignment.gross_mass_mg == 1u": (1, 27, "no matching overload"),
    "true" + " && true" * 600: (1, 1, "at most 4000"),
}

#: What is not compiled, on a consignment of mass 5 without a reference whose items cost 7 and nothing told, and what it
#: says there: true, false, or None where it cannot be judged.
LEFT_TO_THE_LIBRARY: dict[str, tuple[str, bool | None]] = {
    "consignment.items[0].price_minor == 7": ("line 1, column 18: only a table of the profile's data", True),
    "consignment.items[2].price_minor == 7": ("line 1, column 18: only a table of the profile's data", None),
    "true\n&& consignment.items.map(i, i.price_minor).exists(p, p == 7)": ("line 2, column 25: this macro", True),
    "consignment.items.map(i, i.gift).size() > 1": ("line 1, column 22: this macro is not compiled", True),
    "consignment.items.filter(i, has(i.price_minor)).exists(i, i.price_minor > 7)": ("line 1, column 55", False),
    "'a'.matches(consignment.local_reference)": ("line 1, column 24: the pattern of matches() is not a const", None),
    "consignment.transport_route_countries == ['DE']": ("line 1, column 39: a list of the consignment", False),
    "consignment.gross_mass_mg in [1, consignment.freight_minor, 5]": ("line 1, column 45: a list can only", True),
    "string(consignment.gross_mass_mg) == '5'": ("line 1, column 7: string() of int is not supported", True),
    "dyn(consignment.gross_mass_mg) == 5.0": ("line 1, column 32", True),
    "(true ? null : consignment.gross_mass_mg) == 1": ("line 1, column 9: null can only be compared", False),
    "{'a': 1}['a'] == 1": ("line 1, column 1: a map or message written out", True),
    "consignment == consignment": ("line 1, column 13: == between message", True),
    "timestamp(consignment.gross_mass_mg) < timestamp('2020-01-01T00:00:00Z')": ("line 1, column", True),
    f"[{', '.join(map(str, range(65)))}].exists(n, n == consignment.gross_mass_mg)": ("at most 64 are", True),
    "consignment.gross_mass_mg == 4 && string(consignment.local_reference) == 'x'": ("line 1, column", False),
    "consignment.gross_mass_mg == 5 || string(consignment.local_reference) == 'x'": ("line 1, column", True),
    "consignment.gross_mass_mg == 4 || string(consignment.local_reference) == 'x'": ("line 1, column", None),
}


@pytest.mark.parametrize(("text", "place"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_can_never_be_evaluated_is_refused_with_its_place(text: str, place: tuple[int, int, str]) -> None:
    with pytest.raises(ConditionError) as caught:
        CONDITIONS.compile(text)
    error = caught.value
    assert (error.line, error.column) == place[:2], error.message
    assert place[2] in error.message


@pytest.mark.parametrize(("text", "told"), LEFT_TO_THE_LIBRARY.items(), ids=range(len(LEFT_TO_THE_LIBRARY)))
def test_what_is_not_compiled_is_left_to_the_library_and_told_with_its_place(
    text: str, told: tuple[str, bool | None]
) -> None:
    condition = CONDITIONS.compile(text)
    assert condition.fallback is not None
    assert told[0] in condition.fallback
    rows = table([{"items": [{"price": {"minor": 7}}, {"price": None}], "gross_mass_mg": 5, "local_reference": ""}])
    assert holds(text, rows) == [told[1]]


def test_rules_that_fall_back_stand_in_one_batch_with_compiled_ones() -> None:
    rows = table([{"items": [{}, {"commodity_code": "640411"}]}, {"items": [{"price": {"minor": 5}}]}])
    batch = CONDITIONS.batch(TableSource(rows))
    texts = {
        "item.price_minor == 5": [False, False, True],
        "string(item.price_minor) == '5'": [False, False, True],
        "consignment.items[0].commodity_code != item.commodity_code": [False, True, False],
        "item.commodity_code.startsWith('64')": [False, True, False],
    }
    for text, expected in texts.items():
        assert judge(CONDITIONS.compile(text, on_items=True), batch).applies.tolist() == expected, text


def test_the_library_is_asked_only_about_rows_in_scope_that_the_compiled_part_leaves_open() -> None:
    condition = CONDITIONS.compile("consignment.gross_mass_mg > 2 && string(consignment.gross_mass_mg) != '4'")
    asked: list[int] = []

    def evaluate(variables: object) -> object:
        asked.append(1)
        return condition.parsed.eval(variables)

    assert condition.library is not None
    watched = replace(condition, library=replace(condition.library, parsed=SimpleNamespace(eval=evaluate)))
    scope = np.array([True, True, True, False, False])
    judged = judge(watched, CONDITIONS.batch(TableSource(masses(1, 3, 4, 5, 2))), scope)
    assert judged.applies.tolist()[:3] == [False, True, False]
    assert len(asked) == 2


def test_unknown_and_error_are_told_apart_and_the_unknown_comes_first() -> None:
    rows = masses(0, None, 4)
    told = judge(CONDITIONS.compile("8 / consignment.gross_mass_mg == 2"), CONDITIONS.batch(TableSource(rows)))
    assert told.errors is not None
    assert told.unknown is not None
    assert (told.errors.tolist(), told.unknown.tolist()) == ([True, False, False], [False, True, False])
    both = judge(CONDITIONS.compile("1 / 0 > consignment.gross_mass_mg"), CONDITIONS.batch(TableSource(rows)))
    assert both.failed is not None
    assert both.unknown is not None
    assert (both.failed.tolist(), both.unknown.tolist()) == ([True] * 3, [False, True, False])
    assert holds("1 / 0 > consignment.gross_mass_mg && false", rows) == [False] * 3
    assert holds("1 / 0 > consignment.gross_mass_mg || true", rows) == [True] * 3


def test_a_column_that_no_condition_touches_is_not_decoded() -> None:
    sent = table([{"items": [{}, {}]}]).encode(ConsignmentColumns)
    received = Table.decode(sent)
    batch = CONDITIONS.batch(TableSource(received))
    with patch.object(Table, "read_column", autospec=True, side_effect=Table.read_column) as read:
        for text in ("item.commodity_code == '61' && item.gift == true", "consignment.nature == 1"):
            judge(CONDITIONS.compile(text, on_items=True), batch)
    # No item has that code, so nobody asks whether it is a gift.
    assert [call.args[1] for call in read.call_args_list] == ["items", "commodity_code", "nature"]


def holds(text: str, rows: Table, on_items: bool = False) -> list[bool | None]:
    """Per row true, false, or None where it could not be judged."""
    judged = judge(CONDITIONS.compile(text, on_items), CONDITIONS.batch(TableSource(rows)))
    failed = [False] * len(judged.applies) if judged.failed is None else judged.failed.tolist()
    return [None if bad else value for value, bad in zip(judged.applies.tolist(), failed, strict=True)]


def masses(*values: int | None) -> Table:
    column = Ints.of([value or 0 for value in values], [value is not None for value in values])
    return Table.of(ConsignmentColumns, len(values), {"gross_mass_mg": column})


def test_unknown_is_never_zero() -> None:
    rows = masses(5, 0, None)
    assert holds("consignment.gross_mass_mg < 3", rows) == [False, True, None]
    assert holds("has(consignment.gross_mass_mg) && consignment.gross_mass_mg < 3", rows) == [False, True, False]
    assert holds("consignment.gross_mass_mg == 0", rows) == [False, True, False]


def test_an_absent_text_is_unknown_and_not_empty() -> None:
    rows = Table.of(ConsignmentColumns, 2, {"consignor_name": Strings.of(["Anna", ""])})
    assert holds("consignment.consignor_name.startsWith('A')", rows) == [True, None]
    assert holds("!consignment.consignor_name.contains('x')", rows) == [True, None]
    assert holds("has(consignment.consignor_name)", rows) == [True, False]


def test_an_absent_truth_value_is_neither_true_nor_false() -> None:
    rows = Table.of(ConsignmentColumns, 3, {"split": Bools.of([True, False, False], [True, True, False])})
    assert holds("consignment.split", rows) == [True, False, None]
    assert holds("!consignment.split", rows) == [False, True, None]
    assert holds("consignment.split || true", rows) == [True, True, True]


def test_overflow_and_division_by_zero_fail_only_their_rows() -> None:
    rows = masses(2**63 - 1, 1, 0, -(2**63))
    assert holds("consignment.gross_mass_mg + 1 > 0", rows) == [None, True, True, False]
    assert holds("consignment.gross_mass_mg * 3 > 0", rows) == [None, True, False, None]
    assert holds("10 / consignment.gross_mass_mg >= 0", rows) == [True, True, None, True]
    assert holds("consignment.gross_mass_mg / -1 < 0", rows) == [True, True, False, None]
    assert holds("-consignment.gross_mass_mg < 0", rows) == [True, True, False, None]


def test_division_truncates_toward_zero_and_the_remainder_has_the_sign_of_the_dividend() -> None:
    rows = masses(7, -7)
    assert holds("consignment.gross_mass_mg / 2 == 3", rows) == [True, False]
    assert holds("consignment.gross_mass_mg / 2 == -3", rows) == [False, True]
    assert holds("consignment.gross_mass_mg % 2 == -1", rows) == [False, True]


def test_a_branch_that_is_not_taken_cannot_fail() -> None:
    rows = masses(0, 2)
    text = "(consignment.gross_mass_mg == 0 ? 1 : 10 / consignment.gross_mass_mg) > 3"
    assert holds(text, rows) == [False, True]


def test_macros_judge_the_items_of_each_consignment_for_themselves() -> None:
    rows = table([{"items": [{}, {"price": {"minor": 5}}]}, {"items": [{}]}])
    assert holds("consignment.items.exists(i, i.price_minor == 5)", rows) == [True, False]
    assert holds("consignment.items.all(i, i.price_minor == 1900)", rows) == [False, True]
    assert holds("consignment.items.exists_one(i, i.price_minor == 1900)", rows) == [True, True]
    assert holds("consignment.items.filter(i, i.price_minor > 1).size() == 2", rows) == [True, False]


def test_a_condition_on_items_can_speak_of_the_consignment_and_of_the_other_items() -> None:
    rows = table([{"items": [{}, {"commodity_code": "640411"}]}, {"items": [{}]}])
    assert holds("consignment.nature == Nature.NATURE_SALE", rows, on_items=True) == [True] * 3
    text = "consignment.items.exists(other, other.commodity_code != item.commodity_code)"
    assert holds(text, rows, on_items=True) == [True, True, False]


def test_a_batch_without_rows_is_judged() -> None:
    rows = Table(masses().schema, 0)
    assert holds("consignment.items.exists(i, i.description.hasWord(data.words))", rows) == []
    assert holds("item.commodity_code in data.floors", rows, on_items=True) == []


def test_what_depends_on_no_item_is_computed_once_a_consignment() -> None:
    calls: list[str] = []
    conditions = Conditions(VOCABULARY)
    condition = conditions.compile("consignment.consignor_name == 'A' && item.gift == true", on_items=True)
    rows = table([{"items": [{}] * 3}, {"items": [{}] * 2}])
    batch = conditions.batch(_Recording(TableSource(rows), calls))
    judge(condition, batch)
    judge(condition, batch)
    assert calls.count("consignor_name") == 1


class _Recording(TableSource):
    """Notes which columns were asked for."""

    def __init__(self, inner: TableSource, calls: list[str]) -> None:
        super().__init__(inner.table(""))
        self.calls = calls

    def column(self, path: str, name: str):  # type: ignore[no-untyped-def]
        self.calls.append(name)
        return super().column(path, name)


def test_a_function_of_text_is_computed_once_per_distinct_value_and_its_memory_is_bounded() -> None:
    condition = CONDITIONS.compile("consignment.local_reference.matches('^A1?$')")
    references = [f"A{number}" for number in range(TEXTS_MAX + 10)]
    for names in (references, references[:9_000], references[-9_000:], references[:3] * 2):
        rows = Table.of(ConsignmentColumns, len(names), {"local_reference": Strings.of(names)})
        judged = judge(condition, CONDITIONS.batch(TableSource(rows)))
        assert judged.applies.tolist() == [name == "A1" for name in names]
        column = condition.node.args[0]  # type: ignore[attr-defined]
        assert len(column.pool.numbers) <= TEXTS_MAX


def test_computed_elements_are_elements_like_others() -> None:
    vocabulary = Vocabulary({}, {"": {"age_days": Kind.INTS}})
    conditions = Conditions(vocabulary)
    condition = conditions.compile("consignment.age_days > 3")
    ages = Ints.of([2, 5, 0], [True, True, False])
    source = TableSource(masses(1, 1, 1), lambda path, name: ages if (path, name) == ("", "age_days") else None)
    judged = judge(condition, conditions.batch(source))
    assert judged.applies.tolist() == [False, True, False]
    assert judged.failed is not None
    assert judged.failed.tolist() == [False, False, True]


def test_a_table_of_mixed_values_is_refused() -> None:
    with pytest.raises(ValueError, match="table odd must hold values of one kind"):
        Vocabulary({"odd": {"a": 1, "b": "x"}})

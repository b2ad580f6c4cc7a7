"""Conditions: what they can say, what is refused and where, and the rows that could not be judged."""

import pytest

from libs.columns import Bools, Ints, Kind, Strings, Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.risk.conditions.expressions import ConditionError, Conditions, judge
from services.risk.conditions.textual import TEXTS_MAX
from services.risk.conditions.vocabulary import TableSource, Vocabulary
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
    "consignment.nature == Nature.NATURE_GRIFT": (1, 29, "values of codes are written like Nature.NATURE_GIFT"),
    "data.nothing == 1": (1, 5, "undeclared reference"),
    "consignment.items[0].gift": (1, 18, "only a table of the profile's data can be indexed"),
    "consignment.items.map(i, i.gift).size() > 1": (1, 22, "this macro is not supported"),
    "consignment.local_reference.matches('(')": (1, 37, "missing )"),
    "'a'.matches(consignment.local_reference)": (1, 24, "the pattern of matches() must be a constant"),
    "consignment.gross_mass_mg == 1u": (1, 27, "no matching overload"),
    "consignment.transport_route_countries == ['DE']": (1, 39, "cannot be compared whole"),
    "consignment.gross_mass_mg in [1, consignment.freight_minor]": (1, 45, "a list can only hold constants"),
    "string(consignment.gross_mass_mg) == '1'": (1, 7, "string() of int is not supported"),
    "dyn(consignment.gross_mass_mg) == 1.0": (1, 32, "not supported"),
    "(true ? null : consignment.gross_mass_mg) == 1": (1, 9, "null can only be compared"),
    "{'a': 1}['a'] == 1": (1, 1, "a map or message written out is not supported"),
    "consignment == consignment": (1, 13, "== between message is not supported"),
    f"[{', '.join(map(str, range(65)))}].exists(n, n == consignment.gross_mass_mg)": (1, 258, "at most 64 are walked"),
    "true" + " && true" * 600: (1, 1, "at most 4000"),
}


@pytest.mark.parametrize(("text", "place"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_cannot_be_compiled_is_refused_with_its_place(text: str, place: tuple[int, int, str]) -> None:
    with pytest.raises(ConditionError) as caught:
        CONDITIONS.compile(text)
    error = caught.value
    assert (error.line, error.column) == place[:2], error.message
    assert place[2] in error.message


def holds(text: str, rows: Table, on_items: bool = False) -> list[bool | None]:
    """Per row true, false, or None where it could not be judged."""
    judged = judge(CONDITIONS.compile(text, on_items), CONDITIONS.batch(TableSource(rows)))
    failed = [False] * len(judged.holds) if judged.failed is None else judged.failed.tolist()
    return [None if bad else value for value, bad in zip(judged.holds.tolist(), failed, strict=True)]


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
        assert judged.holds.tolist() == [name == "A1" for name in names]
        column = condition.node.args[0]  # type: ignore[attr-defined]
        assert len(column.pool.numbers) <= TEXTS_MAX


def test_computed_elements_are_elements_like_others() -> None:
    vocabulary = Vocabulary({}, {"": {"age_days": Kind.INTS}})
    conditions = Conditions(vocabulary)
    condition = conditions.compile("consignment.age_days > 3")
    ages = Ints.of([2, 5, 0], [True, True, False])
    source = TableSource(masses(1, 1, 1), lambda path, name: ages if (path, name) == ("", "age_days") else None)
    judged = judge(condition, conditions.batch(source))
    assert judged.holds.tolist() == [False, True, False]
    assert judged.failed is not None
    assert judged.failed.tolist() == [False, False, True]


def test_a_table_of_mixed_values_is_refused() -> None:
    with pytest.raises(ValueError, match="table odd must hold values of one kind"):
        Vocabulary({"odd": {"a": 1, "b": "x"}})

"""The YAML of law files: what is no law is refused with its line and place, and a path changes one place."""

from datetime import date
from decimal import Decimal

import pytest

from services.revenue.law.source.overlay import line_of, overlay
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.yaml_source import DEPTH_MAX, LawFileError, Source
from tests.revenue.law.lawbooks import LIMITED
from tests.revenue.law.refusals import ABSENT, Changes, check


@pytest.mark.parametrize(
    ("text", "line", "where", "why"),
    [
        ("", 1, "", "is empty; such a law file begins with format: …, jurisdiction: …, name: …"),
        ("- a\n", 1, "", "holds no keys with values"),
        ("format: 1\nname: a\nname: b\n", 3, "", "the key 'name' stands here twice"),
        ("format: 1\nexchange: {table: a, table: b}\n", 2, "exchange", "the key 'table' stands here twice"),
        ("format: 1\ncharges:\n  - {id: a}\n  - {id: b, id: c}\n", 4, "charges[1]", "the key 'id' stands here twice"),
        ("format: 1\n? [a, b]\n: 1\n", 2, "", "a key here has several values"),
        ("format: 1\nname: [\n", 3, "", "is no YAML"),
        (f"format: {'9' * 5000}\n", 0, "", "is no YAML that is read here"),
        ("format: 1\nname: 2021-02-30\n", 2, "", "2021-02-30 is no day of the calendar"),
    ],
)
def test_a_text_that_is_no_law_is_refused_with_its_line(text: str, line: int, where: str, why: str) -> None:
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert (refused.value.line, refused.value.where) == (line, where)
    assert why in refused.value.message


@pytest.mark.parametrize("deep", [DEPTH_MAX, DEPTH_MAX + 1])
def test_values_stand_so_deep_in_each_other_at_most(deep: int) -> None:
    text = "[" * deep + "1" + "]" * deep
    if deep <= DEPTH_MAX:
        Source("x", text)
        return
    with pytest.raises(LawFileError, match="more than 60 deep") as refused:
        Source("x", text)
    assert (refused.value.line, refused.value.where) == (1, "[0][0][0][0][0]")


def test_a_figure_keeps_its_digits_and_a_day_is_a_day() -> None:
    source = Source("x", "a: 0.1\nb: 2021-02-03\nc: 1.10\n")
    assert source.data == {"a": Decimal("0.1"), "b": date(2021, 2, 3), "c": Decimal("1.10")}
    assert str(source.data["c"]) == "1.10"


def test_an_error_says_file_line_place_and_message() -> None:
    assert str(LawFileError("f", 3, "a.b", "is bad")) == "f:3: a.b: is bad"
    assert str(LawFileError("f", 0, "", "is bad")) == "f: is bad"
    source = Source("x", "a:\n  - {id: one, b: 1}\n  - {c: 2}\nd: 3\n")
    assert [source.line(path) for path in ((), ("a",), ("a", 0), ("a", 1, "c"), ("a", 7), ("d", "e"), ("lost",))] == [
        1,
        1,
        2,
        3,
        1,
        4,
        1,
    ]
    assert [source.name(path) for path in (("a", 0, "b"), ("a", 1, "c"), ("a", 7), ("d", "e"), (0, "x"))] == [
        "a[one].b",
        "a[1].c",
        "a[7]",
        "d.e",
        "[0].x",
    ]
    assert source.error(("a", 1), "bad", "c").line == 3
    source.write_out(("a",), [0, 0, 1])
    assert [source.error(("a", place), "bad").where for place in (0, 1, 2)] == ["a[one]", "a[one]", "a[1]"]


@pytest.mark.parametrize(
    ("changes", "where", "why"),
    [
        ({"limits.value.2.amount": 150}, "limits.value[2].amount", "150 is not an amount; write 150.00 EUR, with a point"),
        ({"exchange.unit": Decimal("0.01")}, "exchange.unit", "0.01 is not an amount; write 0.01 EUR, with a point"),
        ({"charges.tax.rates.0.rate": 10}, "charges[tax].rates[0].rate", "10 is not a rate; write 10 %"),
        ({"charges.tax.rates.0.rate": None}, "charges[tax].rates[0].rate", "is not a rate; write it as 7.5 %"),
        ({"charges.tax.rates.0.rate": ["10 %"]}, "charges[tax].rates[0].rate", "is not a rate; write it as 7.5 %"),
        ({"charges.tax.share": 70}, "charges[tax].share", "70 is not a share; write 70 %"),
        ({"charges.tax.rates.0.less": 20}, "charges[tax].rates[0].less", "20 is not an amount; write 20.00 EUR"),
        ({"charges.tax.rounding.0.total_unit": 1}, "charges[tax].rounding[0].total_unit", "1 is not an amount; write 1.00 EUR"),
        ({"charges.tax.rounding.0.base_unit": 1}, "charges[tax].rounding[0].base_unit", "1 is not an amount; write 1.00 EUR"),
        ({"charges.tax.name": 5}, "charges[tax].name", "is a whole number and not a text; write it in quotation marks"),
        ({"charges.tax.rounding.0.mode": "even"}, "charges[tax].rounding[0].mode", "'even' is not one of down, half_up, half_even, up"),
        ({"references.act.law": ABSENT}, "references.act", "has no 'law'; every entry needs it"),
        ({"references.act.page": 5}, "references.act", "'page' is not known here"),
        ({"references.acts": {"law": 5, "address": "x"}}, "references.acts.law", "is a whole number and not a text; write it in quotation marks"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_named_where_it_stands(changes: Changes, where: str, why: str) -> None:
    check(LIMITED, changes, where, why)


# Values replaced.
LAW = {"a.yaml": "x: 1\nlist:\n  - {id: one, v: 1}\n  - {id: two, v: 2}\nmap: {k: 1}\n"}


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("list[two].v", 5, "  v: 5"), ("list[0].v", 5, "v: 5"), ("list[1]", {"id": "three"}, "- id: three"), ("list[+]", 7, "- 7"),
        ("map.l", "9", "l: '9'"),
        ("map.k", None, "map: {}"), ("new", date(2021, 2, 3), "new: 2021-02-03"), ("map[k]", 4, "k: 4"),
    ],
)  # fmt: skip
def test_a_path_changes_one_place(path: str, value: object, line: str) -> None:
    assert line.strip("- ") in overlay(LAW, [(f"a.yaml: {path}", value)])["a.yaml"].replace("{k: 4}", "k: 4").replace(
        "{k: 1, l: '9'}", "l: '9'"
    )


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("list[2]", 5, "'2' is not there"), ("list[lost].v", 5, "'lost' is not there"), ("x.y", 5, "'y' is not there"),
        ("list[2]", None, "cannot be taken out"),
        ("lost.v", 1, "'lost' is not there"), ("list.", 1, "is no place in a law file"), ("[", 1, "is no place in a law file"),
        ("map[+].v", 1, "'+' is not there"),
        ("x[+]", 1, "'+' is not there"), ("list[three]", {}, "'three' is not there"),
    ],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_refused(path: str, value: object, why: str) -> None:
    with pytest.raises(LawFileError) as refused:
        overlay(LAW, [(f"a.yaml: {path}", value)])
    assert (refused.value.file, refused.value.line, refused.value.where) == ("a.yaml", 0, path)
    assert why in refused.value.message


@pytest.mark.parametrize(
    ("path", "file", "where", "why"),
    [
        ("currency", "currency", "", "is no path of a law file"),
        ("a.yml: x", "a.yml: x", "", "is no path of a law file"),
        ("a.yaml:", "a.yaml:", "", "is no path of a law file"),
        ("b.yaml: x", "b.yaml", "x", "is not one of the law files (a.yaml)"),
    ],
)
def test_a_path_of_no_file_is_refused(path: str, file: str, where: str, why: str) -> None:
    with pytest.raises(LawFileError) as refused:
        overlay(LAW, [(path, 1)])
    assert (refused.value.file, refused.value.line, refused.value.where) == (file, 0, where)
    assert why in refused.value.message


@pytest.mark.parametrize(("text", "why"), [("", "is empty; there is nothing to change"), ("a: [", "is no YAML")])
def test_a_file_without_values_cannot_be_changed(text: str, why: str) -> None:
    with pytest.raises(LawFileError, match=why) as refused:
        overlay({"a.yaml": text}, [("a.yaml: x", 1)])
    assert (refused.value.file, refused.value.line) == ("a.yaml", 0)


def test_the_line_of_a_place_is_that_of_its_key_or_of_the_nearest_above_it() -> None:
    text = LAW["a.yaml"]
    places = {
        "x": 1,
        "list": 2,
        "list[one]": 3,
        "list[1].v": 4,
        "list[7]": 2,
        "map.k": 5,
        "map.lost": 5,
        "lost": 0,
        "": 0,
        "..": 0,
    }
    assert {place: line_of(text, place) for place in places} == places
    assert line_of("a: [", "a") == 0

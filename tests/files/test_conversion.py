"""Data that does not fit its type is reported with all places, each as it stands in the data."""

from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec
import pytest

from libs.files.conversion import Misfit, Misfits, allowed_words, convert_all


class Rate(msgspec.Struct, forbid_unknown_fields=True):
    rate: str
    mode: Literal["up", "down"]
    start: date = msgspec.field(name="from", default=date(2020, 1, 1))


class Book(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    areas: list[str]
    rates: list[Rate]
    named: dict[str, Rate] = {}
    by_mode: dict[Literal["up", "down"], str] = {}
    limit: Rate | None = None


GOOD: dict[str, Any] = {"name": "x", "areas": ["XA"], "rates": [{"rate": "5 %", "mode": "up"}]}


def convert(data: Any, kind: Any) -> Any:
    return msgspec.convert(data, kind, strict=True, builtin_types=(date, Decimal))


def misfits(data: Any) -> tuple[list[Misfit], Any]:
    with pytest.raises(Misfits) as refused:
        convert_all(data, Book, convert, 50)
    return refused.value.misfits, refused.value.value


def test_data_that_fits_is_converted() -> None:
    assert convert_all(GOOD, Book, convert, 50) == Book("x", ["XA"], [Rate("5 %", "up")])


def test_all_entries_of_a_list_are_named_by_their_own_places() -> None:
    bad = [
        {"rate": "5 %"},
        {"rate": "6 %", "mode": "up"},
        {"rate": "7 %", "mode": "sideways"},
        {"rate": [], "mode": "up"},
        5,
    ]
    found, value = misfits(GOOD | {"rates": bad})
    places = [(each.path, each.key, each.value) for each in found]
    assert places == [
        (("rates", 0), "mode", bad[0]),
        (("rates", 2, "mode"), None, "sideways"),
        (("rates", 3, "rate"), None, []),
        (("rates", 4), None, 5),
    ]
    assert value is None


def test_numbers_and_days_in_place_of_texts_stand_in_as_texts_so_that_the_rest_can_be_checked() -> None:
    found, value = misfits(GOOD | {"name": 7, "areas": ["XA", date(2026, 1, 2), Decimal("1.50")]})
    assert [each.path for each in found] == [("name",), ("areas", 1), ("areas", 2)]
    assert value == Book("7", ["XA", "2026-01-02", "1.50"], [Rate("5 %", "up")])


def test_a_word_that_was_read_as_true_or_false_has_no_stand_in() -> None:
    found, value = misfits(GOOD | {"areas": ["XA", False]})
    assert ([(each.path, each.value) for each in found], value) == ([(("areas", 1), False)], None)


def test_a_key_that_is_similar_to_a_missing_one_is_taken_for_it() -> None:
    found, value = misfits(
        {"nmae": "x", "areas": ["XA"], "rates": [{"rate": "5 %", "mode": "up", "form": date(2021, 1, 1)}]}
    )
    assert [(each.path, each.key) for each in found] == [((), "nmae"), (("rates", 0), "form")]
    assert value == Book("x", ["XA"], [Rate("5 %", "up", date(2021, 1, 1))])


def test_an_unknown_key_that_is_similar_to_none_is_left_out() -> None:
    found, value = misfits(GOOD | {"rates": [{"rate": "5 %", "mode": "up", "zzz": 1}]})
    assert ([(each.path, each.key) for each in found], value) == (
        [(("rates", 0), "zzz")],
        Book("x", ["XA"], [Rate("5 %", "up")]),
    )


def test_all_missing_keys_of_the_whole_and_the_errors_of_the_rest_are_reported_together() -> None:
    found, value = misfits({"rates": [{"rate": 5, "mode": "up"}], "zzz": 1})
    assert [(each.path, each.key) for each in found] == [
        ((), "zzz"),
        ((), "name"),
        (("rates", 0, "rate"), None),
    ]
    assert found[1].message.endswith("`name`, `areas`")
    assert value is None


def test_keys_of_mappings_are_named() -> None:
    found, _ = misfits(
        GOOD
        | {"by_mode": {"up": "a", "over": "b"}, "named": {"one": {"rate": "5 %", "mode": "up"}, "two": {"rate": "5 %"}}}
    )
    assert sorted(((each.path, each.key) for each in found), key=str) == [
        (("by_mode",), "over"),
        (("named", "two"), "mode"),
    ]


def test_a_number_as_key_is_named() -> None:
    found, value = misfits(GOOD | {"named": {5: {"rate": "5 %", "mode": "up"}}})
    assert ([(each.path, each.key) for each in found], value) == ([(("named",), 5)], None)


def test_a_struct_inside_an_option_is_searched() -> None:
    found, _ = misfits(GOOD | {"limit": {"rate": 5, "mode": "sideways"}})
    assert [each.path for each in found] == [("limit", "rate"), ("limit", "mode")]


def test_the_search_ends_at_the_most_misfits() -> None:
    with pytest.raises(Misfits) as refused:
        convert_all(GOOD | {"areas": list(range(9))}, Book, convert, 4)
    assert len(refused.value.misfits) == 4
    assert refused.value.value is None


def test_what_is_no_mapping_is_one_misfit() -> None:
    assert [(each.path, each.value) for each in misfits(["a"])[0]] == [((), ["a"])]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (("rates", 3, "mode"), ("up", "down")), (("limit", "mode"), ("up", "down")), (("named", "any", "mode"), ("up", "down")),
        (("by_mode",), ("up", "down")), (("rates", 0), ("rate", "mode", "from")), (("name",), ()), (("nowhere",), ()),
    ],
)  # fmt: skip
def test_the_allowed_words_of_a_place_are_those_of_its_type(
    path: tuple[str | int, ...], words: tuple[str, ...]
) -> None:
    assert allowed_words(Book, path) == words

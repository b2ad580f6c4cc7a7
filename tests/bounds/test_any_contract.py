"""Bounds of a contract that is made here: each kind of field, stated and unstated, on both sides.

The figures are those of protos/luxor/bounds/v1/bounds.proto, and stand here once more.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2

from libs.bounds import Excess, bound_of, bounds_of
from libs.bounds.contract import is_fraction, is_luxor_message, is_number, is_text, is_time
from libs.bounds.messages import choice_excess, number_excess, text_excess, time_excess
from luxor.bounds.v1 import bounds_pb2
from luxor.columns.v1 import columns_pb2

FIRST_SECOND, LAST_SECOND = 946_684_800, 4_102_444_800
"""2000-01-01 and 2100-01-01 UTC."""
DAYS = {"earliest": "2000-01-01", "latest": "2100-01-01"}
Proto = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "text": "string", "short": "string", "none": "string", "lines": "string", "shown": "string", "named": "string",
    "number": "int64", "signed": "int32", "fixed": "int64", "positive": "int64", "natural": "int64", "unsigned": "uint64",
    "price_minor": "int64", "minor": "int64", "dominor": "int64", "day": "int32", "from_day": "int32", "today": "int32", "stated_minor": "int64",
    "double": "double", "float": "float", "time": ".google.protobuf.Timestamp", "at": ".google.protobuf.Timestamp", "choice": ".{0}.Choice",
    "truth": "bool", "raw": "bytes", "below": ".{0}.Any", "foreign": ".google.rpc.BadRequest", "in_columns": ".{0}.Any",
    "names": "[string]", "two": "[string]", "none_of": "[string]", "batch": "[.{0}.Any]", "each": "[.{0}.Any]", "list_named": "[int64]",
    "list_in_columns": "[.{0}.Any]", "truths": "[bool]", "choices": "[.{0}.Choice]",
}  # fmt: skip
STATED: dict[str, dict[str, Any]] = {
    "short": {"characters_max": 3},
    "none": {"characters_max": 0},
    "lines": {"lines": True},
    "shown": {"characters_max": 3, "shown": True},
    "named": {"characters_max": 3, "reason": "NAME_WRONG"},
    "signed": {"least": -5, "most": 5},
    "fixed": {"least": 0, "most": 0},
    "positive": {"least": 1},
    "natural": {"least": 0},
    "stated_minor": {"most": 7},
    "at": {"least": 1_000_000_000_000_000, "most": 1_000_000_000_000_001, "reason": "AT_WRONG"},
    "in_columns": {"in_columns": True},
    "two": {"entries_max": 2, "characters_max": 3},
    "none_of": {"entries_max": 0},
    "each": {"answered_each": True},
    "list_named": {"entries_max": 2, "most": 9, "reason": "LIST_WRONG"},
    "list_in_columns": {"entries_max": 2, "in_columns": True},
}


def add_fields(message: Any, package: str, fields: dict[str, str], stated: dict[str, dict[str, Any]]) -> None:
    """Add fields of these types; a type in brackets is a list, one with a dot a message or an enum."""
    for number, (name, kind) in enumerate(fields.items(), 1):
        repeated, kind = kind.startswith("["), kind.strip("[]").format(package)
        field = message.field.add(name=name, number=number, label=3 if repeated else 1)
        if kind.startswith("."):
            field.type, field.type_name = Proto.TYPE_ENUM if kind.endswith("Choice") else Proto.TYPE_MESSAGE, kind
        else:
            field.type = Proto.Type.Value(f"TYPE_{kind.upper()}")
        if name in stated:
            field.options.Extensions[bounds_pb2.field].CopyFrom(bounds_pb2.Bounds(**stated[name]))


def contract(package: str) -> dict[str, type[Any]]:
    """Return the classes of a contract of this package."""
    made = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    made.dependency.extend(each.DESCRIPTOR.name for each in (timestamp_pb2, error_details_pb2, columns_pb2))
    choice = made.enum_type.add(name="Choice")
    for number, name in enumerate(("UNSPECIFIED", "ONE", "TWO")):
        choice.value.add(name=name, number=number)
    add_fields(made.message_type.add(name="Any"), package, MESSAGES, STATED)
    beside = {"text": "string", "column": ".luxor.columns.v1.Strings", "time": ".google.protobuf.Timestamp"}
    add_fields(made.message_type.add(name="Column"), package, beside, {})
    add_fields(made.message_type.add(name="Beside"), package, {"column": ".{0}.Column", "text": "string"}, {})
    pool = descriptor_pool.Default()
    pool.Add(made)
    return {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in ("Any", "Column", "Beside")
    }


OURS, FOREIGN = contract("luxor.made_by_tests.v1"), contract("made_by_tests.v1")
Any_ = OURS["Any"]


def excesses(message: Any) -> list[Excess]:
    """Return what is beyond its bounds; both passes agree."""
    bounds = bounds_of(type(message))
    found = list(bounds.excesses(message))
    assert bounds.pass_all(message) is not bool(found)
    return found


def filled(name: str, value: Any) -> Any:
    """Return a message with this value alone; of a message, its fields."""
    made = Any_()
    if isinstance(value, dict):
        for each, inner in value.items():
            setattr(getattr(made, name), each, inner)
    elif isinstance(value, list):
        getattr(made, name).extend(value)
    else:
        setattr(made, name, value)
    return made


GOOD: list[tuple[str, Any]] = [
    ("text", "x" * 2_048), ("short", "abc"), ("short", "äöü"), ("shown", "abc"), ("named", "abc"), ("lines", "a\tb\nc\rd\r\ne"),
    ("number", 10**18), ("number", -(10**18)), ("unsigned", 10**18), ("signed", 5), ("signed", -5), ("positive", 1),
    ("positive", 10**18), ("natural", 10**18), ("price_minor", 10**12), ("price_minor", -(10**12)), ("minor", 10**12),
    ("minor", -(10**12)), ("dominor", 10**12 + 1), ("dominor", -(10**12) - 1), ("day", 1), ("day", 47_482), ("from_day", 47_482),
    ("today", 47_483), ("today", -1), ("stated_minor", 7), ("stated_minor", -(10**12)), ("double", 1e308), ("double", -1e308),
    ("float", 1.5), ("time", {"seconds": FIRST_SECOND}), ("time", {"seconds": LAST_SECOND}),
    ("time", {"seconds": LAST_SECOND, "nanos": 999}), ("time", {"seconds": FIRST_SECOND, "nanos": 999_999_999}),
    ("at", {"seconds": 10**9}), ("at", {"seconds": 10**9, "nanos": 1_999}), ("choice", 1), ("choice", 2), ("truth", True),
    ("raw", b"x" * 5_000), ("names", ["x" * 2_048] * 1_000), ("two", ["abc", "abc"]), ("list_named", [9, 9]), ("truths", [True] * 1_000),
    ("choices", [0, 1, 2]), ("batch", [Any_()] * 1_000), ("list_in_columns", [Any_(text="\x00")] * 2), ("in_columns", {"short": "long"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), GOOD, ids=lambda each: repr(each)[:30])
def test_a_value_on_its_bound_passes(name: str, value: Any) -> None:
    assert excesses(filled(name, value)) == []


def numbers(least: int, most: int, amount: int) -> dict[str, int]:
    """Return the facts of a number beyond its bounds."""
    return {"least": least, "most": most, "limit": most, "amount": amount, "amount_max": most}


WIDE, MONEY, DAY = (-(10**18), 10**18), (-(10**12), 10**12), (0, 47_482)
BAD: list[tuple[str, Any, str, str, dict[str, Any]]] = [
    ("text", "x" * 2_049, "TEXT_TOO_LONG", "", {"characters": 2_049, "characters_max": 2_048}),
    ("text", "a\nb", "TEXT_UNPRINTABLE", "", {"characters_max": 2_048}),
    ("text", "\x00" * 2_049, "TEXT_TOO_LONG", "", {"characters": 2_049, "characters_max": 2_048}),
    ("short", "abcd", "TEXT_TOO_LONG", "", {"characters": 4, "characters_max": 3}),
    ("none", "a", "TEXT_TOO_LONG", "", {"characters": 1, "characters_max": 0}),
    ("named", "abcd", "NAME_WRONG", "", {"characters": 4, "characters_max": 3}),
    ("named", "a\x7f", "NAME_WRONG", "", {"characters_max": 3}),
    ("shown", "abcd", "TEXT_TOO_LONG", "abcd", {"characters": 4, "characters_max": 3}),
    ("shown", "a\nb", "TEXT_UNPRINTABLE", "a?b", {"characters_max": 3}),
    ("number", 10**18 + 1, "NUMBER_TOO_LARGE", str(10**18 + 1), numbers(*WIDE, 10**18 + 1)),
    ("number", -(10**18) - 1, "NUMBER_TOO_SMALL", str(-(10**18) - 1), numbers(*WIDE, -(10**18) - 1)),
    ("unsigned", 2**64 - 1, "NUMBER_TOO_LARGE", str(2**64 - 1), numbers(*WIDE, 2**64 - 1)),
    ("signed", 6, "NUMBER_TOO_LARGE", "6", numbers(-5, 5, 6)),
    ("signed", -6, "NUMBER_TOO_SMALL", "-6", numbers(-5, 5, -6)),
    ("fixed", 1, "NUMBER_TOO_LARGE", "1", numbers(0, 0, 1)),
    ("fixed", -1, "NUMBER_NEGATIVE", "-1", numbers(0, 0, -1)),
    ("positive", -1, "NUMBER_TOO_SMALL", "-1", numbers(1, 10**18, -1)),
    ("natural", -1, "NUMBER_NEGATIVE", "-1", numbers(0, 10**18, -1)),
    ("price_minor", 10**12 + 1, "NUMBER_TOO_LARGE", str(10**12 + 1), numbers(*MONEY, 10**12 + 1)),
    ("price_minor", -(10**12) - 1, "NUMBER_TOO_SMALL", str(-(10**12) - 1), numbers(*MONEY, -(10**12) - 1)),
    ("minor", 10**12 + 1, "NUMBER_TOO_LARGE", str(10**12 + 1), numbers(*MONEY, 10**12 + 1)),
    ("minor", -(10**12) - 1, "NUMBER_TOO_SMALL", str(-(10**12) - 1), numbers(*MONEY, -(10**12) - 1)),
    ("stated_minor", 8, "NUMBER_TOO_LARGE", "8", numbers(-(10**12), 7, 8)),
    ("stated_minor", -(10**12) - 1, "NUMBER_TOO_SMALL", str(-(10**12) - 1), numbers(-(10**12), 7, -(10**12) - 1)),
    ("day", 47_483, "NUMBER_TOO_LARGE", "47483", numbers(*DAY, 47_483)),
    ("day", -1, "NUMBER_NEGATIVE", "-1", numbers(*DAY, -1)),
    ("from_day", 47_483, "NUMBER_TOO_LARGE", "47483", numbers(*DAY, 47_483)),
    ("from_day", -1, "NUMBER_NEGATIVE", "-1", numbers(*DAY, -1)),
    ("double", math.nan, "NUMBER_NOT_FINITE", "nan", {}),
    ("float", -math.inf, "NUMBER_NOT_FINITE", "-inf", {}),
    ("choice", 3, "CHOICE_UNKNOWN", "3", {}),
    ("choice", -1, "CHOICE_UNKNOWN", "-1", {}),
    ("time", {"seconds": FIRST_SECOND - 1, "nanos": 999_999_999}, "TIME_OUT_OF_BOUNDS", "946684799 s 999999999 ns", DAYS),
    ("time", {"seconds": LAST_SECOND, "nanos": 1_000}, "TIME_OUT_OF_BOUNDS", "4102444800 s 1000 ns", DAYS),
    ("time", {"seconds": LAST_SECOND - 1, "nanos": 10**9}, "TIME_OUT_OF_BOUNDS", "4102444799 s 1000000000 ns", DAYS),
    ("time", {"seconds": FIRST_SECOND + 1, "nanos": -1}, "TIME_OUT_OF_BOUNDS", "946684801 s -1 ns", DAYS),
    ("at", {"seconds": 10**9 - 1}, "AT_WRONG", "999999999 s 0 ns", {"earliest": "2001-09-09", "latest": "2001-09-09"}),
    ("at", {"seconds": 10**9, "nanos": 2_000}, "AT_WRONG", "1000000000 s 2000 ns", {"earliest": "2001-09-09", "latest": "2001-09-09"}),
    ("names", ["x"] * 1_001, "LIST_TOO_LONG", "1001", {"count": 1_001, "count_max": 1_000, "items_max": 1_000}),
    ("two", ["long", "long", "long"], "LIST_TOO_LONG", "3", {"count": 3, "count_max": 2, "items_max": 2}),
    ("none_of", [""], "LIST_TOO_LONG", "1", {"count": 1, "count_max": 0, "items_max": 0}),
    ("list_named", [1, 2, 3], "LIST_WRONG", "3", {"count": 3, "count_max": 2, "items_max": 2}),
    ("list_in_columns", [Any_()] * 3, "LIST_TOO_LONG", "3", {"count": 3, "count_max": 2, "items_max": 2}),
    ("truths", [True] * 1_001, "LIST_TOO_LONG", "1001", {"count": 1_001, "count_max": 1_000, "items_max": 1_000}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "reason", "shown", "facts"), BAD, ids=lambda each: repr(each)[:30])
def test_a_value_beyond_its_bound_is_named_with_what_its_sentence_needs(
    name: str, value: Any, reason: str, shown: str, facts: dict[str, Any]
) -> None:
    assert excesses(filled(name, value)) == [Excess(name, reason, shown, facts, None)]


@pytest.mark.parametrize("character", [chr(code) for code in (*range(32), *range(0x7F, 0xA0))])
def test_a_text_of_lines_has_line_breaks_and_tabs_and_no_other_control_character(character: str) -> None:
    allowed = character in "\t\n\r"
    assert [each.reason for each in excesses(Any_(lines=f"a{character}"))] == ([] if allowed else ["TEXT_UNPRINTABLE"])
    assert [each.reason for each in excesses(Any_(text=f"a{character}"))] == ["TEXT_UNPRINTABLE"]


def test_a_text_is_repeated_by_one_character_more_than_an_error_shows_so_that_the_error_shows_the_cut() -> None:
    for characters in (64, 65, 66):
        assert excesses(Any_(shown="x" * characters))[0].value == "x" * min(characters, 65)


def test_values_beyond_their_bounds_have_their_places_and_full_lists_are_searched() -> None:
    message = Any_(two=["abc", "long"], list_named=[10, 9], choices=[0, 3, 1, -1])
    message.below.below.short = "long"
    message.batch.add()
    message.batch.add().names.extend(["", "\x00"])
    assert [(each.path, each.reason) for each in excesses(message)] == [
        ("below.below.short", "TEXT_TOO_LONG"),
        ("two[1]", "TEXT_TOO_LONG"),
        ("batch[1].names[1]", "TEXT_UNPRINTABLE"),
        ("list_named[0]", "LIST_WRONG"),
        ("choices[1]", "CHOICE_UNKNOWN"),
        ("choices[3]", "CHOICE_UNKNOWN"),
    ]


def test_an_entry_that_is_answered_by_itself_is_named_with_its_list_and_place_and_has_ten_values_at_most() -> None:
    message = Any_(short="long", two=["long"])
    message.each.add()
    message.each.add().choices.extend([9] * 11)
    message.each.add().below.short = "long"
    message.batch.add().choices.extend([9] * 11)
    entries = [each.entry for each in excesses(message)]
    assert entries == [None, None, *[None] * 11, *[("each", 1)] * 10, ("each", 2)]


def test_an_element_that_is_not_set_keeps_to_all_bounds_and_types_without_bounds_have_none() -> None:
    assert excesses(Any_()) == []
    message = Any_(truth=True, raw=b"\xff" * 3_000)
    message.foreign.field_violations.add(field="\x00" * 3_000)
    assert excesses(message) == []
    message.short = "long"
    assert [each.path for each in excesses(message)] == ["short"]


def test_messages_of_others_and_messages_of_columns_are_not_checked_and_those_beside_are() -> None:
    assert not is_luxor_message(FOREIGN["Any"].DESCRIPTOR)
    assert not is_luxor_message(error_details_pb2.BadRequest.DESCRIPTOR)
    assert is_luxor_message(Any_.DESCRIPTOR)
    assert excesses(FOREIGN["Any"](text="\x00", names=["x"] * 1_001)) == []
    assert excesses(columns_pb2.Strings(dictionary=["\x00"] * 1_001)) == []
    assert excesses(OURS["Column"](text="\x00")) == []
    assert [each.path for each in excesses(OURS["Beside"](text="\x00", column=OURS["Column"](text="\x00")))] == ["text"]


TYPES = (
    ("text", "text"), ("number", "number"), ("signed", "number"), ("unsigned", "number"), ("double", "fraction"), ("float", "fraction"),
    ("time", "time"), ("names", "text"), ("list_named", "number"), ("choice", ""), ("truth", ""), ("raw", ""), ("below", ""),
)  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), TYPES)
def test_a_field_is_of_one_kind(name: str, kind: str) -> None:
    field: FieldDescriptor = Any_.DESCRIPTOR.fields_by_name[name]
    kinds = {"text": is_text, "number": is_number, "fraction": is_fraction, "time": is_time}
    assert [each for each, tell in kinds.items() if tell(field)] == ([kind] if kind else [])


def test_a_single_value_on_its_bound_has_no_reason() -> None:
    fields = Any_.DESCRIPTOR.fields_by_name
    signed, choice, time = (bound_of(fields[name]) for name in ("signed", "choice", "time"))
    assert [number_excess(number, signed) for number in (-5, 0, 5)] == [None] * 3
    assert [choice_excess(number, choice) for number in (0, 1, 2)] == [None] * 3
    assert [set(each.choices) for each in (choice, signed, time)] == [{0, 1, 2}, set(), set()]
    assert text_excess("abc", bound_of(fields["short"])) is None
    assert time_excess(Any_(time={"seconds": FIRST_SECOND}).time, time) is None


RANGES: dict[str, tuple[int, int]] = {
    "number": WIDE, "unsigned": WIDE, "positive": (1, 10**18), "natural": (0, 10**18), "signed": (-5, 5), "fixed": (0, 0),
    "price_minor": MONEY, "minor": MONEY, "stated_minor": (-(10**12), 7), "dominor": WIDE, "day": DAY, "from_day": DAY, "today": WIDE,
    "time": (FIRST_SECOND * 10**6, LAST_SECOND * 10**6), "at": (10**15, 10**15 + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
def test_what_a_field_does_not_state_is_as_it_is_of_all_fields(name: str) -> None:
    bound, stated = bound_of(Any_.DESCRIPTOR.fields_by_name[name]), STATED.get(name, {})
    if name in RANGES:
        assert (bound.least, bound.most) == RANGES[name]
    flags = ("lines", "answered_each", "in_columns", "shown")
    assert [getattr(bound, each) for each in flags] == [each in stated for each in flags]
    assert bound.reason == stated.get("reason", "")
    assert bound.characters_max == stated.get("characters_max", 2_048)
    assert bound.entries_max == stated.get("entries_max", 1_000)

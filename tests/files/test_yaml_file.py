"""The reader of YAML: what it accepts, what it refuses, and the position of each value."""

import datetime
from pathlib import Path

import msgspec
import pytest

from libs.files.yaml_file import (
    DuplicateKeyError,
    InvalidYamlError,
    YamlError,
    YamlFile,
    YamlOptions,
    message_and_path,
    path_text,
)

TEXT = """\
# Positions are those of the file.
rules:
  - id: ONE
    weight: 5
  - id: TWO
    condition: |
      weight > 1
days: {a.b: 2026-11-01, a: [1, 2]}
"""
SMALL = YamlOptions(bytes_max=200, values_max=20, depth_max=3)


class Rule(msgspec.Struct):
    id: str
    weight: int = 0
    condition: str = ""


class Rules(msgspec.Struct):
    rules: list[Rule]
    days: dict[str, object]


def test_a_file_is_read_as_plain_data(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    file = YamlFile(path)
    assert file.name == str(path)
    assert file.data["rules"][1] == {"id": "TWO", "condition": "weight > 1\n"}
    assert file.data["days"] == {"a.b": datetime.date(2026, 11, 1), "a": [1, 2]}
    assert YamlFile("x", TEXT).data == YamlFile("x", TEXT.encode()).data == file.data
    assert file.convert(Rules).rules[0] == Rule("ONE", 5)
    with pytest.raises(YamlError, match=r"b\.yaml: the file cannot be read: No such file"):
        YamlFile(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("path", "position", "entry_line"),
    [
        ("$", (2, 1), 2), ("$.rules", (3, 3), 2), ("$.rules[0]", (3, 5), 3), ("$.rules[0].weight", (4, 13), 4),
        ("$.rules[1].condition", (6, 16), 6), ("$.rules[1].weight", (5, 5), 5), ("$.rules[9]", (3, 3), 2),
        ("$.rules[0].weight.x", (4, 13), 4), ("$.days.a.b", (8, 13), 8), ("$.days.a[1]", (8, 32), 8), ("$.lost", (2, 1), 2),
    ],
)  # fmt: skip
def test_each_value_has_a_position_or_that_of_the_nearest_around_it(
    path: str, position: tuple[int, int], entry_line: int
) -> None:
    file = YamlFile("x.yaml", TEXT)
    assert file.position(path) == position
    assert file.entry_line(path) == entry_line
    assert file.place(path) == f"x.yaml:{position[0]}"


def test_an_empty_file_has_no_data_and_its_first_line() -> None:
    file = YamlFile("x", "# nothing\n")
    assert (file.data, file.position("$.a"), file.entry_line("$.a")) == (None, (1, 1), 0)


def test_lines_and_the_indentation_of_literal_blocks_are_those_of_the_file() -> None:
    file = YamlFile("x", TEXT)
    assert (file.line(4), file.line(0), file.line(99)) == ("    weight: 5", "", "")
    assert file.block_indentation("$.rules[1].condition") == 6
    assert file.block_indentation("$.rules[0].id") is None
    assert file.block_indentation("$.rules") is None


@pytest.mark.parametrize(
    ("text", "line", "where", "message"),
    [
        ("a: 1\nb:\n  - c: 1\n    c: 2\n", 4, "$.b[0]", "the key 'c' stands twice; keep one of the two"),
        ("a: 1\n61: 2\n", 2, "$", "the key 61 is no text; put it in quotes"),
        ("a: {no: 2}\n", 1, "$.a", "the key no is no text; put it in quotes"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", 2, "$.c", "the key << is no text; put it in quotes"),
        ("? [a, b]\n: 1\n", 1, "$", "a key here has several values; write it as one word"),
        ("a: [\n", 2, "", "this is not YAML: did not find expected node content"),
        ("a: !thing {b: 1}\n", 1, "", "this is not YAML: could not determine a constructor for the tag '!thing'"),
        ("a: *b\n", 1, "", "this is not YAML: found undefined alias"),
        ("a: b\0", 0, "", "this is not YAML that is read here: "),
        ("a: \ud800", 0, "", "this is not YAML that is read here: "),
        ("a: 1\nb: 2026-02-30\n", 2, "", "2026-02-30 cannot be read: day is out of range for month"),
        ("a: 2026-11-01 10:00:00\n", 1, "", "2026-11-01 10:00:00 has a time of day; write a day such as 2026-11-01"),
        (f"a: {'9' * 5000}\n", 1, "", f"{'9' * 60} cannot be read: Exceeds the limit"),
        ("a: [[[1]]]", 1, "$.a[0][0][0]", "more than 3 deep in each other; divide it into several files"),
        ("a: &a [*a]", 1, "$.a[0][0][0]", "more than 3 deep in each other"),
        ("a: &a [1, 2, 3, 4, 5]\nb: &b [*a, *a]\nc: [*b, *b]\n", 3, "$.c", "holds more than 20 values"),
    ],
)  # fmt: skip
def test_a_text_that_is_refused_is_named_with_line_and_path(text: str, line: int, where: str, message: str) -> None:
    options = SMALL if len(text) < 200 else YamlOptions()
    with pytest.raises(YamlError) as refused:
        YamlFile("x.yaml", text, options)
    error = refused.value
    assert (error.file, error.line) == ("x.yaml", line)
    assert error.where.startswith(where)
    assert message in error.message
    assert str(error) == f"x.yaml:{line}: {error.message}" if line else f"x.yaml: {error.message}"


def test_errors_name_the_key_and_the_reason() -> None:
    with pytest.raises(DuplicateKeyError) as twice:
        YamlFile("x", "a: 1\na: 2\n")
    assert twice.value.key == "a"
    with pytest.raises(InvalidYamlError) as invalid:
        YamlFile("x", "a: [")
    assert invalid.value.message == f"this is not YAML{invalid.value.reason}"


def test_a_file_has_so_many_bytes_at_most() -> None:
    assert YamlFile("x", "a" * 200, SMALL).data == "a" * 200
    with pytest.raises(YamlError, match="x: the file has 201 bytes; at most 200 are read"):
        YamlFile("x", "a" * 201, SMALL)


def test_keys_of_other_types_are_read_where_they_are_accepted_and_a_merged_value_has_its_own_line() -> None:
    file = YamlFile("x", "a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  c: 3\n5: e\n", YamlOptions(text_keys=False))
    assert file.data == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}, 5: "e"}
    assert [file.entry_line(f"$.{path}") for path in ("d.b", "d.c", "5")] == [1, 4, 5]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (TEXT.replace("weight: 5", "weight: five"), "x:4: Expected `int`, got `str` (at rules[0].weight)"),
        (TEXT.replace("ONE", "NO"), "x:3: Expected `str`, got `bool`; YAML reads yes, no, on and off as truth values"),
        (TEXT.replace("ONE", "1"), "x:3: Expected `str`, got `int`; put codes and numbers in quotes"),
        ("- a\n", "x:1: Expected `object`, got `array` (at $)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_place(text: str, error: str) -> None:
    with pytest.raises(YamlError) as refused:
        YamlFile("x", text).convert(Rules)
    assert str(refused.value).startswith(error)


def test_an_error_about_a_key_is_that_of_its_mapping() -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert({"a": {"b": 1}}, dict[str, dict[int, int]])
    message, path = message_and_path(refused.value)
    assert message.startswith("a key: Expected `int`")
    assert path == "$"[: len(path)] or path.startswith("$")


def test_a_path_is_written_as_errors_show_it() -> None:
    assert path_text(()) == "$"
    assert path_text(("rules", 3, "weight")) == "$.rules[3].weight"

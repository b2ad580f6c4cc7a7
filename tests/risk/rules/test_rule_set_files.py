"""Rule sets from files that were sent: parts that build on each other, every mistake with its place, and any bytes at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from services.risk.rules.rule_set import RuleSet, load_rule_set, read_rule_set
from services.risk.rules.sources import SentFiles, path_error
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from tests.risk.filings import PROFILE
from tests.risk.rules.rule_files import RATES, files, profile, read, rule, typology

SELECTION = (PROFILE.parent / "data" / "selection.yaml").read_bytes()


def refused(content: dict[str, bytes], path: str = "profile.yaml") -> list[ValidationError]:
    with pytest.raises(RuleSetError) as caught:
        read_rule_set(SentFiles(content), path)
    return list(caught.value.errors)


def of_text(text: str, **more: bytes) -> dict[str, bytes]:
    return {"profile.yaml": text.encode(), "rates.yaml": RATES, **{f"{name}.yaml": each for name, each in more.items()}}


# ------------------------------------------------------------------------------------------ mistakes
def test_every_mistake_of_every_rule_is_told_at_once_with_file_line_column_and_rule() -> None:
    text = profile(
        rule("FIRST", "consignment.natur == 1", more="life: sleeping\nstages: []"),
        rule("second", weight=2000, lane="orange", judges="parcel"),
        rule("THIRD", more="jurisdiction: [DE]\nconfidential: perhaps"),
    )
    told = refused(of_text(text))
    assert {(each.file, each.line, each.column, each.rule, each.message[:34]) for each in told} == {
        ("profile.yaml", 17, 11, "rule FIRST", "'sleeping' is none of the values t"),
        ("profile.yaml", 18, 13, "rule FIRST", "at least 1 entry is needed (at rul"),
        ("profile.yaml", 19, 9, "rule second", "3 to 63 capital letters, digits an"),
        ("profile.yaml", 21, 13, "rule second", "'parcel' is none of the values tha"),
        ("profile.yaml", 23, 13, "rule second", "a number of at most 1000 is needed"),
        ("profile.yaml", 24, 11, "rule second", "'orange' is none of the values tha"),
        ("profile.yaml", 41, 19, "rule THIRD", "there is no element `jurisdiction`"),
        ("profile.yaml", 42, 19, "rule THIRD", "true or false is needed, and this "),
    }


def test_mistakes_of_all_conditions_and_typologies_are_told_at_once() -> None:
    text = profile(
        rule("FIRST", "consignment.natur == 1"),
        rule("SECOND", "consignment.gross_mass_mg > 'heavy'"),
        rule("TRIED", more="life: shadow"),
        typologies=typology("SIGNS", "{FIRST: 30, SECND: 30}", 40)
        + typology("FIRST", "{FIRST: 30}", 10)
        + typology("HIGH", "{FIRST: 30, SECOND: 30}", 61)
        + typology("DARK", "{FIRST: 30, TRIED: 30}", 50),
    )
    told = {(each.line, each.column, each.rule): each.message for each in refused(of_text(text))}
    assert told[9, 27, "rule FIRST"].startswith("condition: undefined field 'natur'")
    assert "no matching overload" in told[20, 42, "rule SECOND"]
    assert told[43, 31, "typology SIGNS"] == "there is no rule SECND; did you mean SECOND?"
    assert told[50, 5, "typology FIRST"] == "the id is taken by a rule; ids are unique over rules and typologies"
    assert told[62, 18, "typology HIGH"].endswith("active weigh 60 together, so 61 can never be reached")
    assert told[71, 18, "typology DARK"].endswith("active weigh 30 together, so 50 can never be reached")
    assert len(told) == 6


@pytest.mark.parametrize(
    ("written", "column"),
    [
        ("consignment.natur == 1", 27),
        ('"consignment.natur == 1"', 28),
        ("'consignment.natur == 1'", 28),
        ("|\n      true &&\n      consignment.natur == 1", 18),
        ("|-\n         consignment.natur == 1", 21),
    ],
)
def test_a_mistake_in_a_condition_is_told_where_it_stands_in_the_file(written: str, column: int) -> None:
    text = profile(rule("FIRST", written))
    (told,) = refused(of_text(text))
    line = text.splitlines()[told.line - 1]
    assert told.column == column
    # The library tells the place of the dot before the name.
    assert line[told.column - 1 :].startswith(".natur")


@pytest.mark.parametrize(
    "written", [">\n      true &&\n      consignment.natur == 1", '"true && \\\n      consignment.natur == 1"']
)
def test_a_mistake_in_a_folded_condition_is_told_with_its_place_in_the_text(written: str) -> None:
    (told,) = refused(of_text(profile(rule("FIRST", written))))
    assert (told.line, told.column, told.rule) == (9, 16, "rule FIRST")
    assert told.message.startswith("condition, its line 1, column 20: undefined field 'natur'")


def test_a_selection_with_a_mistake_refuses_the_set_and_is_told_with_its_place() -> None:
    text = profile(rule("FIRST"), more="selection: selection.yaml\n")
    broken = SELECTION.replace(b"direction: import", b"direction: inwards")
    (told,) = refused(of_text(text, selection=broken))
    assert (told.file, told.line) == ("selection.yaml", 1 + broken[: broken.index(b"inwards")].count(b"\n"))
    (told,) = refused(of_text(text))
    assert (told.file, told.line, told.column) == ("profile.yaml", 1, 12)
    assert "selection.yaml: the file cannot be read" in str(told)


def test_a_file_that_was_not_sent_is_told_where_it_is_named() -> None:
    (told,) = refused({"profile.yaml": profile(rule("FIRST")).encode()})
    assert str(told) == (
        "profile.yaml:4:23: data eur_cents_ppm: rates.yaml: the file cannot be read: it is not among the 1 that were sent"
    )
    assert str(refused({}, "profile.yaml")[0]).startswith("profile.yaml: the file cannot be read")


def test_a_file_that_aliases_make_huge_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    (told,) = refused(of_text("\n".join(lines)))
    assert told.message.startswith("the file holds more than")


@pytest.mark.parametrize(
    "text", ["&a [*a]", "a: &a {b: *a}", "- " * 3000 + "x", "[" * 3000, "? {a: 1}\n: 2", "? [1, 2]\n: 3"]
)
def test_values_that_hold_themselves_or_lie_too_deep_are_refused(text: str) -> None:
    assert len(refused(of_text(text))) == 1


# ------------------------------------------------------------------------------------------ parts
def test_a_profile_builds_on_another_and_says_what_differs() -> None:
    base = profile(
        rule("FIRST", weight=10), rule("SECOND", "has(consignment.mrn)", weight=20), more="selection: s.yaml\n"
    )
    own = (
        "base: ../base/profile.yaml\nname: land\nversion: '7'\nthresholds: {red: 900, yellow: 600, blue: 300}\nrules:\n"
    )
    own += rule("FIRST", weight=11) + rule("THIRD", "has(consignment.filer)")
    content = {
        "base/profile.yaml": base.encode(),
        "base/rates.yaml": RATES,
        "base/s.yaml": SELECTION,
        "land/profile.yaml": own.encode(),
    }
    rules = read_rule_set(SentFiles(content), "land/profile.yaml")
    assert [(each.text.id, each.text.weight) for each in rules.rules] == [("FIRST", 11), ("SECOND", 20), ("THIRD", 100)]
    assert (rules.name, rules.thresholds.red, rules.version.partition("+")[0]) == ("land", 900, "land/7")
    assert rules.selection is not None
    assert rules.rules[1].place == ("base/profile.yaml", 18, 5)


def test_a_mistake_in_what_a_profile_builds_on_is_told_there() -> None:
    content = of_text("base: other.yaml\nname: land\nversion: '7'\n", other=profile(rule("FIRST", "1 + 1")).encode())
    (told,) = refused(content)
    assert (told.file, told.line, told.rule) == ("other.yaml", 9, "rule FIRST")
    assert told.message == "condition: a condition must give true or false"


@pytest.mark.parametrize("other", ["base: profile.yaml", "base: other.yaml", "base: nowhere.yaml"])
def test_profiles_that_build_on_themselves_or_on_nothing_are_refused(other: str) -> None:
    (told,) = refused(
        of_text("base: other.yaml\nname: land\nversion: '7'\n", other=f"{other}\nname: x1\nversion: '1'".encode())
    )
    assert (told.file, told.line) == ("other.yaml", 1)


def test_the_version_tells_rules_data_and_selection_and_not_how_they_are_spread_over_files() -> None:
    one = read(rule("FIRST"), rule("SECOND"))
    spread = of_text(
        "base: other.yaml\nname: trial\nversion: '1'\nrules:\n" + rule("SECOND"), other=profile(rule("FIRST")).encode()
    )
    assert read_rule_set(SentFiles(spread), "profile.yaml").version == one.version
    drawn = of_text(profile(rule("FIRST"), rule("SECOND"), more="selection: s.yaml\n"), s=SELECTION)
    other = read_rule_set(SentFiles(drawn), "profile.yaml").version
    more = read_rule_set(
        SentFiles({**drawn, "s.yaml": SELECTION.replace(b"expected_ppm: 0", b"expected_ppm: 9", 1)}), "profile.yaml"
    )
    assert len({one.version, other, more.version}) == 3
    assert read(rule("FIRST"), rule("SECOND", more="life: active\nconfidential: false")).version == one.version


def test_the_shipped_profile_is_the_same_from_its_directory_and_as_sent() -> None:
    content = {
        path.relative_to(PROFILE.parent).as_posix(): path.read_bytes()
        for path in sorted(PROFILE.parent.rglob("*.yaml"))
    }
    assert read_rule_set(SentFiles(content), "first_light.yaml").version == load_rule_set(PROFILE).version


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a.yaml", "a/../b.yaml", "a//b.yaml", "./a.yaml", "a\n.yaml", "x" * 201, "."]
)
def test_paths_that_leave_the_set_are_wrong(path: str) -> None:
    assert path_error(path)


@pytest.mark.parametrize("path", ["profile.yaml", "data/words.yaml", "a/b/c.yaml", "...yaml"])
def test_other_paths_are_right(path: str) -> None:
    assert path_error(path) == ""


# ------------------------------------------------------------------------------------------ any bytes
FUZZED = files(
    rule("FIRST", more="life: shadow\nstages: [clearance]\njurisdictions: [DE, EU]\nvalid_until: 2026-12-31"),
    rule("SECOND", "item.price_minor > 5 && item.description.contains('a')", judges="item"),
    typologies=typology("SIGNS", "{SECOND: 30}", 30, more="confidential: true"),
)
TOKENS = ["", "null", "true", "-1", "1e400", "99999999999999999999", "0x1g", "2026-02-30", "!!binary x", "!!python/name:os.system", "&a", "*a",
          "<<: {a: 1}", "{", "]", "\t", "|", ">", "\x00", "\ud7ff", "'", '"', ": ", "- ", "? ", "%YAML 9.9", "---", "{}", "~", ".nan",
          "1:30"]  # fmt: skip


def outcome(content: dict[str, bytes]) -> RuleSet | RuleSetError:
    try:
        return read_rule_set(SentFiles(content), "profile.yaml")
    except RuleSetError as error:
        refusal = error
    assert refusal.errors
    for each in refusal.errors:
        assert each.file in content, each
        assert 0 <= each.line <= content[each.file].count(b"\n") + 2, each
        assert each.message
    return refusal


@seed(20261125)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_set_that_is_changed_anyhow_is_a_set_or_is_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FUZZED)))
    lines = FUZZED[name].decode().split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[row])))
        token = data.draw(st.sampled_from(TOKENS) | st.text(max_size=4))
        kind = data.draw(st.sampled_from(["insert", "replace value", "delete line", "twice", "cut"]))
        if kind == "insert":
            lines[row] = lines[row][:column] + token + lines[row][column:]
        elif kind == "replace value":
            lines[row] = lines[row].partition(":")[0] + ": " + token
        elif kind == "delete line":
            lines[row] = ""
        elif kind == "twice":
            lines.insert(row, lines[row])
        else:
            lines[row] = lines[row][:column]
    outcome({**FUZZED, name: "\n".join(lines).encode("utf-8", "surrogatepass")})


def test_a_set_whose_bytes_are_changed_is_a_set_or_is_refused() -> None:
    draw = random.Random(20261125)
    kinds = set()
    for _ in range(150):
        name = draw.choice(sorted(FUZZED))
        content = bytearray(FUZZED[name])
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        kinds.add(type(outcome({**FUZZED, name: bytes(content)})))
    assert kinds == {RuleSet, RuleSetError}


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").mkdir()
    with pytest.raises(RuleSetError, match=r"profile\.yaml: the file cannot be read"):
        load_rule_set(tmp_path / "profile.yaml")

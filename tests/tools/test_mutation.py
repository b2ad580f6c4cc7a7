"""The faults that `make mutation-test` plants, and that every area still has modules and tests."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools import mutation
from tools.mutants import MODULE, Mutant, mutants_of, planted
from tools.mutation_areas import AREAS

SOURCE = '''
"""What 1 < 2 says in a docstring is no code."""

LIMIT: int = 10


def check(count: int, name: str, allowed: list[str]) -> bool:
    if count >= LIMIT and name not in allowed:
        raise ValueError(name)
    return not (count + 1 == 3)


def allowed(name: str) -> bool:
    if name in CACHE:
        return False
    if closed():
        return False
    total = 0
    total += len(name)
    return zip(name, name, strict=True)


LOCK = "select minor from credit where account = $1 and currency = $2 for update"
'''


def test_each_kind_of_fault_is_planted_once_and_the_rest_of_the_module_stays() -> None:
    found = list(mutants_of("ledger", "m.py", SOURCE))
    assert sorted(each.change_text for each in found) == sorted(
        [
            "10 becomes 11", "gte becomes gt", "notin becomes in", "and becomes or", "without the part 1 of and", "without the part 2 of and",
            "a refusal is left out", "not is left out", "eq becomes noteq", "add becomes sub", "1 becomes 2", "3 becomes 4",
            "SQL: ' for update' becomes ''", "SQL: ' and ' becomes ' or '", "the condition becomes its opposite", "in becomes notin",
            "False becomes True", "False becomes True", "the condition becomes its opposite", "0 becomes 1", "add becomes sub",
        ]
    )  # fmt: skip
    whole = ast.unparse(ast.parse(SOURCE))
    for each in found:
        source = planted(SOURCE, each)
        assert source != whole, each.name
        changed = [
            (one, other) for one, other in zip(whole.splitlines(), source.splitlines(), strict=True) if one != other
        ]
        assert len(changed) == 1, each.name


def test_a_mutant_that_is_left_out_returns_the_opposite() -> None:
    (mutant,) = [each for each in mutants_of("ledger", "m.py", SOURCE) if each.change_text == "not is left out"]
    names: dict[str, object] = {}
    exec(planted(SOURCE, mutant), names)  # our own source
    assert names["check"](2, "a", ["a"]) is True  # type: ignore[operator]


@pytest.mark.parametrize("area", sorted(AREAS))
def test_an_area_has_modules_and_tests(area: str) -> None:
    for pattern in AREAS[area].modules:
        assert list(mutation.ROOT.glob(pattern)), pattern
    for tests in AREAS[area].tests:
        assert (mutation.ROOT / tests).exists(), tests


def test_a_mutant_is_named_by_function_and_line_so_that_changes_elsewhere_do_not_rename_it() -> None:
    names = [each.name for each in mutants_of("ledger", "m.py", SOURCE)]
    assert len(set(names)) == len(names)
    moved = SOURCE.replace("LIMIT: int = 10", "LIMIT: int = 10\n\n\ndef first() -> bool:\n    return LIMIT > 3")
    assert set(names) < {each.name for each in mutants_of("ledger", "m.py", moved)}
    assert "m.py check | return not (count + 1 == 3) | eq becomes noteq" in names
    assert "m.py allowed | return False | False becomes True (2)" in names


def test_no_two_mutants_of_an_area_have_one_name() -> None:
    for area in ("identity", "ledger"):
        names = [each.name for each in mutation.area_mutants(area, (), "seed")]
        assert len(set(names)) == len(names)


def test_each_listed_equivalent_names_a_mutant_and_has_a_reason() -> None:
    listed = yaml.safe_load(mutation.EQUIVALENT.read_text(encoding="utf-8")) or []
    known = {each.name for area in AREAS for each in mutation.area_mutants(area, (), "seed")} if listed else set()
    assert [each["mutant"] for each in listed if each["mutant"] not in known or not each["reason"].strip()] == []


def test_the_seed_draws_the_order_and_an_equivalent_one_is_not_tried() -> None:
    first, same, other = (mutation.area_mutants("identity", (), seed) for seed in ("one", "one", "two"))
    assert [each.name for each in first] == [each.name for each in same]
    assert [each.name for each in first] != [each.name for each in other]
    assert {each.name for each in first} == {each.name for each in other}
    left = mutation.area_mutants("identity", {first[0].name}, "one")
    assert [each.name for each in left] == [each.name for each in first[1:]]


def tally(caught: int, survived: int, listed: int, controls_failed: int = 0) -> mutation.Tally:
    mutant = Mutant("ledger", "m.py", MODULE, 1, "", "", 1, 0)
    return mutation.Tally(listed, caught, [mutant] * survived, 3, controls_failed)


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (tally(57, 3, 100), True),
        (tally(56, 4, 100), False),
        (tally(59, 0, 100), False),
        (tally(60, 0, 100), True),
        (tally(1, 0, 100), False),
        (tally(19, 1, 20), True),
        (tally(19, 0, 20), False),
        (tally(0, 0, 0), False),
        (tally(100, 0, 100, controls_failed=1), False),
    ],
)
def test_a_target_is_met_by_enough_mutants_and_no_failed_control(found: mutation.Tally, met: bool) -> None:
    assert found.meets(0.95) is met


def test_tests_that_git_does_not_track_are_refused_since_the_copy_would_not_have_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mutation.py", "--tests", "tests/bounds", "--tests", "tests/test_of_nobody.py"])
    with pytest.raises(SystemExit):
        mutation.main()
    assert "git does not track tests/test_of_nobody.py" in capsys.readouterr().err


def test_the_quickest_tests_that_call_the_function_run_first_and_the_others_after_them() -> None:
    seconds = {"a.py::one": 0.5, "a.py::two": 4.0, "b.py::three": 0.1, "c.py::four": 9.0}
    calls = {"m.py f": frozenset({"a.py::one", "a.py::two", "b.py::three"}), "m.py g": frozenset({"c.py::four"})}
    plan = mutation.Plan(seconds, calls, ())
    at = {name: Mutant("ledger", "m.py", name, 1, "", "", 1, 0) for name in ("f", "g", "h", MODULE)}
    assert plan.stages(at["f"]) == [["b.py::three", "a.py::one"], ["a.py::two"]]
    assert plan.stages(at["g"]) == [["c.py::four"]]
    for name in ("h", MODULE):
        assert {each for stage in plan.stages(at[name]) for each in stage} == set(seconds)
    beside = mutation.Plan(seconds | {"d.py::numbers": 0.1}, calls, ())
    assert beside.stages(at[MODULE])[-1] == ["d.py::numbers"]
    assert "d.py::numbers" not in {each for stage in beside.stages(at["g"]) for each in stage}
    nowhere = Mutant("ledger", "n.py", "f", 1, "", "", 1, 0)
    assert plan.stages(nowhere) == [["b.py::three", "a.py::one", "a.py::two", "c.py::four"]]


def test_only_modules_that_import_no_changed_one_are_warm(tmp_path: Path) -> None:
    (tmp_path / "libs").mkdir()
    texts = {"a": "", "b": "from libs import a", "c": "import libs.b", "d": "import json", "e": "import pytest"}
    for name, text in texts.items():
        (tmp_path / "libs" / f"{name}.py").write_text(text)
    loaded = [f"libs.{name}" for name in texts]
    assert mutation.independent_modules(tmp_path, loaded, ["libs/a.py"]) == ["libs.d"]
    assert mutation.independent_modules(tmp_path, loaded, ["libs/c.py"]) == ["libs.a", "libs.b", "libs.d"]


@pytest.mark.parametrize(
    ("body", "seconds", "code"),
    [("assert True", 60, 0), ("assert False", 60, 1), ("import time; time.sleep(60)", 1, None)],
)
def test_the_warm_process_answers_with_what_became_of_the_tests(
    tmp_path: Path, body: str, seconds: float, code: int | None
) -> None:
    file = tmp_path / "test_one.py"
    file.write_text(f"def test_one() -> None:\n    {body}\n\n\ndef test_two() -> None:\n    raise AssertionError\n")
    request = {
        "files": [str(file)],
        "tests": ["test_one.py::test_one"],
        "seconds": seconds,
        "environ": {},
        "log": str(tmp_path / "log"),
    }
    host = subprocess.run(
        [sys.executable, "-m", "tools.mutation_host"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(mutation.ROOT)},
        input=f"[]\n{json.dumps(request)}\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(host.stdout) == code, host.stderr

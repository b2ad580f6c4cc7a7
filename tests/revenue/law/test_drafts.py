"""Drafts of law: values and files replaced, all checks, and the law of another day."""

from datetime import date

import numpy as np
import pytest

from libs.customs.time import day_of_date
from services.revenue.law.program.compiler import drafts
from services.revenue.law.program.compiler.drafts import Draft, DraftRefused, apply_draft, under_law_of
from services.revenue.store.law_files import law_files, program_of
from tests.revenue.law.lawbooks import RATES, TARIFF, UTOPIA

LAW = {"xx/rulebook.yaml": UTOPIA, "xx/tariff.yaml": TARIFF, "rates/utopia.yaml": RATES}


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


def mistakes(draft: Draft) -> list[drafts.DraftError]:
    with pytest.raises(DraftRefused) as refused:
        apply_draft(LAW, draft)
    return refused.value.errors


def test_a_changed_value_makes_another_program_and_a_version_of_its_own() -> None:
    draft = apply_draft(
        LAW, Draft(changes=[("xx/rulebook.yaml:charges[flat].rates[0].rate", "5.00 EUR per tariff_line")])
    )
    before = program_of(LAW)
    changed = np.flatnonzero(draft.program.rates.minor != before.rates.minor)
    assert set(draft.program.rates.minor[changed].tolist()) == {500}
    assert set(before.rates.minor[changed].tolist()) == {300}
    assert len(draft.versions) == 1
    assert draft.versions[0].startswith("XX/1/")
    assert draft.versions[0] != before.books[0].version


def test_a_draft_that_changes_nothing_has_no_version_of_its_own() -> None:
    assert apply_draft(LAW, Draft(files={"xx/tariff.yaml": TARIFF})).versions == ()


def test_a_changed_tariff_is_told_by_file_and_digest() -> None:
    draft = apply_draft(LAW, Draft(files={"xx/tariff.yaml": TARIFF.replace("12 %", "13 %")}))
    assert len(draft.versions) == 1
    assert draft.versions[0].startswith("xx/tariff.yaml/")


def test_changes_are_made_in_the_files_that_the_draft_brings() -> None:
    cheaper = UTOPIA.replace("rate: 3.00 EUR per tariff_line", "rate: 4.00 EUR per tariff_line")
    draft = Draft(
        files={"xx/rulebook.yaml": cheaper},
        changes=[("xx/rulebook.yaml:charges[piece].rates[0].rate", "0.44 EUR per item")],
    )
    minors = set(apply_draft(LAW, draft).program.rates.minor.tolist())
    assert {400, 44} <= minors
    assert not {300, 33} & minors


def test_a_mistake_is_told_with_file_line_in_force_and_rule() -> None:
    (mistake,) = mistakes(Draft(changes=[("xx/rulebook.yaml:charges[flat].rates[0].reference", "nowhere")]))
    assert (mistake.file, mistake.line) == ("xx/rulebook.yaml", line_of(UTOPIA, "3.00 EUR per tariff_line"))
    assert mistake.where == "charges[flat].rates[0].reference"
    assert "'nowhere'" in mistake.sentence
    assert str(mistake).startswith("xx/rulebook.yaml:")


def test_a_mistake_of_a_new_file_is_told_with_its_own_line() -> None:
    wrong = "# a remark\n" + UTOPIA.replace("rate: 3.00 EUR per tariff_line", "rate: 3.00 EUR per tariff_lime")
    (mistake,) = mistakes(Draft(files={"xx/rulebook.yaml": wrong}))
    assert mistake.line == line_of(wrong, "tariff_lime")


def test_the_errors_of_all_files_are_reported() -> None:
    found = mistakes(
        Draft(
            files={"xx/rulebook.yaml": UTOPIA.replace("unit: 0.05 EUR, reference", "unit: 0.05 XXX, reference"),
                   "xx/tariff.yaml": TARIFF.replace("10 %", "ten"), "rates/utopia.yaml": "format: [1"}
        )
    )  # fmt: skip
    assert list(dict.fromkeys(each.file for each in found)) == [
        "xx/rulebook.yaml",
        "xx/tariff.yaml",
        "rates/utopia.yaml",
    ]


def test_each_change_that_leads_nowhere_or_is_no_yaml_is_told() -> None:
    found = mistakes(Draft(changes=[("xx/rulebook.yaml:charges[none]", "1"), ("yy/rulebook.yaml:currency", "EUR"),
                                    ("xx/rulebook.yaml:currency", "[EUR")]))  # fmt: skip
    assert [each.file for each in found] == ["xx/rulebook.yaml", "yy/rulebook.yaml", "xx/rulebook.yaml"]
    assert "new value is no YAML" in found[2].sentence


def test_what_does_not_fit_together_is_told_with_its_file() -> None:
    (mistake,) = mistakes(Draft(changes=[("xx/rulebook.yaml:charges[duty].tariff", "yy")]))
    assert (mistake.file, "tariff 'yy'" in mistake.sentence) == ("xx/rulebook.yaml", True)


@pytest.mark.parametrize(
    "name", ["xx/remarks.yaml", "rulebook.yaml", "../xx/rulebook.yaml", "xx/rulebook.txt", "xx/a/rulebook.yaml"]
)
def test_a_name_that_is_none_of_a_law_file_is_refused(name: str) -> None:
    assert "no name of a law file" in mistakes(Draft(files={name: UTOPIA}))[0].sentence


def test_a_wrong_name_does_not_hide_the_mistakes_of_other_files() -> None:
    wrong = UTOPIA.replace("rate: 3.00 EUR per tariff_line", "rate: 3.00 EUR per tariff_lime")
    first, second = mistakes(Draft(files={"xx/rulebook.yaml": wrong, "xx/draft.yaml": UTOPIA}))
    assert "NAME=FILE" in first.sentence
    assert (second.file, second.line) == ("xx/rulebook.yaml", line_of(wrong, "tariff_lime"))


@pytest.mark.parametrize(
    ("text", "found"), [("", "is empty"), ("# a remark", "is empty"), ("some words", "holds no keys")]
)
@pytest.mark.parametrize("name", LAW)
def test_a_file_without_keys_is_told_how_a_law_file_begins(text: str, found: str, name: str) -> None:
    (mistake,) = mistakes(Draft(files={name: text}))
    assert (mistake.file, mistake.line) == (name, 1)
    assert found in mistake.sentence
    assert "begins with format: …" in mistake.sentence
    assert "object" not in mistake.sentence


def test_what_is_too_large_is_refused() -> None:
    assert (
        "larger than 8 MiB"
        in mistakes(Draft(files={"xx/rulebook.yaml": "#" * (drafts.FILE_BYTES_MAX + 1)}))[0].sentence
    )
    changes = [("xx/rulebook.yaml:currency", "EUR")] * (drafts.CHANGES_MAX + 1)
    assert "make it smaller" in mistakes(Draft(changes=changes))[0].sentence


@pytest.mark.parametrize("law_day", [date(2021, 12, 31), date(2022, 1, 1), date(2024, 5, 5)])
def test_the_law_of_one_day_holds_on_all_days(law_day: date) -> None:
    program = program_of(LAW)
    pinned = under_law_of(program, law_day)
    areas = np.array([program.areas[area] for area in ("XA", "XB")], np.int64)
    meant = program.find(areas, np.full(2, day_of_date(law_day), np.int64))
    for day in (0, day_of_date(date(2020, 1, 1)), day_of_date(law_day), day_of_date(date(2099, 1, 1))):
        assert pinned.find(areas, np.full(2, day, np.int64)).tolist() == meant.tolist()


def test_what_was_found_under_the_law_in_force_is_not_taken_for_the_law_of_another_day() -> None:
    program = program_of(LAW)
    day = day_of_date(date(2024, 5, 5))
    in_force = program.on_day(day).tolist()
    pinned = under_law_of(program, date(2021, 12, 31))
    areas = np.array([*range(len(program.areas)), -1], np.int64)
    meant = pinned.find(areas, np.full(len(areas), day, np.int64)).tolist()
    assert pinned.on_day(day).tolist() == meant != in_force
    assert program.on_day(day).tolist() == in_force


def test_an_area_without_law_on_that_day_has_none_at_all() -> None:
    shipped = program_of(law_files())
    pinned = under_law_of(shipped, date(1999, 1, 1))
    areas = np.array(sorted(shipped.areas.values()), np.int64)
    for day in (date(1999, 1, 1), date(2026, 8, 1)):
        assert (pinned.find(areas, np.full(len(areas), day_of_date(day), np.int64)) == -1).all()

"""The parameters of the assessment before loading: what a file may say, and where it is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from luxor.clearance.v1 import control_pb2
from services.clearance.consignment.controls.control import Control
from services.clearance.pre_loading.parameters import ParametersError, included, read

TERMS = "{addressee: filer, answer_minutes: 60, reminder_minutes: 30, missing: hold}"
FILE = f"""
format: 1
name: test
version: "1"
source: A test, and no law.
destinations:
  - {{country: DE, modes: [AIR, POST], from_day: 2026-12-01}}
offices:
  - {{office: "*", information: {TERMS}, screening: {TERMS}}}
  - {{office: DE004851, information: {TERMS}, screening: {TERMS.replace("hold", "do_not_load")}}}
"""


def test_as_shipped_no_destination_is_assessed_and_a_request_without_an_answer_stays_open() -> None:
    shipped = included()
    assert not shipped.from_day
    assert {shipped.terms("DE004851", form).missing for form in (4, 5)} == {"escalate"}


def test_an_office_without_terms_of_its_own_has_those_of_all(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(FILE, "utf-8")
    found = read(tmp_path / "p.yaml")
    assert found.terms("DE004851", control_pb2.CONTROL_FORM_SCREENING).missing == "do_not_load"
    assert found.terms("FR000040", control_pb2.CONTROL_FORM_SCREENING).missing == "hold"
    assert set(found.from_day) == {("DE", 4), ("DE", 5)}


def test_an_order_has_the_terms_of_its_office_as_far_as_it_states_none(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(FILE, "utf-8")
    found, minute, at = read(tmp_path / "p.yaml"), 60_000_000, 1_000
    request = Control(number=0, form=control_pb2.CONTROL_FORM_SCREENING)
    made = found.with_terms(request, "DE004851", at)
    ends = (made.due_at, made.remind_at, made.when_overdue)
    assert ends == (at + 60 * minute, at + 30 * minute, control_pb2.CONTROL_OVERDUE_DO_NOT_LOAD)
    own = replace(request, due_at=5, when_overdue=control_pb2.CONTROL_OVERDUE_ESCALATE)
    assert found.with_terms(own, "DE004851", at) == own
    for form in (control_pb2.CONTROL_FORM_DO_NOT_LOAD, control_pb2.CONTROL_FORM_DOCUMENTS):
        other = replace(request, form=form)
        assert found.with_terms(other, "DE004851", at) == other, "no request before loading"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("reminder_minutes: 30", "reminder_minutes: 60", "the reminder is not before the deadline"),
        ("answer_minutes: 60", "answer_minutes: 0", "answer_minutes"),
        ("missing: hold", "missing: forget", "missing"),
        ('office: "*"', "office: FR000040", "is missing"),
        ("office: DE004851", 'office: "*"', "is there twice"),
        ("[AIR, POST]", "[AIR, AIR]", "has AIR twice"),
        ("[AIR, POST]", "[]", "modes"),
        ("country: DE", "country: Germany", "country"),
    ],
)
def test_a_file_that_cannot_be_applied_is_refused_with_the_place(
    tmp_path: Path, old: str, new: str, error: str
) -> None:
    (tmp_path / "p.yaml").write_text(FILE.replace(old, new, 1), "utf-8")
    with pytest.raises(ParametersError, match=error.replace("*", r"\*")):
        read(tmp_path / "p.yaml")

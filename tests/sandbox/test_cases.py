"""The table of cases: what a reference selects, and that the table is whole."""

from __future__ import annotations

import re

import pytest
import yaml

from libs.client.plain import enum_names
from libs.sandbox.cases import (
    AFTER,
    CASES,
    DELAY_SECONDS_MAX,
    NOT_COVERED,
    REFERENCE_CHARACTERS_MAX,
    Act,
    cases_of,
    selected,
)
from libs.sandbox.environment import RULES
from libs.sandbox.responses.calls import Subject
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.sandbox.script import Script
from libs.server.identity import Role
from luxor.bounds.v1 import bounds_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from tools import case_table

LANES = {"HOLD": "red", "HOLDFREE": "red", "REVERSE": "red", "HIDDEN": "red", "YELLOW": "yellow", "AUDIT": "blue"}
"""What risk advises; of all other cases nothing."""


@pytest.mark.parametrize(
    ("reference", "case", "delay"),
    [
        ("HOLD-1", "HOLD", 0),
        ("HOLD.0-1", "HOLD", 0),
        ("HOLD.30-1", "HOLD", 30),
        (f"HOLD.{DELAY_SECONDS_MAX}-1", "HOLD", DELAY_SECONDS_MAX),
        ("HOLD-" + "1" * (REFERENCE_CHARACTERS_MAX - 5), "HOLD", 0),
        ("HOLDFREE-HOLD-1", "HOLDFREE", 0),
    ],
)
def test_a_reference_selects_a_case_and_a_delay(reference: str, case: str, delay: int) -> None:
    found = selected(reference)
    assert found is not None
    assert (found.case.name, found.delay_seconds) == (case, delay)


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "HOLD",
        "HOLD-",
        "hold-1",
        "HOLD1-1",
        "XHOLD-1",
        " HOLD-1",
        "HOLD.-1",
        "HOLD.1000-1",
        "HOLD.3٣-1",
        "SHOP-2026-1",
        "HOLD-" + "1" * (REFERENCE_CHARACTERS_MAX - 4),
    ],
)
def test_other_references_select_none(reference: str) -> None:
    assert selected(reference) is None


def test_a_reference_is_as_long_as_the_contract_lets_it_be() -> None:
    bounds = Consignment.DESCRIPTOR.fields_by_name["local_reference"].GetOptions().Extensions[bounds_pb2.field]
    assert bounds.characters_max == REFERENCE_CHARACTERS_MAX


def test_each_notice_of_a_filer_is_in_a_case_or_has_a_reason_why_not() -> None:
    kinds = {name.removeprefix("NOTICE_KIND_") for name in enum_names(pb.NoticeKind.DESCRIPTOR)} - {"UNSPECIFIED"}
    covered = {kind for case in CASES.values() for kind in case.notices}
    assert covered | set(NOT_COVERED) == kinds
    assert not covered & set(NOT_COVERED)


def test_each_case_can_be_played_and_its_ends_are_states() -> None:
    states = {name.removeprefix("STATE_") for name in enum_names(pb.State.DESCRIPTOR)}
    by_answer = (Act.NONE, Act.RETRY, Act.RENEW, Act.CORRECT, Act.RENAME)
    for case in CASES.values():
        ends_with_goods = case.subject is Subject.CONSIGNMENT and case.act is not Act.RENAME
        assert case.state in states if ends_with_goods else (case.state, case.notices) == ("", ())
        assert len(case.name) <= 8, "a reference has 22 characters"
        assert case.act in by_answer or AFTER[case.act] in case.notices
        assert (case.act in (Act.RETRY, Act.RENEW)) == (case.failure is not None)
        for step in case.steps:
            assert callable(getattr(Script, step.action))


def test_a_reference_selects_a_case_of_its_subject_alone() -> None:
    for name, case in CASES.items():
        for subject in Subject:
            found = selected(f"{name}-1", subject)
            assert (found is not None) == (subject is case.subject)


def test_filers_and_carriers_have_cases_of_their_own_calls() -> None:
    assert {case.subject for case in cases_of(Role.FILER).values()} == {Subject.CONSIGNMENT, Subject.SALE, Subject.PART}
    of_carriers = {Subject.ARRIVAL, Subject.REVERSAL, Subject.DEPARTURE}
    assert {case.subject for case in cases_of(Role.CARRIER).values()} == of_carriers
    assert [*cases_of(Role.FILER), *cases_of(Role.CARRIER)] == list(CASES)


def test_each_fault_and_each_act_has_a_case() -> None:
    assert set(FAILURES) == set(CallFailure)
    assert [case.failure for case in CASES.values() if case.failure] == list(CallFailure)
    assert {case.act for case in CASES.values()} == set(Act)


@pytest.mark.parametrize("form", ["{}-1", "{}.30-1", "{}.1000-1", "{}.-1", "{}.x-1", "{}-", "{}", "X{}-1"])
def test_risk_advises_what_the_cases_say_and_nothing_on_others(form: str) -> None:
    rules = []
    for rule in yaml.safe_load(RULES.read_text("utf-8"))["rules"]:
        pattern = re.search(r'matches\("(.*)"\)', rule["condition"])
        assert pattern is not None
        rules.append((re.compile(pattern[1]), rule["lane"]))
    for name in CASES:
        reference = form.format(name)
        lanes = [lane for pattern, lane in rules if pattern.search(reference)]
        assert lanes == ([LANES[name]] if name in LANES and selected(reference) is not None else []), reference


def test_the_page_is_current() -> None:
    assert case_table.PAGE.read_text("utf-8") == case_table.page(), f"run {case_table.COMMAND}"

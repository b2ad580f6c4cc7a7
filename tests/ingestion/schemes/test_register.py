"""Numbers of filings compared with the register: in one form of writing, by scheme and by day."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Strings, Table
from luxor.consignment.v1 import consignment_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.ingestion.filing import check_rules, validation
from services.ingestion.schemes.register import (
    NOT_VALID,
    OPEN_END,
    UNKNOWN,
    SchemeNumber,
    SchemeRegister,
)
from tests.ingestion.consignments import consignment, put

DAY = 20_788
"""2026-12-01 in days since 1970-01-01."""
IOSS, VOEC, CH = pb.SCHEME_IOSS, pb.SCHEME_VOEC, pb.SCHEME_CH_MAIL_ORDER
REGISTER = SchemeRegister(
    [
        SchemeNumber(IOSS, "IM2760000014", DAY - 10, OPEN_END),
        SchemeNumber(IOSS, "IM4420000019", DAY - 10, DAY - 1),
        SchemeNumber(IOSS, "IM4420000020", DAY + 1, OPEN_END),
        SchemeNumber(IOSS, "IM4420000021", DAY, DAY),
        SchemeNumber(CH, "CHE-123.456.789 MWST", DAY - 10, OPEN_END),
    ]
)


def found(*rows: Consignment, schemes: SchemeRegister | None = REGISTER) -> list[tuple[str, str, object]]:
    """Return path, value and cause of each number that cannot be used; nothing else is found, and nothing is refused."""
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    checked = validation.check(table, rules=check_rules.included(), day=DAY, schemes=schemes)
    assert not checked.refused.any()
    errors = [each for row in checked.errors.values() for each in row if each.reason.startswith("SCHEME_")]
    assert {each.reason for each in errors} <= {"SCHEME_NUMBER_UNKNOWN"}
    assert all(each.warns for each in errors)
    return [(each.path, each.value, each.facts["cause"]) for each in errors]


def referring(*numbers: tuple[int, str], number: int = 0) -> Consignment:
    row = consignment(number)
    row.ClearField("fiscal_references")
    for scheme, text in numbers:
        row.fiscal_references.add(scheme=scheme, number=text)  # type: ignore[arg-type]
    return row


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        ("IM2760000014", None),
        ("im 276 0000014", None),
        ("IM2760000014-EU123456789", None),
        ("IM4420000021", None),
        ("IM2760000025", UNKNOWN),
        ("IM4420000019", NOT_VALID),
        ("IM4420000020", NOT_VALID),
    ],
)
def test_a_number_is_valid_if_the_register_has_it_for_the_day(number: str, cause: str | None) -> None:
    stored = "".join(number.split()).upper()
    expected = [] if cause is None else [("consignments[1].fiscal_references[0].number", stored, cause)]
    assert found(consignment(0), referring((IOSS, number), number=1)) == expected


@pytest.mark.parametrize("number", ["CHE-123.456.789 MWST", "che-123.456.789mwst", "CHE-123.456.789  MWST"])
def test_blanks_and_case_do_not_count_on_either_side(number: str) -> None:
    assert found(referring((CH, number))) == []
    assert [cause for *_, cause in found(referring((CH, "CHE-123.456.788 MWST")))] == [UNKNOWN]


def test_each_number_of_a_consignment_is_found_at_its_place_and_only_in_its_own_scheme() -> None:
    row = referring((VOEC, "IM2760000025"), (CH, "IM2760000014"), (IOSS, "IM2760000014"))
    assert found(consignment(0), row) == [("consignments[1].fiscal_references[1].number", "IM2760000014", UNKNOWN)]


def test_nothing_is_said_of_a_scheme_without_numbers_in_the_register_nor_while_the_register_is_not_known() -> None:
    row = referring((VOEC, "2021234"), (IOSS, "IM2760000025"))
    assert [path for path, *_ in found(row)] == ["consignments[0].fiscal_references[1].number"]
    assert found(row, schemes=SchemeRegister()) == []
    assert found(row, schemes=None) == []


def test_what_is_malformed_or_missing_is_not_called_unknown_as_well() -> None:
    rows = [referring((IOSS, "IM1")), referring((IOSS, "")), referring((IOSS, "IM27600000\x0714"))]
    table = Table.from_messages(rows, ConsignmentColumns, Consignment)
    checked = validation.check(table, rules=check_rules.included(), day=DAY, schemes=REGISTER)
    reasons = [{each.reason for each in checked.errors[row]} - {"STAGE_ELEMENT_MISSING"} for row in range(3)]
    assert reasons == [
        {"SCHEME_NUMBER_MALFORMED"},
        {"ELEMENT_MISSING"},
        {"TEXT_UNPRINTABLE", "SCHEME_NUMBER_MALFORMED"},
    ]


def test_an_invalidation_is_not_judged_by_numbers() -> None:
    row = referring((IOSS, "IM2760000025"))
    row.function, row.amended_version = pb.MESSAGE_FUNCTION_INVALIDATE, 1
    amended = put(put(referring((IOSS, "IM2760000025")), "function", pb.MESSAGE_FUNCTION_AMEND), "amended_version", 1)
    assert [path for path, *_ in found(row, amended)] == ["consignments[1].fiscal_references[0].number"]


def test_a_changed_entry_replaces_the_one_before_and_two_ways_of_writing_are_one_number() -> None:
    register = SchemeRegister([SchemeNumber(CH, "CHE-1 MWST", 1, 5)])
    register.put([SchemeNumber(CH, "CHE-1 MWST", 1, 3), SchemeNumber(CH, "CHE-1MWST", 8, 9)])
    numbers = Strings.of(["CHE-1MWST"])
    valid = [day for day in range(12) if not list(register.not_valid(CH, numbers, day))]
    assert (valid, len(register)) == ([1, 2, 3, 8, 9], 2)


TEXTS = st.sampled_from(["IM1", "IM 1", "im1", "IM1-A", "A", "a ", "B"])
ENTRIES = st.lists(st.builds(SchemeNumber, st.integers(1, 3), TEXTS, st.integers(0, 5), st.integers(3, 9)), max_size=12)


@given(ENTRIES, st.lists(TEXTS, min_size=1, max_size=8), st.integers(1, 3), st.integers(0, 9))
def test_a_batch_is_compared_as_each_number_by_itself(
    entries: list[SchemeNumber], numbers: list[str], scheme: int, day: int
) -> None:
    """By the definition: the last entry of each number as it is written; equal if equal without blanks, case and appended reference."""

    def form(number: str) -> str:
        text = number.replace(" ", "").upper()
        return text.partition("-")[0] if text.startswith("IM") else text

    last = {(each.scheme, each.number): each for each in entries}
    expected = []
    for number in numbers:
        same = [each for each in last.values() if each.scheme == scheme and form(each.number) == form(number)]
        if not any(each.scheme == scheme for each in last.values()) or any(
            each.first_day <= day <= each.last_day for each in same
        ):
            expected.append(None)
        else:
            expected.append(NOT_VALID if same else UNKNOWN)
    result: list[str | None] = [None] * len(numbers)
    for why, rows in SchemeRegister(entries).not_valid(scheme, Strings.of(numbers), day):
        for row in np.flatnonzero(rows).tolist():
            result[row] = why
    assert result == expected

"""What the sandbox changes in valid messages: the checks of the services find exactly what the case says."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from libs.client.filing.files import Read, read_jsonl, template
from libs.columns import Table
from libs.customs.time import day_of
from libs.release_law.law import included as included_law
from libs.sandbox.environment import FILING_CHECKS
from libs.sandbox.findings import AMENDED, FINDINGS, REFUSED, STRANGER, WARNED, Finding, unchanged
from libs.server.interceptor.findings import unknown_fields
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import (
    NATURE_SAMPLE,
    PERSON_TYPE_LEGAL,
    TRANSPORT_MODE_SEA,
    Consignment,
)
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from services.ingestion.filing import check_rules
from services.ingestion.filing.findings import ElementError
from services.ingestion.filing.validation import Checked, check

NOW = 1_796_083_200_000_000
"""2026-12-01 UTC."""
CHECKED = [
    each
    for each in (*REFUSED, *WARNED)
    if each.prior is None and not each.is_written and each.reason != "UNKNOWN_FIELD"
]
"""Findings that the checks of a filing alone decide on."""


def parcel() -> Consignment:
    """Return the goods of the template: a sale by air."""
    (row,) = (each for each in read_jsonl(io.BytesIO(template("jsonl").encode())) if isinstance(each, Read))
    return row.message


def container() -> Consignment:
    """Return other valid goods: samples by sea to a firm in GB, without an order, a master document, freight and packages of their own."""
    row = parcel()
    for name in (
        "order",
        "fiscal_references",
        "freight",
        "prices_include_tax",
        "packages",
        "declarant",
        "master_document",
    ):
        row.ClearField(name)
    row.nature, row.transport.mode, row.destination_country = NATURE_SAMPLE, TRANSPORT_MODE_SEA, "GB"
    row.consignee.person_type, row.consignee.address.country, row.consignee.address.postcode = (
        PERSON_TYPE_LEGAL,
        "GB",
        "M1 1AA",
    )
    del row.items[1:]
    return row


def checked(row: Consignment) -> Checked:
    table = Table.from_messages([row], ConsignmentColumns, Consignment)
    rules = check_rules.read(FILING_CHECKS)
    stranger = frozenset({STRANGER})
    return check(table, 2026, law=included_law(), day=day_of(NOW), rules=rules, now=NOW, not_entrusted=stranger)


def path_of(finding: Finding) -> str:
    return "consignments[0]" + (f".{finding.path}" if finding.path else "")


@pytest.mark.parametrize("goods", [parcel, container])
def test_the_goods_to_change_are_valid(goods: Callable[[], Consignment]) -> None:
    assert not checked(goods()).errors


@pytest.mark.parametrize("goods", [parcel, container])
@pytest.mark.parametrize("finding", CHECKED, ids=lambda each: each.name)
def test_the_checks_of_filings_find_what_a_case_says(finding: Finding, goods: Callable[[], Consignment]) -> None:
    row = goods()
    finding.change(row)
    found = checked(row)
    errors: list[ElementError] = found.errors[0]
    assert (finding.reason, path_of(finding), finding.warns) in [
        (each.reason, each.path, each.warns) for each in errors
    ]
    refusing = {each.reason for each in errors if not each.warns}
    assert refusing == (set() if finding.warns else {finding.reason})
    assert bool(found.refused[0]) is not finding.warns


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda each: each.name)
def test_a_change_is_the_same_each_time_and_is_no_invented_reference(finding: Finding) -> None:
    one, other = parcel(), parcel()
    finding.change(one)
    finding.change(other)
    assert one == other
    assert (one == parcel()) is (finding.change is unchanged)
    if not finding.amends:
        assert one.local_reference == parcel().local_reference
        assert one.house_document == parcel().house_document


def test_a_field_that_the_release_does_not_know_is_one() -> None:
    (finding,) = (each for each in WARNED if each.reason == "UNKNOWN_FIELD")
    row = parcel()
    finding.change(row)
    request = SubmitConsignmentsRequest.FromString(SubmitConsignmentsRequest(consignments=[row]).SerializeToString())
    assert unknown_fields(request) == [("consignments[0]", 1023)]


def test_a_finding_that_the_sandbox_writes_or_prepares_is_refused_by_no_other_one() -> None:
    prepared = [each for each in FINDINGS if each.prior is not None]
    assert {each.name for each in prepared} == {"REUSED", "REPLACED"}
    for each in prepared:
        assert each.prior is not None
        assert each.change is unchanged
        row = parcel()
        each.prior(row)
        assert row != parcel()
        assert not checked(row).errors
    for each in (*REFUSED, *WARNED, *AMENDED):
        if each.is_written:
            row = parcel()
            each.change(row)
            assert checked(row).refused[0], "the service must not accept it"

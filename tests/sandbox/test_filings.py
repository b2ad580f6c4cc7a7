"""What the sandbox changes in calls: whatever a client sends, the call stays one that a service can refuse, and is never expanded without a bound."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.client.filing.packing import pack
from libs.columns import Table
from libs.sandbox import filings
from libs.sandbox.findings import FINDINGS, Finding, set_element
from libs.sandbox.responses.calls import BY_SUBJECT, OF_CALLS, Subject
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2

OF_ALL_CALLS = [(subject, each) for subject, found in OF_CALLS.items() for each in found]
CHANGES = {1: set_element("items[0].description", "")}


def extreme(message_class: Descriptor, depth: int = 4) -> dict[str, object]:
    """Return values of each element that no contract allows: the largest numbers, and lists of one entry."""
    values: dict[str, object] = {}
    for each in message_class.fields:
        if each.message_type is not None:
            value: object = extreme(each.message_type, depth - 1) if depth else {}
        elif each.type == FieldDescriptor.TYPE_STRING:
            value = "x" * 100
        elif each.type == FieldDescriptor.TYPE_BOOL:
            value = True
        elif each.type in (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64):
            value = 2**63 - 1
        else:
            value = 2**31 - 1
        if each.containing_oneof is None or each.containing_oneof.fields[0] is each or each.has_presence:
            values[each.name] = [value] if each.is_repeated else value
    return values


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda each: each.name)
def test_any_consignment_can_be_changed(finding: Finding) -> None:
    for row in (Consignment(), Consignment(**extreme(Consignment.DESCRIPTOR))):
        finding.change(row)
        if finding.prior is not None:
            finding.prior(row)


@pytest.mark.parametrize(("subject", "finding"), OF_ALL_CALLS, ids=lambda each: getattr(each, "name", ""))
def test_any_message_of_another_call_can_be_changed(subject: Subject, finding: Finding) -> None:
    call = BY_SUBJECT[subject]
    rows = getattr(call.request_class(), call.rows)
    for values in ({}, extreme(rows.add().DESCRIPTOR)):
        row = rows.add(**values)
        finding.change(row)
        if finding.prior is not None:
            finding.prior(row)


def columns(*rows: Consignment) -> bytes:
    request = ingestion_pb2.SubmitConsignmentColumnsRequest(request_id="r", consignments=pack(rows))
    return request.SerializeToString()


def goods(reference: str, items: int = 2, description: str = "Belt") -> Consignment:
    row = Consignment(local_reference=reference)
    for number in range(items):
        row.items.add(number=number + 1, description=f"{description}{number}")
    return row


def test_only_the_chosen_rows_of_columns_are_changed_and_their_order_stays() -> None:
    rows = [goods(f"SHOP-{place}", items=place) for place in range(4)]
    raw = filings.changed(filings.COLUMNS, columns(*rows), CHANGES)
    request = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(raw)
    rows[1].items[0].description = ""
    assert request.request_id == "r"
    assert Table.decode(request.consignments).to_messages(Consignment) == rows


def test_one_row_of_columns_is_filed_before() -> None:
    raw = filings.single_call(filings.COLUMNS, columns(goods("A"), goods("B")), 1, CHANGES[1], "prior")
    assert raw is not None
    request = ingestion_pb2.SubmitConsignmentsRequest.FromString(raw)
    assert (request.request_id, [each.local_reference for each in request.consignments]) == ("prior", ["B"])
    assert [each.description for each in request.consignments[0].items] == ["", "Belt1"]


def test_columns_that_expand_beyond_a_call_are_left_to_the_service() -> None:
    text = "x" * 100_000
    rows = [goods(f"SHOP-{place}", items=1, description=text) for place in range(200)]
    raw = columns(*rows)
    assert len(raw) < 200_000
    everything = dict.fromkeys(range(200), CHANGES[1])
    assert filings.changed(filings.COLUMNS, raw, everything) == raw
    # One of them is no more than it says.
    assert filings.changed(filings.COLUMNS, raw, CHANGES) != raw


def test_columns_of_too_many_rows_are_left_to_the_service() -> None:
    rows = [Consignment(local_reference=f"SHOP-{place}") for place in range(filings.ROWS_MAX + 1)]
    raw = columns(*rows)
    assert filings.changed(filings.COLUMNS, raw, CHANGES) == raw
    assert filings.changed(filings.COLUMNS, columns(*rows[:-1]), CHANGES) != columns(*rows[:-1])


@pytest.mark.parametrize("offsets", [[0, 2, 1], [1, 2, 4], [0, 2, 5], [0, 2], []])
def test_lists_of_columns_that_are_no_spans_are_left_to_the_service(offsets: list[int]) -> None:
    request = ingestion_pb2.SubmitConsignmentColumnsRequest.FromString(columns(goods("A"), goods("B")))
    assert list(request.consignments.items.offsets) == [0, 2, 4]
    request.consignments.items.offsets[:] = offsets
    raw = request.SerializeToString()
    assert filings.changed(filings.COLUMNS, raw, CHANGES) == raw
    assert filings.single_call(filings.COLUMNS, raw, 1, CHANGES[1], "prior") is None


WHOLE = columns(*(goods(f"FORM-{place}") for place in range(3)))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_damaged_columns_of_a_case_are_changed_or_left_as_they_are(place: int, value: int) -> None:
    raw = WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]
    filing = filings.read(filings.COLUMNS, raw)
    if filing is not None and len(filing.rows) > 1:
        assert isinstance(filings.changed(filings.COLUMNS, raw, CHANGES), bytes)
        filings.single_call(filings.COLUMNS, raw, 1, CHANGES[1], "prior")

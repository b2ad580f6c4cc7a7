"""Unknown fields: found anywhere, told once, and cheap where there are none."""

from typing import Any

from google.protobuf import struct_pb2
from google.rpc import error_details_pb2

from libs.server.call import Finding
from libs.server.interceptor.findings import FINDINGS_MAX, drop_unknown, unknown_fields

UNKNOWN = bytes([99 << 3 & 0x7F | 0x80, 99 >> 4, 1])
"""Field 99, a varint."""


def batch(count: int, odd: int) -> bytes:
    """Return a batch of `count` elements of which `odd` has an unknown field."""
    message = error_details_pb2.BadRequest()
    for number in range(count):
        message.field_violations.add(field=f"f{number}")
    message.field_violations[odd].MergeFromString(UNKNOWN)
    return bytes(message.SerializeToString())


def parse(raw: bytes) -> Any:
    return error_details_pb2.BadRequest.FromString(raw)


def test_an_unknown_field_in_one_element_of_many_is_found() -> None:
    raw = batch(100, 42)
    assert drop_unknown(parse(raw), raw) == [Finding("field_violations[42]", 99)]


def test_nothing_is_found_where_all_is_known() -> None:
    raw = error_details_pb2.BadRequest(field_violations=[{"field": "x"}]).SerializeToString()
    assert drop_unknown(parse(raw), raw) == []


def test_a_longer_form_of_a_known_field_is_no_finding() -> None:
    raw = b"\x0a\x83\x00\x0a\x01x"  # the length 3 in two bytes
    assert drop_unknown(parse(raw), raw) == []


def test_a_map_is_walked_by_its_keys() -> None:
    inner = struct_pb2.Value(string_value="v")
    inner.MergeFromString(UNKNOWN)
    message = struct_pb2.Struct()
    message.fields["k"].CopyFrom(inner)
    assert unknown_fields(message) == [Finding("fields[k]", 99)]


def test_the_findings_of_one_request_are_limited() -> None:
    message = error_details_pb2.BadRequest()
    for _ in range(FINDINGS_MAX + 5):
        message.field_violations.add().MergeFromString(UNKNOWN)
    assert len(unknown_fields(message)) == FINDINGS_MAX


def test_what_is_unknown_is_dropped_from_the_request() -> None:
    raw = batch(2, 1)
    request = parse(raw)
    assert drop_unknown(request, raw)
    assert request.ByteSize() < len(raw)
    assert drop_unknown(request, request.SerializeToString()) == []

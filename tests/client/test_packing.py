"""Packing: every element becomes a value of a column, and what has no column is an error with its path."""

import pytest

from libs.client.errors import LuxorError
from libs.client.filing.packing import pack
from libs.columns import Table
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.ingestion.consignments import consignment

UNKNOWN = bytes([0xB8, 0x3E, 0x01])
"""Field 999, a varint."""


def test_packed_consignments_are_those_that_were_given() -> None:
    rows = [consignment(number) for number in range(300)]
    columns = pack(iter(rows))
    assert Table.decode(columns).to_messages(Consignment) == rows
    assert columns.rows == 300
    assert len(columns.SerializeToString()) < sum(row.ByteSize() for row in rows) / 2
    assert pack([]).rows == 0


@pytest.mark.parametrize("path", ["", ".items[0]", ".consignee.address"])
def test_a_field_that_has_no_column_is_an_error_and_the_consignment_stays_as_it_was(path: str) -> None:
    row = consignment(1)
    part = {"": row, ".items[0]": row.items[0], ".consignee.address": row.consignee.address}[path]
    part.MergeFromString(UNKNOWN)
    before = row.SerializeToString()
    with pytest.raises(LuxorError) as caught:
        pack([consignment(0), row])
    error = caught.value
    assert (error.reason, error.path) == ("FIELD_NOT_PACKED", f"consignments[1]{path}")
    assert "999" in error.sentence
    assert "?" not in error.sentence + error.hint
    assert row.SerializeToString() == before

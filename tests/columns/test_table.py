"""Columns keep every row as it was, on the wire, through slices and joins, and back to rows."""

from collections.abc import Collection
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Bools, Column, Ints, Ragged, Strings, Table, among, digests, row_digests, schema_of
from libs.columns.joined import Joined
from libs.columns.schema import expected_columns
from libs.columns.wire import MalformedColumns
from luxor.clearance.v1.clearance_pb2 import ConsignmentStatus
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment, Document, FiscalReference, Item, Packages, Screening
from luxor.revenue.v1.revenue_pb2 import (
    AssessConsignmentsRequest,
    AssessmentColumns,
)

ENVELOPE = {
    "mrn", "version", "filer", "accepted_at", "partition", "carrier_id", "filer_trusted_until", "missing_roles",
    "completed_versions", "awaited_parts", "contradictions", "contradiction_count", "unchanged_since",
}  # fmt: skip
text = st.text(alphabet="abcä €|;=:,", max_size=6)
texts = st.lists(st.text(alphabet="xyz", min_size=1, max_size=2), max_size=3)
number = st.none() | st.integers(0, 2**40)


@st.composite
def consignments(draw: st.DrawFn) -> Consignment:
    """Make a consignment in which anything may be absent."""
    c = Consignment(local_reference=draw(text), additional_procedures=draw(texts), nature=draw(st.integers(0, 6)))
    if draw(st.booleans()):
        c.consignor.name = draw(text)
        if country := draw(text):
            c.consignor.address.country = country
        if not c.consignor.ByteSize():
            c.ClearField("consignor")  # columns know values, not empty shells
    if draw(st.booleans()):
        c.freight.minor, c.freight.currency = draw(st.integers(0, 10**12)), draw(text)
    if draw(st.booleans()):
        c.order.time.seconds = draw(st.integers(0, 2**33))
        c.order.time.nanos = draw(st.integers(0, 999_999)) * 1000
    if (mass := draw(number)) is not None:
        c.gross_mass_mg = mass
    if (split := draw(st.none() | st.booleans())) is not None:
        c.split = split
    for _ in range(draw(st.integers(0, 3))):
        item = c.items.add(description=draw(text), imeis=draw(texts))
        if (quantity := draw(number)) is not None:
            item.quantity_milli = quantity
        if draw(st.booleans()):
            item.price.minor = draw(st.integers(-5, 5))
        for _ in range(draw(st.integers(0, 2))):
            item.supporting_documents.add(type=draw(text), reference="R")
    return c


def table_of(rows: list[Consignment]) -> Table:
    return Table.from_messages(rows, ConsignmentColumns, Consignment)


@settings(max_examples=60, deadline=None)
@given(st.lists(consignments(), max_size=5))
def test_rows_come_back_from_columns_and_from_the_wire_as_they_were(rows: list[Consignment]) -> None:
    table = table_of(rows)
    assert table.to_messages(Consignment) == rows
    payload = table.serialize(ConsignmentColumns)
    again = Table.parse(ConsignmentColumns, payload)
    assert again.to_messages(Consignment) == rows
    assert again.serialize(ConsignmentColumns) == payload


@settings(max_examples=20, deadline=None)
@given(st.lists(consignments(), max_size=3), st.sampled_from([1, 150]))
def test_a_table_written_into_a_part_of_a_message_is_the_table_alone(rows: list[Consignment], times: int) -> None:
    table = table_of(rows * times)
    request = AssessConsignmentsRequest()
    table.write(request.consignments)
    assert request.HasField("consignments")
    assert request.consignments == table.encode(ConsignmentColumns)
    sent = AssessConsignmentsRequest.FromString(request.SerializeToString()).consignments
    assert Table.decode(sent).to_messages(Consignment) == rows * times
    told = {name for name, column in table.columns.items() if any(part_of(column, row) for row in range(table.rows))}
    assert {field.name for field, _ in sent.ListFields()} - {"rows"} == told


def part_of(column: Strings | Ints | Bools | Ragged, row: int) -> bool:
    if isinstance(column, Ragged):
        return bool(column.lengths[row])
    return column[row] not in ("", None)


def test_a_message_is_not_written_into_twice() -> None:
    request = AssessConsignmentsRequest()
    table_of([Consignment(local_reference="A")]).write(request.consignments)
    with pytest.raises(AssertionError, match="ConsignmentColumns is written into twice"):
        table_of([Consignment(local_reference="B")]).write(request.consignments)
    request.consignments.Clear()
    table_of([Consignment(local_reference="B")]).write(request.consignments)
    assert Table.decode(request.consignments).strings("local_reference").tolist() == ["B"]


def test_a_table_of_another_schema_writes_nothing() -> None:
    request = AssessConsignmentsRequest()
    with pytest.raises(TypeError, match="cannot be written as"):
        Table.of(AssessmentColumns, 1, {}).write(request.consignments)
    assert not request.HasField("consignments")


@settings(max_examples=40, deadline=None)
@given(st.lists(consignments(), min_size=1, max_size=5), st.lists(consignments(), max_size=4), st.randoms())
def test_slices_and_joins_are_slices_and_joins_of_the_rows(
    a: list[Consignment], b: list[Consignment], random: object
) -> None:
    joined = Table.concat([table_of(a), table_of(b)])
    assert joined.to_messages(Consignment) == a + b
    order = np.arange(len(a + b))[::-1][: len(a)]
    assert joined.take(order).to_messages(Consignment) == [(a + b)[i] for i in order]


@settings(max_examples=40, deadline=None)
@given(st.lists(consignments(), min_size=1, max_size=5))
def test_a_digest_depends_on_its_row_alone(rows: list[Consignment]) -> None:
    table = table_of(rows)
    read = Table.parse(ConsignmentColumns, table.serialize(ConsignmentColumns))
    for each in (digests, row_digests):
        assert each(table) == [each(table_of([row]))[0] for row in rows]
        assert each(read) == each(table)


@settings(max_examples=60, deadline=None)
@given(consignments(), consignments())
def test_different_rows_have_different_digests(a: Consignment, b: Consignment) -> None:
    same = table_of([a]).encode(ConsignmentColumns) == table_of([b]).encode(ConsignmentColumns)
    for each in (digests, row_digests):
        one, two = each(table_of([a, b]))
        assert (one == two) == same


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (Consignment, None),
        (Item, "items"),
        (Document, "supporting_documents"),
        (Packages, "packages"),
        (FiscalReference, "fiscal_references"),
        (Screening, "screenings"),
    ],
)
def test_every_element_of_a_row_has_its_column_and_no_column_is_without_an_element(
    row: type, columns: str | None
) -> None:
    schema = schema_of(ConsignmentColumns)
    found = schema.columns if columns is None else schema.children[columns].columns
    assert {k: v for k, v in found.items() if columns or k not in ENVELOPE} == expected_columns(row.DESCRIPTOR)


def test_unknown_is_never_zero() -> None:
    column = Ints.of([0, 5], [False, True])
    assert column.tolist() == [None, 5]
    table = Table.of(ConsignmentColumns, 2, {"gross_mass_mg": column})
    again = Table.parse(ConsignmentColumns, table.serialize(ConsignmentColumns))
    assert again.ints("gross_mass_mg").tolist() == [None, 5]
    assert again.bools("split").valid.tolist() == [False, False]


def test_a_column_that_contradicts_itself_is_malformed() -> None:
    message = ConsignmentColumns(rows=2)
    message.mrn.dictionary.append("a")
    message.mrn.indices.extend([0, 1])
    with pytest.raises(MalformedColumns, match="mrn: 2 indices into 1 values"):
        Table.decode(message).strings("mrn")
    message.items.offsets.extend([0, 2, 1])
    with pytest.raises(MalformedColumns, match="offsets"):
        Table.decode(message).child("items")


def test_a_slice_keeps_no_value_of_the_rows_left_out() -> None:
    column = Strings.of(["a", "b", "a", "c"]).take(np.array([0, 2]))
    assert list(column.dictionary) == ["a"]
    assert Strings.of(["de", "DE"]).translate(str.upper).tolist() == ["DE", "DE"]


def test_a_list_column_takes_its_values_along() -> None:
    lists = Ragged.of_lengths([2, 0, 1], Ints.of([1, 2, 3])).take(np.array([2, 0]))
    assert lists.offsets.tolist() == [0, 1, 3]
    assert isinstance(lists.values, Ints)
    assert lists.values.tolist() == [3, 1, 2]
    assert lists.owners().tolist() == [0, 1, 1]


def test_columns_of_another_length_or_name_are_refused() -> None:
    with pytest.raises(ValueError, match="has 1 rows where the table has 2"):
        Table.of(ConsignmentColumns, 2, {"split": Bools.of([True])})
    with pytest.raises(KeyError, match="no column nonsense"):
        Table.of(ConsignmentColumns, 1, {"nonsense": Bools.of([True])})


def test_rows_are_not_read_into_a_message_with_an_element_that_the_table_cannot_have() -> None:
    table = Table.of(ConsignmentColumns, 1, {"mrn": Strings.of(["a"])})
    with pytest.raises(KeyError, match="nonsense"):
        table.may_have("nonsense")
    with pytest.raises(KeyError, match="state"):
        table.to_messages(ConsignmentStatus)


def test_all_rows_in_their_order_are_the_table_itself_and_no_other_rows_are() -> None:
    table = Table.of(ConsignmentColumns, 3, {"mrn": Strings.of(["a", "b", "c"])})
    for rows in ([0, 1, 2], [0, 1], [1, 2], [0, 2, 1], [0, 1, 1], [0, 1, 2, 0], []):
        taken = table.take(np.array(rows, np.int64))
        assert taken.strings("mrn").tolist() == ["abc"[row] for row in rows]
        assert (taken is table) == (rows == [0, 1, 2])
    nothing = Table.of(ConsignmentColumns, 0, {})
    assert nothing.take(np.zeros(0, np.int64)) is nothing


def test_a_joined_table_of_all_rows_has_all_its_columns_also_beside_a_replaced_one() -> None:
    given: list[dict[str, Column]] = [
        {"mrn": Strings.of(["a", "b"])}, {"mrn": Strings.of(["c", "d"]), "version": Ints.of([3, 4])},
    ]  # fmt: skip
    parts = [Table.decode(Table.of(ConsignmentColumns, 2, each).encode(ConsignmentColumns)) for each in given]
    whole = Joined(parts).take(np.arange(4)).with_columns({"filer": Strings.of(["f"] * 4)})
    assert whole.strings("mrn").tolist() == ["a", "b", "c", "d"]
    assert whole.ints("version").tolist() == [None, None, 3, 4]
    assert whole.strings("filer").tolist() == ["f"] * 4


def test_a_table_is_passed_on_as_the_bytes_of_the_message_that_it_was_read_from_until_a_column_is_replaced() -> None:
    goods = Table(
        schema_of(ConsignmentColumns).children["items"], 3, {"commodity_code": Strings.of(["62", "95", "62"])}
    )
    columns: dict[str, Column] = {"mrn": Strings.of(["a", "b"]), "items": Ragged.of_lengths([1, 2], goods)}
    written = Table.of(ConsignmentColumns, 2, columns).encode(ConsignmentColumns)
    table = Table.parse(ConsignmentColumns, written.SerializeToString())
    for same in (table, table.take(np.arange(2)), Table.concat([table])):
        assert ConsignmentColumns.FromString(same.payload(ConsignmentColumns)) == written
    others = (
        (table.with_columns({"version": Ints.of([7, 8])}), ["a", "b"], [7, 8]),
        (table.take(np.array([1])), ["b"], [None]),
        (Table.concat([table, table]), ["a", "b", "a", "b"], [None] * 4),
        (Table.of(ConsignmentColumns, 2, columns), ["a", "b"], [None, None]),
    )
    for other, mrns, versions in others:
        read = Table.parse(ConsignmentColumns, other.payload(ConsignmentColumns))
        assert (read.strings("mrn").tolist(), read.ints("version").tolist()) == (mrns, versions)
    assert ConsignmentColumns.FromString(table.payload(ConsignmentColumns)) == written
    with pytest.raises(TypeError, match="cannot be written as"):
        table.payload(AssessmentColumns)


@pytest.mark.parametrize("inner", [False, True])
def test_a_message_with_a_column_that_contradicts_itself_is_not_passed_on(inner: bool) -> None:
    message = ConsignmentColumns(rows=2)
    message.items.offsets.extend([0, 1, 2])
    column = message.items.commodity_code if inner else message.mrn
    column.dictionary.append("62")
    column.indices.extend([0, 1])
    with pytest.raises(MalformedColumns, match="indices into 1 values"):
        Table.decode(message).payload(ConsignmentColumns)


class Member(IntEnum):
    """Members are enums for the most part."""

    SEVEN = 7


@pytest.mark.parametrize("members", [(), (3,), (Member.SEVEN, 1, 1), range(-2, 40)])
def test_numbers_are_among_members_as_in_a_set(members: Collection[int]) -> None:
    for count in (0, 1, 500):
        numbers = np.random.default_rng(count).integers(-3, 9, size=count)
        assert among(numbers, members).tolist() == [number in set(members) for number in numbers.tolist()]

"""Columns that a filer packed are read as messages are, or refused with the path of the row, and take no more memory than they account for."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.client.filing.packing import pack
from libs.columns import Table, digests, table_digest
from libs.server.errors import Refusal
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from services.ingestion.filing import column_reader, validation
from services.ingestion.filing.column_reader import ColumnError
from tests.ingestion.consignments import consignment
from tests.support import hostile

BYTES_MAX = 8 * 1024 * 1024


def of_items(number: int, count: int) -> Consignment:
    row = consignment(number)
    row.items.extend([row.items[0]] * (count - 1))
    return row


def packed() -> ConsignmentColumns:
    """Return three consignments of 2, 1 and 2 items; the second item of the last has a document and an IMEI."""
    rows = [of_items(0, 2), consignment(1), of_items(2, 2)]
    rows[1].split = True
    rows[2].items[1].imeis.append("490154203237518")
    rows[2].items[1].supporting_documents.add(type="N380", reference="I-1")
    return pack(rows)


def check_same(rows: Sequence[Consignment]) -> None:
    """Both ways give the same table, errors and digests; what messages hold in bytes is enough for the columns."""
    by_rows = validation.check(Table.from_messages(rows, ConsignmentColumns, Consignment))
    size = SubmitConsignmentsRequest(consignments=rows).ByteSize()
    sent = ConsignmentColumns.FromString(pack(rows).SerializeToString())
    by_columns = validation.check(column_reader.read(sent, size))
    assert by_columns.errors == by_rows.errors
    assert by_columns.refused.tolist() == by_rows.refused.tolist()
    exclude = {validation.CARRIER_ID}
    assert digests(by_columns.table, exclude) == digests(by_rows.table, exclude)
    assert table_digest(by_columns.table, exclude) == table_digest(by_rows.table, exclude)
    stored = [
        each.table.encode(ConsignmentColumns).SerializeToString(deterministic=True) for each in (by_rows, by_columns)
    ]
    assert stored[0] == stored[1]


@cache
def variants() -> list[Consignment]:
    """Return consignments of which each has one element beyond its bounds, absent or empty, or a list without end."""
    return list(hostile.variants(Consignment.DESCRIPTOR))


def test_every_element_beyond_its_bounds_is_read_from_columns_as_from_messages() -> None:
    rows = variants()
    assert len(rows) > 2_000
    for start in range(0, len(rows), 250):
        check_same(rows[start : start + 250])


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_consignments_with_any_elements_are_read_from_columns_as_from_messages(draw: random.Random, count: int) -> None:
    rows = []
    for _ in range(count):
        row = (
            Consignment()
            if draw.random() < 0.3
            else Consignment.FromString(draw.choice(variants()).SerializeToString())
        )
        for _ in range(draw.randrange(3)):
            row.MergeFrom(draw.choice(variants()))
        rows.append(row)
    rows += draw.choices(rows, k=draw.randrange(3))
    check_same(rows)


def test_a_dictionary_in_another_order_and_with_values_of_no_row_is_the_same_filing() -> None:
    rows = [consignment(number) for number in range(4)]
    sent = pack(rows)
    sent.house_document_number.dictionary[:] = ["H000000003", "unused", "H000000000", "H000000002"]
    sent.house_document_number.indices[:] = [2, 0, 3, 0]
    rows[1].house_document.number = "H000000003"
    read = column_reader.read(sent, BYTES_MAX)
    expected = Table.from_messages(rows, ConsignmentColumns, Consignment)
    assert read.encode(ConsignmentColumns) == expected.encode(ConsignmentColumns)


def test_a_value_of_an_absent_row_and_the_0_of_an_enumeration_are_absent() -> None:
    sent = packed()
    sent.freight_minor.values.extend([5, 6, 7])
    sent.freight_minor.validity = bytes([0b010])
    sent.prices_include_tax.values = bytes([0b111])
    sent.prices_include_tax.validity = bytes([0b001])
    sent.nature.values[1] = 0
    read = column_reader.read(sent, BYTES_MAX)
    assert read.ints("freight_minor").values.tolist() == [0, 6, 0]
    assert read.bools("prices_include_tax").values.tolist() == [True, False, False]
    assert read.ints("nature").valid.tolist() == [True, False, True]
    missing = {(each.reason, each.path) for each in validation.check(read).errors[1]}
    assert missing == {
        ("CURRENCY_MISSING", "consignments[1].freight.currency"),
        ("ELEMENT_MISSING", "consignments[1].nature"),
    }


Spoil = Callable[[ConsignmentColumns], object]


def put(*path: str, **changes: Any) -> Spoil:
    """Return what gives the fields of a part of columns other values."""

    def spoil(sent: ConsignmentColumns) -> None:
        part: Any = sent
        for name in path:
            part = getattr(part, name)
        for name, value in changes.items():
            if isinstance(value, list):
                getattr(part, name)[:] = value
            else:
                setattr(part, name, value)

    return spoil


LENGTHS: list[tuple[Spoil, str, str, int, int, int]] = [
    # What is spoilt, the column, what it has too few or many of, how many, of how many rows, and how many it must have.
    (put("consignee_name", indices=[0, 0]), "consignee_name", "indices", 2, 3, 3),
    (put("consignee_name", indices=[0] * 4), "consignee_name", "indices", 4, 3, 3),
    (put("consignee_name", indices=[]), "consignee_name", "indices", 0, 3, 3),
    (put("gross_mass_mg", values=[1, 2]), "gross_mass_mg", "values", 2, 3, 3),
    (put("gross_mass_mg", values=[1] * 4), "gross_mass_mg", "values", 4, 3, 3),
    (put("freight_minor", validity=b"\x01"), "freight_minor", "values", 0, 3, 3),
    (put("split", validity=b"\x02\x00"), "split", "bytes of validity", 2, 3, 1),
    (put("split", values=b""), "split", "bytes of values", 0, 3, 1),
    (put("split", values=b"\x02\x00"), "split", "bytes of values", 2, 3, 1),
    (put("gross_mass_mg", validity=b"\x07\x00"), "gross_mass_mg", "bytes of validity", 2, 3, 1),
    (put("items", offsets=[0, 2, 3]), "items", "offsets", 3, 3, 4),
    (put("items", offsets=[0, 2, 3, 5, 5]), "items", "offsets", 5, 3, 4),
    (put("items", offsets=[]), "items", "offsets", 0, 3, 4),
    (put("items", offsets=[0, 2, 3, 6]), "items.number", "values", 5, 6, 6),
    (put("items", "description", indices=[0] * 4), "items.description", "indices", 4, 5, 5),
    (put("items", "price_minor", values=[1] * 6), "items.price_minor", "values", 6, 5, 5),
    (put("items", "supporting_documents", offsets=[0] * 5), "items.supporting_documents", "offsets", 5, 5, 6),
    (put("items", "supporting_documents", "type", indices=[0, 0]), "items.supporting_documents.type", "indices", 2, 1, 1),
    (put("receptacles", offsets=[0, 1, 2, 4]), "receptacles.values", "indices", 3, 4, 4),
    (put("receptacles", offsets=[]), "receptacles", "offsets", 0, 3, 4),
    (put("items", "imeis", offsets=[0] * 6), "items.imeis.values", "indices", 1, 0, 0),
]  # fmt: skip


def refusal(sent: ConsignmentColumns, bytes_max: int = BYTES_MAX) -> ColumnError:
    """Return the error of columns, whose sentence has all its facts."""
    with pytest.raises(ColumnError) as caught:
        column_reader.read(sent, bytes_max)
    error = caught.value
    told = Refusal(error.reason, path=error.path, value=error.value, **error.facts)
    assert "?" not in told.sentence + told.hint, told.sentence
    return error


@pytest.mark.parametrize(("spoil", "column", "unit", "count", "rows", "expected"), LENGTHS)
def test_a_column_with_too_few_or_too_many_is_refused(
    spoil: Spoil, column: str, unit: str, count: int, rows: int, expected: int
) -> None:
    sent = packed()
    if column.startswith("items.number"):
        sent.items.number.values[:] = [1, 2, 1, 1, 2]
    spoil(sent)
    error = refusal(sent)
    assert (error.reason, error.path) == ("COLUMN_LENGTH_WRONG", f"consignments.{column}")
    assert error.facts == {"count": count, "unit": unit, "rows": rows, "expected": expected}


def test_a_bitmap_of_another_number_of_bytes_than_its_rows_need_is_refused_on_both_sides() -> None:
    for rows, size in ((8, 1), (9, 2)):
        sent = pack([consignment(number) for number in range(rows)])
        sent.gross_mass_mg.validity = b"\xff\x01"[:size]
        assert column_reader.read(sent, BYTES_MAX).ints("gross_mass_mg").valid.all()
        for wrong in (size - 1, size + 1):
            sent.gross_mass_mg.validity = b"\xff\x01\x00"[:wrong]
            if wrong:
                assert refusal(sent).facts["count"] == wrong


VALUES: list[tuple[Spoil, str, str, dict[str, object]]] = [
    (put("consignee_name", indices=[0, 0, 1]), "COLUMN_INDEX_UNKNOWN", "consignments[2].consignee.name",
        {"column": "consignments.consignee_name", "count": 1}),
    (put("house_document_number", indices=[0, 2**32 - 1, 2]), "COLUMN_INDEX_UNKNOWN", "consignments[1].house_document.number",
        {"column": "consignments.house_document_number", "count": 3}),
    (put("items", "price_currency", indices=[0, 0, 0, 1, 0]), "COLUMN_INDEX_UNKNOWN", "consignments[2].items[0].price.currency",
        {"column": "consignments.items.price_currency", "count": 1}),
    (put("items", "supporting_documents", "type", indices=[9]), "COLUMN_INDEX_UNKNOWN",
        "consignments[2].items[1].supporting_documents[0].type", {"column": "consignments.items.supporting_documents.type", "count": 1}),
    (put("items", "imeis", "values", indices=[1]), "COLUMN_INDEX_UNKNOWN", "consignments[2].items[1].imeis[0]",
        {"column": "consignments.items.imeis.values", "count": 1}),
    (put("items", offsets=[1, 2, 3, 5]), "COLUMN_OFFSETS_WRONG", "consignments[0].items", {"column": "consignments.items", "start": 1, "end": 2}),
    (put("items", offsets=[0, 3, 2, 5]), "COLUMN_OFFSETS_WRONG", "consignments[1].items", {"column": "consignments.items", "start": 3, "end": 2}),
    (put("items", offsets=[0, 2, 3, 2**32 - 1]), "COLUMN_ENTRIES_TOO_MANY", "consignments.items", {"count": 2**32 - 1, "count_max": 999_000}),
    (put("items", offsets=[0, 2**32 - 1, 3, 5]), "COLUMN_OFFSETS_WRONG", "consignments[1].items",
        {"column": "consignments.items", "start": 2**32 - 1, "end": 3}),
    (put("receptacles", offsets=[0, 2, 1, 3]), "COLUMN_OFFSETS_WRONG", "consignments[1].receptacles",
        {"column": "consignments.receptacles", "start": 2, "end": 1}),
    (put("items", "imeis", offsets=[0, 0, 0, 1, 0, 1]), "COLUMN_OFFSETS_WRONG", "consignments[2].items[0].imeis",
        {"column": "consignments.items.imeis", "start": 1, "end": 0}),
    (put("split", values=b"\x0a"), "COLUMN_BITS_BEYOND", "consignments.split.values", {"rows": 3}),
    (put("split", validity=b"\x82"), "COLUMN_BITS_BEYOND", "consignments.split.validity", {"rows": 3}),
    (put("gross_mass_mg", validity=b"\x0f"), "COLUMN_BITS_BEYOND", "consignments.gross_mass_mg.validity", {"rows": 3}),
    (put("consignee_name", dictionary=["a", "b", "c", "d"]), "COLUMN_DICTIONARY_TOO_LARGE", "consignments.consignee_name",
        {"count": 4, "rows": 3}),
    (put("items", "description", dictionary=list("abcdef")), "COLUMN_DICTIONARY_TOO_LARGE", "consignments.items.description",
        {"count": 6, "rows": 5}),
    (put("consignee_name", dictionary=["a", "b", "a"]), "COLUMN_VALUE_REPEATED", "consignments.consignee_name.dictionary[2]", {"first": 0}),
    (put("mrn", dictionary=["26DE32329000033OR6"]), "COLUMN_NOT_FILED", "consignments.mrn", {}),
    (put("version", values=[1, 1, 1]), "COLUMN_NOT_FILED", "consignments.version", {}),
    (put("filer", dictionary=["other"], indices=[0, 0, 0]), "COLUMN_NOT_FILED", "consignments.filer", {}),
    (put("accepted_at", values=[1]), "COLUMN_NOT_FILED", "consignments.accepted_at", {}),
    (put("partition", values=[1]), "COLUMN_NOT_FILED", "consignments.partition", {}),
    (put("carrier_id", dictionary=["c"], indices=[0, 0, 0]), "COLUMN_NOT_FILED", "consignments.carrier_id", {}),
    (put("awaited_parts", "party", dictionary=["p"], indices=[0, 0, 0]), "COLUMN_NOT_FILED", "consignments.awaited_parts", {}),
    (put("contradictions", "path", dictionary=["p"], indices=[0, 0, 0]), "COLUMN_NOT_FILED", "consignments.contradictions", {}),
    (put("contradiction_count", values=[1]), "COLUMN_NOT_FILED", "consignments.contradiction_count", {}),
    (put("unchanged_since", values=[1]), "COLUMN_NOT_FILED", "consignments.unchanged_since", {}),
    (put("filer_trusted_until", values=[20_000]), "COLUMN_NOT_FILED", "consignments.filer_trusted_until", {}),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "reason", "path", "facts"), VALUES)
def test_what_contradicts_itself_or_is_not_filed_is_refused_with_the_path_of_its_row(
    spoil: Spoil, reason: str, path: str, facts: dict[str, object]
) -> None:
    sent = packed()
    spoil(sent)
    error = refusal(sent)
    assert (error.reason, error.path, error.facts) == (reason, path, facts)


@pytest.mark.parametrize("name", ["consignee_name", "gross_mass_mg", "receptacles", "items"])
def test_a_column_that_is_sent_twice_is_refused(name: str) -> None:
    sent, again = packed(), ConsignmentColumns()
    getattr(again, name).CopyFrom(getattr(sent, name))
    # A field that is sent twice is both together.
    twice = ConsignmentColumns.FromString(sent.SerializeToString() + again.SerializeToString())
    assert refusal(twice).reason in ("COLUMN_LENGTH_WRONG", "COLUMN_VALUE_REPEATED")


def test_a_list_of_a_few_bytes_makes_no_large_table() -> None:
    def bare(name: str, total: int) -> ConsignmentColumns:
        sent = packed()
        part = getattr(sent, name)
        part.Clear()
        part.offsets[:] = [0, 0, 0, total]
        return sent

    for name in ("receptacles", "guarantees", "packages", "fiscal_references", "items"):
        assert column_reader.read(bare(name, 1_000), BYTES_MAX).ragged(name).offsets[-1] == 1_000
        for total in (1_001, 2**32 - 1):
            sent = bare(name, total)
            tracemalloc.start()
            error = refusal(sent)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert (error.reason, error.path) == ("COLUMN_ENTRIES_TOO_MANY", f"consignments.{name}")
            assert peak < 200_000


def test_the_lists_of_a_batch_are_as_long_together_as_a_thousand_of_the_longest() -> None:
    sent = packed()
    sent.fiscal_references.scheme.values[:] = [3] * 99_000
    sent.fiscal_references.number.Clear()
    sent.fiscal_references.offsets[:] = [0, 0, 0, 99_000]
    assert column_reader.read(sent, BYTES_MAX).ragged("fiscal_references").offsets[-1] == 99_000
    sent.fiscal_references.scheme.values.append(3)
    sent.fiscal_references.offsets[3] += 1
    assert refusal(sent).facts == {"count": 99_001, "count_max": 99_000}


def test_a_value_that_many_rows_share_counts_for_each_of_them() -> None:
    rows = [consignment(number) for number in range(100)]
    sent = pack(rows)
    before = len(sent.SerializeToString())
    sent.seller_email.dictionary.append("x" * 10_000)
    sent.seller_email.indices.extend([0] * 100)
    assert len(sent.SerializeToString()) - before < 11_000
    error = refusal(sent, 1_000_000)
    assert error.reason == "BATCH_EXPANDED_TOO_LARGE"
    size = error.facts["bytes"]
    assert isinstance(size, int)
    for row in rows:
        row.seller.email = "x" * 10_000
    assert 1_000_000 < size <= SubmitConsignmentsRequest(consignments=rows).ByteSize()
    column_reader.read(sent, size)
    assert refusal(sent, size - 1).facts == {"bytes": size, "bytes_max": size - 1}

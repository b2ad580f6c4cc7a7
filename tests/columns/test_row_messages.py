"""Row messages become columns, and columns digests, as a plain reading of one message after the other says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Ragged, Strings, Table, digests, row_digests, table_digest
from libs.columns.rows import UNREPRESENTABLE
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.ingestion.consignments import consignment
from tests.support import hostile


def plain(row: Any, prefix: str = "") -> dict[str, Any]:
    """Return the elements of a message by column; absent ones and empty lists are not there."""
    found: dict[str, Any] = {}
    for field in row.DESCRIPTOR.fields:
        name, value = prefix + field.name, getattr(row, field.name)
        if field.is_repeated:
            entries = [plain(each) for each in value] if field.message_type else list(value)
            found |= {name: entries} if entries else {}
        elif field.message_type is None:
            is_there = row.HasField(field.name) if field.has_presence else bool(value)
            found |= {name: value} if is_there else {}
        elif field.message_type.full_name != hostile.TIMESTAMP:
            found |= plain(value, name + "_")
        elif row.HasField(field.name):
            good = abs(value.seconds) <= 9 * 10**12 and 0 <= value.nanos < 10**9
            found[name] = value.seconds * 10**6 + value.nanos // 1000 if good else UNREPRESENTABLE
    return found


def of_table(table: Table) -> list[dict[str, Any]]:
    """Return the same of the rows of a table."""
    rows: list[dict[str, Any]] = [{} for _ in range(table.rows)]
    for name, column in table.columns.items():
        for row in range(table.rows):
            if not isinstance(column, Ragged):
                value = column[row]
                rows[row] |= {} if value is None or value == "" else {name: value}
            elif column.lengths[row]:
                values = column.values
                assert isinstance(values, Table | Strings)
                taken = values.take(np.arange(column.offsets[row], column.offsets[row + 1]))
                rows[row][name] = taken.tolist() if isinstance(taken, Strings) else of_table(taken)
    return rows


def text(row: dict[str, Any]) -> str:
    """Return what the digest of a row is of."""
    parts = []
    for name, value in sorted(row.items()):
        if isinstance(value, str):
            parts.append(f"{name}={len(value)}:{value};")
        elif isinstance(value, list):
            inner = [text(each) if isinstance(each, dict) else f"{len(each)}:{each}," for each in value]
            parts.append(f"{name}=[{'|'.join(inner)}];")
        else:
            parts.append(f"{name}={int(value)};")
    return "".join(parts)


def sha(data: bytes) -> bytes:
    return sha256(data).digest()


def text_bytes(text: str) -> bytes:
    """Return a text as the digest of a row has it: its number of bytes and these bytes in whole words, or 255 and the end of its digest."""
    data = text.encode()
    if len(data) > 31:
        return b"\xff" + sha(data)[1:]
    written = bytes([len(data)]) + data
    return written + bytes(-len(written) % 8)


def row_bytes(rows: Sequence[dict[str, Any]]) -> bytes:
    """Return what the digest of a record's row is of: the rows, and behind them what their lists hold, list by list."""
    cells, lists = [], dict[str, list[Any]]()
    for row in rows:
        texts = {name: value for name, value in sorted(row.items()) if isinstance(value, str)}
        others = {name: value for name, value in sorted(row.items()) if name not in texts}
        cells.append(sha(",".join([*others, *texts]).encode()))
        for value in others.values():
            number = len(value) if isinstance(value, list) else int(value)
            cells.append(number.to_bytes(8, "little", signed=True))
        cells += map(text_bytes, texts.values())
        for name, value in others.items():
            if isinstance(value, list):
                lists[name] = lists.get(name, []) + value
    for _, held in sorted(lists.items()):
        cells.append(row_bytes(held) if isinstance(held[0], dict) else b"".join(map(text_bytes, held)))
    return b"".join(cells)


def table_of(rows: Sequence[Message]) -> Table:
    return Table.from_messages(rows, ConsignmentColumns, Consignment)


def check(rows: Sequence[Consignment]) -> None:
    table = table_of(rows)
    expected = [plain(row) for row in rows]
    assert of_table(table) == expected
    assert digests(table) == [sha256(text(row).encode()).digest() for row in expected]
    assert row_digests(table) == [sha(row_bytes([row])) for row in expected]
    for column in table.columns.values():
        if isinstance(column, Strings):
            assert list(column.dictionary) == list(dict.fromkeys(column.tolist())), "each value once, by its first row"


def test_the_digest_of_a_row_is_as_docs_clearance_audit_md_defines_it_and_stays() -> None:
    row = Consignment(local_reference="A" * 31)
    row.items.add(number=-1, description="B" * 32)
    row.transport.route_countries.extend(["CN", ""])
    pieces = [
        sha(b"items,transport_route_countries,local_reference"),
        b"\1\0\0\0\0\0\0\0" + b"\2\0\0\0\0\0\0\0",
        b"\x1f" + b"A" * 31,
        sha(b"number,description") + b"\xff" * 8 + b"\xff" + sha(b"B" * 32)[1:],
        b"\2CN\0\0\0\0\0" + b"\0\0\0\0\0\0\0\0",
    ]
    assert row_digests(table_of([row])) == [sha(b"".join(pieces))]
    # Stored records have it: a change of the definition needs a form of its own.
    assert sha(b"".join(pieces)).hex() == "534138ae1b12372c5f0eb96022fb6bf6dc1cd76952e40bebf9a094dc84b91305"


@cache
def variants() -> list[Consignment]:
    """Return consignments of which each has one element beyond its bounds, absent or empty; without the longest."""
    return [each for each in hostile.variants(Consignment.DESCRIPTOR) if each.ByteSize() < 5_000]


def test_every_element_of_messages_is_in_its_column_and_in_the_digest() -> None:
    rows = variants()
    assert len(rows) > 1_500
    for start in range(0, len(rows), 100):
        check(rows[start : start + 100])


@settings(max_examples=80, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 8))
def test_consignments_with_any_elements_are_in_their_columns_and_digests(draw: random.Random, count: int) -> None:
    rows = []
    for _ in range(count):
        row: Any = Consignment()
        for _ in range(draw.randrange(4)):
            row.MergeFrom(draw.choice(variants()))
        for name in draw.sample([field.name for field in row.DESCRIPTOR.fields], draw.randrange(40)):
            row.ClearField(name)
        rows.append(row)
    check(rows)


def test_what_only_some_have_is_at_its_own_row() -> None:
    rows = [Consignment(local_reference=f"R-{number}") for number in range(7)]
    rows[2].seller.name = "A"
    rows[4].seller.address.country = "CN"
    rows[5].seller.SetInParent()
    rows[3].order.time.SetInParent()
    rows[4].order.time.seconds = 7
    rows[6].order.time.nanos = 5_000
    rows[1].gross_mass_mg = 0
    rows[2].split = False
    rows[0].transport.route_countries.extend(["CN", ""])
    rows[6].transport.route_countries.append("DE")
    rows[3].items.add().price.minor = 0
    rows[3].items.add()
    rows[5].items.add(number=0, gift=False).supporting_documents.add()
    check(rows)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_digests_are_those_that_earlier_releases_stored(count: int) -> None:
    rows = [consignment(number) for number in range(3)]
    for row in rows:
        row.consignor.address.postcode = "10969"  # as the stored rows have it
    rows[1].items.extend([rows[1].items[0]] * 2)
    rows[1].items[1].imeis.extend(["490154203237518", "a"])
    rows[2].split = True
    rows[2].ClearField("procedure")
    rows[2].receptacles.append("x")
    stored = [
        "86f4c7a79e741d26ddd923489c8efae37aace142c377b70212f85bf1b2af63c2",
        "56c09f183637bd1af87cc894c1f352946ee4bf75351abfa2d3786a018a47061d",
        "013553453112b0b66fd821974303a5afb696a2426c98a87b0cfcdddb0497dffa",
    ]
    for row, digest in zip(rows, stored, strict=True):
        assert {each.hex() for each in digests(table_of([row] * count))} == {digest}
    assert [each.hex() for each in digests(table_of(rows))] == stored
    assert table_digest(table_of(rows)).hex() == "0bc8fc26d5b642db164ee2d8349eed2de229681f5dfc88432f3a105d8ac2bca7"


def shuffled(table: Table, draw: random.Random) -> Table:
    """Return the same content in another encoding: columns and dictionaries in another order, with values and columns that no row has."""
    columns: Any = {}
    for name, column in draw.sample(list(table.columns.items()), len(table.columns)):
        if isinstance(column, Ragged):
            values: Any = column.values
            inner = shuffled(values, draw) if isinstance(values, Table) else mixed(values, draw)
            columns[name] = Ragged(column.offsets.astype(draw.choice([np.int32, np.int64])), inner)
        else:
            columns[name] = mixed(column, draw) if isinstance(column, Strings) else column
    absent = {name: table.read_column(name) for name in table.schema.columns.keys() - columns.keys()}
    return Table(table.schema, table.rows, columns | absent)


def mixed(column: Strings, draw: random.Random) -> Strings:
    places = draw.sample(range(len(column.dictionary)), len(column.dictionary))
    dictionary = ["unused", *(column.dictionary[place] for place in places)]
    moves = {place: at for at, place in enumerate(places, 1)}
    return Strings(dictionary, np.array([moves[place] for place in column.indices.tolist()], np.int64))


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 6))
def test_two_tables_have_one_digest_if_and_only_if_their_rows_are_equal(draw: random.Random, count: int) -> None:
    rows: list[Any] = []
    for _ in range(count):
        row: Any = Consignment()
        for _ in range(draw.randrange(1, 4)):
            row.MergeFrom(draw.choice(variants()))
        rows.append(row)
    others: list[Any] = [Consignment.FromString(row.SerializeToString()) for row in rows]
    for _ in range(draw.randrange(3)):
        place, other = draw.randrange(count), draw.randrange(count)
        change = draw.randrange(4)
        if change == 0:
            others[place].MergeFrom(draw.choice(variants()))
        elif change == 1:
            others[place], others[other] = others[other], others[place]
        elif change == 2:
            others[place].ClearField(draw.choice([field.name for field in Consignment.DESCRIPTOR.fields]))
        elif others[place].items:
            others[other].items.append(others[place].items.pop())
    one, two = table_of(rows), table_of(others)
    assert table_digest(one) == table_digest(shuffled(one, draw))
    assert (table_digest(one) == table_digest(two)) == ([plain(row) for row in rows] == [plain(row) for row in others])


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_rows_whose_lists_were_hashed_before_have_the_digests_of_their_content(draw: random.Random) -> None:
    table = table_of(draw.sample(variants(), 8))
    digests_before = row_digests(table)
    rows = np.array(draw.choices(range(8), k=draw.randrange(1, 12)))
    taken = table.take(rows)
    assert row_digests(taken) == [digests_before[row] for row in rows.tolist()]
    other = table_of(draw.sample(variants(), 3))
    if draw.random() < 0.5:
        row_digests(other)
    joined = Table.concat([taken, other, table])
    changed = joined.with_columns(
        {
            "procedure": Strings.constant("4000", joined.rows),
            "items": joined.column("items").take(np.arange(joined.rows)[::-1]),
        }
    )
    for each in (joined, changed):
        assert row_digests(each) == row_digests(Table.parse(ConsignmentColumns, each.serialize(ConsignmentColumns)))


def test_each_consignment_has_a_digest_of_its_own_and_its_columns_add_up_to_it() -> None:
    rows = variants()
    distinct = {repr(sorted(plain(row).items())) for row in rows}
    assert len({table_digest(table_of([row])) for row in rows}) == len(distinct) > 1_000
    table = table_of(rows[:9])
    assert table_digest(table, exclude={"items"}) == table_digest(
        table.with_columns({"items": Ragged.of_lengths([0] * 9, table.child("items").take(np.empty(0, np.int64)))})
    )


def test_values_that_pass_from_one_row_or_column_to_the_next_are_other_content() -> None:
    def of(*rows: dict[str, Any]) -> bytes:
        return table_digest(table_of([Consignment(**row) for row in rows]))

    contents: list[tuple[dict[str, Any], ...]] = [
        ({"local_reference": "ab", "procedure": "c"},),
        ({"local_reference": "a", "procedure": "bc"},),
        ({"procedure": "ab", "local_reference": "c"},),
        ({"local_reference": "ab"}, {"procedure": "c"}),
        ({"procedure": "c"}, {"local_reference": "ab"}),
        ({"local_reference": "ab", "procedure": "c"}, {}),
        ({"receptacles": ["a", "b"]}, {}),
        ({"receptacles": ["a"]}, {"receptacles": ["b"]}),
        ({"receptacles": ["b"]}, {"receptacles": ["a"]}),
        ({"receptacles": ["ab"]}, {}),
        ({"receptacles": [""]}, {}),
        ({"receptacles": ["", ""]}, {}),
        ({"receptacles": [""]}, {"receptacles": [""]}),
        ({"items": [{}]}, {}),
        ({"items": [{}, {}]}, {}),
        ({"items": [{}]}, {"items": [{}]}),
        ({"items": [{"imeis": ["1"]}, {}]}, {}),
        ({"items": [{}, {"imeis": ["1"]}]}, {}),
        ({"split": False}, {}),
        ({"split": True}, {}),
        ({}, {"split": True}),
        ({"gross_mass_mg": 0}, {}),
        ({"gross_mass_mg": 1}, {}),
        ({"gross_mass_mg": 256}, {}),
        ({}, {}),
        ({},),
    ]
    assert len({of(*each) for each in contents}) == len(contents)

"""What clearance asks its neighbours at once is bounded by consignments and by items."""

import numpy as np
import pytest

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from libs.feed.types import BEGINNING, FeedBatch
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.clearance.feeds import filings as consumer


def batch(name: str, items: list[int]) -> FeedBatch:
    """Make a batch whose consignments have so many items."""
    total = sum(items)
    goods = Table(schema_of(ConsignmentColumns).children["items"], total, {"number": Ints.constant(1, total)})
    columns = {
        "mrn": Strings.of([f"{name}{place}" for place in range(len(items))]),
        "items": Ragged.of_lengths(items, goods),
    }
    nothing = np.zeros(len(items), np.int64)
    table = Table.of(ConsignmentColumns, len(items), columns)
    return FeedBatch(table, nothing, BEGINNING, nothing, 0, "", "luxor.consignment.v1.ConsignmentColumns")


@pytest.mark.parametrize(
    ("batches", "rows"),
    [
        ([[1] * 300, [1] * 300, [2] * 300], [900]),
        ([[1] * 1_000, [1] * 1_000, [1]], [2_000, 1]),
        ([[1] * 1_000, [1] * 1_001, [1]], [1_000, 1_002]),
        ([[1] * 2_000], [2_000]),
        ([[1], [1] * 2_001, [1]], [1, 2_000, 1, 1]),
        ([[2_500] * 2, [2_500] * 2, [1]], [4, 1]),
        ([[2_500] * 2, [2_500] * 2 + [1]], [2, 3]),
        ([[999] * 10, [999] * 10, [1]], [10, 11]),
        ([[999] * 25], [10, 10, 5]),
        ([[20_000], [1]], [1, 1]),
        ([[], [1]], [1]),
    ],
)
def test_parts_keep_every_filing_in_order_and_are_as_large_as_their_bounds(
    batches: list[list[int]], rows: list[int]
) -> None:
    given = [batch(chr(65 + place), items) for place, items in enumerate(batches)]
    parts = consumer.parts_of(given)
    together = [mrn for part in parts for mrn in part.filings.strings("mrn").tolist()]
    assert together == [mrn for each in given for mrn in each.table.strings("mrn").tolist()]
    assert [part.filings.rows for part in parts] == rows
    for part in parts:
        goods = int(part.filings.ragged("items").offsets[-1])
        assert goods <= consumer.ITEMS_A_CALL or part.filings.rows == 1

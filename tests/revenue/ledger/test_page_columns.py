"""Entries become pages: limits, partitions, lists of currencies; and columns that do not fit together are no page."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from libs.chain.hashing import START
from libs.customs.partitions import PARTITIONS
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.entry import Entries
from services.revenue.ledger.page import Page, PageError, Pages, pages_of
from services.revenue.store.ledger.pages import ENTRY_COLUMNS


def entries_with(*lengths: int, partitions: tuple[int, ...] = ()) -> Entries:
    """Entries with so many postings each."""
    count, total = len(lengths), sum(lengths)
    zeros = np.zeros(count, np.int64)
    return Entries(
        np.array(partitions or [1] * count, np.int64), zeros + pb.ENTRY_KIND_PAID, zeros, ["m"] * count, zeros, ["r"] * count,
        ["EUR"] * count, ["DE"] * count, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.ones(total, np.int64), np.zeros(total, np.int64), np.arange(total, dtype=np.int64),
    )  # fmt: skip


def each_of(pages: Pages) -> list[Page]:
    """The pages one by one, as they are read from the store."""
    found = []
    for place in range(len(pages)):
        values = {}
        for field in fields(Page):
            column = getattr(pages, field.name)
            if field.name in ENTRY_COLUMNS:
                column = column[pages.entry_offsets[place] : pages.entry_offsets[place + 1]]
            elif isinstance(column, np.ndarray):
                column = column[pages.posting_offsets[place] : pages.posting_offsets[place + 1]].tolist()
            else:
                column = column[place]
            values[field.name] = column.tolist() if isinstance(column, np.ndarray) else column
        found.append(Page(**values))
    return found


@pytest.mark.parametrize(
    ("lengths", "pages"),
    [
        ((5_000, 5_000), [(1, 2)]),
        ((5_000, 5_001), [(1, 1), (2, 2)]),
        ((10_000,), [(1, 1)]),
        ((10_000, 2), [(1, 1), (2, 2)]),
        ((2, 10_000, 2, 2), [(1, 1), (2, 2), (3, 4)]),
        ((2,) * 500, [(1, 500)]),
        ((2,) * 501, [(1, 500), (501, 501)]),
    ],
)
def test_a_page_has_no_more_entries_and_postings_than_its_limits(
    lengths: tuple[int, ...], pages: list[tuple[int, int]]
) -> None:
    numbers = list(range(1, len(lengths) + 1))
    hashes = [bytes([number % 251]) * 32 for number in numbers]
    found = each_of(pages_of(entries_with(*lengths), numbers, hashes, {1: START}))
    assert [(page.first_number, page.last_number) for page in found] == pages
    assert [page.hash for page in found] == [hashes[last - 1] for _, last in pages]
    assert [page.hash_before for page in found] == [START, *(page.hash for page in found[:-1])]
    assert [amount for page in found for amount in page.amount] == list(range(sum(lengths)))
    for page in found:
        page.bounds()


def test_entries_of_each_partition_are_a_page_in_their_order() -> None:
    partitions = (5, 1, PARTITIONS - 1, 1, 5)
    numbers, hashes = [7, 3, 1, 4, 8], [bytes([place]) * 32 for place in range(5)]
    befores = {5: b"a", 1: b"b", PARTITIONS - 1: b"c"}
    found = each_of(pages_of(entries_with(2, 3, 2, 2, 4, partitions=partitions), numbers, hashes, befores))
    assert [(p.partition, p.first_number, p.last_number, p.hash_before, p.hash, p.amount) for p in found] == [
        (1, 3, 4, b"b", hashes[3], [2, 3, 4, 7, 8]),
        (5, 7, 8, b"a", hashes[4], [0, 1, 9, 10, 11, 12]),
        (63, 1, 1, b"c", hashes[2], [5, 6]),
    ]
    assert [page.bounds() for page in found] == [[0, 3, 5], [0, 2, 6], [0, 2]]


def test_each_page_lists_its_own_currencies_and_destinations() -> None:
    entries = replace(
        entries_with(2, 3, 2, 2, partitions=(5, 1, 5, 1)),
        currency=["EUR", "SEK", "USD", "SEK"],
        destination=["DE", "", "DE", "FR"],
    )
    found = each_of(pages_of(entries, [1, 1, 2, 2], [START] * 4, {5: START, 1: START}))
    expected = [
        [
            (page.currencies[code - 1], page.destinations[place - 1])
            for code, place in zip(page.currency, page.destination, strict=True)
        ]
        for page in found
    ]
    assert expected == [[("SEK", ""), ("SEK", "FR")], [("EUR", "DE"), ("USD", "DE")]]
    assert [page.currencies for page in found] == [["SEK"], ["EUR", "USD"]]
    assert [page.bounds() for page in found] == [[0, 3, 5], [0, 2, 4]]
    assert [[page.currencies[code - 1] for code in page.posting_currency] for page in found] == [
        ["SEK"] * 5, ["EUR", "EUR", "USD", "USD"],
    ]  # fmt: skip


SOUND = Page(
    1, 4, 5, START, START, ["EUR", "SEK"], ["DE"], [1, 2], [0, 0], [1, 1], ["m", "n"], ["", "r"], [1, 2], [1, 1],
    [1, 1, 2, 2], [0, 1, 0, 1], [7, 8, 7, 8], [1, 1, 0, 0], [5, -5, 6, -6], [1, 1, 2, 2],
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *(
            ({name: []}, f"it has 2 numbers and 0 values of {name}")
            for name in ("kind", "reverses", "version", "mrn", "reference")
        ),
        ({"currency": [1]}, "it has 2 numbers and 1 values of currency"),
        ({"destination": [1, 1, 1]}, "it has 2 numbers and 3 values of destination"),
        ({"last_number": 503}, "it has 500 numbers and 2 values of kind"),
        ({"last_number": 504}, "it has 501 numbers; a page has 1 to 500"),
        ({"last_number": 3}, "it has 0 numbers; a page has 1 to 500"),
        ({"last_number": 2}, "it has -1 numbers; a page has 1 to 500"),
        *(
            ({each.name: [getattr(SOUND, each.name)]}, "one of its columns has lists in place of values")
            for each in fields(Page)
            if isinstance(getattr(SOUND, each.name), list)
        ),
        ({"last_number": 6}, "it has 3 numbers and 2 values of kind"),
        *(
            ({name: [0]}, f"it has 4 postings and 1 values of {name}")
            for name in ("place", "account", "charge", "amount")
        ),
        ({"posting_currency": [1] * 5}, "it has 4 postings and 5 values of posting_currency"),
        *(
            ({name: [None, 1, 1, 1]}, "one of its values is missing")
            for name in ("place", "account", "charge", "amount")
        ),
        ({"mrn": ["m", None]}, "one of its values is missing"),
        ({"currencies": ["EUR", None]}, "one of its values is missing"),
        ({"currency": [0, 2]}, "an entry names a currency that the page does not have"),
        ({"currency": [1, 3]}, "an entry names a currency that the page does not have"),
        ({"destination": [0, 1]}, "an entry names a destination that the page does not have"),
        ({"destination": [1, 2]}, "an entry names a destination that the page does not have"),
        ({"currencies": ["EUR", "SEK", "NOK"]}, "its list of currency has a value that no entry has, or one twice"),
        ({"currencies": ["EUR", "EUR"]}, "its list of currency has a value that no entry has, or one twice"),
        ({"destinations": ["DE", "FR"]}, "its list of destination has a value that no entry has, or one twice"),
        ({"entry": [0, 1, 2, 2]}, "its postings are not in the order of its entries"),
        ({"entry": [1, 1, 2, 3]}, "its postings are not in the order of its entries"),
        ({"entry": [1, 2, 1, 2]}, "its postings are not in the order of its entries"),
        ({"place": [1, 0, 0, 1]}, "its postings are not in the order of their places"),
        ({"place": [0, 1, 1, 2]}, "its postings are not in the order of their places"),
        ({"posting_currency": [1, 2, 2, 2]}, "a posting has another currency than its entry"),
    ],
)
def test_columns_that_do_not_fit_together_are_no_page(change: dict[str, Any], expected: str) -> None:
    assert SOUND.bounds() == [0, 2, 4]
    with pytest.raises(PageError, match=expected):
        replace(SOUND, **change).bounds()

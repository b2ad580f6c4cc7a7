"""Which elements a filing of correspondence and documents may omit: those that the data set of its destination's law does not name. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.arrays import BoolArray
from libs.filing_stages.direction import exports
from libs.release_law import application
from libs.release_law.law import ITEMS, DataSet, ReleaseLaw
from luxor.consignment.v1 import consignment_pb2 as consignment
from services.ingestion.filing.elements import ITEMS_REQUIRED, REQUIRED

IntArray = npt.NDArray[np.integer]

OMITTED: Final = ("commodity_code", "price_minor")
"""Elements of every item that a data set of documents may leave out."""


class Refused(Enum):
    """Why a filing that is declared as documents needs the elements of all goods: a reason of the catalogue."""

    NO_DATA_SET = "DOCUMENTS_WITHOUT_DATA_SET"
    GOODS = "DOCUMENTS_WITH_GOODS"


@dataclass(frozen=True)
class Documents:
    """The filings of a batch that are declared as documents and lack an element of all goods."""

    refused: dict[Refused, BoolArray] = field(default_factory=dict)
    """Those that may not lack it, by reason, each of shape (n,)."""
    accepted: Sequence[tuple[DataSet, BoolArray]] = ()
    """Those to which a data set of documents applies instead, shape (n,)."""

    def missing(self, name: str, items: IntArray, owners: IntArray) -> Iterator[tuple[str, IntArray]]:
        """Yield the items that lack an element of all goods and may not, by reason; `owners` are the rows of their filings."""
        if not self.refused:
            yield "ELEMENT_MISSING", items
            return
        open_ = np.ones(len(items), np.bool_)
        for data_set, rows in self.accepted:
            if name in OMITTED and ITEMS + name not in data_set.elements:
                open_ &= ~rows[owners]
        for reason, rows in self.refused.items():
            yield reason.value, items[open_ & rows[owners]]
            open_ &= ~rows[owners]
        yield "ELEMENT_MISSING", items[open_]

    def required(self) -> Iterator[tuple[str, BoolArray]]:
        """Yield the elements that only a data set requires, each with the filings to which it applies, shape (n,)."""
        for data_set, rows in self.accepted:
            for name in data_set.elements:
                if name not in REQUIRED and name.removeprefix(ITEMS) not in ITEMS_REQUIRED:
                    yield name, rows


def documents_of(filings: Table, lacking: IntArray, law: ReleaseLaw | None, day: int) -> Documents:
    """Return what the law of a day states of the filings that lack an element of all goods; `lacking` are their rows."""
    if not len(lacking):
        return Documents()
    open_ = np.zeros(filings.rows, np.bool_)
    open_[lacking] = True
    # Immediate release is of imports: an export needs all elements of its data set.
    open_ &= (filings.ints("nature").values == consignment.NATURE_DOCUMENT) & ~exports(filings)
    if not open_.any():
        return Documents()
    goods = open_ & (~application.worthless(filings) | _half_priced(filings))
    open_ &= ~goods
    accepted: list[tuple[DataSet, BoolArray]] = []
    unknown = np.zeros(filings.rows, np.bool_)
    for jurisdiction, rows in application.by_jurisdiction(filings, law) if law is not None else ():
        for entry in jurisdiction.law.categories.get("documents", ()):
            applies = np.zeros(filings.rows, np.bool_)
            applies[rows] = application.applies(entry, filings, rows, np.full(len(rows), day, np.int64))
            applies &= open_
            open_ &= ~applies
            excluded = applies & application.excluded(entry, filings)
            goods |= excluded
            if entry.exists and entry.certain and entry.data_set:
                accepted.append((jurisdiction.law.data_sets[entry.data_set], applies & ~excluded))
            else:
                unknown |= applies & ~excluded
    return Documents({Refused.NO_DATA_SET: open_ | unknown, Refused.GOODS: goods}, accepted)


def _half_priced(filings: Table) -> BoolArray:
    """Return which filings have an item with the currency of a price and no amount, shape (n,)."""
    items = filings.child("items")
    half = items.strings("price_currency").present & ~items.ints("price_minor").valid
    found: BoolArray = np.bincount(filings.ragged("items").owners()[half], minlength=filings.rows) > 0
    return found

"""Shares of split shipments: goods of one house document that travel under several master documents, each share filed by itself. Pure."""

import numpy as np

from libs.columns import Table
from libs.columns.arrays import BoolArray


def split_shares(table: Table) -> BoolArray:
    """Return which consignments are shares, shape (n,): the filing says so, or names the share before.

    Tables of ConsignmentColumns or of ClearanceColumns.
    """
    found = np.zeros(table.rows, np.bool_)
    if table.may_have("split"):
        found |= table.bools("split").values
    if table.may_have("previous_part_mrn"):
        found |= table.strings("previous_part_mrn").present
    return found

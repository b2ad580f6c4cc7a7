"""Which way goods cross the border, and the country whose customs decides on them. Tables of ConsignmentColumns or of ClearanceColumns. Pure."""

import numpy as np
from numpy.typing import NDArray

from libs.columns import Strings, Table
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT

BoolArray = NDArray[np.bool_]


def exports(table: Table) -> BoolArray:
    """Return which consignments are exports, shape (n,); all others are imports."""
    if not table.may_have("direction"):
        return np.zeros(table.rows, np.bool_)
    found: BoolArray = table.ints("direction").filled(0) == DIRECTION_EXPORT
    return found


def importing(table: Table, destinations: Strings | None = None) -> Strings:
    """Return the countries of destination (by default those of the table) of imports, absent for exports: no law of imports concerns these."""
    countries = table.strings("destination_country") if destinations is None else destinations
    exported = exports(table)
    return of_rows(countries, Strings.absent(table.rows), exported) if exported.any() else countries


def of_rows(imports: Strings, exported: Strings, where: BoolArray) -> Strings:
    """Return the values of one column for exports, which `where` marks, and of another for imports."""
    size = len(imports.dictionary)
    indices = np.where(where, exported.indices + size, imports.indices).astype(np.int32)
    return Strings([*imports.dictionary, *exported.dictionary], indices).translate(str)

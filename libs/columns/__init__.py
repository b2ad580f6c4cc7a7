"""Columns: many rows as numpy arrays and dictionaries, as messages on the wire, and as row messages.

`Table` is what every subject module of every service works on.
"""

from libs.columns.arrays import Bools, Column, Ints, Ragged, Strings, among
from libs.columns.digest import digests, row_digests, table_digest
from libs.columns.schema import Kind, Schema, schema_of
from libs.columns.table import Table

__all__ = [
    "Bools", "Column", "Ints", "Kind", "Ragged", "Schema", "Strings", "Table", "among", "digests", "row_digests", "schema_of",
    "table_digest",
]  # fmt: skip

"""What each role may read of the licences that items need. Pure."""

import numpy as np

from libs.columns import Column, Ragged, Strings, Table
from services.clearance.licences.need import has_needs


def public_needs(table: Table) -> dict[str, Column]:
    """Return the column of licences without their holders, if any item needs one."""
    if not has_needs(table):
        return {}
    lines = table.child("licences")
    hidden = lines.with_columns({"holder": Strings.absent(lines.rows)})
    return {"licences": Ragged(table.ragged("licences").offsets, hidden)}


def agency_needs(table: Table, agency: str) -> dict[str, Column]:
    """Return the column of licences as an agency reads it: its own."""
    if not has_needs(table):
        return {}
    lists, lines = table.ragged("licences"), table.child("licences")
    own = lines.strings("authority").isin({agency})
    lengths = np.bincount(lists.owners()[own], minlength=table.rows)
    return {"licences": Ragged.of_lengths(lengths, lines.take(np.flatnonzero(own)))}

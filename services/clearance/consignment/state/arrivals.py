"""The reported arrivals of consignments. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Strings, Table


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The arrivals of n consignments as carriers reported them; absent where none was reported."""

    arrived_at: Ints
    conveyance_reference: Strings
    place: Strings
    carrier: Strings

    @classmethod
    def none(cls, rows: int) -> "Arrivals":
        """Return those of consignments that have not arrived."""
        absent = Strings.absent(rows)
        return cls(Ints.absent(rows), absent, absent, absent)

    def columns(self) -> dict[str, Column]:
        """Return them as columns of the state."""
        return {
            "arrived_at": self.arrived_at,
            "arrival_conveyance_reference": self.conveyance_reference,
            "arrival_place": self.place,
            "arrival_carrier": self.carrier,
        }


def arrived_by(table: Table, document: str, carrier: str) -> NDArray[np.bool_]:
    """Return which consignments arrived by a carrier's arrival of a master document, shape (n,).

    Release 0.2 did not note the carrier, and recorded one arrival a document. The arrival by a release list is that of no carrier.
    """
    arrived = table.ints("arrived_at").valid & table.strings("master_document_number").isin({document})
    arrived &= ~table.bools("arrived_by_list").values
    return arrived & table.strings("arrival_carrier").isin({carrier, ""})

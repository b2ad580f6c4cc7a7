"""The reported arrivals of consignments. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Strings, Table
from services.clearance.consignment.columns import choose
from services.clearance.consignment.state.transport_numbers import only_receptacle


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The arrivals of n consignments as carriers reported them; absent where none was reported."""

    arrived_at: Ints
    conveyance_reference: Strings
    place: Strings
    carrier: Strings
    by_receptacle: Bools | None = None
    """Whether each is the arrival of the receptacle; None where all are of master documents."""

    @classmethod
    def none(cls, rows: int) -> "Arrivals":
        """Return those of consignments that have not arrived."""
        absent = Strings.absent(rows)
        return cls(Ints.absent(rows), absent, absent, absent, Bools.absent(rows))

    def columns(self) -> dict[str, Column]:
        """Return them as columns of the state."""
        columns: dict[str, Column] = {
            "arrived_at": self.arrived_at,
            "arrival_conveyance_reference": self.conveyance_reference,
            "arrival_place": self.place,
            "arrival_carrier": self.carrier,
        }
        return columns if self.by_receptacle is None else columns | {"arrived_by_receptacle": self.by_receptacle}


def arrived_by(table: Table, document: str, carrier: str) -> NDArray[np.bool_]:
    """Return which consignments arrived by a carrier's arrival of a master document or receptacle, shape (n,).

    Release 0.2 did not note the carrier, and recorded one arrival a document. The arrival by a release list is that of no carrier.
    """
    arrived = table.ints("arrived_at").valid & arrival_numbers(table).isin({document})
    arrived &= ~table.bools("arrived_by_list").values
    return arrived & table.strings("arrival_carrier").isin({carrier, ""})


def arrival_numbers(table: Table) -> Strings:
    """Return under which number goods arrived, that of the master document or of the receptacle; of goods that did not arrive the former."""
    masters = table.strings("master_document_number")
    by_receptacle = table.bools("arrived_by_receptacle").values
    return choose(by_receptacle, only_receptacle(table), masters) if by_receptacle.any() else masters

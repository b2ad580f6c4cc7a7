"""Which consignments belong to the relation of a case. Pure."""

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table
from luxor.clearance.v1 import cases_pb2 as pb
from services.clearance.consignment.state.transport_numbers import travels_under

COMPARED = frozenset({pb.CASE_RELATION_TRANSPORT, pb.CASE_RELATION_SCREENING_MATCH})
"""Relations whose key is in the states. Clearance stores no consignors and consignees, so the party of a case is what the officer states."""


def related(states: Table, relation: int, key: str) -> NDArray[np.bool_]:
    """Return which states belong to a relation with a key, shape (n,)."""
    if relation == pb.CASE_RELATION_TRANSPORT:
        documents = travels_under(states, {key})
        return documents | (
            states.strings("arrival_conveyance_reference").isin({key}) & states.ints("arrived_at").valid
        )
    found = np.full(states.rows, relation not in COMPARED)
    if relation == pb.CASE_RELATION_SCREENING_MATCH and states.may_have("findings"):
        findings = states.child("findings")
        # A finding names the list with its version: the match is that of the entry, as in a repeated screening.
        lists = findings.strings("list").translate(lambda version: version.partition(":")[0])
        pairs = zip(lists.tolist(), findings.strings("list_entry").tolist(), strict=True)
        matched = np.array([f"{name}/{entry}" == key for name, entry in pairs], np.bool_)
        found[states.ragged("findings").owners()[matched]] = True
    return found

"""The parts that a consignment awaits of other parties than its filer, and which of them are notified with a version. Pure.

Consignments that await a part of a registered party are rare, so they are worked on one by one.
"""

from typing import Final, NamedTuple

import numpy as np

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from libs.filing_stages.law import ROLES_BY_DOCUMENT
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.transitions import Change

_SCHEMA: Final = schema_of(ClearanceColumns).children["awaited_parts"]
NOTIFIED_MAX: Final = 30
"""Parts of one consignment of which parties are notified, the first ones: each state has them all, and an amendment may name further orders."""
_DECIDED: Final = (Change.DECIDED, Change.AMENDED)
"""Changes with which parties are notified."""


class AwaitedPart(NamedTuple):
    """A part that a consignment awaits of a party."""

    role: int
    """luxor.ingestion.v1.PartyRole."""
    party: str
    issuer: str
    """The platform of the order or the carrier of the house document."""
    number: str
    filing_version: int
    """Version of the filing; the decision on it notifies the party."""


def awaited_columns(filings: Table) -> dict[str, Column]:
    """Return the column of the state with the parts that filings (ConsignmentColumns) await of other parties than their filers; none if none does."""
    if not filings.may_have("awaited_parts"):
        return {}
    filers, versions = filings.strings("filer"), filings.ints("version").values.tolist()
    found: list[list[AwaitedPart]] = [[] for _ in range(filings.rows)]
    lines = filings.child("awaited_parts")
    owners = filings.ragged("awaited_parts").owners().tolist()
    for row, role, party in zip(
        owners, lines.ints("role").values.tolist(), lines.strings("party").tolist(), strict=True
    ):
        # The filer itself reads in its receipt and its status which parts are missing.
        if party != filers[row]:
            found[row].append(AwaitedPart(role, party, *_link(filings, row, role), versions[row]))
    return {"awaited_parts": _column(found)} if any(found) else {}


def with_notified(stored: Table, new: Table) -> dict[str, Column]:
    """Return the column of states after new versions of their filings: the entries of the stored states, and those of the new ones that these lack.

    A party is notified once of each role and link, and of NOTIFIED_MAX of a consignment together.
    """
    if not _has_awaited(stored) and not _has_awaited(new):
        return {}
    found: list[list[AwaitedPart]] = []
    for former, later in zip(_entries(stored), _entries(new), strict=True):
        notified = {each[:4] for each in former}
        added = [each for each in later if each[:4] not in notified]
        found.append([*former, *added[: max(0, NOTIFIED_MAX - len(former))]])
    return {"awaited_parts": _column(found)}


def to_notify(states: Table) -> dict[str, list[int]]:
    """Return by party the rows of versions that notify it of a part with their decision, rising."""
    rows: dict[str, list[int]] = {}
    if not _has_awaited(states):
        return rows
    decided = np.isin(states.ints("change").values, _DECIDED)
    for row, some in enumerate(notified_parts(states)):
        for party in sorted({each.party for each in some} if decided[row] else ()):
            rows.setdefault(party, []).append(row)
    return rows


def _link(filings: Table, row: int, role: int) -> tuple[str, str]:
    """Return by what a part of a role is linked to a filing: issuer and number."""
    if role in ROLES_BY_DOCUMENT:
        return filings.strings("carrier_identifier")[row], filings.strings("house_document_number")[row]
    return filings.strings("order_platform")[row], filings.strings("order_number")[row]


def _has_awaited(states: Table) -> bool:
    return states.may_have("awaited_parts") and states.child("awaited_parts").rows > 0


def _entries(states: Table) -> list[list[AwaitedPart]]:
    """Return the entries of each state."""
    if not _has_awaited(states):
        return [[] for _ in range(states.rows)]
    lines, owners = states.child("awaited_parts"), states.ragged("awaited_parts")
    columns = (
        lines.ints("role").values.tolist(),
        *(lines.strings(name).tolist() for name in ("party", "issuer", "number")),
        lines.ints("filing_version").values.tolist(),
    )
    entries = [AwaitedPart(*each) for each in zip(*columns, strict=True)]
    return [entries[owners.span(row)] for row in range(states.rows)]


def notified_parts(states: Table) -> list[list[AwaitedPart]]:
    """Return the parts of which each version of a state notifies parties: the entries that its version of the filing added."""
    versions = states.ints("filing_version").values.tolist()
    return [
        [each for each in some if each.filing_version == version]
        for some, version in zip(_entries(states), versions, strict=True)
    ]


def _column(entries: list[list[AwaitedPart]]) -> Ragged:
    lines = [each for some in entries for each in some]
    columns: dict[str, Column] = {
        "role": Ints.of([each.role for each in lines]),
        **{name: Strings.of([getattr(each, name) for each in lines]) for name in ("party", "issuer", "number")},
        "filing_version": Ints.of([each.filing_version for each in lines]),
    }
    return Ragged.of_lengths([len(some) for some in entries], Table(_SCHEMA, len(lines), columns))

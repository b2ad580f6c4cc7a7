"""The first state of a filing: its elements, the assessments of risk and revenue, and the verdict. Pure."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from libs.columns import Bools, Column, Ints, Strings, Table
from libs.filing_stages.direction import exports
from libs.filing_stages.shares import split_shares
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.columns import choose
from services.clearance.consignment.decision import BatchDecision
from services.clearance.consignment.screening import alarmed
from services.clearance.consignment.state.times import DELAYS
from services.clearance.consignment.transitions import State

_FROM_FILING: Final = (
    "mrn",
    "partition",
    "filer",
    "local_reference",
    "house_document_number",
    "house_document_type",
    "master_document_number",
    "master_document_type",
    "declarant_identifier",
    "destination_country",
    "dispatch_country",
    "transport_mode",
    "transport_service",
    "nature",
    "gross_mass_mg",
    "accepted_at",
    "carrier_identifier",
)


def new_states(filings: Table, assessment: Mapping[str, Column], verdict: BatchDecision) -> Table:
    """Return the states of filings (ConsignmentColumns) before the decision takes effect: version 0, state ACCEPTED.

    `assessment` has columns of ClearanceColumns. `release_not_before` and `reroute_at` count from the decision, whose time is not known yet.
    """
    rows = filings.rows
    columns: dict[str, Column] = {name: filings.column(name) for name in _FROM_FILING}
    columns |= {
        "version": Ints.constant(0, rows),
        "filing_version": filings.ints("version"),
        "platform": filings.strings("order_platform"),
        "consignor_country": filings.strings("consignor_address_country"),
        "destination_country": destinations(filings),
        "carrier_identifier": _carrier(filings),
        "state": Ints.constant(State.ACCEPTED, rows),
        "reasons": verdict.reasons,
        "audit": Bools.of(verdict.audit),
        "officer_hold": Bools.of(np.zeros(rows, np.bool_)),
        "debt_status": Ints.of(verdict.debt),
        "debt_account": verdict.account,
        **assessment,
    }
    if exports(filings).any():
        columns["direction"] = filings.column("direction")
    split = split_shares(filings)
    if split.any():
        columns |= {
            "split": Bools.of(split, split),
            "previous_part_mrn": filings.column("previous_part_mrn"),
        }
    if filings.may_have("representative_identifier"):
        columns["representative_identifier"] = filings.column("representative_identifier")
    if verdict.debt_hold.any():
        columns["debt_hold"] = Bools.of(verdict.debt_hold, verdict.debt_hold)
    if filings.may_have("receptacles"):
        columns["receptacles"] = filings.column("receptacles")
    table = Table.of(ClearanceColumns, rows, columns)
    if "missing_roles" in assessment:
        # No wait releases goods of which a part is missing.
        complete, none = table.ragged("missing_roles").lengths == 0, Ints.absent(rows)
        table = table.with_columns({name: choose(complete, table.ints(name), none) for name in DELAYS})
    # Only an officer resolves an alarm: neither an amendment nor a rule set lifts it.
    alarm = alarmed(table)
    return table.with_columns({"officer_hold": Bools.of(alarm)}) if alarm.any() else table


def _carrier(filings: Table) -> Strings:
    """Return the carrier that the filing names: its id as filed, since ids are case-sensitive, else its name in capitals."""
    names, ids = filings.strings("carrier_identifier"), filings.strings("carrier_id")
    present = ids.present
    return choose(present, ids, names) if present.any() else names


def destinations(filings: Table) -> Strings:
    """Return the country of destination; where it is absent, that of the consignee's address."""
    destination = filings.strings("destination_country")
    present = destination.present
    if present.all():
        return destination
    values = destination.values()
    values[~present] = filings.strings("consignee_address_country").values()[~present]
    return Strings.of(values)

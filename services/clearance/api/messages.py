"""States as row messages: status, history and notices, with what the role of the caller may see."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Column, Ints, Kind, Ragged, Schema, Strings, Table, schema_of
from libs.columns.schema import expected_columns
from libs.filing_stages.direction import exports
from libs.server.identity import Role
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_IMPORT
from services.clearance.consignment import notice_kinds as notices
from services.clearance.consignment.columns import choose, is_lost
from services.clearance.consignment.contradictions.contradiction import PARTS_CONTRADICT, public_contradictions
from services.clearance.consignment.controls.control import has_controls
from services.clearance.consignment.controls.pre_loading import announced, concerns_loading, disclosed, pre_loading_of
from services.clearance.consignment.controls.views import (
    agency_controls,
    carried_controls,
    carried_notices,
    changed_controls,
    public_controls,
)
from services.clearance.consignment.decision import AUTOMATIC, CUSTOMS_CHECK, STATED_BY_OFFICER, Lane
from services.clearance.consignment.explanation import sentence
from services.clearance.consignment.presentation.times import PRESENTATION, presentation_due
from services.clearance.consignment.proposals.proposal import requires_second
from services.clearance.consignment.state.times import owes_nothing, payable_now
from services.clearance.consignment.transitions import Change, State
from services.clearance.licences.views import agency_needs, public_needs
from services.clearance.store.work import Claim
from services.clearance.temporary_storage.limits import ends

OFFICER = "officer"
"""Replaces an officer's id for callers that may not see it."""
_STATE: Final = schema_of(ClearanceColumns)
_KINDS: Final = {
    **_STATE.columns,
    "history": Kind.CHILD,
    "lower_bound": Kind.BOOLS,
    "check_code": Kind.STRINGS,
    "pre_loading": Kind.INTS,
    "claim_officer": Kind.STRINGS,
    "claim_claimed_at": Kind.INTS,
    "claim_handed_by": Kind.STRINGS,
    "claim_note": Kind.STRINGS,
    "cases": Kind.INT_LISTS,
    "storage_limit": Kind.INTS,
    "storage_ends_at": Kind.INTS,
    "second_person": Kind.BOOLS,
}
"""Columns of states, and those that no state stores: the versions before it, whether the amounts are a lower bound, the code of its notices, the
stage of the assessment before loading, the claim, the cases, the time limit of temporary storage, and whether a second person is required."""
_RENAMED: Final = {
    "filing_version": "filing_version",
    "filing_late": "filed_late",
    "decision_model_version": "model",
    "debt_status": "debt_status",
    "debt_account": "debt_account",
    "debt_currency": "revenue_currency",
    "debt_notes": "revenue_notes",
    "findings_risk": "findings",
    "movement_conveyance_reference": "arrival_conveyance_reference",
    "movement_place": "arrival_place",
    "movement_carrier": "arrival_carrier",
}
"""Column of the state by path in ConsignmentStatus, where it is not the path without its group."""
_GROUPS: Final = ("filing_", "decision_", "debt_", "findings_", "movement_")


def _column_of(path: str) -> str:
    group = next((group for group in _GROUPS if path.startswith(group)), "")
    return _RENAMED.get(path, path.removeprefix(group))


_PATHS: Final = {path: _column_of(path) for path in expected_columns(pb.ConsignmentStatus.DESCRIPTOR)}
"""Column of the state by path in ConsignmentStatus."""
_AMOUNTS_OF_CHARGE: Final = {
    "amount": "amount_minor",
    "forgone": "forgone_minor",
    "rounding_unit": "rounding_unit_minor",
}
"""Field of a charge in messages by its column, where it is not the column's name."""
_CHARGES: Final = Schema(
    "luxor.clearance.v1.Charge",
    {_AMOUNTS_OF_CHARGE.get(name, name): kind for name, kind in _STATE.children["charges"].columns.items()},
    {},
)
_HISTORY_PATHS: Final = {
    path: "revenue_currency" if path == "currency" else path for path in expected_columns(pb.HistoryEntry.DESCRIPTOR)
}
"""Column of the state by field of HistoryEntry."""
_HISTORY: Final = Schema(
    "luxor.clearance.v1.HistoryEntry",
    {path: _STATE.columns[column] for path, column in _HISTORY_PATHS.items()},
    _STATE.children,
)
_STATUS: Final = Schema(
    "luxor.clearance.v1.ConsignmentStatus",
    {path: _KINDS[column] for path, column in _PATHS.items()},
    {
        "items": _STATE.children["items"],
        "debt_charges": _CHARGES,
        "findings_risk": _STATE.children["findings"],
        "history": _HISTORY,
        "controls": _STATE.children["controls"],
        "licences": _STATE.children["licences"],
        "rights_matches": _STATE.children["rights_matches"],
        "proposals": _STATE.children["proposals"],
        "incomplete_stages": _STATE.children["incomplete_stages"],
        "contradictions": _STATE.children["contradictions"],
    },
)

NOT_COVERED: Final = "NOT_COVERED"
"""Revenue's note that something may be owed beside the charges."""
CHECKED: Final = "Customs looks at the consignment."
"""The sentence of CUSTOMS_CHECK, which replaces all findings that a caller may not see."""

_TEXTS: Final = (
    "rule_set_version",
    "note",
    "selection_reason",
    "model",
    "office",
    "screened_lists",
    "inspected_by",
    "adjusted_by",
    "violation_found_by",
    "violation_resolved_by",
    "pre_loading_reason",
    "pre_loading_pointer",
    "pre_loading_confidential_reason",
    "transit_departure_office",
    "transit_guarantee_reference",
)
_NUMBERS: Final = (
    "risk_score", "risk_unjudged", "selection_cause", "chance_ppm", "inclusion_ppm", "model_score_ppm", "release_not_before", "reroute_at",
    "inspected_at", "inspection_method", "inspection_result", "public_version", "public_change", "public_changed_at", "public_lane",
    "violation_resolved_at", "pre_loading_referral", "pre_loading_omitted", "pre_loading_unjudged",
)  # fmt: skip
"""Columns of the state only for officers and analysts."""
_CARRIED: Final = (
    "mrn", "version", "house_document_number", "house_document_type", "master_document_number", "master_document_type", "transport_mode",
    "transport_service", "gross_mass_mg", "arrived_at", "released_at", "changed_at", "arrival_conveyance_reference", "arrival_place", "state",
    "lane", "change", "returned_at", "return_reason", "return_document_number", "storage_reminded_at",
    "storage_ended_at", "transit_destination_office", "transit_started_at", "transit_due_at", "transit_overdue_at", "transit_ended_at",
    "transit_outcome", "transit_difference", "transit_seal", "transit_document_number", "direction", "exited_at", "receptacles", *PRESENTATION,
)  # fmt: skip
"""Columns of the state for carriers."""
_CONTROLLED: Final = (
    *_CARRIED,
    "dispatch_country",
    "destination_country",
    "consignor_country",
    "nature",
    "declarant_identifier",
)
"""Columns of the state for partner agencies, beside their controls."""
_GOODS: Final = ("number", "commodity_code", "origin_country", "net_mass_mg", "quantity_milli", "quantity_unit")
"""Columns of items for partner agencies."""
_OF_STORAGE: Final = (notices.NoticeKind.STORAGE_REMINDED, notices.NoticeKind.STORAGE_ENDED)
"""Notices about the time limit of temporary storage."""
_OF_TRANSIT: Final = tuple(notices.OF_TRANSIT.values())
"""Notices about movements to another office."""
_AMOUNTS: Final = ("payable_minor", "paid_minor", "refunded_minor")
"""Amounts of a notice that carriers do not receive."""
_FINDING: Final = ("lane", "reason", "sentence", "item_number")
"""Columns of a finding for all callers, unless it is confidential."""


_PUBLIC_CHANGE: Final = np.arange(max(Change) + 1)
"""The change that filers and carriers see: a screening match and its clearing are shown as an officer's hold and release."""
_PUBLIC_CHANGE[Change.SCREENING_MATCHED] = Change.OFFICER_HELD
_PUBLIC_CHANGE[Change.SCREENING_MATCH_CLEARED] = Change.OFFICER_RELEASED
_NOT_CARRIED: Final = (
    Change.DEBT,
    Change.REASSESSED,
    Change.ADJUSTED,
    Change.CONTROL_ANSWERED,
    Change.CONTROL_REMINDED,
    Change.CONTRADICTED,
)
"""Changes of what carriers and agencies do not read: to them the change is UNSPECIFIED."""


def public(table: Table) -> Table:
    """Return states as filers and carriers may read them.

    A confidential finding, a draw and a score leave the same behind: CUSTOMS_CHECK. A hold by a hit of the screening reads as one by an officer, or,
    where the hit came before the first decision, as what led to that. Version, change and lane are those that they heard of.
    """
    rows = table.rows
    early = table.bools("screening_early").values
    listed = table.bools("screening_hold").values & ~early
    change = _public(table, "change")
    # A cleared match that leaves the goods held by something else holds them like an officer.
    held_by_clearing = (change.values == Change.SCREENING_MATCH_CLEARED) & (table.ints("state").values == State.HELD)
    lane = _public(table, "lane")
    audit = table.bools("audit")
    columns: dict[str, Column] = {name: Strings.absent(rows) for name in _TEXTS}
    columns |= {name: Ints.absent(rows) for name in _NUMBERS}
    columns |= {
        "screening_hold": Bools.absent(rows),
        "officer_hold": Bools.of(table.bools("officer_hold").values | listed),
        "screening_early": Bools.absent(rows),
        "pre_loading_second_person": Bools.absent(rows),
        "version": _public(table, "version"),
        "lane": lane,
        "change": Ints.of(np.where(held_by_clearing, Change.OFFICER_HELD, _PUBLIC_CHANGE[change.values]), change.valid),
        "changed_at": _public(table, "changed_at"),
        # A new match of goods that are released is not shown.
        "audit": Bools.of(audit.values & (lane.values == Lane.BLUE), audit.valid),
        "decided_by": table.strings("decided_by").translate(_decider),
        "items": _plain_items(table),
        "charges": _plain_charges(table),
        **public_controls(table),
        **public_needs(table),
        **public_contradictions(table),
        **_without(table, "rights_matches"),
        **_without(table, "proposals"),
    }
    if listed.any():
        alone = listed & ~table.bools("officer_hold").values
        notices_of = Ragged.of_lengths(np.full(rows, len(STATED_BY_OFFICER)), Strings.of(STATED_BY_OFFICER * rows))
        columns["reasons"] = choose(alone, notices_of, table.ragged("reasons"))
    table = table.with_columns(columns)
    return table.with_columns({"findings": _open_findings(table)})


def _without(table: Table, name: str) -> dict[str, Column]:
    """Return a column of matches or proposals without any, if there is one: only officers and analysts read them."""
    if not table.may_have(name):
        return {}
    lines = table.child(name).take(np.zeros(0, np.int64))
    return {name: Ragged.of_lengths(np.zeros(table.rows, np.int64), lines)}


def carried(table: Table) -> Table:
    """Return states as carriers may read them: the goods and where they are, without parties, values and reasons."""
    table = public(table)
    columns = {name: table.column(name) for name in _CARRIED if table.may_have(name)}
    return Table(table.schema, table.rows, columns | _neutral_change(table) | carried_controls(table))


def _neutral_change(table: Table) -> dict[str, Column]:
    """Return the column of changes without those of what carriers and agencies do not read."""
    change = table.ints("change")
    return {"change": Ints.of(change.values, change.valid & ~np.isin(change.values, _NOT_CARRIED))}


def _public(table: Table, name: str) -> Ints:
    """Return the public values of a column: those that filers and carriers see, where they differ from the column."""
    public = table.ints(f"public_{name}")
    return choose(public.valid, public, table.ints(name))


def _plain_items(table: Table) -> Ragged:
    items, goods = table.ragged("items"), table.child("items")
    absent = Ints.absent(goods.rows)
    return Ragged(items.offsets, goods.with_columns({"inspection_result": absent, "violation": absent}))


def _plain_charges(table: Table) -> Ragged:
    """Return the charges without accounts: a reader of a vendor's scheme number could file under it."""
    charges, lines = table.ragged("charges"), table.child("charges")
    if "account" not in lines.names:
        return charges
    return Ragged(charges.offsets, lines.with_columns({"account": Strings.absent(lines.rows)}))


def _open_findings(table: Table) -> Ragged:
    """Return the findings without confidential ones and without rules, and one finding CUSTOMS_CHECK if it is among the reasons."""
    findings, found = table.ragged("findings"), table.child("findings")
    kept = np.flatnonzero(~found.bools("confidential").values)
    reasons = table.ragged("reasons")
    assert isinstance(reasons.values, Strings)
    checked = np.unique(reasons.owners()[reasons.values.isin({CUSTOMS_CHECK})])
    notices_of = found.take(kept)
    plain = Table(found.schema, len(kept), {name: notices_of.column(name) for name in _FINDING})
    neutral = Table(
        found.schema,
        len(checked),
        {
            "lane": table.ints("lane").take(checked),
            "reason": Strings.constant(CUSTOMS_CHECK, len(checked)),
            "sentence": Strings.constant(CHECKED, len(checked)),
        },
    )
    owners = np.concatenate([findings.owners()[kept], checked])
    order = np.argsort(owners, kind="stable")
    lengths = np.bincount(owners, minlength=table.rows)
    return Ragged.of_lengths(lengths, Table.concat([plain, neutral]).take(order))


def controlled(table: Table, agency: str) -> Table:
    """Return states as a partner agency may read them: the goods without prices and charges, where they are, and its own controls."""
    public_table = public(table)
    columns: dict[str, Column] = {
        name: public_table.column(name) for name in _CONTROLLED if public_table.may_have(name)
    }
    items, goods = table.ragged("items"), table.child("items")
    plain = Table(goods.schema, goods.rows, {name: goods.column(name) for name in _GOODS if goods.may_have(name)})
    columns["items"] = Ragged(items.offsets, plain)
    columns |= _neutral_change(public_table)
    return Table(table.schema, table.rows, columns | agency_controls(table, agency) | agency_needs(table, agency))


def readable(table: Table, role: Role, agency: str = "") -> Table:
    """Return states as a role may read them; `agency` is the id of an agency."""
    match role:
        case Role.CARRIER:
            return carried(table)
        case Role.FILER:
            return public(table)
        case Role.AGENCY:
            return controlled(table, agency)
        case _:
            return table


def statuses(table: Table, role: Role, *, agency: str = "") -> list[pb.ConsignmentStatus]:
    """Return the status of each state as a role may read it; `agency` is the id of an agency."""
    limits = _storage_limits(table)
    required = requires_second(table) if role not in (Role.FILER, Role.CARRIER, Role.AGENCY) else None
    loading = pre_loading_of(table) if concerns_loading(table) and role is not Role.AGENCY else None
    table = readable(table, role, agency)
    columns = dict(table.columns) | limits | {"direction": _direction(table)}
    if required is not None and required.any():
        columns["second_person"] = Bools.of(required)
    if loading is not None:
        columns["pre_loading"] = Ints.of(disclosed(loading) if role in (Role.FILER, Role.CARRIER) else loading)
    if role not in (Role.CARRIER, Role.AGENCY):
        columns["lower_bound"] = Bools.of(lower_bounds(table))
    grouped = {path: columns[column] for path, column in _PATHS.items() if column in columns}
    if "debt_charges" in grouped:
        grouped["debt_charges"] = _charges(table)
    messages = Table(_STATUS, table.rows, grouped).to_messages(pb.ConsignmentStatus)
    for message in messages:
        for charge in message.debt.charges:
            charge.sentence = sentence(
                charge.sentence,
                message.debt.currency,
                charge.basis if charge.HasField("basis") else None,
                charge.rate_ppm if charge.HasField("rate_ppm") else None,
                charge.specific_minor if charge.HasField("specific_minor") else None,
                charge.amount_minor if charge.HasField("amount_minor") else None,
                charge.forgone_minor if charge.HasField("forgone_minor") else None,
            )
    return messages


def _direction(table: Table) -> Ints:
    """Return the direction of each state: states of imports have none."""
    return Ints.of(np.where(exports(table), np.int64(DIRECTION_EXPORT), np.int64(DIRECTION_IMPORT)))


def set_claim(message: pb.Claim, claim: Claim) -> None:
    """Set which officer works on a consignment."""
    message.officer, message.handed_by, message.note = claim.officer, claim.handed_by, claim.note
    message.claimed_at.FromMicroseconds(claim.claimed_at)


def _storage_limits(table: Table) -> dict[str, Column]:
    """Return whether states lie in temporary storage, and when their time limit ends."""
    found = ends(table)
    limit = np.where(found.at.valid, np.int64(pb.STORAGE_LIMIT_KNOWN), np.int64(pb.STORAGE_LIMIT_UNKNOWN))
    return {
        "storage_limit": Ints.of(limit, found.stored),
        "storage_ends_at": Ints.of(found.at.values, found.at.valid & found.stored),
    }


def _charges(table: Table) -> Ragged:
    """Return the charges of states with the names that they have in messages."""
    charges, lines = table.ragged("charges"), table.child("charges")
    named = {_AMOUNTS_OF_CHARGE.get(name, name): lines.column(name) for name in lines.names}
    return Ragged(charges.offsets, Table(_CHARGES, lines.rows, named))


def lower_bounds(table: Table) -> NDArray[np.bool_]:
    """Return for each state whether the amount owed is a lower bound, because revenue noted that something is not covered."""
    notes = table.ragged("revenue_notes")
    least = np.zeros(table.rows, np.bool_)
    assert isinstance(notes.values, Strings)
    if NOT_COVERED in notes.values.dictionary:
        least[notes.owners()[notes.values.isin({NOT_COVERED})]] = True
    return least


def _decider(decided_by: str) -> str:
    return decided_by if decided_by in ("", AUTOMATIC) else OFFICER


def history(table: Table, role: Role, *, agency: str = "") -> list[pb.HistoryEntry]:
    """Return each state as one version of a history; hidden versions are omitted for filers, carriers and agencies."""
    if role in (Role.FILER, Role.CARRIER, Role.AGENCY):
        table = table.take(np.flatnonzero(~notices.hidden_versions(table)))
    columns = readable(table, role, agency).columns
    named = {path: columns[column] for path, column in _HISTORY_PATHS.items() if column in columns}
    return Table(_HISTORY, table.rows, named).to_messages(pb.HistoryEntry)


def notices_of(table: Table, *, carrier: bool) -> list[pb.Notice]:
    """Return the notices of states, in their order; those of carriers have neither the filer's reference nor reasons and debts."""
    of_kind = notices.kinds(table)
    if carrier:
        chosen = np.flatnonzero(carried_notices(table, of_kind))
        table, of_kind = table.take(chosen), of_kind[chosen]
    kinds = of_kind.tolist()
    loading = [0] * table.rows
    if concerns_loading(table):
        loading = np.where(announced(table), disclosed(pre_loading_of(table)), 0).tolist()
    limited = np.isin(of_kind, _OF_STORAGE)
    storage_ends = ends(table).at.tolist() if limited.any() else ()
    moved = np.isin(of_kind, _OF_TRANSIT) | ((of_kind == notices.NoticeKind.DISPOSED) & is_lost(table))
    reader = Role.CARRIER if carrier else Role.FILER
    transits = iter(statuses(table.take(np.flatnonzero(moved)), reader) if moved.any() else ())
    due = presentation_due(table)
    presentations = due.tolist() if due.valid.any() else None
    table = public(table).with_columns({"payable_minor": payable_now(table)})
    if carrier:
        table = table.with_columns(carried_controls(table))
    names = ["mrn", "house_document_number", "master_document_number"]
    if not carrier:
        names += ["local_reference", "debt_account"]
    texts = {name: table.strings(name).tolist() for name in names}
    if not carrier:
        texts["currency"] = table.strings("revenue_currency").tolist()
    numbers = {name: table.ints(name).values.tolist() for name in ("version", "state", "lane")}
    if not carrier:
        for name in ("debt_status", "filing_version"):
            numbers[name] = table.ints(name).values.tolist()
    least = [False] * table.rows if carrier else (lower_bounds(table) & ~owes_nothing(table)).tolist()
    amounts = {} if carrier else {name: table.ints(name).tolist() for name in _AMOUNTS}
    numbers["kind"], numbers["pre_loading"] = kinds, loading
    numbers["direction"] = _direction(table).values.tolist()
    changed = table.ints("changed_at").values.tolist()
    reasons = table.ragged("reasons")
    assert isinstance(reasons.values, Strings)
    flat = reasons.values.tolist()
    with_controls = has_controls(table)
    out: list[pb.Notice] = []
    for row in range(table.rows):
        facts = {name: values[row] for name, values in (*texts.items(), *numbers.items())}
        shown = () if carrier else flat[reasons.span(row)]
        notice = pb.Notice(reasons=shown, lower_bound=least[row], **facts)
        notice.time.FromMicroseconds(changed[row])
        if kinds[row] == notices.NoticeKind.CONTRADICTED:
            lines = table.ragged("contradictions").take(np.array([row])).values
            assert isinstance(lines, Table)
            notice.contradictions.extend(lines.to_messages(pb.Contradiction))
            notice.reasons[:] = [PARTS_CONTRADICT] if lines.rows else []
        if with_controls:
            notice.controls.extend(changed_controls(table, row))
        if limited[row] and (end := storage_ends[row]) is not None:
            notice.storage_ends_at.FromMicroseconds(end)
        if moved[row]:
            notice.transit.CopyFrom(next(transits).transit)
        if presentations is not None and (end := presentations[row]) is not None:
            notice.presentation_due_at.FromMicroseconds(end)
        for name, values in amounts.items():
            if values[row] is not None:
                setattr(notice, name, values[row])
        out.append(notice)
    return out

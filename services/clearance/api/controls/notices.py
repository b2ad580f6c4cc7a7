"""Notices of partner agencies: what happened to their own controls and licences, and nothing else of the goods than their work list has."""

from collections.abc import Mapping, Sequence
from typing import Final

from libs.columns import Table
from libs.server.identity import Role
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import licence_pb2
from services.clearance.api.messages import readable
from services.clearance.consignment.controls.control import asked_to_control, controls_of
from services.clearance.consignment.controls.views import changed_controls
from services.clearance.consignment.transitions import Change
from services.clearance.licences.last_day import is_about_last_days, kind_at
from services.clearance.licences.need import Need, NeedOutcome, needs_of
from services.clearance.notices.agencies import control_kind
from services.clearance.store.licences.register import Use

_DECIDED: Final = (Change.DECIDED, Change.AMENDED)
_RESTORING_NOTHING: Final = (
    Change.CONTROL_ORDERED,
    Change.CONTROL_CONCLUDED,
    Change.ARRIVED,
    Change.TRANSIT_ARRIVED,
    Change.ARRIVAL_REVERSED,
)
"""Changes that may follow an amendment in its transaction, and at its time."""
_KINDS: Final = {
    NeedOutcome.WRITTEN_OFF: pb.NOTICE_KIND_LICENCE_USED,
    NeedOutcome.CHECKED: pb.NOTICE_KIND_LICENCE_USED,
    NeedOutcome.USED_UP: pb.NOTICE_KIND_LICENCE_USED_UP,
    NeedOutcome.RESTORED: pb.NOTICE_KIND_LICENCE_RESTORED,
}
"""Kind of a notice by what happened to a licence; each kind of a version has a notice of its own, in this order."""


def agency_notices(table: Table, agency: str, uses: Mapping[str, Sequence[Use]]) -> list[pb.Notice]:
    """Return an agency's notices of versions of states, in their order; `uses` are those of licences by MRN.

    Of goods that it was never asked to control, an agency reads what happened to its licences, as in the list of their uses.
    """
    if is_about_last_days(table):
        return _about_last_days(table)
    asked = asked_to_control(table, agency).tolist()
    shown = readable(table, Role.AGENCY, agency)
    at, changes, versions = (table.ints(name).values.tolist() for name in ("changed_at", "change", "version"))
    # Of a version that filers and carriers do not see, an agency reads what happened to its control, at its own time.
    own = shown.with_columns({"changed_at": table.ints("changed_at")})
    texts = {name: shown.strings(name).tolist() for name in ("house_document_number", "master_document_number")}
    numbers = {name: shown.ints(name).values.tolist() for name in ("version", "state", "lane")}
    found: list[pb.Notice] = []
    for row, (mrn, controls, needs) in enumerate(
        zip(table.strings("mrn").tolist(), controls_of(table), needs_of(table), strict=True)
    ):
        licences = _changed(needs, uses.get(mrn, ()), agency, versions[row], at[row], changes[row])
        control = control_kind(controls, agency, at[row], changes[row])
        # None for a version in which none of its licences changed.
        for kind, named in {control: licences}.items() if control else _by_kind(licences).items():
            notice = pb.Notice(mrn=mrn, kind=kind, licences=named)  # type: ignore[arg-type]  # the numbers are those of the contract
            notice.time.FromMicroseconds(at[row])
            if asked[row]:
                notice.controls.extend(changed_controls(own, row))
                for name, values in (*texts.items(), *numbers.items()):
                    setattr(notice, name, values[row])
            found.append(notice)
    return found


def _about_last_days(table: Table) -> list[pb.Notice]:
    """Return the notices about the last days of licences, each with its licence and what is left of it."""
    found: list[pb.Notice] = []
    times = (table.ints(name).values.tolist() for name in ("changed_at", "licence_ends_at"))
    for at, end, (need,) in zip(*times, needs_of(table), strict=True):
        notice = pb.Notice(kind=int(kind_at(at, end)), licences=[_message(need, need.unit, 0)])  # type: ignore[arg-type]  # as below
        notice.time.FromMicroseconds(at)
        notice.licence_ends_at.FromMicroseconds(end)
        found.append(notice)
    return found


def _by_kind(licences: Sequence[licence_pb2.LicenceNeed]) -> dict[int, list[licence_pb2.LicenceNeed]]:
    """Return the licences of a version by the kind of their notice."""
    kinds = {
        int(kind): [each for each in licences if _KINDS[NeedOutcome(each.outcome)] == kind] for kind in _KINDS.values()
    }
    return {kind: own for kind, own in kinds.items() if own}


def _changed(
    needs: Sequence[Need], uses: Sequence[Use], agency: str, version: int, at: int, change: int
) -> list[licence_pb2.LicenceNeed]:
    """Return the licences of an agency that a version wrote off, checked or restored, or of which less is left than it needs."""
    units = {(*each.key, each.item_number): each for each in needs if each.authority == agency}
    found: list[licence_pb2.LicenceNeed] = []
    for use in uses:
        if use.need.authority != agency:
            continue
        need = units.get((*use.need.key, use.need.item_number), use.need)
        if use.version == version:
            outcome = NeedOutcome.CHECKED if need.checked_only else NeedOutcome.WRITTEN_OFF
            found.append(_message(use.need, need.unit, outcome))
        if use.restored_at == at and use.used_at < at and change not in _RESTORING_NOTHING:
            found.append(_message(use.need, need.unit, NeedOutcome.RESTORED))
    if change in _DECIDED:
        found += [
            _message(each, each.unit, NeedOutcome.USED_UP)
            for each in units.values()
            if each.outcome == NeedOutcome.USED_UP
        ]
    return found


def _message(need: Need, unit: str, outcome: int) -> licence_pb2.LicenceNeed:
    return licence_pb2.LicenceNeed(
        item_number=need.item_number,
        authority=need.authority,
        type=need.type,
        number=need.number,
        quantity_millionths=need.quantity_millionths,
        unit=unit,
        outcome=outcome,  # type: ignore[arg-type]  # the numbers are those of the contract
    )

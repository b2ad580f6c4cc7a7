"""Scans: whether each fits a control, and the states after it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from libs.columns import Table
from services.clearance.consignment.controls.control import Control, Scan, asked_to_control, controls_of, with_controls
from services.clearance.consignment.controls.steps import CONCLUDED, FOREIGN, UNKNOWN, named_controls


@dataclass(frozen=True, slots=True)
class RecordedScan:
    """A scan for one control."""

    number: int
    scan: Scan


def unfit_to_scan(states: Table, scans: Mapping[str, RecordedScan], agency: str) -> list[str]:
    """Return for each state why the scan cannot be recorded, "" if only the transitions may refuse it.

    `agency` is the id of the agency that records, which does so for its own controls; "" for an officer, who does so for those of customs.
    """

    def reason(control: Control | None) -> str:
        if control is None or (agency and control.authority != agency):
            return UNKNOWN
        if not control.is_open:
            return CONCLUDED
        if not control.examines:
            return "SCAN_UNFIT"
        return "CONTROL_OF_AGENCY" if control.authority != agency else ""

    asked = asked_to_control(states, agency) | (agency == "")
    named = named_controls(states, {mrn: each.number for mrn, each in scans.items()})
    return [reason(each) if known else FOREIGN for each, known in zip(named, asked.tolist(), strict=True)]


def scanned(states: Table, at: int, scans: Mapping[str, RecordedScan], by: str) -> Table:
    """Return states with the scans, before the event is applied."""

    def after(controls: list[Control], each: RecordedScan) -> list[Control]:
        scan = replace(each.scan, recorded_at=at, recorded_by=by)
        return [replace(control, scan=scan) if control.number == each.number else control for control in controls]

    named = [scans[mrn] for mrn in states.strings("mrn").tolist()]
    return with_controls(states, [after(old, each) for old, each in zip(controls_of(states), named, strict=True)])

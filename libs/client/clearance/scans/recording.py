"""Records what scanners' messages state, each for the one open scan or examination that its references lead to."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from libs.client.clearance.controls import carry_out
from libs.client.clearance.scans.messages import ScanMessage, refused
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.plain import plain
from luxor.clearance.v1 import clearance_pb2, control_pb2, controls_pb2

CONSIGNMENTS_MAX: Final = 100
"""Consignments that one reference may name: a message about more names none of them."""
_EXAMINING: Final = (control_pb2.CONTROL_FORM_SCAN, control_pb2.CONTROL_FORM_EXAMINATION)
_STATED: Final = [
    field.name
    for field in controls_pb2.ScanRecord.DESCRIPTOR.fields
    if field.name in control_pb2.Scan.DESCRIPTOR.fields_by_name
]
"""What a scan states, without who recorded it and when."""


async def record_messages(client: Client, messages: Sequence[ScanMessage], *, agency: bool) -> list[dict[str, Any]]:
    """Record the scans of messages, the oldest scan first, and return a plain result for each: file, outcome, MRN, control, and the error.

    Outcomes: recorded; repeated, where the control has this scan; superseded, where the goods have a later one, which stays; refused, also where
    they have another one of the same instant. Goods are looked up for each message, so that it meets what the one before changed.
    An agency records for its own controls, an officer for those of customs. Raise LuxorError for what concerns all messages.
    """
    results: list[dict[str, Any]] = []
    ordered = sorted(messages, key=lambda each: (each.record.taken_at.ToNanoseconds(), each.file))
    for message in ordered:
        kind, number = next(iter(message.references.items()))
        query = clearance_pb2.StatusQuery(page_size=CONSIGNMENTS_MAX, **{kind: number})  # type: ignore[arg-type]
        (status_result,) = (await client.status([query])).results
        if status_result.HasField("error") and status_result.error.reason != "CONSIGNMENT_UNKNOWN":
            results.append({"file": message.file, "outcome": "refused", "error": plain(status_result.error)})
            continue
        try:
            result = await _record(client, message, status_result, agency)
        except LuxorError as error:
            # Other refusals of a call hold for every message.
            if not error.reason.startswith("SCAN_") and error.reason != "REQUEST_REUSED":
                raise
            result = refused(message.file, error)
        results.append(result)
    return results


async def _record(
    client: Client, message: ScanMessage, status_result: clearance_pb2.StatusResult, agency: bool
) -> dict[str, Any]:
    outcome, status, control = _chosen(message, status_result, agency)
    result = {"file": message.file, "outcome": outcome, "mrn": status.mrn, "number": control.number}
    if outcome != "recorded":
        return result
    record = controls_pb2.ScanRecord()
    record.CopyFrom(message.record)
    record.consignment.mrn, record.number = status.mrn, control.number
    # What another caller recorded since the look-up is not replaced unseen.
    record.consignment.expected_version = status.version
    (answer,) = await carry_out(client, "scans", [record], request_id=message.request_id)
    return result | answer | ({"outcome": "refused"} if "error" in answer else {})


def _chosen(
    message: ScanMessage, status_result: clearance_pb2.StatusResult, agency: bool
) -> tuple[str, clearance_pb2.ConsignmentStatus, control_pb2.Control]:
    """Return the outcome, and the consignment and control that the message is about; raise LuxorError if that is not exactly one."""
    if status_result.next_page_token:
        named = f"more than {CONSIGNMENTS_MAX} consignments"
        raise LuxorError.from_reason("SCAN_GOODS_UNCLEAR", **_facts(message), named=named)
    candidates = list(_candidates(message, status_result.consignments, agency))
    for status, control in candidates:
        if control.HasField("scan") and not _differing(control.scan, message.record):
            return "repeated", status, control
    taken = message.record.taken_at.ToNanoseconds()
    still_open = [each for each in candidates if not each[1].HasField("concluded_at")]
    if still_open:
        mrn = still_open[0][0].mrn
        # Goods whose control was concluded after the image was taken may be those on the image as well.
        possible = still_open + [
            (status, control)
            for status, control in candidates
            if status.mrn != mrn and control.HasField("concluded_at") and control.concluded_at.ToNanoseconds() > taken
        ]
        if len(possible) > 1:
            named = ", ".join(f"control {control.number} of {status.mrn}" for status, control in possible[:5])
            raise LuxorError.from_reason("SCAN_GOODS_UNCLEAR", **_facts(message), named=named)
        candidates = [each for each in candidates if each[0].mrn == mrn]
    scanned = [each for each in candidates if each[1].HasField("scan")]
    if scanned:
        status, control = max(scanned, key=lambda each: each[1].scan.taken_at.ToNanoseconds())
        newest = control.scan.taken_at.ToNanoseconds()
        if newest > taken:
            return "superseded", status, control
        if newest == taken and still_open:
            differing = ", ".join(_differing(control.scan, message.record))
            raise LuxorError.from_reason(
                "SCAN_DIFFERS",
                file=message.file,
                value=status.mrn,
                number=still_open[0][1].number,
                other=control.number,
                fields=differing,
            )
    if not still_open:
        raise LuxorError.from_reason("SCAN_CONTROL_MISSING", **_facts(message))
    return "recorded", *still_open[0]


def _candidates(
    message: ScanMessage, consignments: Sequence[clearance_pb2.ConsignmentStatus], agency: bool
) -> Iterator[tuple[clearance_pb2.ConsignmentStatus, control_pb2.Control]]:
    """Yield the scans and examinations of the caller that all references of the message lead to."""
    for status in consignments:
        filing = status.filing
        numbers = {
            "mrn": status.mrn,
            "house_document_number": filing.house_document.number,
            "master_document_number": filing.master_document.number,
        }
        if any(numbers[kind] != number for kind, number in message.references.items()):
            continue
        for control in status.controls:
            own = agency or not control.authority  # an agency reads its own controls alone
            if own and control.form in _EXAMINING and message.control in (0, control.number):
                yield status, control


def _differing(scan: control_pb2.Scan, record: controls_pb2.ScanRecord) -> list[str]:
    return [name for name in _STATED if getattr(scan, name) != getattr(record, name)]


def _facts(message: ScanMessage) -> dict[str, str]:
    numbers = " and ".join(f"{kind} {number}" for kind, number in message.references.items())
    return {"file": message.file, "references": f"{numbers}, control {message.control}" if message.control else numbers}

"""Checks of requests about scans."""

import re
from collections.abc import Sequence
from typing import Final

from libs.server.errors import item_error
from luxor.clearance.v1 import control_pb2, controls_pb2
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api.requests import AHEAD_MICROS_MAX, FIRST_MICROS, is_plain, valid_by_mrn
from services.clearance.consignment.controls.control import Scan
from services.clearance.consignment.controls.scans import RecordedScan
from services.clearance.store import Store

PLACE_CHARACTERS_MAX: Final = 512
IMAGE_CHARACTERS_MAX: Final = 2_048
DEVICE_CHARACTERS_MAX: Final = 70
ANALYST_CHARACTERS_MAX: Final = 70
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE: Final = re.compile(r"(?=.{3,100}\Z)[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")
"""Type and subtype, RFC 6838, section 4.2."""
_RESULTS: Final = frozenset(control_pb2.ScanResult.values()) - {0}


def scans(
    messages: Sequence[controls_pb2.ScanRecord], agency: str, now: int
) -> tuple[dict[str, RecordedScan], dict[int, ItemError]]:
    """Return the valid scans by MRN, and the errors of the others by place; `agency` is the id of the agency that records, "" for an officer."""
    return valid_by_mrn(messages, "scans", lambda message, path: _scan(message, path, agency, now))


def _scan(message: controls_pb2.ScanRecord, path: str, agency: str, now: int) -> RecordedScan | ItemError:
    if message.result not in _RESULTS:
        return item_error("SCAN_RESULT_MISSING", f"{path}.result", message.result)
    suspicious = message.result == control_pb2.SCAN_RESULT_SUSPICIOUS
    place = message.place.strip()
    if suspicious != bool(place) or len(message.place) > PLACE_CHARACTERS_MAX or not is_plain(message.place):
        return item_error("SCAN_PLACE_UNCLEAR", f"{path}.place", characters_max=PLACE_CHARACTERS_MAX)
    if not _is_image(message, agency):
        return item_error("SCAN_IMAGE_MALFORMED", f"{path}.image")
    taken = message.taken_at.seconds * 1_000_000 + message.taken_at.nanos // 1_000
    if not message.HasField("taken_at") or not FIRST_MICROS <= taken <= now + AHEAD_MICROS_MAX:
        return item_error("SCAN_TIME_OUT_OF_BOUNDS", f"{path}.taken_at")
    if not message.device.strip() or len(message.device) > DEVICE_CHARACTERS_MAX or not is_plain(message.device):
        return item_error("SCAN_DEVICE_MALFORMED", f"{path}.device")
    if len(message.image_analyst) > ANALYST_CHARACTERS_MAX or not is_plain(message.image_analyst):
        return item_error("SCAN_ANALYST_MALFORMED", f"{path}.image_analyst", characters_max=ANALYST_CHARACTERS_MAX)
    scan = Scan(
        result=message.result,
        taken_at=taken,
        device=message.device,
        place=place,
        image=message.image,
        case_number=message.case_number,
        sha256=message.sha256,
        media_type=message.media_type,
        image_analyst=message.image_analyst,
    )
    return RecordedScan(message.number, scan)


def _is_image(message: controls_pb2.ScanRecord, agency: str) -> bool:
    """Return whether an image is stated completely, or is missing where it may be."""
    stated = bool(message.image) + bool(message.case_number)
    if not stated:
        missing = not message.sha256 and not message.media_type
        return missing and message.result == control_pb2.SCAN_RESULT_UNREADABLE
    # For agencies there are no cases.
    if stated > 1 or message.case_number < 0 or (agency and message.case_number):
        return False
    if len(message.image) > IMAGE_CHARACTERS_MAX or not is_plain(message.image) or message.image.isspace():
        return False
    return _SHA256.fullmatch(message.sha256) is not None and _MEDIA_TYPE.fullmatch(message.media_type) is not None


async def without_unattached(
    store: Store,
    messages: Sequence[controls_pb2.ScanRecord],
    valid: dict[str, RecordedScan],
    errors: dict[int, ItemError],
) -> None:
    """Move scans to the errors whose image is not attached to the case that they name."""
    named = {
        (each.scan.case_number, bytes.fromhex(each.scan.sha256)) for each in valid.values() if each.scan.case_number
    }
    if not named:
        return
    async with store.database.connection() as reading:
        attached = {key for key in named if await store.contents.attachment(reading, *key) is not None}
    for place, message in enumerate(messages):
        if place in errors or not message.case_number:
            continue
        if (message.case_number, bytes.fromhex(message.sha256)) not in attached:
            errors[place] = item_error("SCAN_IMAGE_UNATTACHED", f"scans[{place}].case_number", message.case_number)
            del valid[message.consignment.mrn]

"""Images of scans and what was seen on them, recorded for controls."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import grpc

from luxor.clearance.v1 import cases_pb2, controls_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.clearance import controls
from tests.clearance.controls import (
    DOCUMENTS,
    EXAMINATION,
    SCAN,
    arrive,
    concluded,
    conclusion,
    notices,
    order,
    ordered,
    state,
)
from tests.clearance.desk import filings, mrns
from tests.clearance.inspections import status
from tests.clearance.scans import CLEAN, SHA256, SUSPICIOUS, UNREADABLE, recorded, scan
from tests.clearance.service_client import SECONDS, House, refused_with

PICTURE = "https://bazaar.example/p/17.jpg?size=large"


async def test_a_scan_is_on_its_control_beside_the_picture_of_the_listing_and_filers_see_nothing(house: House) -> None:
    def named(_: int, row: Consignment) -> None:
        row.items[0].picture_url, row.items[0].picture_sha256 = PICTURE, "AB" * 32

    pictured = filings(["GREEN-1"], change=named)
    await house.desk.consume(pictured)
    (mrn,) = mrns(pictured)
    await arrive(house)
    # The arrival released it: an officer holds it again and orders the scan.
    stub = await house.stub("officer", "olga")
    await stub.HoldConsignments(
        pb.HoldConsignmentsRequest(request_id="h", consignments=[pb.ConsignmentRef(mrn=mrn)], reason="LOOK"),
        timeout=SECONDS,
    )
    await ordered(house, order(mrn, SCAN, reason="LOOK"))
    readers = (("filer", "shop"), ("carrier", "wings"))
    before = [await _seen(house, mrn, *reader) for reader in readers]
    heard = len(await notices(house))
    suspicious = scan(mrn, result=SUSPICIOUS, place="Lower left corner.", image_analyst="analyst 12")
    assert await recorded(house, suspicious) == [""]
    seen = await status(house, mrn)
    (found,) = [each.scan for each in seen.controls]
    assert (found.result, found.place, found.image, found.sha256, found.media_type, found.device, found.recorded_by) == (
        SUSPICIOUS, "Lower left corner.", "xray:17", SHA256, "image/jpeg", "FRA-3", "olga",
    )  # fmt: skip
    assert found.image_analyst == "analyst 12"
    assert found.recorded_at == seen.changed_at
    assert (seen.change, seen.state) == (pb.CHANGE_SCAN_RECORDED, pb.STATE_EXAMINATION)
    assert (seen.items[0].picture_url, seen.items[0].picture_sha256) == (PICTURE, "AB" * 32)
    assert [await _seen(house, mrn, *reader) for reader in readers] == before
    assert len(await notices(house)) == heard
    assert "xray" not in str(before)
    # A repetition changes nothing, another scan replaces the first, and the control is concluded by a person.
    assert await recorded(house, suspicious) == [""]
    assert (await status(house, mrn)).version == seen.version
    assert await recorded(house, scan(mrn, result=UNREADABLE, image="", sha256="", media_type=""), request_id="s2") == [
        ""
    ]
    after = await status(house, mrn)
    assert (after.version, after.controls[0].scan.result, after.controls[0].scan.image) == (
        seen.version + 1,
        UNREADABLE,
        "",
    )
    assert (await concluded(house, conclusion(mrn)))[0].state == pb.STATE_HELD
    assert (await status(house, mrn)).controls[0].scan.result == UNREADABLE
    assert await recorded(house, scan(mrn), request_id="s3") == ["CONTROL_CONCLUDED"]


async def test_a_request_of_which_every_scan_is_refused_may_be_corrected_under_its_id(house: House) -> None:
    first, second = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await ordered(house, *(order(mrn, SCAN, reason="LOOK") for mrn in (first, second)))
    # Refused for what it states, and for what it names; a repetition is judged again.
    assert await recorded(house, scan(first, device=""), scan(second, 9)) == [
        "SCAN_DEVICE_MALFORMED",
        "CONTROL_UNKNOWN",
    ]
    assert await recorded(house, scan(first), scan(second, 9)) == ["", "CONTROL_UNKNOWN"]
    # One scan took effect, so the id is used up, and its answer is repeated.
    assert await recorded(house, scan(first), scan(second, 9)) == ["", "CONTROL_UNKNOWN"]
    request = controls_pb2.RecordScansRequest(request_id="s1", scans=[scan(first), scan(second)])
    call = (await controls.controls(house)).RecordScans(request, timeout=SECONDS)
    assert await refused_with(call) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED")
    assert [each.HasField("scan") for mrn in (first, second) for each in (await status(house, mrn)).controls] == [
        True,
        False,
    ]


async def _seen(house: House, mrn: str, role: str, ident: str) -> pb.ConsignmentStatus:
    if role == "filer":
        return await status(house, mrn, role, ident)
    stub = await house.stub(role, ident)
    query = pb.StatusQuery(house_document_number="H-GREEN-1")
    (result,) = (await stub.GetStatus(pb.GetStatusRequest(queries=[query]), timeout=SECONDS)).results
    return result.consignments[0]


async def test_a_scanner_s_system_is_an_agency_and_reaches_its_own_controls_only(house: House) -> None:
    mrn, other = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await ordered(
        house,
        order(mrn, SCAN, authority="xray-fra", reason="LOOK"),
        order(other, EXAMINATION, authority="toys", reason="LOOK"),
    )
    await ordered(house, order(mrn, DOCUMENTS), order(other, SCAN, reason="LOOK"), request_id="o2")
    own = {"role": "agency", "by": "xray-fra"}
    assert await recorded(house, scan(mrn), scan(other), **own) == ["", "CONSIGNMENT_UNKNOWN"]
    assert await recorded(house, scan(mrn, 2), request_id="s2", **own) == ["CONTROL_UNKNOWN"]
    assert await recorded(house, scan(mrn, 3), request_id="s3", **own) == ["CONTROL_UNKNOWN"]
    read = await status(house, mrn, "agency", "xray-fra")
    assert [each.scan.image for each in read.controls] == ["xray:17"]
    assert not read.items[0].picture_url
    # Officers record for customs: neither for agencies, nor on a request for documents.
    assert await recorded(house, scan(mrn), scan(other, 2), request_id="s4") == ["CONTROL_OF_AGENCY", ""]
    assert await recorded(house, scan(mrn, 2), request_id="s5") == ["SCAN_UNFIT"]
    assert await recorded(house, scan(other, 2, version=1), request_id="s6") == ["VERSION_CHANGED"]
    for role in ("filer", "carrier", "analyst", "operator"):
        call = (await controls.controls(house, role, "shop")).RecordScans(
            controls_pb2.RecordScansRequest(request_id="x", scans=[scan(mrn)]), timeout=SECONDS
        )
        assert await refused_with(call) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    assert await state(house, mrn) == "EXAMINATION"


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"result": 0}, "SCAN_RESULT_MISSING"),
    ({"result": 9}, "SCAN_RESULT_MISSING"),
    ({"result": SUSPICIOUS}, "SCAN_PLACE_UNCLEAR"),
    ({"result": SUSPICIOUS, "place": "x" * 513}, "SCAN_PLACE_UNCLEAR"),
    ({"place": "Corner."}, "SCAN_PLACE_UNCLEAR"),
    ({"image": ""}, "SCAN_IMAGE_MALFORMED"),
    ({"image": "x" * 2_049}, "SCAN_IMAGE_MALFORMED"),
    ({"image": "a\nb"}, "SCAN_IMAGE_MALFORMED"),
    ({"case_number": 1}, "SCAN_IMAGE_MALFORMED"),
    ({"sha256": "5A" * 32}, "SCAN_IMAGE_MALFORMED"),
    ({"sha256": ""}, "SCAN_IMAGE_MALFORMED"),
    ({"media_type": "jpeg"}, "SCAN_IMAGE_MALFORMED"),
    ({"media_type": "image/" + "x" * 95}, "SCAN_IMAGE_MALFORMED"),
    ({"result": UNREADABLE, "image": ""}, "SCAN_IMAGE_MALFORMED"),
    ({"device": " "}, "SCAN_DEVICE_MALFORMED"),
    ({"device": "x" * 71}, "SCAN_DEVICE_MALFORMED"),
    ({"image_analyst": "x" * 71}, "SCAN_ANALYST_MALFORMED"),
    ({"image_analyst": "a\nb"}, "SCAN_ANALYST_MALFORMED"),
    ({"taken_at": 946_684_799_999_999}, "TIME_OUT_OF_BOUNDS"),
    ({"taken_at": 4_000_000_000_000_000}, "SCAN_TIME_OUT_OF_BOUNDS"),
    ({"image": "", "case_number": 7}, "SCAN_IMAGE_UNATTACHED"),
    (
        {
            "result": SUSPICIOUS,
            "place": "x" * 512,
            "image": "x" * 2_048,
            "device": "x" * 70,
            "image_analyst": "x" * 70,
            "media_type": "image/" + "x" * 94,
        },
        "",
    ),
    ({"taken_at": 946_684_800_000_000}, ""),
]


async def test_a_scan_is_complete_or_refused(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    await ordered(house, order(mrn, SCAN, reason="LOOK"))
    for number, (fields, reason) in enumerate(MALFORMED):
        assert await recorded(house, scan(mrn, **fields), request_id=f"s{number}") == [reason], fields


async def test_an_image_may_be_attached_to_a_case(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    await ordered(house, order(mrn, SCAN, reason="LOOK"))
    content = b"\xff\xd8\xff\xe0" + bytes(16)
    digest = sha256(content).hexdigest()
    case = CaseServiceStub(await house.service.channel("officer", "olga"))
    opened = await case.OpenCase(
        cases_pb2.OpenCaseRequest(request_id="c", title="Image", relation=cases_pb2.CASE_RELATION_SELECTION),
        timeout=SECONDS,
    )
    number = opened.case.number
    attached: dict[str, Any] = {"image": "", "case_number": number, "sha256": digest}
    assert await recorded(house, scan(mrn, **attached)) == ["SCAN_IMAGE_UNATTACHED"]
    await case.UploadContent(
        cases_pb2.UploadContentRequest(sha256=digest, bytes=len(content), data=content), timeout=SECONDS
    )
    assert await recorded(house, scan(mrn, **attached), request_id="s2") == ["SCAN_IMAGE_UNATTACHED"]
    await case.AttachToCases(
        cases_pb2.AttachToCasesRequest(
            request_id="t",
            cases=[cases_pb2.CaseRef(number=number)],
            sha256=digest,
            name="17.jpg",
            content_type=cases_pb2.CONTENT_TYPE_JPEG,
        ),
        timeout=SECONDS,
    )
    assert await recorded(house, scan(mrn, **attached), request_id="s3") == [""]
    assert (await status(house, mrn)).controls[0].scan.case_number == number
    assert await recorded(
        house, scan(mrn, result=CLEAN, sha256="0" * 64, image="", case_number=number), request_id="s4"
    ) == ["SCAN_IMAGE_UNATTACHED"]

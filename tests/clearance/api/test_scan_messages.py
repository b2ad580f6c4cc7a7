"""Messages of a scanner are recorded for the control that they are about: once, and never for another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from libs.client.clearance.scans.mapping import read_mapping
from libs.client.clearance.scans.messages import messages_at, read_messages
from libs.client.clearance.scans.recording import CONSIGNMENTS_MAX, record_messages
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.customs.time import datetime_of
from libs.server.transport.tls import LocalCA
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from tests.clearance.controls import DOCUMENTS, EXAMINATION, SCAN, arrive, concluded, conclusion, order, ordered
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.inspections import status
from tests.clearance.scans import SUSPICIOUS, scan
from tests.clearance.scans import recorded as recorded_by_hand
from tests.clearance.service_client import House
from tests.support.scan_messages import MRN, mapping_at, message_at

HOUSE_ONLY = f'<Number kind="MRN">{MRN}</Number>'
BY_MASTER = ("  mrn:", "  master_document: \"x:Report/x:Goods/x:Number[@kind='MASTER']\"\n  mrn:")
BY_CONTROL = ("  mrn:", "  control: x:Report/x:Goods/x:No\n  mrn:")


def message(directory: Path, *changes: tuple[str, str], name: str = "17.xml") -> Path:
    """Write the message, with a time that is past for every clock."""
    return message_at(directory, ("2026-11-30", "2020-01-02"), *changes, name=name)


async def run(house: House, *paths: Path, role: str = "officer", ident: str = "olga", mapping: Any = ()) -> list[str]:
    """Record the messages; return outcome or reason of each, with the number of the control."""
    results = await results_of(house, *paths, role=role, ident=ident, mapping=mapping)
    return [
        each["error"]["reason"] if each["outcome"] == "refused" else f"{each['outcome']} {each['number']}"
        for each in results
    ]


async def results_of(
    house: House, *paths: Path, role: str = "officer", ident: str = "olga", mapping: Any = ()
) -> list[dict[str, Any]]:
    messages, refused = read_messages(messages_at(paths), read_mapping(mapping_at(paths[0].parent, *mapping)))
    assert not refused
    party = LocalCA(house.service.data_dir / "tls", "luxor").issue(role, ident)
    async with Client({"clearance": house.service.target}, party) as client:
        return await record_messages(client, messages, agency=role == "agency")


async def ordered_scans(house: House, *references: str, form: int = SCAN, **fields: Any) -> list[str]:
    """File goods that arrive, and order a control of each."""
    filed = await house.filed(references)
    await arrive(house)
    await ordered(house, *(order(mrn, form, reason="LOOK", **fields) for mrn in filed))
    return filed


async def test_a_message_is_recorded_once_and_the_image_is_a_reference(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    path = message(tmp_path, (MRN, mrn))
    assert await run(house, path) == ["recorded 1"]
    seen = await status(house, mrn)
    (found,) = [each.scan for each in seen.controls]
    assert (found.place, found.image, found.device, found.image_analyst, found.recorded_by) == (
        "Lower left corner.", "https://xray.example/scans/17", "FRA-XRAY-3", "analyst 12", "olga",
    )  # fmt: skip
    assert seen.change == pb.CHANGE_SCAN_RECORDED
    # Again, twice in one run, from another file, and after the control ended.
    copy = message(tmp_path, (MRN, mrn), name="18.xml")
    assert await run(house, path, copy, path) == ["repeated 1"] * 3
    assert (await status(house, mrn)).version == seen.version
    await concluded(house, conclusion(mrn))
    assert await run(house, path) == ["repeated 1"]
    # A new message for a concluded control.
    new = message(tmp_path, (MRN, mrn), ("2026-000017", "2026-000018"), ("corner", "half"), name="19.xml")
    assert await run(house, new) == ["SCAN_CONTROL_MISSING"]


async def test_the_same_identity_with_other_content_is_refused(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1", form=EXAMINATION)
    assert await run(house, message(tmp_path, (MRN, mrn))) == ["recorded 1"]
    later = message(tmp_path, (MRN, mrn), ("corner", "half"), ("08:15", "09:15"))
    assert await run(house, later) == ["REQUEST_REUSED"]
    assert (await status(house, mrn)).controls[0].scan.place == "Lower left corner."


async def test_a_refused_message_is_corrected_under_its_identity(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    wrong = message(tmp_path, (MRN, mrn), ("5a" * 32, "5a"))
    assert await run(house, wrong) == ["SCAN_IMAGE_MALFORMED"]
    assert await run(house, message(tmp_path, (MRN, mrn))) == ["recorded 1"]


async def test_no_message_replaces_a_scan_of_the_same_instant(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    first = message(tmp_path, (MRN, mrn), name="b.xml")
    other = message(tmp_path, (MRN, mrn), ("000017", "000018"), ("corner", "half"), name="a.xml")
    assert await run(house, first) == ["recorded 1"]
    # Whoever records the directory, and in whatever order.
    for ident in ("olga", "otto"):
        results = await results_of(house, first, other, ident=ident)
        assert [each["outcome"] for each in results] == ["refused", "repeated"]
        error = results[0]["error"]
        assert error["reason"] == "SCAN_DIFFERS"
        assert (
            f"a.xml differs in place from the scan of the same instant that control 1 of {mrn} has" in error["message"]
        )
        assert f"luxor control scan {mrn} 1" in error["hint"]
    assert (await status(house, mrn)).controls[0].scan.place == "Lower left corner."
    by_hand = scan(mrn, result=SUSPICIOUS, place="Half.", taken_at=_micros(first))
    assert await recorded_by_hand(house, by_hand) == [""]
    assert await run(house, first) == ["SCAN_DIFFERS"]
    # The scan of the instant is that of the former control, and a person would record it for the open one.
    await concluded(house, conclusion(mrn))
    await ordered(house, order(mrn, SCAN, reason="LOOK"), request_id="o2")
    (result,) = await results_of(house, first)
    assert f"control 1 of {mrn} has" in result["error"]["message"]
    assert f"luxor control scan {mrn} 2" in result["error"]["hint"]


async def test_a_scan_that_another_officer_recorded_meanwhile_is_not_replaced_unseen(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    path = message(tmp_path, (MRN, mrn))
    look_up = Client.status

    async def overtaken(client: Client, queries: Any, **options: Any) -> pb.GetStatusResponse:
        answer = await look_up(client, queries, **options)
        assert await recorded_by_hand(house, scan(mrn, taken_at=_micros(path) + 1), by="otto") == [""]
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Client, "status", overtaken)
        assert await run(house, path) == ["VERSION_CHANGED"]
    assert await run(house, path) == ["superseded 1"]
    assert (await status(house, mrn)).controls[0].scan.recorded_by == "otto"


async def test_a_message_of_former_goods_is_not_recorded_for_others_under_the_same_document(
    house: House, tmp_path: Path
) -> None:
    def same_house(_: int, row: Consignment) -> None:
        row.house_document.number = "H-1"

    table = filings(["RED-1", "RED-2"], change=same_house)
    await house.desk.consume(table)
    first, second = mrns(table)
    await arrive(house)
    by_house = (HOUSE_ONLY, '<Number kind="HOUSE">H-1</Number>')
    early = message(tmp_path, by_house, name="early.xml")
    late = message(tmp_path, by_house, ("08:15", "09:15"), ("000017", "000018"), name="late.xml")
    await ordered(house, order(first, SCAN, reason="LOOK"))
    assert await run(house, late) == ["recorded 1"]
    await concluded(house, conclusion(first))
    ended = (await status(house, first)).controls[0].concluded_at
    await ordered(house, order(second, SCAN, reason="LOOK"), request_id="o2")
    assert await run(house, early, late) == ["SCAN_GOODS_UNCLEAR", "repeated 1"]
    assert not (await status(house, second)).controls[0].HasField("scan")
    # The control of the others was open until an instant: an image of this instant is that of the second goods, one before it is not clear.
    for micros, outcome in ((ended.ToMicroseconds() - 1, "SCAN_GOODS_UNCLEAR"), (ended.ToMicroseconds(), "recorded 1")):
        taken = datetime_of(micros).isoformat()
        exact = message(tmp_path, by_house, ("2020-01-02T08:15:00Z", taken), ("000017", "000019"), name="exact.xml")
        assert await run(house, exact) == [outcome]
    assert (await status(house, second)).controls[0].scan.taken_at == ended


async def test_a_later_scan_stays_in_whatever_order_messages_come(house: House, tmp_path: Path) -> None:
    mrn, other = await ordered_scans(house, "RED-1", "RED-2")
    late = message(tmp_path, (MRN, mrn), ("08:15", "09:15"), ("000017", "000018"), name="a.xml")
    early = message(tmp_path, (MRN, mrn), name="b.xml")
    between = message(tmp_path, (MRN, mrn), ("08:15", "08:45"), ("000017", "000019"), name="c.xml")
    # Of one run, the oldest is recorded first; of two, the older one changes nothing.
    assert await run(house, late, early) == ["recorded 1", "recorded 1"]
    assert await run(house, late, early) == ["superseded 1", "repeated 1"]
    assert await run(house, between) == ["superseded 1"]
    assert (await status(house, mrn)).controls[0].scan.taken_at.ToJsonString() == "2020-01-02T09:15:00Z"
    # A second control does not make an old message new; the other goods have nothing to do with it.
    await concluded(house, conclusion(mrn))
    assert await run(house, between) == ["superseded 1"]
    await ordered(house, order(mrn, SCAN, reason="LOOK"), request_id="o2")
    assert await run(house, between, early) == ["superseded 1", "superseded 1"]
    assert await run(house, message(tmp_path, (MRN, other), ("FRA-XRAY-3", "FRA-XRAY-4"))) == ["recorded 1"]


async def test_a_house_document_leads_to_the_one_order_under_it(house: House, tmp_path: Path) -> None:
    def same_house(_: int, row: Consignment) -> None:
        row.house_document.number = "H-1"

    table = filings(["RED-1", "RED-2"], change=same_house)
    await house.desk.consume(table)
    first, second = mrns(table)
    await arrive(house)
    path = message(tmp_path, (HOUSE_ONLY, '<Number kind="HOUSE">H-1</Number>'))
    assert await run(house, path) == ["SCAN_CONTROL_MISSING"]
    await ordered(house, order(first, SCAN, reason="LOOK"), order(second, DOCUMENTS))
    await ordered(house, order(second, SCAN, reason="LOOK"), request_id="o2")
    (result,) = await results_of(house, path)
    assert result["error"]["reason"] == "SCAN_GOODS_UNCLEAR"
    for text in ("17.xml", f"control 1 of {first}", f"control 2 of {second}", "house_document_number H-1"):
        assert text in result["error"]["message"]
    numbered = message(tmp_path, (HOUSE_ONLY, '<Number kind="HOUSE">H-1</Number><No>2</No>'))
    assert await run(house, numbered, mapping=[BY_CONTROL]) == ["recorded 2"]
    assert (await status(house, second)).controls[1].HasField("scan")
    assert not (await status(house, first)).controls[0].HasField("scan")


async def test_all_references_of_a_message_have_to_agree(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    both = f'<Number kind="MRN">{mrn}</Number><Number kind="HOUSE">H-RED-1</Number>'
    wrong = message(tmp_path, (HOUSE_ONLY, both.replace("RED-1", "RED-2")))
    assert await run(house, wrong) == ["SCAN_CONTROL_MISSING"]
    assert await run(house, message(tmp_path, (HOUSE_ONLY, both))) == ["recorded 1"]
    unknown = message(tmp_path, (MRN, mrn[:-1] + "X"), name="18.xml")
    assert await run(house, unknown) in (["SCAN_CONTROL_MISSING"], ["MRN_MALFORMED"])
    assert await run(house, message(tmp_path, (MRN, "x" * 19), name="19.xml")) == ["MRN_MALFORMED"]


@pytest.mark.parametrize(("goods", "outcome"), [(CONSIGNMENTS_MAX, "recorded 1"), (CONSIGNMENTS_MAX + 1, "SCAN_GOODS_UNCLEAR")])  # fmt: skip
async def test_a_container_is_what_is_filed_as_the_master_document(
    house: House, tmp_path: Path, goods: int, outcome: str
) -> None:
    filed = await house.filed(["RED-1", *(f"GREEN-{number}" for number in range(1, goods))])
    await arrive(house)
    await ordered(house, order(filed[0], SCAN, reason="LOOK"))
    path = message(tmp_path, (HOUSE_ONLY, f'<Number kind="MASTER">{MASTER}</Number>'))
    assert await run(house, path, mapping=[BY_MASTER]) == [outcome]


async def test_an_agency_records_for_its_own_controls_and_an_officer_for_those_of_customs(
    house: House, tmp_path: Path
) -> None:
    mrn, other = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await ordered(house, order(mrn, SCAN, reason="LOOK"), order(other, SCAN, reason="LOOK"))
    await ordered(house, order(mrn, SCAN, authority="xray-fra", reason="LOOK"), request_id="o2")
    path = message(tmp_path, (MRN, mrn))
    foreign = message(tmp_path, (MRN, other), ("000017", "000018"), name="18.xml")
    assert await run(house, path, foreign, role="agency", ident="xray-fra") == ["recorded 2", "SCAN_CONTROL_MISSING"]
    assert await run(house, path, role="agency", ident="xray-fra") == ["repeated 2"]
    assert await run(house, path) == ["recorded 1"]
    for role in ("filer", "operator"):
        with pytest.raises(LuxorError, match="ROLE_NOT_ALLOWED"):
            await results_of(house, path, role=role, ident="shop")


async def test_what_the_service_refuses_stops_no_other_message(house: House, tmp_path: Path) -> None:
    mrn, other = await ordered_scans(house, "RED-1", "RED-2")
    bad = message(tmp_path, (MRN, mrn), ("5a" * 32, "5a"), name="bad.xml")
    good = message(tmp_path, (MRN, other), ("000017", "000018"), name="good.xml")
    results = await results_of(house, bad, good)
    assert [(each["outcome"], each["file"]) for each in results] == [("refused", str(bad)), ("recorded", str(good))]
    assert results[0]["error"]["reason"] == "SCAN_IMAGE_MALFORMED"
    assert results[0]["error"]["path"] == "scans[0].image"


async def test_a_scan_recorded_by_hand_is_replaced_by_a_later_message_alone(house: House, tmp_path: Path) -> None:
    (mrn,) = await ordered_scans(house, "RED-1")
    path = message(tmp_path, (MRN, mrn))
    taken = _micros(path)
    for request, (at, outcome) in enumerate(
        ((taken + 1, "superseded 1"), (taken, "SCAN_DIFFERS"), (taken - 1, "recorded 1"))
    ):
        assert await recorded_by_hand(house, scan(mrn, taken_at=at), request_id=f"s{request}") == [""]
        assert await run(house, path) == [outcome]


def _micros(path: Path) -> int:
    """Return when the image of a message was taken."""
    ((read,), _) = read_messages([path], read_mapping(mapping_at(path.parent)))
    return read.record.taken_at.ToMicroseconds()

"""Texts of notices over real gRPC, TLS and PostgreSQL: only when asked for, in the language of the deployment, to each reader its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from libs.server.config.error import ConfigError
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import notice_checks_pb2
from luxor.clearance.v1.notice_checks_pb2_grpc import NoticeCheckServiceStub
from services.clearance.__main__ import assemble
from services.clearance.notices.texts import KEYS
from tests.clearance.desk import MASTER, Desk, neighbours_at_work
from tests.clearance.service_client import NOBODY, SECONDS, House, arrivals, refused_with
from tests.support.services import running

ENVIRON = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
GERMAN = """
phrases: {at_least: "mindestens {amount}", unknown: nicht bekannt, none: keine, nothing: nichts}
filer:
  HELD: {title: Angehalten, text: "Der Zoll hält {mrn} ({local_reference}) an, zu zahlen: {payable}, gezahlt: {paid}."}
carrier:
  ARRIVED: {title: Angekommen, text: "{house_document} ist angekommen."}
"""


async def pulled(house: House, role: str, ident: str, **request: Any) -> list[pb.Notice]:
    stub = await house.stub(role, ident)
    return list((await stub.PullNotices(pb.PullNoticesRequest(**request), timeout=SECONDS)).notices)


async def test_notices_have_texts_and_codes_only_for_callers_that_name_a_language(house: House) -> None:
    (mrn,) = await house.filed(["BARE-1"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await house.desk.told()
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        bare = await pulled(house, role, ident)
        written = await pulled(house, role, ident, language="en")
        assert bare
        assert {(each.title, each.text, each.language, each.check_code) for each in bare} == {("", "", "", "")}
        assert all(each.title and mrn in each.text and each.language == "en" for each in written)
        for each in written:
            for name in ("title", "text", "language", "check_code"):
                each.ClearField(name)
        assert written == bare
    filer, carrier = (
        await pulled(house, "filer", "shop", language="en"),
        await pulled(house, "carrier", "wings", language="en"),
    )
    assert [each.title for each in filer] == ["Consignment held, debt not settled", "Goods arrived, not released"]
    assert "To be paid at the border: 3.80 EUR. Paid: not known." in filer[0].text
    assert [(each.title, each.check_code) for each in carrier] == [("Arrival recorded, not released", "")]
    stub = NoticeCheckServiceStub(await house.service.channel("gateway", "web"))
    assert filer[0].check_code in filer[0].text
    check = notice_checks_pb2.CheckNoticeRequest(code=filer[0].check_code, mrn=mrn)
    found = await stub.CheckNotice(check, timeout=SECONDS)
    assert (found.outcome, found.payable_minor) == (notice_checks_pb2.CHECK_OUTCOME_GENUINE, filer[0].payable_minor)


async def test_a_language_that_is_no_tag_is_refused(house: House) -> None:
    stub = await house.stub()
    for tag in ("d", "de_AT", "de-", "x" * 9, "de\n", "en-" + "-".join(["abcd"] * 6) + "-abc"):
        refused = await refused_with(stub.PullNotices(pb.PullNoticesRequest(language=tag), timeout=SECONDS))
        assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "LANGUAGE_MALFORMED"), tag


async def test_the_longest_tag_is_accepted_and_an_unknown_language_is_english(house: House) -> None:
    await house.filed(["RED-1"])
    await house.desk.told()
    longest = "en-" + "-".join(["abcd"] * 6) + "-ab"
    assert len(longest) == 35
    for tag in (longest, "tlh"):
        assert [each.language for each in await pulled(house, "filer", "shop", language=tag)] == ["en"]


async def test_a_cursor_leads_on_in_another_language(house: House) -> None:
    await house.filed(["RED-1"])
    await house.desk.told()
    stub = await house.stub()
    page = await stub.PullNotices(pb.PullNoticesRequest(language="en"), timeout=SECONDS)
    assert len(page.notices) == 1
    rest = pb.PullNoticesRequest(cursor=page.next_cursor, language="de")
    assert not (await stub.PullNotices(rest, timeout=SECONDS)).notices


async def test_an_administration_adds_a_language_and_what_it_lacks_is_english_and_reported(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "de.yaml").write_text(GERMAN, encoding="utf-8")
    environ = ENVIRON | {"LUXOR_CLEARANCE_NOTICE_TEXTS": str(tmp_path)}
    async with (
        running("clearance", assemble, database_url, environ=environ) as service,
        neighbours_at_work() as (neighbours, channel),
    ):
        house = House(service, Desk(service.service.database, neighbours, channel))
        (mrn,) = await house.filed(["RED-1"])
        await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
        await house.desk.told()
        filer = await pulled(house, "filer", "shop", language="de-AT")
        carrier = await pulled(house, "carrier", "wings", language="DE")
    assert [(each.language, each.title) for each in filer] == [
        ("de", "Angehalten"),
        ("en", "Goods arrived, not released"),
    ]
    assert filer[0].text == f"Der Zoll hält {mrn} (RED-1) an, zu zahlen: 3.80 EUR, gezahlt: nicht bekannt."
    assert [(each.language, each.text) for each in carrier] == [("de", "H-RED-1 ist angekommen.")]
    lacking = sum(map(len, KEYS.values())) - 2
    assert REGISTRY.get_sample_value("luxor_clearance_notice_texts_missing", {"language": "de"}) == lacking
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    reported = [line for line in lines if line["reason"] == "NOTICE_TEXTS_MISSING"]
    assert {(line["level"], line["language"]) for line in reported} == {("warning", "de")}
    missing = [name for line in reported for name in line["texts"].split(", ")]
    assert len(missing) == lacking
    present = {"filer.HELD", "carrier.ARRIVED"}
    assert set(missing) == {f"{reader}.{key}" for reader, keys in KEYS.items() for key in keys} - present


async def test_texts_that_are_refused_stop_the_start_and_say_where(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "de.yaml").write_text(GERMAN.replace("{mrn}", "{mnr}"), encoding="utf-8")
    environ = ENVIRON | {"LUXOR_CLEARANCE_NOTICE_TEXTS": str(tmp_path)}
    with pytest.raises(
        ConfigError,
        match=r"LUXOR_CLEARANCE_NOTICE_TEXTS names texts that are refused: .*de\.yaml:4: filer\.HELD\.text: \{mnr\} is no",
    ):
        async with running("clearance", assemble, database_url, environ=environ):
            pass

"""A list changes under a running risk: officers are told of later hits, and clearance by risk's feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console

from libs.cli.commands.risk.assessment import show_assessments
from libs.client.risk.assessments import plain_assessments, plain_later_screening
from libs.columns import Table
from libs.customs.partitions import PARTITIONS
from libs.server.config.server_config import ConfigError
from luxor.feed.v1 import feed_pb2
from luxor.feed.v1.feed_pb2_grpc import FeedServiceStub
from luxor.risk.v1 import risk_pb2 as pb
from luxor.risk.v1.screening_columns_pb2 import ScreeningColumns
from services.risk.__main__ import assemble
from tests.risk.filings import table
from tests.risk.screening.list_files import NAMES, write
from tests.risk.service_client import request, stub
from tests.support.services import Running, running

FENCHURCH = "Fenchurch Rickmansworth"


@dataclass
class Risk:
    """Risk as it runs, and its directory of lists."""

    service: Running
    directory: Path


@pytest_asyncio.fixture
async def risk(database_url: str, tmp_path: Path) -> AsyncIterator[Risk]:
    write(
        tmp_path / "lists.yaml",
        text="format: 1\nlists:\n  - {name: OWN, kind: own, files: [own.csv], published: 2026-11-01}\n",
    )
    write(tmp_path / "own.csv", *NAMES)
    environ = {
        "LUXOR_RISK_LISTS": str(tmp_path),
        "LUXOR_RISK_LISTS_CHECK_SECONDS": "0.1",
        "LUXOR_RISK_RESCREENING_SECONDS": "0.1",
    }
    async with running("risk", assemble, database_url, environ=environ) as service:
        yield Risk(service, tmp_path)


async def test_officers_and_clearance_are_told_of_hits_that_a_changed_list_brings(
    risk: Risk, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = table([{"consignee": {"name": FENCHURCH}}, {}])
    await (await stub(risk.service)).AssessConsignments(request(rows), timeout=10)
    write(risk.directory / "own.csv", *NAMES, FENCHURCH)
    officer = await stub(risk.service, "officer", "o1")
    asked = pb.ListAssessmentsRequest(mrn=rows.strings("mrn")[0])
    async with asyncio.timeout(60):
        while not (told := await officer.ListAssessments(asked, timeout=10)).later_screenings:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.05)
    (later,) = told.later_screenings
    assert (later.version, later.match_threshold) == (1, 870)
    assert later.lists.startswith("OWN:2026-11-01:")
    # The answer stays what it was.
    (answer,) = told.assessments
    assert Table.decode(answer.assessment).strings("lists")[0] != later.lists
    assert answer.assessment.findings.offsets[-1:] in ([], [0])
    show_assessments(Console(width=200), asked.mrn, plain_assessments(told), [plain_later_screening(later)])
    shown = capsys.readouterr().out
    assert "screened again" in shown
    assert "entry 5 of OWN:2026-11-01:" in shown
    assert "1000 of 1000 for Fenchurch Rickmansworth" in shown
    feed = FeedServiceStub(await risk.service.channel("service", "clearance"))  # type: ignore[no-untyped-call]
    begun = await feed.ReadSnapshot(
        feed_pb2.ReadSnapshotRequest(consumer="clearance", partitions=range(PARTITIONS)), timeout=10
    )
    state = Table.parse(ScreeningColumns, begun.payload)
    assert state.strings("mrn").tolist() == [asked.mrn]
    page = await feed.PullEvents(
        feed_pb2.PullEventsRequest(
            consumer="clearance",
            after=[feed_pb2.Position(cursor=feed_pb2.Cursor(epoch=1), partitions=range(PARTITIONS))],
            wait_millis=5_000,
        ),
        timeout=10,
    )
    (batch,) = page.batches
    event = Table.parse(ScreeningColumns, batch.payload)
    assert event.strings("mrn").tolist() == [asked.mrn]
    assert event.child("findings").strings("list_entry").tolist() == ["5"]


async def test_a_strong_level_below_the_level_of_hits_stops_the_start(database_url: str) -> None:
    environ = {"LUXOR_RISK_MATCH_PERMILLE": "950"}
    with pytest.raises(ConfigError, match="LUXOR_RISK_MATCH_STRONG_PERMILLE is 930, below LUXOR_RISK_MATCH_PERMILLE"):
        async with running("risk", assemble, database_url, environ=environ):
            pass

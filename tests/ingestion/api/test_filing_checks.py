"""Checks of filings in the service: as included they warn, and a file of the administration may refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, Consignment
from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import filers_pb2 as filers
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub
from services.ingestion.__main__ import assemble
from tests.ingestion.consignments import clear, consignment
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import running

ACCEPTED, REFUSED = pb.SUBMISSION_STATUS_ACCEPTED, pb.SUBMISSION_STATUS_REFUSED


@pytest.mark.parametrize(
    ("text", "status", "severity"),
    [("", ACCEPTED, errors_pb2.SEVERITY_WARNING), ("levels: {DESCRIPTION_VAGUE: reject}", REFUSED, errors_pb2.SEVERITY_ERROR)],
)  # fmt: skip
async def test_a_vague_description_is_warned_of_or_refused_as_the_file_says(
    database_url: str, tmp_path: Path, text: str, status: int, severity: int
) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(text, encoding="utf-8")
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(file)} if text else {}
    vague, good = consignment(0), consignment(1)
    vague.items[0].description = "Gift"
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        stub = await stub_of(service)
        answer = await submit(stub, [vague, good], "r1")
        assert [each.status for each in answer.results] == [status, ACCEPTED]
        (error,) = answer.results[0].errors
        assert (error.reason, error.path, error.value) == (
            "DESCRIPTION_VAGUE",
            "consignments[0].items[0].description",
            "Gift",
        )
        assert error.severity == severity
        assert "it has only general words" in error.message
        assert not answer.results[1].errors
        assert await submit(stub, [vague, good], "r1") == answer, "a repeated request gets its first answer"


async def test_what_was_accepted_before_a_rule_refused_it_has_the_same_receipt_when_it_is_filed_again(
    database_url: str, tmp_path: Path
) -> None:
    """By the rule of idempotency alone: the same content of the same filer; not other content, another filer or a further version."""
    strict = tmp_path / "checks.yaml"
    strict.write_text("levels: {DESCRIPTION_VAGUE: reject}", encoding="utf-8")
    vague, other, unknown = consignment(0), consignment(0), consignment(2)
    for row in (vague, other, unknown):
        row.items[0].description = "Gift"
    other.gross_mass_mg += 1
    amended, changed, further = consignment(1), consignment(1), consignment(1)
    for row, replaced in ((amended, 1), (changed, 1), (further, 2)):
        row.items[0].description, row.function, row.amended_version = "Gift", MESSAGE_FUNCTION_AMEND, replaced
    changed.gross_mass_mg += 1
    named = consignment(1)
    named.CopyFrom(amended)
    named.ClearField("local_reference")
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        first = await submit(stub, [vague, consignment(1), amended], "r1")
        assert [each.status for each in first.results] == [ACCEPTED] * 3
    named.amended_mrn = first.results[1].receipt.mrn
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(strict)}
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        stub = await stub_of(service)
        again = await submit(stub, [vague, consignment(1), amended, named], "r1-again")
        receipts = [each.receipt for each in first.results]
        assert [each.receipt for each in again.results] == [*receipts, receipts[2]]
        assert [each.status for each in again.results] == [ACCEPTED] * 4
        for place in (0, 2, 3):
            (error,) = again.results[place].errors
            assert (error.reason, error.severity) == ("DESCRIPTION_VAGUE", errors_pb2.SEVERITY_WARNING)
        assert (await submit(stub, [vague, consignment(1), amended], "r1")).results[:3] == again.results[:3]
        refused = await submit(stub, [other, unknown, changed, further, vague, amended], "r2")
        assert [each.status for each in refused.results] == [REFUSED] * 4 + [ACCEPTED] * 2
        for result in refused.results[:4]:
            (error,) = result.errors
            assert (error.reason, error.severity) == ("DESCRIPTION_VAGUE", errors_pb2.SEVERITY_ERROR)
        stranger = await stub_of(service, ident="stranger")
        assert [each.status for each in (await submit(stranger, [vague, amended, named], "r3")).results] == [
            REFUSED
        ] * 3


async def test_what_names_a_refused_filing_may_have_any_form(database_url: str) -> None:
    """Neither a reference nor a version beyond its bounds is looked up, and each row has its own errors."""
    rows = [consignment(number) for number in range(8)]
    for row in rows[2:]:
        row.function, row.amended_version = MESSAGE_FUNCTION_AMEND, 1
    for row in rows:
        row.items[0].commodity_code = "no code"
    rows[0].local_reference, rows[1].local_reference = "\x00", "R" * 5_000
    rows[2].amended_version, rows[3].amended_version = 2**31 - 1, 0
    rows[4].ClearField("amended_version")
    rows[5].amended_mrn, rows[6].amended_mrn, rows[7].function = "26XX", "\x00", 77
    async with running("ingestion", assemble, database_url) as service:
        answer = await submit(await stub_of(service), rows, "r1")
        assert [each.status for each in answer.results] == [REFUSED] * len(rows)
        for place, result in enumerate(answer.results):
            assert f"consignments[{place}].items[0].commodity_code" in {error.path for error in result.errors}


async def test_a_minimum_set_is_accepted_and_completed_by_an_amendment_with_the_same_mrn(database_url: str) -> None:
    whole = consignment(0)
    early = consignment(0)
    early.ClearField("nature")
    early.items[0].ClearField("price")
    early.items[0].ClearField("commodity_code")
    async with running("ingestion", assemble, database_url) as service:
        stub = await stub_of(service)
        (first,) = (await submit(stub, [early], "r1")).results
        assert first.status == ACCEPTED
        assert {(each.reason, each.severity) for each in first.errors} == {
            ("STAGE_INCOMPLETE", errors_pb2.SEVERITY_WARNING)
        }
        assert "For the simplified declaration it lacks: " in first.errors[1].message
        assert (await submit(stub, [early], "r2")).results[0] == first, "a repeated filing gets the same answer"
        whole.function, whole.amended_version = MESSAGE_FUNCTION_AMEND, 1
        (second,) = (await submit(stub, [whole], "r3")).results
        assert (second.status, second.receipt.mrn, second.receipt.version) == (ACCEPTED, first.receipt.mrn, 2)
        assert not second.errors


@pytest.mark.parametrize("level", ["", "warn", "reject"])
async def test_late_filings_are_counted_once_and_warned_of_or_refused_at_the_level_of_the_administration(
    database_url: str, tmp_path: Path, level: str
) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text(f"levels: {{FILED_LATE: {level}}}", encoding="utf-8")
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(file)} if level else {}
    late, other = consignment(0), consignment(1)
    late.transport.departure_time.GetCurrentTime()
    late.transport.arrival_time.seconds = late.transport.departure_time.seconds + 600
    late.transport.departure_time.seconds -= 600
    before = counted()
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        stub = await stub_of(service)
        for request_id in ("r1", "r1", "r2"):
            first, second = (await submit(stub, [late, other], request_id)).results
            assert [each.reason for each in first.errors] == ["FILED_LATE"] * bool(level)
            assert (first.status, second.status) == (REFUSED if level == "reject" else ACCEPTED, ACCEPTED)
            assert not second.errors
    assert counted() - before == (level != "reject")


async def test_the_declaration_of_what_was_filed_before_it_is_late_by_its_own_deadline(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "checks.yaml"
    file.write_text("levels: {FILED_LATE: reject}", encoding="utf-8")
    environ = {"LUXOR_INGESTION_FILING_CHECKS": str(file)}
    declared, corrected = consignment(0), consignment(1)
    before = counted()
    async with running("ingestion", assemble, database_url, environ=environ) as service:
        stub = await stub_of(service)
        for row in (declared, corrected):
            row.transport.departure_time.GetCurrentTime()
            row.transport.departure_time.seconds += 600
        rows = [before_declaration(each) for each in (declared, corrected)]
        assert [each.receipt.quality.timeliness for each in (await submit(stub, rows, "r1")).results] == [100, 100]
        for row in (declared, corrected, *rows):
            row.function, row.amended_version = MESSAGE_FUNCTION_AMEND, 1
            row.transport.departure_time.seconds -= 1200
            row.transport.arrival_time.seconds = row.transport.departure_time.seconds + 1200
        for request_id in ("r2", "r2", "r3"):
            # Nothing refuses a version for its deadline: without it the goods would not be declared at all.
            versions = (await submit(stub, [declared, rows[1]], request_id)).results
            assert [each.receipt.version for each in versions] == [2, 2]
            assert [each.receipt.quality.timeliness for each in versions] == [0, 100]
        assert counted() - before == 1
        declared.amended_version, corrected.amended_version = 2, 2
        declared.transport.departure_time.seconds += 3600
        declared.transport.arrival_time.seconds += 3600
        versions = (await submit(stub, [declared, corrected], "r4")).results
        assert [each.receipt.quality.timeliness for each in versions] == [0, 0]
        assert counted() - before == 2
        card = FilerServiceStub(await service.channel("filer", "shop"))
        today = datetime.now(UTC).date()
        days = {"from_day": (today - timedelta(days=1)).isoformat(), "to_day": (today + timedelta(days=1)).isoformat()}
        (found,) = (await card.GetScorecard(filers.GetScorecardRequest(**days), timeout=SECONDS)).scorecards
        assert (found.first.timeliness.total, found.newest.timeliness.total) == (200, 0)
        assert [(each.first, each.newest) for each in found.reasons if each.reason == "FILED_LATE"] == [(0, 2)]


def before_declaration(row: Consignment) -> Consignment:
    """Return the minimum set of a consignment."""
    made = Consignment()
    made.CopyFrom(row)
    for path in ("nature", "items[0].price", "items[0].commodity_code"):
        clear(made, path)
    return made


def counted() -> float:
    return REGISTRY.get_sample_value("luxor_ingestion_late_total") or 0.0

"""Checks of filings in the service: as included they warn, and a file of the administration may refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from luxor.errors.v1 import errors_pb2
from luxor.ingestion.v1 import ingestion_pb2 as pb
from services.ingestion.__main__ import assemble
from tests.ingestion.consignments import consignment
from tests.ingestion.service_client import stub_of, submit
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

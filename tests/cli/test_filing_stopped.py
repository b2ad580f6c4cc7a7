"""`luxor file` that is stopped half-way says what was accepted, and that filing again is safe."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from libs.cli.common import INTERRUPTED, Context
from libs.cli.main import luxor
from libs.client.errors import LuxorError
from libs.client.filing.files import write_jsonl
from libs.client.filing.submission import file_all
from libs.simulator import Simulator
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2


class Ingestion:
    """Stands in for a client whose service stops answering: a real one does so only after minutes."""

    def __init__(self, answered: int, stop: Callable[[], None]) -> None:
        self._left = answered
        self._stop = stop

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def submit(
        self, consignments: Iterable[Consignment], *, request_id: str | None = None
    ) -> ingestion_pb2.SubmitConsignmentsResponse:
        rows: Sequence[Consignment] = list(consignments)
        if not self._left:
            self._stop()
        self._left -= 1
        response = ingestion_pb2.SubmitConsignmentsResponse()
        for row in rows:
            receipt = ingestion_pb2.Receipt(local_reference=row.local_reference, mrn="26DE00329000000BR0")
            response.results.add(status=ingestion_pb2.SUBMISSION_STATUS_ACCEPTED, receipt=receipt)
        return response


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    path = tmp_path / "parcels.jsonl"
    with path.open("wb") as file:
        write_jsonl(file, (row for batch in Simulator(3, "everyday").batches(50) for row in batch))
    return path


def deadline() -> None:
    raise LuxorError.from_reason("CLIENT_DEADLINE")


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def filed(monkeypatch: pytest.MonkeyPatch, path: Path, ingestion: Ingestion, *options: str) -> Result:
    monkeypatch.setattr(Context, "client", lambda *_: ingestion)
    monkeypatch.setitem(file_all.__kwdefaults__, "patience_seconds", 0.0)
    arguments = ["file", str(path), "--batch", "10", "--in-flight", "1", *options]
    return CliRunner(env={"COLUMNS": "200"}).invoke(luxor, arguments)


@pytest.mark.parametrize(
    ("stop", "reason", "code"), [(deadline, "CLIENT_DEADLINE", 1), (interrupt, "FILING_STOPPED", INTERRUPTED)]
)
def test_what_was_accepted_is_stated_and_that_filing_again_is_safe(
    monkeypatch: pytest.MonkeyPatch, parcels: Path, stop: Callable[[], None], reason: str, code: int
) -> None:
    result = filed(monkeypatch, parcels, Ingestion(2, stop), "--json")
    assert result.exit_code == code, result.output
    error: dict[str, Any] = json.loads(result.stderr.splitlines()[-1])["error"]
    assert error["reason"] == reason
    assert "20 consignments accepted, 0 refused, 10 sent without an answer" in error["sentence"]
    assert "Filing the same file again is safe" in error["sentence"]


def test_a_person_reads_the_same(monkeypatch: pytest.MonkeyPatch, parcels: Path) -> None:
    result = filed(monkeypatch, parcels, Ingestion(3, interrupt))
    assert "30 consignments accepted" in result.output
    assert "nothing is filed twice" in result.output


def test_what_fails_before_anything_was_sent_is_stated_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert filed(monkeypatch, empty, Ingestion(0, deadline)).exit_code == 0

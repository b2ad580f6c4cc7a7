"""`luxor part file, link, list`: what is asked of ingestion and what is shown; nobody answers but the test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message

from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.filing import parts as client_parts
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.ingestion.v1 import parts_pb2 as pb

MRN = "26DE07329000001XR8"


class Ingestion:
    """Answers calls, in order, and remembers them."""

    def __init__(self, *answers: Message) -> None:
        self.requests: list[Any] = []
        self.callers: list[tuple[str, str]] = []
        self.answers = list(answers)

    async def ask(self, service: str, _: object, method: str, request: Message, kind: type[Message]) -> Message:
        assert (service, f"{method}Request") == ("ingestion", request.DESCRIPTOR.name)
        self.requests.append(request)
        answer = self.answers.pop(0)
        assert isinstance(answer, kind)
        return answer

    async def pages(
        self, _: object, service: str, stub: object, method: str, request: Message, kind: type[Message]
    ) -> AsyncIterator[Message]:
        yield await self.ask(service, stub, method, request, kind)


def called(monkeypatch: pytest.MonkeyPatch, ingestion: Ingestion, *arguments: str, code: int = 0) -> Result:
    @asynccontextmanager
    async def client(_: Context, role: str, ident: str) -> AsyncIterator[Ingestion]:
        ingestion.callers.append((role, ident))
        yield ingestion

    monkeypatch.setattr(Context, "client", client)
    monkeypatch.setattr(client_parts, "pages", ingestion.pages)
    result = CliRunner(env={"COLUMNS": "140"}).invoke(luxor, ["part", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_parts_of_a_file_are_filed_and_each_has_its_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "parts.jsonl"
    part = {"reference": "P-1", "role": "PARTY_ROLE_PLATFORM", "order": {"platform": "shop", "number": "O-1"}}
    path.write_text(
        "\n".join([json.dumps(part), '{"reference": "P-2", "rolle": 1}', json.dumps(part | {"reference": "P-3"})])
    )
    refused = ItemError(reason="PARTY_ROLE_NOT_REGISTERED", path="parts[1].role", message="No role.", hint="Ask.")
    answer = pb.FilePartsResponse(
        results=[
            pb.PartResult(receipt=pb.PartReceipt(reference="P-1", last_day="2026-12-01")),
            pb.PartResult(errors=[refused]),
        ]
    )
    ingestion = Ingestion(answer)
    result = called(monkeypatch, ingestion, "file", str(path), "--as", "shop", code=1)
    assert [each.reference for each in ingestion.requests[0].parts] == ["P-1", "P-3"]
    assert ingestion.callers == [("filer", "shop")]
    assert "1 accepted, 2 refused" in result.output
    assert "line 3, P-3: No role." in result.output
    assert "line 2, P-2" in result.output


def test_a_linking_key_is_random_unless_it_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = set()
    for _ in range(2):
        ingestion = Ingestion(pb.LinkConsignmentsResponse(results=[pb.LinkResult()]))
        result = called(monkeypatch, ingestion, "link", MRN)
        (link,) = ingestion.requests[0].links
        assert (link.mrn, link.linking_key in result.output) == (MRN, True)
        keys.add(link.linking_key)
    assert len(keys) == 2
    assert min(map(len, keys)) >= 22
    error = ItemError(reason="RECEIPT_UNKNOWN", path="links[0].mrn", message="Unknown.", hint="Check.")
    ingestion = Ingestion(pb.LinkConsignmentsResponse(results=[pb.LinkResult(error=error)]))
    result = called(monkeypatch, ingestion, "link", MRN, "--key", "k" * 22, code=1)
    assert "RECEIPT_UNKNOWN" in result.output
    assert ingestion.requests[0].links[0].linking_key == "k" * 22


def test_parts_are_shown_with_the_values_that_differ_and_the_roles_that_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    response = pb.ListPartsResponse(missing_roles=[pb.PARTY_ROLE_CARRIER])
    joined = response.parts.add(
        receipt=pb.PartReceipt(reference="P-1", last_day="2026-12-01"),
        role=pb.PARTY_ROLE_PAYMENT_PROVIDER,
        filer="bank",
        state=pb.PART_STATE_JOINED,
    )
    consignment = joined.consignments.add(mrn=MRN, filing_version=2, added_elements=["payment.reference"])
    consignment.contradictions.add(path="payment.payer", consignment_value="Bob", part_value="Ada", stated_by="shop")
    consignment.contradictions.add(path="payment.amount", part_value="1 EUR")
    waiting = response.parts.add(
        receipt=joined.receipt, role=pb.PARTY_ROLE_POST, filer="post", state=pb.PART_STATE_WAITING
    )
    later = waiting.consignments.add(mrn=MRN)
    later.not_added.add(reason="ELEMENT_MISSING", path="nature", message="Missing.")
    ingestion = Ingestion(response)
    output = called(monkeypatch, ingestion, "list", "--mrn", MRN, "--as", "officer/otto").output
    assert ingestion.requests[0].mrn == MRN
    for text in (
        "P-1 payment provider of bank: joined",
        f"{MRN} version 2",
        "adds payment.reference",
        "payment.payer: consignment Bob (shop), part Ada",
        "payment.amount: consignment not shown, part 1 EUR",
        "P-1 post of post: waiting until 2026-12-01",
        "not added yet",
        "ELEMENT_MISSING  Missing.",
        "A part of the carrier is missing.",
    ):
        assert text in output, text
    assert "There are no parts." in called(monkeypatch, Ingestion(pb.ListPartsResponse()), "list").output

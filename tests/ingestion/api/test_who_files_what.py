"""Who sees and does what in ingestion: each RPC in each role, with filings of the caller, with those of another filer, and with none at all.

The expectations are those of docs/filers.md, docs/parts.md and docs/operating/secure.md. Each RPC of the contract has a line; a new one
fails here until it has one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from google.protobuf.message import Message

import luxor.ingestion.v1
from libs.columns import Table
from libs.customs.identifiers import mrn
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import filers_pb2 as filers
from luxor.ingestion.v1 import ingestion_pb2 as pb
from luxor.ingestion.v1 import parts_pb2 as parts
from tests.ingestion.amendments import amendment
from tests.ingestion.consignments import consignment
from tests.ingestion.part_client import CARRIER, PLATFORM, Ingestion, ingestion, part
from tests.support.every_rpc import call, methods_of, name_of, reasons

CALLERS: Final = {
    "filer": "shop", "carrier": "wings", "agency": "food", "gateway": "web", "officer": "olga", "analyst": "anna", "operator": "otis",
    "treasury": "DE", "service": "clearance",
}  # fmt: skip
OWN, OTHER, NONE = "OWN", "OTHER", "NONE"
"""The owner of the filing that a request is about: the caller, another filer, or nobody."""
SEEN, NOTHING, SHUT = "SEEN", "NOTHING", "ROLE_NOT_ALLOWED"
UNKNOWN: Final = (SEEN, "AMENDED_FILING_UNKNOWN", "AMENDED_FILING_UNKNOWN")
RECEIPT: Final = (SEEN, "RECEIPT_UNKNOWN", "RECEIPT_UNKNOWN")
LISTED: Final = (SEEN, NOTHING, NOTHING)
ALL: Final = (SEEN, SEEN, NOTHING)
EXPECTED: Final[dict[str, dict[str, tuple[str, str, str]]]] = {
    "IngestionService/SubmitConsignments": {"filer": UNKNOWN},
    "IngestionService/SubmitConsignmentColumns": {"filer": UNKNOWN},
    # Accepted; the controls and the cost come from neighbours, who are not there.
    "IngestionService/CheckConsignments": {"filer": ("CHECK_PART_UNAVAILABLE", *UNKNOWN[1:])},
    "IngestionService/GetReceipts": {"filer": RECEIPT, "officer": (SEEN, SEEN, "RECEIPT_UNKNOWN")},
    "FilerService/PutFilers": {"officer": (SEEN, SEEN, SEEN)},
    # Services read who represents whom, and what clearance needs of a filer, of all of them.
    "FilerService/ListFilers": {"filer": LISTED, "officer": ALL, "analyst": ALL, "service": (NOTHING, NOTHING, NOTHING)},
    "FilerService/ListFilerVersions": {"officer": ALL, "analyst": ALL},
    "FilerService/GetScorecard": {"filer": LISTED, "officer": ALL, "analyst": ALL},
    # Whether there is such a consignment, the answer does not say.
    "PartService/FileParts": {"filer": (SEEN, SEEN, SEEN)},
    "PartService/LinkConsignments": {"filer": RECEIPT},
    "PartService/ListParts": {"filer": LISTED, "officer": ALL},
}  # fmt: skip
"""By RPC and role: with a filing of the caller, one of another filer, and none. Other roles are refused with ROLE_NOT_ALLOWED."""
FILINGS: Final = 40
PRIVATE: Final = ("Ada Example", "Meadow Lane", "zenith", "blouse", "SEALED")
"""What no answer about a filing of another filer contains."""


@dataclass(frozen=True)
class Filing:
    """What a request is about."""

    number: int
    mrn: str
    filer: str
    owner: str

    @property
    def changed(self) -> Consignment:
        return amendment(self.number, 2, 1 + self.number, mrn=self.mrn)


def _columns(filing: Filing, ident: str) -> Message:
    table = Table.from_messages([filing.changed], ConsignmentColumns, Consignment)
    return pb.SubmitConsignmentColumnsRequest(request_id=ident, consignments=table.encode(ConsignmentColumns))


def _part(filing: Filing, ident: str) -> Message:
    document = parts.HouseDocumentLink(carrier_identifier="AIR-1", number=f"H{filing.number:09d}")
    content = Consignment(gross_mass_mg=1)
    filed = part(ident, CARRIER, content, house_document=document, consignment_filer=filing.filer)
    return parts.FilePartsRequest(request_id=ident, parts=[filed])


def _card(filing: Filing, ident: str) -> Message:
    now = datetime.now(UTC)
    days = [(now + timedelta(days=each)).date().isoformat() for each in (-1, 1)]
    return filers.GetScorecardRequest(filer=filing.filer, from_day=days[0], to_day=days[1])


REQUESTS: Final[dict[str, Callable[[Filing, str], Message]]] = {
    "SubmitConsignments": lambda filing, ident: pb.SubmitConsignmentsRequest(request_id=ident, consignments=[filing.changed]),
    "SubmitConsignmentColumns": _columns,
    "CheckConsignments": lambda filing, ident: pb.CheckConsignmentsRequest(consignments=[filing.changed]),
    "GetReceipts": lambda filing, ident: pb.GetReceiptsRequest(keys=[pb.ReceiptKey(mrn=filing.mrn)]),
    "PutFilers": lambda filing, ident: filers.PutFilersRequest(
        request_id=ident, filers=[filers.Filer(id=f"new-{ident}", name="New")]
    ),
    "ListFilers": lambda filing, ident: filers.ListFilersRequest(id=filing.filer),
    "ListFilerVersions": lambda filing, ident: filers.ListFilerVersionsRequest(id=filing.filer),
    "GetScorecard": _card,
    "FileParts": _part,
    "LinkConsignments": lambda filing, ident: parts.LinkConsignmentsRequest(
        request_id=ident, links=[parts.ConsignmentLink(mrn=filing.mrn, linking_key=ident.ljust(22, "k"))]
    ),
    "ListParts": lambda filing, ident: parts.ListPartsRequest(mrn=filing.mrn),
}  # fmt: skip


def verdict(answer: Message | str) -> str:
    if isinstance(answer, str):
        return answer
    for reason in reasons(answer, ("warnings", "findings")):
        return reason
    return SEEN if answer.ByteSize() else NOTHING


async def filed(service: Ingestion, filer: str, owner: str, first: int) -> list[Filing]:
    """File consignments, each with a part that was joined, so that each RPC has something to answer."""
    numbers = range(first, first + FILINGS)
    rows = [consignment(number) for number in numbers]
    for row in rows:
        row.items[0].description = "Cotton blouse, SEALED, women's"
        row.carrier_identifier = "AIR-1"
    made = await service.submit(*rows, ident=filer)
    sale = Consignment()
    sale.buyer.name = "Ada Example"
    await service.file_parts(
        "bazaar.example",
        *(part(f"P-{number}", PLATFORM, sale, order=f"O-{number}", consignment_filer=filer) for number in numbers),
    )
    await service.settled()
    return [Filing(number, each, filer, owner) for number, each in zip(numbers, made, strict=True)]


async def test_each_rpc_answers_each_role_as_the_documents_say(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()
    async with ingestion(database_url, monkeypatch) as service:
        await service.register("air", CARRIER, identifiers=["AIR-1"])
        for ident in ("shop", "zenith"):
            await service.register(ident, CARRIER)
        channels = {role: await service.service.channel(role, ident) for role, ident in CALLERS.items()}
        channels["filer"] = await service.service.channel("filer", "shop")
        goods = {OWN: await filed(service, "shop", OWN, 0), OTHER: await filed(service, "zenith", OTHER, FILINGS)}
        filing = goods[OWN][0]
        wrong: list[str] = []
        seen: set[str] = set()
        for method in methods_of(luxor.ingestion.v1):
            name = name_of(method)
            seen.add(name)
            for role in CALLERS:
                expected = EXPECTED.get(name, {}).get(role, (SHUT, SHUT, SHUT))
                answers: dict[str, Any] = {}
                for owner, wanted in zip((OWN, OTHER, NONE), expected, strict=True):
                    if wanted != SHUT and owner != NONE:
                        filing = goods[owner].pop()
                    else:
                        filing = replace(filing, mrn=mrn_of_nobody(filing.mrn), filer="nobody", owner=owner)
                    ident = f"{role}-{next(numbers)}"
                    answer = await call(channels[role], method, REQUESTS[method.name](filing, ident))
                    answers[owner] = without(answer, filing, ident)
                    if (got := verdict(answer)) != wanted:
                        wrong.append(f"{name} as {role}, {owner}: {got}, not {wanted}")
                    if role == "filer" and owner != OWN:
                        wrong.extend(
                            f"{name}: {text} in the answer about {owner}" for text in PRIVATE if text in str(answer)
                        )
                if role == "filer" and answers[OTHER] != answers[NONE]:
                    wrong.append(
                        f"{name}: a filing of another filer does not look like none: {answers[OTHER]} | {answers[NONE]}"
                    )
        assert not wrong, "\n".join(wrong)
        assert seen == set(EXPECTED)


def mrn_of_nobody(number: str) -> str:
    """Return a well-formed MRN of the same day under which nothing was filed."""
    return str(replace(mrn.parse(number), sequence=mrn.MAX_SEQUENCE))


def without(answer: Message | str, filing: Filing, ident: str) -> str:
    """Write an answer without what its request named and the moment at which it was given."""
    return (
        re.sub(r"(seconds|nanos): \d+", "", str(answer))
        .replace(filing.mrn, "MRN")
        .replace(ident, "ID")
        .replace(filing.filer, "FILER")
    )

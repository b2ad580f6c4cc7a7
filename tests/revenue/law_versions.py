"""A small law in several versions, the service that has it, and calls to its versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1.law_pb2_grpc import LawServiceStub
from luxor.revenue.v1.what_if_pb2 import LawFile
from services.revenue.__main__ import assemble
from tests.support.services import Running, running

SECONDS = 20.0
_NUMBERS = iter(range(1_000_000))
BOOK = """\
format: 1
jurisdiction: XX
name: Utopia
version: "{version}"
currency: EUR
areas: [DE]
period: {{from: 2020-01-01}}
law_date: acceptance
law_date_reference: act
exchange: {{table: utopia, date: acceptance, mode: half_up, unit: 0.01 EUR, reference: act}}
references:
  act: {{law: Act of Utopia, address: "https://law.example/act", verified: true}}
customs_value: [{{from: 2020-01-01, base: [goods], reference: act, verified: true}}]
limits: {{}}
charges:
  - id: vat
    kind: tax
    name: value added tax
    from: 2020-01-01
    base: [customs_value]
    rates: [{{from: 2020-01-01, rate: {percent} %, reference: act{verified}}}]
    rounding: [{{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act, verified: true}}]
    collection: [{{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act, verified: true}}]
"""
RATES = """\
format: 1
table: utopia
name: Rates of Utopia
currency: EUR
references: {act: {law: Rates of Utopia, address: "https://law.example/rates", verified: true}}
periods: [{from: 2020-01-01, to: 2030-12-31, reference: act, verified: true, rates: {USD: "1.25"}}]
"""
CASE = """\
- id: XX-01
  source: Act of Utopia, example
  published: 100.00 at the rate of the act
  as_of: 2026-08-03
  consignment: {{currency: EUR, destination: DE, items: [{{price: 100.00, description: shirt, commodity_code: "620630"}}]}}
  expected: {{tax: {tax}}}
"""
PLACE = "xx/rulebook.yaml: charges[vat].rates[0]"


def book(version: str, percent: int, *, verified: bool = False) -> str:
    return BOOK.format(version=version, percent=percent, verified=", verified: true" if verified else "")


def files(version: str, percent: int, tax: str | None = None, *, verified: bool = False) -> dict[str, str]:
    """A version with a rate of tax and, where `tax` is given, a case that expects so much of 100.00."""
    found = {"xx/rulebook.yaml": book(version, percent, verified=verified)}
    return found if tax is None else found | {"xx/cases.yaml": CASE.format(tax=tax)}


def directories(home: Path, texts: dict[str, str], rates: str = RATES) -> dict[str, str]:
    """Write law into directories; gives the settings that name them."""
    for name, text in [*((f"rulebooks/{name}", text) for name, text in texts.items()), ("rates/utopia.yaml", rates)]:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {"LUXOR_REVENUE_RULEBOOKS": str(home / "rulebooks"), "LUXOR_REVENUE_RATES": str(home / "rates")}


@asynccontextmanager
async def serving(
    database_url: str, home: Path, texts: dict[str, str], *, data_dir: Path | None = None, rates: str = RATES
) -> AsyncIterator[Running]:
    """Run revenue with a directory of law."""
    settings = directories(home, texts, rates)
    async with running("revenue", assemble, database_url, environ=settings, data_dir=data_dir) as service:
        yield service


async def stub(house: Running, ident: str = "anna", role: str = "analyst") -> Any:
    return LawServiceStub(await house.channel(role, ident))


def proposal(texts: dict[str, str], **more: Any) -> pb.ProposeLawRequest:
    named = [LawFile(name=name, text=text) for name, text in texts.items()]
    return pb.ProposeLawRequest(**{"request_id": f"p{next(_NUMBERS)}", "files": named, "note": "A reform."} | more)


def value_review(**other: str) -> pb.ValueReview:
    given = {
        "place": PLACE, "day": "2026-08-01", "passage": "The rate is as stated.", "expires_on": "2031-08-01",
        "source_sha256": sha256(b"the act").hexdigest(),
    }  # fmt: skip
    return pb.ValueReview(**given | other)


async def proposed(house: Running, texts: dict[str, str], ident: str = "anna") -> str:
    answer = await (await stub(house, ident)).ProposeLaw(proposal(texts), timeout=SECONDS)
    version: str = answer.version.version
    return version


async def reviewed(house: Running, version: str, *reviews: pb.ValueReview, ident: str = "anna") -> pb.LawVersion:
    asked = pb.ReviewLawRequest(request_id=f"r{next(_NUMBERS)}", version=version, reviews=reviews or [value_review()])
    answer: pb.LawVersion = (await (await stub(house, ident)).ReviewLaw(asked, timeout=SECONDS)).version
    return answer


def confirmation(version: str, effective_at: Timestamp | None = None) -> pb.ConfirmLawRequest:
    return pb.ConfirmLawRequest(request_id=f"c{next(_NUMBERS)}", version=version, effective_at=effective_at)


async def confirmed(house: Running, version: str, ident: str = "olga", role: str = "officer") -> pb.ConfirmLawResponse:
    answer: pb.ConfirmLawResponse = await (await stub(house, ident, role)).ConfirmLaw(
        confirmation(version), timeout=SECONDS
    )
    return answer


async def listed(house: Running) -> dict[str, str]:
    """The state of each version, the newest first."""
    answer = await (await stub(house)).ListLawVersions(pb.ListLawVersionsRequest(), timeout=SECONDS)
    return {
        each.version: pb.LawVersionState.Name(each.state).removeprefix("LAW_VERSION_STATE_") for each in answer.versions
    }

"""Filings, parts, repeats, amendments and invalidations of several parties at once, through two replicas, against a model of what a consignment is.

The model follows from docs/parts.md: a consignment has what its filer stated last, and of the rest what the first part states that was accepted.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from random import Random
from typing import Final

import pytest

from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import ingestion_pb2 as ingestion_pb
from services.ingestion.__main__ import assemble
from tests.ingestion.amendments import INVALIDATE, amendment, invalidation
from tests.ingestion.consignments import consignment, put
from tests.ingestion.part_client import PLATFORM, PROVIDER, Ingestion, ingestion, part
from tests.ingestion.service_client import SECONDS, stub_of
from tests.support.services import running

CONSIGNMENTS: Final = 6
STEPS: Final = 60
ELEMENTS: Final = {"payment.payer": ("bank", PROVIDER), "buyer.name": ("bazaar.example", PLATFORM)}
VALUES: Final = ("", "Ada Example", "Bob Example")


def at(row: Consignment, path: str) -> str:
    above, name = path.split(".")
    value: str = getattr(getattr(row, above), name)
    return value


class Model:
    """What was filed of one consignment, and what it is."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.mrn = ""
        self.filed: dict[str, str] | None = None
        self.is_withdrawn = False
        self.parts: dict[str, list[str]] = {path: [] for path in ELEMENTS}

    def expected(self, before: dict[str, str]) -> dict[str, str]:
        """Return the value of each element; an invalidation leaves those of the version before."""
        if self.is_withdrawn:
            return before
        assert self.filed is not None
        return {path: value or next(iter(self.parts[path]), "") for path, value in self.filed.items()}


class Run:
    """Random steps, each of them by one of two replicas."""

    def __init__(self, seed: int, replicas: tuple[Ingestion, Ingestion]) -> None:
        self.random = Random(seed)
        self.replicas = replicas
        self.models = [Model(number) for number in range(CONSIGNMENTS)]
        self.filed = 0

    def content(self, row: Consignment, values: dict[str, str]) -> Consignment:
        row.payment.provider = "bank"
        for path, value in values.items():
            if value:
                put(row, path, value)
        return row

    async def step(self, model: Model) -> None:
        replica = self.random.choice(self.replicas)
        path = self.random.choice(list(ELEMENTS))
        values = {each: self.random.choice(VALUES) for each in ELEMENTS}
        turn = self.random.random()
        if turn < 0.4 and len(model.parts[path]) < 5:
            await self.file_part(replica, model, path, self.random.choice(VALUES[1:]))
        elif model.filed is None:
            model.filed = values
            (model.mrn,) = await replica.submit(self.content(consignment(model.number), values))
        elif not model.is_withdrawn and turn > 0.95:
            await self.change(replica, model, invalidation(model.number, 1))
            model.is_withdrawn = True
        elif not model.is_withdrawn and turn > 0.6:
            await self.change(replica, model, self.content(amendment(model.number, 1), values))
            model.filed = values

    async def file_part(self, replica: Ingestion, model: Model, path: str, value: str) -> None:
        filer, role = ELEMENTS[path]
        self.filed += 1
        filing = part(f"P-{self.filed}", role, put(Consignment(), path, value), order=f"O-{model.number}")
        for each in (replica, self.random.choice(self.replicas)):
            (result,) = await each.file_parts(filer, filing)
            assert result.receipt.reference, result
        model.parts[path].append(value)

    async def change(self, replica: Ingestion, model: Model, row: Consignment) -> None:
        """File a change of the current version, again where a part made another one meanwhile."""
        stub = await stub_of(replica.service)
        key = ingestion_pb.ReceiptKey(mrn=model.mrn)
        for _ in range(20):
            receipts = await stub.GetReceipts(ingestion_pb.GetReceiptsRequest(keys=[key]), timeout=SECONDS)
            row.amended_version = receipts.results[0].receipt.version
            (answer,) = await replica.submit(row)
            if answer == model.mrn:
                return
            assert answer == "VERSION_REPLACED", answer
        raise AssertionError("the change was never accepted")


@pytest.mark.parametrize("seed", range(3))
async def test_a_consignment_is_what_its_filer_and_its_parts_state_in_any_order(
    seed: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with (
            ingestion(database_url, monkeypatch, data_dir=Path(home)) as first,
            running("ingestion", assemble, database_url, data_dir=Path(home)) as other,
        ):
            second = Ingestion(other, database_url)
            second.requests = 1_000_000
            run = Run(seed, (first, second))
            for _ in range(STEPS):
                chosen = run.random.sample(run.models, 3)
                await asyncio.gather(*(run.step(each) for each in chosen))
            for model in run.models:
                if model.filed is None:
                    continue
                versions = await first.versions(f"REF-{model.number}")
                numbers = [each.export_time.seconds for each in versions]
                assert numbers == list(range(1, len(versions) + 1)), "each version once"
                before = {path: at(versions[-2 if len(versions) > 1 else -1], path) for path in ELEMENTS}
                assert (versions[-1].function == INVALIDATE) is model.is_withdrawn, model.number
                assert {path: at(versions[-1], path) for path in ELEMENTS} == model.expected(before), model.number

"""A version of law comes into force on two replicas at one moment, under load, without a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from libs.columns import Table
from libs.store.database import Database
from luxor.revenue.v1 import law_pb2 as pb
from luxor.revenue.v1 import revenue_pb2
from luxor.revenue.v1.revenue_pb2_grpc import RevenueServiceStub
from services.revenue.commands.law import change, load, schedule
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law_versions import (
    PLACE,
    SECONDS,
    confirmation,
    files,
    listed,
    proposed,
    reviewed,
    serving,
    stub,
    value_review,
)
from tests.revenue.service_client import accepted
from tests.support.cutting_proxy import ANSWER, COMMIT, Cut, CuttingProxy
from tests.support.services import Running

ROWS = 20
PARCELS = [Consignment("DE", date(2026, 8, 3), [Item(10_000, code="620630")])] * ROWS
CLOCK_SECONDS = 0.25
"""Replicas and database have one clock here; so much may a call last beyond its moment."""


@pytest.fixture(autouse=True)
def announced_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation is announced one second ahead, and replicas look often enough for it."""
    for module in (schedule, load, change):
        monkeypatch.setattr(module, "ANNOUNCE_SECONDS", 1)
    monkeypatch.setattr(load, "SECONDS", 0.05)


@asynccontextmanager
async def two_replicas(database_url: str, home: Path, other_url: str = "") -> AsyncIterator[tuple[Running, Running]]:
    async with (
        serving(database_url, home / "one", files("1", 10), data_dir=home / "data") as one,
        serving(other_url or database_url, home / "one", files("1", 10), data_dir=home / "data") as two,
    ):
        yield one, two


@dataclass(frozen=True)
class Answered:
    """One answer of a replica."""

    began: float
    ended: float
    request: revenue_pb2.AssessConsignmentsRequest
    version: str
    taxes: set[int | None]


async def assess(revenue: RevenueServiceStub, request: revenue_pb2.AssessConsignmentsRequest) -> Answered:
    began = time.time()
    table = Table.decode((await revenue.AssessConsignments(request, timeout=SECONDS)).assessments)
    (version,) = set(table.strings("rulebook_version").tolist())
    return Answered(began, time.time(), request, version, set(table.ints("tax").tolist()))


async def service(house: Running) -> RevenueServiceStub:
    return RevenueServiceStub(await house.channel("service", "clearance"))


async def test_under_load_each_answer_is_by_one_version_and_replicas_change_at_one_moment(
    database_url: str, tmp_path: Path
) -> None:
    async with two_replicas(database_url, tmp_path) as (one, two):
        (first,) = await listed(one)
        second = await proposed(one, files("2", 20, "20.00"))
        await reviewed(one, second)
        stop, numbers = asyncio.Event(), iter(range(1_000_000))
        answers: list[Answered] = []

        async def load_on(house: Running) -> None:
            revenue = await service(house)
            while not stop.is_set():
                answers.append(await assess(revenue, accepted(PARCELS, first=next(numbers) * ROWS)))

        running = [asyncio.create_task(load_on(house)) for house in (one, two) for _ in range(2)]
        olga = await stub(one, "olga", "officer")
        done = await olga.ConfirmLaw(confirmation(second), timeout=SECONDS)
        moment = done.version.activations[-1].effective_at.ToMicroseconds() / 1e6
        await asyncio.sleep(moment - time.time() + 1)
        stop.set()
        await asyncio.gather(*running)
        assert {each.version for each in answers} == {first, second}
        for each in answers:
            assert each.taxes == {1_000 if each.version == first else 2_000}
            if each.ended < moment - CLOCK_SECONDS:
                assert each.version == first
            if each.began > moment + CLOCK_SECONDS:
                assert each.version == second
        assert list((await listed(two)).values()) == ["ACTIVE", "SUPERSEDED"]
        # What was assessed before keeps its first answer, at either replica.
        old = next(each for each in answers if each.version == first)
        for house in (one, two):
            again = await assess(await service(house), old.request)
            assert (again.version, again.taxes) == (first, {1_000})
        # The answers of both versions are recomputed by the version that they name.
        new = next(each for each in answers if each.version == second)
        filings = [
            pb.AssessedFiling(mrn=Table.decode(each.request.consignments).strings("mrn")[0], version=1)
            for each in (old, new)
        ]
        filings.append(pb.AssessedFiling(mrn="26DE00000000000000", version=1))
        asked = pb.RecomputeAssessmentsRequest(filings=filings)
        results = (await (await stub(two)).RecomputeAssessments(asked, timeout=SECONDS)).results
        assert [(each.rulebook_version, each.stored_minor, each.recomputed_minor, each.equal) for each in results] == [
            (first, 1_000, 1_000, True), (second, 2_000, 2_000, True), ("", 0, 0, False)
        ]  # fmt: skip
        assert results[2].reason == "ASSESSMENT_NOT_STORED"


@pytest.mark.parametrize("cut", [Cut(len(COMMIT) - 1), Cut(), Cut(answered=len(ANSWER) - 1)], ids=str)
async def test_a_confirmation_whose_commit_has_no_answer_takes_effect_once(
    database_url: str, tmp_path: Path, cut: Cut
) -> None:
    async with (
        CuttingProxy(database_url, statement=b"insert into law_activation") as proxy,
        serving(proxy.url, tmp_path, files("1", 10)) as house,
    ):
        version = await proposed(house, files("2", 20))
        await reviewed(house, version)
        proxy.plan([cut])
        # gRPC sends the request again, with the same request_id.
        await (await stub(house, "olga", "officer")).ConfirmLaw(confirmation(version), timeout=SECONDS)
        assert proxy.done == 1
        found = await (await stub(house)).GetLawVersion(pb.GetLawVersionRequest(version=version), timeout=SECONDS)
        assert len(found.version.activations) == 1


async def test_a_store_that_is_set_back_sets_all_replicas_back_to_its_law(
    database_url: str, database: Database, tmp_path: Path
) -> None:
    async with two_replicas(database_url, tmp_path) as (one, two):
        (first,) = await listed(one)
        second = await proposed(one, files("2", 20))
        await reviewed(one, second)
        await (await stub(one, "olga", "officer")).ConfirmLaw(confirmation(second), timeout=SECONDS)

        async def until(version: str, number: int) -> None:
            for place, house in enumerate((one, two)):
                revenue = await service(house)
                async with asyncio.timeout(SECONDS):
                    while True:
                        number += 1
                        answer = await assess(revenue, accepted(PARCELS, first=(2 * number + place) * ROWS))
                        if answer.version == version:
                            break
                        await asyncio.sleep(0.05)

        await until(second, 0)
        async with database.transaction() as tx:
            await tx.raw.execute("delete from law_activation where version = $1", second)
        await until(first, 10_000)


async def test_an_expired_review_makes_its_value_unverified_in_answers_and_in_the_count(
    database_url: str, tmp_path: Path
) -> None:
    async with two_replicas(database_url, tmp_path) as (one, two):
        (version,) = await listed(one)

        async def unverified(house: Running) -> bool:
            revenue = RevenueServiceStub(await house.channel("analyst", "anna"))
            answer = await revenue.ListRulebooks(revenue_pb2.ListRulebooksRequest(), timeout=SECONDS)
            return bool(answer.rulebooks[0].unverified_values)

        async def until(expected: bool) -> None:
            async with asyncio.timeout(SECONDS):
                for house in (one, two):
                    while await unverified(house) != expected:  # noqa: ASYNC110  # another replica tells nobody
                        await asyncio.sleep(0.05)

        await until(True)
        await reviewed(one, version, value_review(place=PLACE))
        await until(False)
        # An older review that has expired changes nothing beside one that counts.
        await reviewed(one, version, value_review(day="2020-01-01", expires_on="2020-12-31"))
        await until(False)
        act = value_review(place="xx/rulebook.yaml: references.act", day="2020-01-01", expires_on="2020-12-31")
        await reviewed(one, version, act)
        await until(True)
        found = await (await stub(two)).GetLawVersion(pb.GetLawVersionRequest(version=version), timeout=SECONDS)
        assert [(each.place, each.expired) for each in found.reviews] == [
            (PLACE, False), (PLACE, True), ("xx/rulebook.yaml: references.act", True)
        ]  # fmt: skip
        answer = await assess(await service(one), accepted(PARCELS))
        assert answer.version == version

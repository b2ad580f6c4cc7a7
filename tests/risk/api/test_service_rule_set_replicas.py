"""Rule sets on several replicas and releases: each replica takes an activated set or raises an alarm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc.aio
import pytest

from libs.columns import Table
from libs.store.database import Database
from libs.telemetry.metrics import REGISTRY
from luxor.risk.v1 import rule_sets_pb2 as pb
from services.risk.__main__ import assemble
from services.risk.commands import check_rule_set
from services.risk.commands.load_rule_sets import RuleSetLoader
from services.risk.rules.rule_set import RuleSet, RuleSetText
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.store.rule_sets import RuleSetState, RuleSetStore
from tests.risk.filings import first_light, table
from tests.risk.rule_set_client import GIFT, activated, assessed, listed, proposal, proposed, stub
from tests.risk.rules.rule_files import files, message, read, rule
from tests.risk.service_client import refusal, request
from tests.risk.service_client import stub as risk_stub
from tests.support.services import Running, running


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110  # another replica tells nobody when it has looked
            await asyncio.sleep(0.02)


async def test_every_replica_takes_an_activated_set_and_begins_with_it_when_it_starts(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        running("risk", assemble, database_url, data_dir=tmp_path / "one") as one,
        running("risk", assemble, database_url, data_dir=tmp_path / "two") as two,
    ):
        version = await proposed(one, files(rule("FIRST", weight=77)))
        await activated(one, version)

        async def taken() -> bool:
            return (await listed(two)).active_version == version

        await until(taken)
        assert (await assessed(two, 9)).ints("score").tolist() == [77]
    async with running("risk", assemble, database_url, data_dir=tmp_path / "three") as three:
        # Ready means that it is loaded: the very first answer is by it.
        assert (await assessed(three, 10)).strings("rule_set").tolist() == [version]


async def test_a_set_that_a_replica_cannot_compile_keeps_the_older_one_and_raises_an_alarm(database: Database) -> None:
    store = RuleSetStore(database)
    rule_sets = follower(store, first_light())

    async def put(version: str, content: dict[str, bytes]) -> None:
        async with database.transaction() as tx:
            await store.add(tx, version, message(content).SerializeToString(), b"", "", "analyst/a")
            await store.activate(tx, version, "officer/o")

    assert await rule_sets.look() is None
    assert (rule_sets.active, alarm()) == (first_light(), 0)
    assert first_light().version in versions()
    good = read(rule("FIRST"))
    await put(good.version, files(rule("FIRST")))
    assert await rule_sets.look() is None
    assert (rule_sets.active.version, alarm(), versions()) == (good.version, 0, {good.version})
    await put("of-another-release/1+0", files(rule("FIRST", "consignment.element_of_tomorrow == 1")))
    refused = await rule_sets.look()
    assert isinstance(refused, RuleSetError)
    assert await rule_sets.look() is refused
    assert (rule_sets.active.version, alarm(), versions()) == (good.version, 1, {good.version})
    # A replica that starts has no older one that could stay: it is not ready, and says so at every try.
    beginner = follower(store, first_light())
    for _ in range(2):
        with pytest.raises(RuleSetError, match="element_of_tomorrow"):
            await beginner.begin()
    # The name that the store has is the one that answers tell, also where this release would call the content otherwise.
    await put("mended/1+0", files(rule("SECOND")))
    assert await rule_sets.look() is None
    assert (rule_sets.active.version, alarm()) == ("mended/1+0", 0)


async def test_a_fault_in_compiling_keeps_the_older_set_and_is_an_alarm_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def version() -> str:
        return "broken/1+0"

    async def content(_: str) -> RuleSetText:
        return RuleSetText("profile.yaml", files(rule("FIRST")))

    def breaks(_: RuleSetText) -> RuleSet:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(RuleSetText, "read", breaks)
    rule_sets = RuleSetLoader(first_light(), version, content)
    refused = await rule_sets.look()
    assert refused is not None
    assert "ZeroDivisionError: a fault of ours" in str(refused)
    assert (rule_sets.active, alarm()) == (first_light(), 1)


async def test_a_batch_is_assessed_by_one_set_while_sets_change(risk: Running) -> None:
    points = {}
    for weight in (11, 22):
        version = await proposed(risk, files(rule("FIRST", weight=weight), rule("SECOND", weight=weight)))
        points[version] = 2 * weight
    one, two = points
    await activated(risk, one)
    seen: set[str] = set()

    async def swap() -> None:
        """Four times at least, and until an answer by each was met."""
        swaps = 0
        while swaps < 4 or seen != {one, two}:
            for version in (two, one):
                await activated(risk, version)
            swaps += 1

    swapping = asyncio.create_task(swap())
    number = 0
    while not swapping.done():
        rows = table([GIFT] * 20, first_mrn=number * 20)
        answer = Table.decode((await (await risk_stub(risk)).AssessConsignments(request(rows), timeout=20)).assessments)
        (version,) = set(answer.strings("rule_set").tolist())
        assert set(answer.ints("score").tolist()) == {points[version]}
        seen.add(version)
        number += 1
    await swapping
    assert seen == {one, two}


async def test_a_set_whose_form_a_newer_release_refuses_is_not_activated(
    risk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await proposed(risk, files(rule("FIRST")))

    def refuses(_: RuleSetText) -> RuleSet:
        raise RuleSetError([ValidationError("profile.yaml", 9, 16, "rule FIRST", "no longer known")])

    monkeypatch.setattr(RuleSetText, "read", refuses)
    code, reason, place = await refusal(activated(risk, version))
    assert (code, reason, place) == (grpc.StatusCode.INVALID_ARGUMENT, "RULE_SET_REFUSED", "profile.yaml:9:16")
    assert (await listed(risk)).rule_sets[0].state == pb.RULE_SET_STATE_DRAFT
    assert RuleSetState.DRAFT == pb.RULE_SET_STATE_DRAFT


async def test_a_repeat_is_answered_by_a_release_that_would_refuse_the_set(
    risk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, olga = await stub(risk), await stub(risk, "olga", "officer")
    asked = proposal(files(rule("FIRST")))
    draft = await anna.ProposeRuleSet(asked, timeout=20)
    activation = pb.ActivateRuleSetRequest(request_id="once", version=draft.rule_set.version)
    active = await olga.ActivateRuleSet(activation, timeout=20)

    def refuses(*_: object) -> RuleSet:
        raise RuleSetError([ValidationError("profile.yaml", 9, 16, "rule FIRST", "no longer known")])

    monkeypatch.setattr(RuleSetText, "read", refuses)
    monkeypatch.setattr(check_rule_set, "read_rule_set", refuses)
    assert await anna.ProposeRuleSet(asked, timeout=20) == draft
    assert await olga.ActivateRuleSet(activation, timeout=20) == active
    asked.request_id = "another"
    assert (await refusal(anna.ProposeRuleSet(asked, timeout=20)))[1] == "RULE_SET_REFUSED"


def follower(store: RuleSetStore, started_with: RuleSet) -> RuleSetLoader:
    async def content(version: str) -> RuleSetText | None:
        return await store.text(version)

    return RuleSetLoader(started_with, store.active_version, content)


def alarm() -> float | None:
    return REGISTRY.get_sample_value("luxor_risk_rule_set_refused")


def versions() -> set[str]:
    """Versions that the metric tells."""
    return {
        sample.labels["version"]
        for family in REGISTRY.collect()
        if family.name == "luxor_risk_rule_set_info"
        for sample in family.samples
    }

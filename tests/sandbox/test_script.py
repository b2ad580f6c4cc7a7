"""When the parties of the sandbox act, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from libs.client.errors import LuxorError
from libs.sandbox.cases import selected
from libs.sandbox.script import CLIENT_SECONDS, SYSTEM_SECONDS, Script, ScriptFailed
from luxor.clearance.v1.clearance_pb2 import ConsignmentStatus, GetStatusResponse, StatusQuery
from tests.support.virtual_loop import VirtualLoop, run


class Officer:
    """Knows the status of one consignment, and fails where it is to."""

    def __init__(self) -> None:
        self.status_now: ConsignmentStatus | None = ConsignmentStatus(mrn="M")
        self.calls: list[int] = []
        self.error: LuxorError | None = None

    async def status(self, queries: Sequence[StatusQuery]) -> GetStatusResponse:
        self.calls.append(len(queries))
        if self.error is not None:
            raise self.error
        answer = GetStatusResponse()
        for _ in queries:
            result = answer.results.add()
            if self.status_now is not None:
                result.consignments.append(self.status_now)
        return answer


class Acting(Script):
    """Remembers when it acted."""

    def __init__(self, officer: Any) -> None:
        super().__init__(officer, officer)
        self.acts: list[tuple[float, str]] = []

    async def act(self, name: str) -> None:
        self.acts.append((asyncio.get_running_loop().time() - 1_000, name))

    async def settle(self, mrn: str) -> None:
        await self.act("settle")

    async def arrive(self, mrn: str) -> None:
        await self.act("arrive")

    async def order(self, mrn: str, form: str, remind: str = "") -> None:
        await self.act(f"order {form}")

    async def conclude(self, mrn: str, result: str) -> None:
        await self.act(f"conclude {result}")


def played(reference: str, officer: Officer, later: Any = None) -> Acting:
    """Play the case of a reference while something happens beside it; return the script."""
    script = Acting(officer)

    async def main(loop: VirtualLoop) -> None:
        found = selected(reference)
        assert found is not None
        if later is not None:
            loop.call_later(*later)
        await script.play(found, "M")

    run(main)
    return script


def test_the_delay_of_a_reference_passes_before_each_act() -> None:
    assert [(round(at), name) for at, name in played("RELEASE.30-1", Officer()).acts] == [
        (30, "settle"),
        (60, "arrive"),
    ]
    assert [(round(at), name) for at, name in played("RELEASE-1", Officer()).acts] == [(0, "settle"), (0, "arrive")]


def test_nothing_is_done_before_the_decision() -> None:
    officer = Officer()
    decided, officer.status_now = officer.status_now, None
    script = played("RELEASE-1", officer, (5.0, lambda: setattr(officer, "status_now", decided)))
    assert [round(at) for at, _ in script.acts] == [5, 5]


def test_a_decision_that_does_not_come_ends_the_case_with_its_step() -> None:
    officer = Officer()
    officer.status_now = None
    with pytest.raises(
        ScriptFailed, match=f"case RELEASE, M, step decision: it did not happen within {SYSTEM_SECONDS:.0f} s"
    ):
        played("RELEASE-1", officer)


def test_an_answer_of_the_client_is_awaited_without_the_delay() -> None:
    officer = Officer()
    officer.status_now = ConsignmentStatus(mrn="M")
    officer.status_now.controls.add(number=1)

    def answer() -> None:
        assert officer.status_now is not None
        officer.status_now.controls[0].answered_at.FromSeconds(1)

    script = played("DOCS.10-1", officer, (100.0, answer))
    assert [(round(at), name) for at, name in script.acts] == [
        (10, "settle"), (20, "order documents"), (110, "conclude conform"), (120, "arrive"),
    ]  # fmt: skip


def test_a_client_that_never_answers_is_awaited_for_an_hour() -> None:
    officer = Officer()
    assert officer.status_now is not None
    officer.status_now.controls.add(number=1)
    with pytest.raises(ScriptFailed, match=f"step await_answer: it did not happen within {CLIENT_SECONDS:.0f} s"):
        played("DOCS-1", officer)


def test_a_case_without_acts_asks_for_nothing() -> None:
    officer = Officer()
    played("HOLD-1", officer)
    assert officer.calls == []


def test_many_cases_are_looked_for_together() -> None:
    officer = Officer()
    officer.status_now = None
    script = Acting(officer)

    async def main(loop: VirtualLoop) -> None:
        found = selected("RELEASE-1")
        assert found is not None
        loop.call_later(1.0, lambda: setattr(officer, "status_now", ConsignmentStatus(mrn="M")))
        await asyncio.gather(*(script.play(found, "M") for _ in range(150)))

    run(main)
    assert len(script.acts) == 300
    assert max(officer.calls) == 100, "so many queries a call takes"
    assert len(officer.calls) <= 2 * 8


def test_a_service_that_fails_ends_the_case_with_its_reason() -> None:
    officer = Officer()
    officer.error = LuxorError.from_reason("STORE_UNAVAILABLE")
    with pytest.raises(ScriptFailed, match="step decision: STORE_UNAVAILABLE"):
        played("RELEASE-1", officer)

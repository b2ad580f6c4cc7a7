"""`luxor jobs` and the commands that start jobs: ^C stops the waiting and nothing else; jobs are named, listed, shown and cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libs.cli import jobs
from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client import jobs as client_jobs
from libs.client.errors import LuxorError
from libs.client.risk import backtests, models

JOB = {
    "job": "backtest-7", "id": 7, "kind": "JOB_KIND_BACKTEST", "state": "JOB_STATE_RUNNING", "title": "rule set first/1", "done": 500,
    "total": 2_000, "error": "", "started_by": "analyst/analyst-1", "started_at": "2026-11-29T08:00:00Z",
}  # fmt: skip
WINDOW = {"first_day": 20_700, "last_day": 20_720, "outcomes": 500, "violations": 50, "source": "inspections"}
MODEL = {
    "version": "inspections+1",
    "state": "MODEL_STATE_CANDIDATE",
    "proposed_by": "analyst/anna",
    "window": WINDOW,
    "metrics": {},
}


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Take ^C as a terminal's process does, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def client(*_: object) -> AsyncIterator[object]:
        yield object()

    monkeypatch.setattr(Context, "client", client)


def answers(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, answer: Any) -> list[Any]:
    """Let a function of the client return `answer`, or raise it; return the list of the arguments that it is called with."""
    calls: list[Any] = []

    async def function(_: object, *arguments: Any, **_named: Any) -> Any:
        calls.append(arguments)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, name, function)
    return calls


def command(*arguments: str) -> Result:
    result = CliRunner().invoke(luxor, list(arguments))
    assert "Traceback" not in result.output
    return result


@pytest.mark.parametrize(
    "arguments",
    [
        ("risk", "backtest", "--rules", "first/1", "--from", "2026-11-01", "--to", "2026-11-02"),
        ("jobs", "show", "backtest-7", "--follow"),
    ],
)
@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_leaves_the_job_running_and_names_the_commands_for_later(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    followed: list[Any] = []

    async def follow(_: object, kind: str, number: int, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        followed.append((kind, number))
        progress(JOB)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError

    started = answers(monkeypatch, backtests, "start", JOB)
    cancelled = answers(monkeypatch, client_jobs, "cancel", JOB)
    monkeypatch.setattr(client_jobs, "follow", follow)
    monkeypatch.setattr(jobs, "is_terminal", lambda: True)
    result = command(*arguments)
    assert result.exit_code == 1
    assert "backtest-7 continues. `luxor jobs show backtest-7 --follow` waits for its end" in result.stderr
    assert (len(started), followed, cancelled) == (int(arguments[0] == "risk"), [("backtest", 7)], [])


def test_a_job_that_is_started_without_waiting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, models, "start_training", {**JOB, "job": "training-8"})
    followed = answers(monkeypatch, client_jobs, "follow", JOB)
    arguments = ("risk", "train", "--from", "2026-11-01", "--to", "2026-11-02", "--detach")
    result = command(*arguments)
    assert (result.exit_code, followed) == (0, [])
    assert "training-8 started. `luxor jobs show training-8 --follow` waits for its end" in " ".join(
        result.output.split()
    )
    assert json.loads(command(*arguments, "--json").output)["job"] == "training-8"


@pytest.mark.parametrize(
    ("job", "reason", "message"),
    [
        ({"state": "JOB_STATE_FAILED", "error": "it needs more memory"}, "JOB_FAILED", "it needs more memory"),
        ({"state": "JOB_STATE_CANCELLED"}, "JOB_CANCELLED", "training-8 was cancelled"),
    ],
)
def test_a_job_that_ends_without_a_result_is_an_error(
    job: dict[str, Any], reason: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = {**JOB, "job": "training-8", "version": "", **job}
    answers(monkeypatch, client_jobs, "follow", ended)
    answers(monkeypatch, models, "training", ended)
    result = command("jobs", "show", "training-8", "--follow", "--json")
    assert result.exit_code == 1
    assert reason in result.output
    assert message in result.output


def test_a_training_is_shown_with_its_model_as_long_as_that_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(
        monkeypatch,
        models,
        "training",
        {**JOB, "job": "training-8", "state": "JOB_STATE_DONE", "version": "inspections+1"},
    )
    asked = answers(monkeypatch, models, "model", MODEL)
    shown = command("jobs", "show", "training-8").output
    assert "training-8 done: rule set first/1" in shown
    assert "500 outcomes, 50 violations, 2026-09-04 to 2026-09-24, inspections" in shown
    assert asked == [("inspections+1",)]
    answers(monkeypatch, models, "model", LuxorError("MODEL_UNKNOWN", "There is no such model.", code="NOT_FOUND"))
    deleted = command("jobs", "show", "training-8")
    assert (deleted.exit_code, "outcomes" in deleted.output) == (0, False)


def test_jobs_of_both_services_are_listed_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    what_if = {
        **JOB,
        "job": "what-if-1",
        "title": "Five euro",
        "started_at": "2026-11-29T09:00:00Z",
        "total": 0,
        "error": "no memory",
    }

    async def page(_: object, service: str, kind: str) -> tuple[list[dict[str, Any]], str]:
        return ([JOB], "") if service == "risk" else ([what_if], "")

    monkeypatch.setattr(client_jobs, "page", page)
    lines = command("jobs", "list").output.splitlines()
    assert lines == [
        "what-if-1 running: Five euro", "  consignments not counted yet, started by analyst/analyst-1", "  no memory",
        "backtest-7 running: rule set first/1", "  500 of 2,000 consignments, started by analyst/analyst-1",
    ]  # fmt: skip
    assert [each["job"] for each in json.loads(command("jobs", "list", "--json").output)["jobs"]] == [
        "what-if-1",
        "backtest-7",
    ]
    assert [
        each["job"] for each in json.loads(command("jobs", "list", "--kind", "training", "--json").output)["jobs"]
    ] == ["backtest-7"]
    answers(monkeypatch, client_jobs, "page", ([], ""))
    assert "No job is stored" in command("jobs", "list").output


def test_a_job_is_cancelled_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = answers(monkeypatch, client_jobs, "cancel", {**JOB, "state": "JOB_STATE_CANCELLED"})
    assert "backtest-7 cancelled: rule set first/1" in command("jobs", "cancel", "backtest-7").output
    assert cancelled == [("backtest", 7)]


@pytest.mark.parametrize(
    "name",
    ["7", "backtest", "backtest-", "backtest-0", "backtest-٧", "backtest--7", "rescreening-7", f"training-{2**63}"],
)
def test_a_name_that_no_job_has_is_a_usage_error(name: str) -> None:
    result = command("jobs", "cancel", "--", name)
    assert result.exit_code == 2
    assert "is not the name of a job, such as backtest-7" in " ".join(result.output.split())


def test_only_what_if_runs_with_results_have_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers(monkeypatch, models, "training", {**JOB, "job": "training-8", "version": ""})
    result = command("jobs", "show", "training-8", "--picture", str(tmp_path / "a.svg"))
    assert result.exit_code == 2
    assert "training-8 has no picture" in " ".join(result.output.split())

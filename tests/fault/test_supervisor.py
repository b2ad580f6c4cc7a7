"""The supervisor: what dies comes back with back-off, what is stopped leaves nothing, several systems live side by side."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from libs.cli.local.processes import Backoff, Child
from libs.cli.local.readiness import wait_ready
from libs.cli.local.state import Ports, endpoints_of, free_ports, is_locked, read_state, running_state, taken
from libs.cli.local.supervisor import AlreadyRunning, LocalSystem, Supervisor
from libs.client.errors import LuxorError
from libs.simulator import Simulator
from tests.support.databases import enterable_directory

SECONDS = 60
pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """All processes that work for a data directory, by their environment or their working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            ours = process.environ().get("LUXOR_DATA_DIR", "") == str(data_dir)
            if ours or process.cwd().startswith(str(data_dir)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def await_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    assert not [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_the_pause_before_a_restart_doubles_up_to_its_limit_and_begins_anew_after_calm() -> None:
    backoff = Backoff(first_seconds=0.2, most_seconds=5)
    assert [backoff.pause(deaths) for deaths in (1, 2, 3, 4, 5, 6, 99)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_process_that_dies_at_once_is_started_later_each_time(tmp_path: Path) -> None:
    child = Child("none", ["service", "there_is_none"], os.environ, tmp_path / "none.log")
    # Nobody waits for them here: they are long enough that no delay of this process makes one longer than the next.
    backoff = Backoff(first_seconds=100, most_seconds=10_000, calm_seconds=1000)
    pauses = []
    child.start()
    for _ in range(3):
        child.wait(SECONDS)
        before = time.monotonic()
        assert child.look(backoff)
        assert not child.look(backoff), "one death is noticed once"
        assert child.due is not None
        pauses.append(child.due - before)
        child.restart()
    child.wait(SECONDS)
    assert child.restarts == 3
    assert pauses[0] < pauses[1] < pauses[2]
    assert "there_is_none" in child.tail()


def test_free_ports_are_all_different_and_free() -> None:
    ports = free_ports(["a", "b", "c"])
    numbers = [number for each in ports.values() for number in (each.main, each.health, each.metrics)]
    assert len(set(numbers)) == 9
    assert taken(numbers) == []


def test_free_ports_of_several_systems_are_different_though_nobody_listens_there_yet() -> None:
    names = [f"process-{number}" for number in range(500)]
    program = f"from libs.cli.local.state import free_ports; [print(each.main) for each in free_ports({names}).values()]; input()"
    others = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        given = [[each.main for each in free_ports(names).values()] for _ in range(2)]
        for other in others:
            assert other.stdout is not None
            given.append([int(other.stdout.readline()) for _ in names])
    finally:
        for other in others:
            other.communicate("\n")
    assert len({number for each in given for number in each}) == 4 * len(names)


def test_replicas_are_one_target_of_several_addresses() -> None:
    ports = {"risk": Ports(1, 2, 3), "clearance": Ports(4, 5, 6), "clearance-2": Ports(7, 8, 9)}
    assert endpoints_of(ports) == {"risk": "dns:///127.0.0.1:1", "clearance": "ipv4:127.0.0.1:4,127.0.0.1:7"}


@pytest.fixture(scope="module")
def system() -> Iterator[LocalSystem]:
    directory = enterable_directory()
    running = LocalSystem(directory, replicas={"clearance": 2}, backoff=Backoff(first_seconds=0.05))
    with running:
        yield running
    assert processes_of(directory) == []
    assert not is_locked(directory)
    shutil.rmtree(directory, ignore_errors=True)


async def test_a_killed_service_is_started_again_and_serves(system: LocalSystem) -> None:
    before = system.pids["ingestion"]
    assert before is not None
    process = psutil.Process(before)
    system.kill("ingestion")
    process.wait(SECONDS)
    system.wait_ready()
    assert system.pids["ingestion"] not in (None, before)
    assert system.restarts["ingestion"] >= 1
    async with system.client("filer", "filer-1") as client:
        response = await client.submit([each.message for each in Simulator(1, "everyday").manifest(3)])
    assert [each.receipt.version for each in response.results] == [1, 1, 1]
    state = running_state(system.data_dir)
    assert state is not None
    assert state.processes["ingestion"]["pid"] == system.pids["ingestion"]


async def test_a_killed_postgres_is_started_again_with_what_was_committed(system: LocalSystem) -> None:
    messages = [each.message for each in Simulator(2, "everyday").manifest(3)]
    async with system.client("filer", "filer-1") as client:
        first = await client.submit(messages)
        before = system.pids["postgres"]
        assert before is not None
        system.kill("postgres")
        deadline = time.monotonic() + SECONDS
        while True:
            # The services find their store again by themselves; a call in between says that it is away.
            try:
                again = await client.submit(messages)
                break
            except LuxorError as error:
                away = error.unreachable or error.code == "DEADLINE_EXCEEDED"
                if not away or time.monotonic() > deadline:
                    raise
    assert [each.receipt.mrn for each in again.results] == [each.receipt.mrn for each in first.results]
    assert system.pids["postgres"] not in (None, before)


async def test_either_replica_answers_when_the_other_is_away(system: LocalSystem) -> None:
    system.wait_ready()
    async with system.client("officer", "officer-1") as client:
        for name in ("clearance", "clearance-2"):
            pid = system.pids[name]
            assert pid is not None
            process = psutil.Process(pid)
            system.kill(name)
            process.wait(SECONDS)
            assert (await client.list_consignments()).next_page_token == ""
            system.wait_ready()


def test_a_restart_on_request_gives_a_new_process(system: LocalSystem) -> None:
    system.wait_ready()
    before = system.pids["risk"]
    system.restart("risk")
    system.wait_ready()
    assert system.pids["risk"] not in (None, before)


def test_a_second_supervisor_on_the_same_data_is_refused(system: LocalSystem) -> None:
    with pytest.raises(AlreadyRunning):
        Supervisor(system.data_dir).run()
    assert running_state(system.data_dir) is not None


def test_a_process_that_hangs_is_killed_when_the_system_stops() -> None:
    directory = enterable_directory()
    running = LocalSystem(directory, grace_seconds=0.3).start()
    processes = processes_of(directory)
    assert len(processes) >= 6
    for name in ("risk", "statistics"):
        running.kill(name, signal.SIGSTOP)
    running.stop()
    await_gone(processes)
    assert processes_of(directory) == []
    assert running.pids == dict.fromkeys(running.pids)
    shutil.rmtree(directory, ignore_errors=True)


def test_up_serves_after_its_end_and_nothing_outlives_a_killed_supervisor() -> None:
    directory = enterable_directory()
    environ = os.environ | {"LUXOR_DATA_DIR": str(directory)}

    def luxor(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "libs.cli", *arguments, "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=SECONDS * 2, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    try:
        first = luxor("up", "--ports", "free", "--replicas", "clearance=2")
        assert "already_running" not in first
        assert luxor("up", "--replicas", "clearance=2")["already_running"] is True
        state = read_state(directory)
        assert state is not None
        victim = psutil.Process(state.processes["clearance-2"]["pid"])
        victim.kill()
        victim.wait(SECONDS)
        wait_ready({name: f"127.0.0.1:{each.health}" for name, each in state.ports.items()}, SECONDS)
        status = luxor("status")
        told = {each["name"]: (each["ready"], each["restarts"]) for each in status["processes"]}
        names = ("postgres", "ingestion", "risk", "revenue", "clearance", "clearance-2", "statistics")
        assert told == dict.fromkeys(names, (True, 0)) | {"clearance-2": (True, 1)}
        assert status["endpoints"]["clearance"] == ",".join(
            [f"ipv4:127.0.0.1:{state.ports['clearance'].main}", f"127.0.0.1:{state.ports['clearance-2'].main}"]
        )
        assert state.pid == first["pid"]
        processes = processes_of(directory)
        os.kill(state.pid, signal.SIGKILL)
        await_gone(processes)
        assert processes_of(directory) == []
        assert not is_locked(directory)
        luxor("up", "--ports", "free")
        processes = processes_of(directory)
        assert luxor("down") == {"stopped": True}
        await_gone(processes)
        assert processes_of(directory) == []
        assert luxor("down") == {"stopped": False}
    finally:
        subprocess.run([sys.executable, "-m", "libs.cli", "down"], env=environ, check=False, timeout=SECONDS * 2)
        shutil.rmtree(directory, ignore_errors=True)

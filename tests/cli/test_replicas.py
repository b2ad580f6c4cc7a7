"""`luxor up --replicas`: which numbers and ports it refuses, and what each further process of a service is given."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libs.cli.local.state import (
    CONNECTIONS_A_REPLICA,
    REPLICAS_MAX,
    SERVICES,
    Ports,
    State,
    free_ports,
    lock,
    process_names,
    write_state,
)
from libs.cli.local.supervisor import Supervisor
from libs.cli.local.variables import variables_of
from libs.cli.main import luxor
from libs.store.embedded.cluster import SETTINGS


def up(tmp_path: Path, *arguments: str, **env: str) -> Result:
    return CliRunner(env=env).invoke(luxor, ["up", *arguments, "--json", "--data-dir", str(tmp_path)])


def reason(result: Result) -> tuple[str, str]:
    error = json.loads(result.stderr)["error"]
    assert error["hint"]
    return error["reason"], error["sentence"]


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Listen on a port, unless somebody else does."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            held.bind(("127.0.0.1", port))
            held.listen()
        yield


@contextmanager
def busy() -> Iterator[tuple[int, dict[str, str]]]:
    """Give each service ports of its own whose neighbours are free; the metrics port of statistics is in use, so that no system starts."""
    ports = free_ports(SERVICES)
    env: dict[str, str] = {}
    for service, each in ports.items():
        prefix = f"LUXOR_{service.upper()}"
        env |= {f"{prefix}_PORT": str(each.main), f"{prefix}_HEALTH_PORT": str(each.health)}
        env |= {f"{prefix}_METRICS_PORT": str(each.metrics)}
    with listening(ports["statistics"].metrics):
        yield ports["statistics"].metrics, env


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("clearence=2", "there is no service 'clearence'"),
        ("postgres=2", "the services are ingestion, risk, revenue, clearance, statistics"),
        ("2", "Write SERVICE=NUMBER, such as clearance=2"),
        ("=2", "there is no service ''"),
        ("clearance", "'' is not a whole number"),
        ("clearance=", "Give 1 to 8 replicas"),
        ("clearance=two", "'two' is not a whole number"),
        ("clearance=2.0", "'2.0' is not a whole number"),
        ("clearance=²", "'²' is not a whole number"),
        ("clearance= 2", "' 2' is not a whole number"),
        ("clearance=0", "a service has at least one process"),
        ("clearance=00", "a service has at least one process"),
        ("clearance=-1", "a service has at least one process"),
        (
            "clearance=9",
            "at most 8 replicas of a service, because each replica holds up to 12 connections to the database",
        ),
        ("clearance=" + "9" * 5_000, "at most 8 replicas"),
    ],
)
def test_an_invalid_number_of_replicas_is_refused_with_the_reason_and_what_to_write(
    value: str, said: str, tmp_path: Path
) -> None:
    result = up(tmp_path, "--replicas", value)
    assert result.exit_code == 2
    text = re.sub(r"\s+", " ", result.stderr)
    assert "--replicas" in text
    assert said in text
    assert os.listdir(tmp_path) == []


def test_a_service_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    result = up(tmp_path, "--replicas", "risk=2", "--replicas", "revenue=2", "--replicas", "risk=3")
    assert result.exit_code == 2
    assert "risk=3: risk is named twice" in result.stderr


def test_the_limit_is_accepted_for_all_services_at_once(tmp_path: Path) -> None:
    each = [word for service in SERVICES for word in ("--replicas", f"{service}={REPLICAS_MAX}")]
    env = {
        f"LUXOR_{service.upper()}_{kind}": ""
        for service in SERVICES
        for kind in ("PORT", "HEALTH_PORT", "METRICS_PORT")
    }
    with listening(7475):  # of the last replica of statistics: 7405 and seven times ten
        result = up(tmp_path, *each, **env)
    assert result.exit_code == 1
    found, sentence = reason(result)
    assert found == "PORTS_TAKEN"
    assert "7475" in sentence


def test_a_port_of_a_further_replica_that_is_in_use_is_named(tmp_path: Path) -> None:
    with busy() as (metrics, env), ExitStack() as stack:
        taken = [metrics]
        for kind in ("PORT", "HEALTH_PORT"):
            number = int(env[f"LUXOR_RISK_{kind}"]) + 10
            stack.enter_context(listening(number))
            taken.append(number)
        found, sentence = reason(up(tmp_path, "--replicas", "risk=2", **env))
    assert found == "PORTS_TAKEN"
    assert all(str(number) in sentence for number in taken)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LUXOR_RISK_PORT", "7401", "7401, 7501, 7601. Two processes"),
        ("LUXOR_RISK_PORT", "7393", "7403, 7503, 7603. Two processes"),  # the second replica's
        ("LUXOR_RISK_HEALTH_PORT", "65526", "65536. A port is a number from 1 to 65535"),
        ("LUXOR_RISK_PORT", "70000", "70000, 70010, 70100, 70110, 70200, 70210. A port is a number"),
        ("LUXOR_RISK_PORT", "-1", "LUXOR_RISK_PORT must be a whole number"),
        ("LUXOR_RISK_METRICS_PORT", "many", "many. LUXOR_RISK_METRICS_PORT must be a whole number"),
    ],
)
def test_ports_that_cannot_be_used_are_refused_before_anything_starts(
    variable: str, value: str, said: str, tmp_path: Path
) -> None:
    env = {
        f"LUXOR_{service.upper()}_{kind}": ""
        for service in SERVICES
        for kind in ("PORT", "HEALTH_PORT", "METRICS_PORT")
    }
    found, sentence = reason(up(tmp_path, "--replicas", "risk=2", **(env | {variable: value})))
    assert found == "PORTS_UNUSABLE"
    assert said in sentence
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ((), 0),
        (("clearance=2",), 0),
        (("clearance=2", "risk=1"), 0),
        (("clearance=1",), 1),
        (("clearance=2", "risk=2"), 1),
    ],
)
def test_a_second_up_refuses_other_numbers_of_replicas_than_run(
    asked: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    ports = {name: Ports(1, 2, 3) for name in process_names({"clearance": 2})}
    with lock(tmp_path):
        write_state(State(1, "2026-11-29T10:00:00+00:00", str(tmp_path), ports, {}))
        result = up(tmp_path, *(word for each in asked for word in ("--replicas", each)))
    assert result.exit_code == code
    if code:
        running = "ingestion=1, risk=1, revenue=1, clearance=2, statistics=1"
        assert reason(result) == (
            "REPLICAS_DIFFERENT",
            f"The system already runs with other numbers of replicas: {running}.",
        )
    else:
        assert json.loads(result.stdout)["already_running"] is True


def test_the_first_replica_has_the_name_of_its_service() -> None:
    assert process_names({}) == list(SERVICES)
    assert process_names({"risk": 3, "statistics": 1}) == [
        "ingestion", "risk", "risk-2", "risk-3", "revenue", "clearance", "statistics",
    ]  # fmt: skip


def environment(process: str, environ: dict[str, str]) -> dict[str, Any]:
    ports = {name: Ports(place, 100 + place, 200 + place) for place, name in enumerate(process_names({"risk": 2}), 1)}
    return variables_of(process, ports, environ, Path("/d"), "postgresql:///own")


def test_every_process_calls_all_replicas_of_its_neighbours_and_shares_the_store_of_its_own() -> None:
    first, second = (environment(each, {}) for each in ("risk", "risk-2"))
    for each in (first, second, environment("statistics", {})):
        assert each["LUXOR_RISK_TARGET"] == "ipv4:127.0.0.1:2,127.0.0.1:3"
        assert each["LUXOR_CLEARANCE_TARGET"] == "dns:///127.0.0.1:5"
    assert [each["LUXOR_RISK_PORT"] for each in (first, second)] == ["2", "3"]
    assert first["LUXOR_RISK_DATABASE_URL"] == second["LUXOR_RISK_DATABASE_URL"] == "postgresql:///own"
    named = environment(
        "risk-2", {"LUXOR_RISK_DATABASE_URL": "postgresql:///x", "LUXOR_REVENUE_DATABASE_URL": "secret"}
    )
    assert named["LUXOR_RISK_DATABASE_URL"] == "postgresql:///x"
    assert "LUXOR_REVENUE_DATABASE_URL" not in named


@pytest.mark.parametrize(
    ("environ", "data", "tls"),
    [
        ({}, "/d/replicas/risk-2", "/d/tls"),
        ({"LUXOR_TLS_DIR": "/t"}, "/d/replicas/risk-2", "/t"),
        ({"LUXOR_TLS_DIR": "/t", "LUXOR_RISK_TLS_DIR": "/r"}, "/d/replicas/risk-2", "/r"),
        ({"LUXOR_RISK_DATA_DIR": "/e"}, "/e/replicas/risk-2", "/e/tls"),
    ],
)
def test_a_further_replica_has_files_of_its_own_and_the_certificates_of_all(
    environ: dict[str, str], data: str, tls: str
) -> None:
    """Two processes in one directory would remove each other's unfinished snapshots of risk's history."""
    second = environment("risk-2", environ)
    assert (second["LUXOR_RISK_DATA_DIR"], second["LUXOR_RISK_TLS_DIR"]) == (data, tls)
    first = environment("risk", environ)
    assert first.get("LUXOR_RISK_DATA_DIR") == environ.get("LUXOR_RISK_DATA_DIR")
    assert first.get("LUXOR_RISK_TLS_DIR") == environ.get("LUXOR_RISK_TLS_DIR")


@pytest.mark.parametrize(("each", "connections"), [(1, 200), (3, 200), (4, 260), (REPLICAS_MAX, 500)])
def test_the_embedded_store_accepts_the_connections_of_all_replicas(
    each: int, connections: int, tmp_path: Path
) -> None:
    assert max(int(SETTINGS["max_connections"]), 5 * each * CONNECTIONS_A_REPLICA + 20) == connections
    supervisor = Supervisor(tmp_path, replicas=dict.fromkeys(SERVICES, each))
    assert supervisor.children["postgres"].arguments[-1] == str(connections)

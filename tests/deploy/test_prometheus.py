"""A real Prometheus scrapes a real system: the rules are evaluated without an error, every query is answered, exemplars arrive."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.cli.local.state import free_ports, service_of
from libs.cli.local.supervisor import LocalSystem
from libs.client.errors import LuxorError
from libs.simulator import Simulator
from tests.deploy.dashboards import panels
from tests.deploy.runbooks import blocks
from tests.support.flow import Flow, local_system
from tests.support.promql import PROMETHEUS, plain

pytestmark = [pytest.mark.timeout(170), pytest.mark.long]
PATIENCE_SECONDS = 60.0
TROUBLE = {"Clocks", "Not assessed by revenue", "Refused by the store", "Set aside", "Tried again", "Unknown fields"}
"""Panels that show something only where something is wrong; all others do as soon as consignments flow."""


class Asked:
    """Prometheus' API."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self._base}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                raise  # it is starting
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[Any]:
        found: list[Any] = self.get("/api/v1/query", query=expression)["result"]
        return found


@contextmanager
def prometheus(system: LocalSystem, directory: Path) -> Iterator[Asked]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian package prometheus)")
    shutil.copy(PROMETHEUS / "alerts.yaml", directory)
    targets = [
        {"targets": [f"127.0.0.1:{ports.metrics}"], "labels": {"service": service_of(name)}}
        for name, ports in system.ports.items()
    ]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "storage": {"exemplars": {"max_exemplars": 10_000}},
        "scrape_configs": [{"job_name": "luxor", "static_configs": targets}],
    }
    file = directory / "prometheus.yml"
    file.write_text(json.dumps(config))
    port = free_ports(["prometheus"])["prometheus"].main
    command = [
        program, f"--config.file={file}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage", "--log.level=warn",
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"GOMAXPROCS": "1"})
    try:
        yield Asked(port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


async def until(condition: Any, what: object) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if await asyncio.to_thread(condition):
                return
        except OSError:
            pass  # it is starting
        assert time.monotonic() < ends_at, f"after {PATIENCE_SECONDS:g} s: {what}"
        await asyncio.sleep(0.3)


def empty(asked: Asked, among: set[str] | None = None) -> set[str]:
    """Give the titles of the panels, of all or among these, that show nothing."""
    titles = set()
    for _, panel in panels():
        if among is not None and panel["title"] not in among:
            continue
        services = ("clearance", "ingestion") if "$service" in panel["targets"][0]["expr"] else ("",)
        answers = [
            asked.query(plain(target["expr"].replace("$__rate_interval", "1m").replace("$service", service)))
            for target in panel["targets"]
            for service in services
        ]
        if not any(answers):
            titles.add(panel["title"])
    return titles


async def test_rules_dashboards_and_runbooks_work_on_a_real_system_with_replicas(tmp_path: Path) -> None:
    async with (
        local_system(replicas={"clearance": 2, "risk": 2}, env={"LUXOR_TRACE_RATIO": "1"}) as system,
        Flow(system) as flow,
    ):
        await judge(system, flow, tmp_path)


async def judge(system: LocalSystem, flow: Flow, directory: Path) -> None:
    with prometheus(system, directory) as asked:
        replicas = len(system.ports)
        await until(lambda: len(asked.query("luxor_ready == 1")) == replicas, "not every replica is seen ready")
        for number, rows in enumerate(Simulator(20_261_126, "everyday").batches(600, size=60)):
            await flow.submit(rows, f"watched-{number}")
            await flow.arrive(rows, name=f"watched-{number}")
            await asyncio.sleep(0.4)
        # An officer may not file: calls that do not end well have a panel, and nothing else need fail here.
        with pytest.raises(LuxorError) as refused:
            await flow.officer.submit(rows, request_id="refused")
        assert refused.value.reason == "ROLE_NOT_ALLOWED"
        failed = 'luxor_call_seconds_count{service="ingestion",code="PERMISSION_DENIED"} > 0'
        await until(lambda: asked.query(failed), "a call that failed is not seen")
        await until(
            lambda: asked.query('sum(luxor_statistics_states_total{outcome="counted"}) > 300'), "little was counted"
        )
        await until(
            lambda: asked.query("min(luxor_store_gauges_updated_timestamp_seconds) > 0"), "a store was not looked at"
        )

        def evaluated() -> bool:
            groups = asked.get("/api/v1/rules")["groups"]
            return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

        await until(evaluated, "a rule was not evaluated")
        rules = [rule for group in asked.get("/api/v1/rules")["groups"] for rule in group["rules"]]
        assert len(rules) > 30
        assert not [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"]
        firing = [
            each["labels"]["alertname"] for each in asked.get("/api/v1/alerts")["alerts"] if each["state"] == "firing"
        ]
        assert not firing, "a system that is well alarms nobody"

        nothing: set[str] = set()

        def show_all() -> bool:
            """Ask for what showed nothing the last time, and for all once that shows something."""
            left = nothing and empty(asked, nothing)
            nothing.clear()
            nothing.update((left or empty(asked)) - TROUBLE)
            return not nothing

        # Some gauges are looked at every quarter of a minute.
        await until(show_all, nothing)
        for page, query in blocks("promql"):
            asked.query(query), page

        now = time.time()
        exemplars = asked.get(
            "/api/v1/query_exemplars",
            query="luxor_call_seconds_bucket",
            start=f"{now - 600:.0f}",
            end=f"{now + 60:.0f}",
        )
        traces = {each["labels"]["trace_id"] for series in exemplars for each in series["exemplars"]}
        assert traces, "no exemplar arrived"

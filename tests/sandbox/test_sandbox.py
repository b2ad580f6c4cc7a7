"""The sandbox as it is started, with its processes and TLS: a client goes through all cases, and nobody goes to another system or comes from one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result

from libs.cli.local.state import running_state
from libs.cli.main import luxor
from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.sandbox.cases import cases_of
from libs.sandbox.environment import DEPLOYMENT, authority, check_deployment, party_of
from libs.server.errors import reason_of
from libs.server.identity import Role
from libs.server.transport.tls import LocalCA, TlsError
from luxor.clearance.v1.clearance_pb2 import StatusQuery
from tests.support.databases import enterable_directory

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
FILER_RPCS = (
    "/luxor.ingestion.v1.IngestionService/SubmitConsignments",
    "/luxor.ingestion.v1.IngestionService/SubmitConsignmentColumns",
    "/luxor.ingestion.v1.IngestionService/GetReceipts",
    "/luxor.ingestion.v1.FilerService/ListFilers",
    "/luxor.revenue.v1.RevenueService/QuoteConsignments",
    "/luxor.revenue.v1.SaleService/FileSales",
    "/luxor.risk.v1.RiskService/CheckGoods",
    "/luxor.clearance.v1.ClearanceService/GetStatus",
    "/luxor.clearance.v1.ClearanceService/PullNotices",
    "/luxor.clearance.v1.ClearanceService/RecordReturns",
    "/luxor.clearance.v1.ControlService/AnswerControls",
)
"""What filers call, at each of the services that they call."""


@dataclass(frozen=True)
class Sandbox:
    """A sandbox that runs."""

    address: str
    data_dir: Path
    ignored: list[str]

    def run(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner(env={"COLUMNS": "140"}).invoke(luxor, [*arguments, "--data-dir", str(self.data_dir)])
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def conformance(self, *arguments: str) -> list[dict[str, Any]]:
        """What the client found of each case, whether or not all passed: the caller says what it expects."""
        command = ["conformance", self.address, *arguments, "--json", "--data-dir", str(self.data_dir)]
        found: list[dict[str, Any]] = json.loads(CliRunner(env={"COLUMNS": "140"}).invoke(luxor, command).stdout)
        return found

    def client(self, ident: str) -> Client:
        services = dict.fromkeys(("ingestion", "risk", "revenue", "clearance"), self.address)
        return Client(services, authority(self.data_dir).issue("filer", ident))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    directory = enterable_directory()
    # A store that is not there: a sandbox that used it would not start.
    environ = os.environ | {
        "LUXOR_CLEARANCE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/real", "LUXOR_DEPLOYMENT": "luxor", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "libs.cli",
        "sandbox",
        "start",
        "--port",
        "0",
        "--json",
        "--data-dir",
        str(directory),
    ]
    try:
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, cwd=directory) as process:
            try:
                assert process.stdout is not None
                started = json.loads(process.stdout.readline())
                yield Sandbox(started["address"], directory, started["ignored_settings"])
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 0
            finally:
                process.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("role", [Role.FILER, Role.CARRIER])
def test_a_client_goes_through_every_case_and_both_sides_find_it_right(sandbox: Sandbox, role: Role) -> None:
    cases, caller = cases_of(role), f"{role}/acme"
    found = sandbox.conformance("--as", caller, "--seconds", "120")
    assert [each["case"] for each in found] == list(cases)
    assert {each["case"]: each["errors"] for each in found if not each["passed"]} == {}
    report = sandbox.json("sandbox", "report", caller)
    assert {each["case"]: each["checks"] for each in report if each["result"] != "passed"} == {}
    assert f"{len(cases)} of {len(cases)} cases passed." in sandbox.run("sandbox", "report", caller, "--all").stdout


async def test_an_account_sees_nothing_of_another_one(sandbox: Sandbox) -> None:
    (one,) = await asyncio.to_thread(sandbox.json, "conformance", sandbox.address, "HOLD", "--as", "first")
    async with sandbox.client("second") as client:
        (result,) = (await client.status([StatusQuery(mrn=one["mrn"])])).results
        assert not result.consignments
        assert not (await client.pull_notices()).notices
    report = sandbox.json("sandbox", "report", "second")
    assert {each["result"] for each in report} == {"not begun"}


def test_a_conversation_that_is_wrong_fails_on_the_side_that_is_wrong(sandbox: Sandbox) -> None:
    # The client gives up before it is reminded.
    (each,) = sandbox.json("conformance", sandbox.address, "REMIND", "--as", "hasty", "--seconds", "1", code=1)
    assert each["errors"]
    report = sandbox.json("sandbox", "report", "hasty", code=1)
    assert [case["case"] for case in report if case["result"] == "failed"] == ["REMIND"]


def test_settings_of_another_system_are_not_used(sandbox: Sandbox) -> None:
    assert {"LUXOR_CLEARANCE_DATABASE_URL", "LUXOR_DEPLOYMENT"} <= set(sandbox.ignored)


def test_a_second_sandbox_on_the_same_data_is_refused(sandbox: Sandbox) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "libs.cli", "sandbox", "start", "--port", "0", "--data-dir", str(sandbox.data_dir)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "SANDBOX_RUNNING" in done.stderr


@pytest.mark.parametrize("method", FILER_RPCS)
async def test_the_services_of_a_deployment_refuse_the_certificate_of_another_one(
    sandbox: Sandbox, method: str
) -> None:
    """The services of the sandbox are those of every deployment: what they refuse of a real filer, real ones refuse of an account."""
    state = running_state(sandbox.data_dir / "sandbox")
    assert state is not None
    # Its authority signs it, as if an operator had made both deployments trust one authority.
    foreign = LocalCA(sandbox.data_dir / "foreign", "luxor")
    foreign.directory.mkdir(exist_ok=True)
    for name in ("ca.crt", "ca.key"):
        (foreign.directory / name).write_bytes((authority(sandbox.data_dir).directory / name).read_bytes())
    credentials = foreign.issue("filer", "acme").load().channel_credentials()
    service = method.split(".")[1]
    for target in (sandbox.address, state.endpoints[service]):
        async with grpc.aio.secure_channel(target, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await channel.unary_unary(method)(b"", timeout=20)
            assert reason_of(raised.value) == "IDENTITY_FOREIGN"


async def test_a_certificate_of_another_authority_does_not_reach_the_sandbox(sandbox: Sandbox, tmp_path: Path) -> None:
    party = LocalCA(tmp_path / "tls", DEPLOYMENT).issue("filer", "acme")
    async with Client({"ingestion": sandbox.address}, party, ready_seconds=0.1) as client:
        with pytest.raises(LuxorError, match="TLS_REFUSED"):
            await client.receipts(local_references=["HOLD-1"])


def test_the_conformance_kit_files_nothing_with_a_certificate_that_is_no_sandbox_s(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalCA(tmp_path / "tls", "luxor").issue("filer", "acme")
    with pytest.raises(LuxorError, match="SANDBOX_ONLY"):
        check_deployment(real.load())
    monkeypatch.setenv("LUXOR_TLS_DIR", str(tmp_path / "tls"))
    assert "SANDBOX_ONLY" in sandbox.run("conformance", sandbox.address, "--as", "acme", code=1).stderr
    party = authority(sandbox.data_dir).issue("filer", "acme")
    check_deployment(party.load())


def test_the_conformance_kit_issues_nothing_in_a_directory_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalCA(tmp_path / "tls", "luxor")
    real.ensure()
    monkeypatch.setenv("LUXOR_TLS_DIR", str(real.directory))
    with pytest.raises(TlsError, match=r"tls\.crt"):
        party_of(tmp_path / "data", "filer", "acme")
    assert not real.party("filer", "acme").directory.exists()


def test_the_certificate_of_an_account_is_issued_by_the_sandbox(sandbox: Sandbox) -> None:
    files = sandbox.json("sandbox", "account", "carrier", "swift")
    assert files["identity"] == f"spiffe://{DEPLOYMENT}/carrier/swift"
    assert Path(files["certificate"]).exists()
    assert Path(files["roots"]) == sandbox.data_dir / "sandbox" / "tls" / "ca.crt"


def test_a_case_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    assert "SUN is none of" in sandbox.run("conformance", sandbox.address, "SUN", code=2).stderr
    # A carrier has other cases than a filer.
    assert (
        "HOLD is none of" in sandbox.run("conformance", sandbox.address, "HOLD", "--as", "carrier/acme", code=2).stderr
    )
    assert "officer is none of filer, carrier" in sandbox.run("sandbox", "report", "officer/acme", code=2).stderr

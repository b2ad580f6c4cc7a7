"""The demo: it ends well, twice in a row, and leaves nothing, also when it is interrupted."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.databases import enterable_directory

pytestmark = pytest.mark.long

SECONDS = 120
WITH_OUTCOME = """
import json, os
from libs.cli.demo import demonstration
from libs.cli.main import main

run = demonstration.run

async def noted(system, *, progress, **asked):
    outcome = await run(system, progress=progress, **asked)
    with open(os.environ["OUTCOME"], "w") as file:
        json.dump(demonstration.as_plain(outcome, **asked), file)
    return outcome

demonstration.run = noted
main()
"""
"""The command, which also writes what --json would print."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    directory = enterable_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def processes_in(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("LUXOR_DATA_DIR", "").startswith(str(directory)) or process.cwd().startswith(
                str(directory)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def await_none_in(directory: Path) -> None:
    """Wait until none is left: of a killed demo there may be some that began after anybody looked."""
    ends_at = time.monotonic() + SECONDS
    while left := processes_in(directory):
        assert time.monotonic() < ends_at, left
        psutil.wait_procs(left, timeout=1)


def start(directory: Path, *arguments: str, outcome: Path | None = None) -> "subprocess.Popen[str]":
    environ = os.environ | {"TMPDIR": str(directory), "COLUMNS": "100", "OUTCOME": str(outcome)}
    command = [sys.executable, *(("-m", "libs.cli") if outcome is None else ("-c", WITH_OUTCOME)), "demo", *arguments]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def summed(rows: list[dict[str, Any]]) -> dict[str, int]:
    sums = Counter[str]()
    for row in rows:
        sums[row["currency"]] += row["amount_minor"]
    return dict(+sums)


def test_the_demo_ends_well_twice_in_a_row_prints_tables_for_people_and_leaves_nothing(
    temporary: Path, tmp_path: Path
) -> None:
    printed = []
    for arguments, outcome in ((["--json"], None), ([], tmp_path / "outcome")):
        process = start(temporary, "--count", "300", *arguments, outcome=outcome)
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        assert "Traceback" not in out + err
        printed.append(out)
        assert processes_in(temporary) == []
        assert list(temporary.iterdir()) == []
    told = [json.loads(each) for each in (printed[0], (tmp_path / "outcome").read_text("utf-8"))]
    for each in told:
        assert (each["accepted"], each["refused"], each["amended"]) == (300, {}, 3)
        sales = each["sales"]
        assert sales["refused"] == {}
        assert sales["filed"] == sales["declared"] > 5
        payments = each["payments"]
        assert payments["refused"] == {}
        assert payments["joined"] >= payments["filed"] > 1
        # One payment of the first ten differs, of an order that may have several consignments.
        assert 1 <= payments["contradicting"] < payments["joined"]
        assert sales["contradicted"]["SALE_PAYMENT_DIFFERS"] == 1
        assert sum(row["consignments"] for row in each["lanes"]) == 300
        assert {row["state"] for row in each["lanes"]} <= {"RELEASED", "HELD"}
        assert each["revenue"]
        books = each["ledger"]
        assert (books["consignments"], books["differences"], books["faults"]) == (300, [], [])
        assert books["postings"] > books["entries"] > 0
        # Nothing was paid: what all owe together is what was counted, by currency.
        assert summed(books["owed"]) == summed(each["revenue"])
        assert {row["account_kind"] for row in books["owed"]} >= {"vendor", "deferred"}
        assert set(each["decision_milliseconds"]) == {"p50", "p95", "p99", "p100"}
        assert each["samples"]["vendor"]["debt"]["vendor_collected_minor"] > 0
    # The same seed gives the same traffic, and the same traffic the same decisions and the same revenue.
    assert (told[0]["sales"], told[0]["payments"]) == (told[1]["sales"], told[1]["payments"])
    for name in ("lanes", "reasons", "revenue", "truth"):
        assert sorted(told[0][name], key=str) == sorted(told[1][name], key=str)
    for title in (
        "A payment provider filed",
        "Lanes and states",
        "Revenue",
        "Assessments, ledger and statistics agree on 300",
        "nothing was altered",
        "Owed",
        "Top reasons",
        "Times",
        "Charges",
        "Next steps",
    ):
        assert title in printed[1]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(temporary: Path, how: signal.Signals) -> None:
    process = start(temporary, "--count", "200000")
    while len(processes_in(temporary)) < 7 and process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    process.send_signal(how)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == (-how if how is signal.SIGKILL else 130), (out, err)
    await_none_in(temporary)
    if how is not signal.SIGKILL:
        assert list(temporary.iterdir()) == []
        assert "Traceback" not in err

"""A job fits beside its replica: history, the job and the rest share the memory that the process may use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from libs.server.config.job_memory import BYTES_MAX, BYTES_MIN, SHARE, job_bytes_for
from services.risk.history import bounds as room

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("gibibytes", [1, 4, 12, 256])
def test_a_job_has_a_share_of_what_the_process_may_use(gibibytes: int) -> None:
    assert job_bytes_for(gibibytes << 30) == int(0.3 * (gibibytes << 30))
    # A fifth at least stays for the program, lists and batches.
    assert SHARE + room.SHARE <= 0.8


def test_tiny_and_huge_machines_have_bounds_too() -> None:
    assert job_bytes_for(1) == BYTES_MIN
    assert job_bytes_for(1 << 60) == BYTES_MAX


@pytest.mark.parametrize("size", ["", "-laptop", "-country", "-union"])
@pytest.mark.parametrize("service", ["risk", "revenue"])
def test_no_size_that_is_shipped_gives_a_job_more_than_half_of_its_limit(service: str, size: str) -> None:
    values = yaml.safe_load((ROOT / "deploy" / "chart" / f"values{size}.yaml").read_text("utf-8"))
    match = re.fullmatch(r"(\d+)(Mi|Gi)", values["services"][service]["resources"]["limits"]["memory"])
    assert match
    limit = int(match.group(1)) << {"Mi": 20, "Gi": 30}[match.group(2)]
    assert job_bytes_for(limit) <= limit // 2

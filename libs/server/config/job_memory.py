"""How much memory a job may have beside the replica that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from libs.telemetry.process import memory_of_process

#: Share of the memory that the replica's process may use.
SHARE: Final = 0.3
#: With its modules alone the process of a job holds some 170 MiB.
BYTES_MIN: Final = 256 << 20
BYTES_MAX: Final = 1 << 40


def memory_setting(service: str) -> str:
    """The variable that sets what a service's job may have.

    >>> memory_setting("risk")
    'LUXOR_RISK_JOB_MEMORY_BYTES_MAX'
    """
    return f"LUXOR_{service.upper()}_JOB_MEMORY_BYTES_MAX"


def job_bytes_for(memory_bytes: int) -> int:
    """The bytes that a job may have in a replica with so much memory.

    >>> [job_bytes_for(size << 20) >> 20 for size in (512, 1024, 12 * 1024)]
    [256, 307, 3686]
    """
    return min(max(int(SHARE * memory_bytes), BYTES_MIN), BYTES_MAX)


DERIVED: Final = "three tenths of the memory that the process may use, at least 256 MiB"


def derived_job_bytes(_service: str, _values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    """The bytes that a job may have beside this process where no setting tells them; DERIVED says it in words."""
    return job_bytes_for(memory_of_process())

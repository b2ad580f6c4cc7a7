"""What a process has one of and tests change. Files of tests share a process in an order that depends on how fast each one was, so each
test begins with a log that has said nothing yet, and leaves what it set up of telemetry as it was before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from libs.telemetry import get_logger, logs, sampling
from libs.telemetry.limits import RateLimiter

_SAMPLING = ("ratio", "slow_nanos", "export", "record", "ids", "clock", "off", "asked_at")


@pytest.fixture(autouse=True)
def telemetry_of_its_own() -> Iterator[None]:
    """Take back what a test set up in this process: what is sampled and where spans go, the log's name, level and limits."""
    log, root = get_logger(), logging.getLogger()
    sampled = {name: getattr(sampling.settings, name) for name in _SAMPLING}
    logged = dict(vars(log))
    level, bridges = root.level, _bridges(root)
    # Lines that tests before said would count, and those that they left out would be told beside this one's.
    log.limiter = RateLimiter()
    yield
    vars(log).update(logged)
    for name, value in sampled.items():
        setattr(sampling.settings, name, value)
    root.setLevel(level)
    for each in _bridges(root):
        if each not in bridges:
            root.removeHandler(each)
    for each in bridges:
        root.addHandler(each)  # nothing where it is there


def _bridges(root: logging.Logger) -> list[logging.Handler]:
    return [each for each in root.handlers if isinstance(each, logs.Bridge)]

"""What a process has one of and tests change. Files of tests share a process in an order that depends on how fast each one was, so each
test begins with a log that has said nothing yet, and leaves what it set up of telemetry as it was before.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from libs.store.tables import migrate
from libs.telemetry import get_logger, logs, sampling
from libs.telemetry.limits import RateLimiter

_TREE: Final = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="session", autouse=True)
def objects_of_tests_are_collected() -> Iterator[None]:
    """Exempt from the collector of cycles what was loaded before the first test, and nothing that a service of a test leaves.

    A service that becomes ready exempts all objects of its process, since they live as long as it. In a process of tests each service
    would leave all its objects, and the start of the two hundredth took seven times the CPU time of the first.
    """
    gc.collect()
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "freeze", lambda: None)
        yield


def read_once(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """Have a process read files of the release once: what the function `name` of `module` returns for them is used again.

    Its arguments are paths, or none where it has its own; files outside of the tree are those of a test, and read each time.
    """
    function, results = getattr(module, name), dict[str, Any]()

    def once(*arguments: Any, **options: Any) -> Any:
        paths = [each for value in (*arguments, *options.values()) for each in _several(value)]
        if not all(Path(each).resolve().is_relative_to(_TREE) for each in paths):
            return function(*arguments, **options)
        key = repr((arguments, options))
        if key not in results:
            results[key] = function(*arguments, **options)
        return results[key]

    patch.setattr(module, name, once)


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


@pytest.fixture(scope="session", autouse=True)
def files_of_all_services_are_read_once() -> Iterator[None]:
    """Read the directories of migrations once: each service that starts takes 0.06 s of CPU time for its own."""
    with pytest.MonkeyPatch.context() as patch:
        read_once(patch, migrate, "ScriptDirectory")
        yield

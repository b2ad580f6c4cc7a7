"""A process that has imported what does not change, and runs tests in children that it forks: `tools.mutation` starts it in a copy of the checkout.

Requests and answers are lines of JSON. The first line names the modules to import. Each request names files and, where not all of them are to run,
test ids in their order; the answer is pytest's exit code, or null where the time was over. With `profile`, a file receives how long each test took,
which functions it called, and what was imported.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import pytest

CRASHED: Final = 70
"""Exit code of a child in which pytest could not run at all."""
_POLL_SECONDS: Final = 0.01


class Chosen:
    """A plugin that runs some of the collected tests, in an order of its own."""

    def __init__(self, ids: list[str]) -> None:
        """Take ids of tests in their order."""
        self.place = {each: number for number, each in enumerate(ids)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Select and sort."""
        chosen = [each for each in items if each.nodeid in self.place]
        items[:] = sorted(chosen, key=lambda each: self.place[each.nodeid])


class Profile:
    """A plugin that notes how long each test takes, and which functions of the watched files it calls."""

    def __init__(self, watched: list[str]) -> None:
        """Take the files, relative to the working directory."""
        self.files = {str(Path(each).resolve()): each for each in watched}
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, list[str]] = {}
        self._called_code: set[CodeType] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run a test with its fixtures, watched. Caches are emptied before, since a cached answer calls nothing."""
        for each in gc.get_objects():
            if isinstance(each, functools._lru_cache_wrapper):
                each.cache_clear()
        self._called_code = set()
        begun = time.monotonic()
        sys.settrace(self._trace)
        threading.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.seconds[item.nodeid] = time.monotonic() - begun
            self.calls[item.nodeid] = sorted(
                f"{self.files[code.co_filename]} {code.co_qualname}"
                for code in self._called_code
                if code.co_filename in self.files
            )

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:
        self._called_code.add(frame.f_code)

    def written(self) -> dict[str, Any]:
        """Return all of it, with the modules that were imported."""
        return {"seconds": self.seconds, "calls": self.calls, "modules": sorted(sys.modules)}


def run(request: dict[str, Any]) -> int:
    """Run tests in this process; return pytest's exit code."""
    os.environ.update(request["environ"])
    sys.dont_write_bytecode = "profile" not in request
    quiet = os.open(request["log"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    for descriptor in (1, 2):
        os.dup2(quiet, descriptor)
    plugins: list[object] = []
    if "tests" in request:
        plugins.append(Chosen(request["tests"]))
    profile = Profile(request["watched"]) if "profile" in request else None
    if profile is not None:
        plugins.append(profile)
    # Plugins that the warm process has imported are not rewritten, and need not be.
    options = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    code = pytest.main([*options, *request["files"]], plugins=plugins)
    if profile is not None:
        Path(request["profile"]).write_text(json.dumps(profile.written()), encoding="utf-8")
    sys.stdout.flush()
    return int(code)


def answer(request: dict[str, Any]) -> int | None:
    """Run tests in a child; return its exit code, None where it was ended since its time was over."""
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            os.setsid()
            code = run(request)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    ends_at = time.monotonic() + request["seconds"]
    status = None
    while status is None and time.monotonic() < ends_at:
        done, raw = os.waitpid(child, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(raw)
        else:
            time.sleep(_POLL_SECONDS)
    # What the tests started and left ends with them.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    return status


def main() -> None:
    """Import, then answer until the input ends."""
    for name in json.loads(sys.stdin.readline()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

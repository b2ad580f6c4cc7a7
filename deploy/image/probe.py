"""Asks the service of this container whether it is ready: exit code 0 if so, 1 and a line that says why if not.

Run every few seconds, so it must cost next to nothing: one gRPC call written out by hand over a plain socket, with no
import beyond the standard library's (importing gRPC alone takes ten times as long as this whole program).

    python -I -S probe.py [SERVICE] [NAME]

SERVICE is by default what the container's first process runs; a container that runs no service has nothing to ask for and
is well. NAME is the health name (default: the whole; `alive` for liveness).

Source: gRPC over HTTP/2 (PROTOCOL-HTTP2.md), grpc.health.v1; RFC 9113 frames, RFC 7541 literals without indexing.
"""

import itertools
import os
import socket
import sys

PORTS = {"ingestion": 7401, "risk": 7402, "revenue": 7403, "clearance": 7404, "statistics": 7405}
SECONDS = 3.0
DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x7
END_STREAM, END_HEADERS = 0x1, 0x4
STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def service_of_first_process():
    """Return the service that process 1 runs, or None: the word after the entry module."""
    with open("/proc/1/cmdline", "rb") as file:
        words = file.read().decode("utf-8", "replace").split("\0")
    for word, after in itertools.pairwise(words):
        # Before it has become the service, the first process still bears the entry's name; afterwards as well.
        if word == "libs.cli.entry":
            return after if after in PORTS else None
    return None


def address(service):
    """Return host and port of the service's plaintext health port, by the variables that the service reads."""
    prefix = f"LUXOR_{service.upper()}"
    host = next(
        (
            value
            for name in (f"{prefix}_HEALTH_HOST", "LUXOR_HEALTH_HOST", f"{prefix}_HOST", "LUXOR_HOST")
            if (value := os.environ.get(name))
        ),
        "127.0.0.1",
    )
    port = os.environ.get(f"{prefix}_HEALTH_PORT")
    if not port:
        port = int(os.environ.get(f"{prefix}_PORT") or PORTS[service]) + 100
    return ("127.0.0.1" if host in ("0.0.0.0", "::") else host.split(",")[0], int(port))  # noqa: S104


def frame(kind, flags, stream, payload):
    """Return one HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def text(value):
    """Return a string literal of HPACK without Huffman coding; ours are all shorter than 127 bytes."""
    raw = value.encode()
    return bytes([len(raw)]) + raw


def request(name):
    """Return the bytes of the whole call grpc.health.v1.Health/Check."""
    headers = b"\x83\x86"  # :method POST, :scheme http
    headers += b"\x04" + text("/grpc.health.v1.Health/Check") + b"\x01" + text("localhost")
    headers += b"\x0f\x10" + text("application/grpc") + b"\x00" + text("te") + text("trailers")
    message = (b"\x0a" + text(name)) if name else b""
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
    return opening + frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, body)


def state(stream):
    """Return the state that the answer tells, or None where the call failed."""
    while True:
        head = stream.read(9)
        if len(head) < 9:
            return None
        payload = stream.read(int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        if kind == DATA and len(payload) >= 5:
            # The message is empty for UNKNOWN, else field 1 as a varint of one byte.
            return STATES.get(payload[6] if len(payload) > 6 else 0)
        if kind in (RESET, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
            return None


def main():
    """Ask and tell."""
    service = sys.argv[1] if len(sys.argv) > 1 else service_of_first_process()
    name = sys.argv[2] if len(sys.argv) > 2 else ""
    if service is None:
        return 0
    where = address(service)
    try:
        with socket.create_connection(where, SECONDS) as connection, connection.makefile("rb") as stream:
            connection.sendall(request(name))
            found = state(stream)
    except OSError as error:
        print(f"{service} does not answer at {where[0]}:{where[1]}: {error}")
        return 1
    if found != "SERVING":
        print(f"{service} at {where[0]}:{where[1]} says {found or 'nothing of ' + repr(name)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

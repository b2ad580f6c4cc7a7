"""The ports of a service: their addresses, and the limits of the transport."""

from collections.abc import Callable
from typing import Any

from libs.server.config.server_config import ServerConfig

STREAMS_MAX = 100
"""Calls of one connection at once; further ones wait in the client's transport."""

WINDOW_BYTES = 65_536
"""Bytes of a request that the transport buffers before its call is admitted."""

PROBE_BYTES_MAX = 4096
"""Longest message on the health port, which knows no identities."""


def server_options(config: ServerConfig) -> list[tuple[str, Any]]:
    """Return gRPC's options: limits, keepalive, and an end to each connection's life."""
    longest = max(config.long_poll_seconds_max, config.deadline_seconds_max)
    return [
        ("grpc.max_receive_message_length", 2 * config.message_bytes_max),
        ("grpc.max_send_message_length", 2 * config.message_bytes_max),
        ("grpc.max_allowed_incoming_connections", config.connections_max),
        ("grpc.max_concurrent_streams", STREAMS_MAX),
        ("grpc.server_handshake_timeout_ms", 10_000),
        # A request whose call is not admitted waits in a window of fixed size; one that is read gets the window it needs.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        # Two processes on one port would share its calls silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_connection_age_ms", round(config.connection_age_seconds_max * 1000)),
        ("grpc.max_connection_age_grace_ms", round((longest + 5) * 1000)),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 4),
    ]


def health_options() -> list[tuple[str, Any]]:
    """Return gRPC's options of the health port."""
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", PROBE_BYTES_MAX),
        ("grpc.max_allowed_incoming_connections", STREAMS_MAX),
        ("grpc.max_concurrent_streams", STREAMS_MAX),
    ]


def bind(add: Callable[[str], int], hosts: str, port: int) -> int:
    """Open one port at each of several addresses (`a,b`) by `add`, and return it."""
    for host in hosts.split(","):
        port = add(_address(host.strip(), port))
    return port


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""Channels to services: mutual TLS, all addresses by round robin, retries, and certificates that follow their files.

A stub on such a channel passes on the trace of the work that is going on, and inside of a served call no more time than
is left of it.
"""

import asyncio
import json
import random
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import grpc

from libs.server import call as calls
from libs.server import errors
from libs.server.errors import Refusal
from libs.server.transport.tls import Material, Party
from libs.telemetry import trace

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""The documented limit of a request; the transport takes twice that both ways, as the servers do."""

PROBE_SECONDS = 2.0
TLS_PROBES = 3
"""Consecutive failures of a handshake before they are reported: one with a server that is ending fails too."""
CLOSE_SECONDS = 90.0
"""How long calls on a channel with a replaced certificate may continue: above the longest poll."""

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                # Every RPC that changes something has a request_id, so a repeat is harmless.
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""What says that a server is away. Cancelled is what it had no time to begin before it stopped: we cancel by other means."""

Answer = TypeVar("Answer")
Credentials = Party | Material | grpc.ChannelCredentials


def options(message_bytes_max: int = MESSAGE_BYTES_MAX) -> list[tuple[str, Any]]:
    """Return the options of a channel whose server documents `message_bytes_max`."""
    return [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        ("grpc.enable_retries", 1),
        # By default gRPC buffers 256 KiB for a retry, so a large batch would never be sent again.
        ("grpc.per_rpc_retry_buffer_size", 4 * message_bytes_max),
        ("grpc.max_send_message_length", 2 * message_bytes_max),
        ("grpc.max_receive_message_length", 2 * message_bytes_max),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Each channel has connections of its own: a renewed certificate must not meet an old connection.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.primary_user_agent", "luxor"),
    ]


def channel(target: str, credentials: Credentials, *, message_bytes_max: int = MESSAGE_BYTES_MAX) -> "LuxorChannel":
    """Return a channel to `target` (dns:///host:port resolves all addresses; a bare host:port is taken as that).

    With a Party as credentials, renewed files are taken up within a second, and calls in flight end on the old
    connections. Raise TlsError where the party's files cannot be read.
    """
    full = target if "//" in target or target.startswith(("ipv4:", "ipv6:", "unix:")) else f"dns:///{target}"
    return LuxorChannel(full, credentials, [*options(message_bytes_max), *_authority(full)])


def _authority(target: str) -> list[tuple[str, Any]]:
    """Return the option that a target of listed addresses needs: they share no name, so the name that every service's certificate has is checked."""
    return [("grpc.default_authority", "localhost")] if target.startswith(("ipv4:", "ipv6:")) else []


class LuxorChannel(grpc.aio.Channel):
    """A channel that is replaced when its party's files change; see `channel`."""

    def __init__(self, target: str, credentials: Credentials, channel_options: Sequence[tuple[str, Any]]) -> None:
        """Open the first connection lazily, as gRPC does."""
        self.target = target
        self.credentials = credentials
        self._options = channel_options
        self._stamp = credentials.stamp() if isinstance(credentials, Party) else ()
        self._inner: grpc.aio.Channel = self._open()
        self.looked_at = 0.0
        self._generation = 0
        self._closing: set[asyncio.Task[None]] = set()

    def _open(self) -> grpc.aio.Channel:
        given = self.credentials
        if isinstance(given, Party):
            given = given.load().channel_credentials()
        elif isinstance(given, Material):
            given = given.channel_credentials()
        return grpc.aio.secure_channel(self.target, given, options=list(self._options))

    def inner(self) -> tuple[grpc.aio.Channel, int]:
        """Return gRPC's channel of this moment and its generation."""
        if isinstance(self.credentials, Party):
            now = asyncio.get_running_loop().time()
            if now - self.looked_at >= 1.0:
                self.looked_at = now
                self._follow(self.credentials)
        return self._inner, self._generation

    def _follow(self, party: Party) -> None:
        try:
            stamp = party.stamp()
            if stamp == self._stamp:
                return
            fresh = self._open()
        except Exception:
            return  # files in the middle of being replaced: the next look takes them
        old, self._inner, self._stamp = self._inner, fresh, stamp
        self._generation += 1
        task = asyncio.get_running_loop().create_task(old.close(CLOSE_SECONDS))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def unary_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what calls a unary method."""
        return _MultiCallable(self, "unary_unary", arguments, keywords)

    def unary_stream(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what calls a server-streaming method."""
        return _MultiCallable(self, "unary_stream", arguments, keywords)

    def stream_unary(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what calls a client-streaming method."""
        return _MultiCallable(self, "stream_unary", arguments, keywords)

    def stream_stream(self, *arguments: Any, **keywords: Any) -> Any:
        """Return what calls a method that streams both ways."""
        return _MultiCallable(self, "stream_stream", arguments, keywords)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the current connection."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the state is another one."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until connected."""
        await self._inner.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close, giving calls in flight `grace` seconds."""
        for task in list(self._closing):
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._inner.close(grace)

    async def __aenter__(self) -> "LuxorChannel":
        """Return the channel."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the channel."""
        await self.close()


class _MultiCallable:
    """Calls one method on the channel of the moment, with trace and deadline passed on."""

    __slots__ = ("_arguments", "_channel", "_generation", "_inner", "_keywords", "_kind")

    def __init__(self, owner: LuxorChannel, kind: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._channel = owner
        self._kind = kind
        self._arguments = arguments
        self._keywords = keywords
        self._generation = -1
        self._inner: Any = None

    @property
    def channel(self) -> LuxorChannel:
        return self._channel

    def __call__(self, request: Any, *, timeout: float | None = None, metadata: Any = None, **call_options: Any) -> Any:
        inner, generation = self._channel.inner()
        if generation != self._generation:
            self._inner = getattr(inner, self._kind)(*self._arguments, **self._keywords)
            self._generation = generation
        return self._inner(request, timeout=time_left(timeout), metadata=with_trace(metadata), **call_options)


def time_left(timeout: float | None) -> float | None:
    """Return the seconds that a call may take: inside of a served call, no more than are left of it."""
    serving = calls.current_or_none()
    if serving is None:
        return timeout
    return serving.deadline if timeout is None else min(timeout, serving.deadline)


def with_trace(metadata: Any) -> tuple[tuple[str, Any], ...]:
    """Return metadata with the trace of the work that is going on."""
    header = trace.traceparent()
    entries = tuple(metadata or ())
    return (*entries, ("traceparent", header)) if header else entries


async def invoke(
    method: Callable[..., Awaitable[Answer]],
    request: Any,
    *,
    timeout: float,
    patience: float = 0.0,
    metadata: Any = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Answer:
    """Call a unary method of a stub and return its answer, sending the same request again while that can help.

    RESOURCE_EXHAUSTED with RetryInfo waits as long as it says; UNAVAILABLE (after gRPC's own retries) and CANCELLED back
    off up to two seconds; all within `timeout` seconds. With `patience`, a server that is away or not ready is waited for so many
    seconds, and the time for the answer begins when it is back; not inside of a served call, which has its own end. A
    request that changes something must bear its request_id. Raise Refusal TLS_REFUSED where the handshake fails, else
    grpc.aio.AioRpcError of the last try; of the one before it where that told a reason and the last had no time to.
    """
    clock = asyncio.get_running_loop().time
    last_start = ends_at = clock() + (time_left(timeout) or 0.0)
    patience = patience if calls.current_or_none() is None else 0.0
    waiting = False
    pause = 0.1
    probes_left = TLS_PROBES
    told: grpc.aio.AioRpcError | None = None
    while True:
        try:
            return await method(request, timeout=max(0.001, ends_at - clock()), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            code = error.code()
            wait: float | None = None
            if told is not None and code is grpc.StatusCode.DEADLINE_EXCEEDED and not errors.reason_of(error):
                raise told from None
            told = error if errors.reason_of(error) else told
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                wait = errors.retry_after(error)
            elif code in AWAY:
                owner = getattr(method, "channel", None)
                if probes_left and isinstance(owner, LuxorChannel) and not errors.reason_of(error):
                    found = await explain_unavailable(owner.target, owner.credentials)
                    probes_left = probes_left - 1 if found is not None and found.reason == "TLS_REFUSED" else 0
                    if found is not None and found.reason == "TLS_REFUSED" and not probes_left:
                        raise found from error
                if patience and not waiting:
                    waiting, last_start = True, max(last_start, clock() + patience)
                wait, pause = errors.retry_after(error) or pause, min(pause * 2, 2.0)
            # Some more than was asked for, so that those who were refused together do not come back together.
            wait = None if wait is None else wait * (1 + random.random() * 0.5)  # noqa: S311
            if wait is None or clock() + wait >= (last_start if code in AWAY else ends_at):
                raise
            if patience and code in AWAY:
                ends_at = max(ends_at, clock() + wait + timeout)
        await sleep(wait)


async def explain_unavailable(target: str, credentials: Party | Material | object) -> Refusal | None:
    """Return why `target` is UNAVAILABLE: TLS_REFUSED, TARGET_UNREACHABLE, or None if a handshake succeeds now.

    gRPC reports a failed handshake as UNAVAILABLE; one connection with Python's ssl tells it apart. Takes two seconds
    at most. Of several addresses all are asked at once: None if one of them answers now, otherwise a refused handshake before an absent server.
    """
    material = credentials.load() if isinstance(credentials, Party) else credentials
    listed = unquote(target.rpartition("/")[2].removeprefix("ipv4:").removeprefix("ipv6:")).split(",")
    addresses = [(host.strip("[]"), port) for host, _, port in (each.rpartition(":") for each in listed)]
    if not isinstance(material, Material) or not all(port.isdigit() for _, port in addresses):
        return None
    found = await asyncio.gather(*(_explain(target, host, int(port), material) for host, port in addresses))
    if None in found:
        return None
    return next((each for each in found if each is not None and each.reason == "TLS_REFUSED"), found[0])


async def _explain(target: str, host: str, port: int, material: Material) -> Refusal | None:
    """Return why one address of `target` is UNAVAILABLE; see `explain_unavailable`."""
    spoke = False
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            # A rejected client certificate shows only on the first read in TLS 1.3, so wait for the server's HTTP/2
            # settings.
            reader, writer = await asyncio.open_connection(host, port, ssl=_context(material))
            spoke = True
            try:
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
                await writer.drain()
                if not await reader.read(9):
                    return Refusal(
                        "TLS_REFUSED", target=target, why="the server closed the connection after the handshake"
                    )
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        return Refusal("TLS_REFUSED", target=target, why=error.reason or "unknown TLS error")
    except ConnectionResetError:
        if not spoke:
            # A proxy takes connections for a server that is starting, and drops them: not one word of TLS was said.
            return Refusal("TARGET_UNREACHABLE", target=target, why="the connection was taken and dropped")
        return Refusal("TLS_REFUSED", target=target, why="the server reset the connection after the handshake")
    except TimeoutError:
        return Refusal("TARGET_UNREACHABLE", target=target, why=f"no answer within {PROBE_SECONDS:g} s")
    except OSError as error:
        return Refusal("TARGET_UNREACHABLE", target=target, why=error.strerror or str(error))
    return None


def _context(material: Material) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=material.roots.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    # ssl takes the client's certificate from a file only.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        path.touch(mode=0o600)
        path.write_bytes(material.key + b"\n" + material.certificates)
        context.load_cert_chain(path)
    return context

"""Whether processes are ready: they say so on their plaintext health ports."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

LOOK_SECONDS: Final = 0.1
CALL_SECONDS: Final = 2.0


class Unready(Exception):
    """Processes did not become ready in time; says which, and ends with their logs."""

    def __init__(self, missing: Iterable[str], tails: Mapping[str, str] | None = None) -> None:
        """Make the sentence."""
        self.missing = sorted(missing)
        self.tails = dict(tails or {})
        told = "".join(f"\n--- {name}\n{tail}" for name, tail in self.tails.items() if tail)
        super().__init__(f"Not ready in time: {', '.join(self.missing)}.{told}")


def are_ready(addresses: Mapping[str, str]) -> dict[str, bool]:
    """Return the health of each process, from one simultaneous request to each."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    channels = {name: grpc.insecure_channel(address) for name, address in addresses.items()}
    try:
        request = health_pb2.HealthCheckRequest()
        asked = {
            name: health_pb2_grpc.HealthStub(channel).Check.future(request, timeout=CALL_SECONDS)
            for name, channel in channels.items()
        }
        found = {}
        for name, answer in asked.items():
            try:
                found[name] = answer.result().status == health_pb2.HealthCheckResponse.SERVING
            except grpc.RpcError:
                found[name] = False
        return found
    finally:
        for channel in channels.values():
            channel.close()


def wait_ready(
    addresses: Mapping[str, str],
    seconds: float,
    *,
    progress: Callable[[dict[str, bool]], None] | None = None,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Wait until all are ready; raise Unready after `seconds` or as soon as `alive` is false."""
    deadline = time.monotonic() + seconds
    while True:
        ready = are_ready(addresses)
        if progress is not None:
            progress(ready)
        missing = [name for name, each in ready.items() if not each]
        if not missing:
            return
        if time.monotonic() > deadline or not alive():
            raise Unready(missing)
        time.sleep(LOOK_SECONDS)

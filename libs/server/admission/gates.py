"""The gates of a server: calls of services have limits of their own, which external callers cannot use."""

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from libs.server.admission.gate import Gate
from libs.server.admission.overload import Brake
from libs.server.admission.slow_requests import SLOW_MAX, SlowRequests
from libs.server.config.server_config import ServerConfig
from libs.server.identity import Identity, Role


class Gates(NamedTuple):
    """The two gates of a method."""

    outside: Gate
    services: Gate
    """For callers of the role `service`. Each may take all places: all replicas of a service are one caller, and there are few."""

    def gate_for(self, caller: Identity) -> Gate:
        """Return the gate that a caller's calls go through."""
        return self.services if caller.role is Role.SERVICE else self.outside


class ServerGates:
    """The gates of all methods."""

    def __init__(self, config: ServerConfig, clock: Callable[[], float] = monotonic) -> None:
        """Take the limits from the configuration; the gates of services have the same ones again. `clock` is in seconds."""
        self._config = config
        self._clock = clock
        self._slow = SlowRequests()
        self._slow_of_services = SlowRequests(SLOW_MAX, SLOW_MAX)
        self.calls = Gates(
            self._calls(config.in_flight_per_caller_max, self._slow),
            self._calls(config.in_flight_max, self._slow_of_services),
        )
        self.long_polls = Gates(
            self._long_polls(config.long_polls_per_caller_max, self._slow),
            self._long_polls(config.long_polls_max, self._slow_of_services),
        )
        self.by_kind = {
            "call": [self.calls.outside],
            "service_call": [self.calls.services],
            "long_poll": [self.long_polls.outside],
            "service_long_poll": [self.long_polls.services],
        }
        """All gates, by the kind of calls that the metrics show."""
        self._with_brakes: list[tuple[Brake, Gates]] = []

    def with_brake(self, brake: Brake) -> Gates:
        """Return the gates of the methods that a brake holds back, the same for all of them; services have those of other calls."""
        for known, gates in self._with_brakes:
            if known is brake:
                return gates
        gate = self._calls(self._config.in_flight_per_caller_max, self._slow, brake)
        brake.on_room(gate.admit)
        self.by_kind["call"].append(gate)
        gates = Gates(gate, self.calls.services)
        self._with_brakes.append((brake, gates))
        return gates

    def _calls(self, per_caller_max: int, slow: SlowRequests, brake: Brake | None = None) -> Gate:
        config = self._config
        return Gate(
            config.in_flight_max,
            per_caller_max,
            waiting_max=2 * config.in_flight_max,
            bytes_max=config.in_flight_bytes_max,
            brake=brake,
            slow=slow,
            clock=self._clock,
        )

    def _long_polls(self, per_caller_max: int, slow: SlowRequests) -> Gate:
        config = self._config
        return Gate(
            config.long_polls_max,
            per_caller_max,
            "TOO_MANY_LONG_POLLS",
            waiting_max=config.in_flight_max,
            bytes_max=config.in_flight_bytes_max,
            adapts=False,
            slow=slow,
            clock=self._clock,
        )

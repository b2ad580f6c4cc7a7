"""Admission: which calls run now, which wait, and which are refused, before anything of a request is received.

A call takes a place or waits in the queue of its caller. Places go to the caller that has had the least (start-time fair
queueing, charged by the bytes of requests), so a caller that sends much waits for its own calls only. The measure of
overload is the age of a queue, as in CoDel: a queue that has stood for long refuses what waits in it for longer than the
target. A refusal states when the same call can expect a place.

Goyal, Vin, Cheng: Start-time Fair Queueing, 1996; Nichols, Jacobson: RFC 8289; fair queues of CoDel: RFC 8290.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

from libs.server.admission.overload import Brake, Overload, Refused, refused
from libs.server.admission.slow_requests import SlowRequests
from libs.server.identity import Identity

RETRY_SECONDS_MIN: Final = 0.02
RETRY_SECONDS_MAX: Final = 5.0

WAIT_SECONDS_MAX: Final = 1.0
"""Longest wait for a place."""
STANDING_SECONDS: Final = 2.0
"""After so many seconds without being empty, a queue counts as standing: not a burst, but overload."""
STANDING_WAIT_SECONDS_MAX: Final = 0.5
"""Longest wait in a standing queue."""
SPARSE_WAIT_SECONDS_MAX: Final = 3.0
"""Longest wait of a caller below its share: others cause the wait, and it is next."""
SWEEP_SECONDS: Final = 0.05
"""Interval of the checks of the queues while calls wait."""

PLACES_FIRST: Final = 16
PLACES_MIN: Final = 8
LATE_SECONDS: Final = 0.1
"""Lateness of the event loop from which fewer calls run at once, since more calls would only delay all of them."""

CALL_BYTES: Final = 4096
"""Cost of a call in addition to its bytes, in bytes."""
UNKNOWN_AT_ONCE: Final = 4
"""Requests of unknown size that are received at once: a caller's first message is expected to have a quarter of the bytes in flight."""
UNKNOWN_BYTES: Final = 64 * 1024
"""Bytes that a request of unknown size counts in comparisons with the work of others, until it is received."""
_UNBOUNDED: Final = 2**62
CALLERS_MAX: Final = 4096
"""Callers that are remembered without a call in flight."""


class Caller:
    """The calls and the estimates of one caller."""

    __slots__ = ("finish", "in_flight", "message_bytes", "place_at", "size_known", "slow", "standing_since", "waiting")

    def __init__(self, message_bytes: int) -> None:
        """Begin without calls; `message_bytes` is the expected size of the first message."""
        self.in_flight = 0
        self.slow = 0
        self.waiting: deque[_Waiter] = deque()
        self.finish = 0.0
        self.message_bytes = message_bytes
        self.size_known = not message_bytes
        """Whether a message of this caller has been received, so that its size predicts that of the next."""
        self.place_at = 0.0
        self.standing_since = 0.0


class Place:
    """The place of one call, until `Gate.leave`."""

    __slots__ = ("bytes", "caller", "charged", "decoding", "slow", "work")

    def __init__(self, caller: Caller, expected: int, work: int) -> None:
        """Take a place for a message that may need `expected` bytes of memory and probably has `work` bytes."""
        self.caller = caller
        self.bytes = expected
        self.work = work
        self.charged = expected + CALL_BYTES
        self.slow = False
        self.decoding = False


class _Waiter:
    __slots__ = ("future", "since")

    def __init__(self, future: "asyncio.Future[Place | Refused]", since: float) -> None:
        self.future = future
        self.since = since


class Gate:
    """Admits the calls of a server, or of one of its methods.

    A caller may have `per_caller_max` calls in flight. When half of the places are taken, it may have no more than an equal
    share among the present callers and one further caller, so that there is always room for another caller.
    At most `in_flight_max` calls run; the present number follows the lateness of the event loop. Up to `waiting_max` calls
    wait. `bytes_max` bounds the bytes of requests in flight.
    """

    def __init__(
        self,
        in_flight_max: int,
        per_caller_max: int,
        over: str = "OVERLOADED",
        *,
        waiting_max: int = 0,
        bytes_max: int | None = None,
        brake: Brake | None = None,
        adapts: bool = True,
        slow: SlowRequests | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Take the limits, and the reason of refusals when the gate is full.

        With `adapts`, how many calls run follows the lateness of the loop; without, `in_flight_max` may. Gates may share
        their bounds of `slow` requests.
        """
        self._adapts = adapts and waiting_max > 0
        self.in_flight_max = in_flight_max
        self._per_caller_max = per_caller_max
        self._over = over
        self._waiting_max = waiting_max
        self._bytes_max = bytes_max if bytes_max is not None else _UNBOUNDED
        self._brake = brake
        self._slow = SlowRequests() if slow is None else slow
        self._clock = clock
        self._callers: dict[Identity, Caller] = {}
        self._queued: dict[Identity, Caller] = {}
        self._decoders: deque[tuple[asyncio.Future[None], Place]] = deque()
        self._virtual = 0.0
        self._bytes = 0
        self._work = 0
        self._decoding = 0
        self._mean_seconds = 0.1
        self._gap_seconds = 0.1
        self._left_at = 0.0
        self._sweep: asyncio.TimerHandle | None = None
        self.places = min(PLACES_FIRST, in_flight_max) if self._adapts else in_flight_max
        """Calls that may run at once now."""
        self.in_flight = 0
        self.waiting = 0
        self.callers = 0
        """Callers with calls in flight."""

    def enter(self, identity: Identity) -> Place | None:
        """Take a place, or return None where the call has to `wait`; raise Overload where calls do not wait."""
        caller = self._callers.get(identity)
        if caller is None:
            caller = self._callers[identity] = self._new()
        if not self._queued and self._may_run(caller):
            return self._take(caller)
        if not self._waiting_max:
            raise Overload(self._refuse(caller))
        return None

    async def wait(self, identity: Identity) -> Place:
        """Wait for a place; raise Overload where there is none in time."""
        caller = self._callers.get(identity)
        if caller is None:
            caller = self._callers[identity] = self._new()
        self._make_room(caller)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), self._clock())
        if not caller.waiting:
            caller.standing_since = waiter.since
            self._queued[identity] = caller
        caller.waiting.append(waiter)
        self.waiting += 1
        self.admit()
        if self._sweep is None and self.waiting:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look, loop.time() + SWEEP_SECONDS)
        try:
            answer = await waiter.future
        except asyncio.CancelledError:
            if not waiter.future.cancelled():
                answer = waiter.future.result()
                if isinstance(answer, Place):
                    self.leave(answer, 0.0)
            elif waiter in caller.waiting:
                caller.waiting.remove(waiter)
                self._dequeued(identity, caller)
            raise
        if isinstance(answer, Refused):
            raise Overload(answer)
        return answer

    def received(self, place: Place, size: int) -> bool:
        """Record the size of a received message; return whether it may be decoded now, or must await `decode`."""
        caller, size_known = place.caller, place.caller.size_known
        if place.slow:
            self._slow.received(place)
        else:
            self._bytes += size - place.bytes
            self._work += size - place.work
        place.bytes = place.work = size
        # A first or larger size counts immediately; smaller ones lower the estimate gradually.
        caller.message_bytes = max(size, (caller.message_bytes * 7 + size) >> 3) if size_known else size
        caller.size_known = True
        cost = size + CALL_BYTES
        caller.finish += cost - place.charged
        place.charged = cost
        if not size_known and self._queued:
            self.admit()
        if place.slow or (self._decoding and self._decoding + size > self._bytes_max):
            return False
        place.decoding = True
        self._decoding += size
        return True

    async def decode(self, place: Place, identity: Identity) -> Place:
        """Wait until the message may be decoded, and return its place. Raise Overload where that takes too long."""
        if place.slow:
            # It lost its place while it was being received, and needs another one now.
            size = place.bytes
            self._not_slow(place)
            try:
                new_place = self.enter(identity) or await self.wait(identity)
            finally:
                self._slow.discard(place)
            place = new_place
            if self.received(place, size):
                return place
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._decoders.append((turn, place))
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                await turn
        except TimeoutError:
            self.leave(place, 0.0)
            raise Overload(self._refuse(place.caller)) from None
        except asyncio.CancelledError:
            self.leave(place, 0.0)
            raise
        return place

    def slow(self, place: Place, end: Callable[[], None]) -> None:
        """Free the place of a call whose message arrives slowly, so that it does not block others. `end` ends the call if there are too many."""
        caller = place.caller
        self._free(place)
        place.slow = True
        caller.slow += 1
        caller.size_known = False
        self._slow.add(place, caller, end)
        self.admit()

    def leave(self, place: Place, seconds: float) -> None:
        """Release the place; `seconds` is the duration of the call, from which waiting times are estimated."""
        if place.decoding:
            place.decoding = False
            self._decoding -= place.bytes
            self._decode_next()
        if place.slow:
            self._not_slow(place)
            self._slow.discard(place)
            return
        self._free(place)
        if seconds:
            now = self._clock()
            self._mean_seconds += (seconds - self._mean_seconds) * 0.05
            self._gap_seconds += (min(now - self._left_at, 1.0) - self._gap_seconds) * 0.05
            self._left_at = now
        if len(self._callers) > CALLERS_MAX:
            self._forget()
        if self._queued:
            self.admit()

    def admit(self) -> None:
        """Assign the free places to waiting calls, first to the caller that has received the least."""
        while self._queued and self.in_flight < self.places:
            best: tuple[Identity, Caller] | None = None
            for identity, caller in self._queued.items():
                if (best is None or caller.finish < best[1].finish) and self._may_run(caller):
                    best = identity, caller
            if best is None:
                return
            identity, caller = best
            waiter = caller.waiting.popleft()
            self._dequeued(identity, caller)
            if not waiter.future.done():
                waiter.future.set_result(self._take(caller))

    # ------------------------------------------------------------------------------------------ rules

    def _may_run(self, caller: Caller) -> bool:
        if self.in_flight >= self.places or caller.in_flight >= self._share():
            return False
        if self._bytes + caller.message_bytes > self._bytes_max and self.in_flight:
            return False
        if caller.in_flight and (caller.slow or not caller.size_known):
            return False
        if self._brake is None:
            return True
        if self._brake.room(self._work, spare=False):
            return True
        # A caller below its share does not wait for the work of others: a part of the room is reserved for such callers.
        return self._is_sparse(caller) and self._brake.room(self._work, spare=True)

    def _new(self) -> Caller:
        return Caller(self._bytes_max // UNKNOWN_AT_ONCE if self._bytes_max < _UNBOUNDED else 0)

    def _share(self) -> int:
        if self.in_flight * 2 < self.places:
            return self._per_caller_max
        # With room for one further caller. A caller without a call in flight may always have one.
        return min(self._per_caller_max, max(1, self.places // (self.callers + 1)))

    def _is_sparse(self, caller: Caller) -> bool:
        """Return whether a caller has received less than the others, or requests less than half of an equal share."""
        if caller.finish < self._virtual:
            return True
        total, callers = self._work, self.callers
        for each in self._queued.values():
            total += len(each.waiting) * (_work_of(each) + CALL_BYTES)
            callers += not each.in_flight
        own = (caller.in_flight + max(1, len(caller.waiting))) * (_work_of(caller) + CALL_BYTES)
        return own * callers * 2 <= total

    def _take(self, caller: Caller) -> Place:
        place = Place(caller, caller.message_bytes, _work_of(caller))
        self._virtual = max(self._virtual, caller.finish)
        caller.finish = self._virtual + place.charged
        self.callers += not caller.in_flight
        caller.in_flight += 1
        self.in_flight += 1
        self._bytes += place.bytes
        self._work += place.work
        return place

    def _not_slow(self, place: Place) -> None:
        place.slow = False
        place.caller.slow -= 1

    def _free(self, place: Place) -> None:
        caller = place.caller
        caller.in_flight -= 1
        self.in_flight -= 1
        self.callers -= not caller.in_flight
        self._bytes -= place.bytes
        self._work -= place.work

    def _decode_next(self) -> None:
        while self._decoders:
            turn, place = self._decoders[0]
            if not turn.done():
                if self._decoding and self._decoding + place.bytes > self._bytes_max:
                    return
                self._decoding += place.bytes
                place.decoding = True
                turn.set_result(None)
            self._decoders.popleft()

    def _make_room(self, caller: Caller) -> None:
        """If all queues are full, refuse the newest call of the longest one: of the caller's own, unless another is longer."""
        longest = max(self._queued.values(), key=lambda each: len(each.waiting), default=caller)
        if len(caller.waiting) * 4 >= self._waiting_max and len(self._queued) > 1:
            raise Overload(self._refuse(caller))
        if self.waiting < self._waiting_max:
            return
        if len(longest.waiting) <= len(caller.waiting) + 1:
            raise Overload(self._refuse(caller))
        waiter = longest.waiting.pop()
        self.waiting -= 1
        if not waiter.future.done():
            waiter.future.set_result(self._refuse(longest))

    def _dequeued(self, identity: Identity, caller: Caller) -> None:
        self.waiting -= 1
        if not caller.waiting:
            self._queued.pop(identity, None)

    def _look(self, due: float) -> None:
        """Refuse calls that waited too long, and adjust the number of calls that may run at once."""
        loop = asyncio.get_running_loop()
        late = loop.time() - due
        if self._adapts and late > LATE_SECONDS:
            self.places = max(min(PLACES_MIN, self.in_flight_max), self.places * 3 // 4)
        elif self._adapts and self.waiting and self.places < self.in_flight_max:
            self.places += 1
        now = self._clock()
        self.admit()
        for identity, caller in list(self._queued.items()):
            standing = now - caller.standing_since > STANDING_SECONDS
            longest = STANDING_WAIT_SECONDS_MAX if standing else WAIT_SECONDS_MAX
            if self._is_sparse(caller):
                longest = SPARSE_WAIT_SECONDS_MAX
            while caller.waiting and now - caller.waiting[0].since > longest:
                waiter = caller.waiting.popleft()
                self._dequeued(identity, caller)
                if not waiter.future.done():
                    waiter.future.set_result(self._refuse(caller))
        self._sweep = None
        if self.waiting:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._look, loop.time() + SWEEP_SECONDS)

    def _refuse(self, caller: Caller) -> Refused:
        now = self._clock()
        seconds, reason, count = self._mean_seconds, self._over, self.in_flight
        if self._brake is not None and not self._brake.room(self._work, spare=False):
            seconds, reason = max(seconds, self._brake.seconds()), self._brake.reason
        elif self.in_flight < self.places and self._over == "OVERLOADED":
            reason, count = "CALLER_OVER_SHARE", caller.in_flight
        # Refused callers are expected one after the other, as places become free, and not all at the same time.
        caller.place_at = max(now + seconds, caller.place_at + self._gap_seconds * max(1, len(self._queued)))
        seconds = min(max(caller.place_at - now, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX)
        caller.place_at = min(caller.place_at, now + RETRY_SECONDS_MAX)
        return refused(reason, max(2, math.ceil(seconds * 20) * 5 if seconds > 0.1 else round(seconds * 100)), count)

    def _forget(self) -> None:
        """Forget callers without calls in flight; those with the highest charges are forgotten last."""
        idle = [
            (each.finish, name)
            for name, each in self._callers.items()
            if not (each.in_flight or each.slow or each.waiting)
        ]
        for _, name in sorted(idle)[: len(self._callers) - CALLERS_MAX * 3 // 4]:
            del self._callers[name]


def _work_of(caller: Caller) -> int:
    return caller.message_bytes if caller.size_known else min(caller.message_bytes, UNKNOWN_BYTES)

"""The steps of the chain clause by clause, without sockets and in virtual time: a context that the test fills in stands for gRPC's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from libs.server import call
from libs.server.config.server_config import ServerConfig
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from libs.server.interceptor import chain
from tests.support.chains import (
    LIMITS,
    SERVICE,
    Context,
    Log,
    Message,
    called,
    chain_of,
    echo,
    serve,
    unary,
)
from tests.support.gates import Brake
from tests.support.virtual_loop import VirtualLoop, run


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    return Log(monkeypatch)


# ------------------------------------------------------------------------------------------------ registration


def whole(number: int, _context: Any) -> Any:
    raise AssertionError(number)


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (grpc.unary_unary_rpc_method_handler(echo, lambda raw: raw, Message.SerializeToString), "no protobuf request"),
        (grpc.unary_unary_rpc_method_handler(echo, Message().ParseFromString, Message.SerializeToString), "no protobuf request"),
        (grpc.unary_unary_rpc_method_handler(echo, int.from_bytes, Message.SerializeToString), "no protobuf request"),
        (grpc.unary_unary_rpc_method_handler(whole, Message.FromString, Message.SerializeToString), "must be a coroutine function"),
        (grpc.unary_stream_rpc_method_handler(echo, Message.FromString, Message.SerializeToString), "must be a coroutine function"),
        (grpc.stream_unary_rpc_method_handler(echo, Message.FromString, Message.SerializeToString), "must be a coroutine function"),
        (grpc.stream_stream_rpc_method_handler(echo, Message.FromString, Message.SerializeToString), "must be a coroutine function"),
    ],
)  # fmt: skip
def test_a_handler_of_another_kind_is_refused(handler: Any, says: str) -> None:
    made = chain_of()
    with pytest.raises(TypeError, match=says):
        made.register(f"/{SERVICE}/Echo", handler, frozenset({Role.FILER}), long_poll=False)
    assert made.names == frozenset()


def test_a_call_has_a_place_among_calls_a_long_poll_among_long_polls_and_one_with_a_brake_in_a_gate_of_its_own() -> (
    None
):
    async def main(_loop: VirtualLoop) -> None:
        made, seen = chain_of("Echo", "Poll", "Braked"), list[list[int]]()

        async def look(request: Any, _context: Any) -> Any:
            seen.append([gate.in_flight for kind in made.gates.by_kind.values() for gate in kind])
            return request

        brake = Brake(10**9)
        made.register(f"/{SERVICE}/Echo", unary(look), frozenset({Role.FILER, Role.SERVICE}), long_poll=False)
        made.register(f"/{SERVICE}/Poll", unary(look), frozenset({Role.FILER, Role.SERVICE}), long_poll=True)
        made.register(
            f"/{SERVICE}/Braked", unary(look), frozenset({Role.FILER, Role.SERVICE}), long_poll=False, brake=brake
        )
        assert made.names == {f"/{SERVICE}/{name}" for name in ("Echo", "Poll", "Braked")}
        assert [len(gates) for gates in made.gates.by_kind.values()] == [2, 1, 1, 1]
        for name in ("Echo", "Poll", "Braked"):
            for who in ("filer/acme", "service/clearance"):
                assert len(await called(made, f"/{SERVICE}/{name}", Context(who=who))) == 1
        # Calls, those with the brake, calls of services, long polls, long polls of services.
        assert seen == [
            [1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0],
        ]  # fmt: skip
        assert brake.asked

    run(main)


def test_of_an_unknown_method_our_model_says_so_and_open_ones_pass() -> None:
    async def main(_loop: VirtualLoop) -> None:
        made = chain_of()
        context = Context(metadata=(("x-request-id", "r-1"),))
        assert await called(made, "/luxor.test.v1.TestService/Nothing", context) == []
        assert (context.code, context.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
        assert context.facts()["method"] == "/luxor.test.v1.TestService/Nothing"
        asked = []

        async def go_on(details: Any) -> Any:
            asked.append(details.method)

        for name in ("/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"):
            assert await made.intercept_service(go_on, SimpleNamespace(method=name)) is None
        assert len(asked) == 2

    run(main)


@pytest.mark.parametrize(
    ("methods", "roles", "says"),
    [
        ({"A", "B"}, {"A": {Role.FILER}, "B": {Role.OFFICER, Role.FILER}}, ""),
        (set(), {}, ""),
        ({"A", "B"}, {"A": {Role.FILER}}, r"methods without roles \['B'\], roles for unknown methods \[\]"),
        (
            {"A"},
            {"A": {Role.FILER}, "B": {Role.FILER}},
            r"methods without roles \[\], roles for unknown methods \['B'\]",
        ),
        ({"A"}, {"B": {Role.FILER}}, r"methods without roles \['A'\], roles for unknown methods \['B'\]"),
    ],
)
def test_each_method_has_its_roles_and_nothing_is_open_by_mistake(
    methods: set[str], roles: dict[str, set[Role]], says: str
) -> None:
    if says:
        with pytest.raises(ValueError, match=says):
            chain.roles_of("test", dict.fromkeys(methods), roles)
    else:
        assert chain.roles_of("test", dict.fromkeys(methods), roles) == {
            name: frozenset(roles[name]) for name in methods
        }


OPEN = {
    "filer/f": [f"{SERVICE}"],
    "officer/o": ["luxor.test.v1.Another", f"{SERVICE}"],
    "service/clearance": [f"{SERVICE}"],
    "service/risk": [],
    "carrier/c": [],
}


@pytest.mark.parametrize("who", OPEN)
def test_services_are_open_to_who_may_call_something_of_them(who: str) -> None:
    made = chain_of("Both", "Services")
    role, ident = who.split("/")
    for name, roles in (
        (f"{SERVICE}/Both", {Role.FILER, Role.OFFICER, Role.SERVICE}), (f"{SERVICE}/Services", {Role.SERVICE}),
        (f"{SERVICE}/Officers", {Role.OFFICER}), ("luxor.test.v1.Another/Officers", {Role.OFFICER}),
    ):  # fmt: skip
        made.register(f"/{name}", unary(echo), frozenset(roles), long_poll=False)
    if OPEN[who]:
        assert made.services_open_to(Identity(Role(role), ident)) == OPEN[who]
    else:
        with pytest.raises(Refusal) as caught:
            made.services_open_to(Identity(Role(role), ident))
        assert caught.value.reason == "ROLE_NOT_ALLOWED"
        assert caught.value.facts["roles"] == "filer, officer", "which services may is nobody's matter"


# ------------------------------------------------------------------------------------------------ who calls


@pytest.mark.parametrize(
    ("who", "roles", "reason"),
    [
        ("filer/acme", {Role.FILER, Role.SERVICE}, ""),
        ("filer/clearance", {Role.FILER, Role.SERVICE}, ""),
        ("service/clearance", {Role.FILER, Role.SERVICE}, ""),
        ("service/risk", {Role.FILER, Role.SERVICE}, "CONNECTION_NOT_ALLOWED"),
        ("service/clearance", {Role.FILER}, "ROLE_NOT_ALLOWED"),
        ("carrier/acme", {Role.FILER, Role.SERVICE}, "ROLE_NOT_ALLOWED"),
        ("king/acme", {Role.FILER}, "IDENTITY_MALFORMED"),
    ],
)
def test_a_call_needs_its_role_and_a_service_its_connection(who: str, roles: set[Role], reason: str, log: Log) -> None:
    context = Context(who=who)
    found = serve(echo, context, roles=frozenset(roles))
    assert (context.reason, bool(found)) == (reason, not reason)
    assert [code for _, _, code in log.observed] == [context.code.name]


def test_a_service_that_is_not_ready_says_what_is_missing_and_when_to_come_back() -> None:
    context = Context()
    assert serve(echo, context, prepare=lambda made: setattr(made, "missing", ["store", "law"])) == []
    assert (context.reason, context.facts()["missing"]) == ("NOT_READY", "store; law")
    assert context.detail(error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() == 0.5


@pytest.mark.parametrize(
    ("metadata", "taken"),
    [
        ((("x-request-id", "abc-1"),), "abc-1"), ((("x-request-id", "x" * 64),), "x" * 64), ((("x-request-id", "x" * 65),), ""),
        ((("x-request-id", "a b"),), ""), ((("x-other", "abc"),), ""), ((("traceparent", "abc"),), ""), ((), ""), (None, ""),
    ],
)  # fmt: skip
def test_a_request_id_of_the_right_form_is_taken_and_else_one_is_made(
    metadata: tuple[tuple[str, str], ...] | None, taken: str
) -> None:
    seen = []

    async def look(request: Any, _context: Any) -> Any:
        seen.append(call.current().request_id)
        raise Refusal("RECOUNT_UNDER_WAY")

    async def main(_loop: VirtualLoop) -> None:
        made = chain_of()
        made.register(f"/{SERVICE}/Echo", unary(look), frozenset({Role.FILER}), long_poll=False)
        for _ in range(2):
            context = Context(metadata=metadata)
            await called(made, f"/{SERVICE}/Echo", context)
            assert context.detail(error_details_pb2.RequestInfo).request_id == seen[-1]

    run(main)
    assert (seen == [taken] * 2) if taken else (len(set(seen)) == 2 and all(seen))


# ------------------------------------------------------------------------------------------------ time


def test_the_bounds_of_time_that_tests_state_are_those_of_the_configuration() -> None:
    config = ServerConfig.from_environ("ingestion", {f"LUXOR_{name}": value for name, value in LIMITS.items()})
    assert (config.message_bytes_max, config.deadline_seconds_max, config.long_poll_seconds_max) == (4_096, 2.0, 20.0)


TIMES: list[tuple[float | None, bool, float, bool]] = [
    # What is left by the client, whether it is a long poll, what the call has, and whether the chain ends it.
    (None, False, 2.0, True), (None, True, 20.0, True), (60.0, False, 2.0, True), (60.0, True, 20.0, True), (2.5, False, 2.0, True),
    (1.5, False, 1.5, False), (1.5, True, 1.5, False), (2.0, False, 2.0, False), (19.0, True, 19.0, False),
]  # fmt: skip


@pytest.mark.parametrize(("remaining", "long_poll", "seconds", "is_cut"), TIMES)
def test_a_call_has_its_client_s_time_or_the_longest_of_its_kind(
    remaining: float | None, long_poll: bool, seconds: float, is_cut: bool, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "monotonic", lambda: 500.0)
    ends_at = []

    async def slow(request: Any, _context: Any) -> Any:
        ends_at.append(call.current().ends_at)
        await asyncio.sleep(seconds + 1)
        return request

    context = Context(remaining=remaining)
    found = serve(slow, context, long_poll=long_poll)
    assert ends_at == [500.0 + seconds]
    assert (bool(found), context.reason) == (not is_cut, "DEADLINE_EXCEEDED" if is_cut else "")
    assert log.observed == [(0.0, f"/{SERVICE}/Echo", context.code.name)]


def failing(loop_error: str) -> Callable[..., Any]:
    """Return a handler that fails by itself: at once, or when its time is over."""

    async def fail(_request: Any, _context: Any) -> Any:
        if loop_error == "timeout":
            raise TimeoutError
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            if loop_error == "other":
                raise ValueError from None
            raise

    return fail


@pytest.mark.parametrize(
    ("error", "remaining", "reason", "cause"),
    [
        ("late", None, "DEADLINE_EXCEEDED", ""),
        ("timeout", None, "INTERNAL", None),
        ("timeout", 1.0, "INTERNAL", None),
        ("other", None, "INTERNAL", None),
    ],
)
def test_only_the_chain_s_own_limit_is_the_deadline(
    error: str,
    remaining: float | None,
    reason: str,
    cause: str | None,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([500.0, 507.0, 509.0])
    monkeypatch.setattr(chain, "monotonic", lambda: next(clock))
    # What a call has left is told by the clock of the machine: of 500 s from a start long ago nothing would be left.
    monkeypatch.setattr(call.Call, "deadline", property(lambda _self: 2.0))
    context = Context(remaining=remaining)
    assert serve(failing(error), context) == []
    assert context.reason == reason
    assert log.observed == [(9.0, f"/{SERVICE}/Echo", reason)]
    (line,) = log.lines
    assert (line[0], line[1].get("cause")) == (reason, cause)
    if reason == "DEADLINE_EXCEEDED":
        assert context.facts()["seconds"] == "7"


@pytest.mark.parametrize(
    ("now", "code"), [(501.99, "CANCELLED"), (502.0, "DEADLINE_EXCEEDED"), (503.0, "DEADLINE_EXCEEDED")]
)
def test_a_call_that_grpc_ends_when_its_time_is_over_counts_as_such(
    now: float, code: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([500.0, now])
    monkeypatch.setattr(chain, "monotonic", lambda: next(clock))

    async def cancelled(_request: Any, _context: Any) -> Any:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        serve(cancelled, Context(remaining=2.0))
    assert log.observed == [(now - 500.0, f"/{SERVICE}/Echo", code)]


def test_a_call_that_ends_well_after_its_time_counts_as_it_ended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([500.0, 600.0])
    monkeypatch.setattr(chain, "monotonic", lambda: next(clock))
    assert len(serve(echo, Context(remaining=2.0))) == 1
    assert log.observed == [(100.0, f"/{SERVICE}/Echo", "OK")]

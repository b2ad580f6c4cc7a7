"""Programs are started in a process whose other threads are in the middle of gRPC calls."""

import asyncio
import os
from pathlib import Path

import grpc
import grpc.aio

from libs.store.embedded.binaries import account_for, can_enter

CALLERS = 20
PROGRAMS = 30
"""A third of them crashed while gRPC had its handlers of forks: all of so many end well by chance once in 190,000 times."""


async def _echo(request: bytes, context: object) -> bytes:
    return request


async def test_a_program_that_is_started_while_calls_run_ends_as_it_does_alone(tmp_path: Path) -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    done = asyncio.Event()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/test.Echo/Echo")

        async def call() -> None:
            while not done.is_set():
                await echo(bytes(1000))

        callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
        try:
            account = account_for(Path("/tmp"))
            entered = await asyncio.to_thread(lambda: [can_enter(Path("/"), account) for _ in range(PROGRAMS)])
        finally:
            done.set()
            await asyncio.gather(*callers)
    await server.stop(None)
    assert entered == [True] * PROGRAMS, f"uid {os.getuid()}: {entered.count(False)} of {PROGRAMS} programs crashed"

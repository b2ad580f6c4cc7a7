"""Many large messages at once, from another process: what an attacker sends to fill a server's memory."""

import ast
import asyncio
import sys
from pathlib import Path

PROGRAM = """
import asyncio, collections, pathlib, sys, grpc
from libs.server.transport.channel import options
from libs.server.transport.tls import LocalCA
directory, target, method, role, size, count = sys.argv[1:]
material = LocalCA(pathlib.Path(directory)).issue(role, "attacker").load()

async def main():
    channel = grpc.aio.secure_channel(target, material.channel_credentials(), options=options(1 << 26))
    async with channel:
        send = channel.unary_unary(method)
        raw = bytes(int(size))
        async def one():
            try:
                await send(raw, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"
        print(dict(collections.Counter(await asyncio.gather(*(one() for _ in range(int(count)))))))

asyncio.run(main())
"""


async def send(
    directory: Path, target: str, method: str, role: str, *, size: int = 15 * 2**20, count: int = 120
) -> dict[str, int]:
    """Call a method with `count` messages at once, as a party of the CA in `directory`; return how many calls ended with which code."""
    command = ["-c", PROGRAM, str(directory), target, method, role, str(size), str(count)]
    client = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    printed, _ = await asyncio.wait_for(client.communicate(), 90)
    return dict(ast.literal_eval(printed.decode()))

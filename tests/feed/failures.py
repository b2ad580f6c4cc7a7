"""Failures around a consumer: a process that dies, a producer that is away, leases that end."""

import grpc

from tests.feed.conftest import Follower


class Died(Exception):
    """The process ended here; raised where a real one would simply be gone."""


async def expire(follower: Follower, replica: str = "") -> None:
    """The leases end, as if their time had passed."""
    await follower.sql(
        "update feed_cursor set lease_until = clock_timestamp() - interval '1 second' where owner like $1 || '%'",
        replica,
    )
    await follower.sql(
        "update feed_member set seen_at = clock_timestamp() - interval '1 hour' where replica like $1 || '%'", replica
    )


class Away(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata())

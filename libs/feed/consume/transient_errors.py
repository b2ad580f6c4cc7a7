"""Which troubles pass by themselves: a neighbour or store that is away or overloaded is never the event's fault."""

import random
from typing import Final

import asyncpg
import grpc

from libs.feed.types import LeaseLost
from libs.server.errors import Refusal
from libs.store.errors import StoreIncompatible, StoreUnavailable

BACK_OFF_SECONDS: Final = 0.1
BACK_OFF_SECONDS_MAX: Final = 5.0
# Also what a wrong configuration or a neighbour of another release gives: it would befall every event alike.
_PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_PASSING_TYPES: Final = (
    StoreUnavailable,
    StoreIncompatible,
    LeaseLost,
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    MemoryError,
)


def is_passing(error: BaseException) -> bool:
    """Whether trying again later can help, with nothing changed on our side."""
    if isinstance(error, grpc.RpcError):
        code = error.code() if hasattr(error, "code") else None
        return code in _PASSING
    if isinstance(error, Refusal):
        return error.code in _PASSING
    return isinstance(error, _PASSING_TYPES)


def back_off(failures: int, seconds_max: float = BACK_OFF_SECONDS_MAX) -> float:
    """Return the seconds to wait after so many failures in a row; spread, so that replicas do not come back all at once."""
    seconds = min(seconds_max, BACK_OFF_SECONDS * 2.0 ** min(failures - 1, 16))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  # no secret

"""Bind master documents to carriers, once per request."""

from collections.abc import Callable, Sequence

from libs.server.requests import once
from libs.store.database import Transaction
from libs.telemetry import get_logger
from luxor.clearance.v1 import carriers_pb2 as pb
from services.clearance.carriage.binding import Binding
from services.clearance.store import Store


async def put_bindings(
    store: Store,
    request: pb.PutBindingsRequest,
    bindings: Sequence[Binding],
    by: str,
    answer: Callable[[], pb.PutBindingsResponse],
) -> pb.PutBindingsResponse:
    """Add bindings or change their days, each once; return the answer, or the stored one of a repeated request. Raises Refusal."""

    async def work(tx: Transaction) -> pb.PutBindingsResponse:
        if bindings:
            await store.carriers.put_bindings(tx, bindings, by)
        tx.after_commit(lambda: get_logger().info("BINDINGS_PUT", bindings=len(bindings)))
        return answer()

    return await once(store.database, pb.PutBindingsResponse, request, work)

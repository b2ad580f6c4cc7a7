"""The life of a model: proposed as a candidate, made the challenger, activated by a second person, retired. Each change is one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from libs.server.requests import Answer, once
from libs.store.database import Transaction
from libs.telemetry import get_logger
from luxor.risk.v1 import models_pb2 as pb
from services.risk.store.models import ModelStore, ModelUnknown, StoredModel

_log = get_logger()

Change = Callable[[Transaction, str, str], Awaitable[StoredModel]]
"""A change of a model's state: `ModelStore.challenge`, `activate` or `retire`."""


async def propose(
    store: ModelStore,
    request: pb.ProposeModelRequest,
    version: str,
    summary: bytes,
    by: str,
    answer: Callable[[StoredModel], pb.ProposeModelResponse],
) -> pb.ProposeModelResponse:
    """Store a model file as a candidate, once per request. Raises TooManyModels, and Refusal."""
    try:
        await store.get(version)
    except ModelUnknown:
        async with store.database.connection() as reader:
            await store.check_room(reader)
    await write_file(store, version, request.content)

    async def work(tx: Transaction) -> pb.ProposeModelResponse:
        return answer(await store.add(tx, version, summary, request.note, by))

    return await once(store.database, pb.ProposeModelResponse, request, work)


async def write_file(store: ModelStore, version: str, content: bytes) -> None:
    """Store a model's file in a transaction of its own, before its model is added."""
    async with store.database.transaction() as tx:
        await store.write(tx, version, content)


async def change(
    store: ModelStore,
    kind: type[Answer],
    request: pb.ChallengeModelRequest | pb.ActivateModelRequest | pb.RetireModelRequest,
    move: Change,
    by: str,
    answer: Callable[[StoredModel], Answer],
) -> Answer:
    """Change a model's state, once per request. Raises ModelUnknown, InvalidModelState, SecondPersonNeeded, and Refusal."""

    async def work(tx: Transaction) -> Answer:
        moved = await move(tx, request.version, by)
        tx.after_commit(partial(_log.info, "MODEL_MOVED", version=moved.version, state=moved.state.name, by=by))
        return answer(moved)

    return await once(store.database, kind, request, work)

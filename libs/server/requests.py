"""What edges of services have in common: a request_id that counts once, the size of a page, and days."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from libs.columns import Table
from libs.customs.time import parse_day
from libs.server import call
from libs.server.errors import Refusal
from libs.store.database import Database, Transaction
from libs.store.tables.requests import RequestLog, RequestReused

REQUEST_ID_CHARACTERS_MAX: Final = 64

_LOG: Final = RequestLog()
Answer = TypeVar("Answer", bound=Message)


def check_request_id(request_id: str) -> None:
    """Raise Refusal for an id that is none."""
    if not request_id:
        raise Refusal("REQUEST_ID_MISSING", path="request_id")
    if len(request_id) > REQUEST_ID_CHARACTERS_MAX or not request_id.isprintable():
        raise Refusal("REQUEST_ID_MALFORMED", path="request_id", value=request_id)


async def recalled(database: Database, kind: type[Answer], request: Any) -> Answer | None:
    """The answer that a request got before, to be asked before anything is checked: a repeat is answered by whatever release.

    None where it is new. Raises Refusal for an id that is none, and where other content came under it.
    """
    check_request_id(request.request_id)
    try:
        async with database.connection() as reader:
            before = await _LOG.look(reader, *_key_of(request))
    except RequestReused:
        raise _reused(request) from None
    return None if before is None else kind.FromString(before)


async def store_answer(database: Database, request: Any, answer: Answer) -> Answer:
    """Store and return the answer of a request whose work was done in transactions of its own; return a stored one instead. Raises Refusal."""

    async def work(_: Transaction) -> Answer:
        return answer

    return await once(database, type(answer), request, work)


async def once(
    database: Database, kind: type[Answer], request: Any, work: Callable[[Transaction], Awaitable[Answer]]
) -> Answer:
    """Do the work of a request in one transaction, unless it was done before: then give the first answer. Raises Refusal."""
    check_request_id(request.request_id)
    key = _key_of(request)
    try:
        async with database.transaction() as tx:
            before = await _LOG.recall(tx, *key)
            if before is not None:
                return kind.FromString(before)
            answer = await work(tx)
            await _LOG.remember(tx, *key, answer.SerializeToString())
            return answer
    except RequestReused:
        raise _reused(request) from None


def check_identified(consignments: Table) -> None:
    """Raise Refusal unless each consignment has an MRN and a version."""
    missing = ~consignments.strings("mrn").present
    if missing.any():
        raise Refusal("CONSIGNMENT_UNIDENTIFIED", path=f"consignments.mrn[{int(missing.argmax())}]")
    versions = consignments.ints("version")
    wrong = ~versions.valid | (versions.values < 1) | (versions.values > 2**31 - 1)
    if wrong.any():
        raise Refusal("CONSIGNMENT_UNIDENTIFIED", path=f"consignments.version[{int(wrong.argmax())}]")


def page_size_of(size: int, default: int, size_max: int, path: str = "page_size") -> int:
    """Return how many entries a page has: `default` for 0, and `size_max` for more than that (AIP-158). Raise Refusal for a negative size."""
    if size < 0:
        raise Refusal("NUMBER_NEGATIVE", path=path, value=size)
    return min(size or default, size_max)


def day_of_text(text: str, path: str) -> int:
    """Return a day of a request, ISO 8601, as days since 1970-01-01. Raise Refusal where it is none."""
    try:
        return parse_day(text)
    except ValueError:
        raise Refusal("DAY_MALFORMED", path=path, value=text) from None


def _key_of(request: Any) -> tuple[str, str, bytes]:
    """Return caller, id and digest of a request; the digest covers the type and the content without the id."""
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField("request_id")
    digest = sha256(request.DESCRIPTOR.name.encode() + b"\0" + content.SerializeToString(deterministic=True)).digest()
    return str(call.current().identity), request.request_id, digest


def _reused(request: Any) -> Refusal:
    return Refusal("REQUEST_REUSED", path="request_id", value=request.request_id)

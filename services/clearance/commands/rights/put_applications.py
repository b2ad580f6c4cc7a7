"""Changes of the applications of rights holders, each once per request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from libs.server.requests import once
from libs.store.database import Transaction
from services.clearance.rights.matching import Application
from services.clearance.store import Store
from services.clearance.store.rights.applications import APPLICATIONS_MAX

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class ApplicationPut:
    """The result of a change of one application."""

    version: int
    """The version now; 0 where it is not registered."""
    refusal: str = ""


async def put_applications(
    store: Store,
    request: Any,
    applications: Sequence[Application],
    by: str,
    encode: Callable[[Mapping[str, ApplicationPut]], Answer],
    answer: type[Answer],
) -> Answer:
    """Register applications, or change them if their versions are the current ones, once per request; equal content changes nothing."""

    async def work(tx: Transaction) -> Answer:
        if not applications:
            return encode({})
        await store.rights.begin_change(tx)
        stored = {each.number: each for each in await store.rights.page(tx, "", APPLICATIONS_MAX)}
        at = await store.now(tx)
        results: dict[str, ApplicationPut] = {}
        changed: list[Application] = []
        for each in applications:
            before = stored.get(each.number)
            version = before.version if before is not None else 0
            if before is not None and _content(before) == _content(each):
                results[each.number] = ApplicationPut(version)
            elif each.version != version:
                results[each.number] = ApplicationPut(version, "APPLICATION_VERSION_CHANGED")
            elif before is None and len(stored) >= APPLICATIONS_MAX:
                results[each.number] = ApplicationPut(0, "APPLICATIONS_TOO_MANY")
            else:
                after = replace(each, version=version + 1, changed_at=at, changed_by=by)
                stored[each.number] = after
                changed.append(after)
                results[each.number] = ApplicationPut(after.version)
        await store.rights.put(tx, changed)
        return encode(results)

    return await once(store.database, answer, request, work)


def _content(application: Application) -> Application:
    return replace(application, version=0, changed_at=0, changed_by="")

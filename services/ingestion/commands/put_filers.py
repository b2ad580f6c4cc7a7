"""Changes of the register of filers, each once per request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from libs.server.requests import once
from libs.store.database import Transaction
from services.ingestion.filers.register import Filer
from services.ingestion.store.filers import Filers

Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class FilerPut:
    """The result of a change of one entry."""

    version: int
    """The version now; 0 where the filer is not registered."""
    refusal: str = ""


async def put_filers(
    filers: Filers,
    request: Any,
    entries: Sequence[Filer],
    by: str,
    encode: Callable[[Mapping[str, FilerPut]], Answer],
    answer: type[Answer],
) -> Answer:
    """Register filers, or change entries if their versions are the current ones, once per request; equal content changes nothing."""

    async def work(tx: Transaction) -> Answer:
        if not entries:
            return encode({})
        at = await filers.begin_change(tx)
        stored = await filers.current(tx, [each.id for each in entries])
        results: dict[str, FilerPut] = {}
        changed: list[Filer] = []
        for each in entries:
            before = stored.get(each.id)
            version = before.version if before is not None else 0
            if before is not None and _content(before) == _content(each):
                results[each.id] = FilerPut(version)
            elif each.version != version:
                results[each.id] = FilerPut(version, "FILER_VERSION_CHANGED")
            else:
                changed.append(replace(each, version=version + 1, changed_at=at, changed_by=by))
                results[each.id] = FilerPut(version + 1)
        if changed:
            await filers.add(tx, changed)
        return encode(results)

    return await once(filers.database, answer, request, work)


def _content(filer: Filer) -> Filer:
    return replace(filer, version=0, changed_at=0, changed_by="")

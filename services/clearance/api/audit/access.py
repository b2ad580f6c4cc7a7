"""Who causes what, and who sees consignments: the call, as the audit trail records it."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from google.protobuf.message import Message

from libs.server import call
from libs.server.identity import Role
from services.clearance.commands.audit.note_access import note_access
from services.clearance.store import Store
from services.clearance.store.audit.trail import Origin

R = TypeVar("R", bound=Message)
RECORDED: Final = frozenset({Role.OFFICER, Role.ANALYST, Role.AGENCY, Role.OPERATOR})
"""Roles that see consignments of others; filers and carriers see their own."""
TEXT_CHARACTERS_MAX: Final = 1_000
"""Of what one request was about, in one record."""


def origin() -> Origin:
    """Return the caller, RPC and reason of the call that is served; outside of one, clearance itself.

    Reasons that a request states of single consignments are in their versions: whose record this is shows it with each of them.
    """
    current = call.current_or_none()
    if current is None:
        return Origin()
    return Origin(str(current.identity), current.method.rpartition("/")[2], current.reason)


def joined(texts: Iterable[str]) -> list[str]:
    """Return distinct cases, documents or carriers of one request as the texts of its records: each whole, as many in one text as it has room for.

    >>> joined(["b", "a", "b"])
    ['a,b']
    """
    found: list[str] = []
    for text in sorted(set(texts)):
        if found and len(found[-1]) + 1 + len(text) <= TEXT_CHARACTERS_MAX:
            found[-1] += f",{text}"
        else:
            found.append(text)
    return found


class AccessLog:
    """Records accesses before their answers leave; if a record cannot be stored, the call fails."""

    def __init__(self, store: Store) -> None:
        """Record in a store."""
        self._store = store

    async def answered(self, response: R) -> R:
        """Record that the caller reads the states of consignments in the answer to a command, also of a repeated one, and return it."""
        results = response.results  # type: ignore[attr-defined]  # each answer to a command has results
        await self.record([each.mrn for each in results if each.state])
        return response

    async def record(self, mrns: Sequence[str], *, about: str | Sequence[str] = "") -> None:
        """Record that the caller gets data about consignments, and `about` which document or carrier; nothing for an empty answer.

        Several texts are as many records, the first of which names the consignments.
        """
        if call.current().identity.role not in RECORDED or not (mrns or about):
            return
        await note_access(self._store, origin(), [about] if isinstance(about, str) else about, mrns)

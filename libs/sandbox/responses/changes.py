"""Which messages of a call the sandbox changes, so that a service finds what their cases say."""

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from libs.sandbox.findings import Finding

REMEMBERED_MAX: Final = 100_000
"""References of which the sandbox remembers with which request_id they are refused."""


class Named(NamedTuple):
    """A message of a call whose reference selects a case with a finding."""

    place: int
    reference: str
    finding: Finding


class Changes:
    """Decides on the messages of calls, and remembers which references were refused."""

    def __init__(self) -> None:
        """Begin without any."""
        self._first: dict[tuple[str, str, str], str] = {}

    def findings_of(self, account: str, request_id: str, named: Iterable[Named]) -> dict[int, Finding]:
        """Return by place the messages that are to be changed.

        A warning belongs to each call with the reference, so that the content stays the same. A refusal belongs to the calls with the first
        request_id of the reference: the client corrects what it sent, and its next call is another one.
        """
        chosen = {}
        for place, reference, finding in named:
            if finding.warns or finding.is_final:
                chosen[place] = finding
                continue
            first = self._first.setdefault((account, finding.name, reference), request_id)
            if first == request_id:
                chosen[place] = finding
            if len(self._first) > REMEMBERED_MAX:
                del self._first[next(iter(self._first))]
        return chosen


def prior_id(request_id: str, place: int) -> str:
    """Return the request_id of what the sandbox files just before a message of a call; the same call has the same one."""
    return "sandbox-" + hashlib.sha256(f"{request_id}|{place}".encode()).hexdigest()[:40]

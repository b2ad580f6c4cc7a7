"""A case, its events and the table of its transitions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

from luxor.clearance.v1 import cases_pb2 as pb

CONSIGNMENTS_MAX: Final = 10_000
"""Largest number of consignments of a case."""
EVENTS_MAX: Final = 10_000
"""Largest number of events of a case, but for the last CLOSED, so that a full case ends."""
CASE_UNKNOWN: Final = "CASE_UNKNOWN"

_NEW, _OPEN, _CLOSED = pb.CASE_STATE_UNSPECIFIED, pb.CASE_STATE_OPEN, pb.CASE_STATE_CLOSED
TRANSITIONS: Final[Mapping[tuple[int, int], int]] = {
    (_NEW, pb.CASE_CHANGE_OPENED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_CONSIGNMENTS_ADDED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_CONSIGNMENTS_REMOVED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_NOTED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_ATTACHED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_ASSIGNED): _OPEN,
    (_OPEN, pb.CASE_CHANGE_CLOSED): _CLOSED,
    (_CLOSED, pb.CASE_CHANGE_REOPENED): _OPEN,
}
"""The state after a change, by the state before and the change; what is not in the table is refused."""
REFUSALS: Final[Mapping[int, str]] = {_NEW: CASE_UNKNOWN, _OPEN: "CASE_OPEN", _CLOSED: "CASE_CLOSED"}
"""Why a change without a transition is refused, by the state."""
REPLACING: Final = (pb.CASE_CHANGE_ASSIGNED, pb.CASE_CHANGE_CLOSED, pb.CASE_CHANGE_REOPENED)
"""Changes that replace a value, so that an officer states the version that they replace."""


class CaseError(Exception):
    """Events that are no history of a case."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case as its events leave it; its fields are those of luxor.clearance.v1.Case. Times are microseconds since 1970-01-01 UTC."""

    number: int
    version: int = 0
    state: int = _NEW
    title: str = ""
    office: str = ""
    officer: str = ""
    relation: int = 0
    relation_key: str = ""
    opened_at: int = 0
    opened_by: str = ""
    changed_at: int = 0
    consignments: int = 0
    outcome: int = 0
    outcome_reason: str = ""
    closed_at: int | None = None
    closed_by: str = ""
    hash: bytes = b""
    """Of all events up to the version, see `chained`."""

    def refusal(self, change: int, expected_version: int | None) -> str:
        """Return why a change is refused, "" if it is not."""
        if (self.state, change) not in TRANSITIONS:
            return REFUSALS[self.state]
        if expected_version not in (None, self.version):
            return "CASE_CHANGED"
        return "CASE_FULL" if self.version >= EVENTS_MAX and change != pb.CASE_CHANGE_CLOSED else ""

    def after(self, event: pb.CaseEvent) -> "Case":
        """Return the case after its next event. Raises CaseError where the event cannot be the next one."""
        state = TRANSITIONS.get((self.state, event.change))
        if state is None or event.version != self.version + 1:
            raise CaseError(
                f"version {event.version}, change {event.change} after version {self.version} in {self.state}"
            )
        at = event.at.ToMicroseconds()
        case = replace(
            self, version=event.version, state=state, changed_at=at, hash=chained(self.hash, self.number, event)
        )
        match event.change:
            case pb.CASE_CHANGE_OPENED:
                return replace(
                    case, title=event.title, office=event.office, officer=event.officer, relation=event.relation,
                    relation_key=event.relation_key, opened_at=at, opened_by=event.by, consignments=len(event.mrns),
                )  # fmt: skip
            case pb.CASE_CHANGE_CONSIGNMENTS_ADDED:
                return replace(case, consignments=self.consignments + len(event.mrns))
            case pb.CASE_CHANGE_CONSIGNMENTS_REMOVED:
                return replace(case, consignments=self.consignments - len(event.mrns))
            case pb.CASE_CHANGE_ASSIGNED:
                return replace(case, officer=event.officer, office=event.office)
            case pb.CASE_CHANGE_CLOSED:
                return replace(
                    case, outcome=event.outcome, outcome_reason=event.reason, closed_at=at, closed_by=event.by
                )
            case pb.CASE_CHANGE_REOPENED:
                return replace(case, outcome=0, outcome_reason="", closed_at=None, closed_by="")
        return case


def chained(before: bytes, number: int, event: pb.CaseEvent) -> bytes:
    """Return the hash of a case's events up to one: SHA-256 over the hash before it, the number of the case and the event."""
    return sha256(before + number.to_bytes(8, "big") + event.SerializeToString(deterministic=True)).digest()


@dataclass(slots=True)
class Replay:
    """What the events of a case leave, one after the other."""

    number: int
    case: Case = field(init=False)
    members: dict[str, tuple[int, str]] = field(default_factory=dict)
    """The consignments in it by MRN: when each was added (microseconds since 1970-01-01 UTC), and by whom."""
    attachments: dict[str, pb.CaseAttachment] = field(default_factory=dict)
    """Its attachments by their SHA-256, hexadecimal."""

    def __post_init__(self) -> None:
        """Begin before the first event."""
        self.case = Case(self.number)

    def apply(self, event: pb.CaseEvent) -> None:
        """Apply the next event. Raises CaseError where it cannot be the next one."""
        self.case = self.case.after(event)
        for mrn in event.mrns:
            self.members.pop(mrn, None)
            if event.change != pb.CASE_CHANGE_CONSIGNMENTS_REMOVED:
                self.members[mrn] = (self.case.changed_at, event.by)
        if event.HasField("attachment"):
            attachment = pb.CaseAttachment(attached_at=event.at, attached_by=event.by)
            attachment.MergeFrom(event.attachment)
            self.attachments[attachment.sha256] = attachment


def replay(number: int, events: Iterable[pb.CaseEvent]) -> Replay:
    """Return what the events of a case leave. Raises CaseError where they are no history."""
    replayed = Replay(number)
    for event in events:
        replayed.apply(event)
    return replayed

"""What the accounts of the sandbox did in each case, and whether it was right.

Events are lines of JSON in a file, in the order in which they happened.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from libs.sandbox.cases import AFTER, Act, Case, cases_of, selected
from libs.sandbox.responses.calls import Subject
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.server.identity import Role
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE

FILE_BYTES_MAX: Final = 50_000_000
"""A larger file is renamed, and replaces the one before."""
OK: Final = "OK"
REFUSED: Final = "REFUSED"
"""Where the consignment itself was refused, and not the call."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that an account did, or that the sandbox did for it."""

    kind: str
    """filed (a consignment), sent (another message whose reference selects a case), noticed, answered or failed (an act of the sandbox itself)."""
    account: str
    """Role and id, as in its certificate."""
    at: float
    """Seconds since 1970-01-01 UTC."""
    reference: str = ""
    """The local reference, of filings; the reference of another message."""
    mrn: str = ""
    code: str = OK
    """gRPC's code of the answer; REFUSED where the consignment itself was refused."""
    request_id: str = ""
    digest: str = ""
    """Of the consignment's content."""
    house: str = ""
    """The house document of the consignment."""
    function: int = 0
    """MessageFunction of the consignment."""
    failure: str = ""
    """The failure that the sandbox put into the answer."""
    retry_at: float = 0.0
    """Before this time the call must not be sent again."""
    detail: str = ""
    """Kind of a notice; what another message is about; why the sandbox failed."""


class Log:
    """The file of events."""

    def __init__(self, path: Path) -> None:
        """Use a file; it is made with the first event."""
        self.path = path
        self._encoder = msgspec.json.Encoder()
        self._is_broken = True
        """Whether the last line may have no end: after a failure, and at the start."""

    def append(self, event: Event) -> None:
        """Add an event at the end; what is left of one that could not be written whole stays a line of its own."""
        if self.path.exists() and self.path.stat().st_size > FILE_BYTES_MAX:
            self.path.replace(self.path.with_suffix(".1"))
        line = self._encoder.encode(event) + b"\n"
        try:
            with self.path.open("ab") as file:
                file.write(b"\n" + line if self._is_broken else line)
        except OSError:
            self._is_broken = True
            raise
        self._is_broken = False

    def read(self) -> Iterator[Event]:
        """Yield all events; lines that were not written whole, because the disk was full or the sandbox was ended, are left out."""
        decoder = msgspec.json.Decoder(Event)
        for path in (self.path.with_suffix(".1"), self.path):
            if path.exists():
                for line in path.read_bytes().split(b"\n"):
                    with suppress(msgspec.DecodeError):
                        yield decoder.decode(line)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is right or wrong in a conversation."""

    rule: str
    """What a client does, as a sentence."""
    passed: bool
    evidence: str
    """What it did."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """An account's conversation in one case: that of the newest reference that selected it."""

    case: Case
    reference: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether all of it is right."""
        return all(each.passed for each in self.checks)


def conversations(events: Iterable[Event], account: str) -> dict[str, Conversation | None]:
    """Return the conversation of an account in each case of its role, by the name of the case; None for cases that it has not begun."""
    own = [event for event in events if event.account == account]
    newest: dict[str, str] = {}
    for event in own:
        subject = _subject(event)
        found = selected(event.reference, subject) if subject is not None else None
        if found and not _changes(event):
            newest[found.case.name] = event.reference
    cases = cases_of(Role(account.partition("/")[0]))
    return {name: _judged(case, newest[name], own) if name in newest else None for name, case in cases.items()}


def _subject(event: Event) -> Subject | None:
    """Return what the reference of an event belongs to, None if it has none."""
    if event.kind == "filed":
        return Subject.CONSIGNMENT
    return Subject(event.detail) if event.kind == "sent" else None


def _changes(event: Event) -> bool:
    return event.function >= MESSAGE_FUNCTION_AMEND


def _judged(case: Case, reference: str, own: Sequence[Event]) -> Conversation:
    if case.subject is not Subject.CONSIGNMENT:
        sent = [each for each in own if each.reference == reference and _subject(each) is case.subject]
        return Conversation(case, reference, (_corrected(sent) if case.act is Act.CORRECT else _is_refused(sent),))
    filings = [event for event in own if event.kind == "filed" and event.reference == reference and not _changes(event)]
    if case.act is Act.RENAME:
        return Conversation(case, reference, (_is_refused(filings),))
    accepted = [event for event in filings if event.mrn]
    mrn = accepted[0].mrn if accepted else ""
    checks = [_is_filed(filings, mrn)]
    if case.failure is not None:
        checks += _retried(case.failure, filings, own)
    if case.act is Act.CORRECT:
        checks.append(_corrected(filings))
    about_goods = [event for event in own if mrn and event.mrn == mrn]
    if case.act is Act.AMEND_TWICE:
        changes = [event for event in own if event.kind == "filed" and event.reference == reference and _changes(event)]
        checks.append(_corrected(changes))
    elif case.act in AFTER:
        checks.append(_acted(case.act, about_goods))
    seen = list(dict.fromkeys((event.detail, event.at) for event in about_goods if event.kind == "noticed"))
    checks.append(_noticed(case, [kind for kind, _ in seen]))
    checks += [
        Check("The sandbox plays its part", False, event.detail) for event in about_goods if event.kind == "failed"
    ]
    return Conversation(case, reference, tuple(checks))


def _is_refused(sent: Sequence[Event]) -> Check:
    """Check that nothing was accepted under a reference that is never free."""
    accepted = sum(event.code == OK for event in sent)
    return Check(
        "It is refused, and sent under another reference", not accepted, f"{len(sent)} calls, {accepted} accepted"
    )


def _is_filed(filings: Sequence[Event], mrn: str) -> Check:
    last = filings[-1].code
    return Check("The consignment is accepted", bool(mrn), mrn or f"the last answer was {last}")


def _retried(failure: CallFailure, filings: Sequence[Event], own: Sequence[Event]) -> Iterator[Check]:
    first = next((place for place, event in enumerate(filings) if event.failure == failure.value), None)
    if first is None:
        yield Check("The call fails once", False, "it did not fail; use a new local reference")
        return
    failed = filings[first]
    later = _until_accepted(filings[first + 1 :])
    if FAILURES[failure].renews:
        same = [each for each in later if each.digest == failed.digest and each.request_id != failed.request_id]
        rule = "The same content is sent again, with a new request_id"
    else:
        same = [each for each in later if (each.request_id, each.digest) == (failed.request_id, failed.digest)]
        rule = "The same call is sent again, with the same request_id and content"
    found = f"{len(same)} of {len(later)} later calls were {'so' if FAILURES[failure].renews else 'the same call'}"
    yield Check(rule, bool(later) and len(same) == len(later), found)
    if FAILURES[failure].waits:
        early = [event for event in later if event.at < failed.retry_at]
        yield Check("It is sent again after the time in RetryInfo", not early, f"{len(early)} calls came before it")
    twice = {
        event.reference
        for event in own
        if event.kind == "filed" and failed.house and event.house == failed.house and event.mrn and not _changes(event)
    }
    twice.discard(failed.reference)
    also = f"also filed as {', '.join(sorted(twice))}" if twice else "filed once"
    yield Check("The goods are not filed under a second reference", not twice, also)


def _corrected(filings: Sequence[Event]) -> Check:
    """Compare the call that was accepted with the one that was refused."""
    refused = {event.request_id for event in filings if event.code == REFUSED}
    accepted = [event.request_id for event in filings if event.code == OK]
    rule = "It is filed again under the same reference, with a new request_id"
    if not refused:
        return Check(rule, False, "it was not refused; use a new reference")
    return Check(rule, bool(accepted) and accepted[0] not in refused, f"{len(filings)} calls")


def _until_accepted(filings: Sequence[Event]) -> list[Event]:
    """Return the calls up to the first that was answered with an acceptance."""
    accepted = next((place for place, event in enumerate(filings) if event.mrn and not event.failure), len(filings))
    return list(filings[: accepted + 1])


def _acted(act: Act, about_goods: Sequence[Event]) -> Check:
    if act in (Act.ANSWER, Act.ANSWER_LATE):
        found = [event.code for event in about_goods if event.kind == "answered"]
        rule = "The request is answered"
    else:
        wanted = MESSAGE_FUNCTION_INVALIDATE if act is Act.WITHDRAW else MESSAGE_FUNCTION_AMEND
        found = [event.code for event in about_goods if event.kind == "filed" and event.function == wanted]
        rule = "The declaration is invalidated" if act is Act.WITHDRAW else "The declaration is amended"
    return Check(rule, OK in found, ", ".join(found) or "no such call")


def _noticed(case: Case, kinds: Sequence[str]) -> Check:
    return Check(
        f"The notices {', '.join(case.notices)} are read",
        tuple(kinds) == case.notices,
        ", ".join(kinds) or "none was read",
    )

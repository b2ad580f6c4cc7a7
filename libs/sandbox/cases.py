"""The cases of the sandbox: what the local reference of a consignment selects, and what a client sees of it.

A local reference selects a case by its beginning, `CASE-…`, or `CASE.SECONDS-…` with a delay before each act of customs and of other parties:
`HOLD-0001`, `DEBT.30-0002`. Any other reference selects none, and customs does with the goods what the data say.
"""

import enum
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from libs.sandbox import findings
from libs.sandbox.findings import Finding
from libs.sandbox.responses.calls import OF_CALLS, ROLE_OF, Subject
from libs.sandbox.responses.failures import FAILURES, CallFailure
from libs.server.identity import Role

DELAY_SECONDS_MAX: Final = 999
REFERENCE_CHARACTERS_MAX: Final = 22
"""Of the contract: the services refuse longer references, so they select nothing."""
_REFERENCE: Final = re.compile(r"([A-Z]+)(?:\.([0-9]{1,3}))?-.+", re.DOTALL)


class Act(enum.StrEnum):
    """What the client does in a case, beside filing and reading its notices."""

    NONE = "-"
    CORRECT = "files it again under the same reference, with a new request_id"
    RETRY = "sends the same call again, with the same request_id"
    RENEW = "sends the same content again, with a new request_id"
    RENAME = "sends it under another reference"
    ANSWER = "answers the request (AnswerControls)"
    ANSWER_LATE = "answers the request after the notice CONTROL_REMINDED"
    AMEND = "amends version 1 after the notice DECIDED"
    AMEND_LATE = "amends version 1 after the notice RELEASED"
    AMEND_TWICE = "amends version 1 after the notice DECIDED, and after the refusal amends the current version, with a new request_id"
    WITHDRAW = "invalidates version 1 after the notice DECIDED"


AFTER: Final = {
    Act.ANSWER: "CONTROL_ORDERED",
    Act.ANSWER_LATE: "CONTROL_REMINDED",
    Act.AMEND: "DECIDED",
    Act.AMEND_LATE: "RELEASED",
    Act.AMEND_TWICE: "DECIDED",
    Act.WITHDRAW: "DECIDED",
}
"""The notice after which the client acts."""


class Step(NamedTuple):
    """An act of customs or of another party: the name of a method of Script, and its arguments."""

    action: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One case."""

    name: str
    meaning: str
    """What happens, in a sentence."""
    notices: tuple[str, ...]
    """Kinds of the notices that the filer reads, in their order, if it files goods that owe nothing at the border."""
    state: str
    """State of the consignment at the end."""
    steps: tuple[Step, ...] = ()
    act: Act = Act.NONE
    failure: CallFailure | None = None
    owes: bool = False
    """Whether the goods must owe something at the border, so that the case is complete."""
    finding: Finding | None = None
    """What a service finds wrong with what the client sends."""
    subject: Subject = Subject.CONSIGNMENT
    """What the reference belongs to; only cases of consignments have notices and a state."""

    @property
    def role(self) -> Role:
        """Return the role of the account that goes through it."""
        return ROLE_OF[self.subject]


class Selected(NamedTuple):
    """What a local reference selects."""

    case: Case
    delay_seconds: int


def _step(action: str, *arguments: str) -> Step:
    return Step(action, arguments)


_SETTLE: Final = _step("settle")
_ARRIVE: Final = _step("arrive")
_RELEASED: Final = (_SETTLE, _ARRIVE)
_DECIDED_RELEASED: Final = ("DECIDED", "RELEASED")


def _failing(failure: CallFailure) -> Case:
    how = FAILURES[failure]
    wait = ", until the time in RetryInfo is over (the delay, or 1 s)" if how.waits else ""
    stored = "" if failure is CallFailure.LOST else "; nothing is filed"
    meaning = f"{_sentence(how.meaning)} (`{how.reason}`){wait}{stored}. Then as RELEASE."
    act = Act.RENEW if how.renews else Act.RETRY
    return Case(failure.value, meaning, _DECIDED_RELEASED, "RELEASED", _RELEASED, act, failure)


def _case_of(finding: Finding, subject: Subject = Subject.CONSIGNMENT) -> Case:
    """Return the case of a finding: refused until the client corrects it, or accepted with a warning."""
    where = f"`{finding.reason}` at `{finding.path}`" if finding.path else f"`{finding.reason}`"
    is_filing = subject is Subject.CONSIGNMENT
    notices, state = (finding.notices, finding.state) if is_filing and not finding.is_final else ((), "")
    if finding.warns:
        meaning, act = f"Accepted with the warning {where}: {finding.defect}.", Act.NONE
    elif finding.amends:
        meaning, act = f"The amendment is refused, {where}: {finding.defect}.", Act.AMEND_TWICE
    else:
        act = Act.RENAME if finding.is_final else Act.CORRECT
        then = "" if finding.is_final else " A new call with the reference is accepted."
        meaning = f"Refused, {where}: {finding.defect}.{then}"
    steps = tuple(map(Step, finding.steps))
    return Case(finding.name, meaning, notices, state, steps, act, finding=finding, subject=subject)


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]


def _requested(name: str, form: str, meaning: str, result: str = "conform") -> Case:
    """Return a case in which the filer answers a request, and an officer concludes it."""
    steps = (_SETTLE, _step("order", form), _step("await_answer"), _step("conclude", result))
    if result == "conform":
        notices = ("DECIDED", "CONTROL_ORDERED", "CONTROL_ANSWERED", *_DECIDED_RELEASED)
        return Case(name, meaning, notices, "RELEASED", (*steps, _ARRIVE), Act.ANSWER)
    return Case(
        name,
        meaning,
        ("DECIDED", "CONTROL_ORDERED", "CONTROL_ANSWERED", "CONTROL_CONCLUDED"),
        "HELD",
        steps,
        Act.ANSWER,
    )


_ALL: Final = (
    Case("RELEASE", "Risk finds nothing; the goods arrive and are released.", _DECIDED_RELEASED, "RELEASED", _RELEASED),
    Case("AUDIT", "As RELEASE, in the blue lane: an audit follows later.", _DECIDED_RELEASED, "RELEASED", _RELEASED),
    Case("HOLD", "Risk holds the goods (red lane, reason `SANDBOX_HOLD`), and no officer decides.", ("HELD",), "HELD"),
    Case("YELLOW", "Risk holds the goods for a check of documents (yellow lane), and no officer decides.", ("HELD",), "HELD"),
    Case("HIDDEN", "Risk holds the goods for a confidential reason: the filer reads `CUSTOMS_CHECK`.", ("HELD",), "HELD"),
    Case(
        "HOLDFREE", "Risk holds the goods; they arrive, and an officer releases them.",
        ("HELD", "ARRIVED", "RELEASED"), "RELEASED", (_SETTLE, _ARRIVE, _step("release_goods")),
    ),
    Case("STOP", "An officer holds goods that risk let pass.", ("DECIDED", "HELD"), "HELD", (_SETTLE, _step("stop_goods"))),
    Case(
        "DEBT", "The goods arrive and are held until their debt is paid.",
        ("HELD", "ARRIVED", "RELEASED"), "RELEASED", (_ARRIVE, _SETTLE), owes=True,
    ),
    Case(
        "PAID", "The debt is paid before the goods arrive.",
        ("HELD", "DEBT_SETTLED", "RELEASED"), "RELEASED", _RELEASED, owes=True,
    ),
    Case(
        "CHARGES", "An officer holds the goods and corrects the price of item 1 to 1,000 EUR.",
        ("DECIDED", "HELD", "CHARGES_CHANGED"), "HELD", (_SETTLE, _step("stop_goods"), _step("correct")),
    ),
    Case(
        "BOUNCED", "The debt is paid and the goods are released; then the payment is reversed.",
        ("HELD", "DEBT_SETTLED", "RELEASED", "DEBT_OPENED"), "RELEASED", (*_RELEASED, _step("reverse_payment")), owes=True,
    ),
    Case(
        "TRANSIT", "Goods that an officer holds move from their office of arrival to another one, and are released there.",
        ("DECIDED", "HELD", "ARRIVED", "TRANSIT_STARTED", "TRANSIT_ARRIVED", "RELEASED"), "RELEASED",
        (_SETTLE, _step("stop_goods"), _ARRIVE, _step("move"), _step("end_move"), _step("release_goods")),
    ),
    Case(
        "TURNBACK", "Goods that an officer holds are to move to another office; the officer ends the movement without an arrival.",
        ("DECIDED", "HELD", "ARRIVED", "TRANSIT_STARTED", "TRANSIT_ENDED"), "HELD",
        (_SETTLE, _step("stop_goods"), _ARRIVE, _step("move"), _step("cancel_move")),
    ),
    Case(
        "REMIND", "An officer requests documents, and the filer is reminded after 2 s; the officer accepts the answer.",
        ("DECIDED", "CONTROL_ORDERED", "CONTROL_REMINDED", "CONTROL_ANSWERED", *_DECIDED_RELEASED), "RELEASED",
        (_SETTLE, _step("order", "documents", "remind"), _step("await_answer"), _step("conclude", "conform"), _ARRIVE), Act.ANSWER_LATE,
    ),
    Case(
        "LIFTED", "An officer requests documents, holds the goods and lifts the hold; the request stays open.",
        ("DECIDED", "CONTROL_ORDERED", "HELD", "HOLD_LIFTED"), "DOCUMENTS_REQUESTED",
        (_SETTLE, _step("order", "documents"), _step("stop_goods"), _step("release_goods")),
    ),
    _requested("DOCS", "documents", "An officer requests documents and accepts the answer."),
    _requested("DOCSBAD", "documents", "An officer requests documents and does not accept the answer.", "not_conform"),
    _requested("INFO", "information", "A referral before loading requests information (RFI); an officer accepts the answer."),
    _requested("SCREEN", "screening", "A referral before loading requests a screening (RFS) of the filer; an officer accepts the answer."),
    Case(
        "DNL", "The goods may not be loaded (DNL), until an officer lifts it.",
        ("DECIDED", "CONTROL_ORDERED", *_DECIDED_RELEASED), "RELEASED",
        (_SETTLE, _step("order", "do_not_load"), _step("conclude", "withdrawn"), _ARRIVE),
    ),
    Case(
        "EXAM", "Customs examines the goods and finds them as declared.",
        ("DECIDED", "CONTROL_ORDERED", *_DECIDED_RELEASED), "RELEASED",
        (_SETTLE, _step("order", "examination"), _step("conclude", "conform"), _ARRIVE),
    ),
    Case(
        "SEIZE", "The goods are seized and confiscated.",
        ("DECIDED", "HELD", "ARRIVED", "SEIZED", "DISPOSED"), "CONFISCATED",
        (_SETTLE, _step("stop_goods"), _ARRIVE, _step("dispose", "seized"), _step("dispose", "confiscated")),
    ),
    Case(
        "DESTROY", "The goods are held at the border and destroyed under supervision.",
        ("DECIDED", "HELD", "ARRIVED", "DISPOSED"), "DESTROYED",
        (_SETTLE, _step("stop_goods"), _ARRIVE, _step("dispose", "destroyed")),
    ),
    Case(
        "INVALID", "Customs invalidates the declaration.", ("DECIDED", "INVALIDATED"), "INVALIDATED",
        (_SETTLE, _step("dispose", "invalidated")),
    ),
    Case(
        "REVERSE", "Risk holds the goods; their arrival is reported and then reversed.",
        ("HELD", "ARRIVED", "ARRIVAL_REVERSED"), "HELD", (_ARRIVE, _step("reverse")),
    ),
    Case(
        "RETURN", "The released goods are returned to their sender.",
        ("DECIDED", "RELEASED", "RETURNED", "DEBT_SETTLED"), "RE_EXPORTED", (*_RELEASED, _step("send_back")),
    ),
    Case(
        "AMEND", "Customs waits for an amendment, accepts it, and releases the goods on their arrival.",
        ("DECIDED", *_DECIDED_RELEASED), "RELEASED", (_SETTLE, _step("await_amendment"), *_RELEASED), Act.AMEND,
    ),
    Case(
        "TOOLATE", "The goods are released at once, so that an amendment is refused.",
        ("DECIDED", "RELEASED", "AMENDMENT_REFUSED"), "RELEASED", _RELEASED, Act.AMEND_LATE,
    ),
    Case("WITHDRAW", "The filer withdraws its declaration.", ("DECIDED", "INVALIDATED"), "INVALIDATED", (), Act.WITHDRAW),
    *map(_failing, CallFailure),
    *map(_case_of, findings.FINDINGS),
    *(_case_of(finding, subject) for subject, found in OF_CALLS.items() for finding in found),
)  # fmt: skip
CASES: Final[dict[str, Case]] = {case.name: case for case in _ALL}
"""All cases by name."""

NOT_COVERED: Final = {
    "EXPIRED": "goods that never arrived: the term is 200 days",
    "STORAGE_REMINDED": "temporary storage: the term is days",
    "STORAGE_ENDED": "temporary storage: the term is days",
    "RETURN_ORDER_ENDED": "orders of returns: the filer makes them, and the term is days",
    "PRESENTED": "presentation: only where it is an act of its own",
    "PRESENTATION_OVERDUE": "presentation: only where it is an act of its own",
    "TRANSIT_OVERDUE": "movements to another office: the term is days",
    "PART_MISSING": "only for parties other than the filer",
    "CONTRADICTED": "needs a part of another party",
    "LICENCE_USED": "only for partner agencies",
    "LICENCE_RESTORED": "only for partner agencies",
    "LICENCE_USED_UP": "only for partner agencies",
    "LICENCE_REMINDED": "only for partner agencies",
    "LICENCE_ENDED": "only for partner agencies",
}
"""Kinds of notices that no case has, and why."""


def cases_of(role: Role) -> dict[str, Case]:
    """Return the cases that an account of a role goes through, by name."""
    return {name: case for name, case in CASES.items() if case.role is role}


def selected(reference: str, subject: Subject = Subject.CONSIGNMENT) -> Selected | None:
    """Return the case and the delay that a reference selects, or None; of a consignment it is the local reference."""
    is_long = len(reference) > REFERENCE_CHARACTERS_MAX
    match = None if is_long else _REFERENCE.fullmatch(reference)
    case = CASES.get(match[1]) if match else None
    if match is None or case is None or case.subject is not subject:
        return None
    return Selected(case, int(match[2] or 0))

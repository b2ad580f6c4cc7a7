"""The cases of the sandbox: what the local reference of a consignment selects, and what a client sees of it.

A local reference selects a case by its beginning, `CASE-…`, or `CASE.SECONDS-…` with a delay before each act of customs and of other parties:
`HOLD-0001`, `DEBT.30-0002`. Any other reference selects none, and customs does with the goods what the data say.
"""

import enum
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

DELAY_SECONDS_MAX: Final = 999
REFERENCE_CHARACTERS_MAX: Final = 22
"""Of the contract: the services refuse longer references, so they select nothing."""
_REFERENCE: Final = re.compile(r"([A-Z]+)(?:\.([0-9]{1,3}))?-.+", re.DOTALL)


class CallFailure(enum.StrEnum):
    """What goes wrong with the first call that files a consignment. Later calls with it pass."""

    DOWN = "DOWN"
    """UNAVAILABLE, and nothing was filed."""
    BUSY = "BUSY"
    """RESOURCE_EXHAUSTED with RetryInfo, until its time is over; nothing was filed."""
    FAIL = "FAIL"
    """INTERNAL, and nothing was filed."""
    SLOW = "SLOW"
    """No answer before the deadline of the call, and nothing was filed."""
    LOST = "LOST"
    """The consignments are filed, and the answer is lost: UNAVAILABLE."""


class Act(enum.StrEnum):
    """What the client does in a case, beside filing and reading its notices."""

    NONE = "-"
    CORRECT = "files it again under the same reference, with a new request_id"
    RETRY = "sends the same call again, with the same request_id"
    ANSWER = "answers the request (AnswerControls)"
    ANSWER_LATE = "answers the request after the notice CONTROL_REMINDED"
    AMEND = "amends version 1 after the notice DECIDED"
    AMEND_LATE = "amends version 1 after the notice RELEASED"
    WITHDRAW = "invalidates version 1 after the notice DECIDED"


AFTER: Final = {
    Act.ANSWER: "CONTROL_ORDERED",
    Act.ANSWER_LATE: "CONTROL_REMINDED",
    Act.AMEND: "DECIDED",
    Act.AMEND_LATE: "RELEASED",
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


def _failing(failure: CallFailure, meaning: str) -> Case:
    return Case(failure.value, meaning, _DECIDED_RELEASED, "RELEASED", _RELEASED, Act.RETRY, failure)


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
    Case(
        "REFUSED",
        "The consignment is refused (`ELEMENT_MISSING`, as if the description of its first item were empty), also if the same call is sent again. "
        "A new call with the reference is accepted; then as RELEASE. Only of `SubmitConsignments`, not of columns.",
        _DECIDED_RELEASED,
        "RELEASED",
        _RELEASED,
        Act.CORRECT,
    ),
    Case("WITHDRAW", "The filer withdraws its declaration.", ("DECIDED", "INVALIDATED"), "INVALIDATED", (), Act.WITHDRAW),
    _failing(CallFailure.DOWN, "The first call fails with UNAVAILABLE (`SHUTTING_DOWN`); nothing was filed. Then as RELEASE."),
    _failing(
        CallFailure.BUSY,
        "Calls fail with RESOURCE_EXHAUSTED (`OVERLOADED`) until the time in RetryInfo is over (the delay, or 1 s). Then as RELEASE.",
    ),
    _failing(CallFailure.FAIL, "The first call fails with INTERNAL (`INTERNAL`); nothing was filed. Then as RELEASE."),
    _failing(CallFailure.SLOW, "The first call has no answer before its deadline; nothing was filed. Then as RELEASE."),
    _failing(CallFailure.LOST, "The first call files the goods, and its answer is lost (UNAVAILABLE, `SHUTTING_DOWN`). Then as RELEASE."),
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
    "TRANSIT_ENDED": "movements to another office that an officer ends without an arrival",
    "EXITED": "exports: no case files one",
    "PART_MISSING": "only for parties other than the filer",
    "LICENCE_USED": "only for partner agencies",
    "LICENCE_RESTORED": "only for partner agencies",
    "LICENCE_USED_UP": "only for partner agencies",
    "LICENCE_REMINDED": "only for partner agencies",
    "LICENCE_ENDED": "only for partner agencies",
}
"""Kinds of notices that no case has, and why."""


def selected(local_reference: str) -> Selected | None:
    """Return the case and the delay that a local reference selects, or None."""
    is_long = len(local_reference) > REFERENCE_CHARACTERS_MAX
    match = None if is_long else _REFERENCE.fullmatch(local_reference)
    case = CASES.get(match[1]) if match else None
    return Selected(case, int(match[2] or 0)) if match and case else None

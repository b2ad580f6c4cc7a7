"""What the report of an account says is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from libs.sandbox.cases import CASES, cases_of
from libs.sandbox.conversations import REFUSED, Conversation, Event, Log, conversations
from libs.server.identity import Role
from luxor.consignment.v1.consignment_pb2 import MESSAGE_FUNCTION_AMEND, MESSAGE_FUNCTION_INVALIDATE

ACCOUNT = "filer/acme"
MRN = "26DE32329000033OR6"


def filed(
    reference: str, at: float = 1.0, *, mrn: str = MRN, failure: str = "", request_id: str = "r", digest: str = "d",
    house: str = "H1", function: int = 1, retry_at: float = 0.0, account: str = ACCOUNT, code: str = "OK",
) -> Event:  # fmt: skip
    return Event(
        "filed", account, at, reference=reference, mrn=mrn, code=code, request_id=request_id, digest=digest, house=house,
        function=function, failure=failure, retry_at=retry_at,
    )  # fmt: skip


def noticed(*kinds: str, mrn: str = MRN, start: float = 10.0) -> list[Event]:
    return [Event("noticed", ACCOUNT, start + place, mrn=mrn, detail=kind) for place, kind in enumerate(kinds)]


def judged(events: Sequence[Event], case: str) -> Conversation:
    found = conversations(events, ACCOUNT)[case]
    assert found is not None
    return found


def wrong(events: Sequence[Event], case: str) -> list[str]:
    return [each.rule for each in judged(events, case).checks if not each.passed]


def released(case: str = "RELEASE") -> list[Event]:
    return noticed(*CASES[case].notices)


def test_a_conversation_as_the_case_says_is_right() -> None:
    events = [filed("RELEASE-1"), *released(), *released()]
    assert judged(events, "RELEASE").passed, "notices may be read twice"


def test_cases_that_were_not_begun_are_not_judged_and_other_accounts_do_not_count() -> None:
    found = conversations([filed("HOLD-1", account="filer/shop"), filed("SHOP-1"), *noticed("HELD")], ACCOUNT)
    assert set(found) == set(cases_of(Role.FILER))
    assert set(found.values()) == {None}


def test_a_refused_consignment_and_notices_that_were_not_read_are_wrong() -> None:
    assert wrong([filed("HOLD-1", mrn="", code=REFUSED)], "HOLD") == [
        "The consignment is accepted",
        "The notices HELD are read",
    ]
    assert wrong([filed("RELEASE-1"), *noticed("DECIDED")], "RELEASE") == ["The notices DECIDED, RELEASED are read"]


def test_the_newest_reference_of_a_case_counts() -> None:
    events = [filed("HOLD-1", mrn="", code=REFUSED), filed("HOLD-2", 2.0), *noticed("HELD")]
    assert judged(events, "HOLD").reference == "HOLD-2"
    assert judged(events, "HOLD").passed


SAME = "The same call is sent again, with the same request_id and content"
ONCE = "The goods are not filed under a second reference"
LATER = "It is sent again after the time in RetryInfo"


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        ([filed("LOST-1", 2.0)], []),
        ([filed("LOST-1", 2.0), filed("LOST-1", 3.0, request_id="other")], []),
        ([], [SAME]),
        ([filed("LOST-1", 2.0, request_id="other")], [SAME]),
        ([filed("LOST-1", 2.0, digest="other")], [SAME]),
        ([filed("LOST-1", 2.0), filed("SHOP-9", 3.0)], [ONCE]),
        ([filed("LOST-1", 2.0), filed("SHOP-9", 3.0, house="H2")], []),
        ([filed("LOST-1", 2.0), filed("SHOP-9", 3.0, mrn="")], []),
        ([filed("LOST-1", 2.0), filed("SHOP-9", 3.0, account="filer/shop")], []),
    ],
)
def test_after_a_lost_answer_the_same_call_is_sent_again_and_nothing_is_filed_twice(
    retries: list[Event], expected: list[str]
) -> None:
    events = [filed("LOST-1", failure="LOST", code="UNAVAILABLE"), *retries, *released("LOST")]
    assert wrong(events, "LOST") == expected


def test_a_case_whose_fault_did_not_happen_is_not_passed() -> None:
    assert wrong([filed("DOWN-1"), *released("DOWN")], "DOWN") == ["The call fails once"]


@pytest.mark.parametrize("case", ["BUSY", "BEHIND", "FULL", "STARTING"])
@pytest.mark.parametrize(("at", "expected"), [(4.9, [LATER]), (5.0, [])])
def test_a_call_is_not_sent_again_before_the_time_in_retry_info(case: str, at: float, expected: list[str]) -> None:
    busy = filed(f"{case}-1", mrn="", failure=case, code="RESOURCE_EXHAUSTED", retry_at=5.0)
    assert wrong([busy, filed(f"{case}-1", at), *released(case)], case) == expected


RENEWED = "The same content is sent again, with a new request_id"


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (filed("USED-1", 2.0, request_id="new"), []),
        (filed("USED-1", 2.0), [RENEWED]),
        (filed("USED-1", 2.0, request_id="new", digest="other"), [RENEWED]),
    ],
)
def test_after_a_request_id_that_was_used_the_same_content_has_a_new_one(retry: Event, expected: list[str]) -> None:
    events = [filed("USED-1", mrn="", failure="USED", code="ALREADY_EXISTS"), retry, *released("USED")]
    assert wrong(events, "USED") == expected


@pytest.mark.parametrize(
    ("case", "event", "rule"),
    [
        ("DOCS", Event("answered", ACCOUNT, 3.0, mrn=MRN), "The request is answered"),
        ("REMIND", Event("answered", ACCOUNT, 3.0, mrn=MRN), "The request is answered"),
        ("AMEND", filed("OTHER-1", 3.0, function=MESSAGE_FUNCTION_AMEND), "The declaration is amended"),
        ("TOOLATE", filed("TOOLATE-1", 3.0, function=MESSAGE_FUNCTION_AMEND), "The declaration is amended"),
        ("WITHDRAW", filed("WITHDRAW-1", 3.0, function=MESSAGE_FUNCTION_INVALIDATE), "The declaration is invalidated"),
    ],
)
def test_what_the_client_must_do_is_looked_for(case: str, event: Event, rule: str) -> None:
    events = [filed(f"{case}-1"), *released(case)]
    assert wrong(events, case) == [rule]
    assert wrong([*events, event], case) == []


NEW_CALL = "It is filed again under the same reference, with a new request_id"


@pytest.mark.parametrize(
    ("filings", "expected"),
    [
        ([filed("REFUSED-1", mrn="", code=REFUSED), filed("REFUSED-1", 2.0, request_id="new")], []),
        ([filed("REFUSED-1", mrn="", code=REFUSED), filed("REFUSED-1", 2.0)], [NEW_CALL]),
        ([filed("REFUSED-1")], [NEW_CALL]),
    ],
)
def test_what_was_refused_is_filed_again_with_a_new_request_id(filings: list[Event], expected: list[str]) -> None:
    assert wrong([*filings, *released("REFUSED")], "REFUSED") == expected


def test_a_refused_amendment_is_corrected_with_a_new_request_id() -> None:
    def amended(at: float, request_id: str, code: str = "OK") -> Event:
        mrn = "" if code == REFUSED else MRN
        return filed("VERSION-1", at, mrn=mrn, request_id=request_id, function=MESSAGE_FUNCTION_AMEND, code=code)

    events = [filed("VERSION-1"), amended(2.0, "a", REFUSED), *released("VERSION")]
    assert wrong(events, "VERSION") == [NEW_CALL]
    assert wrong([*events, amended(3.0, "a")], "VERSION") == [NEW_CALL]
    assert wrong([*events, amended(3.0, "b")], "VERSION") == []


RENAMED = "It is refused, and sent under another reference"


def test_under_a_reference_that_was_used_nothing_is_accepted() -> None:
    refused = filed("REUSED-1", mrn="", code=REFUSED)
    assert wrong([refused, filed("SHOP-1", 2.0)], "REUSED") == []
    assert wrong([refused, filed("REUSED-1", 2.0)], "REUSED") == [RENAMED]


def sent(reference: str, subject: str, code: str, request_id: str, account: str = ACCOUNT) -> Event:
    return Event("sent", account, 1.0, reference=reference, code=code, request_id=request_id, detail=subject)


@pytest.mark.parametrize(
    ("case", "subject", "account"),
    [
        ("NOPRICE", "sale", ACCOUNT),
        ("PARTKEY", "part", ACCOUNT),
        ("PLACE", "arrival", "carrier/swift"),
        ("FREED", "reversal of an arrival", "carrier/swift"),
        ("LEFTTIME", "departure", "carrier/swift"),
    ],
)
def test_another_message_that_was_refused_is_sent_with_a_new_request_id(case: str, subject: str, account: str) -> None:
    def result(*events: Event) -> list[bool]:
        found = conversations(events, account)[case]
        assert found is not None
        return [each.passed for each in found.checks]

    refused = sent(f"{case}-1", subject, REFUSED, "r", account)
    assert result(refused) == [False]
    assert result(refused, sent(f"{case}-1", subject, "OK", "r", account)) == [False]
    assert result(refused, sent(f"{case}-1", subject, "OK", "new", account)) == [True]
    assert result(sent(f"{case}-1", subject, "OK", "r", account)) == [False], "it was never refused"
    # The same reference of another message is none of the case.
    other = "part" if subject != "part" else "sale"
    assert conversations([sent(f"{case}-1", other, REFUSED, "r", account)], account)[case] is None


def test_a_carrier_has_the_cases_of_carriers() -> None:
    found = conversations([filed("HOLD-1", account="carrier/swift")], "carrier/swift")
    assert set(found) == set(cases_of(Role.CARRIER))
    assert set(found.values()) == {None}


def test_a_failure_of_the_sandbox_is_named_as_such() -> None:
    events = [filed("HOLD-1"), *noticed("HELD"), Event("failed", ACCOUNT, 3.0, mrn=MRN, detail="step arrive: why")]
    assert wrong(events, "HOLD") == ["The sandbox plays its part"]


def test_events_are_read_as_they_were_written_and_a_half_line_is_left_out(tmp_path: Path) -> None:
    log = Log(tmp_path / "events.jsonl")
    events = [filed("HOLD-1"), *noticed("HELD")]
    for event in events:
        log.append(event)
    with log.path.open("ab") as file:
        file.write(b'{"kind":"no')
    assert list(log.read()) == events
    # The next sandbox begins a line of its own.
    Log(log.path).append(events[0])
    assert list(log.read()) == [*events, events[0]]


def test_events_after_one_that_could_not_be_written_whole_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path / "events.jsonl")
    opened = Path.open

    def full(path: Path, mode: str) -> Any:
        with opened(path, mode) as file:
            file.write(b'{"kind":"no')
        raise OSError(28, "No space left on device")

    log.append(filed("HOLD-1"))
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space"):
        log.append(filed("HOLD-2"))
    monkeypatch.undo()
    log.append(filed("HOLD-3"))
    assert [each.reference for each in log.read()] == ["HOLD-1", "HOLD-3"]

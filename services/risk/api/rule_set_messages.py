"""Rule sets in messages: files that were sent, reports, sets that are stored, and the refusal of a set with its mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.server.errors import Refusal, Violation
from luxor.errors.v1 import errors_pb2
from luxor.risk.v1 import rule_sets_pb2 as pb
from services.risk.rules.report import Report
from services.risk.rules.rule_set import RuleSet, RuleSetText
from services.risk.rules.sources import FILES_MAX, path_error
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.store.rule_sets import RuleSetState, StoredRuleSet, text_of

BYTES_MAX: Final = 3_000_000
ERRORS_MAX: Final = 1_000
MESSAGE_CHARACTERS_MAX: Final = 1_000


def checked_files(message: pb.RuleSetFiles, path: str = "set") -> RuleSetText:
    """Files that were sent, as an element of a request at a path. Raises Refusal."""

    def refused(where: str, reason: str) -> Refusal:
        return Refusal("RULE_SET_FILES_MALFORMED", path=where, why=reason)

    if not 1 <= len(message.files) <= FILES_MAX:
        raise refused(f"{path}.files", f"there are {len(message.files)} files")
    size = sum(len(each.content) for each in message.files)
    if size > BYTES_MAX:
        raise refused(f"{path}.files", f"they have {size} bytes together")
    seen: set[str] = set()
    for index, each in enumerate(message.files):
        why = path_error(each.path) or ("the path stands twice" if each.path in seen else "")
        if why:
            raise refused(f"{path}.files[{index}].path", why)
        seen.add(each.path)
    if message.profile_path not in seen:
        raise refused(f"{path}.profile_path", "it is the path of none of the files")
    return text_of(message)


def refusal_of(error: RuleSetError) -> Refusal:
    """A set's mistakes as the refusal of a call."""
    violations = [
        Violation(
            f"{each.file}:{each.line}:{each.column}",
            "RULE_SET_REFUSED",
            _cut(f"{each.rule}: {each.message}" if each.rule else each.message),
        )
        for each in error.errors
    ]
    first = str(error.errors[0])
    return Refusal("RULE_SET_REFUSED", violations=violations, count=len(error.errors), first=_cut(first, 300))


def _cut(text: str, characters: int = MESSAGE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def error_messages(errors: Sequence[ValidationError]) -> list[errors_pb2.FileError]:
    return [
        errors_pb2.FileError(
            file=each.file, line=each.line, column=each.column, element=each.rule, message=_cut(each.message)
        )
        for each in errors[:ERRORS_MAX]
    ]


def report_message(rule_set: RuleSet, report: Report) -> pb.RuleSetReport:
    return pb.RuleSetReport(
        version=rule_set.version,
        warnings=error_messages(report.warnings),
        sample_consignments=report.consignments,
        rules=[
            pb.RuleOnSample(
                rule=each.rule,
                judged=each.judged,
                matched=each.matched,
                unjudged=each.unjudged,
                fallback=_cut(each.fallback),
            )
            for each in report.rules
        ],
    )


def state_name(rule_set: StoredRuleSet) -> str:
    return (
        "withdrawn"
        if rule_set.state is RuleSetState.RETIRED and rule_set.activated_by is None
        else rule_set.state.name.lower()
    )


def rule_set_message(rule_set: StoredRuleSet) -> pb.StoredRuleSet:
    return pb.StoredRuleSet(
        version=rule_set.version,
        state=pb.RuleSetState.ValueType(int(rule_set.state)),
        note=rule_set.note,
        proposed_by=rule_set.proposed_by,
        proposed_at=_timestamp(rule_set.proposed_at),
        activated_by=rule_set.activated_by or "",
        activated_at=_timestamp(rule_set.activated_at),
        retired_by=rule_set.retired_by or "",
        retired_at=_timestamp(rule_set.retired_at),
    )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def micros_of(moment: datetime) -> int:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToMicroseconds()


def moment_of(micros: int) -> datetime:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp.ToDatetime(UTC)

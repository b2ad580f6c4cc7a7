"""The gRPC edge of the life of rule sets: checked, proposed, activated by a second person, withdrawn, listed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.columns.stored import InputError
from libs.server import call
from libs.server.errors import Refusal, Violation
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, once, page_size_of, recalled
from libs.store.database import Transaction
from libs.telemetry import counter, get_logger
from luxor.risk.v1 import rule_sets_pb2 as pb
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from luxor.risk.v1.rule_sets_pb2_grpc import RuleSetServiceServicer
from services.risk.commands.load_rule_sets import RuleSets
from services.risk.rules.report import Batch, Report, report_of
from services.risk.rules.rule_set import RuleSet, RuleSetText, read_rule_set
from services.risk.rules.sources import FILES_MAX, SentFiles, wrong_path
from services.risk.rules.validation_errors import Mistake, RuleSetError
from services.risk.store.assessment_inputs import Inputs, StoredBatch
from services.risk.store.identities import person_of
from services.risk.store.rule_sets import DRAFTS_MAX, Kept, RuleSetStore, State, TooManyDrafts, text_of

BYTES_MAX: Final = 3_000_000
NOTE_CHARACTERS_MAX: Final = 512
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 100
TOLD_MAX: Final = 1_000
MESSAGE_CHARACTERS_MAX: Final = 1_000
SAMPLE_CONSIGNMENTS_MAX: Final = 5_000

_changes = counter(
    "luxor_risk_rule_set_changes_total", "Changes of the rule sets that are kept, by what was done", ("act",)
)
_log = get_logger()


class RuleSetService(RuleSetServiceServicer):
    """Keeps rule sets and tells about them."""

    def __init__(self, store: RuleSetStore, inputs: Inputs, rule_sets: RuleSets) -> None:
        """Serve from the store; `inputs` are what recent consignments were assessed on, `rule_sets` tells what is in force."""
        self._store = store
        self._pages = PageTokens(store.database)
        self._inputs = inputs
        self._rule_sets = rule_sets
        #: Compiling takes a core; one at a time leaves the others to assessments.
        self._compiling = asyncio.Lock()

    async def CheckRuleSet(
        self, request: pb.CheckRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckRuleSetResponse:
        """Tell every mistake of a set, or what it does on a sample; nothing is kept."""
        files = checked_files(request.set)
        try:
            _, report = await self._compile(files)
        except RuleSetError as error:
            return pb.CheckRuleSetResponse(report=pb.RuleSetReport(mistakes=_told(error.mistakes)))
        return pb.CheckRuleSetResponse(report=report)

    async def ProposeRuleSet(
        self, request: pb.ProposeRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProposeRuleSetResponse:
        """Keep a set as a draft, once per request."""
        check_request_id(request.request_id)
        if len(request.note) > NOTE_CHARACTERS_MAX or not (request.note.isprintable() or request.note == ""):
            raise Refusal("NOTE_TOO_LONG", path="note")
        before = await recalled(self._store.database, pb.ProposeRuleSetResponse, request)
        if before is not None:
            return before
        files = checked_files(request.set)
        try:
            rule_set, report = await self._compile(files)
        except RuleSetError as error:
            raise refusal_of(error) from None
        who = str(call.current().identity)

        async def work(tx: Transaction) -> pb.ProposeRuleSetResponse:
            known = await self._store.lock(tx, rule_set.version)
            if known is not None:
                raise Refusal("RULE_SET_KNOWN", path="set", value=known.version, state=_state(known))
            content = request.set.SerializeToString(deterministic=True)
            told = report.SerializeToString(deterministic=True)
            try:
                kept = await self._store.add(tx, rule_set.version, content, told, request.note, who)
            except TooManyDrafts:
                raise Refusal("RULE_SET_DRAFTS_TOO_MANY", count_max=DRAFTS_MAX) from None
            tx.after_commit(lambda: _note("proposed", kept, who))
            return pb.ProposeRuleSetResponse(kept=_message(kept), report=report)

        return await once(self._store.database, pb.ProposeRuleSetResponse, request, work)

    async def ActivateRuleSet(
        self, request: pb.ActivateRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ActivateRuleSetResponse:
        """Put a set into force that another person proposed, once per request."""
        before = await recalled(self._store.database, pb.ActivateRuleSetResponse, request)
        if before is not None:
            return before
        found = await self._store.text(request.version)
        if found is not None:
            # The release may be another than the one that checked the draft.
            try:
                async with self._compiling:
                    await asyncio.to_thread(found.read)
            except RuleSetError as error:
                raise refusal_of(error) from None
        identity = call.current().identity

        async def work(tx: Transaction) -> pb.ActivateRuleSetResponse:
            known = await self._known(tx, request.version)
            if person_of(known.proposed_by) == identity.id:
                raise Refusal("RULE_SET_OWN", path="version", value=known.version)
            if known.state is State.ACTIVE or (known.state is State.RETIRED and known.activated_by is None):
                raise Refusal("RULE_SET_STATE_WRONG", path="version", value=known.version, state=_state(known))
            kept, replaced = await self._store.activate(tx, known.version, str(identity))
            tx.after_commit(lambda: _note("activated", kept, str(identity)))
            return pb.ActivateRuleSetResponse(kept=_message(kept), replaced=replaced)

        answer = await once(self._store.database, pb.ActivateRuleSetResponse, request, work)
        await self._rule_sets.look()
        return answer

    async def RetireRuleSet(
        self, request: pb.RetireRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RetireRuleSetResponse:
        """Withdraw a draft, once per request."""
        who = str(call.current().identity)

        async def work(tx: Transaction) -> pb.RetireRuleSetResponse:
            known = await self._known(tx, request.version)
            if known.state is not State.DRAFT:
                raise Refusal("RULE_SET_STATE_WRONG", path="version", value=known.version, state=_state(known))
            kept = await self._store.retire(tx, known.version, who)
            tx.after_commit(lambda: _note("retired", kept, who))
            return pb.RetireRuleSetResponse(kept=_message(kept))

        return await once(self._store.database, pb.RetireRuleSetResponse, request, work)

    async def ListRuleSets(
        self, request: pb.ListRuleSetsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRuleSetsResponse:
        """Give a page of the sets that are kept."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        micros, version = await self._pages.place(request, (0, ""))
        found = await self._store.page(limit + 1, (_moment(micros), version) if version else None)
        last = found[limit - 1] if len(found) > limit else None
        token = await self._pages.token(request, _micros(last.proposed_at), last.version) if last else ""
        return pb.ListRuleSetsResponse(
            kept=map(_message, found[:limit]), next_page_token=token, in_force=self._rule_sets.in_force.version
        )

    async def GetRuleSetFiles(
        self, request: pb.GetRuleSetFilesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetRuleSetFilesResponse:
        """Give a set as it was proposed."""
        found = await self._store.find(request.version)
        if found is None:
            raise Refusal("RULE_SET_UNKNOWN", path="version", value=request.version)
        kept, content, report = found
        return pb.GetRuleSetFilesResponse(
            kept=_message(kept),
            set=pb.RuleSetFiles.FromString(content),
            report=pb.RuleSetReport.FromString(report),
        )

    # ------------------------------------------------------------------------------------------ how
    async def _compile(self, files: RuleSetText) -> tuple[RuleSet, pb.RuleSetReport]:
        batches = []
        left = SAMPLE_CONSIGNMENTS_MAX
        for batch in await self._inputs.newest(PURPOSE_CLEARANCE):
            if batch.count <= left:
                batches.append(batch)
                left -= batch.count
        async with self._compiling:
            return await asyncio.to_thread(_compiled, files, batches)

    async def _known(self, tx: Transaction, version: str) -> Kept:
        known = await self._store.lock(tx, version)
        if known is None:
            raise Refusal("RULE_SET_UNKNOWN", path="version", value=version)
        return known


def _compiled(files: RuleSetText, batches: Sequence[StoredBatch]) -> tuple[RuleSet, pb.RuleSetReport]:
    source = SentFiles(files.files)
    rule_set = read_rule_set(source, files.profile)
    unused = sorted(set(files.files) - source.used)
    return rule_set, _report(rule_set, report_of(rule_set, _sample(batches), unused))


def _sample(batches: Sequence[StoredBatch]) -> list[Batch]:
    sample: list[Batch] = []
    for batch in batches:
        try:
            given = batch.unpack()
        except InputError as error:
            _log.warning("SAMPLE_UNREADABLE", why=str(error))
            continue
        sample.append((given.table, given.history))
    return sample


def checked_files(message: pb.RuleSetFiles, path: str = "set") -> RuleSetText:
    """Files that were sent, as an element of a request at a path. Raises Refusal."""

    def refused(where: str, why: str) -> Refusal:
        return Refusal("RULE_SET_FILES_MALFORMED", path=where, why=why)

    if not 1 <= len(message.files) <= FILES_MAX:
        raise refused(f"{path}.files", f"there are {len(message.files)} files")
    size = sum(len(each.content) for each in message.files)
    if size > BYTES_MAX:
        raise refused(f"{path}.files", f"they have {size} bytes together")
    seen: set[str] = set()
    for index, each in enumerate(message.files):
        why = wrong_path(each.path) or ("the path stands twice" if each.path in seen else "")
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
        for each in error.mistakes
    ]
    first = str(error.mistakes[0])
    return Refusal("RULE_SET_REFUSED", violations=violations, count=len(error.mistakes), first=_cut(first, 300))


def _cut(text: str, characters: int = MESSAGE_CHARACTERS_MAX) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


def _told(mistakes: Sequence[Mistake]) -> list[pb.RuleSetMistake]:
    return [
        pb.RuleSetMistake(
            file=each.file, line=each.line, column=each.column, rule=each.rule, message=_cut(each.message)
        )
        for each in mistakes[:TOLD_MAX]
    ]


def _report(rule_set: RuleSet, report: Report) -> pb.RuleSetReport:
    return pb.RuleSetReport(
        version=rule_set.version,
        warnings=_told(report.warnings),
        sample_consignments=report.consignments,
        rules=[
            pb.RuleOnSample(
                rule=each.rule,
                judged=each.judged,
                held=each.held,
                unjudged=each.unjudged,
                fallback=_cut(each.fallback),
            )
            for each in report.rules
        ],
    )


def _note(act: str, kept: Kept, who: str) -> None:
    _changes.labels(act).inc()
    _log.info("RULE_SET_CHANGED", act=act, rule_set=kept.version, by=who)


def _state(kept: Kept) -> str:
    return "withdrawn" if kept.state is State.RETIRED and kept.activated_by is None else kept.state.name.lower()


def _message(kept: Kept) -> pb.KeptRuleSet:
    return pb.KeptRuleSet(
        version=kept.version,
        state=pb.RuleSetState.ValueType(int(kept.state)),
        note=kept.note,
        proposed_by=kept.proposed_by,
        proposed_at=_timestamp(kept.proposed_at),
        activated_by=kept.activated_by or "",
        activated_at=_timestamp(kept.activated_at),
        retired_by=kept.retired_by or "",
        retired_at=_timestamp(kept.retired_at),
    )


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _micros(moment: datetime) -> int:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToMicroseconds()


def _moment(micros: int) -> datetime:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp.ToDatetime(UTC)

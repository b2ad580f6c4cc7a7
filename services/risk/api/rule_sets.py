"""The gRPC edge of the life of rule sets: checked, proposed, activated by a second person, withdrawn, listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc.aio

from libs.server import call
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of, recalled
from libs.store.tables.inputs import InputReader
from luxor.risk.v1 import rule_sets_pb2 as pb
from luxor.risk.v1.rule_sets_pb2_grpc import RuleSetServiceServicer
from services.risk.api.rule_set_messages import (
    checked_files,
    error_messages,
    micros_of,
    moment_of,
    refusal_of,
    report_message,
    rule_set_message,
    state_name,
)
from services.risk.commands.change_rule_set import (
    InvalidRuleSetState,
    OwnRuleSet,
    RuleSetKnown,
    RuleSetUnknown,
    activate,
    propose,
    retire,
)
from services.risk.commands.check_rule_set import CheckRuleSet
from services.risk.commands.load_rule_sets import RuleSetLoader
from services.risk.rules.validation_errors import RuleSetError
from services.risk.store.assessment_inputs import StoredBatch
from services.risk.store.rule_sets import DRAFTS_MAX, RuleSetStore, StoredRuleSet, TooManyDrafts

NOTE_CHARACTERS_MAX: Final = 512
PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 100


class RuleSetService(RuleSetServiceServicer):
    """The gRPC service of rule sets."""

    def __init__(self, store: RuleSetStore, inputs: InputReader[StoredBatch], rule_sets: RuleSetLoader) -> None:
        """Serve from the store; `inputs` are the stored inputs of recent assessments, `rule_sets` has the active set."""
        self._store = store
        self._pages = PageTokens(store.database)
        self._rule_sets = rule_sets
        self._check = CheckRuleSet(inputs)

    async def CheckRuleSet(
        self, request: pb.CheckRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckRuleSetResponse:
        """Return every error of a set, or its results on a sample; nothing is stored."""
        files = checked_files(request.set)
        try:
            rule_set, report = await self._check.run(files)
        except RuleSetError as error:
            return pb.CheckRuleSetResponse(report=pb.RuleSetReport(errors=error_messages(error.errors)))
        return pb.CheckRuleSetResponse(report=report_message(rule_set, report))

    async def ProposeRuleSet(
        self, request: pb.ProposeRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ProposeRuleSetResponse:
        """Store a set as a draft, once per request."""
        check_request_id(request.request_id)
        if len(request.note) > NOTE_CHARACTERS_MAX or not (request.note.isprintable() or request.note == ""):
            raise Refusal("NOTE_TOO_LONG", path="note")
        before = await recalled(self._store.database, pb.ProposeRuleSetResponse, request)
        if before is not None:
            return before
        files = checked_files(request.set)
        try:
            rule_set, found = await self._check.run(files)
        except RuleSetError as error:
            raise refusal_of(error) from None
        report = report_message(rule_set, found)
        identity = call.current().identity

        def answer(stored: StoredRuleSet) -> pb.ProposeRuleSetResponse:
            return pb.ProposeRuleSetResponse(rule_set=rule_set_message(stored), report=report)

        try:
            return await propose(self._store, request, rule_set.version, report, identity, answer)
        except RuleSetKnown as error:
            state = state_name(error.rule_set)
            raise Refusal("RULE_SET_KNOWN", path="set", value=error.rule_set.version, state=state) from None
        except TooManyDrafts:
            raise Refusal("RULE_SET_DRAFTS_TOO_MANY", count_max=DRAFTS_MAX) from None

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
                await self._check.compile(found)
            except RuleSetError as error:
                raise refusal_of(error) from None
        identity = call.current().identity

        def answer(stored: StoredRuleSet, replaced: str) -> pb.ActivateRuleSetResponse:
            return pb.ActivateRuleSetResponse(rule_set=rule_set_message(stored), replaced=replaced)

        with _refusals(request.version):
            response = await activate(self._store, request, identity, answer)
        await self._rule_sets.look()
        return response

    async def RetireRuleSet(
        self, request: pb.RetireRuleSetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RetireRuleSetResponse:
        """Withdraw a draft, once per request."""
        identity = call.current().identity

        def answer(stored: StoredRuleSet) -> pb.RetireRuleSetResponse:
            return pb.RetireRuleSetResponse(rule_set=rule_set_message(stored))

        with _refusals(request.version):
            return await retire(self._store, request, identity, answer)

    async def ListRuleSets(
        self, request: pb.ListRuleSetsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListRuleSetsResponse:
        """Return a page of the stored sets."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        micros, version = await self._pages.place(request, (0, ""))
        found = await self._store.page(limit + 1, (moment_of(micros), version) if version else None)
        last = found[limit - 1] if len(found) > limit else None
        token = await self._pages.token(request, micros_of(last.proposed_at), last.version) if last else ""
        return pb.ListRuleSetsResponse(
            rule_sets=map(rule_set_message, found[:limit]),
            next_page_token=token,
            active_version=self._rule_sets.active.version,
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
            rule_set=rule_set_message(kept),
            set=pb.RuleSetFiles.FromString(content),
            report=pb.RuleSetReport.FromString(report),
        )


@contextmanager
def _refusals(version: str) -> Iterator[None]:
    """Refuse a change of a set's state for the reason that the command gives."""
    try:
        yield
    except RuleSetUnknown:
        raise Refusal("RULE_SET_UNKNOWN", path="version", value=version) from None
    except OwnRuleSet:
        raise Refusal("RULE_SET_OWN", path="version", value=version) from None
    except InvalidRuleSetState as error:
        state = state_name(error.rule_set)
        raise Refusal("RULE_SET_STATE_WRONG", path="version", value=version, state=state) from None

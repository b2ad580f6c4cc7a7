"""The life of a rule set: proposed as a draft, activated by a second person, retired. Each change is one transaction."""

from __future__ import annotations

from collections.abc import Callable

from libs.server.identity import Identity
from libs.server.requests import once
from libs.store.database import Transaction
from libs.telemetry import counter, get_logger
from luxor.risk.v1 import rule_sets_pb2 as pb
from services.risk.store.identities import person_of
from services.risk.store.rule_sets import RuleSetState, RuleSetStore, StoredRuleSet

_changes = counter("luxor_risk_rule_set_changes_total", "Changes of the stored rule sets, by kind", ("act",))
_log = get_logger()


class RuleSetKnown(Exception):  # an answer
    """A set of this version is stored already."""

    def __init__(self, rule_set: StoredRuleSet) -> None:
        super().__init__()
        self.rule_set = rule_set


class RuleSetUnknown(Exception):  # an answer
    """No set of this version is stored."""


class OwnRuleSet(Exception):  # an answer
    """The person who proposed a set does not activate it."""


class InvalidRuleSetState(Exception):  # an answer
    """A set is not in a state that the change begins from."""

    def __init__(self, rule_set: StoredRuleSet) -> None:
        super().__init__()
        self.rule_set = rule_set


async def propose(
    store: RuleSetStore,
    request: pb.ProposeRuleSetRequest,
    version: str,
    report: pb.RuleSetReport,
    identity: Identity,
    answer: Callable[[StoredRuleSet], pb.ProposeRuleSetResponse],
) -> pb.ProposeRuleSetResponse:
    """Store a set as a draft, once per request. Raises RuleSetKnown, TooManyDrafts, and Refusal."""
    content = request.set.SerializeToString(deterministic=True)

    async def work(tx: Transaction) -> pb.ProposeRuleSetResponse:
        known = await store.lock(tx, version)
        if known is not None:
            raise RuleSetKnown(known)
        stored = report.SerializeToString(deterministic=True)
        kept = await store.add(tx, version, content, stored, request.note, str(identity))
        tx.after_commit(lambda: _note("proposed", kept, identity))
        return answer(kept)

    return await once(store.database, pb.ProposeRuleSetResponse, request, work)


async def activate(
    store: RuleSetStore,
    request: pb.ActivateRuleSetRequest,
    identity: Identity,
    answer: Callable[[StoredRuleSet, str], pb.ActivateRuleSetResponse],
) -> pb.ActivateRuleSetResponse:
    """Put a set into force that another person proposed, once per request; `answer` gets the version that it replaces too.

    Raises RuleSetUnknown, OwnRuleSet, InvalidRuleSetState, and Refusal.
    """

    async def work(tx: Transaction) -> pb.ActivateRuleSetResponse:
        known = await _lock_existing(tx, store, request.version)
        if person_of(known.proposed_by) == person_of(str(identity)):
            raise OwnRuleSet
        if known.state is RuleSetState.ACTIVE or (known.state is RuleSetState.RETIRED and known.activated_by is None):
            raise InvalidRuleSetState(known)
        kept, replaced = await store.activate(tx, request.version, str(identity))
        tx.after_commit(lambda: _note("activated", kept, identity))
        return answer(kept, replaced)

    return await once(store.database, pb.ActivateRuleSetResponse, request, work)


async def retire(
    store: RuleSetStore,
    request: pb.RetireRuleSetRequest,
    identity: Identity,
    answer: Callable[[StoredRuleSet], pb.RetireRuleSetResponse],
) -> pb.RetireRuleSetResponse:
    """Withdraw a draft, once per request. Raises RuleSetUnknown, InvalidRuleSetState, and Refusal."""

    async def work(tx: Transaction) -> pb.RetireRuleSetResponse:
        known = await _lock_existing(tx, store, request.version)
        if known.state is not RuleSetState.DRAFT:
            raise InvalidRuleSetState(known)
        kept = await store.retire(tx, request.version, str(identity))
        tx.after_commit(lambda: _note("retired", kept, identity))
        return answer(kept)

    return await once(store.database, pb.RetireRuleSetResponse, request, work)


async def _lock_existing(tx: Transaction, store: RuleSetStore, version: str) -> StoredRuleSet:
    rule_set = await store.lock(tx, version)
    if rule_set is None:
        raise RuleSetUnknown
    return rule_set


def _note(act: str, rule_set: StoredRuleSet, identity: Identity) -> None:
    _changes.labels(act).inc()
    _log.info("RULE_SET_CHANGED", act=act, rule_set=rule_set.version, by=str(identity))

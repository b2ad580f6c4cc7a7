"""The life of a rule set: proposed as a draft, activated by a second person, retired. Each change is one transaction of its caller."""

from __future__ import annotations

from libs.server.identity import Identity
from libs.store.database import Transaction
from libs.telemetry import counter, get_logger
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
    tx: Transaction, store: RuleSetStore, version: str, content: bytes, report: bytes, note: str, identity: Identity
) -> StoredRuleSet:
    """Store a set as a draft. Raises RuleSetKnown and TooManyDrafts."""
    known = await store.lock(tx, version)
    if known is not None:
        raise RuleSetKnown(known)
    kept = await store.add(tx, version, content, report, note, str(identity))
    tx.after_commit(lambda: _note("proposed", kept, identity))
    return kept


async def activate(tx: Transaction, store: RuleSetStore, version: str, identity: Identity) -> tuple[StoredRuleSet, str]:
    """Put a set into force that another person proposed; gives the version that it replaces too.

    Raises RuleSetUnknown, OwnRuleSet and InvalidRuleSetState.
    """
    known = await _known(tx, store, version)
    if person_of(known.proposed_by) == identity.id:
        raise OwnRuleSet
    if known.state is RuleSetState.ACTIVE or (known.state is RuleSetState.RETIRED and known.activated_by is None):
        raise InvalidRuleSetState(known)
    kept, replaced = await store.activate(tx, version, str(identity))
    tx.after_commit(lambda: _note("activated", kept, identity))
    return kept, replaced


async def retire(tx: Transaction, store: RuleSetStore, version: str, identity: Identity) -> StoredRuleSet:
    """Withdraw a draft. Raises RuleSetUnknown and InvalidRuleSetState."""
    known = await _known(tx, store, version)
    if known.state is not RuleSetState.DRAFT:
        raise InvalidRuleSetState(known)
    kept = await store.retire(tx, version, str(identity))
    tx.after_commit(lambda: _note("retired", kept, identity))
    return kept


async def _known(tx: Transaction, store: RuleSetStore, version: str) -> StoredRuleSet:
    known = await store.lock(tx, version)
    if known is None:
        raise RuleSetUnknown
    return known


def _note(act: str, kept: StoredRuleSet, identity: Identity) -> None:
    _changes.labels(act).inc()
    _log.info("RULE_SET_CHANGED", act=act, rule_set=kept.version, by=str(identity))

"""Compile a rule set, and report what it does on what was assessed most recently; nothing is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from libs.columns.stored import InputError
from libs.store.tables.inputs import InputReader
from libs.telemetry import get_logger
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.rules.report import Batch, Report, report_of
from services.risk.rules.rule_set import RuleSet, RuleSetText, read_rule_set
from services.risk.rules.sources import SentFiles
from services.risk.rules.validation_errors import RuleSetError, ValidationError
from services.risk.store.assessment_inputs import StoredBatch

SAMPLE_CONSIGNMENTS_MAX: Final = 5_000

_TRUSTED: Final = (
    "trusted has no effect any more: the register of filers states who is trusted. "
    "Register each operator and its status with `luxor filer put` and `luxor filer trust`, then remove trusted from the parameters"
)
_log = get_logger()


class CheckRuleSet:
    """The compilation of rule sets at one replica."""

    def __init__(self, inputs: InputReader[StoredBatch]) -> None:
        """Take the sample from what consignments were assessed on."""
        self._inputs = inputs
        #: Compiling takes a core; one at a time leaves the others to assessments.
        self._compiling = asyncio.Lock()

    async def run(self, text: RuleSetText) -> tuple[RuleSet, Report]:
        """Compile a set, and report what it does on a sample. Raises RuleSetError."""
        batches = []
        left = SAMPLE_CONSIGNMENTS_MAX
        for batch in await self._inputs.newest(PURPOSE_CLEARANCE):
            if batch.count <= left:
                batches.append(batch)
                left -= batch.count
        async with self._compiling:
            return await asyncio.to_thread(_compiled, text, batches)

    async def compile(self, text: RuleSetText) -> RuleSet:
        """Compile a set. Raises RuleSetError."""
        async with self._compiling:
            return await asyncio.to_thread(text.read)


def _compiled(text: RuleSetText, batches: Sequence[StoredBatch]) -> tuple[RuleSet, Report]:
    source = SentFiles(text.files)
    rule_set = read_rule_set(source, text.profile)
    if rule_set.selection is not None and rule_set.selection.trusted_place is not None:
        # Stored sets are still read and may be activated: what they trust has no effect.
        raise RuleSetError([ValidationError(*rule_set.selection.trusted_place, 0, "", _TRUSTED)])
    unused = sorted(set(text.files) - source.used)
    return rule_set, report_of(rule_set, _sample(batches), unused)


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

"""Stored assessments computed once more, by the version of law that each names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.digest import row_digests
from luxor.revenue.v1 import law_pb2 as pb
from services.revenue.api.batch_size import check_batch_size
from services.revenue.assessment.batch import ActiveLaw, ReassessedBatch
from services.revenue.commands.law.load import RATES, LawLoader, LoadedLaw
from services.revenue.commands.reassess import owed
from services.revenue.store.assessments.inputs import Inputs, StoredFilings
from services.revenue.store.law_files import program_of

FILINGS_MAX: Final = 100
_AMOUNTS: Final = ("duty", "tax", "fee")


class Recomputation:
    """Recomputes stored assessments."""

    def __init__(self, loader: LawLoader, inputs: Inputs) -> None:
        """Take versions from the loader's store, and what was assessed from `inputs`."""
        self._loader = loader
        self._inputs = inputs

    async def run(self, filings: Sequence[pb.AssessedFiling]) -> list[pb.RecomputedAssessment]:
        """Return one result for each filing, in their order. Raises Refusal for too few or too many."""
        check_batch_size(len(filings), FILINGS_MAX)
        mrns, versions = [each.mrn for each in filings], [each.version for each in filings]
        results = [pb.RecomputedAssessment(filing=each, reason="ASSESSMENT_NOT_STORED") for each in filings]
        laws: dict[str, LoadedLaw | None] = {}
        for part in await self._inputs.find(mrns, versions, answers=True):
            if part.answers is None:
                continue
            named = part.answers.strings("rulebook_version")
            for version in {each for each in named.tolist() if each}:
                if version not in laws:
                    laws[version] = await self._law(version)
                rows = np.flatnonzero(np.array([each == version for each in named.tolist()]))
                law = laws[version]
                if law is None:
                    for row in rows.tolist():
                        results[part.places[row]].rulebook_version = version
                        results[part.places[row]].reason = "LAW_VERSION_UNKNOWN"
                else:
                    await asyncio.to_thread(_compare, law, part, rows, results)
        return results

    async def _law(self, version: str) -> LoadedLaw | None:
        """Return the law of one stored version alone, with the exchange tables; None where the version is not stored."""
        found = (await self._store_texts(version)).get(version)
        if found is None:
            return None
        files = found | {name: text for name, text in self._loader.latest.files.items() if name.startswith(RATES)}
        return LoadedLaw(files, await asyncio.to_thread(program_of, files))

    async def _store_texts(self, version: str) -> Mapping[str, dict[str, str]]:
        return await self._loader.store.texts([version])


def _compare(
    law: LoadedLaw,
    part: StoredFilings,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    results: list[pb.RecomputedAssessment],
) -> None:
    assert part.answers is not None
    given = part.input.take(rows)
    answers = ReassessedBatch(ActiveLaw(law.program), given.table, given.register, given.aggregates).answer()
    stored = part.answers.take(rows)
    equal = [one == other for one, other in zip(row_digests(owed(stored)), row_digests(owed(answers)), strict=True)]
    before, after = _totals(stored), _totals(answers)
    for place, row in enumerate(rows.tolist()):
        result = results[part.places[row]]
        result.reason = ""
        result.rulebook_version = stored.strings("rulebook_version")[place]
        result.currency = stored.strings("currency")[place]
        result.stored_minor, result.recomputed_minor = before[place], after[place]
        result.equal = equal[place]


def _totals(answers: Table) -> list[int]:
    columns = [answers.ints(name).values.tolist() for name in _AMOUNTS]
    return [sum(amounts) for amounts in zip(*columns, strict=True)]

"""Published calculations: which share of the collection comes out of Quote to the cent, field by field.

The collection is not part of the product; without it nothing is measured. A calculation counts where it has a case, the
case agrees with it in every field, and every case of it is quoted as expected.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.revenue.api.assessment import RevenueService
from tests.bench import figures
from tests.revenue.law.published import Case, cases, differences, law_day, request_of
from tests.revenue.law.published_collection import collection, disagreements


async def quoted_otherwise(case: Case) -> list[str]:
    """Quote a case and say where it differs from what it expects."""
    service: Any = RevenueService(None, lambda: law_day(case))  # type: ignore[arg-type]  # a quote keeps nothing
    answer = await service.QuoteConsignments(request_of(case), None)
    return differences(case, list(answer.quotes))


async def measure() -> None:
    """Print each calculation that does not come out, then the share that does."""
    published = collection()
    if not published:
        figures.not_measured(
            "worked_examples", "the collection of published calculations, worked_examples.yaml, is absent"
        )
        return
    all_cases = cases()
    right = 0
    for name, each in published.items():
        mine = [case for case in all_cases if case.published_id == name]
        wrong = disagreements(each, mine) if mine else [f"{name}: has no case"]
        for case in mine:
            wrong += await quoted_otherwise(case)
        right += not wrong
        for line in wrong:
            print(f"  {line}")
    print(f"  {right} of {len(published)} published calculations come out, by {len(all_cases)} cases")
    figures.figure("worked_examples", [right / len(published)], "share", target=1.0)


if __name__ == "__main__":
    figures.options("Published calculations to the cent.", runs=1)
    figures.machine()
    asyncio.run(measure())

"""Published calculations come out of Quote to the cent."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.revenue.law.program import Program
from services.revenue.service import RevenueService
from services.revenue.shelf import load_program
from tests.revenue.published import Case, cases, differences, request_of

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "worked_examples.yaml"


@cache
def law() -> Program:
    return load_program()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
async def test_a_published_case_comes_out_as_its_source_prints_it(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    service: Any = RevenueService(None, law())  # type: ignore[arg-type]  # a quote keeps nothing
    answer = await service.Quote(request_of(case), None)
    quote = answer.quotes[0]
    print(f"{case.id}: {case.published}\n  {case.source}")
    for added in case.added:
        shown = f" = {added.value}" if added.value is not None else ""
        print(f"  added {added.path}{shown}: {added.reason}")
    for line in [*quote.explanation, *(line.sentence for line in quote.lines), *quote.assumptions]:
        print(f"  {line}")
    assert not differences(case, quote), "\n".join(differences(case, quote))
    told = capsys.readouterr().out
    assert all(f"added {added.path}" in told for added in case.added)


def test_the_cases_hold_what_the_published_collection_has() -> None:
    if not EXAMPLES.exists():
        pytest.skip(f"the collection of published calculations is absent: {EXAMPLES.name}")
    published = {each["id"]: each for each in yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["examples"]}
    for case in cases():
        collected = published[case.id.partition(",")[0]]
        expected = collected["expected"]
        for name, ours in (("vat", "tax"), ("gst", "tax"), ("duty", "duty"), ("voti", "tax_base"), ("landed", "landed_cost"),
                           ("intrinsic_value", "intrinsic_value"), ("customs_value", "customs_value"),
                           ("gross", "landed_cost"), ("total", "charged"), ("distinct_items", "lines_of_duty")):  # fmt: skip
            wanted = getattr(case.expected, ours)
            if name in expected and wanted is not None:
                assert float(wanted) == expected[name], f"{case.id}: {ours} and the collection's {name}"

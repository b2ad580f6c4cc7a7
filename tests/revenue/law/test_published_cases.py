"""Published calculations come out of Quote to the cent."""

from typing import Any

import pytest

from services.revenue.api.assessment import RevenueService
from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.yaml_source import Source
from services.revenue.store.law_files import law_files
from tests.revenue.law.published import Case, cases, differences, law_day, request_of
from tests.revenue.law.published_collection import collection, disagreements


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.id)
async def test_a_published_case_comes_out_as_its_source_prints_it(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    service: Any = RevenueService(None, lambda: law_day(case))  # type: ignore[arg-type]  # a quote keeps nothing
    answer = await service.QuoteConsignments(request_of(case), None)
    print(f"{case.id}: {case.published}\n  {case.source}")
    for added in case.added:
        shown = f" = {added.value}" if added.value is not None else ""
        print(f"  added {added.path}{shown}: {added.reason}")
    for change in case.changes:
        print(f"  changed {change.path} = {change.value}: {change.reason}")
    for quote in answer.quotes:
        for line in [*quote.explanation, *(line.sentence for line in quote.lines), *quote.assumptions]:
            print(f"  {line}")
    wrong = differences(case, list(answer.quotes))
    assert not wrong, "\n".join(wrong)
    told = capsys.readouterr().out
    assert all(f"added {added.path}" in told for added in case.added)


def test_every_published_calculation_of_the_collection_has_its_cases_and_agrees_field_by_field() -> None:
    published = collection()
    if not published:
        pytest.skip("the collection of published calculations is absent: worked_examples.yaml")
    ours = cases()
    wrong = {
        name: disagreements(each, [case for case in ours if case.published_id == name])
        for name, each in published.items()
    }
    proved = sum(not each for each in wrong.values())
    print(f"{proved} of {len(published)} published calculations are held by cases here, field by field")
    assert proved == len(published), "\n".join(line for each in wrong.values() for line in each)


@pytest.mark.parametrize("case", [case for case in cases() if case.changes], ids=lambda case: case.id)
def test_a_value_that_is_changed_in_a_case_is_another_in_the_law(case: Case) -> None:
    shipped = law_files()
    for change in case.changes:
        file = change.path.partition(": ")[0]
        changed = overlay({file: shipped[file]}, [(change.path, change.value)])
        assert Source(file, changed[file]).data != Source(file, shipped[file]).data, f"{change.path}: is so already"


def test_ids_of_cases_are_unique() -> None:
    ids = [case.id for case in cases()]
    assert len(ids) == len(set(ids)), sorted({each for each in ids if ids.count(each) > 1})

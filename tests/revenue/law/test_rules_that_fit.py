"""Rules that name what the rulebook does not have are refused with file, line, rule and what to do."""

import pytest

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law.lawbooks import LIMITED, RATES, TARIFF, UTOPIA
from tests.revenue.law.published import shipped_law

_RATE = "rates: [{from: 2020-01-01, rate: 10 %, reference: act}]"
_ROUNDING = "mode: down, unit: 0.01 EUR, reference: act}]\n    collection"


def _region(region: str) -> str:
    return f"""rates:
      - {{from: 2020-01-01, only: {{region: [AC]}}, rate: 1 %, reference: act}}
      - {{from: 2020-01-01, only: {{region: [MG]}}, rate: 2 %, reference: act}}
      - {{from: 2020-01-01, only: {{region: [{region}]}}, rate: 3 %, reference: act}}
      - {{from: 2020-01-01, rate: 10 %, reference: act}}"""


MISTAKES = {
    "a limit that nothing names": (
        "limits:\n",
        "limits:\n  other: [{from: 2020-01-01, amount: 1.00 EUR, reference: act}]\n",
        "limits.other: decides nothing",
    ),
    "a scheme of an exception": (
        "    relieved_by: [gifts]\n",
        '    relieved_by: [gifts]\n    unless: {preference: ["2"], without_scheme: ioss, reference: act}\n',
        "charges[tax].unless.without_scheme: 'ioss' is not described under 'schemes'",
    ),
    "a scheme of tariff lines": (
        "    relieved_by: [gifts]\n",
        "    relieved_by: [gifts]\n    tariff_line: {digits: 6, digits_under: {ioss: 4}, reference: act}\n",
        "charges[tax].tariff_line.digits_under.ioss: 'ioss' is not described under 'schemes'",
    ),
    "a scheme of a rounding": (
        _ROUNDING,
        "mode: down, unit: 0.01 EUR, reference: act}, "
        "{from: 2020-01-01, schemes: [ioss], mode: up, unit: 0.01 EUR, reference: act}]\n    collection",
        "charges[tax].rounding[1].schemes[0]: 'ioss' is not described under 'schemes'",
    ),
    "a base of what is charged later": (
        "base: [goods]\n    rates",
        "base: [goods, duty]\n    rates",
        "charges[tax].base[1]: no duty is charged before this charge",
    ),
    "a region written otherwise": (_RATE, _region("ACC"), "only.region[0]: 'ACC' is written otherwise"),
    "a region that is none": (_RATE, _region('"1-"'), "only.region[0]: '1-' is no region"),
    "a comma in an amount": (
        "{from: 2020-01-01, amount: 150.00 EUR, reference: act}",
        "{from: 2020-01-01, amount: 150,00 EUR, reference: act}",
        "limits.value[2].amount: 150 is not an amount; write 150.00 EUR, with a point: a comma ends what stands before it",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_the_rulebook_does_not_have_is_refused(name: str) -> None:
    good, bad, message = MISTAKES[name]
    assert good in LIMITED
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", LIMITED.replace(good, bad, 1))
    assert message in str(refused.value)
    assert refused.value.line > 0


def test_regions_by_code_and_by_name_are_taken() -> None:
    read_rulebook("xx/rulebook.yaml", LIMITED.replace(_RATE, _region("Minas Gerais")))


def test_a_tariff_that_is_not_there_or_ends_early_is_told_with_file_and_line() -> None:
    book, exchange = (
        read_rulebook("xx/rulebook.yaml", UTOPIA),
        ExchangeTables(read_exchange("rates/utopia.yaml", RATES)),
    )
    line = next(at for at, text in enumerate(UTOPIA.splitlines(), 1) if "id: duty" in text)
    with pytest.raises(ProgramError, match=rf"^xx/rulebook.yaml:{line}: charges\[duty\]: tariff 'xx' is not there"):
        compile_program([book], [], exchange)
    early = TARIFF.replace("{from: 2021-07-01,", "{from: 2021-07-01, to: 2022-12-31,", 1)
    assert early != TARIFF
    with pytest.raises(
        ProgramError, match=rf"^xx/rulebook.yaml:{line}: charges\[duty\]: tariff 'xx' has no rates on 2023"
    ):
        compile_program([book], [read_tariff("xx/tariff.yaml", early)], exchange)


def test_shipped_rules_fit() -> None:
    assert shipped_law().books

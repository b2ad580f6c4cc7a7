"""Law compiled: what does not fit together is refused, and each day has the law that holds on it."""

import hashlib
from datetime import date, timedelta

import numpy as np
import pytest

from libs.customs.time import day_of_date
from services.revenue.law.program.compiler import drafts
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.compiler.drafts import Draft, DraftRefused, apply_draft
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program, ProgramError
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from tests.revenue.law import charge_law
from tests.revenue.law.batches import assessed
from tests.revenue.law.charge_law import ERIADOR
from tests.revenue.law.lawbooks import LIMITED, RATES, TARIFF, UTOPIA
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.refusals import Changes, changed

DAY = date(2020, 1, 1)
LAW = {"xx/rulebook.yaml": UTOPIA, "xx/tariff.yaml": TARIFF, "rates/utopia.yaml": RATES}


def compiled(text: str, changes: Changes | None = None, tariff: str = TARIFF, rates: str = RATES) -> Program:
    book = read_rulebook("xx/rulebook.yaml", changed(text, changes or {}))
    return compile_program(
        [book], [read_tariff("xx/tariff.yaml", tariff)], ExchangeTables(read_exchange("rates/utopia.yaml", rates))
    )


def entry(amount: str, **more: object) -> dict[str, object]:
    return {"from": DAY, "amount": amount, "reference": "act"} | more


GAP = {"from": DAY, "what": "excise duty", "goods": ["22"], "reference": "act"}


@pytest.mark.parametrize(
    ("text", "changes", "why"),
    [
        (LIMITED, {"limits.value.2.amount": "1.00 GBP"}, "limits.value: no exchange table holds GBP"),
        (LIMITED, {"reliefs.gifts.0.amount": "1.00 GBP"}, "reliefs.gifts: no exchange table holds GBP"),
        (LIMITED, {"limits.value.2.amount": "1 JPY", "reliefs.gifts.0.amount": "1 JPY"}, ""),
        (LIMITED, {"limits.value.2.exchange_table": "weekly"}, "exchange table 'weekly' is not there or does not convert into EUR"),
        (LIMITED, {"limits.value.2.exchange_table": "utopia"}, ""),
        (LIMITED, {"charges.tax.minimum": [entry("1.00 GBP", collected="from")]}, "charges[tax]: no exchange table holds GBP"),
        (LIMITED, {"charges.tax.rates.0.less": "1.00 GBP"}, "charges[tax]: no exchange table holds GBP"),
        (LIMITED, {"charges.tax.rates.0.less": "1.00 USD", "charges.tax.minimum": [entry("1.00 USD", collected="from")]}, ""),
        (LIMITED, {"charges.tax.rates.0.rate": "1.00 GBP per item", "charges.tax.base": []}, "charges[tax]: no exchange table holds GBP"),
        (LIMITED, {"not_covered": [GAP] * 62}, ""),
        (LIMITED, {"not_covered": [GAP] * 63}, "not_covered holds more than 62 entries"),
        (LIMITED, {"exchange.table": "weekly"}, "exchange table 'weekly' is not there"),
        (UTOPIA, {"charges.duty.tariff": "yy"}, "tariff 'yy' is not there"),
    ],
)  # fmt: skip
def test_what_the_files_beside_it_do_not_hold_is_refused_with_file_and_rule(
    text: str, changes: Changes, why: str
) -> None:
    if not why:
        assert compiled(text, changes).books
        return
    with pytest.raises(ProgramError) as refused:
        compiled(text, changes)
    assert why in str(refused.value)
    assert str(refused.value).startswith("xx/rulebook.yaml")


@pytest.mark.parametrize(("length", "refused"), [(54, False), (55, True)])
def test_the_name_of_a_tariffs_reference_has_at_most_sixty_characters(length: int, refused: bool) -> None:
    # "XX:xx/" stands before it.
    name = "r" * length
    tariff = TARIFF.replace("  act: {law", f"  {name}: {{law").replace("reference: act", f"reference: {name}")
    if refused:
        with pytest.raises(ProgramError, match=r"tariff xx: the name of reference 'r+' is too long"):
            compiled(UTOPIA, tariff=tariff)
    else:
        assert f"XX:xx/{name}" in compiled(UTOPIA, tariff=tariff).legal


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ({"22": "82.9999 %"}, ""),
        ({"22": "83 %"}, "XY.sugar: its base may hold the whole of itself"),
        ({"22": "1 %", "24": "83 %"}, "XY.sugar: its base may hold the whole of itself"),
        ({"22": "83 % from 01-01 to 31-01; 1 % from 01-02 to 31-12"}, "XY.sugar: its base may hold the whole of itself"),
        ({"22": "82 % from 01-01 to 31-01; 1 % from 01-02 to 31-12"}, ""),
        ({"22": "1 % + 1.00 EUR per kg"}, "XY.sugar: its base holds XY.duty, whose tariff has rates that are no percentages"),
        ({"22": "1.00 EUR per kg"}, "whose tariff has rates that are no percentages"),
    ],
)  # fmt: skip
def test_a_base_that_holds_a_tariff_is_left_something_whatever_its_rates(rates: dict[str, str], why: str) -> None:
    law = changed(
        ERIADOR,
        {
            "charges.sugar.inside": ["sugar", "duty"],
            "charges.duty.rates.1.rate": "9 %",
            "charges.sugar.rates.0.rate": "17 %",
        },
    )
    tariff = changed(
        charge_law.TARIFF, {"versions": [{"from": DAY, "reference": "act", "default": "1 %", "rates": rates}]}
    )
    if not why:
        assert charge_law.eriador(law, tariff, as_written=True).books
        return
    with pytest.raises(ProgramError, match=why):
        charge_law.eriador(law, tariff, as_written=True)


def test_the_law_is_cut_at_each_day_on_which_anything_of_it_changes() -> None:
    program = compiled(UTOPIA, {"period.to": date(2026, 12, 31), "charges.piece.to": date(2025, 6, 30)})
    begins = [
        "2020-01-01",
        "2020-06-01",
        "2021-01-01",
        "2021-07-01",
        "2022-01-01",
        "2023-01-01",
        "2024-01-01",
        "2025-07-01",
    ]
    days = [day_of_date(date.fromisoformat(day)) for day in begins]
    for area in ("XA", "XB"):
        number = np.array([program.areas[area]])
        found = [[int(program.find(number, np.array([day + more]))[0]) for more in (-1, 0, 1)] for day in days]
        assert found[0][0] == -1
        # The day before has another law, the day after the same.
        assert all(before != on == after for before, on, after in found)
        assert len({on for _, on, _ in found}) == len(begins)
        last = day_of_date(date(2026, 12, 31))
        assert [int(program.find(number, np.array([last + more]))[0]) >= 0 for more in (0, 1)] == [True, False]
    assert len(program.starts) == len(program.ends) == 2 * len(begins)
    for day in (-1, -days[2], days[2] + (1 << 24), days[2] - (1 << 24)):
        assert program.find(np.array([0, 1, -1]), np.full(3, day)).tolist() == [-1, -1, -1]
    assert program.on_day(days[2]).tolist() == [*program.find(np.array([0, 1]), np.full(2, days[2])).tolist(), -1]


def test_a_change_of_each_part_of_the_law_cuts_it() -> None:
    on = date(2023, 3, 3)
    before, after = {"to": on - timedelta(days=1)}, {"from": on}
    value = {"from": DAY, "base": ["goods"], "reference": "act"}
    parts: list[Changes] = [
        {"customs_value": [value | before, value | after]},
        {"limits.value.2": entry("150.00 EUR") | before, "limits.value.+": entry("160.00 EUR") | after},
        {"reliefs.gifts.0.to": on - timedelta(days=1)},
        {"reliefs.gifts.0.from": on},
        {"charges.tax.rates.0.to": on - timedelta(days=1), "charges.tax.rates.+": {"from": on, "rate": "11 %", "reference": "act"}},
        {"charges.tax.rounding.0.to": on - timedelta(days=1), "charges.tax.rounding.+": {"from": on, "mode": "up", "unit": "0.01 EUR",
            "reference": "act"}},
        {"charges.tax.minimum": [entry("1.00 EUR", collected="from") | after]},
        {"charges.tax.collection.0.to": on - timedelta(days=1), "charges.tax.collection.+":
         {"from": on, "scheme": "none", "collector": "carrier", "debtor": "consignee", "reference": "act"}},
        {"charges.tax.to": on - timedelta(days=1)},
    ]  # fmt: skip
    # The limit of dollars ends after 2021.
    assert len(compiled(LIMITED).starts) == 2
    for part in parts:
        program = compiled(LIMITED, part)
        assert sorted(int(start) & ((1 << 24) - 1) for start in program.starts) == sorted(
            map(day_of_date, (DAY, date(2022, 1, 1), on))
        ), part


def test_a_way_of_collection_that_always_fits_is_tried_last_wherever_it_stands() -> None:
    plain = {"from": DAY, "scheme": "none", "collector": "customs", "debtor": "consignee", "reference": "act"}
    ways = [plain, plain | {"collector": "carrier", "only": {"service": ["post"]}}, plain | {"collector": "postal_operator",
        "when": {"limit": "value", "position": "over"}},
            plain | {"scheme": "voec", "collector": "vendor"}]  # fmt: skip
    program = compiled(LIMITED, {"charges.tax.collection": ways, "charges.tax.when": []})

    def collector(**more: object) -> str:
        filed = Consignment("XA", date(2022, 5, 5), [Item(5_000, code="61")], **more)  # type: ignore[arg-type]
        return assessed(program, [filed])[0].charges[0].collector

    assert collector() == "customs"
    assert collector(service="post") == "carrier"
    assert collector(schemes=[("voec", "1234567")]) == "vendor"
    dear = assessed(program, [Consignment("XA", date(2022, 5, 5), [Item(15_001, code="61")])])
    assert dear[0].charges[0].collector == "postal_operator"


def test_the_day_before_all_law_and_an_unknown_area_have_none() -> None:
    results = assessed(compiled(UTOPIA), [Consignment("XA", date(2019, 12, 31), [Item(1)]), Consignment("ZZ", date(2022, 5, 5), [Item(1)]),
                                          Consignment("XA", date(2020, 1, 1), [Item(1)])])  # fmt: skip
    assert [result.problem for result in results] == ["NO_RULEBOOK", "NO_RULEBOOK", "NONE"]


def mistakes(draft: Draft, law: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(DraftRefused) as refused:
        apply_draft(law or LAW, draft)
    return [str(each) for each in refused.value.errors]


def test_a_draft_may_be_as_large_as_its_bounds_and_no_larger() -> None:
    change = ("xx/rulebook.yaml:name", "Utopia")
    assert apply_draft(LAW, Draft(changes=[change] * drafts.CHANGES_MAX)).versions
    assert drafts.CHANGES_MAX == drafts.FILES_MAX == 64
    assert "at most 64 files and changes 64 values" in mistakes(Draft(changes=[change] * 65))[0]
    rates = {f"rates/r{number}.yaml": RATES.replace("table: utopia", f"table: t{number}") for number in range(65)}
    assert len(apply_draft(LAW, Draft(files=dict(list(rates.items())[:64]))).versions) == 64
    assert "at most 64 files" in mistakes(Draft(files=rates))[0]
    full = "#" * drafts.FILE_BYTES_MAX
    assert "is empty" in mistakes(Draft(files={"xx/rulebook.yaml": full}))[0]
    assert mistakes(Draft(files={"xx/rulebook.yaml": full + "#"})) == [
        "xx/rulebook.yaml: is larger than 8 MiB; cut it into several files"
    ]


def test_a_mistake_of_a_draft_is_told_with_its_file_and_no_line_where_none_holds_it() -> None:
    long = "xx/" + "r" * 300 + ".yaml"
    with pytest.raises(DraftRefused) as refused:
        apply_draft(LAW, Draft(files={long: ""}))
    (mistake,) = refused.value.errors
    assert (mistake.file, mistake.line, mistake.where) == (long[:200], 0, "")
    assert mistakes(Draft(changes=[("xx/rulebook.yaml:currency", "[EUR")]))[0].startswith(
        "xx/rulebook.yaml:5: currency: the new value is no YAML"
    )
    assert (
        mistakes(Draft(changes=[("xx/rulebook.yaml:lost.x", "1")]))[0]
        == "xx/rulebook.yaml: lost.x: 'lost' is not there"
    )
    assert mistakes(Draft(changes=[("yy.yaml:currency", "1")]))[0].startswith(
        "yy.yaml: currency: is not one of the law files"
    )
    two = Draft(changes=[("xx/rulebook.yaml:lost.x", "1"), ("xx/rulebook.yaml:gone.x", "1")])
    assert len(mistakes(two)) == 2


def test_the_versions_of_a_draft_are_those_of_what_differs() -> None:
    tariff = TARIFF.replace("12 %", "13 %")
    draft = apply_draft(LAW, Draft(files={"xx/tariff.yaml": tariff, "xx/rulebook.yaml": UTOPIA}))
    assert draft.versions == (f"xx/tariff.yaml/{hashlib.sha256(tariff.encode()).hexdigest()[:8]}",)
    assert draft.files["xx/tariff.yaml"] == tariff


def test_of_many_files_with_mistakes_two_hundred_are_told() -> None:
    law = LAW | {f"rates/r{number}.yaml": "" for number in range(201)}
    assert len(mistakes(Draft(), law)) == drafts.ERRORS_MAX == 200


def test_what_does_not_fit_together_is_told_with_the_line_of_its_charge() -> None:
    changes = [("xx/rulebook.yaml:charges[duty].tariff", "yy")]
    (mistake,) = mistakes(Draft(changes=changes))
    line = next(number for number, text in enumerate(UTOPIA.splitlines(), 1) if "- id: duty" in text)
    assert mistake.startswith("xx/rulebook.yaml:")
    assert mistake.endswith(": tariff 'yy' is not there")
    assert 0 < int(mistake.split(":")[1]) <= line + 5
    long = TARIFF.replace("  act: {law", f"  {'r' * 55}: {{law").replace("reference: act", f"reference: {'r' * 55}")
    assert mistakes(Draft(files={"xx/tariff.yaml": long}))[0].startswith("tariff xx: the name of reference 'rrr")


def test_a_place_is_taken_out_by_null_and_the_law_of_a_day_is_taken_for_all() -> None:
    gone = apply_draft(LAW, Draft(changes=[("xx/rulebook.yaml:prices_with_tax", "null")]))
    assert gone.program.books[0].rulebook.prices_with_tax is None
    pinned = apply_draft(LAW, Draft(law_day=date(2021, 6, 30))).program
    filed = Consignment("XA", date(2024, 5, 5), [Item(20_000, code="61")])
    assert {line.charge: line.ppm for line in assessed(pinned, [filed])[0].charges if line.ppm} == {
        "XX.duty": 120_000,
        "XX.vat": 77_000,
    }

"""Limits, conditions, reliefs, refunds and schemes that cannot be law are refused with file, line, rule and what is wrong."""

import re

import pytest

from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law.lawbooks import LIMITED

MISTAKES = {
    "a condition that asks nothing": ("only: {dispatch: [US]}", "only: {}", "limits.value[0].only: asks nothing"),
    "an unknown country": (
        "dispatch: [US]",
        "dispatch: [US, XX]",
        "limits.value[0].only.dispatch[1]: 'XX' is no country",
    ),
    "a condition of items on a limit": (
        "only: {dispatch: [US]}",
        'only: {goods: ["61"]}',
        "limits.value[0].only: asks of items",
    ),
    "an unknown scheme": (
        "only: {scheme: [voec]}",
        "only: {scheme: [ioss]}",
        "limits.value[1].only.scheme[0]: 'ioss' is not described under 'schemes'",
    ),
    "an unknown word in a condition": (
        "only: {nature: [gift]",
        "only: {nature: [present]",
        "reliefs.gifts[0].only.nature[0]: 'present' is not one of sale, gift, return, sample, document, other",
    ),
    "goods that are no code": (
        'excluded: ["22", "24"]',
        'excluded: ["2x"]',
        "limits.value[1].excluded[0]: '2x' begins no",
    ),
    "goods named twice": (
        'excluded: ["22", "24"]',
        'excluded: ["22", "2204"]',
        "limits.value[1].excluded[1]: '2204' and '22' name the same goods",
    ),
    "no entry for all others": (
        "    - {from: 2020-01-01, amount: 150.00 EUR, reference: act}\n",
        "",
        "limits.value: has a gap: no entry without 'only' holds on 2020-01-01",
    ),
    "two entries with the same condition": (
        "only: {scheme: [voec]}",
        "only: {dispatch: [US]}",
        "limits.value[1]: overlaps the entry from 2020-01-01: on 2020-01-01 both would apply",
    ),
    "an entry that is never reached": (
        "    - {from: 2020-01-01, amount: 150.00 EUR, reference: act}\n",
        "    - {from: 2020-01-01, amount: 150.00 EUR, reference: act}\n"
        "    - {from: 2021-01-01, amount: 1.00 EUR, only: {mode: [sea]}, reference: act}\n",
        "limits.value[3]: is never reached from 2021-01-01 on",
    ),
    "a limit without a reference": (
        "amount: 150.00 EUR, reference: act",
        "amount: 150.00 EUR",
        "limits.value[2]: has no 'reference'",
    ),
    "a limit in no currency": ("amount: 200.00 USD", "amount: 200.00 XYZ", "it is no ISO 4217 code"),
    "a measure that is not known yet": (
        "amount: 150.00 EUR, reference",
        "amount: 150.00 EUR, measure: [goods, duty], reference",
        "limits.value[2].measure[1]: 'duty' is not known yet where this is measured",
    ),
    "an unknown test": (
        "amount: 150.00 EUR, reference",
        "amount: 150.00 EUR, test: week, reference",
        "limits.value[2].test: 'week' is not one of consignment, item, order, person_year, person_day, recipient_day, importer_craft",
    ),
    "an unknown relief": (
        "relieved_by: [gifts]",
        "relieved_by: [gifts, samples]",
        "charges[tax].relieved_by[1]: 'samples' is not one of the rulebook's reliefs",
    ),
    "a relief that no charge names": (
        "    relieved_by: [gifts]\n",
        "",
        "reliefs.gifts: relieves from nothing: no charge names it",
    ),
    "a relief of nothing": (
        "amount: 45.00 EUR",
        "amount: 0.00 EUR",
        "reliefs.gifts[0].amount: '0.00 EUR' must be more",
    ),
    "a relief without a condition": (
        'only: {nature: [gift], goods_except: ["22"]}, ',
        "",
        "reliefs.gifts[0]: has no 'only'",
    ),
    "a refund of an unknown charge": (
        "charges: [tax], because: [destroyed]",
        "charges: [vat], because: [destroyed]",
        "refunds[1].charges[0]: 'vat' is not one of the rulebook's charges",
    ),
    "two refunds for one reason": (
        "because: [destroyed]",
        "because: [destroyed, faulty]",
        "refunds[1]: overlaps the entry from 2020-01-01: both say what is paid back of tax that is faulty",
    ),
    "a refund of more than was paid": ("share: 50 %", "share: 150 %", "refunds[1].share: share '150 %' is no share"),
    "a refund without a reason": ("because: [destroyed]", "because: []", "refunds[1].because: names nothing"),
    "a refund without a reference": (
        "share: 50 %, reference: act",
        "share: 50 %, reference: acd",
        "refunds[1].reference: 'acd' is not described under 'references'",
    ),
    "days that have passed before": (
        "within_days: 90",
        "within_days: -1",
        "refunds[0].within_days: is less than nothing",
    ),
    "numbers of the border": (
        "  voec: {number",
        "  none: {number: '1', name: none, reference: act}\n  voec: {number",
        "schemes.none: is the border",
    ),
    "a scheme that nobody knows": (
        "  voec: {number",
        "  voex: {number",
        "schemes: 'voex' is not one of none, ioss, special_arrangements, voec,",
    ),
    "an unknown check of numbers": (
        "registered: true",
        "check: luhn",
        "schemes.voec.check: 'luhn' is not one of eu_oss",
    ),
}


def test_the_rulebook_without_a_mistake_loads() -> None:
    assert read_rulebook("xx/rulebook.yaml", LIMITED).rulebook.limits["value"][0].amount == "200.00 USD"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_with_file_line_and_rule(mistake: str) -> None:
    old, new, message = MISTAKES[mistake]
    assert old in LIMITED
    with pytest.raises(LawFileError, match=re.escape(message)) as refused:
        read_rulebook("xx/rulebook.yaml", LIMITED.replace(old, new, 1))
    assert refused.value.file == "xx/rulebook.yaml"
    assert refused.value.line > 0

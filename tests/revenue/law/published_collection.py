"""The collection of published calculations, which is not part of the product: what of it is proved by the cases here."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.revenue.law.published import Case, shipped_law
from tests.revenue.law.published_claims import ClaimError, number_of, said

EXAMPLES = Path(__file__).resolve().parents[4] / "shared" / "data" / "worked_examples.yaml"
_COMPONENT = {"goods": "price", "transport": "freight", "insurance": "insurance"}
"""Kinds of a published line, and what a consignment calls them."""


def collection() -> dict[str, dict[str, Any]]:
    """Read the collection of published calculations, by id; empty where it is absent."""
    if not EXAMPLES.exists():
        return {}
    return {each["id"]: each for each in yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["examples"]}


def fields(written: Any, path: str = "") -> dict[str, Any]:
    """Flatten what the collection says: {"table[0].duty": False}."""
    if isinstance(written, dict):
        return {
            key: value
            for name, each in written.items()
            for key, value in fields(each, f"{path}.{name}" if path else name).items()
        }
    if isinstance(written, list):
        return {key: value for at, each in enumerate(written) for key, value in fields(each, f"{path}[{at}]").items()}
    return {path: written}


def disagreements(published: dict[str, Any], ours: list[Case]) -> list[str]:
    """Say which fields that a published calculation gives or expects our cases do not have, or have otherwise."""
    wrong = []
    for name, value in fields(published["expected"]).items():
        told = [(case, claim) for case in ours for claim in case.agrees.get(name, ())]
        if not told:
            wrong.append(f"{published['id']}: {name} = {value} is in no case here")
        for case, claim in told:
            if complaint := _compared(case, claim, value, published, of_filing=False):
                wrong.append(f"{case.id}: {claim} does not say {name} = {value}: {complaint}")
    for case in ours:
        wrong += [
            f"{case.id}: agrees names {name}, which the collection does not have"
            for name in case.agrees
            if name not in fields(published["expected"])
        ]
        if case.agrees:
            wrong += [f"{case.id}: {each}" for each in other_inputs(published, case)]
    return wrong


def other_inputs(published: dict[str, Any], case: Case) -> list[str]:
    """Say which inputs of a published calculation a case has otherwise and does not mark, or marks and has alike."""
    given = fields(published["inputs"])
    differ = _frame(published, case) | _goods_apart(given, case)
    known = set(differ)
    for key, claim in _expanded(case.inputs, list(given)).items():
        names = key.split(" + ")
        if missing := [name for name in names if name not in given]:
            differ[key] = f"inputs names {', '.join(missing)}, which the collection does not have"
            continue
        known |= set(names)
        value = given[names[0]] if len(names) == 1 else sum(Decimal(str(given[name])) for name in names)
        if names[0].endswith(".tariff_key"):
            continue
        if complaint := _compared(case, claim, value, published, of_filing=True):
            differ[key] = f"{claim} does not say {key} = {value}: {complaint}"
    for name, value in given.items():
        if name.endswith(".kind"):
            known.add(name)
            claim = _expanded(case.inputs, list(given)).get(name.replace(".kind", ".net"), "")
            if claim.rpartition(".")[2] != _COMPONENT[value]:
                differ[name] = f"{claim!r} is no {value}"
            if value != "goods":  # what describes a charge for transport is its kind
                known.add(name.replace(".kind", ".desc"))
    for name in given.keys() - known:
        differ[name] = f"{name} = {given[name]} is said nowhere; say under 'inputs' where the case has it"
    wrong = [complaint for name, complaint in differ.items() if complaint and name not in case.deviations]
    return wrong + [
        f"{name} is marked as a deviation and agrees; take the mark away"
        for name in case.deviations
        if not differ.get(name)
    ]


def _expanded(inputs: dict[str, str], given: list[str]) -> dict[str, str]:
    """Write `lines[*].net: items[*].price` out, a star on the right standing for the one in its place on the left."""
    written = {}
    for key, claim in inputs.items():
        if "*" not in key:
            written[key] = claim
            continue
        pattern = re.escape(key).replace(r"\*", r"(\d+)")
        for name in given:
            if match := re.fullmatch(pattern, name):
                places = iter(match.groups())
                written[name] = re.sub(r"\*", lambda _star, places=places: next(places), claim)  # type: ignore[misc]
    return written


def _frame(published: dict[str, Any], case: Case) -> dict[str, str]:
    """What a published calculation is about, as far as it tells: days, jurisdiction, currency; by field, '' = agrees."""
    book = next(read.rulebook for read in shipped_law().books if case.filed()[0].destination in read.rulebook.areas)
    destination, day = {filed.destination for filed in case.filed()}, case.as_of
    differ = {"currency": "", "jurisdiction": "", "as_of": ""}
    if published["currency"] != book.currency:
        differ["currency"] = f"computes in {published['currency']}, the law in {book.currency}"
    told = re.search(r"\(([A-Z]{2})\b", published["jurisdiction"])
    where = told[1] if told else published["jurisdiction"]
    if destination != {where} and (told or book.jurisdiction != where):
        differ["jurisdiction"] = f"is about {published['jurisdiction']}, the case about {sorted(destination)}"
    first, last = _days(published)
    if not first <= day <= last:
        differ["as_of"] = f"holds from {first} to {last}, the case is of {day}"
    exact = day in [value for value in fields(published["inputs"]).values() if isinstance(value, date)]
    if not exact and not any(each.path == "as_of" for each in case.added):
        differ["as_of"] = f"names no day, and {day} is not marked under 'added' as assumed"
    return differ


def _days(published: dict[str, Any]) -> tuple[date, date]:
    """First and last day on which a published calculation holds, as far as it tells."""
    first, last = published.get("rule_from", date.min), published.get("rule_to", date.max)
    text = str(published.get("as_of", ""))
    if match := re.match(r"(?:from )?((?:19|20)\d\d)\b(?!-)", text):
        first, last = date(int(match[1]), 1, 1), date(int(match[1]), 12, 31)
    if match := re.search(r"\bfrom (\d{4}-\d\d-\d\d)", text):
        first = date.fromisoformat(match[1])
    if match := re.search(r"\bbefore (\d{1,2} [A-Z][a-z]{2} \d{4})", text):
        last = datetime.strptime(match[1], "%d %b %Y").date() - timedelta(days=1)  # noqa: DTZ007 - a day has no zone
    return first, last


def _goods_apart(given: dict[str, Any], case: Case) -> dict[str, str]:
    """Goods that the collection tells apart by a letter have codes of their own here, and only those."""
    keys = [(name, value) for name, value in given.items() if name.endswith(".tariff_key")]
    differ = {}
    claims = _expanded(case.inputs, list(given))
    for name, value in keys:
        try:
            codes = {other: said(case, claims[at]) for at, other in keys if at in claims} if name in claims else {}
            mine = said(case, claims[name]) if name in claims else ""
        except ClaimError as error:
            differ[name] = str(error)
            continue
        alike = {at for at, other in keys if other == value}
        same = {at for at, _ in keys if at in claims and said(case, claims[at]) == mine}
        differ[name] = "" if codes and alike == same else f"goods {value!r} are not told apart by their codes as there"
    return differ


def _compared(case: Case, claim: str, value: Any, published: dict[str, Any], *, of_filing: bool) -> str:
    """Compare what the collection says with what the case does; '' where they agree, else why not."""
    try:
        ours = said(case, claim, of_filing=of_filing)
        if isinstance(value, bool):
            return _truth(value, ours)
        if isinstance(value, (int, float, Decimal)):
            number = number_of(ours, published["currency"])
            return "" if number == Decimal(str(value)) else f"it is {number}"
    except ClaimError as error:
        return str(error)
    if isinstance(value, date):
        return "" if ours == value else f"it is {ours}"
    if isinstance(ours, list):
        return _words(str(value), ours)
    if not isinstance(ours, str):
        return f"{value!r} are words, and {ours} is none; words are said by a text or by a list of charges"
    return "" if ours.casefold() == str(value).casefold() else f"it is {ours!r}"


def _truth(value: bool, ours: Any) -> str:
    yes: bool | None = None
    if isinstance(ours, bool):
        yes = ours
    elif isinstance(ours, Decimal):
        yes = ours > 0
    elif isinstance(ours, list):  # charges: whether one of them is a duty
        yes = any("duty" in charge for charge in ours)
    else:
        yes = {"within": True, "over": False, "vendor": True, "customs": False}.get(str(ours))
    if yes is None:
        return f"{ours!r} says neither yes nor no"
    return "" if yes is value else f"it is {ours}"


def _words(value: str, charges: list[str]) -> str:
    """Compare words such as `supply_vat_no_duty` or `import_vat_and_duty` with the charges that are levied, and only those."""
    parts = re.split(r"_(?=(?:and|no)_)", value)
    wanted = [part.removeprefix("and_") for part in parts if not part.startswith("no_")]
    unwanted = [part.removeprefix("no_") for part in parts if part.startswith("no_")]
    lacking = [part for part in wanted if not any(charge.endswith(part) for charge in charges)]
    more = [charge for charge in charges if not any(charge.endswith(part) for part in wanted)]
    held = [part for part in unwanted if any(charge.endswith(part) for charge in charges)]
    return "" if charges and not (lacking or more or held) else f"it is {charges}"

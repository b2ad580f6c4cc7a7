"""The collection of published calculations, which is not part of the product: what of it is proved by the cases here."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.revenue.published import Case

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "worked_examples.yaml"


def collection() -> dict[str, dict[str, Any]]:
    """Read the collection of published calculations, by id; empty where it is absent."""
    if not EXAMPLES.exists():
        return {}
    return {each["id"]: each for each in yaml.safe_load(EXAMPLES.read_text(encoding="utf-8"))["examples"]}


def fields(expected: Any, path: str = "") -> dict[str, Any]:
    """Flatten what the collection expects: {"table[0].duty": False}."""
    if isinstance(expected, dict):
        return {
            key: value
            for name, each in expected.items()
            for key, value in fields(each, f"{path}.{name}" if path else name).items()
        }
    if isinstance(expected, list):
        return {key: value for at, each in enumerate(expected) for key, value in fields(each, f"{path}[{at}]").items()}
    return {path: expected}


def disagreements(published: dict[str, Any], ours: list[Case]) -> list[str]:
    """Say which fields of a published calculation our cases do not have, or have otherwise."""
    wrong = []
    for name, value in fields(published["expected"]).items():
        told = [(case, claim) for case in ours for claim in case.agrees.get(name, ())]
        if not told:
            wrong.append(f"{published['id']}: {name} = {value} is in no case here")
        for case, claim in told:
            if complaint := _disagreement(value, case, claim):
                wrong.append(f"{case.id}: {claim} does not say {name} = {value}: {complaint}")
    for case in ours:
        wrong += [
            f"{case.id}: agrees names {name}, which the collection does not have"
            for name in case.agrees
            if name not in fields(published["expected"])
        ]
    return wrong


def _figure(case: Case, term: str) -> Decimal:
    match = re.fullmatch(r"(?:\[(\d+)\]\.)?(\w+)", term)
    assert match, f"{case.id}: {term!r} is no figure; write '[1].duty'"
    return Decimal(str(getattr(case.wanted()[int(match[1] or 0)], match[2])))


def _disagreement(value: Any, case: Case, claim: str) -> str:
    if " + " in claim:
        terms, _, divisor = claim.partition(" / ")
        number = sum((_figure(case, term) for term in terms.split(" + ")), Decimal(0)) / int(divisor or 1)
        return "" if number == Decimal(str(value)) else f"it is {number}"
    match = re.fullmatch(r"(?:\[(\d+)\]\.)?(\w+)(?:\.([\w.]+))?(?: / (\d+))?", claim)
    if not match:
        return "is written neither 'duty' nor '[1].amounts.NZ.levy' nor 'duty / 100'"
    expected = case.wanted()[int(match[1] or 0)]
    said = getattr(expected, match[2], None)
    if match[3] and isinstance(said, dict):
        said = said.get(match[3])
    if said is None or said == {}:
        return "the case expects nothing there"
    if isinstance(value, bool):
        yes = {"within": True, "over": False, "vendor": True, "customs": False}.get(str(said))
        if isinstance(said, Decimal):
            yes = said > 0
        elif isinstance(said, list):  # charges: whether one of them is a duty
            yes = any("duty" in charge for charge in said)
        return "" if yes is None or yes is value else f"it is {said}"
    if isinstance(value, (int, float)):
        number = Decimal(str(said)) / int(match[4] or 1)
        return "" if number == Decimal(str(value)) else f"it is {said}"
    return ""  # words of the collection are said by figures here, which the case itself compares

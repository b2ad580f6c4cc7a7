"""Rule sets for tests: a good one as files, and changes of it."""

from __future__ import annotations

from luxor.risk.v1 import rule_sets_pb2 as pb
from services.risk.rules.rule_set import RuleSet, read_rule_set
from services.risk.rules.sources import SentFiles

RULE = """\
  - id: {id}
    version: 1
    judges: {judges}
    condition: {condition}
    weight: {weight}
    lane: {lane}
    reason: SOME_REASON
    sentence: Something is the matter.
    legal_basis: Some law, article 1.
    owner: some desk
    valid_from: 2026-01-01
"""
TYPOLOGY = """\
  - id: {id}
    version: 1
    rules: {rules}
    from_points: {from_points}
    lane: {lane}
    reason: SEVERAL_SIGNS
    sentence: Several signs come together.
    legal_basis: Some law, article 2.
    owner: some desk
"""
HEAD = """\
name: trial
version: "{version}"
thresholds: {{red: 800, yellow: 500, blue: 250}}
data: {{eur_cents_ppm: rates.yaml}}
rules:
"""
RATES = b"source: Invented for the test.\nnumbers: {EUR: 1000000}\n"
GIFT = "consignment.nature == Nature.NATURE_GIFT"


def rule(name: str, condition: str = GIFT, more: str = "", **other: object) -> str:
    """A rule as written; `more` are further lines of it."""
    usual = {"judges": "consignment", "weight": 100, "lane": "none", **other}
    return RULE.format(id=name, condition=condition, **usual) + "".join(f"    {each}\n" for each in more.splitlines())


def typology(name: str, rules: str, from_points: int, more: str = "", lane: str = "yellow") -> str:
    """A typology as written."""
    text = TYPOLOGY.format(id=name, rules=rules, from_points=from_points, lane=lane)
    return text + "".join(f"    {each}\n" for each in more.splitlines())


def profile(*rules: str, typologies: str = "", version: str = "1", more: str = "") -> str:
    """A profile of rules."""
    text = HEAD.format(version=version) + "".join(rules)
    return more + text + (f"typologies:\n{typologies}" if typologies else "")


def files(*rules: str, typologies: str = "", version: str = "1") -> dict[str, bytes]:
    """The files of a set."""
    return {"profile.yaml": profile(*rules, typologies=typologies, version=version).encode(), "rates.yaml": RATES}


def read(*rules: str, typologies: str = "", version: str = "1") -> RuleSet:
    """A set of rules, compiled."""
    return read_rule_set(SentFiles(files(*rules, typologies=typologies, version=version)), "profile.yaml")


def message(content: dict[str, bytes], path: str = "profile.yaml") -> pb.RuleSetFiles:
    """Files as they are sent."""
    return pb.RuleSetFiles(
        profile_path=path, files=[pb.RuleSetFile(path=name, content=each) for name, each in content.items()]
    )

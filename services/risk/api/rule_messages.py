"""A compiled rule set as a message, with its rules and typologies."""

from __future__ import annotations

from typing import Final

from libs.customs.time import day_text
from luxor.consignment.v1.consignment_pb2 import Direction
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.rules.rule_set import OPEN_END, Rule, RuleSet, Typology
from services.risk.rules.scoring import LANES

LIVES: Final = {
    "draft": pb.RULE_LIFE_DRAFT,
    "shadow": pb.RULE_LIFE_SHADOW,
    "active": pb.RULE_LIFE_ACTIVE,
    "retired": pb.RULE_LIFE_RETIRED,
}
PURPOSES: Final = {"clearance": pb.PURPOSE_CLEARANCE, "pre_loading": pb.PURPOSE_PRE_LOADING}


def active_rule_set(rule_set: RuleSet) -> pb.RuleSet:
    """A rule set as a message."""
    thresholds = rule_set.thresholds
    return pb.RuleSet(
        version=rule_set.version,
        name=rule_set.name,
        red_from_points=thresholds.red,
        yellow_from_points=thresholds.yellow,
        blue_from_points=thresholds.blue,
        rules=[_rule(rule) for rule in rule_set.rules],
        data=[
            pb.DataSet(name=name, source=rule_set.sources[name], entries=len(rule_set.data[name]))
            for name in rule_set.data
        ],
        typologies=[_typology(typology) for typology in rule_set.typologies],
    )


def _typology(typology: Typology) -> pb.Typology:
    text = typology.text
    return pb.Typology(
        id=text.id,
        version=text.version,
        members=[pb.TypologyMember(rule=rule, weight=weight) for rule, weight in text.rules.items()],
        from_points=text.from_points,
        weight=text.weight,
        lane=LANES[text.lane],
        reason=text.reason,
        sentence=text.sentence,
        legal_basis=text.legal_basis,
        owner=text.owner,
        life=LIVES[text.life],
        confidential=text.confidential,
        second_person=text.second_person,
    )


def _rule(rule: Rule) -> pb.Rule:
    text = rule.text
    subject = pb.RULE_SUBJECT_ITEM if rule.condition.on_items else pb.RULE_SUBJECT_CONSIGNMENT
    message = pb.Rule(
        id=text.id,
        version=text.version,
        subject=subject,
        condition=text.condition.strip(),
        weight=text.weight,
        lane=LANES[text.lane],
        reason=text.reason,
        sentence=text.sentence,
        legal_basis=text.legal_basis,
        owner=text.owner,
        from_day=day_text(rule.first_day),
        destination_countries=sorted(rule.countries),
        life=LIVES[text.life],
        stages=sorted(PURPOSES[stage] for stage in text.stages),
        confidential=text.confidential,
        second_person=text.second_person,
        directions=sorted(Direction.Value(f"DIRECTION_{each.upper()}") for each in text.directions),
    )
    if rule.last_day != OPEN_END:
        message.to_day = day_text(rule.last_day)
    return message

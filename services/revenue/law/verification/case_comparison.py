"""What a case expects, compared with what its consignments are quoted."""

from decimal import Decimal
from typing import Any

from libs.customs.money import parse_minor
from luxor.common.v1 import common_pb2
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.law.verification.cases import Case, Expected


def _totals(quote: pb.LandedCost, field: str) -> dict[str, int]:
    totals: dict[str, int] = {}
    for line in quote.lines:
        totals[line.charge] = totals.get(line.charge, 0) + getattr(line, field)
    return totals


def outcome(quote: pb.LandedCost) -> dict[str, Any]:
    """Give what a quote says, by the names of Expected; amounts in minor units."""
    taxes = [line for line in quote.lines if line.kind == common_pb2.CHARGE_KIND_TAX]
    collectors = sorted({common_pb2.Collector.Name(line.collector) for line in taxes})
    amounts = _totals(quote, "amount_minor")
    return {
        "intrinsic_value": quote.intrinsic_value_minor,
        "customs_value": quote.customs_value_minor,
        "duty": quote.duty_minor,
        "tax": quote.tax_minor,
        "fee": quote.fee_minor,
        "tax_base": sum(line.basis for line in taxes),
        "charged": quote.duty_minor + quote.tax_minor + quote.fee_minor,
        "price": quote.price_minor,
        "landed_cost": quote.landed_cost_minor,
        "position": "within" if "WITHIN_LIMIT" in quote.notes else "over",
        "collector": "+".join(name.removeprefix("COLLECTOR_").lower() for name in collectors),
        "debtor": "+".join(
            sorted({common_pb2.Debtor.Name(line.debtor).removeprefix("DEBTOR_").lower() for line in taxes})
        ),
        "lower_bound": quote.lower_bound,
        "not_covered": list(quote.not_covered),
        "lines_of_duty": sum(line.kind == common_pb2.CHARGE_KIND_DUTY for line in quote.lines),
        "charges": [line.charge for line in quote.lines],
        "levied": [charge for charge, amount in amounts.items() if amount],
    }


def differences(case: Case, quotes: list[pb.LandedCost]) -> list[str]:
    """Say where the quotes differ from what the source prints; nothing where they agree."""
    wanted = case.expectations()
    if len(wanted) != len(quotes):
        return [f"{case.id}: {len(quotes)} consignments are quoted, {len(wanted)} expected"]
    wrong = []
    for at, (expected, quote) in enumerate(zip(wanted, quotes, strict=True)):
        where = f"{case.id} [{at}]" if len(quotes) > 1 else case.id
        wrong += [f"{where}: {each}" for each in _differences(expected, quote)]
    return wrong


def _differences(expected: Expected, quote: pb.LandedCost) -> list[str]:
    if quote.reason:
        return [f"not quoted: {quote.reason} {quote.hint}"]
    wrong = []
    for name, value in outcome(quote).items():
        wanted = getattr(expected, name)
        if isinstance(wanted, Decimal):
            wanted = parse_minor(str(wanted), quote.currency)
        if wanted is not None and wanted != value:
            wrong.append(f"{name} is {value}, the source has {wanted}")
    for charge, percent in expected.rates.items():
        rates = {line.rate_ppm for line in quote.lines if line.charge == charge}
        if rates != {int(Decimal(percent) * 10_000)}:
            wrong.append(f"{charge} was taken at {rates} ppm, the case has {percent} %")
    for field, amounts, label in (
        ("amount_minor", expected.amounts, "amounts"),
        ("basis", expected.bases, "bases"),
        ("forgone_minor", expected.waived, "waived"),
    ):
        got = _totals(quote, field)
        for charge, amount in amounts.items():
            minor = parse_minor(str(amount), quote.currency)
            if got.get(charge, 0) != minor:
                wrong.append(f"{label}: {charge} is {got.get(charge, 0)}, the source has {minor}")
    wrong += [f"the note {note} is missing" for note in expected.notes if note not in quote.notes]
    wrong += [f"the note {note} must not be there" for note in expected.no_notes if note in quote.notes]
    named = list(quote.references)
    wrong += [
        f"no limit or relief refers to {name}, but to {named}" for name in expected.references if name not in named
    ]
    return wrong

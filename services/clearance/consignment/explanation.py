"""Charges in sentences, from the ids and facts of revenue's assessment."""

from typing import Final

from libs.customs.money import money_text

PPM_A_PERCENT: Final = 10_000
_NOT_LEVIED: Final = {"_waived": "the sum is too small", "_returned": "the goods come back"}
"""Why a charge is not levied, by the ending of its sentence's id."""
_SENTENCES: Final = {
    "percent": "{rate} of {base} = {amount}",
    "percent_by_tariff": "{rate} of {base}, by the tariff's rate for the commodity code, = {amount}",
    "percent_by_default": "{rate} of {base}, the rate assumed because the loaded tariff has none, = {amount}",
    "per_tariff_line": "{specific} once for each tariff classification in the consignment = {amount}",
    "per_item": "{specific} per item = {amount}",
    "per_consignment": "{specific} per consignment = {amount}",
    "per_kilogram": "{specific} per kilogram on {mass} kg = {amount}",
}


def sentence(
    explanation: str,
    currency: str,
    base: int | None,
    rate_ppm: int | None,
    specific: int | None,
    amount: int | None,
    forgone: int | None = None,
) -> str:
    """Explain a charge; amounts in minor units of `currency`. For an unknown id only the amount is returned.

    `forgone` is what a waived charge would come to; states of earlier releases do not have it.
    """
    ending = next((each for each in _NOT_LEVIED if explanation.endswith(each)), "")
    form = _SENTENCES.get(explanation.removesuffix(ending), "{amount}")
    if ending and forgone is not None:
        form, amount = form.replace("= {amount}", "would be {amount}"), forgone
    text = form.format(
        rate=_percent(rate_ppm),
        base=_money(base, currency),
        specific=_money(specific, currency),
        amount=_money(amount, currency),
        mass=_kilograms(base) if "{mass}" in form else "",
    )
    return f"{text} (not levied: {_NOT_LEVIED[ending]})." if ending else f"{text}."


def _percent(rate_ppm: int | None) -> str:
    if rate_ppm is None:
        return "an unknown rate"
    whole, rest = divmod(rate_ppm, PPM_A_PERCENT)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + " %"


def _kilograms(milligrams: int | None) -> str:
    if milligrams is None:
        return "an unknown number of"
    whole, rest = divmod(milligrams, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _money(minor: int | None, currency: str) -> str:
    return "an unknown amount" if minor is None else money_text(minor, currency)

"""Rates as the tables of the United Kingdom and of the Union print them, written as law writes them."""

import re

from services.revenue.law.source.rates import parse_rate
from services.revenue.tariff_file.imported import UnreadableRate

_AMOUNT = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?([A-Z]{3}) ?(?:/|per) ?(.+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_PERIOD = re.compile(r"(\d{1,2})(?: ([A-Z]{3,9}))? ?- ?(\d{1,2}) ([A-Z]{3,9})")
_UNITS = {
    "kg": "kg", "kg/net": "kg", "kg/gross": "kg gross", "kg/br": "kg gross", "tonne": "tonne",
    "kg/eda": "kg drained", "kg/net/eda": "kg drained", "kg/net/drained/wt": "kg drained",
    "kg/mas": "kg dry matter", "kg/net/mas": "kg dry matter", "kg/net/dry": "kg dry matter",
    "kg/lactic/matter": "kg lactic matter", "kg/dry/lactic/matter": "kg dry lactic matter",
    "kg/std/qual": "kg standard quality", "kg/tot/alc": "kg total alcohol",
    "hl": "hl", "%/vol/hl": "% vol per hl", "item": "piece", "items": "pieces", "pair": "pair", "m": "m", "m2": "m2",
}  # fmt: skip
"""Units as tariffs print them, blanks and strokes made strokes; `br`, `eda` and `mas` are gross, drained and dry matter."""
_SUCROSE = "100/kg/net/%/sacchar."


def rate_of(printed: str) -> str:
    """Write a printed rate as law writes it; UnreadableRate says why it cannot be."""
    text = re.sub(r"\s+", " ", printed.replace("\N{NO-BREAK SPACE}", " ").replace("\N{EURO SIGN}", " EUR ")).strip()
    if text == "Entry Price":
        raise UnreadableRate("entry_price", "depends on the entry price of the day, which the file does not hold")
    if re.search(r"\b(EA|ADSZ|ADFM)\b", text):
        raise UnreadableRate(
            "agricultural_component", "names a table of agricultural components that the file does not hold"
        )
    parts = re.findall(r"([^()]+?) ?\(([^()]*)\)(?:, ?|$)", text)
    try:
        if "(" not in text:
            rate = _expression(text)
        elif ", ".join(f"{a} ({b})" for a, b in parts).replace(" ", "") != text.replace(" ", ""):
            raise UnreadableRate("season_untold", "does not say when each of its seasons is")
        else:
            rate = "; ".join(f"{_expression(part)} from {_periods(periods)}" for part, periods in parts)
        parse_rate(rate)
    except UnreadableRate:
        raise
    except ValueError as error:
        season = "season" in str(error) or "day of the year" in str(error)
        raise UnreadableRate("season_wrong" if season else "not_a_rate", str(error)) from None
    return rate


def _expression(text: str) -> str:
    words = re.split(r" (MIN|MAX) ", text)
    sums = [" + ".join(_part(part.strip()) for part in words[place].split("+")) for place in range(0, len(words), 2)]
    return sums[0] + "".join(f" {word.lower()} {part}" for word, part in zip(words[1::2], sums[1:], strict=True))


def _part(text: str) -> str:
    if match := _PERCENT.fullmatch(text):
        return f"{match[1]} %"
    if re.fullmatch(r"\d+(\.\d+)?", text):
        raise UnreadableRate("bare_number", f"{text!r} has neither a per cent sign nor a currency")
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise UnreadableRate("not_a_rate", f"{text!r} is neither per cent nor an amount per unit")
    amount, currency, unit = match[1].replace(",", ""), match[2], match[3]
    unit = re.sub(r"(?<=\d)(?=(?:kg|items|m)\b)", " ", unit.strip().lower().replace(",", ""))
    unit = re.sub(r"[ /]+", "/", unit.replace("%", "%/"))
    if unit == _SUCROSE:
        return f"{amount} {currency} per % sucrose per 100 kg"
    count, _, rest = unit.partition("/")
    count, rest = (count, rest) if count.isdigit() else ("", unit)
    known = _UNITS.get(rest)
    if known is None:
        raise UnreadableRate("unknown_unit", f"{match[3]!r} is no unit that rates know")
    return f"{amount} {currency} per {count} {known}" if count else f"{amount} {currency} per {known}"


def _periods(text: str) -> str:
    told = []
    for period in text.split(","):
        match = _PERIOD.fullmatch(re.sub(r"\s+", " ", period.strip().upper()))
        if match is None:
            raise UnreadableRate("season_untold", f"{period.strip()!r} is no time of the year")
        first, first_month, last, last_month = match.groups()
        months = [_month(name) for name in (first_month or last_month, last_month)]
        told.append(f"{int(first):02d}-{months[0]:02d} to {int(last):02d}-{months[1]:02d}")
    return " and ".join(told)


def _month(name: str) -> int:
    if name[:3] not in _MONTHS:
        raise UnreadableRate("season_untold", f"{name!r} is no month")
    return _MONTHS.index(name[:3]) + 1

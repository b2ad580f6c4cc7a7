"""Units of quantity (UN/ECE recommendation 20) and kinds of package (recommendation 21) that parcels are filed with.

Subsets: a parcel is counted, weighed or measured, and packed in what a person carries. The names are our own.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of quantity. `scale` units of `base` make one of it: a dozen is 12 C62, a gram 1,000 MGM."""

    code: str
    name: str
    base: str
    scale: int


UNITS: dict[str, Unit] = {
    unit.code: unit
    for unit in (
        Unit("C62", "one (piece)", "C62", 1),
        Unit("H87", "piece", "C62", 1),
        Unit("EA", "each", "C62", 1),
        Unit("NAR", "number of articles", "C62", 1),
        Unit("PR", "pair", "C62", 2),
        Unit("NPR", "number of pairs", "C62", 2),
        Unit("DZN", "dozen", "C62", 12),
        Unit("GRO", "gross", "C62", 144),
        Unit("CEN", "hundred", "C62", 100),
        Unit("MIL", "thousand", "C62", 1000),
        Unit("SET", "set", "SET", 1),
        Unit("MGM", "milligram", "MGM", 1),
        Unit("GRM", "gram", "MGM", 1000),
        Unit("KGM", "kilogram", "MGM", 1_000_000),
        Unit("TNE", "tonne", "MGM", 1_000_000_000),
        Unit("CTM", "metric carat", "MGM", 200),
        Unit("MLT", "millilitre", "MLT", 1),
        Unit("CLT", "centilitre", "MLT", 10),
        Unit("LTR", "litre", "MLT", 1000),
        Unit("HLT", "hectolitre", "MLT", 100_000),
        Unit("MTQ", "cubic metre", "MLT", 1_000_000),
        Unit("LPA", "litre of pure alcohol", "LPA", 1),
        Unit("MMT", "millimetre", "MMT", 1),
        Unit("CMT", "centimetre", "MMT", 10),
        Unit("MTR", "metre", "MMT", 1000),
        Unit("CMK", "square centimetre", "CMK", 1),
        Unit("MTK", "square metre", "CMK", 10_000),
        Unit("KWH", "kilowatt hour", "KWH", 1),
        Unit("GFI", "gram of fissile isotopes", "GFI", 1),
    )
}

PACKAGES: dict[str, str] = {
    "AE": "aerosol",
    "BA": "barrel",
    "BG": "bag",
    "BO": "bottle",
    "BX": "box",
    "CA": "can",
    "CR": "crate",
    "CS": "case",
    "CT": "carton",
    "EN": "envelope",
    "JR": "jar",
    "NE": "unpacked",
    "PA": "packet",
    "PC": "parcel",
    "PK": "package",
    "PX": "pallet",
    "RO": "roll",
    "SA": "sack",
    "SU": "suitcase",
    "TU": "tube",
    "XD": "plastic bag",
    "ZZ": "mutually defined",
}

UNIT_CODES: frozenset[str] = frozenset(UNITS)
PACKAGE_CODES: frozenset[str] = frozenset(PACKAGES)


def convert(quantity: int, source: str, target: str) -> int | None:
    """Return a quantity of `source` units as `target` units, or None where that is not exact or not possible.

    Quantities are whole numbers of any fixed part of the unit (thousandths stay thousandths). Raises KeyError where a
    unit is unknown.
    """
    given, wanted = UNITS[source], UNITS[target]
    if given.base != wanted.base:
        return None
    whole, rest = divmod(quantity * given.scale, wanted.scale)
    return None if rest else whole

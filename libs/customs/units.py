"""Units of quantity (UN/ECE recommendation 20) and kinds of package (recommendation 21) that parcels are filed with.

Subsets: a parcel is counted, weighed or measured, and packed in what a person carries. The names are our own.
"""

UNITS: dict[str, str] = {
    "C62": "one (piece)",
    "H87": "piece",
    "EA": "each",
    "NAR": "number of articles",
    "PR": "pair",
    "NPR": "number of pairs",
    "DZN": "dozen",
    "GRO": "gross",
    "CEN": "hundred",
    "MIL": "thousand",
    "SET": "set",
    "MGM": "milligram",
    "GRM": "gram",
    "KGM": "kilogram",
    "TNE": "tonne",
    "CTM": "metric carat",
    "MLT": "millilitre",
    "CLT": "centilitre",
    "LTR": "litre",
    "HLT": "hectolitre",
    "MTQ": "cubic metre",
    "LPA": "litre of pure alcohol",
    "MMT": "millimetre",
    "CMT": "centimetre",
    "MTR": "metre",
    "CMK": "square centimetre",
    "MTK": "square metre",
    "KWH": "kilowatt hour",
    "GFI": "gram of fissile isotopes",
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

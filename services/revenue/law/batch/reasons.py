"""Why a consignment could not be assessed, and what was noted about one that could."""

from enum import IntEnum, IntFlag


class Reason(IntEnum):
    """Reason of a row without charges; its name is the reason told."""

    NONE = 0
    NO_RULEBOOK = 1
    UNVALUED = 2
    NO_EXCHANGE_RATE = 3
    AMOUNT_OUT_OF_BOUNDS = 4
    MASS_MISSING = 5
    QUANTITY_MISSING = 6
    """A rate is per a unit that an item does not tell."""
    NO_DUTY_RATE = 7
    """The tariff names no rate for a commodity code and has no default."""
    EXPORT = 8
    """No law of imports applies. In answers it is no reason but a note, since nothing is owed."""


class Note(IntFlag):
    """What was assumed or found; its name is the word told."""

    WITHIN_LIMIT = 1 << 0
    OVER_LIMIT = 1 << 1
    SCHEME_NUMBER_MISSING = 1 << 2
    SCHEME_NUMBER_MALFORMED = 1 << 3
    SCHEME_NOT_OPEN = 1 << 4
    FREIGHT_NOT_DECLARED = 1 << 5
    INSURANCE_NOT_DECLARED = 1 << 6
    TAX_TAKEN_OUT = 1 << 7
    CODE_MISSING = 1 << 8
    DEFAULT_DUTY_RATE = 1 << 9
    UNVERIFIED_VALUE = 1 << 10
    DATE_NOT_DECLARED = 1 << 11
    PREFERENCE_NOT_APPLIED = 1 << 12
    BELOW_MINIMUM = 1 << 13
    SCHEME_NUMBER_UNKNOWN = 1 << 14
    SCHEME_NUMBER_EXPIRED = 1 << 15
    SCHEME_NUMBER_UNCHECKED = 1 << 16
    GIFT_RELIEVED = 1 << 17
    EXCLUDED_GOODS = 1 << 18
    SUMMED = 1 << 19
    PERSON_NOT_DECLARED = 1 << 20
    UNIT_ASSUMED = 1 << 21
    NOT_COVERED = 1 << 22
    """Something is owed on goods of the consignment that the law at hand does not hold."""
    REGION_NOT_RECOGNISED = 1 << 23
    """Charges depend on the region and no rule names the one told."""
    ACCOUNT_NOT_ALLOWED = 1 << 24
    """A deferred account or guarantee that the filing names secures nothing, since its filer may not draw on it."""
    RETURN_RELIEVED = 1 << 25
    """Charges on goods that come back are not levied."""
    RETURN_NOT_PROVEN = 1 << 26
    """A return is charged: it names no first MRN, or one that does not prove that its goods left the jurisdiction."""
    RETURN_TERM_UNKNOWN = 1 << 27
    """A return is charged: the first MRN states a year alone, and the term holds for some of its days."""
    RETURN_TERM_ENDED = 1 << 28
    RETURN_NOT_CLAIMED = 1 << 29
    """A return is charged: its relief depends on more than the first MRN, such as an additional procedure."""
    RETURN_NOT_COVERED = 1 << 30
    """A return is charged, and the loaded law has no relief of returned goods from the charge."""
    EXPORT = 1 << 31
    """The goods are declared for export: no charges of an import are owed."""
    FREIGHT_BY_DEFAULT = 1 << 32
    """No freight is declared, and the amount that the law provides for this case is in the value."""
    INSURANCE_BY_DEFAULT = 1 << 33

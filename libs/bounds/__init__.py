"""The bounds of the contracts: read from them once, and checked of messages and of columns."""

from libs.bounds.contract import AMOUNT_MAX, TIME_LEAST, TIME_MOST, Bound, bound_of
from libs.bounds.messages import Excess, MessageBounds, bounds_of

__all__ = ["AMOUNT_MAX", "TIME_LEAST", "TIME_MOST", "Bound", "Excess", "MessageBounds", "bound_of", "bounds_of"]

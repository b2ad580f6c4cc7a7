"""Which filings are assessed before loading. Pure; whole batches. The minimum set is data: libs/filing_stages/data_sets.yaml."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Table
from libs.customs.time import MICROS_PER_DAY
from libs.filing_stages.completeness import lacks
from libs.filing_stages.direction import importing
from libs.filing_stages.law import Stage, included
from services.clearance.consignment.controls.pre_loading import PreLoading
from services.clearance.consignment.state.creation import destinations
from services.clearance.pre_loading.parameters import Parameters

BoolArray = NDArray[np.bool_]
_ASSESSED: Final = -1


def to_assess(filings: Table, parameters: Parameters) -> NDArray[np.int64]:
    """Return the rows of the filings that are assessed before loading.

    The destination asks for it, the minimum set is there, and the goods have not departed when the filing is accepted.
    """
    return np.flatnonzero(_scope(filings, parameters) == _ASSESSED)


def omitted(filings: Table, parameters: Parameters, unjudged: NDArray[np.int64] | None = None) -> dict[str, Column]:
    """Return the columns of the state with why filings are not assessed before loading although the destination asks for it; none if no one is.

    `unjudged`: the number of rules that risk could not judge of each filing, shape (n,); what is unknown is not taken for nothing.
    """
    scope, columns = _scope(filings, parameters), dict[str, Column]()
    if unjudged is not None and unjudged.any():
        scope[unjudged > 0] = PreLoading.UNJUDGED
        columns["pre_loading_unjudged"] = Ints.of(unjudged, unjudged > 0)
    chosen = scope > PreLoading.NONE
    return columns | ({"pre_loading_omitted": Ints.of(np.where(chosen, scope, 0), chosen)} if chosen.any() else {})


def _scope(filings: Table, parameters: Parameters) -> NDArray[np.int64]:
    """Return for each filing _ASSESSED, why it is not, or NONE where the destination does not ask for it."""
    found = np.full(filings.rows, np.int64(PreLoading.NONE))
    if not parameters.from_day:
        return found
    accepted = filings.ints("accepted_at").values
    chosen = _of_destinations(filings, parameters, accepted // MICROS_PER_DAY)
    if chosen.any():
        departure = filings.ints("transport_departure_time")
        found[chosen] = np.where(minimum_set(filings), _ASSESSED, np.int64(PreLoading.INCOMPLETE))[chosen]
        found[chosen & departure.valid & (departure.values <= accepted)] = PreLoading.DEPARTED
    return found


def minimum_set(filings: Table) -> BoolArray:
    """Return which filings have the minimum set, the mandatory elements of the stage, shape (n,)."""
    there = np.ones(filings.rows, np.bool_)
    for element in included().mandatory(Stage.PRE_LOADING):
        there &= ~lacks(filings, element)
    return there


def _of_destinations(filings: Table, parameters: Parameters, days: NDArray[np.int64]) -> BoolArray:
    country, mode = importing(filings, destinations(filings)), filings.ints("transport_mode").filled(0)
    chosen = np.zeros(filings.rows, np.bool_)
    for (name, number), first in parameters.from_day.items():
        chosen |= country.isin({name}) & (mode == number) & (days >= first)
    return chosen

"""What clearance counts in its metrics beside its decisions: states, money, arrivals without effect."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from libs.columns import Table
from libs.customs.currencies import is_currency
from libs.telemetry import counter, gauge, get_logger
from services.clearance.consignment.transitions import State

_log = get_logger()
_TEXTS_A_LINE: Final = 8
"""Names of missing texts in a line of the log, which cuts long values."""
CHARGES: Final = ("duty", "tax", "fee")

_states = counter("luxor_clearance_states_total", "Written versions of consignments, by state", ("state",))
_charges = counter(
    "luxor_clearance_charges_minor_total",
    "Money assessed by decisions, in minor units of the currency, by kind of charge; an amended consignment counts again",
    ("kind", "currency"),
)
_missing_texts = gauge(
    "luxor_clearance_notice_texts_missing",
    "Texts of notices that a language lacks, so that they are in English",
    ("language",),
)
_unbound = counter(
    "luxor_clearance_arrivals_unbound_total",
    "Arrivals by carriers that are not bound to the master document: refused, or recorded and without effect on some filings",
    ("outcome",),
)
for _outcome in ("refused", "without_effect"):
    _unbound.labels(_outcome)  # at 0 from the start, so that the first one is an increase


def count_unbound(outcome: str, arrivals: int) -> None:
    """Count and report arrivals by carriers that nothing binds: "refused", or recorded and "without_effect" on some filings."""
    _unbound.labels(outcome).inc(arrivals)
    _log.warning("ARRIVALS_UNBOUND", outcome=outcome, arrivals=arrivals)


def report_missing_texts(missing: Mapping[str, Sequence[str]]) -> None:
    """Report the texts of notices that languages lack, by language."""
    for language, texts in missing.items():
        _missing_texts.labels(language).set(len(texts))
        for begin in range(0, len(texts), _TEXTS_A_LINE):
            _log.warning(
                "NOTICE_TEXTS_MISSING", language=language, texts=", ".join(texts[begin : begin + _TEXTS_A_LINE])
            )


def count_states(table: Table) -> None:
    """Count versions that are written now."""
    states, counts = np.unique(table.ints("state").values, return_counts=True)
    for state, count in zip(states.tolist(), counts.tolist(), strict=True):
        _states.labels(State(state).name.lower()).inc(count)


def count_charges(table: Table) -> None:
    """Count the money of consignments that are decided now."""
    currencies = table.strings("revenue_currency")
    for place, currency in enumerate(currencies.dictionary):
        rows = currencies.indices == place
        if not currency or not rows.any():
            continue
        for kind in CHARGES:
            amounts = table.ints(f"{kind}_minor")
            # A metric is a double; so is this sum, which therefore cannot wrap.
            total = float(amounts.values[rows & amounts.valid].sum(dtype=np.float64))
            if total:
                _charges.labels(kind, currency if is_currency(currency) else "other").inc(total)

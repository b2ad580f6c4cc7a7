"""Settings of revenue."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.server.config.checks import wrong_place
from libs.server.config.job_memory import BYTES_MAX, BYTES_MIN, DERIVED, derived_job_bytes
from libs.server.config.server_config import Settings, setting
from services.revenue.what_if.bands import DEFAULT as BANDS
from services.revenue.what_if.bands import Bands, BandsMalformed

RULEBOOKS: Final = Path(__file__).parent / "rulebooks"
"""The rulebooks and tariffs that are shipped."""
RATES: Final = Path(__file__).parent / "rates"
"""The tables of exchange rates that are shipped."""


def wrong_bands(text: str) -> str:
    """Amounts such as "22 150; JPY 1000 10000"."""
    try:
        Bands.of(text)
    except BandsMalformed as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, repr=False)
class RevenueConfig(Settings, service="revenue"):
    """What revenue alone reads."""

    rulebooks: Path = setting("RULEBOOKS", default=RULEBOOKS, example="/etc/luxor/revenue/rulebooks", check=wrong_place)
    """Directory of the rulebooks and tariffs, one directory a jurisdiction."""
    rates: Path = setting("RATES", default=RATES, example="/etc/luxor/revenue/rates", check=wrong_place)
    """Directory of the tables of exchange rates. The shipped ones are examples that no authority publishes."""
    input_days: int = setting("INPUT_DAYS", default=400, low=1, high=400, example="400")
    """Days for which it is kept what consignments were assessed on, some 60 bytes each: adjustments, assessments after a change of a sum and what-if
    runs reach so far back."""
    what_if_bands: str = setting(
        "WHAT_IF_BANDS", default=BANDS, example="22 45 150 1000; JPY 1000 10000", check=wrong_bands
    )
    """Bands of value by which what-if runs group what consignments owe: upper ends in whole units, counted in, of any currency, then of those that
    have their own."""
    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory that the process of a what-if run may have, beside the replica's own and within the limit of its container; one runs at a time in all
    replicas together."""
    deferred: str = setting("DEFERRED", default="opened", choices=("everyone", "opened"), example="opened")
    """Which declarants have a deferred account: `opened`, those for whom an officer opened one that is not closed and has room below its limit,
    for filings of its own filers; `everyone`, every declarant without limit, for trials only. Without an account the debt is paid at the border,
    or secured by a guarantee."""
    reassessment_seconds: float = setting("REASSESSMENT_SECONDS", default=1.0, low=0.05, high=3_600, example="1")
    """How often it is looked for sums over several consignments that changed, so that earlier consignments owe something else."""
    seal_seconds: float = setting("SEAL_SECONDS", default=60.0, low=1, high=600, example="60")
    """How often the ledger's chains are sealed together, where something was booked. An alert tells when half an hour passes without."""
    proof_percent: int = setting("PROOF_PERCENT", default=3, low=1, high=100, example="3")
    """Share of one core that the background proofs of the ledger may use, in all replicas together, percent. An alert is raised when they are a day
    behind."""

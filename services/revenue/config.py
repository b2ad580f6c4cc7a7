"""Settings of revenue."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.server.config.checks import check_existing_directory
from libs.server.config.job_memory import BYTES_MAX, BYTES_MIN, DERIVED, derived_job_bytes
from libs.server.config.server_config import Settings, setting
from services.revenue.ledger.account import DUE_DAYS, DueDays, DueDaysMalformed
from services.revenue.what_if.bands import DEFAULT as BANDS
from services.revenue.what_if.bands import Bands, BandsMalformed

RULEBOOKS: Final = Path(__file__).parent / "rulebooks"
"""The included rulebooks and tariffs."""
RATES: Final = Path(__file__).parent / "rates"
"""The included tables of exchange rates."""


def check_bands(text: str) -> str:
    """Amounts such as "22 150; JPY 1000 10000"."""
    try:
        Bands.parse(text)
    except BandsMalformed as error:
        return str(error)
    return ""


def check_due_days(text: str) -> str:
    """Days such as "deferred 16; vendor last"."""
    try:
        DueDays.parse(text)
    except DueDaysMalformed as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True, repr=False)
class RevenueConfig(Settings, service="revenue"):
    """The settings of revenue only."""

    rulebooks: Path = setting(
        "RULEBOOKS", default=RULEBOOKS, example="/etc/luxor/revenue/rulebooks", check=check_existing_directory
    )
    """Directory of the rulebooks and tariffs, with a directory for each jurisdiction."""
    rates: Path = setting("RATES", default=RATES, example="/etc/luxor/revenue/rates", check=check_existing_directory)
    """Directory of the tables of exchange rates. The included tables are examples, not published rates."""
    input_days: int = setting("INPUT_DAYS", default=400, low=1, high=400, example="400")
    """Days for which the inputs of assessments are stored, some 70 bytes for each consignment. Adjustments, reassessments after a change of an
    aggregate, and what-if runs reach this far back."""
    what_if_bands: str = setting(
        "WHAT_IF_BANDS", default=BANDS, example="22 45 150 1000; JPY 1000 10000", check=check_bands
    )
    """Bands of value by which what-if runs group consignments: the upper ends (included) in whole units, first for all currencies, then for
    currencies with bands of their own."""
    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory for the process of a what-if run, in addition to that of the replica and within the limit of its container. One such process runs at a
    time in all replicas together."""
    deferred: str = setting("DEFERRED", default="opened", choices=("everyone", "opened"), example="opened")
    """Which declarants may defer payment. `opened`: those with an account that an officer opened, that is not closed and below its limit, for
    filings of the filers that may draw on it. `everyone`: all declarants without limit, for trials only. Otherwise the debt is paid at the border,
    or secured by a guarantee."""
    reassessment_seconds: float = setting("REASSESSMENT_SECONDS", default=1.0, low=0.05, high=3_600, example="1")
    """Time between two searches for aggregates that changed, so that their earlier consignments must be assessed again."""
    sale_term_days: int = setting("SALE_TERM_DAYS", default=200, low=1, high=400, example="200")
    """Days after which a sale expires if no consignment was declared under its order number or a house document."""
    due_days: str = setting("DUE_DAYS", default=DUE_DAYS, example="deferred 16; vendor last", check=check_due_days)
    """Day of the following month until which accounts pay what a month owes, by their kinds (deferred, guarantee, vendor, carrier); `last` is the
    last day. Those of other kinds have no due day."""
    seal_seconds: float = setting("SEAL_SECONDS", default=60.0, low=1, high=600, example="60")
    """Time between two seals of the ledger's chains, if entries were posted. An alert fires if there is no seal for half an hour."""
    proof_percent: int = setting("PROOF_PERCENT", default=3, low=1, high=100, example="3")
    """Percentage of one core that the background proofs of the ledger may use, in all replicas together. An alert fires if they are a day behind."""

"""Settings of clearance."""

from dataclasses import dataclass
from pathlib import Path

from libs.server.config.checks import check_existing_directory, check_file
from libs.server.config.server_config import Settings, setting
from services.clearance.consignment.state.expiry import ARRIVAL_DAYS
from services.clearance.goods_controls import law as goods_law
from services.clearance.notices.texts import INCLUDED
from services.clearance.pre_loading import parameters as pre_loading
from services.clearance.presentation import law as presentation_law
from services.clearance.transit import limits as transit


@dataclass(frozen=True, kw_only=True, repr=False)
class ClearanceConfig(Settings, service="clearance"):
    """The settings of clearance only."""

    assess_seconds: float = setting("ASSESS_SECONDS", default=10.0, low=0.1, high=60, example="10")
    """Deadline of a call to risk or revenue; after it the batch is assessed again."""

    calls_at_once: int = setting("CALLS_AT_ONCE", default=3, low=1, high=64, example="3")
    """Batches that are assessed at once; each is one call to risk and one to revenue."""

    events_max: int = setting("EVENTS_MAX", default=1_500, low=1, high=20_000, example="1500")
    """Approximate number of filings that one transaction decides. A larger number delays the feed's horizon for longer."""

    exit_days: int = setting("EXIT_DAYS", default=150, low=1, high=180, example="150")
    """Days after the day of their release within which the exit of exported goods has to be confirmed; after them the declaration is invalidated."""

    arrival_days: int = setting("ARRIVAL_DAYS", default=ARRIVAL_DAYS, low=1, high=380, example="200")
    """Days after the day of acceptance within which the goods have to arrive; after them the declaration expires."""

    case_days: int = setting("CASE_DAYS", default=1_830, low=30, high=36_500, example="1830")
    """Days after which a closed case is deleted with its history. Open cases are never deleted."""

    sweep_seconds: float = setting("SWEEP_SECONDS", default=300.0, low=1, high=1_800, example="300")
    """Time between two comparisons of accepted filings with decided ones; missing filings are requested again."""

    notice_texts: Path = setting(
        "NOTICE_TEXTS", default=INCLUDED, example="/etc/luxor/clearance/notices", check=check_existing_directory
    )
    """Directory of the texts of notices, a file for each language such as `de.yaml`. What a language lacks is in English, which is included."""

    pre_loading: Path = setting(
        "PRE_LOADING", default=pre_loading.INCLUDED, example="/etc/luxor/clearance/pre_loading.yaml", check=check_file
    )
    """File of the parameters of the assessment before loading: the destinations whose goods are assessed, and the deadlines of requests by office. As
    included, no destination is assessed."""

    goods_controls: Path = setting(
        "GOODS_CONTROLS",
        default=goods_law.INCLUDED,
        example="/etc/luxor/clearance/goods_controls.yaml",
        check=check_file,
    )
    """File of the controls of goods: licences that goods need, and controls by partner agencies. As included, no goods are controlled. Name one once
    all replicas are of a release that knows the setting."""

    presentation: Path = setting(
        "PRESENTATION",
        default=presentation_law.INCLUDED,
        example="/etc/luxor/clearance/presentation.yaml",
        check=check_file,
    )
    """File of the rules of presentation: where it is an act of its own, and within which time after the arrival it is due. As included, the arrival
    is the presentation everywhere. Name one once all replicas are of a release that knows the setting."""

    transit: Path = setting(
        "TRANSIT", default=transit.INCLUDED, example="/etc/luxor/clearance/transit.yaml", check=check_file
    )
    """File of the rules of movements to another office: where there are movements, their limits, and what follows their arrival. As included, those
    of the European Union. Name one once all replicas are of a release that knows the setting."""

    carriers_start_transit: bool = setting("CARRIERS_START_TRANSIT", default=False, example="true")
    """Whether carriers begin movements to other offices where the data of the jurisdiction allow it. Set it once all replicas are of a release that
    knows the setting."""

    checks_per_second: float = setting("CHECKS_PER_SECOND", default=50.0, low=0.1, high=10_000, example="50")
    """Checks of notices that one caller may make per second on each replica; twice as many at once. A gateway is one caller for all its visitors."""

    seal_seconds: float = setting("SEAL_SECONDS", default=60.0, low=1, high=600, example="60")
    """Time between two seals of the audit trail, if there are new records. An alert fires if there is no seal for half an hour."""

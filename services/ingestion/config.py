"""Settings of ingestion."""

from dataclasses import dataclass
from pathlib import Path

from libs.server.config.checks import check_file
from libs.server.config.server_config import Settings, setting
from services.ingestion.filing import check_rules


@dataclass(frozen=True, kw_only=True, repr=False)
class IngestionConfig(Settings, service="ingestion"):
    """The settings of ingestion only."""

    clock_shift_seconds: int = setting("CLOCK_SHIFT_SECONDS", default=0, low=-80_000, high=500_000, example="0")
    """Seconds that are added to the time of acceptance, for staging: filings are then assessed by the law of another day."""

    filer_registration_required: bool = setting("FILER_REGISTRATION_REQUIRED", default=False, example="true")
    """Refuse new filings of filers that are not in the register. If false, a valid certificate is enough. Use the same value for all replicas."""

    filing_checks: Path = setting(
        "FILING_CHECKS",
        default=check_rules.INCLUDED,
        example="/etc/luxor/ingestion/filing_checks.yaml",
        check=check_file,
    )
    """File of the checks of filings: further terms that name no goods, levels and bounds of the checks, forms of postal codes. It states what
    differs from the included file. Use the same file for all replicas."""

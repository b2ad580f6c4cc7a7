"""Settings of risk."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from libs.server.config.checks import check_existing_directory, check_file
from libs.server.config.job_memory import BYTES_MAX, BYTES_MIN, DERIVED, derived_job_bytes
from libs.server.config.server_config import ConfigError, Settings, setting
from libs.telemetry.process import memory_of_process
from services.risk.files.secret_file import SecretFileError, secret_of
from services.risk.history.bounds import PLACES_MAX, PLACES_MIN, places_for
from services.risk.screening.matching.scores import STRONG, THRESHOLD

PROFILES: Final = Path(__file__).parent / "profiles"
"""What risk ships with: the profile, and beside it lists and tables."""


def _places(_service: str, _values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    return places_for(memory_of_process())


def check_mark(mark: str) -> str:
    """16 hex digits in small letters."""
    return (
        "" if re.fullmatch(r"[0-9a-f]{16}", mark) else f"is {mark!r}, which is no mark: 16 hex digits in small letters"
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class RiskConfig(Settings, service="risk"):
    """The settings of risk only."""

    profile: Path = setting(
        "PROFILE", default=PROFILES / "first_light.yaml", example="/etc/luxor/risk/profile.yaml", check=check_file
    )
    """File of the profile that is active until a rule set of the store is activated: rules, typologies and thresholds. The files that it names
    (lists, tables, parameters of selection) are beside it."""

    lists: Path = setting(
        "LISTS", default=PROFILES / "lists", example="/etc/luxor/risk/lists", check=check_existing_directory
    )
    """Directory of the lists that parties are screened against: lists.yaml and the files that it names. Changed files are loaded without a
    restart."""

    lists_check_seconds: float = setting("LISTS_CHECK_SECONDS", default=30.0, low=0.1, high=86_400, example="30")
    """Time between two checks for changed list files."""

    match_permille: int = setting("MATCH_PERMILLE", default=THRESHOLD, low=700, high=1000, example="870")
    """Lowest similarity of a party's name to a listed name that is a screening match, in thousandths. A lower value finds more misspelt names and
    matches more honest parties; docs/risk/screening.md has the figures. After it is lowered, earlier assessments are screened again."""

    match_strong_permille: int = setting("MATCH_STRONG_PERMILLE", default=STRONG, low=700, high=1000, example="930")
    """Lowest score of a strong match, for which an examination is recommended. For lower scores and weak aliases a check of the documents is
    recommended. At least LUXOR_RISK_MATCH_PERMILLE."""

    rescreening_days: int = setting("RESCREENING_DAYS", default=60, low=1, high=400, example="60")
    """When a list changes, the assessments of this many days are screened again, as far as their inputs are still stored (LUXOR_RISK_INPUT_DAYS)."""

    rescreening_seconds: float = setting("RESCREENING_SECONDS", default=10.0, low=0.1, high=3_600, example="10")
    """Time between two searches for assessments that were not screened against the active versions of the lists."""

    controls: Path = setting(
        "CONTROLS",
        default=PROFILES / "data" / "controls",
        example="/etc/luxor/risk/controls",
        check=check_existing_directory,
    )
    """Directory of the goods controls: one YAML file for each jurisdiction."""

    secret_file: Path | None = setting("SECRET_FILE", default=None, example="/run/secrets/risk", check=check_file)
    """File of the deployment's secret: 16 to 64 random bytes, or one line of hex or Base64 of such a length. It must be the same for all replicas,
    because history stores parties as hashes by a key that is derived from it. Without a file, a secret is generated and stored in the database,
    where everybody who can read history can read it too."""

    seeds_published_after_days: int = setting(
        "SEEDS_PUBLISHED_AFTER_DAYS", default=90, low=1, high=365, example="90", former="SEEDS_TOLD_AFTER_DAYS"
    )
    """Days after which the seed of a day's draws is published, so that the draws can be proved. By then the consignments of that day should be
    final. The second name is that of version 0.2; the first overrides it."""

    input_days: int = setting("INPUT_DAYS", default=60, low=1, high=400, example="60")
    """Days for which the inputs of assessments are stored, some 200 bytes for each consignment. Backtests, trainings and the screening after a
    change of a list reach this far back."""

    secret_replaces: str = setting("SECRET_REPLACES", default="", example="0123456789abcdef", check=check_mark)
    """Mark of the former secret, if the secret was replaced. A replica then starts although risk's log was written with the former secret, and
    history begins again. The error at start states the mark."""

    history_keys_max: int = setting(
        "HISTORY_KEYS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Largest number of parties in history, rounded down to a power of two. Each takes 34 bytes in a table that is at most 60 % full, and 56 bytes
    of other data."""

    history_keys_min: int = setting(
        "HISTORY_KEYS_MIN", default=PLACES_MIN, low=PLACES_MIN, high=PLACES_MAX, example="67108864"
    )
    """Number of parties, and of events, that history has space for at first. It doubles up to its bounds; no batch is assessed while it doubles,
    which takes half a second at 1 million and 5 seconds at 8 million. For large traffic set it to `LUXOR_RISK_HISTORY_KEYS_MAX`: memory is used
    only as it fills, but snapshots have their full size from the first day on."""

    history_events_max: int = setting(
        "HISTORY_EVENTS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Largest number of consignments of 32 days in history, rounded down to a power of two, 32 bytes each. It begins small and doubles."""

    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory for the process of a backtest or a training, in addition to that of the replica and within the limit of its container. One such
    process runs at a time in all replicas together."""


def read_secret(file: Path | None) -> bytes | None:
    """Return the deployment's secret, None where no file is named. Raises ConfigError."""
    if file is None:
        return None
    try:
        return secret_of(file.read_bytes())
    except SecretFileError as error:
        raise ConfigError("LUXOR_RISK_SECRET_FILE", f"names a file that {error}", "/run/secrets/risk") from None

"""Settings of risk."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from libs.server.config.checks import wrong_file, wrong_place
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
    """What risk alone reads."""

    profile: Path = setting(
        "PROFILE", default=PROFILES / "first_light.yaml", example="/etc/luxor/risk/profile.yaml", check=wrong_file
    )
    """File of the profile that is in force until a rule set is activated in the store: rules, typologies, thresholds, and beside it the lists and
    tables that they look into and the parameters of selection."""

    lists: Path = setting("LISTS", default=PROFILES / "lists", example="/etc/luxor/risk/lists", check=wrong_place)
    """Directory of the lists that parties are screened against: lists.yaml and the files that it names. Changed files are taken without a restart."""

    lists_check_seconds: float = setting("LISTS_CHECK_SECONDS", default=30.0, low=0.1, high=86_400, example="30")
    """How often it is looked whether files of lists have changed."""

    match_permille: int = setting("MATCH_PERMILLE", default=THRESHOLD, low=700, high=1000, example="870")
    """Least score of a hit of the screening, thousandths: how near a party's name is to a listed one. Lower finds more misspelt names and hits more
    honest parties; docs/risk/screening.md has the figures. When it is lowered, what was assessed before is screened again."""

    match_strong_permille: int = setting("MATCH_STRONG_PERMILLE", default=STRONG, low=700, high=1000, example="930")
    """From this score on a hit advises an examination; below it, and on a weak alias, a look at the documents. At least LUXOR_RISK_MATCH_PERMILLE."""

    rescreening_days: int = setting("RESCREENING_DAYS", default=60, low=1, high=400, example="60")
    """When a list changes, what was assessed in so many days is screened again, as far as LUXOR_RISK_INPUT_DAYS keeps it."""

    rescreening_seconds: float = setting("RESCREENING_SECONDS", default=10.0, low=0.1, high=3_600, example="10")
    """How often it is looked whether something was screened against other versions of lists than are in force."""

    controls: Path = setting(
        "CONTROLS", default=PROFILES / "data" / "controls", example="/etc/luxor/risk/controls", check=wrong_place
    )
    """Directory of the goods controls: one YAML file for each jurisdiction."""

    secret_file: Path | None = setting("SECRET_FILE", default=None, example="/run/secrets/risk", check=wrong_file)
    """File of the deployment's secret, 16 to 64 random bytes or one line of as many letters of hex or Base64, the same for all replicas: parties
    are kept in history as hashes by a key that follows from it. Without it one is made and kept in the store, where whoever reads history can read
    it too."""

    seeds_published_after_days: int = setting("SEEDS_TOLD_AFTER_DAYS", default=90, low=1, high=365, example="90")
    """Days after its own that the seed of a day's draws is told, so that they can be proved. By then consignments of that day should be closed."""

    input_days: int = setting("INPUT_DAYS", default=60, low=1, high=400, example="60")
    """Days for which it is kept what consignments were assessed on, some 200 bytes each: backtests, training and the screening after a change of a
    list reach so far back."""

    secret_replaces: str = setting("SECRET_REPLACES", default="", example="0123456789abcdef", check=check_mark)
    """Mark of the secret that this one was put in the place of: with it a replica begins although risk's log was written with that secret, and
    history begins anew. The refusal at start tells the mark."""

    history_keys_max: int = setting(
        "HISTORY_KEYS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Parties that history has room for, taken as the power of two below; 34 bytes each, of which 0.6 are used, and 56 for what goes with them."""

    history_keys_min: int = setting(
        "HISTORY_KEYS_MIN", default=PLACES_MIN, low=PLACES_MIN, high=PLACES_MAX, example="67108864"
    )
    """Parties, and as many events, that history begins with room for. From there it doubles up to its bounds, and no batch is assessed meanwhile:
    half a second at 1 million, 5 seconds at 8 million. Where traffic is great give the number of `LUXOR_RISK_HISTORY_KEYS_MAX`: memory is taken
    only as it is used, but snapshots are as large from the first day on."""

    history_events_max: int = setting(
        "HISTORY_EVENTS_MAX",
        derive=_places,
        derived="two fifths of the memory that the process may use, at 183 bytes",
        low=PLACES_MIN,
        high=PLACES_MAX,
        example="67108864",
    )
    """Consignments of 32 days that history has room for, taken as the power of two below; 32 bytes each. It begins small and doubles."""

    job_memory_bytes_max: int = setting(
        "JOB_MEMORY_BYTES_MAX",
        derive=derived_job_bytes,
        derived=DERIVED,
        low=BYTES_MIN,
        high=BYTES_MAX,
        example="2147483648",
    )
    """Memory that the process of a backtest or a training may have, beside the replica's own and within the limit of its container; one runs at a
    time in all replicas together."""


def read_secret(file: Path | None) -> bytes | None:
    """Return the deployment's secret, None where no file is named. Raises ConfigError."""
    if file is None:
        return None
    try:
        return secret_of(file.read_bytes())
    except SecretFileError as error:
        raise ConfigError("LUXOR_RISK_SECRET_FILE", f"names a file that {error}", "/run/secrets/risk") from None

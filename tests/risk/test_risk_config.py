"""Settings of risk: names of version 0.2 have their effect."""

from __future__ import annotations

import pytest

from libs.server.config.server_config import ConfigError
from libs.server.config.variables import unknown_variables
from services.risk.config import RiskConfig


def test_the_day_of_publication_is_read_by_its_former_name_where_the_present_one_is_not_set() -> None:
    former, present = {"LUXOR_RISK_SEEDS_TOLD_AFTER_DAYS": "180"}, {"LUXOR_RISK_SEEDS_PUBLISHED_AFTER_DAYS": "120"}
    assert RiskConfig.from_environ("risk", former).seeds_published_after_days == 180
    assert RiskConfig.from_environ("risk", former | present).seeds_published_after_days == 120
    assert unknown_variables("risk", former | present) == {}
    with pytest.raises(ConfigError, match="LUXOR_RISK_SEEDS_TOLD_AFTER_DAYS must be 1 to 365, not 400"):
        RiskConfig.from_environ("risk", {"LUXOR_RISK_SEEDS_TOLD_AFTER_DAYS": "400"})

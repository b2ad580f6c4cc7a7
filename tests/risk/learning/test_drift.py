"""The population stability index against values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from libs.columns import Strings
from services.risk.learning.evaluation.drift import NumberProfile, WordProfile, drifts, profiles, psi, verdict_of
from services.risk.learning.features.sample import ColumnsDoNotFit, Sample


def words(counts: dict[str, int]) -> Sample:
    return Sample(
        sum(counts.values()), {}, {"origin": Strings.of([word for word, count in counts.items() for _ in range(count)])}
    )


def test_the_index_is_the_sum_over_bins_by_hand() -> None:
    # (0.4-0.5)ln(0.4/0.5) + (0.35-0.3)ln(0.35/0.3) + (0.25-0.2)ln(0.25/0.2)
    by_hand = -0.1 * math.log(0.8) + 0.05 * math.log(7 / 6) + 0.05 * math.log(1.25)
    assert by_hand == pytest.approx(0.0411793, abs=1e-6)
    assert psi(np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.35, 0.25])) == pytest.approx(by_hand)


def test_an_empty_bin_counts_as_one_in_ten_thousand() -> None:
    assert psi(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(
        -0.5 * math.log(0.5) + (0.5 - 1e-4) * math.log(0.5 / 1e-4)
    )


def test_a_column_of_words_by_hand_with_a_new_word_and_an_unknown_one() -> None:
    before = profiles(words({"CN": 700, "VN": 300}))
    assert before == {"origin": WordProfile(("CN", "VN"), (0.7, 0.3, 0.0, 0.0))}
    now = words({"CN": 500, "VN": 300, "AE": 150, "": 50})
    expected = -0.2 * math.log(5 / 7) + 0.1499 * math.log(1500) + 0.0499 * math.log(500)
    (told,) = drifts(before, now)
    assert told.index == pytest.approx(expected)
    assert (told.column, told.verdict) == ("origin", "drifted")


def test_numbers_fall_into_tenths_of_the_training_window_and_unknown_has_a_bin() -> None:
    before = profiles(Sample(1000, {"price": np.arange(1000.0)}, {}))
    profile = before["price"]
    assert isinstance(profile, NumberProfile)
    assert profile.edges == tuple(float(edge) for edge in range(100, 1000, 100))
    np.testing.assert_allclose(profile.shares, [0.1] * 10 + [0.0])
    half = np.where(np.arange(1000) < 500, np.nan, np.arange(1000.0))
    (told,) = drifts(before, Sample(1000, {"price": half}, {}))
    lost = 5 * (1e-4 - 0.1) * math.log(1e-4 / 0.1)
    assert told.index == pytest.approx(lost + (0.5 - 1e-4) * math.log(0.5 / 1e-4))


def test_a_sample_of_the_same_traffic_is_stable_and_the_worst_column_stands_first() -> None:
    rng = np.random.default_rng(1)

    def window(shift: float) -> Sample:
        return Sample(3000, {"mass": rng.normal(size=3000), "price": rng.normal(shift, 1, 3000)}, {})

    told = drifts(profiles(window(0.0)), window(1.0))
    assert [(drift.column, drift.verdict) for drift in told] == [("price", "drifted"), ("mass", "stable")]


def test_the_steps_of_the_verdict() -> None:
    assert [verdict_of(index) for index in (0.0, 0.0999, 0.1, 0.2499, 0.25)] == [
        "stable",
        "stable",
        "shifting",
        "shifting",
        "drifted",
    ]


def test_too_few_rows_give_no_verdict_and_no_rows_no_profile() -> None:
    (told,) = drifts(profiles(words({"CN": 500})), words({"TR": 199}))
    assert told.verdict == "too few rows"
    with pytest.raises(ColumnsDoNotFit, match="without rows"):
        profiles(words({}))


def test_a_recent_window_without_the_column_is_refused() -> None:
    with pytest.raises(ColumnsDoNotFit, match=r"the recent window: .*origin \(word\) is absent"):
        drifts(profiles(words({"CN": 500})), Sample(300, {}, {}))


def test_words_beyond_the_most_frequent_share_a_bin() -> None:
    (profile,) = profiles(words({f"W{number:02d}": 30 - number for number in range(25)})).values()
    assert isinstance(profile, WordProfile)
    assert profile.words == tuple(f"W{number:02d}" for number in range(20))
    assert sum(profile.shares) == pytest.approx(1.0)
    assert profile.shares[20] == pytest.approx(sum(30 - number for number in range(20, 25)) / 450)

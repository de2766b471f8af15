"""Planned power against scipy's noncentral t, and the parts of a variance against those that data were made with."""

import math

import numpy as np
import pytest
from scipy import stats

from vaebench.statistics import VarianceParts, planned_power, seeds_needed, variance_parts
from vaebench.statistics.planning import t_power


@pytest.mark.parametrize("df", [1.0, 2.0, 4.5, 30.0, 1e4])
@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0, 8.0])
def test_power_is_the_noncentral_ts(df, shift):
    critical = stats.t.isf(0.025, df)
    expected = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
    if not math.isnan(expected):  # as scipy answers for df 1 and a shift of 8
        assert t_power(shift, df) == pytest.approx(expected, abs=2e-4)
    assert 0 <= t_power(1e4, df) <= 1  # scipy's is NaN there


def crossed(draws, seeds, training, image, rest, images=400):
    shared = draws.normal(0, image, (1, images))
    return [draws.normal(0, training, (count, 1)) + shared + draws.normal(0, rest, (count, images)) for count in seeds]


def test_parts_are_those_that_the_data_were_made_with():
    draws = np.random.default_rng(0)
    found = [variance_parts(crossed(draws, (8, 8), 0.5, 2.0, 1.0), shared=True) for _ in range(60)]
    assert np.mean([part.training for part in found]) == pytest.approx(0.25, rel=0.1)
    assert np.mean([part.rest for part in found]) == pytest.approx(1.0, rel=0.02)
    assert np.mean([part.images for part in found]) < 0.02  # of a difference on shared images nothing is left


def test_one_seed_takes_the_others_parts_and_images_made_elsewhere_have_none():
    a, b = crossed(np.random.default_rng(1), (4, 1), 0.5, 2.0, 1.0)
    parts = variance_parts([a, b], shared=True)
    assert parts.training[0] == parts.training[1] and parts.rest[0] == parts.rest[1]
    still = variance_parts([a, b], shared=True, fixed=(False, True))
    assert (still.training[1], still.rest[1]) == (0, 0) and still.images > 0
    with pytest.raises(ValueError, match="several seeds"):
        variance_parts([a[:1], b], shared=True)


def test_power_grows_with_seeds_and_the_fewest_that_serve_are_found():
    parts = VarianceParts(training=(1.0, 1.0), images=0.0, rest=(0.0, 0.0))
    powers = [planned_power(parts, seeds, 100, 1.5) for seeds in range(2, 20)]
    assert powers == sorted(powers)
    needed = seeds_needed(parts, 100, 1.5)
    assert planned_power(parts, needed, 100, 1.5) >= 0.8 > planned_power(parts, needed - 1, 100, 1.5)
    assert seeds_needed(parts, 100, 0.01) is None
    assert planned_power(VarianceParts(training=(0.0,), images=0.0, rest=(0.0,)), 3, 10, 0.1) == 1
    assert 0.03 < planned_power(parts, 5, 100, 0.0) < 0.055  # Welch's test is a little safe

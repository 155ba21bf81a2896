"""Errors of curves: three published definitions that must not be mixed up."""

import numpy as np
import pytest

from workbench.core.errors import DataError, ParameterError
from workbench.effects import dose_response_error, noise_floor


def test_one_root_over_everything_or_a_mean_of_roots():
    truth = np.zeros((2, 65))
    predicted = np.vstack([np.full(65, 3.0), np.full(65, 4.0)])
    assert dose_response_error(predicted, truth, "cf") == pytest.approx(np.sqrt(12.5))
    # Romberg's rule with the published step, 1 / 65 where 1 / 64 was meant.
    expected = 3.5 * np.sqrt(64 / 65)
    assert dose_response_error(predicted, truth, "integrated") == pytest.approx(expected)


def test_effects_relative_to_the_observed_outcome():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2000, 9))
    noise = 0.5 * rng.normal(size=2000)
    observed = truth[:, 0] + noise
    found = dose_response_error(truth, truth, "pairnet", observed=observed, at_received=truth[:, 0])
    assert found == pytest.approx(np.abs(noise).mean())
    assert found == pytest.approx(noise_floor("pairnet", 0.5), rel=0.05)


def test_a_noisy_truth_is_refused_and_its_floor_named():
    curves = np.zeros((3, 5))
    with pytest.raises(DataError, match="below 0.707"):
        dose_response_error(curves, curves, "cf", truth_noise=0.5**0.5)
    assert dose_response_error(curves, curves, "cf", truth_noise=0.7, accept_noise=True) == 0


def test_what_is_missing_is_named():
    curves = np.zeros((3, 6))
    with pytest.raises(ParameterError, match="metric"):
        dose_response_error(curves, curves, "mise")
    with pytest.raises(ParameterError, match="observed"):
        dose_response_error(curves, curves, "pairnet")
    with pytest.raises(DataError, match="observed"):  # a column would be paired with every row
        dose_response_error(
            curves, curves, "pairnet", observed=np.zeros((3, 1)), at_received=np.zeros(3)
        )
    with pytest.raises(DataError, match="2\\^k"):
        dose_response_error(curves, curves, "integrated")
    with pytest.raises(DataError, match="curves"):
        dose_response_error(curves, curves[:2], "cf")

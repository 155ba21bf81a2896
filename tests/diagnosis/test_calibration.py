import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from workbench.core.errors import ParameterError
from workbench.diagnosis import Incident, NSigma, System, calibrate

LAWS = {
    "normal": lambda rng, n: rng.normal(size=(n, 10)),
    "skewed": lambda rng, n: rng.exponential(size=(n, 10)),
    "correlated": lambda rng, n: rng.normal(size=(n, 10)) + 2 * rng.normal(size=(n, 1)),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rows", [5, 100])
def test_the_false_alarm_rate_of_a_window_is_kept(law, rows):
    rng = np.random.default_rng(0)
    alarms, fixed = [], []
    for _ in range(30):
        sample = pd.DataFrame(LAWS[law](rng, 400), columns=[f"m{i}" for i in range(10)])
        system = System(None, sample)
        limits = calibrate(system, 0.05, rows)
        fresh = pd.DataFrame(LAWS[law](rng, 20 * rows), columns=sample.columns)
        z = np.abs((fresh - sample.mean()) / sample.std(ddof=0))
        windows = np.arange(len(z)) // rows
        alarms += list((z > pd.Series(limits)[z.columns]).any(axis=1).groupby(windows).any())
        fixed += list((z > 3).any(axis=1).groupby(windows).any())
    assert np.mean(alarms) < 0.05 + 2 * (0.05 * 0.95 / len(alarms)) ** 0.5
    assert np.mean(fixed) > 0.07


def test_thresholds_of_a_normal_law_are_its_quantiles():
    values = pd.DataFrame(norm.ppf((np.arange(20_000) + 0.5) / 20_000), columns=["a"])
    for rate, rows in ((0.2, 1), (0.1, 100)):
        limit = calibrate(System(None, values), rate, rows)["a"]
        exact = norm.isf(rate / rows / 2)
        assert exact - 0.02 < limit < exact + 0.5


def test_thresholds_rise_with_rows_and_metrics_and_fall_with_the_rate(system, shop):
    base = calibrate(system, 0.05, 5)
    assert set(base) == set(system.metrics)
    for other in (calibrate(system, 0.05, 50), calibrate(system, 0.005, 5)):
        assert all(other[m] > base[m] for m in base)
    lone = calibrate(System(None, shop.rows(500)[["db"]]), 0.05, 5)
    assert lone["db"] < base["db"]


def test_a_constant_metric_keeps_three_sd_and_methods_take_the_thresholds(shop):
    normal = shop.rows(300).assign(users=100.0)
    system = System(shop.graph(), normal)
    limits = calibrate(system, rows=1)
    assert limits["users"] == 3.0
    ranking = NSigma(limits).fit(system).rank(Incident(shop.rows(1, db=30.0), "web"))
    assert "db" in ranking.nodes


def test_a_metric_that_rarely_leaves_one_value_has_a_finite_threshold():
    values = pd.DataFrame({"up": [100.0] * 380 + [99.0] * 20, "two": [0.0, 1.0] * 200})
    limits = calibrate(System(None, values), 0.05, 5)
    assert all(1.0 < v < 1e3 for v in limits.values())


@pytest.mark.parametrize("scorer", ["robust", "tail"])
def test_every_scorer_has_its_own_thresholds(system, scorer):
    limits = calibrate(system, 0.05, 5, scorer=scorer)
    assert all(2.5 < v < 8 for v in limits.values())


def test_refusals(system):
    for rate in (0.0, 1.0, -1):
        with pytest.raises(ParameterError, match="rate"):
            calibrate(system, rate)
    with pytest.raises(ParameterError, match="rows"):
        calibrate(system, rows=0)

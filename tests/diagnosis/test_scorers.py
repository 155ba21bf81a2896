import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ParameterError
from workbench.diagnosis import System
from workbench.diagnosis.scorers import SCORERS, deviations, limits

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def one(x):
    return System(None, pd.DataFrame({"m": x}))


@pytest.mark.parametrize("scorer", SCORERS)
def test_every_scorer_agrees_with_the_normal_deviation_on_normal_data(scorer):
    x = np.random.default_rng(0).normal(7, 2, 20_000)
    values = np.array([[7.0], [9.0], [11.0], [1.0]])
    got = deviations(one(x), values, scorer)[:, 0]
    assert np.allclose(got, [0, 1, 2, -3], atol=0.15)


@pytest.mark.parametrize("scorer", SCORERS)
def test_monotone_without_ties_far_out_and_free_of_units(scorer):
    x = np.random.default_rng(1).standard_t(3, 400)
    grid = np.linspace(0, 200, 101)[:, None]
    far = deviations(one(x), x.mean() + grid, scorer)[:, 0]
    assert (np.diff(far) >= 0).all() and (np.diff(far[50:]) > 0).all()
    scaled = deviations(one(0.003 * x), 0.003 * (x.mean() + grid), scorer)[:, 0]
    assert np.allclose(far, scaled)


def test_heavy_tails_alarm_less_by_the_tail_scorer():
    x = np.random.default_rng(2).standard_t(3, 5000)
    value = np.array([[8.0 * x.std()]])
    assert deviations(one(x), value, "tail") < 0.7 * deviations(one(x), value, "z")


def test_robust_score_ignores_faults_among_the_fault_free_rows():
    x = np.random.default_rng(3).normal(size=500)
    dirty = np.r_[x, np.full(40, 50.0)]
    value = np.array([[5.0]])
    assert deviations(one(dirty), value, "z") < 1
    assert deviations(one(dirty), value, "robust") > 4


@pytest.mark.parametrize("scorer", SCORERS)
def test_constants_by_convention_and_gaps_stay_gaps(scorer):
    normal = pd.DataFrame({"flat": [100.0] * 30, "zero": [0.0] * 30})
    system = System(None, normal)
    window = system.encode(
        pd.DataFrame({"flat": [100, 97, np.nan], "zero": [0, 1e-9, -5.0]}, index=list("xyz"))
    )
    got = pd.DataFrame(deviations(system, window, scorer), columns=list(system.metrics))
    assert np.allclose(got["flat"][:2], [0, -10]) and np.isnan(got["flat"][2])
    assert got["zero"].tolist() == [0, 10, -10]


def test_a_metric_that_is_mostly_one_value_keeps_a_finite_robust_score():
    x = np.r_[np.zeros(90), np.ones(10)]
    assert np.isfinite(deviations(one(x), np.array([[2.0]]), "robust")).all()
    assert np.isfinite(deviations(one(x), np.array([[2.0]]), "tail")).all()


def test_thresholds_by_metric(system):
    got = limits(system, {"db": 5.0})
    assert got[system.position["db"]] == 5 and set(np.delete(got, system.position["db"])) == {3.0}
    assert set(limits(system, 2)) == {2.0}
    with pytest.raises(ParameterError, match="Did you mean 'db'"):
        limits(system, {"dbs": 1.0})
    for bad in (-1, np.inf, np.nan, "3", True, None):
        with pytest.raises(ParameterError, match="threshold"):
            limits(system, bad)
    with pytest.raises(ParameterError, match="scorer"):
        deviations(system, np.zeros((1, 5)), "zz")

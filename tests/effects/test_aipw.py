"""AIPW: known effects, coverage, weights, the treated, propensity floors."""

import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, DataError, ParameterError, QuestionError
from workbench.effects import AIPW, estimate


def linear_law(n, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 5))
    chance = 1 / (1 + np.exp(-(0.6 * z[:, 0] - 0.4 * z[:, 1] + 0.3 * z[:, 2])))
    t = (rng.random(n) < chance).astype(int)
    return z, t, t + z @ [1, 0.5, 0.5, 0, 0.3] + rng.normal(size=n), None


def curved_law(n, seed):
    """Average effect 1 (it varies with z0), outcome with a sine, a square and a product."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 5))
    chance = 1 / (1 + np.exp(-(0.6 * z[:, 0] - 0.4 * z[:, 1] + 0.3 * z[:, 2])))
    t = (rng.random(n) < chance).astype(int)
    level = np.sin(1.5 * z[:, 0]) + 0.5 * z[:, 1] ** 2 + 0.5 * z[:, 0] * z[:, 2]
    return z, t, (1 + 0.5 * z[:, 0]) * t + level + rng.normal(size=n), None


def clustered_law(n, seed):
    """Clusters of four rows that share a level, a covariate and an effect of mean 1."""
    rng = np.random.default_rng(seed)
    size = n // 4
    group = np.repeat(np.arange(size), 4)
    own = rng.normal(size=(3, size))[:, group]
    z = np.column_stack([0.7 * own[0] + 0.7 * rng.normal(size=n), own[1], rng.normal(size=n)])
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * (z[:, 0] - z[:, 1])))).astype(int)
    lift = 1 + 0.5 * rng.normal(size=size)[group]
    y = lift * t + z[:, 0] + 0.5 * z[:, 1] + own[2] + rng.normal(size=n)
    return z, t, y, group


def coverage(law, simulations):
    hits = 0
    for seed in range(simulations):
        z, t, y, groups = law(400, seed)
        low, high = AIPW().fit(y, t, W=z, groups=groups).ate_interval()
        hits += low < 1 < high
    return hits / simulations


@pytest.mark.slow
@pytest.mark.parametrize("law", [linear_law, curved_law, clustered_law])
def test_intervals_cover(law):
    # Of 500 tables alone the share has a standard error of .01, half the width of the band.
    assert 0.92 <= coverage(law, 2000) <= 0.97


@pytest.mark.parametrize("law", [linear_law, curved_law, clustered_law])
def test_intervals_cover_in_a_few_tables(law):
    assert coverage(law, 5) >= 0.8


def test_a_large_trial_gives_the_effect():
    rng = np.random.default_rng(0)
    n = 20_000
    z = rng.normal(size=(n, 1))
    t = rng.integers(0, 2, n)
    y = 0.2 * t + 0.5 * z[:, 0] + rng.normal(size=n)
    assert abs(AIPW(n_folds=2).fit(y, t, W=z).ate() - 0.2) < 0.03


def test_confounding_is_removed(confounded):
    df = confounded(2000)
    naive = df.y[df.t == 1].mean() - df.y[df.t == 0].mean()
    adjusted = AIPW().fit(df.y, df.t, W=df[["a", "b"]]).average_effect()
    assert naive > 1.5
    assert abs(adjusted.value - 1) < 4 * adjusted.se < 0.3


def test_without_covariates_it_is_the_difference_in_means(confounded):
    df = confounded()
    found = AIPW().fit(df.y, df.t).average_effect()
    treated, control = df.y[df.t == 1], df.y[df.t == 0]
    assert found.value == pytest.approx(treated.mean() - control.mean(), abs=0.02)
    welch = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
    assert found.se == pytest.approx(welch, rel=0.05)


def test_the_treated_differ_from_all_where_the_effect_follows_the_propensity():
    rng = np.random.default_rng(0)
    n = 3000
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(int)
    y = (1 + z) * t + z + rng.normal(size=n)
    estimator = AIPW().fit(y, t, W=z.reshape(-1, 1))
    on_treated = (1 + z)[t == 1].mean()
    on_control = (1 + z)[t == 0].mean()
    assert abs(estimator.ate() - 1) < 0.15
    low, high = estimator.att_interval()
    assert low < on_treated < high and on_treated > 1.3
    assert abs(estimator.att(T0=1, T1=0) + on_control) < 0.15


def test_weights_equal_repeated_rows():
    z, t, y, _ = linear_law(400, 0)
    weight = np.random.default_rng(1).integers(1, 4, 400)
    rows = np.repeat(np.arange(400), weight)
    # Groups keep the copies of a row in one fold, as its weight is.
    weighted = AIPW().fit(y, t, W=z, sample_weight=weight.astype(float), groups=np.arange(400))
    repeated = AIPW().fit(y[rows], t[rows], W=z[rows], groups=rows)
    one, two = weighted.average_effect(), repeated.average_effect()
    assert one.value == pytest.approx(two.value, abs=0.25 * one.se)
    assert one.se == pytest.approx(two.se, rel=0.1)


def test_scaling_the_weights_changes_nothing():
    z, t, y, _ = linear_law(300, 0)
    weight = np.random.default_rng(1).random(300)
    one = AIPW().fit(y, t, W=z, sample_weight=weight)
    two = AIPW().fit(y, t, W=z, sample_weight=1000 * weight)
    assert one.average_effect().value == pytest.approx(two.average_effect().value, rel=1e-9)
    assert one.average_effect().se == pytest.approx(two.average_effect().se, rel=1e-9)


def test_average_over_given_rows_agrees_with_the_mean_effect():
    z, t, y, _ = curved_law(500, 0)
    estimator = AIPW().fit(y, t, X=z)
    assert estimator.ate(z) == pytest.approx(estimator.effect(z).mean())
    assert estimator.ate() == pytest.approx(estimator.ate(z))
    assert np.corrcoef(estimator.effect(z), 1 + 0.5 * z[:, 0])[0, 1] > 0.7


def test_repeats_average_and_keep_the_error():
    z, t, y, _ = linear_law(300, 0)
    one, three = (AIPW(n_repeats=r).fit(y, t, W=z).average_effect() for r in (1, 3))
    assert abs(one.value - three.value) < one.se
    assert three.se == pytest.approx(one.se, rel=0.3)


def test_rows_with_tiny_propensities_are_named():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 1))
    t = (rng.random(500) < 1 / (1 + np.exp(-4 * z[:, 0]))).astype(int)
    y = pd.Series(t + z[:, 0] + rng.normal(size=500), index=[f"p{i}" for i in range(500)])
    with pytest.warns(CausalWarning, match="propensity below 0.2"):
        estimator = AIPW(clip=0.2).fit(y, pd.Series(t, index=y.index), W=z)
    assert len(estimator.clipped_) and set(estimator.clipped_) <= set(y.index)


@pytest.mark.parametrize("bad", [{"clip": 0}, {"clip": 0.7}, {"n_folds": 1}, {"n_repeats": 0}])
def test_parameters_are_checked(bad):
    z, t, y, _ = linear_law(100, 0)
    with pytest.raises(ParameterError, match=next(iter(bad))):
        AIPW(**bad).fit(y, t, W=z)


def test_an_arm_within_one_cluster_is_refused():
    z, _, y, groups = clustered_law(80, 0)
    with pytest.raises(DataError, match="one cluster"):
        AIPW().fit(y, (groups == 3).astype(int), W=z, groups=groups)
    with pytest.raises(DataError, match="2 clusters"):
        AIPW().fit(y, np.arange(80) % 2, groups=np.arange(80) // 40)


@pytest.mark.parametrize("arms", [("active", "placebo"), ("a", "b", "c")])
def test_one_end_of_a_contrast_is_compared_with_another_arm(arms):
    rng = np.random.default_rng(0)
    t = pd.Series(rng.choice(arms, 300), name="arm")
    y = np.array([arms.index(a) for a in t]) + rng.normal(size=300)
    fitted = AIPW(n_folds=2).fit(y, t)
    first, second = arms[:2]
    back = fitted.ate(T0=second, T1=first)
    assert back < -0.5
    assert fitted.ate(T0=second) == fitted.ate(T1=first) == back
    assert fitted.ate(T0=first) == fitted.ate(T1=second) == fitted.ate() == -back


def test_people_far_from_those_fitted_are_named():
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"age": rng.uniform(20, 80, 200)})
    fitted = AIPW(n_folds=2).fit(rng.normal(size=200), rng.integers(0, 2, 200), X=x)
    new = pd.DataFrame({"age": [50.0, 82.0, 120.0]}, index=["ann", "bob", "eve"])
    with pytest.warns(CausalWarning, match=r"'age' of 1 row .* \(first at row eve: 120\)"):
        fitted.effect_interval(new)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CausalWarning)
        fitted.effect(new.iloc[:2])
        fitted.effect()


def test_an_arm_is_compared_with_another_one(confounded):
    df = confounded(200)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    assert fitted.ate(T0=1) == fitted.ate(T1=0) == pytest.approx(-fitted.ate())
    asked = {"treatment": "t", "outcome": "y", "estimator": "AIPW"}
    found = estimate(df, ["b"], **asked, T1=0)
    assert (found.t0, found.t1) == (1, 0) and found.value < 0
    with pytest.raises(QuestionError, match="with itself"):
        estimate(df, ["b"], **asked, T0=1.0, T1=1)

"""Instruments: hidden confounding is removed, weak and wrong instruments are told."""

import numpy as np
import pytest

from workbench.core.errors import CausalWarning, DataError, QuestionError
from workbench.effects import LinearDML, LinearDRIV, OrthoIV, estimate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def dose_law(n, seed, clustered=False):
    """Effect 1 of a dose that a hidden cause moves too; the offer depends on x."""
    rng = np.random.default_rng(seed)
    x, groups, shared = rng.normal(size=(n, 2)), None, 0.0
    hidden = rng.normal(size=n)
    offer = 0.5 * x[:, 0] + rng.normal(size=n)
    if clustered:
        groups = np.repeat(np.arange(n // 4), 4)
        shared = rng.normal(size=n // 4)[groups]
        offer = offer + rng.normal(size=n // 4)[groups]
    d = offer + hidden + 0.5 * rng.normal(size=n)
    y = d + x[:, 0] + 2 * hidden + shared + rng.normal(size=n)
    return x, offer, d, y, groups


def offer_law(n, seed):
    """Effect 1 + x0/2 of taking up an offer that depends on x0."""
    rng = np.random.default_rng(seed)
    x, hidden = rng.normal(size=(n, 2)), rng.normal(size=n)
    offer = (rng.random(n) < 1 / (1 + np.exp(-0.5 * x[:, 0]))).astype(int)
    taken = (1.5 * offer + hidden + rng.normal(size=n) > 0.7).astype(int)
    y = (1 + 0.5 * x[:, 0]) * taken + x[:, 0] + 1.5 * hidden + rng.normal(size=n)
    return x, offer, taken, y


def test_hidden_confounding_is_removed():
    x, offer, d, y, _ = dose_law(1500, 0)
    adjusted = LinearDML(n_folds=3).fit(y, d, X=x).ate()
    assert adjusted > 1.5
    assert abs(OrthoIV(n_folds=3).fit(y, d, X=x, Z=offer).ate() - 1) < 0.2


@pytest.mark.parametrize("kind", [OrthoIV, LinearDRIV])
def test_the_effect_of_an_offer_taken_up(kind):
    x, offer, taken, y = offer_law(1500, 0)
    found = kind(n_folds=3).fit(y, taken, X=x, Z=offer)
    low, high = found.ate_interval()
    assert low < 1 < high and high - low < 2.5
    slope = found.effect([[1.0, 0.0]]) - found.effect([[0.0, 0.0]])
    assert abs(slope[0] - 0.5) < 0.6


def test_the_residual_regression_equals_econml_s():
    x, offer, d, y, _ = dose_law(300, 0)
    found = OrthoIV(n_folds=2).fit(y, d, X=x, Z=offer)
    encoded = (x[:5] - x.mean(axis=0)) / x.std(axis=0)
    foreign = np.ravel(found.model_.const_marginal_effect(encoded))
    np.testing.assert_allclose(found.effect(x[:5], T0=0, T1=1), foreign * y.std() / d.std())


def test_a_randomised_offer_without_covariates_gives_two_stage_least_squares():
    _, offer, d, y, _ = dose_law(800, 0)
    ratio = np.cov(y, offer)[0, 1] / np.cov(d, offer)[0, 1]
    assert OrthoIV(n_folds=2).fit(y, d, Z=offer).ate() == pytest.approx(ratio, abs=0.02)


def test_several_instruments_are_used_together():
    rng = np.random.default_rng(0)
    z, hidden = rng.normal(size=(1000, 3)), rng.normal(size=1000)
    d = z.sum(axis=1) + hidden
    y = 2 * d + 3 * hidden + rng.normal(size=1000)
    one, all_ = (OrthoIV(n_folds=2).fit(y, d, Z=z[:, :q]).average_effect() for q in (1, 3))
    assert all_.se < 0.8 * one.se
    assert abs(all_.value - 2) < 4 * all_.se
    with pytest.raises(QuestionError, match="'Z2'.*one instrument"):
        LinearDRIV().fit(y, (d > 0).astype(int), Z=z)


def test_instruments_that_can_not_be():
    x, offer, d, y, _ = dose_law(200, 0)
    with pytest.warns(CausalWarning, match="weak-instrument"):
        OrthoIV(n_folds=2).fit(y, d, X=x, Z=np.random.default_rng(1).normal(size=200))
    with pytest.raises(QuestionError, match="copy of the outcome"):
        OrthoIV().fit(y, d, X=x, Z=3 * y)
    with pytest.raises(DataError, match="'Z0'.*row 3"):
        OrthoIV().fit(y, d, X=x, Z=np.where(np.arange(200) == 3, np.nan, offer))
    arms = np.digitize(d, [-1, 1])
    with pytest.raises(QuestionError, match="1 usable column.*needs 2"):
        OrthoIV(discrete_treatment=True).fit(y, arms, X=x, Z=offer)


def test_a_front_door_of_estimates_refuses_without_an_instrument(confounded):
    with pytest.raises(QuestionError, match="needs an instrument"):
        estimate(confounded(), ["b"], treatment="d", outcome="yd", estimator="OrthoIV")


def test_there_are_no_refuters_for_instruments():
    from workbench.effects import refute

    _, _, d, y, _ = dose_law(100, 0)
    with pytest.raises(QuestionError, match="no refuters"):
        refute(OrthoIV(), y, d)


@pytest.mark.slow
@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_doses_cover(clustered):
    hits = 0
    for seed in range(200):
        x, offer, d, y, groups = dose_law(400, seed, clustered)
        low, high = OrthoIV(n_folds=3).fit(y, d, X=x, Z=offer, groups=groups).ate_interval()
        hits += low < 1 < high
    assert 0.91 <= hits / 200 <= 0.985


@pytest.mark.slow
def test_intervals_of_offers_cover():
    hits = 0
    for seed in range(200):
        x, offer, taken, y = offer_law(600, seed)
        low, high = LinearDRIV(n_folds=3).fit(y, taken, X=x, Z=offer).ate_interval()
        hits += low < 1 < high
    assert 0.9 <= hits / 200 <= 0.985

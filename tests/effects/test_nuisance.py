"""Nuisances: folds, bases and the choice of a candidate."""

import numpy as np
import pytest

from workbench.effects.learners import AutoClassifier, AutoRegressor
from workbench.effects.nuisance import Basis, cross_fit, fold_ids, propensities


def test_folds_keep_groups_together_and_spread_arms():
    groups = np.repeat(np.arange(20), 5)
    fold = fold_ids(100, 5, 0, groups=groups)
    assert all(len(set(fold[groups == g])) == 1 for g in range(20))
    arm = (np.arange(100) < 15).astype(int)
    fold = fold_ids(100, 5, 0, strata=arm)
    assert np.bincount(fold[arm == 1]).tolist() == [3] * 5
    assert set(fold_ids(100, 5, 0, strata=(np.arange(100) < 2).astype(int))) == {0, 1}


@pytest.mark.parametrize(
    ("law", "winner"),
    [
        (lambda z: z[:, 0], "linear"),
        (lambda z: z[:, 0] ** 2, "spline"),
        (lambda z: z[:, 0] * z[:, 1], "spline"),
        (lambda z: 2.0 * ((z[:, 0] > 0) ^ (z[:, 1] > 0.3)), "trees"),
    ],
)
def test_the_candidate_that_fits_the_law_is_chosen(law, winner):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 3))
    y = law(z) + 0.3 * rng.normal(size=1000)
    found = cross_fit(z, y, fold_ids(1000, 4, 0))
    assert found.chosen.startswith(winner)
    assert found.loss < 0.3


def test_predictions_never_saw_their_own_row():
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(300, 4)), rng.normal(size=300)
    found = cross_fit(z, noise, fold_ids(300, 5, 0))
    assert abs(np.corrcoef(found.values, noise)[0, 1]) < 0.15


def test_propensities_add_up_and_are_calibrated():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 2))
    arm = (rng.random(3000) < 1 / (1 + np.exp(-z[:, 0]))).astype(int)
    arm[rng.random(3000) < 0.2] = 2
    chance, _ = propensities(z, arm, 3, fold_ids(3000, 3, 0, strata=arm))
    np.testing.assert_allclose(chance.sum(axis=1), 1)
    assert abs(chance[:, 2].mean() - 0.2) < 0.03
    top = chance[:, 1] > 0.5
    assert (arm[top] == 1).mean() == pytest.approx(chance[top, 1].mean(), abs=0.06)


def test_splines_are_linear_beyond_the_outer_knots():
    basis = Basis.fit(np.linspace(-2, 2, 200).reshape(-1, 1))
    far = basis.transform(np.array([[3.0], [4.0], [5.0]]))
    np.testing.assert_allclose(far[2] - far[1], far[1] - far[0], atol=1e-9)


def test_units_do_not_change_the_learners():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = x[:, 0] + rng.normal(size=200)
    one = AutoRegressor().fit(x, y).predict(x)
    two = AutoRegressor().fit(1000 * x, 50 * y + 3).predict(1000 * x)
    np.testing.assert_allclose(two, 50 * one + 3, rtol=1e-6)


def test_classifier_gives_probabilities_by_class():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    label = np.array(["no", "yes"])[(x[:, 0] + rng.normal(size=300) > 0).astype(int)]
    model = AutoClassifier().fit(x, label)
    chance = model.predict_proba(x)
    np.testing.assert_allclose(chance.sum(axis=1), 1)
    assert ((model.predict(x) == label).mean()) > 0.7
    assert chance.min() >= 0.005

"""econml's estimators behind the gate: the same numbers, better errors, clear refusals."""

import numpy as np
import pytest

from workbench.core.errors import CausalWarning, ParameterError, QuestionError
from workbench.effects import CausalForestDML, DRLearner, LinearDML

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def dose_law(n, seed, clustered=False):
    rng = np.random.default_rng(seed)
    z, groups, shared = rng.normal(size=(n, 4)), None, 0.0
    d = 0.6 * z[:, 0] - 0.4 * z[:, 1] + rng.normal(size=n)
    if clustered:
        groups = np.repeat(np.arange(n // 4), 4)
        shared = rng.normal(size=n // 4)[groups]
        d = d + rng.normal(size=n // 4)[groups]
    y = d + z[:, 0] + 0.5 * z[:, 1] + shared + rng.normal(size=n)
    return z, d, y, groups


def arms_law(n, seed):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.6 * z[:, 0] + 0.4 * z[:, 1]))).astype(int)
    level = np.sin(1.5 * z[:, 0]) + 0.5 * z[:, 1] ** 2
    return z, t, (1 + 0.5 * z[:, 0]) * t + level + rng.normal(size=n), None


def coverage(make, law, simulations, split=1, **options):
    hits = 0
    for seed in range(simulations):
        z, t, y, groups = law(400, seed, **options)
        low, high = make().fit(y, t, X=z[:, :split], W=z[:, split:], groups=groups).ate_interval()
        hits += low < 1 < high
    return hits / simulations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "law", "options"),
    [
        (LinearDML, dose_law, {}),
        (LinearDML, dose_law, {"clustered": True}),
        (LinearDML, arms_law, {}),
        (DRLearner, arms_law, {}),
        (lambda: CausalForestDML(n_trees=100), arms_law, {}),
        (lambda: CausalForestDML(n_trees=100), dose_law, {}),
    ],
)
def test_intervals_cover(make, law, options):
    assert 0.92 <= coverage(make, law, 300, **options) <= 0.98


@pytest.mark.parametrize(("make", "law"), [(LinearDML, dose_law), (DRLearner, arms_law)])
def test_intervals_cover_in_a_few_tables(make, law):
    assert coverage(make, law, 5) >= 0.8


def test_the_final_stage_equals_econml_s():
    z, d, y, _ = dose_law(300, 0)
    estimator = LinearDML().fit(y, d, X=z[:, :2], W=z[:, 2:])
    encoded = (z[:5, :2] - z[:, :2].mean(axis=0)) / z[:, :2].std(axis=0)
    foreign = estimator.model_.const_marginal_effect(encoded)
    np.testing.assert_allclose(
        estimator.const_marginal_effect(z[:5, :2]), foreign * y.std() / d.std()
    )


def test_errors_agree_with_econml_s_where_rows_are_independent():
    z, t, y, _ = arms_law(400, 0)
    estimator = LinearDML().fit(y, t, W=z)
    rest_y, rest_t, *_ = estimator.model_.residuals_
    from econml.sklearn_extensions.linear_model import StatsModelsLinearRegression

    rest_t = rest_t.reshape(-1, 1)
    model = StatsModelsLinearRegression(fit_intercept=False, cov_type="HC1").fit(rest_t, rest_y)
    theirs = float(model.coef_stderr_[0]) * y.std()
    assert estimator.average_effect().se == pytest.approx(theirs, rel=0.02)


def test_effects_that_bend_are_found_by_the_forest():
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(1500, 1))
    t = rng.integers(0, 2, 1500)
    y = 2.0 * (x[:, 0] > 0) * t + 0.5 * rng.normal(size=1500)
    effects = CausalForestDML(n_trees=100).fit(y, t, X=x).effect(np.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(effects, [0, 2], atol=0.35)


def test_clusters_make_pointwise_forest_intervals_and_dr_errors_refuse():
    z, t, y, _ = arms_law(200, 0)
    groups = np.arange(200) // 4
    forest = CausalForestDML(n_trees=16).fit(y, t, X=z, groups=groups)
    assert forest.average_effect().se > 0
    with pytest.raises(QuestionError, match="ignore clusters.*AIPW"):
        forest.effect_interval(z[:2])
    learner = DRLearner().fit(y, t, X=z, groups=groups)
    with pytest.raises(QuestionError, match="ignore clusters.*AIPW"):
        learner.effect_interval(z[:2])
    with pytest.raises(QuestionError, match="AIPW"):
        learner.ate_interval()


def test_dr_errors_need_the_first_arm():
    rng = np.random.default_rng(0)
    arm = rng.integers(0, 3, 200)
    names = np.array(["a0", "a1", "a2"])[arm]
    learner = DRLearner(n_folds=2).fit(1.0 * arm + rng.normal(size=200), names)
    assert learner.ate(T0="a1", T1="a2") == pytest.approx(1, abs=0.6)
    with pytest.raises(QuestionError, match="first arm"):
        learner.effect_interval(T0="a1", T1="a2")


def test_what_the_common_effect_is_not():
    z, t, y, _ = arms_law(200, 0)
    with pytest.warns(CausalWarning, match="common-effect"):
        LinearDML(n_folds=2).fit(y, t, W=z)


def test_the_forest_needs_x_that_varies():
    z, t, y, _ = arms_law(100, 0)
    with pytest.raises(QuestionError, match="X"):
        CausalForestDML().fit(y, t, W=z)
    with pytest.raises(QuestionError, match="same in every row"):
        CausalForestDML().fit(y, t, X=np.ones((100, 1)), W=z)


@pytest.mark.parametrize(
    ("estimator", "name"),
    [
        (LinearDML(n_folds=1), "n_folds"),
        (CausalForestDML(n_trees=7), "n_trees"),
        (DRLearner(clip=0.6), "clip"),
    ],
)
def test_parameters_are_checked(estimator, name):
    z, t, y, _ = arms_law(100, 0)
    with pytest.raises(ParameterError, match=name):
        estimator.fit(y, t, X=z)

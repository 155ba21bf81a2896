"""S-, T-, X-, R- and doubly robust learner: what they are, by hand and beside econml's."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import LassoCV, LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from workbench import Schema
from workbench.core.errors import CausalWarning, DataError, ParameterError
from workbench.core.saving import load, save
from workbench.core.seeding import spawn
from workbench.effects import NonParamDRLearner, RLearner, SLearner, TLearner, XLearner
from workbench.effects.folded import folded_rows
from workbench.tables.effect_data import effect_data

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
ALL = [SLearner, TLearner, XLearner, RLearner, NonParamDRLearner]


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory):
    """What is slow to import is imported outside the tests' own time."""
    same_and_saved(TLearner, LinearRegression(), tmp_path_factory.mktemp("first"))


def law(n=400, seed=0, effect=lambda x: 1 + x[:, 0], noise=1.0, arms=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    if arms == 2:
        t = (rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 1]))).astype(int)
    else:
        t = rng.integers(0, arms, n)
    return x, t, effect(x) * t + x[:, 1] + noise * rng.normal(size=n)


def folds_of(estimator, x, t, y):
    """The rows as the estimator saw them, (FoldedRows sorted by content, unit of the outcome)."""
    data = effect_data(y, t, X=x)
    seed = spawn(spawn(estimator.random_state, 2)[1], 2)[0]
    rows, _, _, unit = folded_rows(data, estimator.n_folds, estimator.overlap_.score, seed)
    return rows.arranged(), unit


def ols(z, y, weight=None):
    design = np.hstack([np.ones((len(z), 1)), z])
    root = np.ones(len(z)) if weight is None else np.sqrt(weight)
    return np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]


def line(coef, z):
    return coef[0] + z @ coef[1:]


def test_t_learner_with_least_squares_is_two_regressions():
    x, t, y = law()
    estimator = TLearner(LinearRegression(), n_folds=3).fit(y, t, X=x)
    rows, unit = folds_of(estimator, x, t, y)
    z = (x[:7] - x.mean(axis=0)) / x.std(axis=0)
    expected = []
    for k in range(3):
        coefs = [
            ols(rows.z[at], rows.y[at])
            for at in (rows.learning(k) & (rows.arm == a) for a in (0, 1))
        ]
        expected.append((line(coefs[1], z) - line(coefs[0], z)) * unit)
    np.testing.assert_allclose(estimator.effect(x[:7]), np.mean(expected, axis=0), rtol=1e-9)


def test_x_learner_by_hand():
    x, t, y = law()
    estimator = XLearner(LinearRegression(), propensity=LogisticRegression(), n_folds=3)
    estimator.fit(y, t, X=x)
    rows, unit = folds_of(estimator, x, t, y)
    z = (x[:7] - x.mean(axis=0)) / x.std(axis=0)
    expected = []
    for k in range(3):
        control, treated = (rows.learning(k) & (rows.arm == a) for a in (0, 1))
        m0, m1 = (ols(rows.z[at], rows.y[at]) for at in (control, treated))
        tau0 = ols(rows.z[control], line(m1, rows.z[control]) - rows.y[control])
        tau1 = ols(rows.z[treated], rows.y[treated] - line(m0, rows.z[treated]))
        chance = LogisticRegression().fit(rows.z[control | treated], rows.arm[control | treated])
        e = chance.predict_proba(z)[:, 1]
        expected.append((e * line(tau0, z) + (1 - e) * line(tau1, z)) * unit)
    np.testing.assert_allclose(estimator.effect(x[:7]), np.mean(expected, axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", [RLearner, NonParamDRLearner])
def test_a_linear_effect_is_recovered_whatever_the_outcome(kind):
    rng = np.random.default_rng(0)
    x, t, y = law(1500)
    y = y + np.sin(3 * x[:, 1]) + (x[:, 2] > 0)
    estimator = kind("auto", final=LinearRegression(), n_folds=3).fit(y, t, X=x)
    at = rng.normal(size=(200, 3))
    fit = ols(at, estimator.effect(at))
    np.testing.assert_allclose(fit, [1, 1, 0, 0], atol=0.25)


@pytest.mark.parametrize("kind", [SLearner, TLearner, XLearner, NonParamDRLearner])
def test_a_noiseless_linear_law_is_found_exactly(kind):
    x, t, y = law(120, noise=0.0, effect=lambda x: 2.0)
    effect = kind(LinearRegression(), n_folds=3).fit(y, t, X=x).effect(x[:9])
    np.testing.assert_allclose(effect, 2, atol=1e-8)


@pytest.mark.parametrize("name", ["SLearner", "TLearner", "XLearner"])
def test_econml_gives_the_same_where_it_is_fitted_on_the_same_rows(name):
    import econml.metalearners as foreign

    x, t, y = law()
    kind = {"SLearner": SLearner, "TLearner": TLearner, "XLearner": XLearner}[name]
    options = {"propensity": LogisticRegression()} if name == "XLearner" else {}
    estimator = kind(LinearRegression(), n_folds=3, **options).fit(y, t, X=x)
    rows, unit = folds_of(estimator, x, t, y)
    z = (x[:7] - x.mean(axis=0)) / x.std(axis=0)
    theirs = []
    for k in range(3):
        models = {"overall_model" if name == "SLearner" else "models": LinearRegression()}
        if name == "XLearner":
            models["propensity_model"] = LogisticRegression()
        at = rows.learning(k)
        learner = getattr(foreign, name)(**models).fit(rows.y[at], rows.arm[at], X=rows.z[at])
        theirs.append(np.ravel(learner.effect(z)) * unit)
    np.testing.assert_allclose(estimator.effect(x[:7]), np.mean(theirs, axis=0), rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_a_row_left_out_has_no_say_in_its_fold_s_model(kind):
    x, t, y = law(90)
    estimator = kind(LinearRegression(), n_folds=3).fit(y, t, X=x)
    rows, _ = folds_of(estimator, x, t, y)
    first = rows.fold == 0
    changed = replace(rows, y=np.where(first, 100 + rows.y, rows.y))
    one, two = (estimator._fit_folds(r, spawn(0, 1)[0]) for r in (rows, changed))
    np.testing.assert_array_equal(one.effects(rows.z)[0], two.effects(rows.z)[0])
    np.testing.assert_array_equal(one.outcomes(rows.z)[0], two.outcomes(rows.z)[0])
    assert not np.array_equal(one.effects(rows.z)[1], two.effects(rows.z)[1])


@pytest.mark.parametrize("kind", [RLearner, NonParamDRLearner])
def test_a_row_has_no_say_in_its_own_target(kind):
    x, t, y = law(90)
    estimator = kind(LinearRegression(), n_folds=3).fit(y, t, X=x)
    rows, _ = folds_of(estimator, x, t, y)
    seen = []

    for shift in (0.0, 1.0):
        moved = replace(rows, y=rows.y + shift * (np.arange(90) == 5))
        estimator._effects_without = lambda f, final, r, first, chance, seed: (
            seen.append((f, first[5])) or (lambda z: np.zeros(len(z)),)
        )
        estimator._fit_folds(moved, spawn(0, 1)[0])
    half = len(seen) // 2
    for (f, before), (_, after) in zip(seen[:half], seen[half:], strict=True):
        assert f == rows.fold[5] or np.array_equal(before, after)


@pytest.mark.parametrize("kind", ALL)
def test_outcomes_differ_by_the_effect(kind):
    x, t, y = law(arms=3)
    estimator = kind("linear", n_folds=3).fit(y, t, X=x)
    outcomes = estimator.predict_outcomes(x[:20])
    assert outcomes.shape == (20, 3)
    for k in (1, 2):
        np.testing.assert_allclose(
            outcomes[:, k] - outcomes[:, 0], estimator.effect(x[:20], T0=0, T1=k), atol=1e-9
        )
    assert np.corrcoef(outcomes[:, 0], x[:20, 1])[0, 1] > 0.5


def same_and_saved(kind, learner, folder):
    x, t, y = law(90)
    estimator, again = (kind(learner, n_folds=3).fit(y, t, X=x) for _ in range(2))
    np.testing.assert_array_equal(estimator.effect(x), again.effect(x))
    save(estimator, folder / "e")
    back = load(folder / "e")
    np.testing.assert_array_equal(back.effect(x), estimator.effect(x))
    assert repr(back.learner) == repr(learner)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("learner", ["lightgbm", LinearRegression()], ids=str)
def test_a_learner_gives_the_same_each_time_and_is_saved(kind, learner, tmp_path):
    same_and_saved(kind, learner, tmp_path)


@pytest.mark.parametrize(
    "learner",
    [
        RandomForestRegressor(5),
        ExtraTreesRegressor(5),
        GradientBoostingRegressor(n_estimators=5),
        HistGradientBoostingRegressor(max_iter=5),
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=30),
        KNeighborsRegressor(),
        SVR(),
        LassoCV(cv=3),
        make_pipeline(StandardScaler(), Ridge()),
        "spline",
        "auto",
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_any_learner_will_do(learner, tmp_path):
    same_and_saved(TLearner, learner, tmp_path)


@pytest.mark.parametrize("kind", [SLearner, TLearner])
def test_a_classifier_predicts_an_outcome_of_two_values(kind):
    x, t, y = law(300)
    estimator = kind(LogisticRegression(), n_folds=3).fit((y > 0).astype(int), t, X=x)
    outcomes = estimator.predict_outcomes(x)
    assert ((outcomes > 0) & (outcomes < 1)).all()
    with pytest.raises(ParameterError, match="'learner'.*classifier"):
        kind(LogisticRegression()).fit(y, t, X=x)


def test_what_can_not_learn_is_refused_by_name():
    x, t, y = law(60)
    weight = 1 + np.arange(60) % 2
    with pytest.raises(ParameterError, match="'learner'.*lightgbm"):
        TLearner("lightgbn").fit(y, t, X=x)
    with pytest.raises(ParameterError, match="'learner'.*int"):
        TLearner(3).fit(y, t, X=x)
    with pytest.raises(ParameterError, match="'final'.*classifier"):
        XLearner("linear", final=LogisticRegression()).fit(y, t, X=x)
    with pytest.raises(ParameterError, match="sample_weight.*KNeighborsRegressor"):
        TLearner(KNeighborsRegressor()).fit(y, t, X=x, sample_weight=weight)
    with pytest.raises(ParameterError, match="could not be fitted to"):
        TLearner(KNeighborsRegressor(999)).fit(y, t, X=x)
    for kind in (RLearner, NonParamDRLearner):
        with pytest.raises(ParameterError, match="'n_folds'.*3"):
            kind(n_folds=2).fit(y, t, X=x)
        with pytest.raises(ParameterError, match="'clip'"):
            kind(clip=0.7).fit(y, t, X=x)
        with pytest.raises(DataError, match="three folds"):
            kind().fit(y, (np.arange(60) < 2).astype(int), X=x)


def test_an_arm_of_two_rows_is_answered():
    x, _, y = law(60)
    t = (np.arange(60) < 2).astype(int)
    for kind in (SLearner, TLearner, XLearner):
        assert np.isfinite(kind("linear").fit(y, t, X=x).effect(x)).all()


def ihdp(replicates):
    folder = Path(os.environ.get("WORKBENCH_DATA", "")) / "ihdp"
    if "WORKBENCH_DATA" not in os.environ or not folder.exists():
        pytest.skip("WORKBENCH_DATA has no ihdp")
    train, test = (np.load(folder / f"ihdp_npci_1-100.{part}.npz") for part in ("train", "test"))
    for r in replicates:
        tau = test["mu1"][:, r] - test["mu0"][:, r]
        rows = (train[k][..., r] for k in ("x", "t", "yf"))
        yield *rows, test["x"][..., r], tau


def test_a_learner_that_shrinks_is_told():
    x, t, y = law(effect=lambda x: 2.0)
    with pytest.warns(CausalWarning, match="average-differs.*'T0'.*this learner shrinks"):
        found = SLearner(Ridge(alpha=3000.0)).fit(y, t, X=x)
    assert found.effect().mean() < 1 < found.ate()
    assert "average-differs" not in {w.code for w in TLearner("linear").fit(y, t, X=x).warnings_}


def test_a_linear_s_learner_lets_effects_differ_and_leaves_them_their_size():
    x, t, y = law(2000, arms=3)
    at = np.array([[-1.0, 0, 0], [1.0, 0, 0]])
    found = SLearner("linear").fit(y, t, X=x).const_marginal_effect(at)
    np.testing.assert_allclose(found, [[0, 0], [2, 4]], atol=0.35)


def error(kind, tables):
    found = []
    for x, t, y, at, tau in tables:
        effect = kind().fit(y, t.astype(int), X=x).effect(at)
        found.append(np.sqrt(np.mean((effect - tau) ** 2)))
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "anchor"), [(TLearner, 2.4), (SLearner, 3.4), (XLearner, 3.1)])
def test_ihdp(kind, anchor):
    assert error(kind, ihdp(range(100))) < anchor


@pytest.mark.slow
def test_acic():
    folder = Path(os.environ.get("WORKBENCH_DATA", "")) / "acic2016"
    if "WORKBENCH_DATA" not in os.environ or not folder.exists():
        pytest.skip("WORKBENCH_DATA has no acic2016")
    x = pd.get_dummies(pd.read_csv(folder / "x.csv.gz").filter(like="x_"), drop_first=True)
    few = x.nunique() == 2  # in all rows: some counts show two values only in the first 4,000
    kinds = {n: {"kind": "binary" if few[n] else "continuous"} for n in x}
    schema = Schema.infer(x := x.astype(float)).correct(kinds)
    errors = []
    with np.load(folder / "acic2016_pairnet_settings_2_7_26_sims_1-10.npz") as z:
        for i in range(len(z["sim"])):
            y, t = (pd.Series(z[n][i, :4000].astype(k)) for n, k in (("y", float), ("z", int)))
            data = effect_data(y.rename("y"), t.rename("t"), X=x.iloc[:4000], schema=schema)
            found = XLearner().fit_data(data).effect(x.iloc[4000:])
            errors.append(np.sqrt(np.mean((found - (z["mu1"] - z["mu0"])[i, 4000:]) ** 2)))
    assert np.mean(errors) < 2.0

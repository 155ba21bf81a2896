"""Ends of the range, stretches without doses, skewed doses, labels, and questions refused."""

import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, ParameterError, QuestionError
from workbench.effects import (
    GIKS,
    DoseGP,
    DoseSLearner,
    LinearDML,
    PolynomialDML,
    estimate,
    fit_together,
)
from workbench.effects.doses.rearrangement import Rearrangement


def table(n=200, seed=0):
    """y = dose + x + noise, doses 0 to 8 that follow x."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    dose = 8 / (1 + np.exp(-0.5 * x - rng.normal(size=n)))
    return pd.DataFrame({"x": x, "dose": dose, "y": dose + x + 0.3 * rng.normal(size=n)})


def quick(df, **more):
    return DoseGP(kernels=["main"], steps=15, **more).fit(df.y, df.dose, X=df[["x"]])


@pytest.fixture(scope="module")
def fitted():
    df = table()
    return quick(df), df


@pytest.mark.parametrize("learner", ["linear", "lightgbm"])
@pytest.mark.parametrize("monotone", [None, "increasing"])
def test_slopes_at_the_ends_are_those_of_the_curve(learner, monotone):
    df = table(80)
    found = DoseSLearner(learner, n_folds=3, monotone=monotone).fit(
        df.dose + df.x, df.dose, X=df[["x"]]
    )
    low, high = found.dose_range_
    width, step = found.scales_.dose_width, np.full(2, 0.025)
    if monotone:
        step = found.rearrangement_.step(np.array([0.0, 1.0]))
    for end, inner in ((low, low + step[0] * width), (high, high - step[1] * width)):
        level = found.dose_response(df[["x"]], [end, inner])
        slope = (level[:, 1] - level[:, 0]) / (inner - end)
        np.testing.assert_allclose(found.marginal_effect(end, df[["x"]]), slope, atol=1e-6)
    if learner == "linear":
        np.testing.assert_allclose(found.marginal_effect(high, df[["x"]]), 1, rtol=0.05)


def test_long_stretches_with_hardly_any_dose_leave_monotone_curves_alone():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 2))
    dose = np.exp(1.5 * rng.normal(size=300) + 0.5 * x[:, 0])
    y = np.log1p(dose) + x[:, 1] + 0.2 * rng.normal(size=300)
    at = np.quantile(dose, [0.05, 0.25, 0.5, 0.75, 0.9])
    known = DoseGP(kernels=["full"], steps=30, monotone="increasing").fit(y, dose, X=x)
    gap = known.average_dose_response(at) - np.log1p(at) - x[:, 1].mean()
    assert np.abs(gap).max() < 0.3


def test_a_direction_that_the_table_contradicts_is_told():
    df, flat = table(), np.random.default_rng(5).normal(size=200)
    with pytest.warns(CausalWarning, match="not-monotone.*rises by"):
        quick(df, monotone="decreasing")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(df, monotone="increasing")
        quick(df.assign(y=df.x + 0.3 * flat), monotone="increasing")


def test_a_monotone_curve_stays_and_another_is_sorted():
    rng = np.random.default_rng(0)
    rule = Rearrangement.of(np.r_[0.0, rng.beta(0.4, 3, 300), 1.0], rng.random(302) + 0.1)
    assert rule.dose[0] == 0 and rule.dose[-1] == 1 and rule.mass.sum() == pytest.approx(1)
    up = np.stack([rule.dose**0.3, np.exp(rule.dose)])
    np.testing.assert_allclose(rule.sorted(up, "increasing"), up, atol=1e-12)
    np.testing.assert_allclose(rule.sorted(-up, "decreasing"), -up, atol=1e-12)
    waves = np.sin(9 * rule.dose)[None]
    for direction, sign in (("increasing", 1), ("decreasing", -1)):
        found = rule.sorted(waves, direction)
        assert (sign * np.diff(found) >= 0).all()
        assert (found @ rule.mass)[0] == pytest.approx((waves @ rule.mass)[0], abs=0.02)


def test_the_picture_of_curves_says_whose_they_are_and_where_they_rest_on_others(fitted):
    learner, df = fitted
    average = learner.plot(df[["x"]].head(9))
    assert "of 9 rows" in average.get_ylabel() and "dashed" not in average.get_xlabel()
    odd = pd.DataFrame({"x": [3.0]})  # people like this one get high doses
    each = learner.plot(odd)
    whole, solid = (line.get_ydata() for line in each.lines)
    rare = learner.support(odd, learner.dose_grid(65)[None])[0] < 0.05
    assert 0 < rare.sum() < 65 and "dashed" in each.get_xlabel()
    np.testing.assert_array_equal(np.isnan(solid), rare)
    np.testing.assert_array_equal(solid[~rare], whole[~rare])
    with pytest.raises(QuestionError, match="0 rows"):
        learner.plot(odd.head(0))


def test_doses_that_nobody_received_have_no_support():
    rng, n = np.random.default_rng(0), 300
    x = rng.normal(size=(n, 1))
    ends = np.where(rng.random(n) < 0.5, rng.uniform(0, 2, n), rng.uniform(8, 10, n))
    some = np.where(rng.random(n) < 0.6, 0.0, rng.uniform(5, 10, n))
    levels = rng.integers(0, 6, n) * 2.0
    for dose, between in ((ends, [3, 5, 7]), (some, [1, 2.5, 4]), (levels, [1, 5, 9])):
        learner = DoseGP(kernels=["main"], steps=2).fit(x[:, 0] + dose, dose, X=x)
        assert (learner.support(x, [between]) == 0).all()
        assert (learner.support(x, [np.quantile(dose, [0.1, 0.9])]).mean(axis=0) > 0.3).all()
        best = learner.optimal_dose(x[:5], bounds=(0.1, 9.9), min_support=0.01)
        assert (np.abs(best[:, None] - dose).min(axis=1) < 0.51).all()


def test_averages_of_shares_stay_between_their_levels():
    df = table()
    df["y"] = (df.dose + np.random.default_rng(0).normal(size=len(df)) > 4) * 1
    low, high = quick(df).average_dose_response_interval()
    assert low.min() == 0 and high.max() == 1


def test_few_clusters_of_one_dose_each_are_told():
    df, by = table(40), np.repeat(np.arange(40), 4)
    many = df.iloc[by].reset_index(drop=True)
    many["y"] += np.random.default_rng(1).normal(size=160)
    learner = DoseGP(kernels=["main"], steps=2)
    with pytest.warns(CausalWarning, match="40 clusters can't tell .* too narrow"):
        learner.fit(many.y, many.dose, X=many[["x"]], groups=by)
    own = many.dose + np.random.default_rng(2).random(160)
    learner.fit(many.y, own, X=many[["x"]], groups=by)
    assert not [w for w in learner.warnings_ if w.code == "sample-size"]


def test_labelled_doses_find_their_rows(fitted):
    learner, df = fitted
    x, mixed = df[["x"]].iloc[:6], df.dose.iloc[:6].sample(frac=1, random_state=0)
    for ask in (lambda t, x: learner.support(x, t), learner.marginal_effect):
        np.testing.assert_array_equal(ask(mixed, x), ask(df.dose.iloc[:6].to_numpy(), x))
        with pytest.raises(QuestionError, match="labels"):
            ask(mixed.set_axis(range(50, 56)), x)
    for other in (PolynomialDML(2), LinearDML(discrete_treatment=False)):
        other.fit(df.y, df.dose, X=df[["x"]])
        slope = other.marginal_effect(mixed, x)
        np.testing.assert_array_equal(slope, other.marginal_effect(mixed.loc[x.index], x))
        for wrong in ([1.0, 2.0], np.nan, "high", mixed.set_axis(range(50, 56))):
            with pytest.raises(QuestionError):
                other.marginal_effect(wrong, x)
    whole = df.dose.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(learner.support(None, whole), learner.support(None, df.dose))


@pytest.mark.parametrize("wrong", [
    lambda m, x: m.support(x, np.nan),
    lambda m, x: m.support(x, "high"),
    lambda m, x: m.marginal_effect("high", x),
    lambda m, x: m.dose_response(x, [[1.0, 2.0], [3.0, 4.0]]),
    lambda m, x: m.average_dose_response(x, [1.0, 2.0]),
    lambda m, x: m.optimal_dose(x, bounds="ab"),
])  # fmt: skip
def test_doses_that_are_none_are_refused(fitted, wrong):
    with pytest.raises((QuestionError, ParameterError), match="dose"):
        wrong(fitted[0], fitted[1][["x"]])


def test_only_networks_are_fitted_together():
    df = table(60)
    tables = [{"Y": df.y, "T": df.dose, "X": df[["x"]]}]
    with pytest.raises(ParameterError, match="network"):
        fit_together(DoseGP(), tables)
    with pytest.raises(ParameterError, match="tables"):
        fit_together(GIKS(), [])


@pytest.mark.parametrize("name, wrong", [
    ("bounds", lambda m, x: m.optimal_dose(x, bounds=(2.0,))),
    ("min_support", lambda m, x: m.optimal_dose(x, min_support=np.nan)),
    ("min_support", lambda m, x: m.optimal_dose(x, min_support=-0.1)),
    ("maximise", lambda m, x: m.optimal_dose(x, maximise="no")),
    ("'n'", lambda m, x: m.dose_grid(1)),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(fitted, name, wrong):
    with pytest.raises(ParameterError, match=name):
        wrong(fitted[0], fitted[1][["x"]])


def test_a_faster_estimator_of_something_else_refutes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"x": rng.normal(size=150), "t": rng.random(150)})
    df["y"] = 8 * (df.t - 0.5) ** 2 + df.x + 0.2 * rng.normal(size=150)
    line = LinearDML(discrete_treatment=False)
    monkeypatch.setattr(DoseGP, "for_refuting", lambda self: line)
    curve = DoseGP(kernels=["main"], steps=15, progress=False)
    found = estimate(
        df, ["x"], treatment="t", outcome="y", modifiers=["x"], estimator=curve,
        T0=0.5, T1=0.9, refute=True, simulations=2,
    ).refutations  # fmt: skip
    assert found.outcome != "passed" and "say nothing" in str(found.how()["faster estimator"])

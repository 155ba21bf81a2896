"""What every learner of curves answers, on a law with known curves, and what it refuses."""

import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, DataError, ParameterError, QuestionError
from workbench.effects import (
    GIKS,
    DoseGP,
    DosePairNet,
    DoseSLearner,
    DoseStack,
    DoseTARNet,
    DRNet,
    PolynomialDML,
    VCNet,
    fit_together,
)
from workbench.effects.doses.dose_gp import fit_forms
from workbench.effects.doses.giks import TEACHERS
from workbench.effects.doses.rows import DoseRows

QUICK = {"epochs": 15, "n_folds": 3, "progress": False}
LEARNERS = {
    "DoseStack": lambda **more: DoseStack(steps=8, **{**QUICK, **more}),
    "DoseGP": lambda **more: DoseGP(kernels=["main"], **{"steps": 20, "n_folds": 3, **more}),
    "GIKS": lambda **more: GIKS(steps=8, **{**QUICK, **more}),
    "VCNet": lambda **more: VCNet(**{**QUICK, **more}),
    "DRNet": lambda **more: DRNet(**{**QUICK, **more}),
    "DoseTARNet": lambda **more: DoseTARNet(**{**QUICK, **more}),
    "DosePairNet": lambda **more: DosePairNet(**{**QUICK, **more}),
    "DoseSLearner": lambda **more: DoseSLearner("spline", **{"n_folds": 3, **more}),
}


def people(n=150, seed=0):
    """mu = age / 10 - (dose - 4 - sick)^2, doses 0 to 8 that follow age."""
    rng = np.random.default_rng(seed)
    age, sick = rng.normal(50, 10, n), rng.integers(0, 2, n)
    dose = 8 / (1 + np.exp(-(age - 50) / 15 - rng.normal(size=n)))
    bp = age / 10 - (dose - 4 - sick) ** 2 + 0.3 * rng.normal(size=n)
    return pd.DataFrame({"age": age, "sick": sick, "dose": dose, "bp": bp})


@pytest.fixture(params=LEARNERS)
def new(request):
    return LEARNERS[request.param]


@pytest.fixture(scope="module")
def gp():
    df = people(250)
    return DoseGP(kernels=["full"]).fit(df.bp, df.dose, X=df[["age", "sick"]]), df


def fitted(new, df, **more):
    return new(**more).fit(df.bp, df.dose, X=df[["age", "sick"]])


def test_all_answers_agree_with_each_other(new):
    df = people()
    learner = fitted(new, df)
    x = df[["age", "sick"]].iloc[:7]
    grid = [1.0, 3.0, 6.0]
    curves = learner.dose_response(x, grid)
    assert curves.shape == (7, 3)
    np.testing.assert_allclose(learner.effect(x, T0=1, T1=6), curves[:, 2] - curves[:, 0])
    np.testing.assert_allclose(learner.average_dose_response(grid, x), curves.mean(axis=0))
    whole = learner.dose_response(grid=grid)
    np.testing.assert_allclose(learner.average_dose_response(grid), whole.mean(axis=0))
    assert learner.ate(T0=1, T1=6) == pytest.approx(whole[:, 2].mean() - whole[:, 0].mean())
    low, high = learner.dose_response_interval(x, grid)
    assert ((low <= curves) & (curves <= high)).all() and (low < high).any()
    low, high = learner.average_dose_response_interval(grid)
    assert (low < whole.mean(axis=0)).all() and (whole.mean(axis=0) < high).all()
    assert learner.dose_response(x).shape == (7, 64) == (7, len(learner.dose_grid()))
    np.testing.assert_allclose(learner.dose_response(x.iloc[[3]], grid), curves[[3]], rtol=1e-8)
    assert learner.dose_response(x.iloc[:0], grid).shape == (0, 3)


def test_slopes_are_those_of_the_curve(new):
    df = people()
    learner = fitted(new, df)
    x = df[["age", "sick"]].iloc[:5]
    step = 0.2 if isinstance(learner, DoseSLearner) else 1e-4
    if isinstance(learner, DRNet | DoseTARNet):  # half a stratum: curves jump between them
        step = np.ptp(df.dose) / learner.strata / 2
    up, down = (learner.dose_response(x, [2.17 + s])[:, 0] for s in (step, -step))
    slope = learner.marginal_effect(2.17, x)
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=0.02, atol=0.02)
    own = learner.marginal_effect([1.0, 2.17, 3.0, 4.0, 5.0], x)
    assert own.shape == (5,) and own[1] == pytest.approx(slope[1])
    with pytest.raises(QuestionError, match="dose"):
        learner.marginal_effect([1.0, 2.0], x)


def test_the_gaussian_process_finds_the_curves_and_the_best_doses(gp):
    learner, df = gp
    new = people(100, seed=1)
    x, grid = new[["age", "sick"]], np.linspace(1, 7, 13)
    truth = new.age.to_numpy()[:, None] / 10 - (grid - 4 - new.sick.to_numpy()[:, None]) ** 2
    found = learner.dose_response(x, grid)
    assert np.sqrt(((found - truth) ** 2).mean()) < 0.25
    best = learner.optimal_dose(x)
    np.testing.assert_allclose(best, 4 + new.sick, atol=0.25)
    worst = learner.optimal_dose(x, bounds=(3, 5), maximise=False)
    at_ends = np.isclose(worst, 3) | np.isclose(worst, 5)
    assert at_ends.mean() > 0.9
    slope = learner.marginal_effect(2.0, x)
    np.testing.assert_allclose(slope, -2 * (2 - 4 - new.sick), atol=0.6)


def test_support_tells_usual_doses_from_unheard_ones(gp):
    learner, df = gp
    old, young = (
        pd.DataFrame({"age": [75.0], "sick": [0]}),
        pd.DataFrame({"age": [25.0], "sick": [0]}),
    )
    grid = learner.dose_grid(400)[None]
    dense = learner.support(df[["age", "sick"]].iloc[:20], grid)
    np.testing.assert_allclose(dense.mean(axis=1), 1, atol=0.05)  # a density over the range
    assert learner.support(old, 7.0)[0] > 5 * learner.support(old, 0.7)[0]
    assert learner.support(young, 0.7)[0] > 5 * learner.support(young, 7.0)[0]
    assert learner.support(df[["age", "sick"]], df.dose).shape == (len(df),)
    assert (learner.support(old, [[-3.0, 50.0]]) == 0).all()
    with pytest.raises(QuestionError):
        learner.support(old, [1.0, 2.0])


def test_a_best_dose_that_nobody_like_one_receives_is_told(gp):
    learner, _ = gp
    very_old = pd.DataFrame({"age": [74.0], "sick": [0]})
    with pytest.warns(CausalWarning, match="hardly ever"):
        low = learner.optimal_dose(very_old, bounds=(0.1, 0.5))
    assert 0.1 <= low[0] <= 0.5
    with pytest.warns(CausalWarning, match="unknown"):
        none = learner.optimal_dose(very_old, bounds=(0.1, 0.5), min_support=0.5)
    assert np.isnan(none).all()
    with pytest.raises(ParameterError, match="bounds"):
        learner.optimal_dose(very_old, bounds=(3, 1))


@pytest.mark.parametrize("monotone", ["increasing", "decreasing"])
def test_curves_are_monotone_on_request(new, monotone):
    df = people()
    curves = fitted(new, df, monotone=monotone).dose_response(df[["age", "sick"]])
    steps = np.diff(curves, axis=1) * (1 if monotone == "increasing" else -1)
    assert (steps >= -1e-9).all()


def test_monotone_curves_have_the_slopes_that_are_shown():
    df = people()
    learner = fitted(LEARNERS["DoseGP"], df, monotone="increasing")
    assert (learner.marginal_effect(5.0) >= -1e-9).all()
    with pytest.raises(ParameterError, match="monotone"):
        fitted(LEARNERS["DoseGP"], df, monotone="up")


def test_doses_outside_the_range_are_marked(new):
    df = people()
    learner = fitted(new, df)
    with pytest.warns(CausalWarning, match="extrapolation"):
        learner.dose_response(df[["age", "sick"]], [20.0])
    for wrong in ([], [np.nan], ["high"]):
        with pytest.raises(QuestionError):
            learner.dose_response(df[["age", "sick"]], wrong)


def test_doses_that_make_no_curve(new):
    df = people()
    with pytest.raises(DataError, match="same value"):
        new().fit(df.bp, np.full(len(df), 2.0), X=df[["age"]])
    with pytest.raises(QuestionError, match="no curve"):
        new().fit(df.bp, np.where(df.dose > 4, 5.0, 1.0), X=df[["age"]])
    with pytest.warns(CausalWarning, match="few-doses"):
        new().fit(df.bp, df.dose.round(-1) + 2.0 * (df.sick + df.dose // 4), X=df[["age"]])
    with pytest.raises(QuestionError, match="'X'"):
        new().fit(df.bp, df.dose)


def test_twenty_rows_are_told(new):
    df = people(20)
    with pytest.warns(CausalWarning, match="sample-size"):
        learner = fitted(new, df)
    assert np.isfinite(learner.dose_response()).all()


def test_shares_stay_between_their_levels():
    df = people(200)
    ill = pd.Series(np.where(df.bp + 8 > np.random.default_rng(0).normal(0, 6, 200), 1, 0))
    learner = DoseGP(kernels=["main"], steps=15).fit(ill, df.dose, X=df[["age", "sick"]])
    curves = learner.dose_response()
    low, high = learner.dose_response_interval()
    assert curves.min() >= 0 and curves.max() <= 1 and low.min() >= 0 and high.max() <= 1


def test_units_of_dose_and_outcome_rescale_everything(new):
    df = people()
    one = fitted(new, df)
    other = fitted(new, df.assign(dose=df.dose * 10 + 5, bp=df.bp * 3 - 1))
    x = df[["age", "sick"]].iloc[:4]
    a, b = one.dose_response(x, [2.0]), other.dose_response(x, [25.0])
    np.testing.assert_allclose(b, 3 * a - 1, rtol=1e-4, atol=1e-4)
    slope = one.marginal_effect(2.0, x) * 0.3
    np.testing.assert_allclose(other.marginal_effect(25.0, x), slope, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.support(x, 2.0), other.support(x, 25.0), rtol=1e-6)


def test_contrasts_of_a_polynomial_agree_with_the_truth():
    df = people(800)
    found = PolynomialDML().fit(df.bp, df.dose, X=df[["sick"]], W=df[["age"]])
    x = pd.DataFrame({"sick": [0, 1]})
    truth = np.array([-((6 - 4 - s) ** 2) + (2 - 4 - s) ** 2 for s in (0, 1)])
    np.testing.assert_allclose(found.effect(x, T0=2, T1=6), truth, atol=0.7)
    low, high = found.effect_interval(x, T0=2, T1=6)
    assert (low < high).all()
    rise = (found.effect(x, T0=2.99, T1=3.01)) / 0.02
    np.testing.assert_allclose(found.marginal_effect(3.0, x), rise, rtol=1e-3)
    with pytest.raises(QuestionError, match="few for a curve"):
        PolynomialDML().fit(df.bp, df.dose.round(-1), X=df[["age"]])


def test_tables_fitted_together_are_those_fitted_alone():
    tables = [people(80, seed=s) for s in range(2)]
    asked = [{"Y": d.bp, "T": d.dose, "X": d[["age", "sick"]]} for d in tables]
    learner = GIKS(steps=3, epochs=20, n_folds=3, progress=False)
    for one, df in zip(fit_together(learner, asked), tables, strict=True):
        alone = GIKS(steps=3, epochs=20, n_folds=3, progress=False)
        alone.fit(df.bp, df.dose, X=df[["age", "sick"]])
        gap = one.dose_response() - alone.dose_response()
        assert np.abs(gap).max() < 1e-4 * df.bp.std()
        assert one.warnings_ == alone.warnings_ and one.n_ == 80
    with pytest.raises(ParameterError, match="covariates"):
        fit_together(learner, [asked[0], {**asked[1], "X": tables[1][["age"]]}])


def rows(n):
    rng = np.random.default_rng(0)
    z, t, y = rng.normal(size=(n, 3)), rng.random(n), rng.normal(size=n)
    return DoseRows(z, t, y, np.ones(n), None, np.arange(n) % 5, 5, np.arange(n), np.full(n, 0.5))


def test_nobody_is_taught_by_rows_held_out():
    learner, rng = GIKS(), np.random.default_rng(0)
    base = rows(50)
    learned = fit_forms(base, TEACHERS[:1], 2, False)
    one = learner._far_targets(base, learned, 0)
    changed = rows(50)
    changed.y[changed.fold == 0] = rng.normal(size=10)
    two = learner._far_targets(changed, learned, 0)
    np.testing.assert_array_equal(one["far_mean"][0], two["far_mean"][0])
    assert not np.array_equal(one["far_mean"][1], two["far_mean"][1])


@pytest.mark.parametrize("wrong", [
    {"ks_weight": -1}, {"width": 0.7}, {"smoother": "cosine"}, {"steps": 0}, {"n_folds": 1},
])  # fmt: skip
def test_parameters_that_make_no_sense(wrong):
    df = people(40)
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        GIKS(**{**QUICK, **wrong}).fit(df.bp, df.dose, X=df[["age"]])


def test_the_published_smoother_and_hsic_run_and_repeat():
    df = people(80)
    for learner in (
        GIKS(smoother="window", gi_weight=0.5, **QUICK),
        VCNet(hsic=1.0, knots="quantiles", **QUICK),
    ):
        one = learner.fit(df.bp, df.dose, X=df[["age", "sick"]]).dose_response()
        two = learner.fit(df.bp, df.dose, X=df[["age", "sick"]]).dose_response()
        np.testing.assert_array_equal(one, two)
        assert np.isfinite(one).all()


def test_the_stack_says_what_it_is_made_of():
    df = people(80)
    stack = LEARNERS["DoseStack"]().fit(df.bp, df.dose, X=df[["age", "sick"]])
    text = stack.explain()
    assert "15% moved" in text and "20% free network" in text and "GIKS" in text and "'bp'" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack.dose_response_interval(df[["age", "sick"]], [2.0, 3.0])


def test_intervals_of_a_polynomial_hold_a_confounded_curve():
    held = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=(500, 2))
        dose = w[:, 0] + rng.normal(size=500)
        y = dose**2 + w[:, 0] + rng.normal(size=500)
        fitted = PolynomialDML(n_folds=3).fit(y, dose, W=w)
        for t0, t1 in ((0, 1), (0, 2), (-1, 1)):
            low, high = fitted.ate_interval(T0=t0, T1=t1, alpha=0.01)
            held.append(low < t1**2 - t0**2 < high)
    assert np.mean(held) > 0.85

"""Predicted effects against what held-out rows show."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.core.seeding import spawn
from workbench.effects import calibration
from workbench.effects.calibration import best_linear_predictor
from workbench.effects.judge import Judge, gate
from workbench.effects.targeting import area_under_toc, ranks_within, toc

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def table(n=400, seed=0, slope=1.0, average=0.5):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.8 * a))).astype(int)
    y = t * (average + slope * a) + a + 0.5 * b + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "t": t, "y": y})


def test_the_sizes_of_differences_are_judged():
    df = table(500)
    options = {"W": df[["a", "b"]]}
    right = calibration(0.5 + df.a, df.y, df.t, **options)
    assert right.slope_low < 1 < right.slope_high and "agrees" in right.verdict()
    assert right.groups["effect"].is_monotonic_increasing
    assert right.calibration_r2 > 0.4 and right.autoc_low > 0
    assert right.average[1] < 0.5 < right.average[2]
    assert "exaggerated" in calibration(3 * df.a, df.y, df.t, **options).verdict()
    assert "understated" in calibration(0.3 * df.a, df.y, df.t, **options).verdict()
    wrong = calibration(-df.a, df.y, df.t, **options)
    assert "Wrong way" in wrong.verdict() and wrong.autoc_high < 0
    assert wrong.slope == pytest.approx(-right.slope)
    assert len(repr(right).split("\n")) <= 10


def test_it_agrees_with_econml_where_definitions_coincide():
    """Given the same scores: calibration R², slope (HC1 there, HC2 here) and group averages."""
    from econml.validate import DRTester

    df = table(300)
    found = calibration(df.a, df.y, df.t, W=df[["a", "b"]], n_groups=4)
    data, _ = gate(df.y, df.t, None, df[["a", "b"]], None, None, by_x=False)
    score = Judge(n_folds=5, random_state=spawn(0, 3)[1]).fit_data(data).scores_.score
    tester = DRTester(model_regression=None, model_propensity=None, cate=None)
    tester.treatments, tester.n_treat, tester.fit_on_train = np.array([0, 1]), 1, True
    tester.dr_val_ = score[:, 1:] - score[:, :1]
    tester.dr_train_ = tester.dr_val_
    tester.Dtrain = tester.Dval = df.t.to_numpy()
    tester.ate_val = tester.dr_val_.mean(axis=0)
    tester.cate_preds_val_ = tester.cate_preds_train_ = df[["a"]].to_numpy()
    theirs = tester.evaluate_cal(n_groups=4)
    assert found.calibration_r2 == pytest.approx(float(np.ravel(theirs.cal_r_squared)[0]))
    frame = theirs.plot_data_dict[1]
    np.testing.assert_allclose(found.groups["effect"], frame["gate"])
    np.testing.assert_allclose(found.groups["predicted"], frame["g_cate"])
    np.testing.assert_allclose(found.groups["se"], frame["se_gate"], rtol=0.02)
    blp = tester.evaluate_blp()
    assert found.slope == pytest.approx(blp.params[0])
    rest = (found.slope_high - found.slope_low) / 2 / 1.968
    assert rest == pytest.approx(blp.errs[0], rel=0.35)  # theirs takes equal variances


def test_the_slope_is_a_regression_with_an_intercept_per_fold():
    rng = np.random.default_rng(0)
    s, fold = rng.normal(size=90), np.arange(90) % 3
    score = 2 * s + 10 * fold + rng.normal(size=90)
    share = np.full(90, 1 / 90)
    slope, _ = best_linear_predictor(score, s, fold, share, None)
    design = np.column_stack([s, fold == 0, fold == 1, fold == 2]).astype(float)
    assert slope == pytest.approx(np.linalg.lstsq(design, score, rcond=None)[0][0])


def test_the_area_and_its_influence():
    rng = np.random.default_rng(1)
    score, priority = rng.normal(size=(2, 30))
    share = rng.random(30) + 0.5
    share /= share.sum()
    area, influence = area_under_toc(score, priority, share)
    order = np.argsort(-priority)
    by_hand = sum(
        share[order[j]] * np.average(score[order[: j + 1]], weights=share[order[: j + 1]])
        for j in range(30)
    )
    assert area == pytest.approx(by_hand - share @ score)
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    for i in range(30):
        more = share.copy()
        more[i] += 1e-6
        moved = area_under_toc(score, priority, more / more.sum())[0]
        assert influence[i] == pytest.approx((moved - area) / 1e-6 * share[i], abs=1e-5)


def test_ties_share_their_place():
    score = np.array([3.0, 1.0, 2.0, 0.0])
    share = np.full(4, 0.25)
    area, influence = area_under_toc(score, np.zeros(4), share)
    assert area == pytest.approx(0) and influence == pytest.approx(np.zeros(4))
    rank = ranks_within(np.array([1.0, 1.0, 5.0, 2.0, 0.0]), np.array([0, 0, 0, 1, 1]))
    np.testing.assert_allclose(rank, [1 / 3, 1 / 3, 5 / 6, 0.75, 0.25])


def test_estimators_are_judged_on_rows_they_have_not_seen():
    df = table(300)
    found = calibration("AIPW", df.y, df.t, X=df[["a", "b"]], n_folds=3)
    assert found.held_out == 3 and found.n == 150 and found.groups["n"].sum() == 150
    again = calibration("AIPW", df.y, df.t, X=df[["b", "a"]], n_folds=3)
    assert again.slope == pytest.approx(found.slope)


def test_one_effect_for_all_has_nothing_to_calibrate(tmp_path):
    df = table(200)
    found = calibration(np.full(200, 0.7), df.y, df.t, W=df[["a"]])
    assert np.isnan(found.slope) and len(found.groups) == 1 and found.autoc == pytest.approx(0)
    assert "Nothing to calibrate" in found.verdict()
    found.plot(), found.plot_toc()
    save(found, tmp_path / "c")
    assert repr(load(tmp_path / "c")) == repr(found)


def test_several_arms_clusters_and_labels():
    df = table(300)
    df["t"] = np.where(df.b > 0.8, 2, df.t)
    groups = pd.Series(np.arange(300) // 2, index=df.index)
    shuffled = df.a.sample(frac=1, random_state=0)
    options = {"W": df[["a"]], "groups": groups, "T0": 0, "T1": 1}
    one = calibration(shuffled, df.y, df.t, **options)
    assert one.slope == calibration(df.a, df.y, df.t, **options).slope
    assert one.contrast == "0 → 1"


def test_what_can_t_be_judged():
    df = table(100)
    gaps = df.a.where(df.index != 7)
    with pytest.raises(DataError, match=r"'effects'.*row 7"):
        calibration(gaps, df.y, df.t, W=df[["a"]])
    with pytest.raises(DataError, match="99"):
        calibration(df.a.to_numpy()[:99], df.y, df.t, W=df[["a"]])
    with pytest.raises(QuestionError, match="'X'"):
        calibration("AIPW", df.y, df.t)
    with pytest.raises(ParameterError, match="n_groups"):
        calibration(df.a, df.y, df.t, n_groups=1)
    with pytest.raises(QuestionError, match="itself"):
        calibration(df.a, df.y, df.t, T0=1, T1=1)
    with pytest.raises(ParameterError, match="alpha"):
        calibration(df.a, df.y, df.t, alpha=5)


def test_groups_with_too_few_rows_are_named():
    df = table(60)
    found = calibration(df.a, df.y, df.t, W=df[["a"]], n_groups=10)
    assert any(w.code in ("sample-size", "empty-group") for w in found.warnings)


@pytest.mark.slow
def test_intervals_cover():
    """Predictions 2a where the effect is 0.5 + a: slope 0.5, groups and area in closed form."""
    cuts = norm.pdf(norm.ppf(np.arange(6) / 5))
    truth = 0.5 + 5 * (cuts[:-1] - cuts[1:])
    ordered = norm.ppf(1 - (np.arange(100_000) + 0.5) / 100_000)
    area = np.mean(np.cumsum(ordered) / np.arange(1, 100_001))
    groups, slope, above, runs = np.zeros(5), 0, 0, 150
    for seed in range(runs):
        df = table(400, seed)
        found = calibration(2 * df.a, df.y, df.t, W=df[["a", "b"]])
        groups += (found.groups["low"] < truth) & (truth < found.groups["high"])
        slope += found.slope_low < 0.5 < found.slope_high
        above += found.autoc_low < area < found.autoc_high
    assert groups.mean() / runs > 0.92 and groups.min() / runs > 0.88
    assert slope / runs > 0.89 and above / runs > 0.89


@pytest.mark.slow
def test_differences_are_not_found_where_there_are_none():
    found = [
        calibration("AIPW", df.y, df.t, X=df[["a", "b"]])
        for df in (table(300, seed, slope=0.0) for seed in range(60))
    ]
    assert np.mean([f.p_value < 0.05 for f in found]) < 0.12


def test_the_toc_of_ties_does_not_ask_who_comes_first_in_the_table():
    rng = np.random.default_rng(0)
    score = np.sort(rng.normal(size=100))[::-1]  # the largest effects come first
    share = np.full(100, 0.01)
    flat = toc(score, np.zeros(100), share, None, 99.0, 0.05)
    np.testing.assert_allclose(flat["value"], 0, atol=1e-12)
    two = toc(score, np.repeat([1.0, 0.0], 50), share, None, 99.0, 0.05)
    gap = score[:50].mean() - score.mean()
    np.testing.assert_allclose(two["value"].iloc[:10], gap)

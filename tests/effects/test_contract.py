"""What every estimator of the catalogue promises."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from workbench.core.errors import (
    CausalWarning,
    DataError,
    NotFittedError,
    ParameterError,
    QuestionError,
)
from workbench.core.saving import load, save
from workbench.effects import DoseEstimator, DoseGP, catalogue
from workbench.effects.catalogue import ENTRIES, make

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


BY_NAME = {e.name: e for e in ENTRIES}
DOSES = [e.name for e in ENTRIES if e.cls.treatment != "discrete"]
PARALLEL = [e.name for e in ENTRIES if "n_jobs" in e.cls().get_params()]


def maker(name):
    entry = BY_NAME[name]
    return lambda **more: make(entry.name, **{**entry.test_params, **more})


@pytest.fixture(params=BY_NAME)
def new(request):
    return maker(request.param)


@pytest.fixture(params=[e.name for e in ENTRIES if e.cls.treatment != "continuous"])
def new_for_arms(request):
    return maker(request.param)


def question(estimator):
    """Columns (outcome, treatment) that suit the estimator."""
    return ("yd", "d") if estimator.treatment == "continuous" else ("y", "t")


def ask(estimator, df, y=None, t=None, x=("a", "b", "team"), w=(), z=None, **more):
    """Fit it to columns of the table, with an instrument and without W if it wants that."""
    y, t = (given or own for given, own in zip((y, t), question(estimator), strict=True))
    if not estimator.adjusts_for_w:
        x, w = (*x, *w), ()
    if estimator.needs_instrument:
        more["Z"] = df[[z or f"z_{t}"]]
    return estimator.fit(
        df[y], df[t], X=df[list(x)] if x else None, W=df[list(w)] if w else None, **more
    )


def fitted(estimator, df, x=("a", "b", "team"), **more):
    return ask(estimator, df, x=x, **more)


def interval(estimator):
    """The average effect's interval, or the average alone where there are no intervals."""
    if estimator.intervals:
        return estimator.ate_interval()
    with pytest.raises(QuestionError, match="no intervals"):
        estimator.ate_interval()
    return estimator.ate(), estimator.ate()


def test_clone_keeps_parameters_and_forgets_the_fit(new, confounded):
    estimator = fitted(new(), confounded())
    fresh = clone(estimator)
    assert fresh.get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        fresh.ate()


def test_the_same_seed_gives_the_same_answer_and_refits_from_nothing(new, confounded):
    df = confounded()
    estimator = fitted(new(), confounded(seed=5))
    again = fitted(estimator, df)
    np.testing.assert_array_equal(again.effect(df[["a", "b", "team"]]), fitted(new(), df).effect())


def test_column_order_does_not_matter(new, confounded):
    df = confounded()
    one = fitted(new(), df)
    other = fitted(new(), df, x=("team", "b", "a"))
    np.testing.assert_allclose(one.effect(df[["a", "team", "b"]]), other.effect(), rtol=1e-9)
    assert one.ate() == pytest.approx(other.ate(), rel=1e-9)


def test_rows_are_matched_by_index(new, confounded):
    df = confounded()
    estimator = new()
    y, t = question(estimator)
    shuffled = df[y].sample(frac=1, random_state=0)
    instrument = {"Z": df[[f"z_{t}"]].iloc[::-1]} if estimator.needs_instrument else {}
    one = estimator.fit(shuffled, df[t], X=df[["a", "b"]].iloc[::-1], **instrument)
    two = ask(new(), df, x=("a", "b"))
    assert one.ate() == two.ate()


def test_order_of_rows_does_not_matter(new, confounded):
    df = confounded()
    other = df.sample(frac=1, random_state=0)
    one, two = fitted(new(), df).average_effect(), fitted(new(), other).average_effect()
    # Trees of a forest draw rows by position; all else is a function of the rows' content.
    slack = 0.3 * one.se if hasattr(new(), "n_trees") else 1e-6
    assert one.value == pytest.approx(two.value, abs=slack)
    assert one.se == pytest.approx(two.se, rel=0.05, nan_ok=True)


def test_units_rescale_the_answer(new, confounded):
    df = confounded()
    estimator = new()
    y, t = question(estimator)
    base = fitted(estimator, df, x=("a", "b"))
    scaled = df.assign(a=df.a * 1000 - 7, b=df.b / 50)
    scaled[y] = df[y] * 100 + 3
    other = fitted(new(), scaled, x=("a", "b"))
    assert other.ate() == pytest.approx(100 * base.ate(), rel=1e-5)
    low, high = interval(base)
    np.testing.assert_allclose(interval(other), (100 * low, 100 * high), rtol=1e-5)


@pytest.mark.parametrize("name", DOSES)
def test_units_of_a_dose_rescale_the_answer(name, confounded):
    df, params = confounded(), BY_NAME[name].test_params
    base = ask(make(name, **params), df, "yd", "d", x=("a", "b"))
    other = ask(make(name, **params), df.assign(d=df.d * 10), "yd", "d", x=("a", "b"))
    assert other.ate(T0=0, T1=10) == pytest.approx(base.ate(T0=0, T1=1), rel=1e-6)


def test_reversed_contrast_flips_the_sign(new, confounded):
    df = confounded()
    estimator = fitted(new(), df)
    np.testing.assert_allclose(estimator.effect(T0=1, T1=0), -estimator.effect(T0=0, T1=1))
    if estimator.intervals:
        low, high = estimator.ate_interval(T0=0, T1=1)
        np.testing.assert_allclose(estimator.ate_interval(T0=1, T1=0), (-high, -low))


def test_one_row_and_no_row(new, confounded):
    df = confounded()
    estimator = fitted(new(), df)
    rows = df[["team", "a", "b"]]
    np.testing.assert_allclose(
        estimator.effect(rows.iloc[[7]]), estimator.effect(rows)[[7]], rtol=1e-9
    )
    assert estimator.effect(rows.iloc[:0]).shape == (0,)
    with pytest.raises(QuestionError, match="0 rows to average"):
        estimator.ate(rows.iloc[:0])
    if estimator.arms_ is None:
        with pytest.raises(QuestionError, match="not proportional"):
            estimator.const_marginal_effect(rows)
    else:
        assert estimator.const_marginal_effect(rows).shape == (len(df), 1)


def test_intervals_hold_the_effect_and_widen(new, confounded):
    df = confounded()
    estimator = fitted(new(), df)
    if not estimator.intervals:
        with pytest.raises(QuestionError, match="no intervals"):
            estimator.effect_interval()
        return
    low, high = estimator.effect_interval(alpha=0.05)
    wide_low, wide_high = estimator.effect_interval(alpha=0.01)
    effect = estimator.effect()
    assert (wide_low < low).all() and (low < effect).all()
    assert (effect < high).all() and (high < wide_high).all()


def test_arrays_are_taken_by_position(new, confounded):
    df = confounded()
    estimator = new()
    y, t = question(estimator)
    instrument = {"Z": df[f"z_{t}"].to_numpy()} if estimator.needs_instrument else {}
    estimator.fit(df[y].to_numpy(), df[t].to_numpy(), X=df[["a", "b"]].to_numpy(), **instrument)
    assert estimator.effect(df[["a", "b"]].to_numpy()[:1]).shape == (1,)
    with pytest.raises(DataError):
        estimator.effect(df[["a"]].to_numpy())


def test_the_caller_s_table_and_generators_are_left_alone(new, confounded):
    df = confounded()
    before = df.copy(deep=True)
    state = np.random.get_state()
    fitted(new(), df).effect(df[["a", "b", "team"]])
    pd.testing.assert_frame_equal(df, before)
    for one, two in zip(state, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", PARALLEL)
def test_workers_do_not_change_the_answer(name, confounded):
    df, params = confounded(), BY_NAME[name].test_params
    one, two = (ask(make(name, **params, n_jobs=j), df, x=("a", "b")).effect() for j in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_saved_and_loaded(new, confounded, tmp_path):
    df = confounded()
    estimator = fitted(new(), df)
    save(estimator, tmp_path / "e")
    back = load(tmp_path / "e")
    assert back.get_params() == estimator.get_params()
    if not hasattr(back, "saved_hash"):
        np.testing.assert_array_equal(back.effect(), estimator.effect())
        assert interval(back) == interval(estimator)
        assert back.warnings_ == estimator.warnings_
        return
    with pytest.raises(NotFittedError, match="recipe"):  # econml's: a recipe, to be refitted
        back.effect(df[["a", "b", "team"]])
    np.testing.assert_array_equal(fitted(back, df).effect(), estimator.effect())
    assert not [w for w in back.warnings_ if w.code == "other-data"]
    other = fitted(load(tmp_path / "e"), confounded(seed=1))
    assert [w for w in other.warnings_ if w.code == "other-data"]


def test_binary_outcome_and_treatment_as_text(new_for_arms, confounded):
    df, new = confounded(400), new_for_arms
    codes = [df.t, df.t.map({0: "no", 1: "yes"})]
    tables = [df.assign(t=t) for t in codes]
    answers = [ask(new(), table, "yb", "t", x=("a",)).ate() for table in tables]
    assert answers == pytest.approx([answers[0]] * len(answers))
    assert abs(answers[0] - 0.3) < 0.15


def test_three_arms(new_for_arms, confounded):
    df, new = confounded(400), new_for_arms
    if new().most_arms == 2:
        with pytest.raises(QuestionError, match="'arm': has 3 arms"):
            ask(new(), df, "ya", "arm", x=("a", "b"))
        return
    estimator = ask(new(), df, "ya", "arm", x=("a", "b"))
    assert estimator.const_marginal_effect(df[["a", "b"]]).shape == (400, 2)
    up = estimator.ate(T0="mid", T1="top")
    assert up == pytest.approx(estimator.ate(T1="top") - estimator.ate(T1="mid"))
    assert abs(up - 2) < 0.6
    with pytest.raises(QuestionError, match="'bottom'"):
        estimator.effect(T0="low", T1="bottom")


def test_a_trial_needs_no_covariates(new, confounded):
    df = confounded(200)
    estimator = new()
    if estimator.needs_modifiers:
        with pytest.raises(QuestionError, match="X"):
            ask(estimator, df, x=())
        return
    if estimator.treatment == "continuous":
        assert abs(ask(estimator, df, "d", "z_d", x=()).ate() - 1) < 0.2
        return
    ask(estimator, df, "yb", "t", x=())
    by = df.z_t if estimator.needs_instrument else df.t
    moved = df.t[by == 1].mean() - df.t[by == 0].mean()
    means = (df.yb[by == 1].mean() - df.yb[by == 0].mean()) / moved  # Wald's ratio, or its top
    assert estimator.ate() == pytest.approx(means, abs=0.02)
    assert estimator.effect() == pytest.approx([estimator.ate()])
    with pytest.raises(QuestionError, match="without effect modifiers"):
        estimator.effect(df[["a"]])


@pytest.mark.parametrize("name", DOSES)
def test_dose_outside_the_range_is_marked(name, confounded):
    estimator = ask(make(name, **BY_NAME[name].test_params), confounded(), "yd", "d", x=("a", "b"))
    with pytest.warns(CausalWarning, match="extrapolation"):
        estimator.effect(T0=0, T1=1000)
    with pytest.raises(QuestionError):
        estimator.effect(T0=0, T1="high")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator.effect(T0=-0.5, T1=0.5)


def test_clusters_govern_folds_and_widen_repeated_rows(new, confounded):
    df = confounded(200)
    repeated = pd.concat([df] * 3, ignore_index=True)
    groups = np.tile(np.arange(200), 3)
    estimator = fitted(new(), repeated, groups=groups)
    if not estimator.intervals:
        interval(estimator)
    elif isinstance(estimator, DoseEstimator):  # a row three times is the row once
        once = fitted(new(), df).average_effect().se
        assert estimator.average_effect().se == pytest.approx(once, rel=0.35)
    elif estimator.average_effect().se > 0:
        naive = fitted(new(), repeated).average_effect().se
        assert estimator.average_effect().se > 1.3 * naive
    else:
        with pytest.raises(QuestionError):
            estimator.ate_interval()


def test_weights_stand_for_repeated_rows(new, confounded):
    if isinstance(new(), DoseGP):
        pytest.skip("learns from copies that outcomes have no noise; see test_gaussian_process")
    df = confounded(300)
    weight = np.where(np.arange(300) % 3 == 0, 2.0, 1.0)
    long = df.loc[np.repeat(df.index, weight.astype(int))]
    weighted = fitted(new(), df, sample_weight=weight, groups=np.arange(300))
    repeated = fitted(new(), long.reset_index(drop=True), groups=long.index.to_numpy())
    spread = np.nan_to_num(fitted(new(), df).average_effect().se, nan=0.15)
    assert weighted.ate() == pytest.approx(repeated.ate(), abs=0.75 * spread)


def test_rows_of_weight_zero_count_for_nothing(new, confounded):
    df = confounded(200)
    weight = (np.arange(200) >= 40).astype(float)
    weighted = fitted(new(), df, sample_weight=weight)
    assert weighted.ate() == pytest.approx(fitted(new(), df.iloc[40:]).ate())
    if question(new())[1] == "t":
        with pytest.raises(DataError, match="'t'.*weight"):
            ask(new(), df, x=("a",), sample_weight=1.0 - df.t)


def test_wrong_questions_name_what_is_wrong(new, confounded):
    df = confounded()
    estimator = fitted(new(), df)
    if estimator.arms_ is not None:
        with pytest.raises(QuestionError, match="'t'"):
            estimator.effect(T0=0, T1=7)
    with pytest.raises(QuestionError, match="one value each"):
        estimator.effect(T0=np.array([0, 1]), T1=1)
    with pytest.raises(DataError, match="'team'"):
        estimator.effect(df[["a", "b"]])
    with pytest.raises(DataError, match="'green'"):
        estimator.effect(df[["a", "b", "team"]].assign(team="green"))
    with pytest.raises(ParameterError, match="alpha"):
        estimator.effect_interval(alpha=2)
    with pytest.raises(ParameterError, match="random_state"):
        fitted(new(random_state=None), df)


def test_an_instrument_goes_to_those_who_need_one(new, confounded):
    df, estimator = confounded(), new()
    y, t = question(estimator)
    if not estimator.needs_instrument:
        with pytest.raises(QuestionError, match=f"'z_{t}': {type(estimator).__name__}.*OrthoIV"):
            estimator.fit(df[y], df[t], X=df[["a"]], Z=df[[f"z_{t}"]])
        return
    with pytest.raises(QuestionError, match="'Z'.*needs an instrument"):
        estimator.fit(df[y], df[t], X=df[["a"]])
    with pytest.raises(DataError, match="'z_t'.*row 4"):
        ask(estimator, df.assign(z_t=df.z_t.where(df.index != 4)))
    with pytest.raises(DataError, match="'z_t'.*same value"):
        ask(estimator, df.assign(z_t=1))
    with pytest.raises(QuestionError, match="'b'.*X and in Z"):
        ask(estimator, df, z="b")
    noise = np.arange(len(df)) % 2
    weak = ask(estimator, df.assign(z_t=noise))
    assert "weak-instrument" in {w.code for w in weak.warnings_}


def test_a_failed_refit_leaves_nothing_behind(new, confounded):
    df = confounded()
    estimator = fitted(new(), df)
    estimator.set_params(n_folds=0)
    with pytest.raises(ParameterError, match="n_folds"):
        fitted(estimator, df)
    with pytest.raises(NotFittedError):
        estimator.effect()


def test_the_catalogue_lists_and_makes():
    frame = catalogue()
    assert {"AIPW", "LinearDML", "CausalForestDML", "DRLearner", "XLearner"} <= set(frame.index)
    for name in frame.index:
        assert isinstance(make(name), frame.loc[name, "class"])
    with pytest.raises(ParameterError, match="AIPW"):
        make("AIPWW")

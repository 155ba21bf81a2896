"""How far a hidden confounder can move an effect."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.effects import e_value, estimate, omitted_variable_bounds
from workbench.effects.judge import gate
from workbench.effects.omitted import Short, _gain, _short, stronger
from workbench.effects.sensitivity import robustness

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def linear(n, seed=0, hidden_t=0.5, hidden_y=0.8):
    """Dose and outcome driven by z and by a hidden u that is independent of z."""
    rng = np.random.default_rng(seed)
    z, u, e, f = rng.normal(size=(4, n))
    d = 0.6 * z + hidden_t * u + e
    y = 1.0 * d + z + hidden_y * u + f
    return pd.DataFrame({"z": z, "u": u, "d": d, "y": y})


def test_the_bound_at_the_true_partial_r2_is_the_true_bias():
    """One hidden column works at worst: in a linear law the bound is exact."""
    n, of_t, of_y = 200_000, 0.5, 0.8
    df = linear(n, 0, of_t, of_y)
    long = np.linalg.lstsq(df[["d", "z", "u"]].to_numpy(), df.y.to_numpy(), rcond=None)[0][0]
    short = np.linalg.lstsq(df[["d", "z"]].to_numpy(), df.y.to_numpy(), rcond=None)[0]
    rest_t = df.d - 0.6 * df.z
    rest_y = df.y - df[["d", "z"]].to_numpy() @ short
    of_treatment = of_t**2 / (of_t**2 + 1)
    # u given d and z has variance 1 / (1 + of_t²); the rest of y without u is 1.
    explained = of_y**2 / (1 + of_t**2)
    of_outcome = explained / (explained + 1)
    found = Short(
        short[0], float(np.mean(rest_y**2)), 1 / float(np.mean(rest_t**2)), np.zeros((1, 3))
    )
    assert found.bias(of_outcome, of_treatment) == pytest.approx(abs(short[0] - long), rel=0.02)


def test_a_confounder_like_u_is_bounded_by_u_itself():
    """u measured, one just like it hidden: the bound of u is the bias of leaving it out."""
    df = linear(1500)
    rng = np.random.default_rng(9)
    twin = rng.normal(size=1500)
    d, y = df.d + 0.5 * twin, df.y + 0.5 * twin + 0.8 * twin
    found = omitted_variable_bounds(y, d, W=df[["z", "u"]], columns=["u"], times=[1], n_folds=3)
    row = found.table.iloc[0]
    assert row["effect_low"] == pytest.approx(1.0, abs=0.12)  # the truth, without the twin
    assert found.value == pytest.approx(1 + 0.5 * 0.8 / 1.25, abs=0.08)
    assert row["treatment"] == pytest.approx(0.2, abs=0.05)  # u's own partial R² is 1/6
    assert found.low > 0 and not row["reaches_zero"]


def test_intervals_and_bounds_are_those_of_econml():
    from econml.validate.sensitivity_analysis import dml_sensitivity_values, sensitivity_interval

    from workbench.effects.base import quantile
    from workbench.effects.omitted import _residuals

    df = linear(300)
    data, _ = gate(df.y, (df.d > 0).astype(int), None, df[["z"]], None, None, by_x=False)
    from dataclasses import replace

    dose = replace(data, t=df.d.to_numpy(), arms=None)
    short = _short(dose, 0.0, 1.0, 3, 0)
    rest_t, rest_y = _residuals(dose, 3, 0)
    theirs = dml_sensitivity_values(rest_t, rest_y)
    assert short.value == pytest.approx(theirs.theta)
    for c_y, c_t in ((0.1, 0.2), (0.4, 0.05)):
        low, high = sensitivity_interval(*theirs, 0.05, c_y, c_t, 1.0, "theta")
        bias = short.bias(c_y, c_t)
        assert (short.value - bias, short.value + bias) == pytest.approx((low, high))
        ends = sensitivity_interval(*theirs, 0.05, c_y, c_t, 1.0, "ci")
        below, above = short.errors(c_y, c_t, None)
        z = quantile(0.05)
        # They take nu² to move with the residual treatment upwards; it moves down.
        assert short.value - bias - z * below == pytest.approx(ends[0], abs=0.03)
        assert short.value + bias + z * above == pytest.approx(ends[1], abs=0.03)


def test_robustness_values_solve_these_bounds():
    df = linear(400)
    found = omitted_variable_bounds(df.y, df.d, W=df[["z"]], times=[1], n_folds=3)
    se = found.scale / np.sqrt(400)
    r = robustness(found.value, se, 400).to_zero
    assert found.scale * np.sqrt(r * r / (1 - r)) == pytest.approx(abs(found.value))


def test_stronger_by_hand():
    """Cinelli and Hazlett 2020, table 2: female, R² .0092 and .1246; once, twice, three times."""
    for k, of_t, of_y in ((1, 0.0092, 0.1246), (2, 0.0183, 0.2493), (3, 0.0275, 0.3741)):
        found = stronger(0.0091, 0.1090, k)
        assert found == pytest.approx((of_t, of_y), abs=0.004)
    assert stronger(0.0, 0.0, 3.0) == (0.0, 0.0)
    assert stronger(0.6, 0.6, 3.0) == (0.99, 1.0)


def test_a_column_that_adds_nothing_stands_for_nothing():
    same = Short(1.0, 2.0, 3.0, np.zeros((1, 3)), 4.0)
    assert _gain(same, same, True) == (0.0, 0.0) == _gain(same, same, False)


def test_arms_with_names_and_picture(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    df = pd.DataFrame({"age": rng.normal(size=n), "sex": rng.choice(["f", "m"], n)})
    t = (rng.random(n) < 1 / (1 + np.exp(-df.age))).astype(int).rename("drug")
    y = (t + 0.7 * df.age + rng.normal(size=n)).rename("score")
    found = omitted_variable_bounds(y, t, W=df, n_folds=3)
    assert set(found.table["column"]) == {"age", "sex"} and found.arms
    age = found.table.query("column == 'age'")
    assert age["bias"].is_monotonic_increasing and (age["low"] < age["effect_low"]).all()
    direct = estimate(df.assign(drug=t, score=y), ["age", "sex"], treatment="drug", outcome="score")
    assert found.value == pytest.approx(direct.value, abs=0.1)
    assert "as strong as 'age'" in found.summary()
    found.plot()
    save(found, tmp_path / "o")
    assert repr(load(tmp_path / "o")) == repr(found)


def test_the_contrast_scales_doses():
    df = linear(300)
    one = omitted_variable_bounds(df.y, df.d, W=df[["z", "u"]], times=[1], n_folds=2)
    two = omitted_variable_bounds(df.y, df.d, W=df[["z", "u"]], times=[1], n_folds=2, T1=2)
    np.testing.assert_allclose(two.table["bias"], 2 * one.table["bias"])
    np.testing.assert_allclose(two.table["low"], 2 * one.table["low"])


def test_what_can_t_be_compared():
    df = linear(60)
    with pytest.raises(QuestionError, match="no measured column"):
        omitted_variable_bounds(df.y, df.d)
    with pytest.raises(QuestionError, match="'zz'.*Did you mean 'z'"):
        omitted_variable_bounds(df.y, df.d, W=df[["z", "u"]], columns=["zz"])
    with pytest.raises(ParameterError, match="columns"):
        omitted_variable_bounds(df.y, df.d, W=df[["z"]], columns=[])
    with pytest.raises(ParameterError, match="times"):
        omitted_variable_bounds(df.y, df.d, W=df[["z"]], times=[0])


def test_e_values_of_the_paper():
    found = e_value(3.9, 1.8, 8.7)
    assert (round(found.value, 2), round(found.to_doubt, 1)) == (7.26, 3.0)
    below = e_value(1 / 3.9, 1 / 8.7, 1 / 1.8)
    assert below.value == pytest.approx(found.value)
    assert below.to_doubt == pytest.approx(found.to_doubt)
    assert e_value(1.5, 0.9, 2.0).to_doubt == 1 and e_value(1.0).value == 1
    standard = e_value(2.0, 1.0, 3.0, sd=4.0)
    assert standard.ratio == pytest.approx(np.exp(0.91 * 0.5)) and standard.approximate


def test_a_confounder_of_the_e_value_can_explain_the_ratio():
    """Ding and VanderWeele's bound: B = a b / (a + b - 1), equal to RR at a = b = E."""
    for ratio in (1.2, 2.0, 5.0):
        e = e_value(ratio).value
        assert e * e / (2 * e - 1) == pytest.approx(ratio)


def test_e_values_of_estimates(confounded):
    df = confounded(400)
    two = estimate(df, ["b"], treatment="t", outcome="yb")
    found = e_value(two)
    means = two.estimator.scores_.mean
    assert found.ratio == pytest.approx(means[1] / means[0]) and not found.approximate
    assert found.low < 2 < found.high
    number = e_value(estimate(df, ["b"], treatment="t", outcome="y"))
    assert number.approximate
    with pytest.raises(QuestionError, match="'d'"):
        e_value(estimate(df, ["b"], treatment="d", outcome="yd"))
    with pytest.raises(ParameterError, match="positive"):
        e_value(-0.2)
    with pytest.raises(ParameterError, match="low"):
        e_value(2.0, 2.5, 3.0)
    with pytest.raises(ParameterError, match="sd"):
        e_value(2.0, sd=0.0)
    with pytest.raises(ParameterError, match="number"):
        e_value(True)


def test_numbers_of_numpy_are_numbers():
    assert e_value(np.float32(2)).value == e_value(2.0).value
    assert e_value(np.int64(2), sd=np.int64(4)).ratio == e_value(2.0, sd=4.0).ratio
    df = linear(60)
    for times in (np.array([1, 2]), [1.0, 2.0]):
        found = omitted_variable_bounds(df.y, df.d, W=df[["z"]], times=times, n_folds=2)
        assert list(found.table["times"]) == [1, 2]

"""Choosing among estimators of curves by held-out rows at the doses they received."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ParameterError, QuestionError
from workbench.effects import DoseEstimator, LinearDML, calibration, compare_estimators
from workbench.effects.dose_scores import DoseJudge
from workbench.effects.judge import gate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")

COLUMNS = ["x", "z"]


class Surface:
    """Curves that were not learned: they bend where x is positive."""

    def __init__(self, size, level, scales):
        self.size, self.level, self.scales = size, level, scales

    def levels(self, z, t):
        dose = self.scales.dose_low + self.scales.dose_width * t
        bent = self.size * (1 + np.sign(z[:, :1])) * dose**2 / 10
        return (bent + self.level * z[:, 1:]) / self.scales.y_width


class Known(DoseEstimator):
    """An estimator that knows the curves."""

    intervals = False

    def __init__(self, size=1.0, level=0.0, n_folds=2, monotone=None, random_state=0):
        self.size = size
        self.level = level
        self.n_folds = n_folds
        self.monotone = monotone
        self.random_state = random_state

    def _fit_doses(self, rows, seed):
        return Surface(self.size, self.level, self.scales_)


def table(n=500, seed=0, bend=1.0, confounding=0.7):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    dose = np.clip(confounding * x + rng.normal(size=n) * (1 + 0.5 * (x > 0)), -4, 4)
    curve = bend * (1 + np.sign(x)) * dose**2 / 10
    return pd.DataFrame({"x": x, "z": z, "t": dose, "y": curve + 2 * x + 0.5 * rng.normal(size=n)})


def compare(named, df, **more):
    return compare_estimators(named, df.y, df.t, X=df[COLUMNS], **{"n_folds": 3, **more})


def test_the_true_curve_wins_and_its_level_does_not_matter():
    df = table()
    found = compare({"true": Known(), "high": Known(level=9.0), "none": Known(0.0)}, df)
    assert set(found.table.index[:2]) == {"true", "high"} and found.beats_constant
    assert found.table.loc["true", "score"] == pytest.approx(
        found.table.loc["high", "score"], abs=0.03
    )
    assert "none" not in found.tied and found.table.loc["none", "score"] < 0.05
    assert found.score == "factual r"
    assert "factual R-score" in found.summary() and "one slope for all" in found.summary()
    assert "received" in found.how()["judged by"] and "where doses were received" in found.verdict()
    assert "one slope" not in [t.get_text() for t in found.plot().texts]


def test_no_bend_is_not_invented():
    df = table(bend=0.0)
    df["y"] += df.t
    found = compare({"bent": Known(), "line": LinearDML(2, discrete_treatment=False)}, df)
    assert found.best == "line" and not found.beats_constant
    assert "one slope for all doses and units" in found.verdict()


def test_what_is_left_of_a_curve_has_no_mean_given_the_covariates():
    df = table(4000)
    data, _ = gate(df.y, df.t, df[COLUMNS], None, None, None, doses=True)
    judge = DoseJudge.fit(data, 5, 0)
    grid = np.linspace(-4, 4, 65)
    curves = (1 + np.sign(df.x.to_numpy()))[:, None] * grid**2 / 10
    left = judge.beyond(grid, curves)
    spread = 1 + 0.5 * (df.x > 0)
    truth = (1 + np.sign(df.x)) / 10 * (df.t**2 - 0.49 * df.x**2 - spread**2)
    assert np.corrcoef(left, truth)[0, 1] > 0.97
    for part in (df.x < 0, df.x.between(0, 1), df.x > 1):
        assert abs(left[part.to_numpy()].mean()) < 0.05


def test_adapters_weights_and_clusters():
    df = table(200)
    some = np.where(np.arange(200) % 4, 1.0, 2.0)
    options = {"sample_weight": some, "groups": np.arange(200) // 2, "n_folds": 2}
    named = {"slope": LinearDML(2, discrete_treatment=False), "known": Known()}
    one, two = (compare(named, df, **options).table.drop(columns="seconds") for _ in range(2))
    pd.testing.assert_frame_equal(one, two)
    assert list(one.index) == ["known", "slope"]


def test_one_that_compares_arms_leaves_it_to_arms():
    df = table(80)
    with pytest.raises(QuestionError, match="different values"):
        compare(["AIPW", Known()], df)
    with pytest.raises(ParameterError, match="'r' for doses"):
        compare([Known()], df, score="dr")


def test_calibration_says_who_judges_curves():
    df = table(60)
    with pytest.raises(QuestionError, match="compare_estimators"):
        calibration(Known(), df.y, df.t, X=df[COLUMNS])

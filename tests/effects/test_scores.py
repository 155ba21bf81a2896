"""Choosing among estimators by losses that need no true effect."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.effects import AIPW, compare_estimators
from workbench.effects.judge import Judge, gate
from workbench.effects.scores import dr_losses, r_losses

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


class Known(AIPW):
    """An estimator whose effects are a fixed function of the first modifier."""

    def __init__(self, slope=1.0, n_folds=2, random_state=0):
        self.slope = slope
        self.n_folds = n_folds
        self.random_state = random_state
        self.clip, self.n_repeats = 0.01, 1

    def _fit(self, data, seed):
        self.seen_ = len(data)

    def _effect(self, x, t0, t1):
        return self.slope * x.frame.iloc[:, 0].to_numpy() * (t1 - t0)


def table(n=400, seed=0, arms=2, slope=2.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    t = rng.integers(0, arms, n)
    y = slope * t * x + x + rng.normal(size=n)
    return pd.DataFrame({"x": x, "t": t, "y": y})


def test_losses_by_hand():
    effects = np.array([[1.0, 2.0], [0.5, 0.0]])
    rest_t, rest_y = np.array([[0.5, -0.2], [-0.5, 0.8]]), np.array([1.0, -1.0])
    np.testing.assert_allclose(r_losses(rest_y, rest_t, effects), [0.9**2, 0.75**2])
    score = np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(dr_losses(score, effects), [1 + 1, 0.25 + 1])


@pytest.mark.parametrize("arms", [2, 3])
def test_the_r_score_is_that_of_econml_given_the_same_nuisances(arms):
    from econml.score import RScorer
    from sklearn.linear_model import LinearRegression, LogisticRegression

    from workbench.effects.scores import _constant_losses

    df = table(300, 1, arms)
    x = df[["x"]].to_numpy()
    scorer = RScorer(
        model_y=LinearRegression(),
        model_t=LogisticRegression(),
        discrete_treatment=True,
        cv=3,
        random_state=0,
    ).fit(df.y.to_numpy(), df.t.to_numpy(), X=x)
    rest_y, rest_t = (np.asarray(v) for v in scorer.lineardml_._cached_values.nuisances)
    rest_y, rest_t = rest_y.ravel(), rest_t.reshape(len(df), -1)

    class Model:
        def const_marginal_effect(self, X):
            return np.hstack([X * k * 1.5 for k in range(1, arms)])

    share = np.full(len(df), 1 / len(df))
    base = _constant_losses("r", rest_y, rest_t, None, share)
    loss = r_losses(rest_y, rest_t, Model().const_marginal_effect(x))
    assert 1 - loss.mean() / base.mean() == pytest.approx(scorer.score(Model()), abs=1e-10)


@pytest.mark.parametrize("score", ["r", "dr"])
def test_the_true_effect_wins_and_beats_a_constant(score):
    df = table(600)
    found = compare_estimators(
        {"true": Known(2.0), "half": Known(1.0), "wrong": Known(-2.0)},
        df.y, df.t, X=df[["x"]], score=score, n_folds=3,
    )  # fmt: skip
    assert list(found.table.index) == ["true", "half", "wrong"]
    assert found.beats_constant and not found.tied
    assert found.table.loc["wrong", "score"] < 0 < found.table.loc["half", "score"]
    assert (found.table["behind_low"] <= found.table["behind"]).all()
    assert "Effects differ" in found.verdict()
    assert len(found.plot().get_yticklabels()) == 3
    assert len(repr(found).split("\n")) <= 10


def test_scores_and_errors_by_hand():
    df = table(200)
    found = compare_estimators({"k": Known(1.0), "l": Known(2.0)}, df.y, df.t, X=df[["x"]])
    data, _ = gate(df.y, df.t, df[["x"]], None, None, None)
    from workbench.core.seeding import spawn

    judge = Judge(n_folds=5, random_state=spawn(0, 3)[1]).fit_data(data)
    rest_y, rest_t = judge.residuals(data)
    rest_t = rest_t[:, 0]
    loss = {k: (rest_y - rest_t * s * df.x) ** 2 for k, s in (("k", 1.0), ("l", 2.0))}
    constant = (rest_y - rest_t * (rest_t @ rest_y) / (rest_t @ rest_t)) ** 2
    for name, values in loss.items():
        ratio = values.mean() / constant.mean()
        assert found.table.loc[name, "score"] == pytest.approx(1 - ratio)
        pull = (values - ratio * constant) / constant.mean()
        assert found.table.loc[name, "se"] == pytest.approx(pull.std(ddof=1) / np.sqrt(200))
    gap = (loss["k"] - loss["l"]).mean() / constant.mean()
    assert found.table.loc["k", "behind"] == pytest.approx(gap)


def test_no_differences_are_not_invented():
    df = table(500, slope=0.0)
    df["y"] += df.t
    found = compare_estimators(["AIPW", Known(1.0)], df.y, df.t, X=df[["x"]], n_folds=3)
    assert not found.beats_constant and "constant effect" in found.verdict()


def test_several_arms_clusters_weights_and_the_same_seed():
    df = table(150, 2, arms=3)
    groups = np.arange(150) // 3
    options = {"X": df[["x"]], "groups": groups, "sample_weight": np.ones(150), "n_folds": 2}
    one, two = (
        compare_estimators({"a": Known(2.0), "b": Known(0.5)}, df.y, df.t, **options)
        for _ in range(2)
    )
    assert one.best == "a"
    pd.testing.assert_frame_equal(
        one.table.drop(columns="seconds"), two.table.drop(columns="seconds")
    )


def test_repeating_every_row_as_a_cluster_changes_no_error():
    df = table(150)
    double = pd.concat([df, df], ignore_index=True)
    groups = np.tile(np.arange(150), 2)
    few = compare_estimators({"k": Known(1.0)}, df.y, df.t, X=df[["x"]])
    many = compare_estimators({"k": Known(1.0)}, double.y, double.t, X=double[["x"]], groups=groups)
    assert many.table["se"].iloc[0] == pytest.approx(few.table["se"].iloc[0], rel=0.25)


def test_estimators_see_only_x():
    df = table(200).assign(w=np.random.default_rng(5).normal(size=200))

    class Curious(Known):
        def _effect(self, x, t0, t1):
            assert list(x.frame.columns) == ["x"]
            return super()._effect(x, t0, t1)

    compare_estimators([Curious()], df.y, df.t, X=df[["x"]], W=df[["w"]], n_folds=2)


def test_one_that_refuses_is_named_and_the_others_are_compared():
    df = table(80)

    class Broken(Known):
        def _effect(self, x, t0, t1):
            return np.full(len(x), np.nan)

    found = compare_estimators({"good": Known(), "bad": Broken()}, df.y, df.t, X=df[["x"]])
    assert list(found.table.index) == ["good"] and "no finite number" in found.failed["bad"]
    assert any(w.code == "not-compared" for w in found.warnings)
    with pytest.raises(DataError, match="effects of bad"):
        compare_estimators({"bad": Broken()}, df.y, df.t, X=df[["x"]])


def test_what_can_t_be_asked():
    df = table(60)
    with pytest.raises(QuestionError, match="'X'"):
        compare_estimators(["AIPW"], df.y, df.t)
    with pytest.raises(ParameterError, match="AIPW"):
        compare_estimators(["AIPWW"], df.y, df.t, X=df[["x"]])
    with pytest.raises(ParameterError, match="estimators"):
        compare_estimators([], df.y, df.t, X=df[["x"]])
    with pytest.raises(ParameterError, match="score"):
        compare_estimators(["AIPW"], df.y, df.t, X=df[["x"]], score="mse")
    with pytest.raises(ParameterError, match="n_folds"):
        compare_estimators(["AIPW"], df.y, df.t, X=df[["x"]], n_folds=1)
    with pytest.raises(DataError, match="59"):
        compare_estimators(["AIPW"], df.y[:59], df.t, X=df[["x"]])
    groups = np.where(df.t == 1, 0, np.arange(60) % 4 + 1)
    with pytest.raises(DataError, match="'t'"):
        compare_estimators(["AIPW"], df.y, df.t, X=df[["x"]], groups=groups)


def test_saved_and_loaded(tmp_path):
    df = table(100)
    found = compare_estimators([Known()], df.y, df.t, X=df[["x"]], n_folds=2)
    save(found, tmp_path / "c")
    assert repr(load(tmp_path / "c")) == repr(found)

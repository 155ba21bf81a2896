"""Average effects of groups, and whether they differ."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.effects import AIPW, LinearDML, estimate, group_effects

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def test_it_agrees_with_the_subgroups_of_an_estimate(confounded):
    df = confounded(400)
    found = estimate(
        df, ["b"], treatment="t", outcome="y", modifiers=["b", "team"], estimator="AIPW"
    )
    shown = group_effects(found)
    for column in ("effect", "low", "high", "n"):
        np.testing.assert_allclose(shown.table[column], found.subgroups[column])
    assert (shown.table["low_all"] < shown.table["low"]).all()
    assert len(shown.pairs) == 1 + 6 and shown.contrast == "0 → 1"
    assert len(shown.plot().get_yticklabels()) == 6


def test_groups_that_differ_are_told_apart(confounded):
    df = confounded(500)
    df["y"] = df.y + 2 * df.t * (df.team == "red")
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b", "team"]])
    found = group_effects(fitted, df.team)
    assert found.verdict() == "Groups differ."
    row = found.differ.iloc[0]
    assert row["low"] < (2 if row["group"] == "red" else -2) < row["high"]
    assert "larger for team red than for blue" in found.summary()
    same = group_effects(AIPW(n_folds=2).fit(df.yb, df.t, W=df[["b"]]), by=df[["team"]])
    assert "can't be told apart" in same.summary() and not len(same.differ)


def test_differences_are_of_independent_means(confounded):
    df = confounded(300)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    found = group_effects(fitted, df.team)
    score = fitted.scores_.score[:, 1] - fitted.scores_.score[:, 0]
    means = pd.Series(score).groupby(df.team).mean()
    np.testing.assert_allclose(found.table["effect"], means)
    gap = found.pairs.iloc[0]
    reach = (gap["high"] - gap["low"]) / 2
    assert reach == pytest.approx(1.98 * np.hypot(*found.table["se"]), rel=0.01)
    clusters = np.arange(300) // 2
    shared = group_effects(
        AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]], groups=clusters), df.team
    ).pairs.iloc[0]
    assert (shared["high"] - shared["low"]) / 2 > 1.2 * reach


def test_labels_are_matched_and_doses_work(confounded):
    df = confounded(200)
    df.index = [f"p{i}" for i in range(200)]
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    one = group_effects(fitted, df.team)
    two = group_effects(fitted, df.team.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(one.table, two.table)
    dose = LinearDML(n_folds=2).fit(df.yd, df.d, X=df[["team"]], W=df[["b"]])
    assert group_effects(dose, "team").contrast == "0.0 → 1.0"


def test_a_group_without_an_arm_has_no_number(confounded, tmp_path):
    df = confounded(200)
    site = np.where(df.t == 1, "here", np.where(df.b > 0, "here", "there"))
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    found = group_effects(fitted, pd.Series(site, name="site"))
    assert np.isnan(found.table.set_index("group").loc["there", "effect"])
    note = next(w for w in found.warnings if w.code == "empty-group")
    assert "site there" in note.message
    found.plot()
    save(found, tmp_path / "g")
    assert repr(load(tmp_path / "g")) == repr(found)


def test_what_can_t_be_grouped(confounded):
    df = confounded(100)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, X=df[["team"]])
    with pytest.raises(QuestionError, match="'tema'.*Did you mean 'team'"):
        group_effects(fitted, "tema")
    with pytest.raises(QuestionError, match="fitted without"):
        group_effects(AIPW(n_folds=2).fit(df.y, df.t), "team")
    with pytest.raises(DataError, match="99"):
        group_effects(fitted, df.team[:99])
    with pytest.raises(ParameterError, match="estimator"):
        group_effects(3.0)


def test_groups_are_matched_by_label_where_the_fit_was_labelled(confounded):
    df = confounded(200)  # labels 0, 1, 2, ...
    labelled = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    straight = group_effects(labelled, df.team).table
    pd.testing.assert_frame_equal(group_effects(labelled, df.team.iloc[::-1]).table, straight)
    with pytest.raises(DataError, match="different index labels"):
        group_effects(labelled, df.team.set_axis(range(1, 201)))
    # A fit on arrays knows positions only.
    by_place = AIPW(n_folds=2).fit(df.y.to_numpy(), df.t.to_numpy(), W=df[["b"]].to_numpy())
    found = group_effects(by_place, df.team.set_axis(range(200, 0, -1))).table
    np.testing.assert_allclose(found["effect"], straight["effect"])


def test_a_group_of_few_clusters_has_few_degrees_of_freedom(confounded):
    df = confounded(400)
    clusters = np.arange(400) // 20
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]], groups=clusters)
    found = group_effects(fitted, np.where(clusters < 3, "three", "rest")).table
    three = found.set_index("group").loc["three"]
    assert three["high"] - three["low"] == pytest.approx(2 * 4.303 * three["se"], rel=1e-3)
    with pytest.raises(DataError, match="rows of several clusters"):
        group_effects(fitted, np.char.add("site ", clusters.astype(str)))


def test_numbers_with_few_values_and_times_are_groups(confounded):
    df = confounded(240)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    assert list(group_effects(fitted, np.arange(240) % 3).table["group"]) == ["0", "1", "2"]
    days = pd.Series(pd.date_range("2026-01-01", periods=240), name="day")
    found = group_effects(fitted, days).table
    assert len(found) == 4 and found["group"].iloc[0].startswith("2026-01-01")


def test_another_target_is_refused(confounded):
    df = confounded(200)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, W=df[["b"]])
    with pytest.raises(ParameterError, match="ATE"):
        group_effects(fitted, df.team, target="att")

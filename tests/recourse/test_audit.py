"""The audit counts everybody, its intervals cover, and it warns where it must."""

import numpy as np
import pandas as pd
import pytest

from workbench import load
from workbench.core.errors import CausalWarning, DataError, ParameterError, QuestionError
from workbench.recourse import ExactRecourse, Recommendations, RecourseProblem, audit
from workbench.recourse.audit import wilson


def made_up(cost, status):
    """Recommendations with given costs and statuses."""
    n = len(cost)
    outcomes = pd.DataFrame({"status": status, "reason": "", "cost": cost})
    people = pd.DataFrame({"a": np.zeros(n), "sex": np.where(np.arange(n) % 2, "f", "m")})
    flags = pd.DataFrame({"a": np.zeros(n, dtype=bool)})
    more = {"units": {}, "scales": {"a": 1.0}, "target": "t", "cost_unit": "u"}
    return Recommendations(
        people, people, outcomes, flags, flags, **more, score_name="s", method="m"
    )


def drawn(rng, n, hard, dear):
    """Half f: no recourse with probability ``hard``, cost larger by ``dear``; m: .2 and 0."""
    f = np.arange(n) % 2 == 1
    found = rng.random(n) > np.where(f, hard, 0.2)
    cost = np.where(found, rng.exponential(size=n) + 1 + dear * f, np.nan)
    return made_up(cost, np.where(found, "found", "not found").astype(object))


def test_intervals_cover_as_often_as_they_say():
    rng, hits, runs = np.random.default_rng(0), np.zeros(4), 150
    for _ in range(runs):
        report = audit(drawn(rng, 160, 0.35, 0.5), "sex", reference="m", n_boot=200)
        row, d = report.groups.loc["f"], report.differences.loc["f"]
        hits += [
            row["no recourse low"] <= 0.35 <= row["no recourse high"],
            d["no recourse low"] <= 0.15 <= d["no recourse high"],
            row["mean cost low"] <= 2.5 <= row["mean cost high"],
            d["mean cost low"] <= 0.5 <= d["mean cost high"],
        ]
    assert (hits / runs > 0.89).all(), hits / runs


def test_everybody_is_counted_once():
    status = ["found", "infeasible", "not found", "already accepted", "incomplete", "found"] * 10
    cost = np.where(np.array(status) == "found", 2.0, np.nan)
    cost[np.array(status) == "already accepted"] = 0.0
    group = pd.Series(["x"] * 30 + ["y"] * 30, name="town")
    report = audit(made_up(cost, status), group)
    row = report.groups.loc["x"]
    assert row[["people", "accepted", "incomplete", "asked"]].tolist() == [30, 5, 5, 20]
    assert row["no recourse"] == 0.5 and row["proven"] == 5 and row["mean cost"] == 2
    assert row["median cost"] == 2 and row["median cost high"] == np.inf
    assert report.differences.loc["y", ["no recourse", "mean cost"]].tolist() == [0, 0]
    assert "No difference" in report.verdict()


def test_small_groups_and_costs_of_survivors_are_warned_of():
    rng = np.random.default_rng(1)
    with pytest.warns(CausalWarning, match="compare the medians"):
        report = audit(drawn(rng, 300, 0.8, -0.5), "sex", reference="m")
    assert "no recourse more by" in report.verdict()
    rare = pd.Series(["x"] * 10 + ["y"] * 290, name="town")
    with pytest.warns(CausalWarning, match="'x' \\(10\\)"):
        audit(drawn(rng, 300, 0.2, 0), rare)


def test_wilson_against_its_formula():
    assert np.allclose(wilson(5, 20, 0.05), (0.1119, 0.4687), atol=1e-4)
    assert wilson(0, 0, 0.05) == (0.0, 1.0) and wilson(4, 4, 0.05)[1] == 1.0


def test_it_reads_real_recommendations_and_can_be_kept(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(2)
    df = pd.DataFrame(rng.normal(size=(80, 2)), columns=["a", "b"])
    town = pd.Series(np.where(df["b"] > 0, "up", "down"), index=df.index, name="town")
    model = LinearRegression().fit(df, df["a"] + df["b"])
    problem = RecourseProblem(model, data=df, target={"above": 1.0})
    plan = ExactRecourse().fit(problem).recommend(df.assign(town=town), progress=False)
    with pytest.warns(CausalWarning):
        report = audit(plan, "town")
    again = audit(plan, town)
    pd.testing.assert_frame_equal(report.to_frame(), again.to_frame())
    assert report.reference == "down" and report.differences.loc["up", "mean cost"] < 0
    assert report.to_frame(long=True)["quantity"].nunique() == 3
    assert len(repr(report).splitlines()) <= 10 and report.plot().get_xlabel()
    report.save(tmp_path / "audit")
    pd.testing.assert_frame_equal(load(tmp_path / "audit").to_frame(), report.to_frame())
    empty = ExactRecourse().fit(problem).recommend(df.iloc[:0], progress=False)
    with pytest.raises(QuestionError, match="two groups"):
        audit(empty, town.iloc[:0])


@pytest.mark.parametrize(
    "groups, more, error, says",
    [
        ("sexx", {}, DataError, "Did you mean 'sex'"),
        (pd.Series(["x", "y"]), {}, DataError, "another index"),
        (pd.Series([None, *"xy" * 10][:20]), {}, DataError, "empty cell.*row 0"),
        (pd.Series(["x"] * 20), {}, QuestionError, "two groups"),
        ("sex", {"reference": "mm"}, QuestionError, "is no group"),
        ("sex", {"alpha": 2}, ParameterError, "alpha"),
        ("sex", {"n_boot": 3}, ParameterError, "n_boot"),
        (["x"] * 20, {}, ParameterError, "series"),
    ],
)
def test_questions_that_make_no_sense_are_refused(groups, more, error, says):
    plan = drawn(np.random.default_rng(3), 20, 0.3, 0)
    with pytest.raises(error, match=says):
        audit(plan, groups, **more)


def test_nobody_asked_nobody_without_and_groups_of_one():
    with pytest.warns(CausalWarning, match="fewer than 30"):
        report = audit(made_up([1.0, 5.0, 2.0], ["found"] * 3), pd.Series(["x", "y", "x"]))
    assert report.summary().endswith("everybody has some.")
    assert np.isnan(report.groups.loc["y", ["mean cost low", "mean cost high"]].astype(float)).all()
    assert "No difference" in report.verdict()  # of one person there is no interval
    with pytest.warns(CausalWarning, match="fewer than 30"):
        report = audit(made_up([0.0] * 2, ["already accepted"] * 2), pd.Series(["x", "y"]))
    assert "nothing to compare" in report.verdict()
    with pytest.raises(ParameterError, match="options"):
        audit([report], "sex")

"""Waiting moves what drifts, costs what it says, and every method honours it."""

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load
from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.recourse import (
    ExactRecourse,
    GrowingSpheres,
    NearestTarget,
    RecourseProblem,
    Wachter,
    Waiting,
    reasons,
)

SCHEMA = Schema(
    [
        Feature("age", bounds=(18, 75), unit="years", actionable=False, drift=1 / 12),
        Feature("since late", "count", bounds=(0, 500), actionable=False, drift=1),
        Feature("debt", bounds=(0, 40), actionable="decrease"),
        Feature("home", "categorical", levels=("rent", "own"), actionable=False),
    ]
)
WAIT = {"longest": 24, "cost": 0.02, "unit": "months"}
METHODS = [ExactRecourse(), Wachter(steps=60), GrowingSpheres(samples=16, rounds=2)]


def people(n=25, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 74, n),
            "since late": rng.integers(0, 60, n),
            "debt": rng.uniform(5, 40, n),
            "home": rng.choice(["rent", "own"], n),
        }
    )


def line(df):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    prepare = make_column_transformer((OneHotEncoder(), ["home"]), remainder="passthrough")
    score = df["since late"] / 10 - df["debt"] / 5 + (df["home"] == "own") + df["age"] / 50
    return make_pipeline(prepare, LinearRegression()).fit(df, score)


def pose(df, **more):
    given = {"schema": SCHEMA, "data": df, "target": {"above": 0.5}, "waiting": WAIT}
    return RecourseProblem(line(df), **(given | more))


def cheapest(df, problem):
    """Over every wait, the debt that is then needed."""
    sd = df["debt"].std()
    per = {"since late": 0.1, "age": 1 / 50}
    best = np.full(len(df), np.inf)
    for wait in range(25):
        score = problem.view.score(df) + per["since late"] * wait + per["age"] * wait / 12
        need = np.maximum((0.5 - score) * 5, 0.0)
        low = min(df["debt"].min(), 40)
        fits = (df["debt"] - need >= low - 1e-9) & (df["age"] + wait / 12 <= 75)
        best = np.where(fits, np.minimum(best, need / sd + 0.02 * wait), best)
    return best


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_every_method_waits_as_long_as_it_pays(method):
    df = people()
    problem = pose(df)
    plan = method.fit(problem).recommend(df, progress=False)
    found = (plan.status == "found").to_numpy()
    best = cheapest(df, problem)
    asked = (plan.status != "already accepted").to_numpy()
    assert found.sum() > 8 and not (found & ~np.isfinite(best)).any()
    new, wait = plan.recommended[found], plan.recommended["waiting"][found]
    assert ((wait >= 0) & (wait <= 24) & (wait % 1 == 0)).all() and (wait > 0).any()
    assert np.allclose(new["age"], df["age"][found] + wait / 12)
    assert (new["since late"] == df["since late"][found] + wait).all()
    assert (new["age"] <= 75 + 1e-9).all() and (new["home"] == df["home"][found]).all()
    assert problem.accepts(problem.view.score(new)).all()
    moved = (df["debt"][found] - new["debt"]) / df["debt"].std() + 0.02 * wait
    assert np.allclose(plan.outcomes["cost"][found], moved)
    assert (plan.outcomes["cost"][found] >= best[found] - 1e-6).all()
    if isinstance(method, ExactRecourse):
        assert (found == np.isfinite(best))[asked].all()
        assert np.allclose(plan.outcomes["cost"][found], best[found], atol=1e-6)
        assert np.allclose(plan.outcomes["gap"][found], 0, atol=1e-6)
    else:
        assert np.median(plan.outcomes["cost"][found] / best[found]) < 1.25


def test_nobody_waits_when_it_is_too_dear_or_forbidden():
    df = people()
    dear = pose(df, waiting=WAIT | {"cost": 50.0})
    plan = ExactRecourse().fit(dear).recommend(df, progress=False)
    without = ExactRecourse().fit(pose(df, waiting=None)).recommend(df, progress=False)
    both = ((plan.status == "found") & (without.status == "found")).to_numpy()
    assert both.any()
    assert np.allclose(plan.outcomes["cost"][both], without.outcomes["cost"][both])
    held = pose(df, immutable=["age"])  # age may not change, not even by waiting
    plan = ExactRecourse().fit(held).recommend(df, progress=False)
    assert (plan.recommended["waiting"] == 0).all()
    nearest = NearestTarget().fit(pose(df)).recommend(df, progress=False)
    assert (nearest.recommended["waiting"] == 0).all()


def test_the_plan_says_how_long_and_what_follows(tmp_path):
    df = people()
    problem = pose(df)
    method = ExactRecourse().fit(problem)
    plan = method.recommend(df, progress=False)
    waits = plan.recommended.index[plan.recommended["waiting"] > 0]
    text = plan.explain(waits[0])
    assert "waiting from 0 to" in text and "months" in text
    assert "As a consequence, age rises" in text
    assert "waiting" not in df and "drifts" in repr(problem)
    method.save(tmp_path / "method")
    again = load(tmp_path / "method", model=problem.model).recommend(df, progress=False)
    pd.testing.assert_frame_equal(plan.to_frame(), again.to_frame())
    assert plan.outcomes["plausibility"][waits].gt(0).any()
    assert "waiting" not in reasons(problem, df, progress=False).contributions


def test_a_trees_vote_can_be_waited_for():
    from sklearn.tree import DecisionTreeClassifier

    df = people(150)
    numbers = df.drop(columns="home")
    model = DecisionTreeClassifier(max_depth=3).fit(numbers, df["since late"] > 30)
    problem = RecourseProblem(
        model, schema=SCHEMA.select(numbers.columns), data=numbers, waiting=WAIT
    )
    plan = GrowingSpheres(samples=16, rounds=2).fit(problem).recommend(numbers, progress=False)
    near = (df["since late"] > 10) & (df["since late"] <= 30) & (df["age"] < 72)
    assert (plan.status[near] == "found").all()
    assert (plan.recommended["since late"][near] == 31).all()


@pytest.mark.parametrize(
    "waiting, error, says",
    [
        ({"longest": 3}, ParameterError, "needs 'cost'"),
        ({"longest": 3, "cost": 0}, ParameterError, "cost must be positive"),
        ({"longst": 3, "cost": 1}, ParameterError, "Did you mean 'longest'"),
        (3, ParameterError, "dictionary"),
        (Waiting(3, 1.0, whole=False), QuestionError, "'since late'.*whole units"),
    ],
)
def test_waits_that_make_no_sense_are_refused(waiting, error, says):
    with pytest.raises(error, match=says):
        pose(people(), waiting=waiting)


def test_what_waiting_cannot_be_combined_with():
    from workbench import CausalGraph

    df = people()
    graph = CausalGraph(list(df), [("age", "debt")])
    with pytest.raises(QuestionError, match="causal model"):
        pose(df, graph_or_scm=graph)
    with pytest.raises(QuestionError, match="carma"):
        pose(df, cost="carma")
    with pytest.raises(QuestionError, match="no feature.*drift"):
        pose(df, schema=Schema.infer(df))
    named = df.rename(columns={"debt": "waiting"})
    schema = Schema([*SCHEMA.select(["age", "since late", "home"]), Feature("waiting")])
    with pytest.raises(DataError, match="'waiting'.*name of the action"):
        RecourseProblem(
            lambda d: d["age"], schema=schema, data=named, target={"above": 1}, waiting=WAIT
        )
    problem = pose(df)
    with pytest.raises(DataError, match="'waiting'.*is 0 for everybody"):
        ExactRecourse().fit(problem).recommend(df.assign(waiting=3.0))
    with pytest.raises(DataError, match="'home'.*no drift"):
        Feature("home", "binary", levels=("a", "b"), drift=1)
    with pytest.raises(DataError, match="'n'.*whole number"):
        Feature("n", "count", drift=0.5)
    with pytest.raises(DataError, match="'n'.*must be a number"):
        Feature("n", drift="fast")

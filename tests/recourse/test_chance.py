"""Levels respond by chance: no plan counts on luck, and what is left to chance is said."""

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, StructuralCausalModel
from workbench.recourse import GrowingSpheres, RecourseProblem, Wachter


@pytest.fixture(scope="module")
def world():
    """Need b raises the chance of treatment t; y = 2 t + b + noise."""
    rng = np.random.default_rng(0)
    b = rng.normal(size=400)
    t = (rng.random(400) < 1 / (1 + np.exp(-0.8 * b))).astype(int)
    df = pd.DataFrame({"b": b, "t": t, "y": 2 * t + b + 0.3 * rng.normal(size=400)})
    graph = CausalGraph(["b", "t", "y"], [("b", "t"), ("b", "y"), ("t", "y")])
    return StructuralCausalModel(graph).fit(df, progress=False), df


@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
@pytest.mark.parametrize("method", [GrowingSpheres(), Wachter()], ids=repr)
def test_no_plan_counts_on_a_lucky_response(method, world):
    model, df = world
    problem = RecourseProblem.in_world(model, "y", above=1.0, data=df)
    people = df[df.y < 0].head(6)
    plans = method.fit(problem).recommend(people, progress=False)
    assert plans.status.eq("found").all()
    told = "chance-response" in {w.code for w in plans.warnings}
    assert told or (plans.outcomes["validity"] >= 0.95).all()
    assert (plans.outcomes["validity"] > 0.7).all()


def test_validity_is_the_share_of_responses_that_work(world):
    model, df = world
    problem = RecourseProblem.in_world(model, "y", above=1.0, data=df)
    person = problem.space.codes(df[(df.t == 0) & (df.b.abs() < 0.1)].head(1))
    names = problem.space.names
    mask = np.array([[n == "b" for n in names]])
    moved = np.where(mask, 0.4, person)  # enough only if t follows
    share, unsure = problem.validity(person, mask, moved)
    assert unsure[0, names.index("t")] and 0 < share[0] < 0.3
    held = mask | np.array([[n == "t" for n in names]])
    treated = np.where(np.array([[n == "t" for n in names]]), 1.0, moved)
    share, unsure = problem.validity(person, held, treated)
    assert share[0] == 1 and not unsure.any()

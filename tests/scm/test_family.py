import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, StructuralCausalModel
from workbench.scm import ModelFamily


@pytest.fixture(scope="module")
def df():
    r = np.random.default_rng(0)
    a, b, c = r.normal(size=(3, 300))
    return pd.DataFrame({"a": a, "b": a + b, "c": a * b + c})


GRAPHS = [
    CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")]),
    CausalGraph(["a", "b", "c"], [("a", "b"), ("a", "c")]),
    CausalGraph(["c", "b", "a"], [("a", "b"), ("b", "c")]),
]


def test_a_model_of_the_family_is_the_model_of_its_graph(df):
    family = ModelFamily(df, random_state=3)
    for graph in GRAPHS:
        alone = StructuralCausalModel(graph, random_state=3).fit(df)
        other = family.model(graph).counterfactual(df, {"a": 1.0})
        pd.testing.assert_frame_equal(other, alone.counterfactual(df, {"a": 1.0}))


def test_every_pair_of_node_and_parents_is_fitted_once(df):
    family = ModelFamily(df)
    models = [family.model(graph) for graph in GRAPHS]
    fitted = {id(m) for model in models for m in model.mechanisms_.values()}
    assert len(fitted) == 4  # a; b given a; c given b; c given a
    assert family.model(GRAPHS[0]) is models[0]


def test_warnings_of_a_shared_mechanism_reach_every_model():
    r = np.random.default_rng(0)
    a = r.normal(size=500)
    df = pd.DataFrame({"a": a, "b": a * (1 + 2 * np.abs(a)) * r.normal(size=500), "c": a})
    df["c"] = r.normal(size=500)
    family = ModelFamily(df)
    edges = [("a", "b")]
    with pytest.warns(match="noise-depends"):
        first = family.model(CausalGraph(["a", "b", "c"], edges))
    with pytest.warns(match="noise-depends"):
        second = family.model(CausalGraph(["a", "b", "c"], [*edges, ("a", "c")]))
    codes = [{w.code for w in model.warnings_} for model in (first, second)]
    assert codes[0] == codes[1] == {"noise-depends-on-parents"}

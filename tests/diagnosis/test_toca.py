import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from workbench import CausalGraph
from workbench.core.errors import ParameterError
from workbench.diagnosis import TOCA, Incident, System

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def chain(n=200_000):
    """a -> y with slope 1 and noise of sd 1 each."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=n)
    normal = pd.DataFrame({"a": a, "y": a + rng.normal(size=n)})
    return System(CausalGraph(["a", "y"], [("a", "y")]), normal)


def test_scores_of_a_chain_have_a_closed_form():
    """e_y = 1, e_a = 6: P_1 = P(|6 + N(0, 1)| >= 7), P_2 = P(|N(0, 2)| >= 7)."""
    ranking = TOCA().fit(chain()).rank(Incident(pd.DataFrame({"a": [6.0], "y": [7.0]}), "y"))
    first = norm.sf(1.0) + norm.sf(13.0)
    both = 2 * norm.sf(7.0 / 2**0.5)
    assert np.isclose(ranking.scores["y"], -np.log(first), rtol=0.03)
    assert np.isclose(ranking.scores["a"], np.log(first / both), rtol=0.03)
    assert ranking.nodes[0] == "a"


def test_scores_sum_to_the_surprise_of_the_target(shop, system):
    window = shop.rows(1, seed=2, db=9.0)
    ranking = TOCA().fit(system).rank(Incident(window, "web"))
    from workbench.diagnosis import CounterfactualAttribution

    other = CounterfactualAttribution().fit(system).rank(Incident(window, "web"))
    assert np.isclose(ranking.scores.sum(), other.scores.sum(), rtol=1e-8)


def test_who_has_no_effect_has_no_score_and_who_is_no_cause_none():
    rng = np.random.default_rng(1)
    normal = pd.DataFrame(rng.normal(size=(500, 2)), columns=["a", "y"])
    normal["flat"], normal["late"] = 3.0, normal["y"] + 1.0
    graph = CausalGraph(["a", "flat", "y", "late"], [("a", "y"), ("flat", "y"), ("y", "late")])
    window = pd.DataFrame({"a": [1.0], "flat": [3.0], "y": [9.0], "late": [10.0]})
    ranking = TOCA().fit(System(graph, normal)).rank(Incident(window, "y"))
    assert ranking.scores["flat"] == 0.0 and np.isnan(ranking.scores["late"])
    assert ranking.nodes == ("y",)


def test_a_target_that_never_changed_and_bad_parameters():
    normal = pd.DataFrame({"a": np.arange(20.0), "y": np.ones(20)})
    system = System(CausalGraph(["a", "y"], [("a", "y")]), normal)
    ranking = TOCA().fit(system).rank(Incident(pd.DataFrame({"a": [9.0], "y": [2.0]}), "y"))
    assert ranking.status == "abstain" and "never changed" in ranking.summary()
    with pytest.raises(ParameterError, match="n_draws"):
        TOCA(n_draws=1).fit(system)


def test_untouched_nodes_are_rarely_blamed_and_the_untouched_target_never():
    edges = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "t"), ("u", "b"), ("w", "d")]
    graph = CausalGraph(["u", "w", "a", "b", "c", "d", "t"], edges)
    answers = []
    for seed in range(10):
        rng = np.random.default_rng(seed)

        def rows(n, own, rng=rng):
            values = {}
            for node in graph.nodes:
                values[node] = rng.normal(size=n) + (own if node == "b" else 0.0)
                for parent in graph.parents(node):
                    values[node] = values[node] + values[parent]
            return pd.DataFrame(values)

        method = TOCA(n_draws=20).fit(System(graph, rows(300, 0.0)))
        answers.append(method.rank(Incident(rows(3, 15.0), "t")).nodes)
    assert all(nodes[0] == "b" and "t" not in nodes for nodes in answers)
    assert sum(len(nodes) > 1 for nodes in answers) <= 2


def test_a_target_that_is_the_sum_of_its_causes_has_no_blame():
    normal = pd.DataFrame(np.random.default_rng(1).normal(size=(400, 2)), columns=["a", "b"])
    system = System(
        CausalGraph(["a", "b", "t"], [("a", "t"), ("b", "t")]), normal.eval("t = a + b")
    )
    ranking = (
        TOCA().fit(system).rank(Incident(pd.DataFrame({"a": [9.0], "b": [0.1], "t": [9.1]}), "t"))
    )
    assert ranking.nodes == ("a",) and np.isclose(ranking.scores["t"], np.log(2), rtol=1e-3)

import time

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph
from workbench.core.errors import DataError, ParameterError
from workbench.graph.falsify import falsify


def draw(graph, n, seed):
    r = np.random.default_rng(seed)
    values = {}
    for node in graph.topological_order():
        noise = r.normal(size=n)
        values[node] = sum((0.8 * values[p] for p in graph.parents(node)), noise)
    return pd.DataFrame(values)


def random_graph(d, seed, degree=2.0):
    r = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(d)]
    chance = degree / (d - 1)
    edges = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if r.random() < chance]
    return CausalGraph(names, edges)


def test_a_true_graph_stands(untouched):
    graph = random_graph(10, 3)
    df = untouched(draw(graph, 600, 0))
    found = falsify(graph, df)
    assert found.outcome == "not falsified" and found.failed == 0
    assert found.edges["supported"].all()
    assert found.p_better == pytest.approx(1 / 201)


def test_p_values_of_true_graphs_are_uniform():
    from scipy.stats import kstest

    tail = 0
    for seed in range(40):
        graph = random_graph(8, seed)
        p = falsify(graph, draw(graph, 400, seed), n_permutations=1).implied["p"]
        tail += kstest(p, "uniform").pvalue < 0.01
    assert tail <= 3


def test_a_relabelled_graph_falls():
    falsified = 0
    for seed in range(20):
        graph = random_graph(10, seed)
        df = draw(graph, 600, seed)
        labels = np.random.default_rng(seed).permutation(list(graph.nodes)).tolist()
        wrong = graph.rename(dict(zip(graph.nodes, labels, strict=True)))
        falsified += falsify(wrong, df, n_permutations=100).outcome == "falsified"
    assert falsified >= 16


def test_missing_and_needless_edges_are_named():
    truth = CausalGraph(list("abc"), [("a", "b"), ("b", "c")])
    df = draw(truth, 800, 0)
    missing = falsify(CausalGraph(list("abc"), [("a", "b")]), df)
    assert missing.failed == 2
    extra = falsify(CausalGraph(list("abc"), [("a", "b"), ("b", "c"), ("a", "c")]), df)
    weak = extra.edges[~extra.edges["supported"]]
    assert weak[["u", "v"]].to_numpy().tolist() == [["a", "c"]]
    assert extra.outcome == "not informative"


def test_latent_nodes_and_levels_are_fine():
    r = np.random.default_rng(0)
    hidden = r.normal(size=500)
    df = pd.DataFrame({"x": hidden + r.normal(size=500), "y": hidden + r.normal(size=500)})
    df["z"] = r.choice(["p", "q", "r"], 500)
    graph = CausalGraph(["x", "y", "h", "z"], [("h", "x"), ("h", "y")], latent=["h"])
    found = falsify(graph, df)
    assert set(found.implied["x"]) | set(found.implied["y"]) == {"x", "y", "z"}
    assert found.failed == 0


def test_the_same_seed_gives_the_same_answer():
    graph = random_graph(8, 1)
    df = draw(graph, 300, 1)
    one, two = falsify(graph, df), falsify(graph, df.iloc[:, ::-1])
    assert one.p_better == two.p_better
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())


def test_rows_that_depend_on_each_other_are_told():
    graph = random_graph(4, 0)
    df = draw(graph, 200, 0).assign(person_id=np.arange(200) // 4)
    assert "dependent-rows" in [w.code for w in falsify(graph, df).warnings]


def test_what_cannot_be_tested_is_said():
    df = draw(random_graph(4, 0), 100, 0).assign(v3=1.0)
    found = falsify(random_graph(4, 0), df)
    assert found.left_out == {"v3": "constant"} and "not tested: v3" in found.how()
    with pytest.raises(DataError, match="'v9'"):
        falsify(CausalGraph(["v0", "v9"]), df)
    for bad in ({"alpha": 2}, {"n_permutations": 0}):
        with pytest.raises(ParameterError):
            falsify(random_graph(4, 0), df, **bad)


@pytest.mark.parametrize("latent", [True, False])
def test_hidden_causes_may_be_nodes_or_two_headed_edges(latent):
    r = np.random.default_rng(0)
    names, pairs = list("abcdefgh"), ("ab", "cd", "ef", "gh")
    df = pd.DataFrame(r.normal(size=(1000, 8)), columns=names)
    for pair in pairs:
        df[list(pair)] += r.normal(size=(1000, 1))
    if latent:
        hidden = [p.upper() for p in pairs]
        edges = [(p.upper(), v) for p in pairs for v in p]
        graph = CausalGraph([*names, *hidden], edges, latent=hidden)
    else:
        graph = CausalGraph(names, [(*pair, "arrow", "arrow") for pair in pairs])
    found = falsify(graph, df)
    assert found.outcome == "not falsified" and found.p_same < 0.02 and found.failed == 0


def test_relabellings_of_one_class_are_counted():
    # Of the 24 orders of a chain of four only it and its reverse imply the same.
    graph = CausalGraph(list("abcd"), [("a", "b"), ("b", "c"), ("c", "d")])
    found = falsify(graph, draw(graph, 200, 0), n_permutations=2000)
    assert found.p_same == pytest.approx(2 / 24, abs=0.02)
    star = CausalGraph(list("abcd"), [("a", "d"), ("b", "d"), ("c", "d")])
    found = falsify(star, draw(star, 200, 0), n_permutations=2000)
    assert found.p_same == pytest.approx(6 / 24, abs=0.03)


def test_what_has_no_test_is_no_pass():
    names = [f"v{i:02}" for i in range(14)]
    df = pd.DataFrame(np.random.default_rng(0).normal(size=(13, 14)), columns=names)
    edges = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    found = falsify(CausalGraph(names, edges[:-1]), df)
    assert (
        found.tested == 0 and found.outcome == "not informative" and found.implied["p"].isna().all()
    )
    assert "nothing could be tested" in found.verdict()
    assert not found.edges.loc[found.edges["p"].isna(), "supported"].any()
    few = falsify(CausalGraph(names, [e for e in edges if e[0] != "v00"]), df)
    assert 0 < few.tested and "could not be tested" in few.summary()


@pytest.mark.slow
def test_a_thousand_relabellings_of_twenty_nodes_take_seconds():
    graph = random_graph(20, 0, degree=4)
    df = draw(graph, 2000, 0)
    start = time.process_time()
    falsify(graph, df, n_permutations=1000)
    assert time.process_time() - start < 5

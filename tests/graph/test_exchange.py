import random
import warnings

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, GraphError
from workbench.graph import CausalGraph, read_graph

DIRECTED, BOTH = ("tail", "arrow"), ("arrow", "arrow")
ODD = ["a b", "größe", "<->", "1", "x;y", 'q"']


def random_graphs(count=60):
    """Graphs of every kind on odd names."""
    rng = random.Random(0)
    circles = [(a, b) for a in ("tail", "circle", "arrow") for b in ("circle", "arrow")]
    choices = {
        "dag": [(DIRECTED,)],
        "admg": [(DIRECTED,), (BOTH,), (DIRECTED, BOTH)],
        "mpdag": [(DIRECTED,), (("tail", "tail"),)],
        "pag": [(pair,) for pair in circles] + [(("tail", "tail"),)],
    }
    for i in range(count):
        kind = list(choices)[i % 4]
        edges = [
            (u, v, *marks)
            for j, v in enumerate(ODD)
            for u in ODD[:j]
            if rng.random() < 0.5
            for marks in rng.choice(choices[kind])
        ]
        yield CausalGraph(ODD, edges, latent=rng.sample(ODD, i % 3), kind=kind)


def test_networkx_round_trip():
    for graph in random_graphs():
        assert CausalGraph.from_networkx(graph.to_networkx()) == graph
        assert read_graph(graph.to_networkx()) == graph
    assert type(CausalGraph(["a"]).to_networkx()) is nx.DiGraph


def test_networkx_nodes_of_any_type():
    graph = CausalGraph.from_networkx(nx.DiGraph([(1, ("t", 2)), (("t", 2), "x")]))
    assert graph.edges == (("('t', 2)", "x", *DIRECTED), ("1", "('t', 2)", *DIRECTED))
    with pytest.raises(GraphError, match="two nodes are called '1'") as caught:
        CausalGraph.from_networkx(nx.DiGraph([(1, "1")]))
    assert caught.value.advice
    with pytest.raises(GraphError, match="cycle: a -> b -> a"):
        CausalGraph.from_networkx(nx.DiGraph([("a", "b"), ("b", "a")]))
    with pytest.raises(GraphError, match="itself"):
        CausalGraph.from_networkx(nx.DiGraph([("a", "a")]))
    assert CausalGraph.from_networkx(nx.Graph([("a", "b")])).kind == "cpdag"
    multi = nx.MultiDiGraph([("a", "b"), ("a", "b")])
    assert CausalGraph.from_networkx(multi).edges == (("a", "b", *DIRECTED),)


def test_causallearn_round_trip():
    for graph in random_graphs():
        back = CausalGraph.from_causallearn(graph.to_causallearn())
        assert back._copy(kind=graph.kind) == graph


def test_causallearn_understands_our_graph():
    graph = CausalGraph(["a", "b", "c", "d"], [("a", "b"), ("b", "c"), ("d", "c")])
    theirs = graph.to_causallearn()
    nodes = {n.get_name(): n for n in theirs.get_nodes()}
    for u in graph.nodes:
        for v in graph.nodes:
            assert theirs.is_directed_from_to(nodes[u], nodes[v]) == graph.has_edge(u, v)
            expected = u == v or u in graph.ancestors(v)
            assert theirs.is_ancestor_of(nodes[u], nodes[v]) == expected
    assert read_graph(str(theirs)) == graph  # it prints Tetrad's text


def test_causallearn_results_take_names():
    from causallearn.search.ConstraintBased.FCI import fci
    from causallearn.search.ConstraintBased.PC import pc

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500))
    frame = pd.DataFrame({"left": x, "right": y, "sum": x + y + 0.5 * rng.normal(size=500)})
    result = pc(frame.to_numpy(), show_progress=False)
    expected = {("left", "sum", *DIRECTED), ("right", "sum", *DIRECTED)}
    assert set(read_graph(result, columns=frame.columns).edges) == expected
    assert set(CausalGraph.from_causallearn(result, list(frame)).edges) == expected
    with pytest.raises(GraphError, match="2 names for 3 nodes"):
        CausalGraph.from_causallearn(result, ["a", "b"])
    pag = read_graph(fci(frame.to_numpy(), show_progress=False, verbose=False), columns=frame)
    assert set(pag.edges) == {(u, v, "circle", "arrow") for u, v, *_ in expected}


def test_two_headed_edges_of_pc_are_flagged():
    class Result:
        G = CausalGraph(["a", "b"], [("a", "b", *BOTH)]).to_causallearn()
        sepset = None

    with pytest.warns(CausalWarning, match="no evidence of hidden causes"):
        CausalGraph.from_causallearn(Result())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CausalGraph.from_causallearn(Result.G)


def test_dowhy_round_trip_and_model():
    from dowhy import CausalModel

    graph = CausalGraph(
        ["t", "y", "w", "u"],
        [("t", "y"), ("t", "y", *BOTH), ("w", "t"), ("u", "w"), ("w", "y", *BOTH)],
        latent=["u"],
    )
    theirs = graph.to_dowhy()
    assert nx.is_directed_acyclic_graph(theirs) and CausalGraph.from_dowhy(theirs) == graph
    frame = pd.DataFrame(np.zeros((4, 3)), columns=["t", "y", "w"])
    model = CausalModel(frame, "t", "y", graph=theirs)
    for source in (model, model._graph):
        assert read_graph(source).edges == graph.edges
    assert read_graph(model).latent == {"u"}


def test_dowhy_gets_no_class():
    with pytest.raises(GraphError, match="stands for several DAGs"):
        CausalGraph(["a", "b"], [("a", "b", "tail", "tail")]).to_dowhy()
    with pytest.raises(GraphError, match="holds no"):
        CausalGraph.from_dowhy(3)
    with pytest.raises(GraphError, match="holds no"):
        CausalGraph.from_causallearn(3)


def test_stand_ins_for_two_headed_edges_never_meet_a_node():
    graph = CausalGraph(["a", "b", "U(a, b)"], [("a", "b", *BOTH), ("U(a, b)", "a")])
    assert CausalGraph.from_dowhy(graph.to_dowhy()) == graph

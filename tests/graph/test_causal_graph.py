"""CausalGraph: an immutable value with named nodes, which refuses what is no graph."""

import copy
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import GraphError, IdentificationError
from workbench.core.saving import load, save
from workbench.graph import CausalGraph

ARROW, BOTH, NONE = ("tail", "arrow"), ("arrow", "arrow"), ("tail", "tail")


@pytest.fixture
def graph():
    return CausalGraph(
        ["age", "bmi", "dose", "u", "death"],
        [("age", "bmi"), ("bmi", "dose"), ("dose", "death"), ("u", "dose"), ("u", "death")],
        latent=["u"],
    )


@st.composite
def graphs(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6, unique=True))
    pairs = list(combinations(names, 2))
    marks = st.sampled_from([None, ARROW, BOTH, "two"])
    edges = []
    for u, v in pairs:
        mark = draw(marks)
        if mark is not None:
            edges += [(u, v), (u, v, *BOTH)] if mark == "two" else [(u, v, *mark)]
    return CausalGraph(names, edges, latent=draw(st.sets(st.sampled_from(names))))


@pytest.mark.parametrize("name", ["nodes", "edges", "latent", "kind", "info", "anything"])
def test_nothing_can_be_changed(graph, name):
    before = graph._state()
    with pytest.raises(AttributeError, match="immutable"):
        setattr(graph, name, ())
    with pytest.raises(TypeError):
        graph.info["score"] = 1
    assert graph._state() == before


def test_what_the_caller_changes_later_does_not_matter():
    nodes, edges, info = ["a", "b"], [["a", "b"]], {"score": 1}
    graph = CausalGraph(nodes, edges, info=info)
    nodes.append("c")
    edges[0][0] = "c"
    info["score"] = 2
    assert graph.nodes == ("a", "b") and list(graph.directed_edges()) == [("a", "b")]
    assert graph.info["score"] == 1


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_equality_is_that_of_the_model_not_of_its_notation(graph, random):
    nodes, edges = list(graph.nodes), list(graph.edges)
    random.shuffle(nodes)
    random.shuffle(edges)
    turned = [(v, u, b, a) if random.random() < 0.5 else (u, v, a, b) for u, v, a, b in edges]
    same = CausalGraph(nodes, turned * 2, latent=graph.latent, info={"seconds": 3})
    assert same == graph and hash(same) == hash(graph)
    for change in (
        CausalGraph([*graph.nodes, "another one"], graph.edges, latent=graph.latent),
        CausalGraph(graph.nodes, graph.edges[1:], latent=graph.latent) if graph.edges else None,
        CausalGraph(graph.nodes, graph.edges, latent=set(graph.nodes) - graph.latent),
    ):
        assert change != graph
    assert graph != graph.edges


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_round_trips(graph, tmp_path_factory):
    graph = graph.with_info(method="boss", seconds=1.5)
    path = save(graph, tmp_path_factory.mktemp("graph") / "saved")
    for other in (load(path), copy.deepcopy(graph)):
        assert other == graph and other.nodes == graph.nodes and other.info == graph.info


def test_a_class_keeps_its_kind_on_disk(tmp_path):
    for edges in ([("a", "b", *NONE)], [("a", "b", "circle", "arrow")]):
        graph = CausalGraph(["a", "b"], edges)
        save(graph, tmp_path / graph.kind)
        assert load(tmp_path / graph.kind) == graph
        assert load(tmp_path / graph.kind).kind == graph.kind


# -- refusals ------------------------------------------------------------------------------


def test_a_cycle_names_the_nodes_on_it_and_no_others():
    edges = [("in", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("d", "out"), ("out", "end")]
    with pytest.raises(GraphError, match="cycle: b -> c -> d -> b") as caught:
        CausalGraph(["end", "out", "in", "d", "c", "b"][::-1], edges)
    assert caught.value.column == "b"
    with pytest.raises(GraphError, match="cycle"):
        CausalGraph(["a", "b"], [("a", "b"), ("b", "a")])


def test_a_cycle_is_found_if_and_only_if_there_is_one():
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        pairs = {tuple(rng.choice(list("abcde"), 2, replace=False).tolist()) for _ in range(5)}
        acyclic = nx.is_directed_acyclic_graph(nx.DiGraph(pairs))
        outcomes.add(acyclic)
        try:
            CausalGraph(list("abcde"), pairs)
            assert acyclic
        except GraphError as error:
            assert not acyclic
            walk = error.problem.split(": ")[1].split(" -> ")
            assert walk[0] == walk[-1] and len(set(walk)) == len(walk) - 1
            assert set(zip(walk, walk[1:], strict=False)) <= pairs
    assert outcomes == {True, False}


def test_a_long_chain_and_a_long_cycle_are_no_problem():
    names = [f"v{i}" for i in range(20_000)]
    steps = list(zip(names, names[1:], strict=False))
    assert len(CausalGraph(names, steps).ancestors("v19999")) == 19_999
    with pytest.raises(GraphError, match="v0 -> v1 .* -> ... -> v0"):
        CausalGraph(names, [*steps, ("v19999", "v0")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "a"],), "'a'.*twice"),
        ((["a", ""],), "non-empty"),
        ((["a", 1],), "non-empty texts"),
        (("ab",), "list of names"),
        ((["age"], [("agee", "age")]), "'agee'.*not a node.*Did you mean 'age'"),
        ((["a"], [("a", "a")]), "'a'.*itself"),
        ((["a", "b"], ["ab"]), "an edge is"),
        ((["a", "b"], [("a", "b", "tail")]), "an edge is"),
        ((["a", "b"], [("a", "b", "tail", "head")]), "'a'.*unknown mark"),
        ((["a", "b"], [("a", "b"), ("a", "b", *NONE)]), "contradict"),
    ],
)
def test_what_is_no_graph_is_refused_with_the_place(arguments, message):
    with pytest.raises(GraphError, match=message):
        CausalGraph(*arguments)


@pytest.mark.parametrize(
    ("kind", "marks"),
    [("dag", NONE), ("dag", BOTH), ("cpdag", BOTH), ("mpdag", ("circle", "arrow")), ("admg", NONE)],
)
def test_marks_must_fit_the_kind(kind, marks):
    with pytest.raises(GraphError, match=f"not allowed in a graph of kind '{kind}'"):
        CausalGraph(["a", "b"], [("a", "b", *marks)], kind=kind)


def test_unknown_names_get_a_suggestion(graph):
    for question in (graph.parents, graph.descendants, graph.adjacent):
        with pytest.raises(GraphError, match="'dosis'.*Did you mean 'dose'"):
            question("dosis")
    with pytest.raises(GraphError, match="latent.*not a node"):
        CausalGraph(["a"], latent=["b"])
    with pytest.raises(GraphError, match="kind must be"):
        CausalGraph(["a"], kind="tree")


# -- questions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edges", "kind"),
    [
        ([], "dag"),
        ([("a", "b")], "dag"),
        ([("a", "b"), ("a", "b", *BOTH)], "admg"),
        ([("a", "b", *NONE)], "cpdag"),
        ([("a", "b"), ("b", "c", *NONE)], "mpdag"),
        ([("a", "b", "circle", "circle")], "pag"),
        ([("a", "b", *NONE), ("b", "c", *BOTH)], "pag"),
    ],
)
def test_the_kind_follows_from_the_marks(edges, kind):
    assert CausalGraph(list("abc"), edges).kind == kind


def test_neighbourhoods():
    graph = CausalGraph(
        list("abcde"),
        [("a", "b"), ("c", "b", *BOTH), ("b", "d", *NONE), ("b", "e", "circle", "arrow")],
    )
    assert graph.parents("b") == ("a",) and graph.children("a") == ("b",)
    assert graph.spouses("b") == ("c",) and graph.neighbors("b") == ("d",)
    assert graph.adjacent("b") == ("a", "c", "d", "e")
    assert graph.marks("e", "b") == (("arrow", "circle"),) and graph.marks("a", "e") == ()
    assert graph.has_edge("a", "b") and not graph.has_edge("b", "a")
    assert len(graph.skeleton()) == 4 and len(graph) == 5 and "a" in graph and "z" not in graph


def test_ancestors_descendants_and_order_agree_with_networkx():
    rng = np.random.default_rng(1)
    names = [f"v{i}" for i in range(12)]
    for _ in range(30):
        order = rng.permutation(names).tolist()
        edges = [p for p in combinations(order, 2) if rng.random() < 0.2]
        graph, other = CausalGraph(names, edges), nx.DiGraph(edges)
        other.add_nodes_from(names)
        for node in names:
            assert graph.ancestors(node) == nx.ancestors(other, node)
            assert graph.descendants(node) == nx.descendants(other, node)
        place = {n: i for i, n in enumerate(graph.topological_order())}
        assert set(place) == set(names) and all(place[u] < place[v] for u, v in edges)


def test_the_observed_part_and_the_names(graph):
    assert graph.observed == ("age", "bmi", "dose", "death")
    assert graph.subgraph(["u", "dose"]).edges == (("u", "dose", *ARROW),)
    assert graph.subgraph(["u", "dose"]).latent == {"u"}
    other = graph.rename({"u": "hidden", "age": "years"})
    assert other.latent == {"hidden"} and other.parents("bmi") == ("years",)
    assert other.rename({"hidden": "u", "years": "age"}) == graph
    swapped = graph.rename({"age": "bmi", "bmi": "age"})
    assert swapped.has_edge("bmi", "age") and swapped.has_edge("age", "dose")
    with pytest.raises(GraphError, match="twice"):
        graph.rename({"age": "bmi"})


def test_the_methods_answer_as_the_functions_do(graph):
    assert graph.d_separated("age", "death", given=["dose", "bmi"])
    assert not graph.d_separated("age", "death", given=["dose"])
    assert graph.adjustment_sets("age", "dose") == [frozenset()]
    with pytest.raises(IdentificationError, match="dose ← u → death"):
        graph.adjustment_set("dose", "death")


def test_a_large_graph_is_shown_in_one_short_line(graph):
    assert repr(graph).startswith("CausalGraph(dag, 5 nodes, 5 edges: ")
    assert repr(CausalGraph([])) == "CausalGraph(dag, 0 nodes, 0 edges)"
    names = [f"v{i}" for i in range(500)]
    assert len(repr(CausalGraph(names, list(zip(names, names[1:], strict=False))))) < 200

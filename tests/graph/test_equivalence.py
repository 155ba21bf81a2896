"""Equivalence classes are what comparing all DAGs says."""

import time
from itertools import combinations, product

import numpy as np
import pytest

from workbench.core.errors import GraphError
from workbench.graph import CausalGraph
from workbench.graph.equivalence import (
    PartialOrientation,
    extension,
    is_cpdag,
    members,
    sample_members,
)


def all_dags(size):
    names = list("abcde"[:size])
    pairs = list(combinations(names, 2))
    for turns in product((None, False, True), repeat=len(pairs)):
        edges = [p[::-1] if t else p for p, t in zip(pairs, turns, strict=True) if t is not None]
        try:
            yield CausalGraph(names, edges)
        except GraphError:
            pass


def signature(graph):
    """Skeleton and unshielded colliders: equal if and only if the DAGs are equivalent."""
    colliders = {
        (frozenset((a, b)), n)
        for n in graph.nodes
        for a, b in combinations(graph.parents(n), 2)
        if b not in graph.adjacent(a)
    }
    return graph.skeleton(), frozenset(colliders)


def shared(dags):
    """The graph whose arrows all DAGs agree on, the other edges undirected."""
    common = set.intersection(*(set(d.directed_edges()) for d in dags))
    some = set.union(*(set(d.directed_edges()) for d in dags))
    loose = {tuple(sorted(e)) for e in some - common}
    return [*common, *((u, v, "tail", "tail") for u, v in loose)]


@pytest.fixture(scope="module")
def classes():
    found = {}
    for dag in all_dags(4):
        found.setdefault(signature(dag), []).append(dag)
    return list(found.values())


def test_the_number_of_classes_is_known(classes):
    assert sum(map(len, classes)) == 543 and len(classes) == 185


def test_the_cpdag_has_the_arrows_on_which_all_members_agree(classes):
    for dags in classes:
        truth = CausalGraph(dags[0].nodes, shared(dags), kind="cpdag")
        assert {dag.cpdag() for dag in dags} == {truth}
        assert truth.cpdag() == truth


def test_members_are_exactly_the_class(classes):
    for dags in classes:
        graph = dags[0].cpdag()
        found = graph.members(limit=1000)
        assert len(found) == len(set(found)) and set(found) == set(dags)
        assert graph.members(limit=2) == found[:2]
        assert graph.to_dag() in dags and graph.to_dag().kind == "dag"


def test_a_partly_directed_graph_is_called_cpdag_only_if_it_is_one(classes):
    for dags in classes:
        edges = shared(dags)
        if any(len(e) == 4 for e in edges):
            assert CausalGraph(dags[0].nodes, edges).kind == "cpdag"
    chain = [("a", "b"), ("b", "c", "tail", "tail")]
    assert CausalGraph(list("abc"), chain).kind == "mpdag"
    assert not is_cpdag(CausalGraph(list("abc"), chain))


def test_knowledge_is_drawn_out_to_all_that_follows(classes):
    rng = np.random.default_rng(0)
    for dags in classes:
        graph = dags[0].cpdag()
        for _ in range(3):
            member = dags[rng.integers(len(dags))]
            known = [e for e in member.directed_edges() if e[1] in graph.neighbors(e[0])]
            known = [e for e in known if rng.random() < 0.5]
            partial = PartialOrientation.of(graph)
            for u, v in known:
                partial.orient(graph.nodes.index(u), graph.nodes.index(v))
            raw = partial.graph(graph, "mpdag")
            left = [d for d in dags if all(d.has_edge(*e) for e in known)]
            assert set(raw.members(limit=1000)) == set(left)
            partial.close()
            closed = partial.graph(graph, "mpdag")
            assert closed == CausalGraph(graph.nodes, shared(left), kind="mpdag")
            partial.close()
            assert partial.graph(graph, "mpdag") == closed
            assert closed.cpdag() == graph


def test_a_class_without_members_is_refused():
    square = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
    empty = CausalGraph(list("abcd"), [(*e, "tail", "tail") for e in square])
    assert empty.kind == "mpdag"
    for question in (members, extension):
        with pytest.raises(GraphError, match="contradict"):
            question(empty)
    collider = CausalGraph(list("abcd"), [("a", "b"), ("c", "b"), ("b", "d", "tail", "tail")])
    assert [set(d.directed_edges()) for d in collider.members()] == [
        {("a", "b"), ("c", "b"), ("b", "d")}
    ]


def test_hidden_causes_have_no_dags():
    graph = CausalGraph(list("ab"), [("a", "b", "arrow", "arrow")])
    with pytest.raises(GraphError, match="neither directed nor undirected"):
        graph.members()
    with pytest.raises(GraphError, match="neither directed nor undirected"):
        graph.cpdag()


def test_latent_nodes_and_diagnostics_survive():
    graph = CausalGraph(list("ab"), [("a", "b")], latent=["a"], info={"score": 1.0})
    assert graph.cpdag().latent == {"a"} and graph.cpdag().info == {"score": 1.0}
    assert graph.cpdag().to_dag().latent == {"a"}


def test_a_thousand_nodes_are_no_burden():
    names = [f"v{i}" for i in range(1000)]
    rng = np.random.default_rng(1)
    edges = {tuple(sorted(rng.choice(1000, 2, replace=False).tolist())) for _ in range(2000)}
    dag = CausalGraph(names, [(names[i], names[j]) for i, j in edges])
    start = time.process_time()
    graph = dag.cpdag()
    assert graph.to_dag().cpdag() == graph
    assert len(graph.members(limit=5)) == 5
    assert time.process_time() - start < 2


@pytest.mark.parametrize("n", [3, 250])
def test_members_are_drawn_evenly(n):
    """Of k paths a - b - c each has three orientations, one for every root: a third each."""
    paths = [(f"a{i}", f"b{i}", f"c{i}") for i in range(6)]
    edges = [(u, v, "tail", "tail") for a, b, c in paths for u, v in ((a, b), (b, c))]
    graph = CausalGraph([n for p in paths for n in p], edges)  # 729 members
    draws = 600 // n
    roots = {"a": 0.0, "b": 0.0, "c": 0.0}
    for seed in range(draws):
        drawn, whole = sample_members(graph, n, seed)
        assert not whole and sum(drawn.values()) == pytest.approx(1) and len(drawn) <= n
        for dag, weight in drawn.items():
            for path in paths:
                root = next(v for v in path if not dag.parents(v))
                roots[root[0]] += weight / draws / len(paths)
    assert all(abs(share - 1 / 3) < 0.04 for share in roots.values()), roots


def test_members_of_a_part_that_is_too_large_to_list_are_weighted():
    """A path of n nodes has n members, one per root; a star with m leaves m + 1; a clique m!."""
    names = [f"v{i}" for i in range(7)]
    edges = [(u, v, "tail", "tail") for u, v in combinations(names, 2)]
    clique = CausalGraph(names, edges)  # 5,040 members
    drawn, whole = sample_members(clique, 400)
    first = {n: sum(w for dag, w in drawn.items() if not dag.parents(n)) for n in names}
    assert not whole and all(dag.cpdag() == clique.cpdag() for dag in drawn)
    assert all(abs(share - 1 / 7) < 0.08 for share in first.values()), first


def test_a_small_class_is_given_whole():
    path = CausalGraph(list("abc"), [("a", "b", "tail", "tail"), ("b", "c", "tail", "tail")])
    assert sample_members(path, 3) == (dict.fromkeys(path.members(), 1 / 3), True)
    drawn = [sample_members(path, 1, seed)[0] for seed in range(40)]
    assert {dag for found in drawn for dag in found} == set(path.members())


def test_drawn_members_are_members():
    for dag in list(all_dags(4))[::9]:
        graph = dag.cpdag()
        every = members(graph, 1000)
        if len(every) < 3:
            continue
        found = {m for seed in range(30) for m in sample_members(graph, 2, seed)[0]}
        assert found <= set(every)

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.diagnosis.structure import generations, loop_name, marginalise, unroll

NODES = "abcdefg"
pairs = st.sets(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=16)


def as_digraph(parents):
    graph = nx.DiGraph()
    graph.add_nodes_from(parents)
    graph.add_edges_from((p, n) for n, above in parents.items() for p in above)
    return graph


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_unrolling_gives_a_dag_and_keeps_who_reaches_whom_outside_the_loops(edges):
    parents, loops = unroll(NODES, edges)
    new, old = as_digraph(parents), nx.DiGraph(edges)
    old.add_nodes_from(NODES)
    assert nx.is_directed_acyclic_graph(new)
    inside = {n: set(loop) for loop in loops for n in loop}
    for node in NODES:
        reached = nx.descendants(old, node) - inside.get(node, set()) - {node}
        assert nx.descendants(new, node) <= reached
        direct = {v for v in old.successors(node) if v not in inside.get(node, {node})}
        assert all(v in new.successors(node) for v in direct)


@settings(deadline=None, max_examples=60)
@given(pairs, st.sets(st.sampled_from(NODES), max_size=4))
def test_marginalising_keeps_exactly_the_ancestry_of_those_that_stay(edges, removed):
    dag, _ = unroll(NODES, {(u, v) for u, v in edges if u < v})
    kept, _ = marginalise(dag, removed)
    before, after = as_digraph(dag), as_digraph(kept)
    assert nx.is_directed_acyclic_graph(after)
    assert set(kept) == set(NODES) - removed
    for node in kept:
        assert nx.ancestors(after, node) == nx.ancestors(before, node) - removed


def test_order_of_removal_does_not_matter():
    chain = {"a": (), "b": ("a",), "c": ("b",), "d": ("c", "a"), "e": ("c",)}
    at_once, _ = marginalise(chain, ["b", "c"])
    first, _ = marginalise(chain, ["c"])
    then, _ = marginalise(first, ["b"])
    assert at_once == then == {"a": (), "d": ("a",), "e": ("a",)}


def test_a_removed_node_with_one_child_hides_no_common_cause():
    assert marginalise({"a": (), "b": ("a",)}, ["a"]) == ({"b": ()}, [])
    assert marginalise({"a": (), "b": ("a",), "c": ("a",)}, ["a"])[1] == [("b", "c")]


def test_generations_are_longest_paths():
    assert generations({"a": (), "b": ("a",), "c": ("a", "b")}) == {"a": 0, "b": 1, "c": 2}


def test_loop_names_do_not_depend_on_order():
    assert loop_name(["y", "x"]) == loop_name(["x", "y"])

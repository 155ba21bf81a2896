import numpy as np
import pytest

from workbench import CausalGraph
from workbench.core.errors import GraphError
from workbench.graph import compare


def wrong_effects(estimated, true, rng):
    """Ordered pairs for which regression on the estimate's parents misses the true effect."""
    names = list(true.nodes)
    d, at = len(names), {n: i for i, n in enumerate(true.nodes)}
    weights = np.zeros((d, d))
    for u, v in true.directed_edges():
        weights[at[u], at[v]] = rng.uniform(0.5, 2)
    total = np.linalg.inv(np.eye(d) - weights)
    cov = total.T @ np.diag(rng.uniform(0.5, 2, d)) @ total
    wrong = 0
    for x in range(d):
        given = [at[p] for p in estimated.parents(names[x])]
        for y in range(d):
            if x == y:
                continue
            use = [x, *given]
            said = 0.0 if y in given else np.linalg.solve(cov[np.ix_(use, use)], cov[use, y])[0]
            wrong += abs(said - total[x, y]) > 1e-9
    return wrong


def test_parent_aid_counts_wrong_effects(random_dag):
    # The convention (row causes column, truth first) would show here if it were turned round.
    rng = np.random.default_rng(0)
    turned = 0
    for _ in range(30):
        true, guess = random_dag(rng, 5), random_dag(rng, 5)
        wrong = wrong_effects(guess, true, rng)
        row = compare(guess, true)
        assert row["parent_aid"] * 20 == pytest.approx(wrong) == pytest.approx(row["sid"])
        turned += wrong != wrong_effects(true, guess, rng)
    assert turned > 5


def test_three_nodes_by_hand():
    true = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")])
    fork = CausalGraph(["c", "b", "a"], [("b", "a"), ("b", "c")])
    row = compare(fork, true)
    assert row["shd"] == 1 and row["shd_class"] == 0
    assert row["skeleton_precision"] == row["skeleton_recall"] == 1
    assert row["arrow_precision"] == row["arrow_recall"] == 0.5
    # Wrong: a on b and on c (said to be none), b on a (said to be some).
    assert row["parent_aid"] == pytest.approx(3 / 6)


def test_precision_looks_from_the_estimate_and_recall_from_the_truth():
    true = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")])
    part = CausalGraph(["a", "b", "c"], [("a", "b")])
    row = compare(part, true)
    assert (row["skeleton_precision"], row["skeleton_recall"]) == (1, 0.5)
    assert (row["arrow_precision"], row["arrow_recall"]) == (1, 0.5)
    back = compare(true, part)
    assert (back["skeleton_precision"], back["skeleton_recall"]) == (0.5, 1)
    assert (row["estimated_edges"], row["true_edges"]) == (1, 2)


def test_shd_is_a_distance(random_dag):
    rng = np.random.default_rng(1)
    graphs = [random_dag(rng, 6) for _ in range(6)] + [random_dag(rng, 6).cpdag()]
    for g in graphs:
        assert compare(g, g)["shd"] == 0 and compare(g, g)["arrow_f1"] == 1
        for h in graphs:
            there = compare(g, h)["shd"]
            assert there == compare(h, g)["shd"] and (there == 0) == (g.edges == h.edges)
            for k in graphs:
                assert there <= compare(g, k)["shd"] + compare(k, h)["shd"]


def test_intervention_distances_of_three_nodes():
    nodes = ["x", "y", "z"]
    true = CausalGraph(nodes, [("x", "y"), ("x", "z"), ("y", "z")])
    # Without y -> z the parents of z no longer block z - y; with it, nothing too many is claimed.
    fewer = CausalGraph(nodes, [("x", "y"), ("x", "z")])
    assert compare(fewer, true)["sid"] == 1 and compare(true, fewer)["sid"] == 0
    # Turned round, y is no parent of x but its child: x on both and y on both go wrong.
    back = CausalGraph(nodes, [("y", "x"), ("x", "z"), ("y", "z")])
    assert compare(back, true)["sid"] == 4


def test_a_class_against_itself_and_against_its_member(random_dag):
    rng = np.random.default_rng(2)
    for _ in range(10):
        dag = random_dag(rng, 6)
        assert compare(dag.cpdag(), dag.cpdag())["parent_aid"] == 0
        row = compare(dag.cpdag(), dag)
        assert row["shd_class"] == 0 and np.isnan(row["sid"])
        assert row["shd"] == sum(a == b for *_, a, b in dag.cpdag().edges)


def test_kinds_for_which_a_measure_has_no_meaning_get_nan():
    nodes = ["a", "b", "c"]
    dag = CausalGraph(nodes, [("a", "b")])
    hidden = CausalGraph(nodes, [("a", "b", "arrow", "arrow")])
    narrowed = CausalGraph(nodes, [("a", "b"), ("b", "c", "tail", "tail")], kind="mpdag")
    for odd in (hidden, narrowed):
        for row in (compare(odd, dag), compare(dag, odd)):
            assert np.isnan(row[["shd_class", "parent_aid", "oset_aid"]]).all()
            assert row["shd"] > 0
    assert compare(hidden, dag)["skeleton_f1"] == 1


def test_empty_graphs_and_single_nodes():
    empty, one = CausalGraph(["a", "b"]), CausalGraph(["a"])
    assert compare(empty, empty)["skeleton_f1"] == 1
    assert compare(empty, CausalGraph(["a", "b"], [("a", "b")]))["skeleton_recall"] == 0
    assert compare(one, one)["parent_aid"] == 0


def test_different_nodes_are_refused():
    with pytest.raises(GraphError, match="'bmi'.*true graph"):
        compare(CausalGraph(["age", "bmi"]), CausalGraph(["age"]))
    with pytest.raises(GraphError, match="estimated graph"):
        compare(CausalGraph(["age"]), CausalGraph(["age", "bmi"]))

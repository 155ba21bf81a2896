import time
import warnings
from itertools import chain, combinations, product

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning, Knowledge
from workbench.graph.discovery import fci
from workbench.graph.discovery.ancestral import (
    completed,
    is_maximal_ancestral,
    member,
)
from workbench.graph.discovery.design import Design
from workbench.graph.discovery.fci import search
from workbench.graph.discovery.mark_kernels import ARROW, CIRCLE, NONE, TAIL
from workbench.graph.mixed import MixedGraph

CODE = {"circle": CIRCLE, "arrow": ARROW, "tail": TAIL}


class Oracle:
    """Answers from d-separation among the observed nodes of a DAG."""

    def __init__(self, dag, observed):
        self.mixed, at = MixedGraph.of(dag), {n: i for i, n in enumerate(dag.nodes)}
        self.position = np.array([at[n] for n in observed])
        self.size = len(observed)

    def log_p(self, x, targets, subsets):
        out = np.full((len(subsets), len(targets)), -np.inf)
        for row, subset in enumerate(subsets.tolist()):
            given = set(self.position[subset].tolist())
            reached = self.mixed.reach([int(self.position[x])], given)
            for column, y in enumerate(targets.tolist()):
                if y not in subset and int(self.position[y]) not in reached:
                    out[row, column] = 0.0
        return out


def hide(rng, dag, share=0.3):
    """Names of the nodes that stay; some with two children or more are hidden."""
    causes = [n for n in dag.nodes if len(dag.children(n)) > 1]
    hidden = {n for n in causes if rng.random() < share}
    return tuple(n for n in dag.nodes if n not in hidden)


def true_mag(dag, observed):
    """Adjacent: no set of observed nodes separates; tails: ancestors."""
    mixed, at = MixedGraph.of(dag), {n: i for i, n in enumerate(dag.nodes)}
    above = {n: dag.ancestors(n) for n in observed}
    marks = np.zeros((len(observed),) * 2, dtype=np.int8)
    for (i, u), (j, v) in combinations(enumerate(observed), 2):
        # If any set separates the two, their observed ancestors do.
        given = {at[n] for n in (above[u] | above[v]) & set(observed) - {u, v}}
        if at[v] in mixed.reach([at[u]], given):
            marks[i, j] = TAIL if v in above[u] else ARROW
            marks[j, i] = TAIL if u in above[v] else ARROW
    return marks


def matrix(graph):
    at = {n: i for i, n in enumerate(graph.nodes)}
    marks = np.zeros((len(at),) * 2, dtype=np.int8)
    for u, v, mark_u, mark_v in graph.edges:
        marks[at[v], at[u]], marks[at[u], at[v]] = CODE[mark_u], CODE[mark_v]
    return marks


def prepared(observed, knowledge=None):
    d = len(observed)
    blocks = tuple(np.array([i]) for i in range(d))
    return Design(observed, observed, np.eye(d), blocks, 1000, {}, knowledge or Knowledge())


def nothing_known(d):
    return np.full((d, d), CIRCLE, dtype=np.int8)


def separations(marks):
    d = len(marks)
    parents = [np.flatnonzero((marks[:, j] == ARROW) & (marks[j] == TAIL)) for j in range(d)]
    spouses = [np.flatnonzero((marks[:, j] == ARROW) & (marks[j] == ARROW)) for j in range(d)]
    mixed = MixedGraph.of_parents([p.tolist() for p in parents], [s.tolist() for s in spouses])
    sets = chain.from_iterable(combinations(range(d), k) for k in range(d - 1))
    return tuple(frozenset(mixed.reach([x], set(s))) for s in sets for x in range(d) if x not in s)


def shared_marks(mag):
    """By definition: the marks that all Markov equivalent MAGs have in common."""
    edges = np.argwhere(np.triu(mag)).tolist()
    wanted, found = separations(mag), []
    for kinds in product([(TAIL, ARROW), (ARROW, TAIL), (ARROW, ARROW)], repeat=len(edges)):
        other = np.zeros_like(mag)
        for (i, j), (at_i, at_j) in zip(edges, kinds, strict=True):
            other[j, i], other[i, j] = at_i, at_j
        if is_maximal_ancestral(other) and separations(other) == wanted:
            found.append(other)
    same = (np.array(found) == found[0]).all(axis=0)
    return np.where(same, found[0], np.where(mag != NONE, CIRCLE, NONE))


def test_the_class_of_a_mag_is_what_equivalent_mags_share(random_dag):
    rng = np.random.default_rng(0)
    tried = 0
    while tried < 12:
        dag = random_dag(rng, 7, degree=3)
        mag = true_mag(dag, hide(rng, dag, 0.8))
        if len(mag) > 5 or (mag != NONE).sum() > 10 or not (mag * mag.T == ARROW**2).any():
            continue
        tried += 1
        assert is_maximal_ancestral(mag)
        np.testing.assert_array_equal(completed(mag, nothing_known(len(mag))), shared_marks(mag))


def check_oracle(rng, random_dag, d):
    dag = random_dag(rng, d, degree=rng.uniform(1.5, 3.5))
    observed = hide(rng, dag)
    graph = search(prepared(observed), Oracle(dag, observed), 0.5)
    wanted = completed(true_mag(dag, observed), nothing_known(len(observed)))
    np.testing.assert_array_equal(matrix(graph), wanted)
    assert not graph.info["conflicts"]
    MixedGraph.of(graph)


def test_with_perfect_tests_the_class_is_exact(random_dag):
    rng = np.random.default_rng(1)
    for _ in range(40):
        check_oracle(rng, random_dag, int(rng.integers(3, 11)))


@pytest.mark.slow
def test_with_perfect_tests_the_class_is_exact_for_500_graphs(random_dag):
    rng = np.random.default_rng(2)
    for _ in range(500):
        check_oracle(rng, random_dag, int(rng.integers(5, 16)))


def known_marks(names, knowledge):
    allowed = knowledge.allowed(names)
    marks = np.where(allowed.T, CIRCLE, ARROW)
    for u, v in knowledge.required:
        i, j = names.index(u), names.index(v)
        marks[j, i], marks[i, j] = TAIL, ARROW
    return marks.astype(np.int8)


def check_legal(graph, knowledge=None):
    """Some MAG of the graph is legal and has this very class."""
    marks = matrix(graph)
    assert not ((marks == TAIL) & (marks.T != ARROW)).any()
    mag = member(marks)
    assert is_maximal_ancestral(mag)
    known = known_marks(graph.nodes, knowledge or Knowledge())
    np.testing.assert_array_equal(completed(mag, known), marks)
    MixedGraph.of(graph)


@pytest.mark.parametrize("seed", range(5))
def test_the_result_is_legal_however_few_the_rows(seed, random_dag, linear_sample):
    rng = np.random.default_rng(seed)
    for _ in range(4):
        dag = random_dag(rng, 14, degree=4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = fci(linear_sample(rng, dag, 80)[list(hide(rng, dag))], alpha=0.1, depth=3)
        check_legal(graph)


def test_knowledge_is_never_violated_even_if_the_data_say_otherwise(
    random_dag, linear_sample, true_knowledge
):
    rng = np.random.default_rng(3)
    for _ in range(200):
        d = int(rng.integers(3, 9))
        df = linear_sample(rng, random_dag(rng, d), 60)
        knowledge = true_knowledge(rng, random_dag(rng, d))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CausalWarning)
            graph = fci(df, alpha=0.05, knowledge=knowledge)
        assert knowledge.violations(graph) == []
        assert is_maximal_ancestral(member(matrix(graph)))
        for u, v, mark_u, _ in graph.edges:
            # What is no cause has an arrowhead.
            assert knowledge.allows(u, v) or mark_u == "arrow"


def test_tiers_leave_room_for_a_hidden_cause():
    rng = np.random.default_rng(4)
    hidden, e, f = rng.normal(size=(3, 1000))
    df = pd.DataFrame({"early": hidden + e, "late": hidden + f})
    graph = fci(df, knowledge=Knowledge(tiers=["early", "late"]))
    assert graph.edges == (("early", "late", "circle", "arrow"),)


def test_the_order_of_columns_has_no_influence(random_dag, linear_sample):
    rng = np.random.default_rng(5)
    dag = random_dag(rng, 12, degree=3)
    df = linear_sample(rng, dag, 300)[list(hide(rng, dag))]
    graph = fci(df)
    for _ in range(5):
        assert fci(df[rng.permutation(df.columns)]) == graph


def test_a_hidden_cause_of_two_effects_is_seen():
    rng = np.random.default_rng(6)
    a, d, hidden, e, f = rng.normal(size=(5, 5000))
    df = pd.DataFrame({"a": a, "b": a + hidden + e, "c": hidden + d + f, "d": d})
    graph = fci(df)
    assert set(graph.edges) == {
        ("a", "b", "circle", "arrow"),
        ("b", "c", "arrow", "arrow"),
        ("d", "c", "circle", "arrow"),
    }
    assert graph.info["separating_sets"]["a", "d"] == ()


def test_columns_that_are_functions_of_others_are_named():
    rng = np.random.default_rng(7)
    df = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    df["d"] = df["a"] - df["b"]
    with pytest.warns(CausalWarning, match="collinear-column"):
        graph = fci(df)
    assert set(graph.info["left_out"]) == {"d"} and graph.kind == "pag"


@pytest.mark.parametrize(
    "knowledge",
    [
        Knowledge(not_adjacent=[("a", "b")]),
        Knowledge(tiers=[["a", "b"], ["c"]], closed_tiers=[0]),
    ],
)
def test_knowledge_may_part_the_only_pair_that_is_apart(knowledge):
    rng = np.random.default_rng(0)
    a, b, e = rng.normal(size=(3, 500))
    graph = fci(pd.DataFrame({"a": a, "b": b, "c": a + b + e}), knowledge=knowledge)
    assert set(graph.edges) == {("a", "c", "circle", "arrow"), ("b", "c", "circle", "arrow")}


def test_a_large_class_is_oriented_in_time(random_dag, linear_sample):
    rng = np.random.default_rng(0)
    df = linear_sample(rng, random_dag(rng, 100, degree=7), 1000)
    fci(df.iloc[:, :5])  # compiles
    start = time.process_time()
    fci(df, depth=1)
    assert time.process_time() - start < 1.5

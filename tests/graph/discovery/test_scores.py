"""What every search that maximises a score must do."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

import workbench.graph.discovery as discovery
from workbench import CausalGraph, Knowledge
from workbench.core.errors import ParameterError
from workbench.graph import compare

METHODS = ["boss", "ges", "grasp"]


@pytest.fixture(params=METHODS)
def search(request):
    def run(data, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(discovery, request.param)(data, **options)

    # Compiled, or loaded from the cache, before any test is timed.
    run(np.random.default_rng(0).normal(size=(50, 3)))
    return run


def test_large_samples_give_the_true_class(search, random_dag, linear_rows):
    wrong = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        true = random_dag(rng, 10, 2)
        wrong += compare(search(linear_rows(rng, true, 20_000)), true.cpdag())["shd"] > 0
    assert wrong <= 2


def dags(names):
    pairs = list(itertools.combinations(range(len(names)), 2))
    seen = set()
    for order in itertools.permutations(range(len(names))):
        for bits in itertools.product([False, True], repeat=len(pairs)):
            edges = frozenset(
                (order[i], order[j]) for (i, j), b in zip(pairs, bits, strict=True) if b
            )
            if edges not in seen:
                seen.add(edges)
                yield [(names[i], names[j]) for i, j in edges]


def local_scores(df, penalty):
    """(variable, parents) -> score, by ordinary least squares."""
    out = {}
    for v in df:
        others = [u for u in df if u != v]
        for size in range(len(others) + 1):
            for parents in itertools.combinations(others, size):
                x = np.column_stack([np.ones(len(df)), df[list(parents)]])
                rest = df[v] - x @ np.linalg.lstsq(x, df[v], rcond=None)[0]
                fit = -len(df) / 2 * np.log(rest.var(ddof=0) / df[v].var(ddof=0))
                out[v, frozenset(parents)] = fit - penalty * size * np.log(len(df))
    return out


@pytest.mark.parametrize("penalty", [0.5, 1.0])
def test_no_dag_of_four_columns_scores_better(search, random_dag, linear_rows, penalty):
    short = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        df = linear_rows(rng, random_dag(rng, 4, 2), 200)
        scores = local_scores(df, penalty)

        def total(edges, scores=scores, names=tuple(df)):
            return sum(scores[v, frozenset(u for u, w in edges if w == v)] for v in names)

        graph = search(df, penalty=penalty)
        own = total(list(graph.to_dag().directed_edges()))
        best = max(total(edges) for edges in dags(list(df)))
        assert graph.info["score"] == pytest.approx(own, abs=1e-5)
        assert own > best - 1
        short += own < best - 1e-6
    assert short <= 1  # both searches are greedy


def test_the_order_of_columns_and_their_units_have_no_influence(search, random_dag, linear_rows):
    rng = np.random.default_rng(1)
    df = linear_rows(rng, random_dag(rng, 15, 4), 300)
    graph = search(df)
    for _ in range(20):
        order = rng.permutation(df.columns)
        assert search(df[order]) == graph
    assert search(df * 1000 + 7) == graph


def test_knowledge_of_the_truth_only_helps(search, random_dag, linear_rows):
    rng = np.random.default_rng(3)
    true = random_dag(rng, 12, 3)
    order = true.topological_order()
    knowledge = Knowledge(tiers=[[n] for n in order])
    graph = search(linear_rows(rng, true, 5000), knowledge=knowledge)
    assert set(graph.directed_edges()) == set(true.directed_edges())


@pytest.fixture
def levels():
    """a → c ← b, c → d, all of them levels."""
    rng = np.random.default_rng(0)
    n = 3000
    a, b = rng.integers(0, 3, n), rng.integers(0, 2, n)
    c = np.where(rng.random(n) < 0.8, (a + b) % 3, rng.integers(0, 3, n))
    d = np.where(rng.random(n) < 0.8, c == 1, rng.random(n) < 0.5)
    return pd.DataFrame(
        {
            "a": np.array([*"xyz"])[a],
            "b": np.array([*"pq"])[b],
            "c": np.array([*"uvw"])[c],
            "d": np.where(d, "yes", "no"),
        }
    )


COLLIDER = {("a", "c"), ("b", "c"), ("c", "d")}


def test_tables_of_levels_are_scored_by_counts(search, levels):
    for score in ("auto", "bdeu", "bic"):
        graph = search(levels, score=score)
        assert set(graph.directed_edges()) == COLLIDER and len(graph.edges) == 3, score
    assert "BDeu" in search(levels).info["explanation"]


def test_mixed_tables_are_searched(search, levels):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=len(levels))
    mixed = levels.assign(e=(levels["a"] == "x") * 2.0 + noise)
    graph = search(mixed)
    assert graph.marks("a", "e") and not graph.marks("b", "e")
    with pytest.raises(ParameterError, match="bdeu"):
        search(mixed, score="bdeu")


def test_more_columns_than_rows_and_copies_end(search):
    x = np.random.default_rng(3).normal(size=(20, 30))
    graph = search(pd.DataFrame(x).assign(twin=2 * x[:, 3]))
    assert len(graph.nodes) == 30 and len(graph.edges) < 60


def test_empty_cells_in_most_rows_are_answered_pair_by_pair(search, random_dag, linear_rows):
    rng = np.random.default_rng(5)
    true = random_dag(rng, 20, 2)
    whole = linear_rows(rng, true, 4000)
    df = whole.mask(rng.random(whole.shape) < 0.05)
    graph = search(df)
    assert [w["code"] for w in graph.info["warnings"]] == ["missing-values"]
    assert compare(graph, true.cpdag())["skeleton_f1"] > 0.93
    assert graph.info["rows"] > 3000
    assert search(df, missing="complete").info["rows"] == df.dropna().shape[0]
    assert search(whole, missing="pairwise") == search(whole)


def test_a_time_limit_gives_the_best_so_far(search, random_dag, linear_rows):
    rng = np.random.default_rng(0)
    df = linear_rows(rng, random_dag(rng, 30, 3), 300)
    graph = search(df, time_limit=1e-6)
    assert [w["code"] for w in graph.info["warnings"]] == ["time-limit"]
    assert isinstance(graph, CausalGraph) and graph.to_dag()


@pytest.mark.parametrize(
    "options",
    [
        {"penalty": 0},
        {"penalty": "high"},
        {"score": "aic"},
        {"missing": "mean"},
        {"equivalent_size": -1},
        {"time_limit": 0},
    ],
)
def test_parameters_that_make_no_sense_are_refused(search, options):
    with pytest.raises(ParameterError) as caught:
        search(np.random.default_rng(0).normal(size=(50, 3)), **options)
    assert caught.value.column == next(iter(options))

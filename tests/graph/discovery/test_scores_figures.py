"""How good and how fast searches by score are: on random graphs of degree 4 with 2,000 rows."""

import gzip
import os
import random
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.discovery import forward_sample, network
from workbench import CausalGraph, read_graph
from workbench.core.seeding import foreign_generators
from workbench.graph import bootstrap, compare
from workbench.graph.discovery import boss, ges
from workbench.graph.discovery.design import prepare
from workbench.graph.discovery.scoring import pose

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def compiled():
    for search in (boss, ges):
        search(np.random.default_rng(0).normal(size=(50, 4)))


@pytest.fixture
def law(random_dag, linear_rows):
    def draw(seed, d, n=2000):
        rng = np.random.default_rng([seed, d])
        true = random_dag(rng, d, 4)
        return linear_rows(rng, true, n), true

    return draw


def timed(search, *args, **options):
    start = time.process_time()
    graph = search(*args, **options)
    return time.process_time() - start, graph


def best_seconds(search, df):
    return min(timed(search, df)[0] for _ in range(3))


def test_seconds(law):
    tables = [law(s, 100)[0] for s in range(5)]
    assert np.median([best_seconds(boss, df) for df in tables]) <= 0.3
    # The second look at every variable may take twice as long on a single hard graph.
    assert np.median([best_seconds(ges, df) for df in tables]) <= 1.0
    assert best_seconds(boss, law(0, 200)[0]) <= 1.5


def test_a_hundred_columns_are_nearly_recovered(law):
    rows = [compare(boss(df), true.cpdag()) for df, true in (law(s, 100) for s in range(10))]
    assert np.mean([r["shd"] for r in rows]) <= 8
    assert np.mean([r["arrow_f1"] for r in rows]) >= 0.97


@pytest.mark.parametrize(("d", "shd"), [(20, 3), (50, 5)])
def test_ges_at_twenty_and_fifty_columns(law, d, shd):
    rows = [compare(ges(df), true.cpdag()) for df, true in (law(s, d) for s in range(10))]
    assert np.median([r["shd"] for r in rows]) <= shd


def test_a_thousand_columns(law):
    df, true = law(0, 1000)
    seconds, graph = timed(boss, df)
    row = compare(graph, true.cpdag())
    assert seconds < 60 and row["shd"] <= 0.15 * row["true_edges"]


def test_a_hundred_resamples(law):
    df, _ = law(0, 50)
    assert timed(bootstrap, df, "boss", progress=False)[0] <= 5


@pytest.mark.parametrize("penalty", [0.5, 2.0])
def test_the_score_is_no_worse_than_causal_learns(law, penalty):
    from causallearn.search.PermutationBased.BOSS import boss as peer

    no_worse = 0
    for seed in range(20):
        df, _ = law(seed, 20)
        problem = pose(prepare(df), penalty=penalty)

        def score(graph, problem=problem):
            at = {n: i for i, n in enumerate(problem.design.names)}
            edges = np.zeros((len(at), len(at)), bool)
            for u, v in graph.to_dag().directed_edges():
                edges[at[u], at[v]] = True
            return problem.total(edges)

        with foreign_generators(seed):
            random.seed(seed)
            marks = peer(
                df.to_numpy(), "local_score_BIC_from_cov", {"lambda_value": penalty}, verbose=False
            ).graph
        names = list(df)
        edges = [(names[i], names[j]) for i, j in np.argwhere((marks == -1) & (marks.T == 1))]
        lines = np.argwhere(np.triu((marks == -1) & (marks.T == -1)))
        edges += [(names[i], names[j], "tail", "tail") for i, j in lines]
        theirs = CausalGraph(names, edges, kind="cpdag")
        no_worse += score(boss(df, penalty=penalty)) >= score(theirs) - 1e-6
    assert no_worse >= 19


def test_two_hundred_thousand_mixed_rows_with_gaps():
    rng = np.random.default_rng(0)
    n, columns = 200_000, {}
    for j in range(60):
        base = rng.normal(size=n)
        for parent in rng.choice(j, size=min(j, 2), replace=False):
            base += 0.7 * columns[f"c{parent:02}"]
        columns[f"c{j:02}"] = base
    df = pd.DataFrame(columns)
    for j in range(1, 60, 3):
        levels = (2, 4, 8, 20, 400)[j // 3 % 5]
        codes = (df[f"c{j:02}"].rank(pct=True) * levels).astype(int).clip(upper=levels - 1)
        df[f"c{j:02}"] = pd.Categorical("l" + codes.astype(str))
    df = df.mask(rng.random(df.shape) < 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, graph = timed(boss, df)
    assert seconds < 180 and len(graph.edges) >= 60
    assert {w["code"] for w in graph.info["warnings"]} == {"missing-values", "pooled-levels"}


# -- networks of levels ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["child", "insurance", "alarm"])
def test_levels_beside_a_chi_square_pc(name):
    from causallearn.search.ConstraintBased.PC import pc as peer

    folder = os.environ.get("WORKBENCH_DATA")
    path = Path(folder or "", "bnlearn", f"{name}.bif.gz")
    if not folder or not path.exists():
        pytest.skip("WORKBENCH_DATA has no bnlearn/*.bif.gz")
    levels, tables = network(gzip.open(path, "rt").read())
    true = read_graph(path)
    ours, theirs = [], []
    for seed in range(3):
        df = forward_sample(levels, tables, true, 5000, seed)
        row = compare(CausalGraph(true.nodes, boss(df).edges), true.cpdag())
        ours.append(row["skeleton_f1"])
        array = np.column_stack([df[v].cat.codes for v in true.nodes])
        marks = peer(array, 0.05, "chisq", show_progress=False).G.graph
        edges = [
            (true.nodes[i], true.nodes[j], "tail", "tail")
            for i, j in np.argwhere(np.triu((marks != 0) | (marks.T != 0)))
        ]
        theirs.append(compare(CausalGraph(true.nodes, edges), true)["skeleton_f1"])
    assert np.mean(ours) >= np.mean(theirs)

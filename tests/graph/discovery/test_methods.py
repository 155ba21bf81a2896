"""What every method of discovery must do."""

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench.graph.discovery as discovery
from workbench import Knowledge, discover

# Fewer steps and rows: knowledge must hold however little is searched.
BRIEF = {"dagma": {"steps": 20}, "anm": {"max_rows": 50, "alpha": 0.3}}
CASES = [(m, BRIEF.get(m, {})) for m in discovery.METHODS]


@pytest.fixture(params=CASES, ids=[m for m, _ in CASES])
def search(request):
    method, options = request.param

    def run(data, **more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return discover(data, method, **options, **more)

    # Compiled, or loaded from the cache, before any test is timed.
    run(np.random.default_rng(0).normal(size=(50, 3)))
    return run


def curved(rng, df):
    """Half of the columns bent, so that directions can be told from residuals too."""
    bent = [n for n in df if rng.random() < 0.5]
    return df.assign(**{n: np.exp(df[n]) for n in bent})


def honours(graph, knowledge):
    assert knowledge.violations(graph) == []
    if graph.kind == "pag":
        for u, v, mark_u, mark_v in graph.edges:
            # What is no cause has an arrowhead.
            assert knowledge.allows(u, v) or mark_u == "arrow"
            assert knowledge.allows(v, u) or mark_v == "arrow"
        return
    assert graph.kind in ("cpdag", "mpdag", "dag")
    assert knowledge.violations(graph.to_dag()) == []


def check_knowledge(search, random_knowledge, random_dag, linear_rows, seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        df = curved(rng, linear_rows(rng, random_dag(rng, 7, 3), 150))
        # About another graph than the one that the rows come from.
        knowledge = random_knowledge(rng, list(df))
        honours(search(df, knowledge=knowledge), knowledge)


def test_knowledge_is_honoured(search, random_knowledge, random_dag, linear_rows):
    check_knowledge(search, random_knowledge, random_dag, linear_rows, range(10))


@pytest.mark.slow
def test_knowledge_is_honoured_200_times(search, random_knowledge, random_dag, linear_rows):
    check_knowledge(search, random_knowledge, random_dag, linear_rows, range(200))


@pytest.mark.parametrize("method", ["pc", "fci"])
@pytest.mark.parametrize("test", ["g2", "rcit"])
def test_knowledge_is_honoured_whatever_the_test(
    method, test, random_knowledge, random_dag, linear_rows
):
    for seed in range(4 if test == "rcit" else 15):
        rng = np.random.default_rng(seed)
        df = linear_rows(rng, random_dag(rng, 5, 2), 200)
        if test == "g2":
            df = df.apply(lambda c: pd.cut(c, 3, labels=[*"abc"]).astype(str))
        knowledge = random_knowledge(rng, list(df))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = discover(df, method, knowledge=knowledge, test=test, depth=2)
        honours(graph, knowledge)


def test_a_complete_order_leaves_nothing_undirected(search, random_dag, linear_rows):
    rng = np.random.default_rng(3)
    true = random_dag(rng, 5, 2)
    order = true.topological_order()
    graph = search(linear_rows(rng, true, 200), knowledge=Knowledge(tiers=[[n] for n in order]))
    for u, v, *_ in graph.edges:
        early, late = sorted((u, v), key=order.index)
        assert [mark for _, mark in graph.marks(early, late)] == ["arrow"]


def test_the_order_of_columns_has_no_influence(search, random_dag, linear_rows):
    rng = np.random.default_rng(4)
    df = curved(rng, linear_rows(rng, random_dag(rng, 5, 2), 150))
    assert search(df[df.columns[::-1]]) == search(df)

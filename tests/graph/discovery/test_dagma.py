import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning
from workbench.core.errors import DataError, ParameterError
from workbench.graph.discovery import dagma


def quietly(data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dagma(data, **options)


def test_the_skeleton_of_a_sparse_law_is_found(random_dag, linear_rows):
    rng = np.random.default_rng(0)
    true = random_dag(rng, 8, 1.5)
    graph = quietly(linear_rows(rng, true))
    pairs = {frozenset(e) for e in true.directed_edges()}
    found = {frozenset(e) for e in graph.directed_edges()}
    assert graph.kind == "dag" and len(pairs & found) >= len(pairs) - 1
    assert set(graph.info["weights"]) == set(graph.directed_edges())


def test_units_and_the_order_of_columns_have_no_influence(random_dag, linear_rows):
    rng = np.random.default_rng(2)
    df = linear_rows(rng, random_dag(rng, 5, 2), 300)
    graph = quietly(df, steps=200)
    assert quietly(df[rng.permutation(df.columns)] * 50, steps=200) == graph


def test_it_says_that_directions_are_not_to_be_trusted():
    with pytest.warns(CausalWarning, match="direction-from-scale"):
        dagma(np.random.default_rng(0).normal(size=(50, 2)), steps=5)


def test_refusals():
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="unordered levels") as caught:
        dagma(pd.DataFrame({"a": rng.normal(size=90), "b": [*"xyz"] * 30}))
    assert caught.value.column == "b"
    with pytest.raises(ParameterError, match="sparsity"):
        dagma(rng.normal(size=(50, 2)), sparsity=0)

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Knowledge


@pytest.fixture
def random_dag() -> Callable[..., CausalGraph]:
    """``random_dag(rng, d, degree)``: edges drawn independently along a random order of nodes."""

    def draw(rng: np.random.Generator, d: int, degree: float = 3.0) -> CausalGraph:
        order = [f"v{i:02}" for i in rng.permutation(d)]
        share = min(1.0, degree / max(d - 1, 1))
        edges = [
            (order[i], order[j]) for i in range(d) for j in range(i + 1, d) if rng.random() < share
        ]
        return CausalGraph(sorted(order), edges)

    return draw


@pytest.fixture
def linear_sample() -> Callable[..., pd.DataFrame]:
    """``linear_sample(rng, dag, n, noise=None)``: coefficients ±U(0.5, 1), Gaussian noise."""

    def draw(rng, dag: CausalGraph, n: int, noise: Callable[[int], np.ndarray] | None = None):
        values = {}
        for node in dag.topological_order():
            values[node] = (noise or (lambda size: rng.normal(size=size)))(n) + sum(
                rng.uniform(0.5, 1) * rng.choice([-1, 1]) * values[p] for p in dag.parents(node)
            )
        return pd.DataFrame({n: values[n] for n in dag.nodes})

    return draw


@pytest.fixture
def true_knowledge() -> Callable[..., Knowledge]:
    """``true_knowledge(rng, dag)``: random statements that hold in a DAG."""

    def draw(rng, dag: CausalGraph) -> Knowledge:
        order = list(dag.topological_order())
        a, b = sorted(rng.choice(len(order) + 1, 2))
        edges = sorted(dag.directed_edges())
        pairs = [p for p in combinations(sorted(order), 2) if not dag.marks(*p)]
        return Knowledge(
            tiers=[order[:a], order[a:b], order[b:]] if rng.random() < 0.5 else [],
            required=[e for e in edges if rng.random() < 0.2],
            forbidden=[(v, u) for u, v in edges if rng.random() < 0.2],
            not_adjacent=[p for p in pairs if rng.random() < 0.2],
            no_parents=[n for n in order if not dag.parents(n) and rng.random() < 0.2],
            no_children=[n for n in order if not dag.children(n) and rng.random() < 0.3],
        )

    return draw

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Knowledge


@pytest.fixture
def linear_rows() -> Callable[..., pd.DataFrame]:
    """``linear_rows(rng, graph, n)``: standardised rows of a linear Gaussian model."""

    def draw(rng: np.random.Generator, graph: CausalGraph, n: int = 2000) -> pd.DataFrame:
        columns: dict[str, np.ndarray] = {}
        for node in graph.topological_order():
            columns[node] = rng.normal(size=n)
            for parent in graph.parents(node):
                weight = rng.uniform(0.5, 1) * rng.choice([-1, 1])
                columns[node] = columns[node] + weight * columns[parent]
        frame = pd.DataFrame(columns)[list(graph.nodes)]
        return (frame - frame.mean()) / frame.std()

    return draw


@pytest.fixture
def random_knowledge() -> Callable[..., Knowledge]:
    """``random_knowledge(rng, names)``: statements of every sort that agree with one order."""

    def draw(rng: np.random.Generator, names: list[str]) -> Knowledge:
        order = [names[i] for i in rng.permutation(len(names))]
        at = {name: i for i, name in enumerate(order)}
        pairs = [(u, v) for u in order for v in order if at[u] < at[v]]
        chosen = {pairs[i] for i in rng.permutation(len(pairs))}
        chosen = [p for p in pairs if p in chosen and rng.random() < 0.3]
        roots = [order[0]] if rng.random() < 0.5 else []
        sinks = [order[-1]] if rng.random() < 0.5 else []
        cut = sorted(rng.integers(1, len(order), size=2))
        in_tiers = rng.random() < 0.5
        tiers = [order[: cut[0]], order[cut[0] : cut[1]], order[cut[1] :]] if in_tiers else []
        half = len(chosen) // 3
        required = [(u, v) for u, v in chosen[:half] if v not in roots and u not in sinks]
        apart = chosen[half : 2 * half]
        forbidden = chosen[2 * half :] + [(v, u) for u, v in chosen if rng.random() < 0.5]
        return Knowledge(
            tiers=tiers,
            required=required,
            not_adjacent=apart,
            forbidden=[p for p in forbidden if p not in required],
            no_parents=roots,
            no_children=sinks,
        )

    return draw

from collections.abc import Callable

import numpy as np
import pytest

from workbench import CausalGraph


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

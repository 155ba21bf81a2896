"""Many graphs of one table: each mechanism that they share is fitted once."""

from __future__ import annotations

import pandas as pd

from ..core.seeding import Seed
from ..graph.causal_graph import CausalGraph
from ..tables.schema import Schema
from .model import StructuralCausalModel
from .parents import Fitted


class ModelFamily:
    """Structural causal models of one table, one for every graph that is asked for.

    A mechanism ``x = f(parents, noise)`` depends on the graph through the node's parents alone:
    graphs that agree on a node's parents share its mechanism. For an ensemble of G graphs on d
    nodes that is one fit per distinct parent set instead of G d.

    Args:
        df: The table. It must not change afterwards.
        schema: What the columns mean; guessed when left out.
        random_state: Seed of the folds.

    Example:
        >>> import numpy as np
        >>> a, noise = np.random.default_rng(0).normal(size=(2, 300))
        >>> family = ModelFamily(pd.DataFrame({"a": a, "b": a + noise, "c": noise}))
        >>> chain = family.model(CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")]))
        >>> shorter = family.model(CausalGraph(["a", "b", "c"], [("a", "b")]))
        >>> chain.mechanisms_["b"] is shorter.mechanisms_["b"]
        True
        >>> chain.mechanisms_["c"] is shorter.mechanisms_["c"]
        False

    When to use something else: for one graph, :class:`StructuralCausalModel` itself.
    """

    def __init__(self, df: pd.DataFrame, *, schema: Schema | None = None, random_state: Seed = 0):
        self.df, self.schema, self.random_state = df, schema, random_state
        self._models: dict[CausalGraph, StructuralCausalModel] = {}
        # Rows with empty cells, and seeds, depend on which nodes there are.
        self._fitted: dict[frozenset[str], Fitted] = {}

    def model(self, graph: CausalGraph) -> StructuralCausalModel:
        """The fitted model of a DAG; its ``warnings_`` say what to keep in mind."""
        if graph not in self._models:
            shared = self._fitted.setdefault(frozenset(graph.nodes), {})
            model = StructuralCausalModel(graph, schema=self.schema, random_state=self.random_state)
            self._models[graph] = model.fit(self.df, shared=shared)
        return self._models[graph]

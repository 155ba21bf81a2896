"""The equations of a model on arrays: noise to values, values to noise, for whole batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
import pandas as pd

from ..core.errors import DataError
from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from ..graph.causal_graph import CausalGraph
from ..tables.encode import Encoder
from .interventions import Rule
from .noise import RowUniforms
from .parents import Mechanism, Parents


@saveable
class Equations:
    """One mechanism per node of a DAG, and the order in which they act.

    Args:
        graph: A DAG.
        encoder: Encodes every node.

    Attributes:
        mechanisms: Node -> fitted mechanism.
        order: Every node after its parents.
        position: Node -> its column in an array of values.
        streams: Node -> number of its random stream; does not depend on the order of nodes.
    """

    def __init__(self, graph: CausalGraph, encoder: Encoder):
        self.graph, self.encoder = graph, encoder
        self.order = graph.topological_order()
        self.position = {n: j for j, n in enumerate(graph.nodes)}
        self.streams = {n: i for i, n in enumerate(sorted(graph.nodes))}
        self.mechanisms: dict[str, Mechanism] = {}

    @property
    def slices(self) -> dict[str, slice]:
        """Node -> its columns in a noise array."""
        slices, start = {}, 0
        for node in self.graph.nodes:
            stop = start + self.mechanisms[node].width_
            slices[node] = slice(start, stop)
            start = stop
        return slices

    @property
    def width(self) -> int:
        """Number of noise columns."""
        return sum(m.width_ for m in self.mechanisms.values())

    def seeds(self, random_state: Seed) -> dict[str, np.random.SeedSequence]:
        """One seed per node, independent of the order of nodes in the graph."""
        return dict(zip(self.streams, spawn(random_state, len(self.streams)), strict=True))

    def parents(self, node: str, values: np.ndarray) -> Parents:
        """The parents of a node in an array of values."""
        columns = {p: values[:, self.position[p]] for p in sorted(self.graph.parents(node))}
        return Parents(self.encoder, columns, len(values))

    def noise_labels(self) -> list[str]:
        """A name for each column of an array of noise."""
        labels: list[str] = []
        for node in self.graph.nodes:
            width = self.mechanisms[node].width_
            levels = self.encoder.schema_[node].levels
            new = [node] if width == 1 else [f"{node}={v}" for v in levels or range(width)]
            for label in new:  # a node may be called like another one's level
                while label in labels or (label != node and label in self.graph.nodes):
                    label += "'"
                labels.append(label)
        return labels

    def propagate(
        self,
        noise: np.ndarray,
        fixed: Mapping[str, Rule] | None = None,
        shift: Mapping[str, Rule] | None = None,
        factual: np.ndarray | None = None,
    ) -> np.ndarray:
        """Values of all nodes from their noise, for any batch of rows, draws and interventions.

        The work under ``sample``, ``intervene`` and ``counterfactual``, without checks.

        Args:
            noise: ``(..., m)``; the columns of a node are ``slices[node]``.
            fixed: Node -> array that broadcasts against ``...`` and replaces the equation (NaN:
                follow the equation, so that one call holds many intervention sets), or a rule
                ``(parents, natural) -> (rows,)``. Levels are positions in ``feature.levels``.
            shift: The same, added to what the equation gives.
            factual: ``(..., d)`` observed values: a row's node keeps its value as long as none
                of its parents differs from the observed one.

        Returns:
            ``(..., d)``, columns in the order of ``graph.nodes``; ``...`` is the common shape.
        """
        fixed, shift = fixed or {}, shift or {}
        arrays = [np.asarray(v) for v in [*fixed.values(), *shift.values()] if not callable(v)]
        shapes = [noise.shape[:-1], *(a.shape for a in arrays)]
        shapes += [] if factual is None else [factual.shape[:-1]]
        batch = np.broadcast_shapes(*shapes)
        out = np.empty((int(np.prod(batch)), len(self.position)))
        start = None if factual is None else _spread(factual, batch)
        for node in self.order if len(out) else ():
            j = self.position[node]
            held = fixed.get(node)
            if held is not None and not callable(held):
                held = np.broadcast_to(held, batch).reshape(-1)
                if not np.isnan(held).any():
                    out[:, j] = held
                    continue
            parents = self.parents(node, out)
            u = noise[..., self.slices[node]]
            natural = self._natural(node, parents, u, batch, start, out)
            x, added = natural, shift.get(node)
            if added is not None:
                x = x + (
                    added(parents, natural)
                    if callable(added)
                    else np.broadcast_to(added, batch).reshape(-1)
                )
            if held is not None:
                held = held(parents, natural) if callable(held) else held
                x = np.where(np.isnan(held), x, held)
            out[:, j] = x
        return out.reshape(*batch, out.shape[1])

    def draw(self, n: int, random_state: Seed = 0) -> np.ndarray:
        """Fresh noise ``(n, m)``; each node has a generator of its own."""
        noise = np.empty((n, self.width))
        for node, seed in self.seeds(random_state).items():
            noise[:, self.slices[node]] = self.mechanisms[node].draw(generator(seed), n)
        return noise

    def infer(
        self,
        values: np.ndarray,
        random_state: Seed = 0,
        *,
        nodes: Iterable[str] | None = None,
        index: pd.Index | None = None,
    ) -> np.ndarray:
        """Noise ``(n, m)`` of values ``(n, d)``; 0 for nodes other than ``nodes``."""
        keys = None  # made when the first mechanism asks for them

        def uniforms(stream: int, width: int) -> np.ndarray:
            nonlocal keys
            if keys is None:
                content = values[:, [self.position[n] for n in self.streams]]
                keys = RowUniforms(content, random_state)
            return keys.take(stream, width)

        noise = np.zeros((len(values), self.width))
        if not len(values):
            return noise
        for node in self.order if nodes is None else nodes:
            try:
                noise[:, self.slices[node]] = self.mechanisms[node].abduct(
                    self.parents(node, values),
                    values[:, self.position[node]],
                    partial(uniforms, self.streams[node]),
                )
            except DataError as error:
                if index is not None and isinstance(error.row, int):
                    error.row = index[error.row]
                raise
        return noise

    def _natural(self, node, parents, noise, batch, start, out) -> np.ndarray:
        """What the node's own equation gives; observed values where no parent has changed."""
        mechanism = self.mechanisms[node]
        if start is None:
            return mechanism.apply(parents, _spread(noise, batch))
        natural = start[:, self.position[node]].copy()
        at = [self.position[p] for p in parents.names]
        rows = np.flatnonzero((out[:, at] != start[:, at]).any(axis=1))
        if len(rows):
            noise = _spread(noise, batch)[rows]
            natural[rows] = mechanism.apply(parents.take(rows), noise)
        return natural


def _spread(array: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    """``(..., k)`` broadcast to the batch, one row per element of it."""
    k = array.shape[-1]
    return np.broadcast_to(array, (*batch, k)).reshape(-1, k)

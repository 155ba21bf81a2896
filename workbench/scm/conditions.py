"""When a structural causal model can't be fitted, or must be read with care."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import GraphError, warn
from ..graph.causal_graph import CausalGraph
from ..tables.gate import count
from ..tables.schema import Feature
from .parents import Parents


def require_dag(graph: Any) -> None:
    """Refuse graphs that don't say what causes what."""
    if not isinstance(graph, CausalGraph):
        raise GraphError("must be a CausalGraph", value=type(graph).__name__)
    if graph.latent:
        raise GraphError(
            "is latent: a model can't be fitted to what was not observed",
            column=min(graph.latent),
            advice="Measure it, or estimate the one effect you need with identify().",
        )
    for u, v, mark_u, mark_v in graph.edges:
        if (mark_u, mark_v) == ("arrow", "arrow"):
            raise GraphError(
                f"has a hidden common cause with {v!r}: their noises are not independent",
                column=u,
                advice="Estimate the one effect you need with identify().",
            )
        if (mark_u, mark_v) != ("tail", "arrow"):
            raise GraphError(
                f"the graph is a class ({graph.kind}): the edge to {v!r} has no direction",
                column=u,
                advice="Fit its members one by one: graph.members().",
            )


def warn_if_few(node: str, parents: Parents) -> None:
    """A mechanism with too few rows per parent column is uncertain."""
    width = parents.encoded.shape[1]
    if width and len(parents) < 10 * width:
        warn(
            "few-rows",
            f"{node!r} has {count(len(parents), 'row')} for {width} columns of parents: its "
            "mechanism is uncertain",
            [node],
        )


def warn_if_noise_depends(node: str, report: dict[str, Any]) -> None:
    """Additive noise is the same whatever the parents are; say where it visibly isn't."""
    if report.get("dependence_p", 1.0) < 1e-4 and report["dependence_share"] > 0.02:
        warn(
            "noise-depends-on-parents",
            f"the spread of {node!r} changes with its parents: additive noise is an "
            "approximation, and its simulated spread is an average",
            [node],
        )


def warn_if_outside(feature: Feature, x: np.ndarray, low: float, high: float) -> None:
    """What follows from values nobody has observed is extrapolated."""
    outside = (x < low) | (x > high)
    if outside.any() and feature.is_numeric:
        warn(
            "extrapolation",
            f"{count(int(outside.sum()), 'row')} of {len(x)} put {feature.name!r} outside the "
            f"observed range {low:g} to {high:g}: what follows from it is extrapolated",
            [feature.name],
        )


def warn_if_collinear(node: str, parents: Parents) -> None:
    """Parents that determine each other have no separate effects."""
    if len(parents.names) < 2 or len(parents) < 3:
        return
    blocks, owner = [], []
    for name, x in parents.columns.items():
        block = parents.encoder.encode_values(name, x)
        block = block[:, 1:] if block.shape[1] > 1 else block  # levels add up to one
        blocks.append(block)
        owner += [name] * block.shape[1]
    X = np.concatenate(blocks, axis=1)
    X = X - X.mean(axis=0)
    sd = X.std(axis=0)
    live = sd > 1e-9
    if live.sum() < 2:
        return
    R = (X[:, live] / sd[live]).T @ (X[:, live] / sd[live]) / len(X)
    size, vectors = np.linalg.eigh(R)
    if size[0] < 1e-7:
        heavy = np.abs(vectors[:, 0]) > 0.1
        kept = [name for name, alive in zip(owner, live, strict=True) if alive]
        names = sorted({name for name, h in zip(kept, heavy, strict=True) if h})
        warn(
            "collinear-parents",
            f"the parents {', '.join(map(repr, names))} of {node!r} determine each other in the "
            "data: their separate effects can't be told apart, only their joint one",
            names,
        )

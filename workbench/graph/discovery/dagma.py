"""DAGMA: a weighted graph by continuous optimisation, kept acyclic by a log-determinant."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError, recording, warn
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from ..origins import learned
from .design import Design, as_records, prepare
from .encoded import Missing
from .scoring import check_parameters, pose, warn_unsupported

_PATH = ((1.0, 1.0), (0.1, 0.9), (0.01, 0.8), (0.001, 0.7))  # (mu, s) of the central path
_RATE = 1e-2
_CHECK = 50


def dagma(
    data: Any,
    sparsity: float = 0.05,
    threshold: float = 0.15,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    steps: int = 1000,
    missing: Missing = "auto",
    time_limit: float | None = None,
) -> CausalGraph:
    """Learn a DAG of linear effects by minimising a penalised squared error.

    Along mu = 1, 0.1, 0.01, 0.001 minimise mu (‖X - XW‖² / 2n + λ Σ|W|) + h(W) with h(W) =
    -log det(sI - W∘W) + d log s, which is 0 exactly for acyclic W. Then the strongest weights
    above the threshold are kept, the strongest first, as long as they make no cycle.

    Do not use it to orient edges. Squared error is lowest for graphs in which variances grow along
    the causal order; simulations have this (Reisach, Seiler, Weichwald, NeurIPS 2021), data in
    arbitrary units need not. Columns are standardised here, so that units have no influence, and
    the published accuracy is lost with them: a warning says so each time. Prefer
    :func:`~workbench.graph.discovery.boss`, which is faster, or
    :func:`~workbench.graph.discovery.direct_lingam` where noise is not Gaussian. It assumes no
    hidden common causes and is for comparison with published results.

    Args:
        data: A table of numbers, ordered and two-valued columns.
        sparsity: λ.
        threshold: Smallest absolute weight (of standardised columns) of an edge.
        knowledge: What is known; the result agrees with it.
        schema: What the columns mean; guessed when left out.
        steps: Steps of the optimiser for each mu.
        missing: As for :func:`~workbench.graph.discovery.boss`.
        time_limit: Seconds after which the optimisation stops, and says so.

    Returns:
        A DAG; ``info["weights"]`` holds the weight of each edge.

    Raises:
        DataError: A column with more than two unordered levels, and what the gate refuses.
        QuestionError: The knowledge can't be used.
        ParameterError: Parameters that are not positive.

    References:
        Bello, Aragam, Ravikumar, "DAGMA: learning DAGs via M-matrices and a log-determinant
        acyclicity characterization", NeurIPS 2022.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, noise = rng.normal(size=(2, 500))
        >>> df = pd.DataFrame({"a": a, "b": a + noise})
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     g = dagma(df, knowledge=Knowledge(tiers=["a", "b"]))
        >>> g.kind, g.edges
        ('dag', (('a', 'b', 'tail', 'arrow'),))
    """
    check_parameters(1.0, 1.0, missing, time_limit)
    for name, value in (("sparsity", sparsity), ("threshold", threshold), ("steps", steps)):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 < value < np.inf:
            raise ParameterError("must be a positive number", column=name, value=value)
    stop = None if time_limit is None else time.monotonic() + time_limit
    with recording() as notes:
        design = prepare(data, schema, knowledge, missing)
        if design.wide:
            raise DataError(
                "has more than two unordered levels, for which there is no single weight",
                column=design.wide[0],
                advice="Leave it out, or use boss.",
            )
        warn(
            "direction-from-scale",
            "this method orients edges by variances; columns are standardised, so directions that "
            "knowledge does not give are hardly better than chance",
        )
        allowed = design.knowledge.allowed(design.names)
        weights, ended = _optimise(design.correlation, allowed, sparsity, int(steps), stop)
        if not ended:
            warn("time-limit", f"stopped after {time_limit:g} s, before the graph was acyclic")
        edges = _acyclic(design, weights, threshold)
        _check_required(design, edges)
    names = design.names
    graph = CausalGraph(
        design.shown,
        [(names[i], names[j]) for i, j in edges],
        info={
            "method": "dagma",
            "parameters": {"sparsity": sparsity, "threshold": threshold, "steps": int(steps)},
            "explanation": f"{len(names)} columns, {design.rows:,} rows, squared error of "
            "standardised columns.",
            "weights": {(names[i], names[j]): float(weights[i, j]) for i, j in edges},
            "rows": design.rows,
            "left_out": dict(design.left_out),
            "warnings": as_records(notes),
        },
    )
    return learned(graph, design.knowledge)


def _optimise(
    correlation: np.ndarray, allowed: np.ndarray, sparsity: float, steps: int, stop: float | None
) -> tuple[np.ndarray, bool]:
    """W, rows causes and columns effects; whether the path was followed to its end."""
    import torch

    covariance = torch.from_numpy(correlation)
    mask = torch.from_numpy(allowed.astype(float))
    unit = torch.eye(len(correlation), dtype=torch.float64)
    weights = torch.zeros_like(unit)
    for mu, s in _PATH:
        rate, best = _RATE, np.inf
        w = weights.clone().requires_grad_()
        adam = torch.optim.Adam([w], lr=rate, betas=(0.99, 0.999))
        inside = weights.clone()
        for step in range(steps):
            w_allowed = w * mask
            matrix = s * unit - w_allowed**2
            log_det = torch.linalg.slogdet(matrix)[1]
            # h is defined where sI - W∘W is an M-matrix: where its inverse has no negative entry.
            inverse = torch.linalg.inv_ex(matrix.detach())[0]
            if not (inverse > -1e-12).all():
                # Left the set on which h is defined: back, with smaller steps.
                rate /= 2
                w = inside.clone().requires_grad_()
                adam = torch.optim.Adam([w], lr=rate, betas=(0.99, 0.999))
                if rate < 1e-9:
                    break
                continue
            inside = w.detach().clone()
            rest = unit - w_allowed
            fit = 0.5 * (rest * (covariance @ rest)).sum() + sparsity * w_allowed.abs().sum()
            loss = mu * fit - log_det + len(unit) * np.log(s)
            adam.zero_grad()
            loss.backward()
            adam.step()
            if step % _CHECK == 0:
                if stop is not None and time.monotonic() > stop:
                    return (inside * mask).numpy(), False
                if step and abs(best - loss.item()) <= 1e-7 * max(1.0, abs(best)):
                    break
                best = loss.item()
        weights = inside
    return (weights * mask).numpy(), True


def _check_required(design: Design, edges: list[tuple[int, int]]) -> None:
    if not design.knowledge.required:
        return
    problem, drawn = pose(design, "bic"), np.zeros((len(design.names),) * 2, bool)
    at = {n: i for i, n in enumerate(problem.design.names)}
    for i, j in edges:
        drawn[at[design.names[i]], at[design.names[j]]] = True
    warn_unsupported(problem, drawn)


def _acyclic(design: Design, weights: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Required edges, then weights above the threshold, the strongest first, without a cycle."""
    at = {n: i for i, n in enumerate(design.names)}
    edges = sorted((at[u], at[v]) for u, v in design.knowledge.required)
    size = np.abs(weights)
    strong = [tuple(pair) for pair in np.argwhere(size > threshold).tolist()]
    reach = np.eye(len(weights), dtype=bool)  # i, j: a path leads from i to j
    out: list[tuple[int, int]] = []
    for i, j in edges + sorted(strong, key=lambda pair: -size[pair]):
        if reach[j, i] or (i, j) in out:
            continue
        out.append((i, j))
        reach |= np.outer(reach[:, i], reach[j])
    return out

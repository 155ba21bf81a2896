"""DirectLiNGAM: a full causal order from linear relations with noise that is not Gaussian."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from ...core.errors import DataError, ParameterError, recording, warn
from ...tables.gate import count
from ...tables.schema import Schema
from ..causal_graph import CausalGraph
from ..knowledge import Knowledge
from ..origins import learned
from .constraint import required_matrix
from .design import Design, as_records, checked_knowledge, reduce
from .encoded import Encoded, encode, listed

_LEVEL = 0.05


def direct_lingam(
    data: Any,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    threshold: float = 0.05,
) -> CausalGraph:
    """Learn a DAG by repeatedly finding the variable that depends least on the residuals of others.

    Model: x = B x + e with independent e, none (but one at most) of them Gaussian. The most
    exogenous variable i has the least sum over j of min(0, D_ij)², where D_ij compares the
    entropies of x_i and x_j with those of the residuals of regressing each on the other; it is
    regressed out and the search goes on. Each variable is then regressed on those before it by an
    adaptive lasso with BIC, and coefficients below the threshold are dropped.

    Assumes linearity, no hidden common causes, no cycles and noise that is not Gaussian. Do not
    use it where residuals look Gaussian (all directions are then arbitrary, and a warning says so:
    use ``boss`` or ``pc``, which leave such directions open), with categories, or with strongly
    nonlinear relations. ``info`` holds ``causal_order``, ``standardised_coefficients``,
    ``normality_p_values`` of the residuals (small is good) and ``independence_p_values`` of pairs
    of them (large is good); after a search none of them is an honest p-value.

    Args:
        data: A table of numbers; columns with a structural role, constants and exact linear
            functions of others are left out and named.
        knowledge: What is known; a forbidden edge gets no coefficient, a required one always does.
        schema: What the columns mean; guessed when left out.
        threshold: Smallest coefficient that makes an edge, for columns scaled to unit variance.

    Returns:
        A DAG.

    Raises:
        DataError: A column with more than two unordered levels; not more rows than columns; what
            the gate refuses.
        QuestionError: The knowledge names unknown columns.
        ParameterError: ``threshold`` below 0.

    References:
        Shimizu et al., "DirectLiNGAM: a direct method for learning a linear non-Gaussian
        structural equation model", JMLR 12, 2011; Hyvarinen and Smith, "Pairwise likelihood
        ratios for estimation of non-Gaussian structural equation models", JMLR 14, 2013.

    Example:
        >>> import pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> a, noise = rng.uniform(size=(2, 500))
        >>> direct_lingam(pd.DataFrame({"a": a, "b": a + noise})).edges
        (('a', 'b', 'tail', 'arrow'),)
    """
    number = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold < np.inf:
        raise ParameterError("must be a number from 0", column="threshold", value=threshold)
    with recording() as notes:
        knowledge = checked_knowledge(knowledge)
        encoded = encode(data, schema, knowledge)
        design = reduce(encoded, knowledge)
        values = _numbers(design, encoded)
        order = _order(design, values)
        weights = _coefficients(design, values, order, threshold)
        diagnostics = _diagnose(design, values, weights)
    names = design.names
    graph = CausalGraph(
        design.shown, [(names[j], names[i]) for i, j in np.argwhere(weights != 0)], kind="dag"
    )
    return learned(graph, design.knowledge).with_info(
        method="direct_lingam",
        parameters={"threshold": threshold},
        explanation=_explain(design),
        rows=design.rows,
        left_out=dict(design.left_out),
        causal_order=[names[i] for i in order],
        standardised_coefficients={
            (names[j], names[i]): float(weights[i, j]) for i, j in np.argwhere(weights != 0)
        },
        **diagnostics,
        warnings=as_records(notes),
    )


def _numbers(design: Design, encoded: Encoded) -> np.ndarray:
    """``(n, d)`` searched columns with unit variance."""
    if design.wide:
        raise DataError(
            "has unordered levels: linear relations with noise need numbers",
            column=design.wide[0],
            advice="Leave the column out, or use pc or boss.",
        )
    if design.rows <= len(design.names) + 1:
        raise DataError(
            f"{count(design.rows, 'row')} for {count(len(design.names), 'column')}: DirectLiNGAM "
            "needs more rows than columns",
            column=design.names[0],
            advice="Leave columns out.",
        )
    at = {n: int(b[0]) for n, b in zip(encoded.variables, encoded.blocks, strict=True)}
    values = encoded.values[:, [at[n] for n in design.names]]
    two = [
        n
        for n, column in zip(design.names, values.T, strict=True)
        if np.all((column == column.min()) | (column == column.max()))
    ]
    if two:
        warn(
            "two-valued",
            f"{listed(two)} with two values can't be a linear function plus independent noise: "
            "arrows into such columns need another method",
            two,
        )
    return values / np.sqrt((values**2).mean(axis=0))


def _order(design: Design, values: np.ndarray) -> list[int]:
    from .lingam_kernels import causal_order

    allowed = design.knowledge.allowed(design.names)
    before = required_matrix(design)
    # What can't be an effect of another but may be its cause comes first, if nothing speaks
    # against it: tiers are statements about edges and need not be an order of all variables.
    preferred = allowed & ~allowed.T
    return causal_order(np.array(values.T, order="C"), before, preferred).tolist()


def _coefficients(
    design: Design, values: np.ndarray, order: list[int], threshold: float
) -> np.ndarray:
    """``(d, d)`` effect of column j on row i, from an adaptive lasso on what comes before i."""
    allowed, required = design.knowledge.allowed(design.names), required_matrix(design)
    out = np.zeros(allowed.shape)
    for position, i in enumerate(order):
        earlier = np.array(order[:position], dtype=int)
        pool = np.sort(earlier[allowed[earlier, i]])
        if not len(pool):
            continue
        gram = design.correlation[np.ix_(pool, pool)]
        cross = design.correlation[pool, i]
        full = np.linalg.solve(gram, cross)
        found = adaptive_lasso(gram, cross, full, design.rows)
        found[np.abs(found) < threshold] = 0.0
        out[i, pool] = np.where((found == 0) & required[pool, i], full, found)
        weak = [int(j) for j in pool[required[pool, i] & (found == 0)]]
        if weak:
            names = [design.names[j] for j in weak]
            warn(
                "unsupported-knowledge",
                f"{listed(names)} must be a cause of {design.names[i]!r}, but the data show no "
                "effect",
                [*names, design.names[i]],
            )
    return out


def adaptive_lasso(
    gram: np.ndarray, cross: np.ndarray, full: np.ndarray, rows: int, noise: float | None = None
) -> np.ndarray:
    """Coefficients at the least BIC along the path of a lasso with penalties 1 / abs(full).

    Args:
        gram: ``(p, p)`` second moments of the predictors.
        cross: ``(p,)`` those with the target, which has variance 1.
        full: ``(p,)`` least squares coefficients.
        rows: Number of rows behind them.
        noise: Residual variance; that of least squares by default.

    References:
        Zou, "The adaptive lasso and its oracle properties", JASA 101, 2006; Zou, Hastie and
        Tibshirani, "On the degrees of freedom of the lasso", Annals of Statistics, 2007.
    """
    from sklearn.linear_model import lars_path_gram

    scale = np.abs(full)
    scaled = gram * scale * scale[:, None] * rows
    path = lars_path_gram(cross * scale * rows, scaled, n_samples=rows, method="lasso")[2]
    path = path * scale[:, None]
    if noise is None:
        noise = rows * max(1 - cross @ full, 1e-12) / (rows - len(full) - 1)
    error = 1 - 2 * cross @ path + np.einsum("ij,ik,kj->j", path, gram, path)
    used = (np.abs(path) > np.finfo(float).eps).sum(axis=0)
    return path[:, np.argmin(rows * error / noise + np.log(rows) * used)]


def _diagnose(design: Design, values: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """p-values of what the model assumes about its residuals, and warnings where it fails."""
    from scipy.stats import normaltest, rankdata

    names, residuals = design.names, values.copy()
    for i, row in enumerate(weights):
        parents = np.flatnonzero(row)
        if len(parents):
            gram = design.correlation[np.ix_(parents, parents)]
            solved = np.linalg.solve(gram, design.correlation[parents, i])
            residuals[:, i] -= values[:, parents] @ solved
    normal = normaltest(residuals, axis=0).pvalue if len(values) >= 20 else np.ones(len(names))
    gaussian = [n for n, p in zip(names, normal, strict=True) if p > _LEVEL]
    if len(gaussian) > 1:
        warn(
            "gaussian-residuals",
            f"the residuals of {listed(gaussian)} can't be told from Gaussian: directions between "
            "these columns are arbitrary",
            gaussian,
        )
    # Ranks and their squares: bounded, so that the level holds for any noise.
    ranks = rankdata(residuals, axis=0)
    ranks -= ranks.mean(axis=0)
    independence = _independence(ranks)
    pairs = list(combinations(range(len(names)), 2))
    worst = min(pairs, key=lambda p: independence[p], default=None)
    if worst is not None and independence[worst] * len(pairs) < _LEVEL:
        u, v = (names[i] for i in worst)
        warn(
            "dependent-residuals",
            f"the residuals of {u!r} and {v!r} depend on each other: a hidden common cause, a "
            "nonlinear relation or a wrong arrow",
            [u, v],
        )
    return {
        "normality_p_values": dict(zip(names, map(float, normal), strict=True)),
        "independence_p_values": {
            (names[i], names[j]): float(independence[i, j]) for i, j in pairs
        },
    }


def _independence(ranks: np.ndarray) -> np.ndarray:
    """``(d, d)`` p-values from correlations of ranks and of squared ranks, by Bonferroni."""
    from scipy.special import ndtr

    squares = ranks**2 - (ranks**2).mean(axis=0)
    u, v = (m / np.sqrt((m**2).sum(axis=0)) for m in (ranks, squares))
    size = np.max([np.abs(u.T @ u), np.abs(u.T @ v), np.abs(v.T @ u), np.abs(v.T @ v)], axis=0)
    return np.minimum(8 * ndtr(-size * np.sqrt(len(ranks))), 1.0)


def _explain(design: Design) -> str:
    text = (
        f"{len(design.names)} columns, {design.rows:,} rows. Directions rest on noise that is not "
        "Gaussian; see normality_p_values and independence_p_values."
    )
    if design.left_out:
        named = "; ".join(f"{n!r} ({why})" for n, why in sorted(design.left_out.items()))
        text += f" Left out: {named}."
    return text

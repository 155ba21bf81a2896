"""Second stages of a causal stack: the effect itself as a function of the modifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.seeding import spawn
from .base_learners import Boosting
from .folded import FoldedRows
from .nuisance import Linear
from .stack_weights import pair_residuals

SECOND_STAGE = ("constant", "lasso on scores", "trees on scores", "trees on R-loss")
_TREES, _LEAVES = 150, 8
_PENALTIES = 30


def fit_second_stage(
    rows: FoldedRows,
    target: np.ndarray,
    outcome: np.ndarray,
    clip: float,
    seed: np.random.SeedSequence,
) -> tuple[tuple[tuple[Any, ...], ...], ...]:
    """For each arm but the first: each stage, fitted once without each fold.

    Args:
        rows: The rows; ``z`` holds the modifiers.
        target: Doubly robust scores of arms 1, 2, ... minus those of arm 0, (n, K - 1).
        outcome: Held-out E[Y | arm], (n, K).
        clip: Smallest probability of an arm that is believed.
    """
    found, trees = [], Boosting(_TREES, _LEAVES)
    for k, child in enumerate(spawn(seed, rows.n_arms - 1)):
        residual, push, pair = pair_residuals(rows, k + 1, outcome, clip)
        push = np.where(pair, push, 1.0)  # rows of other arms weigh nothing
        r_target, r_weight = residual / push, np.where(pair, rows.weight * push**2, 0.0)
        stages = [[], [], [], []]
        for f, inner in enumerate(spawn(child, rows.n_folds)):
            at = rows.learning(f)
            z, y, w = rows.z[at], target[at, k], rows.weight[at]
            level = float(np.average(y, weights=w))
            stages[0].append(Linear(None, level, np.zeros(z.shape[1]), False))
            stages[1].append(_lasso(z, y, w, rows.fold[at]))
            one, two = spawn(inner, 2)
            stages[2].append(trees.fit(z, y, w, one))
            both = at & (r_weight > 0)
            stages[3].append(trees.fit(rows.z[both], r_target[both], r_weight[both], two))
        found.append(tuple(tuple(stage) for stage in stages))
    return tuple(found)


def _lasso(z: np.ndarray, y: np.ndarray, w: np.ndarray, fold: np.ndarray) -> Linear:
    """Lasso whose penalty is chosen over the other folds: clusters stay together there too."""
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import PredefinedSplit

    spread = z.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    weight = None if np.allclose(w, w[0]) else w
    places = np.unique(fold, return_inverse=True)[1]
    if places.max() == 0:  # of two folds one is left: nothing to choose a penalty by
        return Linear(None, float(np.average(y, weights=w)), np.zeros(z.shape[1]), False)
    # A seed, although coordinates come in turn: without one the global generator is moved.
    fit = LassoCV(
        cv=PredefinedSplit(places), alphas=_PENALTIES, max_iter=500, tol=1e-3, random_state=0
    )
    fit.fit(z / scale, y, sample_weight=weight)
    return Linear(None, float(fit.intercept_), fit.coef_ / scale, False)

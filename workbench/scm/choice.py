"""Which function a mechanism uses: the simplest whose held-out loss is not clearly worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.seeding import Seed, generator

N_FOLDS = 5
MAX_ROWS = 20_000  # held-out losses are precise enough; the final fit uses all rows
MIN_ROWS = 40
TOLERANCE = 1.0  # standard errors


@dataclass(frozen=True)
class Choice:
    """The chosen candidate and how the others did.

    Attributes:
        name: The chosen candidate.
        losses: Candidate -> mean held-out loss; empty if there were too few rows to compare.
        rows: The rows used, ``(m,)``; None if no comparison was made.
        held_out: Predictions of the chosen candidate for these rows by models that never saw them.
    """

    name: str
    losses: Mapping[str, float]
    rows: np.ndarray | None = None
    held_out: np.ndarray | None = None

    @property
    def runner_up(self) -> str | None:
        """The best of the other candidates."""
        others = {k: v for k, v in self.losses.items() if k != self.name}
        return min(others, key=others.get) if others else None


def choose(
    candidates: Mapping[str, Callable[[], Any]],
    X: np.ndarray,
    y: np.ndarray,
    predict: Callable[[Any, np.ndarray], np.ndarray],
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
    *,
    random_state: Seed = 0,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> Choice:
    """Choose by cross-validation with a one-standard-error rule on paired differences.

    The candidates come simplest first. Chosen is the first whose mean held-out loss exceeds the
    lowest one by at most one standard error of the difference, taken row by row: what is hard
    to predict for both cancels, so that small true differences are found. Rows of one group are
    held out together and count as one in the standard error.

    Args:
        candidates: Name -> maker of an unfitted function, simplest first.
        X, y: Encoded parents ``(n, p)`` and target ``(n,)``.
        predict: ``predict(model, X)``; kept for the chosen candidate.
        loss: ``loss(y, prediction) -> (n,)``.
        random_state: Seed of folds, subsample and fits.
        groups: Cluster of each row.
        strata: Level of each row, to be spread evenly over the folds.

    References:
        Breiman et al., "Classification and Regression Trees", 1984 (the one-standard-error rule).
    """
    names = list(candidates)
    rng = generator(random_state)
    enough = len(y) >= MIN_ROWS and (groups is None or len(np.unique(groups)) >= 2)
    if not enough:
        return Choice(names[0], {})
    rows = np.sort(rng.permutation(len(y))[:MAX_ROWS])
    X, y = X[rows], y[rows]
    groups = None if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    fold = folds(len(y), rng, groups, None if strata is None else strata[rows])
    held_out = {name: _held_out(candidates[name], X, y, fold, predict) for name in names}
    losses = {name: loss(y, prediction) for name, prediction in held_out.items()}
    means = {name: float(values.mean()) for name, values in losses.items()}
    best = min(names, key=means.get)
    for name in names:
        excess, error = _mean_and_error(losses[name] - losses[best], groups)
        if excess <= TOLERANCE * error:
            return Choice(name, means, rows, held_out[name])
    raise AssertionError("the best candidate is never worse than itself")


def folds(
    n: int,
    rng: np.random.Generator,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> np.ndarray:
    """The fold of each row: groups stay together, levels are spread evenly."""
    if groups is not None:
        return (rng.permutation(groups.max() + 1) % N_FOLDS)[groups]
    order = rng.permutation(n)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    fold = np.empty(n, dtype=int)
    fold[order] = np.arange(n) % N_FOLDS
    return fold


def _held_out(make, X, y, fold, predict) -> np.ndarray:
    parts = {
        k: predict(make().fit(X[fold != k], y[fold != k]), X[fold == k]) for k in np.unique(fold)
    }
    first = next(iter(parts.values()))
    out = np.empty((len(y), *first.shape[1:]))
    for k, part in parts.items():
        out[fold == k] = part
    return out


def _mean_and_error(values: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    mean = float(values.mean())
    centred = values - mean
    if groups is not None:
        centred = np.bincount(groups, centred)
    return mean, float(np.sqrt(np.sum(centred**2))) / len(values)

"""Weights of a causal stack: who predicts what has not been seen, outcomes first, effects then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.seeding import generator
from .folded import FoldedRows
from .sandwich import cluster_sums

_BOOTSTRAPS = 20


@dataclass(frozen=True)
class EffectLoss:
    """Two ways to hold an effect against held-out rows, each a weighted least-squares problem.

    The R-loss ((y - m) - tau (t - e))^2 over the rows of the two arms, and the squared distance
    of tau to the doubly robust scores over all rows; each in units of its loss at a constant
    effect, so that they count alike.

    Attributes:
        residual, push: y - m and t - e; 0 for rows of other arms, (n,).
        target: The scores, (n,).
        r_weight, weight: Row weights of either problem, (n,).
    """

    residual: np.ndarray
    push: np.ndarray
    target: np.ndarray
    r_weight: np.ndarray
    weight: np.ndarray

    def gain(self, effects: np.ndarray) -> np.ndarray:
        """1 - R-loss / R-loss of the best constant, of candidates (J, n); (J,)."""
        loss = ((self.residual - effects * self.push) ** 2) @ self.r_weight
        return 1 - loss / self._base()

    def _base(self) -> float:
        w, push = self.r_weight, self.push
        level = (w @ (self.residual * push)) / max(w @ push**2, 1e-300)
        return max(float(w @ (self.residual - level * push) ** 2), 1e-300)

    def normal_equations(
        self, effects: np.ndarray, counts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gram matrix (J, J), right side (J,) and losses (J,) of both problems together."""
        gram, right, losses = 0.0, 0.0, 0.0
        spread = self.weight @ (self.target - np.average(self.target, weights=self.weight)) ** 2
        parts = (
            (effects * self.push, self.residual, self.r_weight, self._base()),
            (effects, self.target, self.weight, max(float(spread), 1e-300)),
        )
        for design, goal, weight, base in parts:
            weight = weight * counts / base
            weighted = design * weight
            own_gram, own_right = weighted @ design.T, weighted @ goal
            gram, right = gram + own_gram, right + own_right
            losses = losses + weight @ goal**2 - 2 * own_right + np.diag(own_gram)
        return gram, right, losses


def pair_residuals(
    rows: FoldedRows, k: int, outcome: np.ndarray, clip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y - m, t - e and membership among the rows of arms 0 and k, (n,) each."""
    pair = (rows.arm == 0) | (rows.arm == k)
    chance = np.maximum(rows.chance, clip)
    share = chance[:, k] / (chance[:, 0] + chance[:, k])
    mean = (1 - share) * outcome[:, 0] + share * outcome[:, k]
    return rows.y - mean, (rows.arm == k) - share, pair


def judge(
    rows: FoldedRows, k: int, target: np.ndarray, outcome: np.ndarray, clip: float
) -> EffectLoss:
    """The losses of effects of arm k against arm 0."""
    residual, push, pair = pair_residuals(rows, k, outcome, clip)
    return EffectLoss(residual * pair, push * pair, target, rows.weight * pair, rows.weight)


def factual_weights(held_out: np.ndarray, rows: FoldedRows) -> np.ndarray:
    """Non-negative weights (K, J), sum 1, with the least held-out squared error for each arm.

    ``held_out``: predictions (J, n, K).
    """
    found = []
    for k in range(rows.n_arms):
        at = rows.arm == k
        design, goal, weight = held_out[:, at, k], rows.y[at], rows.weight[at]
        weighted = design * weight
        found.append(simplex(weighted @ design.T, weighted @ goal))
    return np.stack(found)


def stack_weights(
    effects: np.ndarray,
    loss: EffectLoss,
    groups: np.ndarray | None,
    random_state: np.random.SeedSequence,
) -> np.ndarray:
    """Weights (J,) of candidates (J, n), averaged over bootstraps of the rows or clusters.

    Half is the simplex least-squares solution, half how often a candidate is the single best: the
    first mixes what errs differently, the second keeps sparse truths (no heterogeneity) sparse.
    """
    rng = generator(random_state)
    n = effects.shape[1]
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(unit.max()) + 1
    mixed, best = np.zeros(len(effects)), np.zeros(len(effects))
    for _ in range(_BOOTSTRAPS):
        counts = np.bincount(rng.integers(0, units, units), minlength=units)[unit].astype(float)
        gram, right, losses = loss.normal_equations(effects, counts)
        mixed += simplex(gram, right)
        best[losses.argmin()] += 1
    return (mixed + best) / (2 * _BOOTSTRAPS)


def evidence(
    mixed: np.ndarray, constant: np.ndarray, loss: EffectLoss, groups: np.ndarray | None
) -> float:
    """How far the held-out rows prefer a mix of candidates to a constant effect, in [0, 1].

    The mean saving in loss over its standard error (by cluster), for both losses; the smaller one
    decides: 0 up to one standard error, 1 from two on. Weights that were fitted to the same rows
    save a little even where effects are all the same.
    """
    saved = []
    for weight, goal, push in (
        (loss.r_weight, loss.residual, loss.push),
        (loss.weight, loss.target, np.ones_like(loss.push)),
    ):
        rows = weight * ((goal - constant * push) ** 2 - (goal - mixed * push) ** 2)
        sums = cluster_sums(rows[weight > 0, None], None if groups is None else groups[weight > 0])
        error = sums.std(ddof=1) * np.sqrt(len(sums))
        saved.append(sums.sum() / error if error > 0 else 0.0)
    return float(np.clip(min(saved) - 1, 0, 1))


def simplex(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    """argmin v'Gv - 2 v'b over v >= 0, sum v = 1."""
    from scipy.optimize import nnls

    size = len(right)
    unit = max(float(np.trace(gram)) / size, 1e-300)
    gram, right = gram / unit, right / unit
    heavy = 1e4  # on (sum v - 1)^2: the sum is one to four digits before it is made exact
    root = np.linalg.cholesky(gram + 1e-10 * np.eye(size) + heavy * np.ones((size, size)))
    v, _ = nnls(root.T, np.linalg.solve(root, right + heavy))
    return v / v.sum()

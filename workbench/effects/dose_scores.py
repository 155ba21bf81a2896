"""The R-loss of dose-response curves: held-out rows at the doses they received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import EffectEstimator
from .design import content_rank, nuisance_inputs
from .doses.base import DoseEstimator
from .judge import Stage, held_out, shares
from .nuisance import cross_fit, fold_ids

_GRID = 65  # doses at which curves are asked for; between them they are straight
_NOISE = 25  # doses that a unit might have received instead


@dataclass(frozen=True, eq=False)
class DoseJudge:
    """What judges curves: outcome and dose beyond what the covariates z say of them.

    The generalised R-loss of a curve is (Y - m(z) - tau(x, T) + E[tau(x, T) | z])^2, for any
    tau(x, t) that is the curve up to a level of each unit's own; its expectation is, up to a
    constant, the squared error of tau(x, T) - E[tau(x, T) | z] at the doses received, and errors
    of m and of E[tau | z] enter it squared only.

    Attributes:
        data: The rows.
        inputs: Covariates as nuisances see them, (n, q).
        fold: Fold of each row, (n,).
        center: E[T | z], cross-fitted, (n,).
        rest_y, rest_t: Y - E[Y | z] and T - E[T | z], (n,).
        seed: Of the nuisances.

    Source: Zhang, Kong and Yang, "Towards R-learner with continuous treatments", arXiv 2208.00872,
    2022; Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment
    effects", Biometrika 108(2), 2021.
    """

    data: EffectData
    inputs: np.ndarray
    fold: np.ndarray
    center: np.ndarray
    rest_y: np.ndarray
    rest_t: np.ndarray
    seed: np.random.SeedSequence

    @classmethod
    def fit(cls, data: EffectData, n_folds: int, random_state: Seed) -> DoseJudge:
        fold_seed, seed = spawn(random_state, 2)
        inputs = nuisance_inputs(data)
        rank = content_rank(data)
        fold = fold_ids(len(data), n_folds, fold_seed, groups=data.groups, rank=rank)
        outcome, dose = (
            _expected(inputs, values, fold, data.weight, seed) for values in (data.y, data.t)
        )
        return cls(data, inputs, fold, dose, data.y - outcome, data.t - dose, seed)

    def losses(self, estimator: EffectEstimator, stages: list[Stage], label: str) -> np.ndarray:
        """The loss of each row under a fit that has not seen it, (n,)."""
        low, high = self.data.t.min(), self.data.t.max()
        grid = np.linspace(low, high, _GRID)
        curves = held_out(
            estimator, self.data, stages, lambda fitted, x: _curves(fitted, x, grid), _GRID, label
        )
        return (self.rest_y - self.beyond(grid, curves)) ** 2

    def beyond(self, grid: np.ndarray, curves: np.ndarray) -> np.ndarray:
        """tau(x, T) - E[tau(x, T) | z] of curves (n, G) over a grid, (n,).

        The expectation is that over doses E[T | z] + noise, corrected by a regression on z for
        noise that depends on z.
        """
        noise = np.quantile(self.rest_t, (np.arange(_NOISE) + 0.5) / _NOISE)
        usual = _at(grid, curves, self.center[:, None] + noise).mean(axis=1)
        rest = _at(grid, curves, self.data.t[:, None])[:, 0] - usual
        return rest - _expected(self.inputs, rest, self.fold, self.data.weight, self.seed)

    def line_losses(self) -> np.ndarray:
        """The losses of one slope for all doses and units, the one that fits best, (n,)."""
        weighted = shares(self.data) * self.rest_t
        slope = weighted @ self.rest_y / (weighted @ self.rest_t)
        return (self.rest_y - slope * self.rest_t) ** 2


def _curves(fitted: EffectEstimator, x: Table, grid: np.ndarray) -> np.ndarray:
    """The curve of each row at the doses of a grid up to a level of its own, (m, G)."""
    if isinstance(fitted, DoseEstimator):
        return fitted.dose_response(x, grid)
    if fitted.linear_in_treatment:
        return fitted.const_marginal_effect(x)[:, None] * (grid - grid[0])
    return np.column_stack([fitted.effect(x, T0=grid[0], T1=dose) for dose in grid])


def _at(grid: np.ndarray, curves: np.ndarray, doses: np.ndarray) -> np.ndarray:
    """Curves (n, G) read at doses (n, J) by straight lines, constant beyond the grid, (n, J)."""
    place = np.clip((doses - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1)
    below = np.minimum(place.astype(int), len(grid) - 2)
    left, right = (np.take_along_axis(curves, below + k, axis=1) for k in (0, 1))
    return left + (place - below) * (right - left)


def _expected(z: np.ndarray, values: np.ndarray, fold: np.ndarray, weight: Any, seed: Any) -> Any:
    """E[values | z], cross-fitted, (n,)."""
    spread = values.std() or 1.0
    middle = values.mean()
    fit = cross_fit(z, (values - middle) / spread, fold, weight=weight, random_state=seed)
    return fit.values * spread + middle

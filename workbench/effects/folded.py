"""Learners trained once per fold: out-of-fold predictions and intervals come with the fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..core.errors import ParameterError
from ..core.seeding import spawn
from ..tables.effect_data import EffectData
from ..tables.encode import Encoder
from ..tables.gate import Table
from .arm_scores import ArmScores, within_range
from .base import EffectEstimator, Estimate
from .design import content_rank
from .nuisance import fold_ids

_CLIP = 0.01
_MAX_LEVELS = 50
_CHUNK = 20_000  # rows predicted at once


@dataclass(frozen=True)
class FoldedRows:
    """What a learner sees: numbers only, in units of its own.

    Attributes:
        z: All covariates, standardised, (n, p), columns in canonical order.
        arm: Position of the arm received, (n,).
        n_arms: K.
        y: Outcome with mean 0 and sd 1; 0 and 1 if ``binary``.
        weight: Row weights, mean one, (n,).
        fold: Fold of each row, 0 to F - 1, (n,); clusters are never divided.
        n_folds: F.
        chance: Cross-fitted P(arm | z), (n, K), from other rows than the row's own fold.
        binary: Whether the outcome has two values.
        order: Place of each row when sorted by content: what is drawn at random by position is
            drawn along this, so that the order in which rows arrive has no influence.
    """

    z: np.ndarray
    arm: np.ndarray
    n_arms: int
    y: np.ndarray
    weight: np.ndarray
    fold: np.ndarray
    n_folds: int
    chance: np.ndarray
    binary: bool
    order: np.ndarray

    def learning(self, k: int) -> np.ndarray:
        """Mask of the rows that model k learns from: all but fold k."""
        return self.fold != k

    def arranged(self) -> FoldedRows:
        """The same rows sorted by content, so that even rounding ignores how they arrived."""
        sort = np.argsort(self.order, kind="stable")
        by_row = ("z", "arm", "y", "weight", "fold", "chance", "order")
        return replace(self, **{name: getattr(self, name)[sort] for name in by_row})

    def own(self, by_fold: np.ndarray) -> np.ndarray:
        """From each fold's predictions, (F, n, ...), those of the model that never saw the row."""
        return by_fold[self.fold, np.arange(len(self.fold))]


class FoldModels(Protocol):
    """F fitted models, saveable, each trained without one of the folds."""

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        """E[Y | z, arm] of each model in the units of ``FoldedRows.y``, (F, m, K)."""

    def effects(self, z: np.ndarray) -> np.ndarray:
        """Effect of each arm against the first of each model, (F, m, K); column 0 is 0."""


class FoldedLearner(EffectEstimator):
    """Base of networks and meta-learners: one model for each fold that it leaves out.

    The answer is the average over the models. Its standard error is that of the delete-a-group
    jackknife, se^2 = (F - 1) / F * sum_f (tau_f - mean)^2 with F - 1 degrees of freedom: it counts
    sampling and training noise, not what the learner can't express. Averages over the rows that
    were fitted use doubly robust scores of the out-of-fold outcomes instead.

    A method defines ``_fit_folds(rows, seed) -> FoldModels``. The constructor has ``n_folds`` and
    ``random_state``.

    References:
        Kott, "The delete-a-group jackknife", Journal of Official Statistics 17, 2001 (intervals).
    """

    treatment = "discrete"
    defines_att = True
    needs_modifiers = True
    adjusts_for_w = False
    assumes = "the outcome models or the propensities are learned well enough"

    n_folds: int

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> FoldModels:
        raise TypeError(f"{type(self).__name__} must define _fit_folds")

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        fold_seed, model_seed = spawn(seed, 2)
        rows, self.encoder_, self.shift_, self.unit_ = folded_rows(
            data, self._folds(), self.overlap_.score, fold_seed
        )
        self.models_ = self._fit_folds(rows, model_seed)
        self.n_folds_ = rows.n_folds
        outcome = rows.own(self.models_.outcomes(rows.z)) * self.unit_ + self.shift_
        self.scores_ = ArmScores.of(data, rows.chance, within_range(outcome, data), _CLIP)
        self.scores_.compare(outcome - outcome[:, :1])

    def _folds(self) -> int:
        if not isinstance(self.n_folds, int) or isinstance(self.n_folds, bool) or self.n_folds < 2:
            raise ParameterError("must be an integer from 2", column="n_folds", value=self.n_folds)
        return self.n_folds

    # ---- answers

    def predict_outcomes(self, X=None) -> np.ndarray:
        """E[Y | X, arm] for each row of X (None: the rows fitted) and arm, (m, K).

        Levels are only as good as the adjustment; their differences are :meth:`effect`.
        """
        z = self._encoded(self._modifiers(X))
        parts = [self.models_.outcomes(part).mean(axis=0) for part in chunks(z)]
        return np.concatenate(parts) * self.unit_ + self.shift_

    def _encoded(self, x: Table) -> np.ndarray:
        return self.encoder_.transform(x)

    def _by_fold(self, x: Table, t0: int, t1: int) -> np.ndarray:
        """The effect by each fold's model, (F, m)."""
        parts = []
        for part in chunks(self._encoded(x)):
            effects = self.models_.effects(part)
            parts.append(effects[..., t1] - effects[..., t0])
        return np.concatenate(parts, axis=1) * self.unit_

    def _effect(self, x: Table, t0: int, t1: int) -> np.ndarray:
        return self._by_fold(x, t0, t1).mean(axis=0)

    def _effect_error(self, x: Table, t0: int, t1: int) -> tuple[np.ndarray, float]:
        return jackknife(self._by_fold(x, t0, t1)), self.n_folds_ - 1.0

    def _ate(self, x: Table | None, t0: int, t1: int, weight: np.ndarray | None = None) -> Estimate:
        if x is None:
            return self.scores_.average(t0, t1)
        means = np.average(self._by_fold(x, t0, t1), axis=1, weights=weight)
        return Estimate(float(means.mean()), float(jackknife(means)), self.n_folds_ - 1.0)

    def _within(self, inside: np.ndarray, t0: int, t1: int, target: str) -> Estimate:
        return self.scores_.within(inside, t0, t1, target)

    def _att(self, t0: int, t1: int) -> Estimate:
        return self.scores_.on_treated(t0, t1)


def folded_rows(
    data: EffectData, n_folds: int, chance: np.ndarray, seed: np.random.SeedSequence
) -> tuple[FoldedRows, Encoder, float, float]:
    """Checked data as numbers: the rows, the encoder, and shift and unit of the outcome."""
    encoder = Encoder(max_levels=_MAX_LEVELS).fit(data.x)
    rank = content_rank(data)
    fold = fold_ids(len(data), n_folds, seed, groups=data.groups, strata=data.t, rank=rank)
    low, high = data.y.min(), data.y.max()
    binary = bool(np.isin(data.y, (low, high)).all())
    shift, unit = (low, high - low) if binary else (data.y.mean(), data.y.std())
    weight = np.ones(len(data)) if data.weight is None else data.weight / data.weight.mean()
    rows = FoldedRows(
        z=encoder.transform(data.x),
        arm=data.t,
        n_arms=len(data.arms),
        y=(data.y - shift) / unit,
        weight=weight,
        fold=fold,
        n_folds=int(fold.max()) + 1,
        chance=chance,
        binary=binary,
        order=rank,
    )
    return rows, encoder, float(shift), float(unit)


def jackknife(by_fold: np.ndarray) -> np.ndarray:
    """Standard error of the mean of delete-a-group estimates (F, ...)."""
    folds = len(by_fold)
    spread = ((by_fold - by_fold.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt((folds - 1) / folds * spread)


def chunks(z: np.ndarray) -> list[np.ndarray]:
    """Parts of the rows that are predicted at once."""
    return np.array_split(z, max(1, -(-len(z) // _CHUNK)))

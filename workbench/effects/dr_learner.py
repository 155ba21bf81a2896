"""Doubly robust learner by econml, with a linear last step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import QuestionError
from ..core.saving import saveable
from ..core.seeding import Seed, integer
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .econml_adapter import EconmlAdapter, check_clip
from .sandwich import covariance


class LinearFinal(EconmlAdapter):
    """Effects of arms by econml classes whose last step is linear in X, with econml's errors."""

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        n = len(data)
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        arms = range(1, len(data.arms))
        self.mean_x_ = None if x is None else weight @ x / n
        effects = np.atleast_2d(self.model_.const_marginal_effect(x))
        spread = (effects - weight @ effects / n) * weight[:, None] / n if x is not None else None
        k = len(data.arms) - 1
        self.mean_var_ = np.zeros((k, k)) if spread is None else covariance(spread, None)
        self.df_ = float(min(np.bincount(data.t)[j] for j in (0, *arms)) - 1)

    def _effect(self, x: Table | None, t0: int, t1: int) -> np.ndarray:
        effects = np.atleast_2d(self.model_.const_marginal_effect(self._encoded(x)))
        effects = np.broadcast_to(effects, (1 if x is None else len(x), effects.shape[1]))
        return effects @ self._codes(t0, t1)

    def _error(self, encoded: np.ndarray | None, t0: int, t1: int) -> np.ndarray:
        if self.clustered_:
            raise QuestionError(
                "econml's standard errors ignore clusters",
                column="groups",
                advice="Use AIPW.",
            )
        if 0 not in (t0, t1) and t0 != t1:
            raise QuestionError(
                "econml has no standard error for a contrast without the first arm",
                column=self.t_name_,
                value=self.arms_[t0],
                advice="Use AIPW.",
            )
        if t0 == t1:
            return np.zeros(1 if encoded is None else len(encoded))
        found = self.model_.effect_inference(encoded, T0=min(t0, t1), T1=max(t0, t1))
        return np.ravel(found.stderr) * self._unit

    def _effect_error(self, x: Table | None, t0: int, t1: int) -> tuple[np.ndarray, float]:
        error = self._error(self._encoded(x), t0, t1)
        return np.broadcast_to(error, (1 if x is None else len(x),)), self.df_

    def _ate(self, x: Table | None, t0: int, t1: int, weight: np.ndarray | None = None) -> Estimate:
        code = self._codes(t0, t1)
        rows = x
        if x is None:
            rows, weight = self._modifiers(None), self.weight_
        if rows is None:
            weight = None
        value = float(np.average(self._effect(rows, t0, t1), weights=weight))
        if self.clustered_ or (0 not in (t0, t1) and t0 != t1):
            return Estimate(value)
        encoded = self._encoded(rows)
        mean = None if encoded is None else np.average(encoded, axis=0, weights=weight)[None]
        variance = self._error(mean, t0, t1)[0] ** 2
        if x is None:  # the rows fitted are themselves a sample
            variance += code @ self.mean_var_ @ code
        return Estimate(value, float(np.sqrt(variance)), self.df_)


@saveable
class DRLearner(LinearFinal):
    """Doubly robust learner: pseudo-outcomes regressed on X, by econml.

    The same scores as :class:`AIPW` with one joint outcome model for all arms; effects are linear
    in X. econml's standard errors ignore clusters, so that with groups intervals are refused.
    Prefer :class:`AIPW`, which also has the effect on the treated and clustered intervals.

    Args:
        clip: Lowest propensity.
        n_folds: Folds of the cross-fit.
        random_state: Seed of folds and nuisances.

    References:
        Foster and Syrgkanis, "Orthogonal statistical learning", Annals of Statistics 51(3), 2023.
        Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal effects",
        Electronic Journal of Statistics 17(2), 2023. econml (Battocchi et al., 2019).
    """

    treatment = "discrete"
    outcome_sees_treatment = True
    assumes = "either the outcome model or the propensities are learned well enough"

    def __init__(self, clip: float = 0.01, n_folds: int = 5, random_state: Seed = 0):
        self.clip = clip
        self.n_folds = n_folds
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.dr import LinearDRLearner

        check_clip(self.clip)
        outcome, treated = self._models(seed)
        return LinearDRLearner(
            model_regression=outcome,
            model_propensity=treated.set_params(floor=self.clip),
            min_propensity=self.clip,
            cv=folds,
            random_state=integer(seed),
        )

"""Causal forests by econml: effects that bend with X."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ParameterError, QuestionError
from ..core.saving import saveable
from ..core.seeding import Seed, integer
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .econml_adapter import EconmlAdapter, check_clip
from .nuisance import cross_fit
from .sandwich import covariance


@saveable
class CausalForestDML(EconmlAdapter):
    """A causal forest on double-machine-learning residuals: effects that bend with X.

    econml grows the forest and its pointwise intervals. The average effect is doubly robust:
    the mean of theta(x) + T~ / Var(T|x) (Y~ - theta(x) T~) over the rows fitted, with its
    standard error by cluster where there are groups. Pointwise intervals ignore clusters and are
    refused with groups. Prefer :class:`LinearDML` below some 500 rows.

    Args:
        n_trees: Trees, a multiple of 4.
        min_leaf: Fewest rows in a leaf.
        n_folds: Folds of the cross-fit.
        discrete_treatment: Whether T has arms; guessed from the data if None.
        n_jobs: Workers that grow trees; the result does not depend on it.
        random_state: Seed of folds, nuisances and trees.

    References:
        Athey, Tibshirani and Wager, "Generalized random forests", Annals of Statistics 47(2),
        2019. econml (Battocchi et al., 2019).
    """

    treatment = "any"
    linear_in_treatment = True
    needs_modifiers = True
    assumes = "an effect proportional to the contrast"

    def __init__(
        self,
        n_trees: int = 200,
        min_leaf: int = 5,
        n_folds: int = 5,
        discrete_treatment: bool | None = None,
        n_jobs: int = 1,
        random_state: Seed = 0,
    ):
        self.n_trees = n_trees
        self.min_leaf = min_leaf
        self.n_folds = n_folds
        self.discrete_treatment = discrete_treatment
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.dml import CausalForestDML as Foreign

        check_trees(self.n_trees)
        model_y, model_t = self._models(seed)
        return Foreign(
            model_y=model_y,
            model_t=model_t,
            discrete_treatment=self.discrete_,
            n_estimators=self.n_trees,
            min_samples_leaf=self.min_leaf,
            drate=False,
            cv=folds,
            n_jobs=self.n_jobs,
            random_state=integer(seed),
        )

    def _encode(self, data: EffectData) -> None:
        super()._encode(data)
        refuse_constant_modifiers(data, self.columns_)

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        n = len(data)
        for forest in self.model_.model_cate.estimators_:
            forest.n_jobs = 1  # workers add up trees in any order: answers would differ in bits
        rest_y, rest_t, *_ = self.model_.residuals_
        rest_t = rest_t.reshape(n, -1)
        # Out of bag: trees that saw a row make its residual too small, and with it the error.
        theta = self.model_.model_cate.oob_predict(x).reshape(n, -1)
        seen = self.model_.const_marginal_effect(x).reshape(n, -1)
        theta = np.where(np.isnan(theta), seen, theta)
        pull = self._inverse_variance(data, x, rest_t, fold)
        score = theta + pull * (rest_y - (theta * rest_t).sum(axis=1))[:, None]
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        self.mean_ = weight @ score / n
        self.mean_cov_ = covariance((score - self.mean_) * weight[:, None] / n, data.groups)
        clusters = n if data.groups is None else len(np.unique(data.groups))
        self.df_ = float(clusters - 1)

    def _inverse_variance(
        self, data: EffectData, x: np.ndarray, rest_t: np.ndarray, fold: np.ndarray
    ) -> np.ndarray:
        """Var(T | x)^-1 times the residual treatment, row by row, (n, d)."""
        if self.discrete_:
            one_hot = (data.t[:, None] == np.arange(1, len(data.arms))).astype(float)
            chance = np.clip(one_hot - rest_t, 0.01, 0.99)
            inverse = np.stack([np.diag(1 / row) for row in chance])
            first = np.clip(1 - chance.sum(axis=1), 0.01, None)
            inverse += 1 / first[:, None, None]  # Sherman-Morrison of diag(e) - e e'
            return np.einsum("nij,nj->ni", inverse, rest_t)
        z = x if self.nuisance_columns_ is None else np.hstack([x, self.nuisance_columns_])
        square = rest_t[:, 0] ** 2
        variance = cross_fit(z, square / square.mean(), fold, weight=data.weight).values
        return rest_t / (square.mean() * np.maximum(variance, 0.1))[:, None]

    def _effect(self, x: Table | None, t0: Any, t1: Any) -> np.ndarray:
        effects = self.model_.const_marginal_effect(self._encoded(x))
        return effects.reshape(len(x), -1) @ self._codes(t0, t1)

    def _effect_error(self, x: Table | None, t0: Any, t1: Any) -> tuple[np.ndarray, float]:
        refuse_clusters(self.clustered_)
        encoded = self._encoded(x)
        if self.arms_ is None:
            error = self.model_.effect_inference(encoded, T0=0.0, T1=1.0).stderr
            return np.ravel(error) * abs(self._codes(t0, t1)[0]), float("inf")
        error = self.model_.effect_inference(encoded, T0=t0, T1=t1).stderr
        return np.ravel(error) * self._unit, float("inf")

    def _ate(self, x: Table | None, t0: Any, t1: Any, weight: np.ndarray | None = None) -> Estimate:
        if x is None:
            code = self._codes(t0, t1)
            error = np.sqrt(max(code @ self.mean_cov_ @ code, 0))
            return Estimate(float(code @ self.mean_), float(error), self.df_)
        return average_with_bound(self, x, t0, t1, weight)


@saveable
class ForestDRLearner(EconmlAdapter):
    """Doubly robust pseudo-outcomes, an honest forest on them, by econml.

    Effects of arms that bend with X, without the assumption that arms act in proportion (as
    :class:`CausalForestDML` has it). The average effect is the mean of the pseudo-outcomes, by
    cluster where there are groups; pointwise intervals ignore clusters and are refused with
    groups. Prefer :class:`CausalForestDML` for doses and where overlap is thin, and
    :class:`DRLearner` below some 500 rows.

    Args:
        n_trees: Trees, a multiple of 4.
        min_leaf: Fewest rows in a leaf.
        clip: Lowest propensity.
        n_folds: Folds of the cross-fit.
        n_jobs: Workers that grow trees; the result does not depend on it.
        random_state: Seed of folds, nuisances and trees.

    References:
        Foster and Syrgkanis, "Orthogonal statistical learning", Annals of Statistics 51(3), 2023.
        Athey, Tibshirani and Wager, "Generalized random forests", Annals of Statistics 47(2),
        2019. econml (Battocchi et al., 2019).
    """

    treatment = "discrete"
    needs_modifiers = True
    outcome_sees_treatment = True
    assumes = "either the outcome model or the propensities are learned well enough"

    def __init__(
        self,
        n_trees: int = 200,
        min_leaf: int = 5,
        clip: float = 0.01,
        n_folds: int = 5,
        n_jobs: int = 1,
        random_state: Seed = 0,
    ):
        self.n_trees = n_trees
        self.min_leaf = min_leaf
        self.clip = clip
        self.n_folds = n_folds
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.dr import ForestDRLearner as Foreign

        check_trees(self.n_trees)
        check_clip(self.clip)
        outcome, treated = self._models(seed)
        return Foreign(
            model_regression=outcome,
            model_propensity=treated.set_params(floor=self.clip),
            min_propensity=self.clip,
            n_estimators=self.n_trees,
            min_samples_leaf=self.min_leaf,
            cv=folds,
            n_jobs=self.n_jobs,
            random_state=integer(seed),
        )

    def _encode(self, data: EffectData) -> None:
        super()._encode(data)
        refuse_constant_modifiers(data, self.columns_)

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        for forest in self.model_.fitted_models_final:
            forest.n_jobs = 1  # workers add up trees in any order: answers would differ in bits
        n, k = len(data), len(data.arms)
        score = np.asarray(self.model_._cached_values.nuisances[0]).reshape(n, k)
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        self.mean_ = weight @ score / n
        self.mean_cov_ = covariance((score - self.mean_) * weight[:, None] / n, data.groups)
        clusters = n if data.groups is None else len(np.unique(data.groups))
        smallest = np.bincount(data.t).min() if data.groups is None else clusters
        self.df_ = float(smallest - 1)

    def _effect(self, x: Table | None, t0: int, t1: int) -> np.ndarray:
        effects = self.model_.const_marginal_effect(self._encoded(x))
        return effects.reshape(len(x), -1) @ self._codes(t0, t1)

    def _effect_error(self, x: Table | None, t0: int, t1: int) -> tuple[np.ndarray, float]:
        refuse_clusters(self.clustered_)
        encoded, error = self._encoded(x), np.zeros(len(x))
        if t0 == t1:
            return error, float("inf")
        # Forests of two arms against the first are grown apart: errors add up, at most.
        for arm in {t0, t1} - {0}:
            found = self.model_.effect_inference(encoded, T0=0, T1=arm)
            error = error + np.ravel(found.stderr)
        return error * self._unit, float("inf")

    def _ate(self, x: Table | None, t0: int, t1: int, weight: np.ndarray | None = None) -> Estimate:
        if x is not None:
            return average_with_bound(self, x, t0, t1, weight)
        code = (np.eye(len(self.mean_))[t1] - np.eye(len(self.mean_))[t0]) * self._unit
        error = np.sqrt(max(code @ self.mean_cov_ @ code, 0))
        return Estimate(float(code @ self.mean_), float(error), self.df_)


def check_trees(n_trees: Any) -> None:
    """econml grows trees by fours."""
    if not isinstance(n_trees, int) or n_trees < 4 or n_trees % 4:
        raise ParameterError("must be a multiple of 4", column="n_trees", value=n_trees)


def refuse_constant_modifiers(data: EffectData, columns: np.ndarray) -> None:
    """A forest needs something to split by."""
    if not len(columns):
        raise QuestionError(
            "is the same in every row, so effects can't be told apart by X",
            column=data.x.names[0],
            advice="Leave it out and use LinearDML or AIPW.",
        )


def refuse_clusters(
    clustered: bool, advice: str = "Use AIPW or LinearDML with X, or ate_interval."
) -> None:
    """econml's pointwise errors treat rows as independent."""
    if clustered:
        raise QuestionError(
            "pointwise intervals would ignore clusters", column="groups", advice=advice
        )


def average_with_bound(
    forest: EconmlAdapter, x: Table, t0: Any, t1: Any, weight: np.ndarray | None
) -> Estimate:
    """The mean effect over given rows; the mean of pointwise errors bounds its error from above."""
    value = float(np.average(forest._effect(x, t0, t1), weights=weight))
    if forest.clustered_:
        return Estimate(value)
    return Estimate(value, float(np.average(forest._effect_error(x, t0, t1)[0], weights=weight)))

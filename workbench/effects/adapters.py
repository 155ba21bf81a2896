"""econml's estimators behind our gate: named columns, one seed, folds and errors by cluster."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ParameterError, QuestionError, warn
from ..core.saving import saveable
from ..core.seeding import Seed, integer
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .econml_adapter import EconmlAdapter
from .nuisance import cross_fit
from .sandwich import covariance, least_squares


@saveable
class LinearDML(EconmlAdapter):
    """Partially linear double machine learning: the default for doses.

    Y - E[Y|X,W] = theta(X) (T - E[T|X,W]) + noise with theta linear in X: residuals on residuals.
    econml cross-fits the residuals; the final covariance is ours (leverage-corrected sandwich,
    by cluster where there are groups), so that intervals hold in small and in clustered samples.

    Without X one common effect is estimated; if effects differ between units that is an average
    weighted towards units whose treatment is least determined by their covariates. Prefer
    :class:`AIPW` for the average effect of arms, :class:`CausalForestDML` where theta bends.

    Args:
        n_folds: Folds of the cross-fit.
        discrete_treatment: Whether T has arms; guessed from the data if None.
        random_state: Seed of folds and nuisances.

    References:
        Chernozhukov et al., "Double/debiased machine learning for treatment and structural
        parameters", Econometrics Journal 21, 2018. econml (Battocchi et al., 2019).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> w = rng.normal(size=(400, 2))
        >>> dose = w[:, 0] + rng.normal(size=400)
        >>> y = 0.5 * dose + w[:, 0] + rng.normal(size=400)
        >>> bool(0.3 < LinearDML().fit(y, dose, W=w).ate() < 0.7)
        True
    """

    treatment = "any"
    linear_in_treatment = True
    assumes = (
        "an effect proportional to the contrast and linear in X (one common effect without X; if "
        "units differ, those whose treatment their covariates fix least weigh most)"
    )

    def __init__(
        self, n_folds: int = 5, discrete_treatment: bool | None = None, random_state: Seed = 0
    ):
        self.n_folds = n_folds
        self.discrete_treatment = discrete_treatment
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.dml import LinearDML as Foreign

        model_y, model_t = self._models(seed)
        return Foreign(
            model_y=model_y,
            model_t=model_t,
            discrete_treatment=self.discrete_,
            cv=folds,
            random_state=integer(seed),
        )

    def _fit_options(self) -> dict[str, Any]:
        return {"inference": None}

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        if self.discrete_ and x is None:
            warn(
                "common-effect",
                "without X one effect common to all units is estimated; if effects differ it is "
                "not the average effect (AIPW is)",
            )
        elif not self.discrete_:
            among = "" if x is None else " with the same X"
            warn(
                "constant-slope",
                f"one slope is estimated for all doses and units{among}: where slopes differ it "
                "is their average weighted by how much the dose varies, and a curve is not seen",
                [data.t_name],
            )
        self._regress_residuals(data, x)

    def _regress_residuals(self, data: EffectData, x: np.ndarray | None) -> None:
        """The residual regression with a sandwich covariance; coefficients equal econml's."""
        rest_y, rest_t, *_ = self.model_.residuals_
        n = len(data)
        rest_t = rest_t.reshape(n, -1)
        phi = np.ones((n, 1)) if x is None else np.hstack([np.ones((n, 1)), x])
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        design = (rest_t[:, :, None] * phi[:, None, :]).reshape(n, -1)
        coef, influence = least_squares(design, rest_y, weight)
        shape = (rest_t.shape[1], phi.shape[1])
        self.coef_ = coef.reshape(shape)
        self.coef_cov_ = covariance(influence, data.groups).reshape(*shape, *shape)
        mean = weight @ phi / n
        spread = (phi - mean) @ self.coef_.T * weight[:, None] / n
        self.mean_ = self.coef_ @ mean
        self.mean_cov_ = covariance(influence.reshape(n, *shape) @ mean + spread, data.groups)
        clusters = n if data.groups is None else len(np.unique(data.groups))
        self.df_ = float(clusters - 1 if data.groups is not None else n - design.shape[1])

    def _phi(self, x: Table | None) -> np.ndarray:
        if x is None:
            return np.ones((1, 1))
        encoded = self._encoded(x)
        ones = np.ones((len(x), 1))
        return ones if encoded is None else np.hstack([ones, encoded])

    def _effect(self, x: Table | None, t0: Any, t1: Any) -> np.ndarray:
        return self._phi(x) @ (self._codes(t0, t1) @ self.coef_)

    def _effect_error(self, x: Table | None, t0: Any, t1: Any) -> tuple[np.ndarray, float]:
        code, phi = self._codes(t0, t1), self._phi(x)
        cov = np.einsum("k,kplq,l->pq", code, self.coef_cov_, code)
        return np.sqrt(np.maximum(np.einsum("np,pq,nq->n", phi, cov, phi), 0)), self.df_

    def _ate(self, x: Table | None, t0: Any, t1: Any, weight: np.ndarray | None = None) -> Estimate:
        code = self._codes(t0, t1)
        if x is None:
            value, variance = code @ self.mean_, code @ self.mean_cov_ @ code
        else:
            phi = np.average(self._phi(x), axis=0, weights=weight)
            value = code @ self.coef_ @ phi
            variance = np.einsum("k,p,kplq,l,q", code, phi, self.coef_cov_, code, phi)
        return Estimate(float(value), float(np.sqrt(max(variance, 0))), self.df_)


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

        if not isinstance(self.n_trees, int) or self.n_trees < 4 or self.n_trees % 4:
            raise ParameterError("must be a multiple of 4", column="n_trees", value=self.n_trees)
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
        if not len(self.columns_):
            raise QuestionError(
                "is the same in every row, so effects can't be told apart by X",
                column=data.x.names[0],
                advice="Leave it out and use LinearDML or AIPW.",
            )

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
        if self.clustered_:
            raise QuestionError(
                "the forest's pointwise intervals ignore clusters",
                column="groups",
                advice="Use AIPW or LinearDML with X, or ate_interval.",
            )
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
        value = float(np.average(self._effect(x, t0, t1), weights=weight))
        if self.clustered_:
            return Estimate(value)
        # The mean of the pointwise errors bounds the error of the mean from above.
        error = np.average(self._effect_error(x, t0, t1)[0], weights=weight)
        return Estimate(value, float(error))


@saveable
class DRLearner(EconmlAdapter):
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

        if not isinstance(self.clip, int | float) or not 0 < self.clip < 0.5:
            raise ParameterError("must lie between 0 and 0.5", column="clip", value=self.clip)
        outcome, treated = self._models(seed)
        return LinearDRLearner(
            model_regression=outcome,
            model_propensity=treated.set_params(floor=self.clip),
            min_propensity=self.clip,
            cv=folds,
            random_state=integer(seed),
        )

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

"""Double machine learning with powers of the dose, by econml: contrasts without levels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import ParameterError, QuestionError
from ...core.saving import saveable
from ...core.seeding import Seed, integer
from ...tables.effect_data import EffectData
from ...tables.gate import Table
from ..asked import doses_of_rows
from ..base import Estimate
from ..econml_adapter import EconmlAdapter
from ..forests import refuse_clusters
from ..nuisance import Basis, cross_fit


@saveable
class PolynomialDML(EconmlAdapter):
    """Partially linear double machine learning whose effect bends with the dose.

    Y - E[Y|X,W] = theta(X)' (B(T) - E[B(T)|X,W]) + noise, B the powers of the dose up to a degree
    and theta linear in X, by econml. It gives contrasts of doses, not levels. Intervals are
    econml's, and refused with groups, which they would ignore.

    Powers, and not splines: the residuals of a local function of the dose need E[B(T)|X,W] to be
    learned as finely, and what is missed of it shrinks the effect.

    Prefer :class:`LinearDML` where one slope is enough, :class:`DoseStack` where curves differ
    between people in more than linear ways.

    Args:
        degree: Highest power of the dose.
        n_folds: Folds of the cross-fit.
        random_state: Seed of folds and nuisances.

    References:
        Chernozhukov et al., "Double/debiased machine learning for treatment and structural
        parameters", Econometrics Journal 21, 2018. econml (Battocchi et al., 2019).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> w = rng.normal(size=(500, 2))
        >>> dose = w[:, 0] + rng.normal(size=500)
        >>> y = dose**2 + w[:, 0] + rng.normal(size=500)
        >>> bool(0.5 < PolynomialDML().fit(y, dose, W=w).ate(T0=0, T1=1) < 1.5)
        True
    """

    treatment = "continuous"
    dose_as_matrix = True
    assumes = "an effect that is a polynomial of the dose with coefficients linear in X"

    def __init__(self, degree: int = 3, n_folds: int = 5, random_state: Seed = 0):
        self.degree = degree
        self.n_folds = n_folds
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.dml import LinearDML as Foreign
        from sklearn.preprocessing import PolynomialFeatures

        model_y, model_t = self._models(seed)
        basis = PolynomialFeatures(self.degree, include_bias=False)
        return Foreign(
            model_y=model_y,
            model_t=model_t,
            treatment_featurizer=basis,
            cv=folds,
            random_state=integer(seed),
        )

    def _choose(
        self, data: EffectData, x: np.ndarray | None, y: np.ndarray, fold: np.ndarray, seed: Any
    ) -> None:
        super()._choose(data, x, y, fold, seed)
        # Powers of the dose bend with the covariates even where the dose does not.
        power = ((data.t - self._dose[0]) / self._dose[1]) ** self.degree
        z = self._inputs_of_nuisances(data, x)
        family = None if Basis.fit(z).is_plain else "spline"
        found = cross_fit(
            z, power / power.std(), fold, weight=data.weight, random_state=seed, family=family
        )
        self.nuisances_["treatment"] = (found.chosen,)

    def _models(self, seed: np.random.SeedSequence) -> tuple[Any, Any]:
        from sklearn.multioutput import MultiOutputRegressor

        model_y, model_t = super()._models(seed)
        return model_y, MultiOutputRegressor(model_t)

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        if not isinstance(self.degree, int) or isinstance(self.degree, bool) or self.degree < 1:
            raise ParameterError("must be a positive integer", column="degree", value=self.degree)
        if len(np.unique(data.t)) <= self.degree:
            raise QuestionError(
                f"has {len(np.unique(data.t))} values, too few for a curve of degree {self.degree}",
                column=data.t_name,
                advice="Use LinearDML, or an estimator for arms.",
            )
        super()._fit(data, seed)

    def marginal_effect(self, T: Any, X: Any = None) -> np.ndarray:
        """d E[Y(t) | X] / d t at T (one dose, or one per row of X), (m,)."""
        x = self._modifiers(X)
        encoded = self._encoded(x)
        doses = doses_of_rows(self, T, X, None if x is None else len(x))
        m = len(doses) if x is None else len(x)
        if not m:
            return np.empty(0)
        at = np.broadcast_to((doses - self._dose[0]) / self._dose[1], (m,))
        slope = self.model_.marginal_effect(at[:, None], encoded)
        return np.ravel(slope) * self._unit / self._dose[1]

    def _effect(self, x: Table | None, t0: float, t1: float) -> np.ndarray:
        encoded = self._encoded(x)
        start, end = self._doses(encoded, t0, t1)
        return np.ravel(self.model_.effect(encoded, T0=start, T1=end)) * self._unit

    def _effect_error(self, x: Table | None, t0: float, t1: float) -> tuple[np.ndarray, float]:
        refuse_clusters(self.clustered_, "Use LinearDML or DoseGP.")
        return self._contrast_error(self._encoded(x), t0, t1), float("inf")

    def _ate(self, x: Table | None, t0: float, t1: float, weight=None) -> Estimate:
        value = super()._ate(x, t0, t1, weight).value
        if self.clustered_:
            return Estimate(value)
        if x is None and self.x_ is not None:
            x, weight = self._modifiers(None), self.weight_
        encoded = self._encoded(x)
        # Effects are linear in X: the mean effect is the effect at the mean.
        mean = None if encoded is None else np.average(encoded, axis=0, weights=weight)[None]
        return Estimate(value, float(self._contrast_error(mean, t0, t1)[0]))

    def _contrast_error(self, encoded: np.ndarray | None, t0: float, t1: float) -> np.ndarray:
        start, end = self._doses(encoded, t0, t1)
        found = self.model_.effect_inference(encoded, T0=start, T1=end)
        return np.ravel(found.stderr) * self._unit

    def _doses(self, encoded: np.ndarray | None, *doses: float) -> tuple[np.ndarray, ...]:
        m = 1 if encoded is None else len(encoded)
        return tuple(np.full((m, 1), (t - self._dose[0]) / self._dose[1]) for t in doses)

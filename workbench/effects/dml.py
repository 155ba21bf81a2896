"""Partially linear double machine learning by econml: residuals on residuals."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import warn
from ..core.saving import saveable
from ..core.seeding import Seed, integer
from ..tables.effect_data import EffectData
from .econml_adapter import EconmlAdapter
from .residual_regression import ResidualRegression


@saveable
class LinearDML(ResidualRegression, EconmlAdapter):
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
                "is their average weighted by how much the dose varies, and a curve is not seen "
                "(DoseStack gives curves)",
                [data.t_name],
            )
        rest_y, rest_t, *_ = self.model_.residuals_
        self._regress(data, x, rest_y, rest_t, rest_t)

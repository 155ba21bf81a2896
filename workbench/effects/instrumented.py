"""econml's instrument classes behind our gate: effects that may differ with X."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import QuestionError, warn
from ..core.saving import saveable
from ..core.seeding import Seed, integer, spawn
from ..tables.effect_data import EffectData
from .design import covariates, treatment_columns
from .dr_learner import LinearFinal
from .econml_adapter import EconmlAdapter
from .nuisance import cross_fit
from .residual_regression import ResidualRegression
from .sandwich import least_squares

_ASSUMES = (
    "an instrument that reaches the outcome only through the treatment and has no causes in common "
    "with it beyond X and W; "
)


class _Instrumented(EconmlAdapter):
    """What predicts instrument, take-up and their product is chosen once for all folds."""

    needs_instrument = True

    def _choose(
        self, data: EffectData, x: np.ndarray | None, y: np.ndarray, fold: np.ndarray, seed: Any
    ) -> None:
        super()._choose(data, x, y, fold, seed)
        shift = self.instrument_columns_
        shift = (shift - shift.mean(axis=0)) / shift.std(axis=0)
        base, _ = covariates(data)
        options = {"weight": data.weight, "random_state": seed}
        t = treatment_columns(data)
        moved = [
            cross_fit(
                np.hstack([base, shift]), column, fold, binary=data.arms is not None, **options
            )
            for column in t.T
        ]
        product = shift[:, 0] * (t[:, 0] - t[:, 0].mean())
        self.nuisances_ |= {
            "instrument": cross_fit(base, shift[:, 0], fold, **options).chosen,
            "take-up": tuple(found.chosen for found in moved),
            "product": cross_fit(base, product / (product.std() or 1.0), fold, **options).chosen,
        }

    def _regressor(self, what: str, seed: np.random.SeedSequence) -> Any:
        from .learners import AutoRegressor

        return AutoRegressor(self.nuisances_[what], random_state=integer(seed))

    def _take_up(self, seed: np.random.SeedSequence) -> Any:
        """E[T | X, W, Z]."""
        from .learners import AutoClassifier, AutoRegressor

        chosen = self.nuisances_["take-up"]
        if not self.discrete_:
            return AutoRegressor(chosen[0], random_state=integer(seed))
        if len(chosen) > 1:  # one candidate for each arm, the first as well
            chosen = (chosen[0], *chosen)
        return AutoClassifier(chosen=chosen, random_state=integer(seed))


class _Residuals(ResidualRegression, _Instrumented):
    """Residuals of outcome and treatment, and what the instrument says about the treatment."""

    treatment = "any"
    linear_in_treatment = True

    n_folds: int
    discrete_treatment: bool | None
    random_state: Seed

    def _fit_options(self) -> dict[str, Any]:
        return {"inference": None}

    def _options(self, folds: list, seed: np.random.SeedSequence) -> dict[str, Any]:
        model_y, model_t = self._models(seed)
        return {
            "model_y_xw": model_y,
            "model_t_xw": model_t,
            "model_t_xwz": self._take_up(spawn(seed, 3)[2]),
            "discrete_treatment": self.discrete_,
            "cv": folds,
            "random_state": integer(seed),
        }


def _tell_moved(data: EffectData, explained: float, columns: int) -> None:
    """Refuse where instruments move nothing; warn where they move too little for each coefficient.

    Args:
        data: For names and size.
        explained: Share of the residual treatment's variance that the instruments explain.
        columns: Coefficients of the effect, one for each column that it may differ by.
    """
    if explained < 1e-9:
        raise QuestionError(
            "is not moved by the instruments beyond what X and W say of it",
            column=data.t_name,
            advice="Leave out covariates that do not matter, or use OrthoIV.",
        )
    if len(data) * explained / columns < 10:
        warn(
            "weak-instrument",
            f"beyond X and W the instruments explain {100 * explained:.2g} % of the variance of "
            f"{data.t_name!r}, too little for {columns} coefficients of {len(data)} rows: estimate "
            "and interval are not to be relied on",
            data.z.names,
        )


@saveable
class OrthoIV(_Residuals):
    """Instrumented residuals on residuals: effects linear in X, with orthogonal moments.

        E[ (Y~ - theta(X) T~) Z~ (1, X) ] = 0,   A~ = A - E[A | X, W]

    With more instruments than treatment columns Z~ is what they predict, E[T | X, W, Z] -
    E[T | X, W]. econml cross-fits the residuals; the final covariance is ours, by cluster where
    there are groups. A first-stage F below 10 is a ``weak-instrument`` warning. Prefer
    :class:`LinearDRIV` for two arms and one instrument, and :class:`AIPW` where nothing hidden
    confounds.

    Args:
        n_folds: Folds of the cross-fit.
        discrete_treatment: Whether T has arms; guessed from the data if None.
        random_state: Seed of folds and nuisances.

    References:
        Chernozhukov et al., "Double/debiased machine learning for treatment and structural
        parameters", Econometrics Journal 21, 2018. econml (Battocchi et al., 2019).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> hidden, z = rng.normal(size=500), rng.normal(size=500)
        >>> dose = z + hidden + rng.normal(size=500)
        >>> y = 0.5 * dose + hidden + rng.normal(size=500)
        >>> bool(0.3 < OrthoIV().fit(y, dose, Z=z.reshape(-1, 1)).ate() < 0.7)
        True
    """

    assumes = _ASSUMES + "an effect linear in X that does not differ with what is hidden"

    def __init__(
        self, n_folds: int = 5, discrete_treatment: bool | None = None, random_state: Seed = 0
    ):
        self.n_folds = n_folds
        self.discrete_treatment = discrete_treatment
        self.random_state = random_state

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.iv.dml import OrthoIV as Foreign

        options = self._options(folds, seed)
        columns = len(self.overlap_.arms) - 1 if self.discrete_ else 1
        if self.instrument_columns_.shape[1] == columns:
            del options["model_t_xwz"]
            options["model_z_xw"] = self._regressor("instrument", spawn(seed, 4)[3])
            return Foreign(**options)
        return Foreign(projection=True, **options)

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        rest_y, rest_t, rest_z, *_ = self.model_.residuals_
        rest_t, rest_z = rest_t.reshape(len(data), -1), rest_z.reshape(len(data), -1)
        fitted, _ = least_squares(rest_z, rest_t, np.ones(len(data)))
        explained = ((rest_z @ fitted) ** 2).mean(axis=0) / (rest_t**2).mean(axis=0)
        _tell_moved(data, float(explained.min()), 1 if x is None else 1 + x.shape[1])
        self._regress(data, x, np.ravel(rest_y), rest_t, rest_z)


@saveable
class LinearDRIV(_Instrumented, LinearFinal):
    """Doubly robust scores with one instrument, regressed on X.

        s = tau_0(X) + (Y~ - tau_0(X) T~) Z~ / E[T~ Z~ | X],   theta(x) linear in x

    with a first guess tau_0; right if either the guess or the covariance of T~ and Z~ is. For two
    arms. econml's standard errors ignore clusters, so that with groups intervals are refused.
    Prefer :class:`OrthoIV` with clusters, several instruments or a dose.

    Args:
        n_folds: Folds of the cross-fit.
        random_state: Seed of folds and nuisances.

    References:
        Syrgkanis et al., "Machine learning estimation of heterogeneous treatment effects with
        instruments", NeurIPS 2019. econml (Battocchi et al., 2019).
    """

    most_arms = 2
    assumes = _ASSUMES + "an effect that does not differ with what is hidden"

    def __init__(self, n_folds: int = 5, random_state: Seed = 0):
        self.n_folds = n_folds
        self.random_state = random_state

    def _encode(self, data: EffectData) -> None:
        super()._encode(data)
        if self.instrument_columns_.shape[1] > 1:
            raise QuestionError(
                "LinearDRIV takes one instrument, a number or two levels",
                column=data.z.names[-1],
                advice="Choose one, or use OrthoIV.",
            )

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        from econml.iv.dr import LinearDRIV as Foreign
        from econml.sklearn_extensions.linear_model import StatsModelsLinearRegression

        model_y, model_t = self._models(seed)
        instrument, product = spawn(seed, 4)[2:]
        return Foreign(
            model_y_xw=model_y,
            model_t_xw=model_t,
            model_z_xw=self._regressor("instrument", instrument),
            model_tz_xw=self._regressor("product", product),
            flexible_model_effect=StatsModelsLinearRegression(fit_intercept=True),
            cov_clip=0.05,
            discrete_treatment=True,
            cv=folds,
            random_state=integer(seed),
        )

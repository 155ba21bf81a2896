"""Additive noise: a number is a function of its parents plus noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import DataError, warn
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..tables.gate import count
from .choice import Choice, choose
from .noise import Empirical, density, drawn, learned, no_density
from .parents import Parents
from .regressors import Boosting, Foreign, Linear, Splines
from .report import dependence, normality

REGRESSORS = {"linear": Linear, "splines": Splines, "boosting": Boosting}


@saveable
class AdditiveNoise(Parameterised):
    """A number that is a function of the parents plus noise: ``x = f(parents) + e``.

    ``f`` is chosen by cross-validation, the simplest of linear, additive splines and boosting
    whose held-out error is not clearly worse than the best. The noise is what ``f`` leaves
    over, corrected for the parameters spent (or cross-fitted), so that a flexible ``f``
    doesn't make the noise look small.

    A count is ``x = max(0, round(f(parents) + e))``. Many e give the same count; abduction draws
    e evenly from the interval around the middle one, so that changes smaller than one unit add
    up to the right mean over many rows.

    Right where parents shift a node without changing its spread; the fit report tests that.

    Args:
        regressor: ``"auto"``, ``"linear"``, ``"splines"``, ``"boosting"``, or a
            scikit-learn regressor.
        noise: ``"empirical"``, ``"gaussian"`` (gives ``log_prob``) or a distribution.

    References:
        Hoyer et al., "Nonlinear causal discovery with additive noise models", NIPS 2008.

    Example:
        >>> AdditiveNoise("linear", noise="gaussian")
        AdditiveNoise(noise='gaussian', regressor='linear')
    """

    width_ = 1

    def __init__(self, regressor: Any = "auto", noise: Any = "empirical"):
        self.regressor, self.noise = regressor, noise

    known = False

    def fit(self, parents, x, feature, *, random_state=0, groups=None):
        self.feature_, self.count_ = feature, feature.kind == "count"
        X, block = parents.encoded, parents.encoder.block(feature.name)
        self.center_, self.scale_ = block.center, block.scale
        if x.min() == x.max():
            self.center_, self.scale_ = float(x[0]), 1.0
            self.regressor_, self.noise_ = Linear().fit(X, 0.0 * x), Empirical(np.zeros(1))
            self.report_ = {"mechanism": "constant", "noise_sd": 0.0}
            return self
        y = (x - self.center_) / self.scale_
        candidates = self._candidates(X.shape[1])
        choice = choose(
            candidates, X, y, _predict, _squared, random_state=random_state, groups=groups
        )
        self.regressor_ = candidates[choice.name]().fit(X, y, random_state)
        residuals, rows = self._residuals(choice, X, y)
        self.noise_ = learned(self.noise, residuals)
        if self.count_ and self.noise == "empirical":
            self._warn_if_clipped(X)
        spread = float(y.var())
        self.report_ = {
            "mechanism": choice.name,
            "measure": "R2",
            "score": 1 - choice.losses[choice.name] / spread if choice.losses else np.nan,
            "runner_up": choice.runner_up,
            "runner_up_score": (
                1 - choice.losses[choice.runner_up] / spread if choice.runner_up else np.nan
            ),
            "noise_sd": float(residuals.std()),
        }
        if residuals.std() > 1e-9 * self.scale_:  # else only rounding errors are left
            self.report_ |= {
                "normality_p": normality(residuals),
                **dependence(residuals, X[rows]),
            }
        return self

    def _candidates(self, p: int) -> dict[str, Callable[[], Any]]:
        given = self.regressor
        if isinstance(given, str):
            if given == "auto":
                return dict(REGRESSORS) if p else {"linear": Linear}
            return {given: REGRESSORS[given]}
        return {type(given).__name__: lambda: Foreign(given)}

    def _residuals(self, choice: Choice, X: np.ndarray, y: np.ndarray) -> tuple:
        """Residuals in the node's unit and the rows they belong to."""
        n, edf, every = len(y), self.regressor_.edf_, np.arange(len(y))
        if edf is not None:
            if n - edf < 1:
                raise DataError(
                    f"has {count(n, 'row')} for {X.shape[1]} encoded parent columns: nothing is "
                    "left to estimate the noise from",
                    column=self.feature_.name,
                    advice="Use more rows or fewer parents.",
                )
            spare = np.sqrt(n / (n - edf))
            residuals, rows = (y - self.regressor_.predict(X)) * spare, every
        elif choice.held_out is not None:
            residuals, rows = y[choice.rows] - choice.held_out, choice.rows
        else:
            residuals, rows = y - self.regressor_.predict(X), every
            warn(
                "understated-noise",
                f"too few rows to cross-fit {self.feature_.name!r}: its noise is what the model "
                "left over on the rows it was fitted to, and too small",
                [self.feature_.name],
            )
        return (residuals - residuals.mean()) * self.scale_, rows

    def _warn_if_clipped(self, X: np.ndarray) -> None:
        f, e = self._f(X[:2000]), self.noise_.values
        below = float(np.mean(f[:, None] + np.quantile(e, np.linspace(0.01, 0.99, 50)) < -0.5))
        if below > 0.02:
            warn(
                "count-noise",
                f"additive noise puts {below:.0%} of simulated {self.feature_.name!r} below 0, "
                "they are set to 0: its simulated mean is too high. A classifier may suit a "
                "small count better (kind='ordinal' in the schema)",
                [self.feature_.name],
            )

    def _f(self, X: np.ndarray) -> np.ndarray:
        return self.center_ + self.scale_ * self.regressor_.predict(X)

    def predict(self, parents: Parents) -> np.ndarray:
        """``f(parents)``, ``(n,)``, in the node's unit."""
        return self._f(parents.encoded)

    def draw(self, rng, n):
        e = drawn(self.noise_, rng, n)
        if self.count_:
            e = e + rng.uniform(-0.5, 0.5, n)
        return e[:, None]

    def apply(self, parents, noise):
        x = self.predict(parents) + noise[:, 0]
        return np.maximum(np.rint(x), 0.0) if self.count_ else x

    def abduct(self, parents, x, uniforms):
        if self.count_:
            x = x + uniforms(1)[:, 0] - 0.5
        return (x - self.predict(parents))[:, None]

    def log_prob(self, parents, x):
        if self.count_:
            raise no_density(self.feature_, "a count has no density")
        return density(self.noise_, x - self.predict(parents), self.feature_)


def _predict(model: Any, X: np.ndarray) -> np.ndarray:
    return model.predict(X)


def _squared(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return (y - prediction) ** 2

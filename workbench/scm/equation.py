"""Mechanisms that are given: nodes without parents, and known equations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from ..core.errors import ParameterError, QuestionError
from ..core.parameters import Parameterised
from ..core.saving import saveable
from .noise import density, drawn, learned, no_density
from .parents import Parents
from .report import dependence, normality


@saveable
class Root(Parameterised):
    """A node without parents: the noise is the value itself.

    Args:
        noise: ``"empirical"`` (drawn from the observed values), ``"gaussian"``, or a distribution
            such as :class:`~workbench.scm.noise.Gaussian`, which then needs no data.

    Example:
        >>> from workbench.scm import Gaussian
        >>> Root(Gaussian(sd=2.0)).known
        True
    """

    width_ = 1

    def __init__(self, noise: Any = "empirical"):
        self.noise = noise

    @property
    def known(self) -> bool:
        return not isinstance(self.noise, str)

    def fit(self, parents, x, feature, *, random_state=0, groups=None):
        self.feature_ = feature
        if feature.is_discrete and self.noise == "gaussian":
            raise ParameterError("noise='gaussian' is for numbers", column=feature.name)
        self.noise_ = self.noise if self.known else learned(self.noise, x)
        self.report_ = {"mechanism": "observed values" if self.noise == "empirical" else "known"}
        if feature.is_numeric:
            self.report_ |= {"noise_sd": float(x.std()), "normality_p": normality(x - x.mean())}
        return self

    def draw(self, rng, n):
        return drawn(self._law, rng, n)[:, None]

    def apply(self, parents, noise):
        return noise[:, 0]

    def abduct(self, parents, x, uniforms):
        return x[:, None]

    def log_prob(self, parents, x):
        if not self.known and self.feature_.is_discrete:
            share = np.bincount(self.noise_.values.astype(int), minlength=len(self.feature_.levels))
            with np.errstate(divide="ignore"):
                return np.log(share / share.sum())[x.astype(int)]
        return density(self._law, x, getattr(self, "feature_", None))

    @property
    def _law(self) -> Any:
        return self.noise if self.known else self.noise_


@saveable
class Equation(Parameterised):
    """A known equation for a number.

    Args:
        function: ``function(parents)`` or, with ``inverse`` other than ``"additive"``,
            ``function(parents, noise)``; ``parents["age"]`` is an array.
        noise: A distribution with ``draw(rng, n)``, a callable ``(rng, n) -> (n,)``, or
            ``"empirical"`` / ``"gaussian"`` to learn it from data.
        inverse: ``"additive"`` for ``x = function(parents) + noise``; else ``inverse(parents, x)``
            that gives the noise, or None where there is none (no counterfactuals then).

    Example:
        >>> from workbench.scm import Gaussian
        >>> growth = Equation(lambda pa: pa["dose"] ** 2, Gaussian(0.1))
        >>> growth.known
        True
    """

    width_ = 1

    def __init__(
        self,
        function: Callable,
        noise: Any = "empirical",
        inverse: Callable | Literal["additive"] | None = "additive",
    ):
        self.function, self.noise, self.inverse = function, noise, inverse

    @property
    def known(self) -> bool:
        return not isinstance(self.noise, str)

    def fit(self, parents, x, feature, *, random_state=0, groups=None):
        self.feature_ = feature
        e = None if self.inverse is None else self.abduct(parents, x, None)[:, 0]
        if not self.known:
            if e is None:
                raise ParameterError(
                    "must be given where the equation has no inverse", column="noise"
                )
            self.noise_ = learned(self.noise, e)
        self.report_ = {"mechanism": "known equation"}
        if e is not None and len(e) > 2:
            self.report_ |= {
                "noise_sd": float(e.std()),
                "normality_p": normality(e - e.mean()),
                **dependence(e - e.mean(), parents.encoded),
            }
            if self.inverse == "additive" and x.std() > 0:
                self.report_ |= {"measure": "R2", "score": 1 - float(e.var() / x.var())}
        return self

    def draw(self, rng, n):
        return drawn(self.noise if self.known else self.noise_, rng, n)[:, None]

    def apply(self, parents, noise):
        if self.inverse == "additive":
            return self._call(self.function, parents) + noise[:, 0]
        return self._call(self.function, parents, noise[:, 0])

    def abduct(self, parents, x, uniforms):
        if self.inverse is None:
            raise QuestionError(
                "has an equation without an inverse: its noise can't be recovered",
                column=getattr(getattr(self, "feature_", None), "name", None),
                advice="Give Equation(inverse=...), or ask for interventions instead.",
            )
        if self.inverse == "additive":
            return (x - self._call(self.function, parents))[:, None]
        return self._call(self.inverse, parents, x)[:, None]

    def log_prob(self, parents, x):
        feature = getattr(self, "feature_", None)
        if self.inverse != "additive":
            raise no_density(feature, "its equation is not additive in the noise")
        law = self.noise if self.known else self.noise_
        return density(law, x - self._call(self.function, parents), feature)

    def _call(self, function: Callable, parents: Parents, *more: np.ndarray) -> np.ndarray:
        out = np.asarray(function(parents, *more), dtype=float)
        if out.shape not in ((), (len(parents),)) or not np.isfinite(out).all():
            raise ParameterError(
                "must give one finite number per row", column="function", value=out.shape
            )
        return np.broadcast_to(out, (len(parents),)).copy()


@saveable
class LinearFunction:
    """``f(parents) = intercept + sum of coefficient x parent``, in the units of the data.

    Args:
        coefficients: Parent -> coefficient.
        intercept: Value where all parents are 0.

    Example:
        >>> LinearFunction({"dose": 2.0}, 1.0)({"dose": np.array([3.0])})
        array([7.])
    """

    def __init__(self, coefficients: Mapping[str, float], intercept: float = 0.0):
        self.coefficients = {k: float(v) for k, v in coefficients.items()}
        self.intercept = float(intercept)

    def __call__(self, parents: Mapping[str, np.ndarray]) -> np.ndarray:
        return sum((b * parents[name] for name, b in self.coefficients.items()), self.intercept)

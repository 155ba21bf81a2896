"""Mechanisms: how a node comes about from its parents and its own noise.

A mechanism is a pair of functions that are each other's inverse: ``apply(parents, noise) -> x``
and ``abduct(parents, x) -> noise``. Counterfactuals are abduct, change, apply. All work on whole
columns; values of discrete nodes are positions in ``feature.levels``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, Protocol, Self

import numpy as np

from ..core.errors import DataError, ParameterError, QuestionError, did_you_mean, warn
from ..core.parameters import Parameterised
from ..core.saving import saveable
from ..core.seeding import Seed
from ..tables.encode import Encoder
from ..tables.gate import count
from ..tables.schema import Feature
from .choice import Choice, choose
from .noise import Empirical, Gaussian
from .regressors import BoostedLevels, Boosting, Foreign, Linear, Logit, Splines
from .report import dependence, normality

Uniforms = Callable[[int], np.ndarray]

REGRESSORS = {"linear": Linear, "splines": Splines, "boosting": Boosting}
CLASSIFIERS = {"linear": Logit, "boosting": BoostedLevels}


class Parents:
    """The values of a node's parents for n rows.

    ``parents["age"]`` is the column in its unit (levels as levels), ``encoded`` is the matrix for
    models. ``encoder`` also knows the node itself.
    """

    def __init__(self, encoder: Encoder, columns: Mapping[str, np.ndarray], n: int):
        self.encoder, self.columns, self.n = encoder, dict(columns), n

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise QuestionError(
                "is not a parent of this node", column=name, advice=did_you_mean(name, self.names)
            )
        feature = self.encoder.schema_[name]
        return decode_levels(self.columns[name], feature)

    @cached_property
    def encoded(self) -> np.ndarray:
        """``(n, p)``: numbers scaled, levels as 0/1 columns."""
        blocks = [self.encoder.encode_values(name, x) for name, x in self.columns.items()]
        return np.concatenate([np.empty((self.n, 0)), *blocks], axis=1)

    def take(self, rows: np.ndarray) -> Parents:
        """The parents of some rows."""
        return Parents(self.encoder, {k: v[rows] for k, v in self.columns.items()}, len(rows))


def decode_levels(codes: np.ndarray, feature: Feature) -> np.ndarray:
    """Values as the user knows them: numbers unchanged, positions as levels."""
    if feature.is_numeric:
        return codes
    levels = np.empty(len(feature.levels), dtype=object)
    levels[:] = feature.levels
    return levels[codes.astype(int)]


class Mechanism(Protocol):
    """What the model asks of a mechanism; ``width_`` is the number of its noise columns."""

    width_: int

    @property
    def known(self) -> bool:
        """Whether it needs no data."""

    def fit(
        self,
        parents: Parents,
        x: np.ndarray,
        feature: Feature,
        *,
        random_state: Seed = 0,
        groups: np.ndarray | None = None,
    ) -> Self:
        """Learn from ``x`` ``(n,)`` and the parents of the same rows."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Fresh noise ``(n, width_)``."""

    def apply(self, parents: Parents, noise: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` from noise ``(n, width_)``."""

    def abduct(self, parents: Parents, x: np.ndarray, uniforms: Uniforms) -> np.ndarray:
        """Noise ``(n, width_)`` that gives ``x``; where several do, drawn with ``uniforms``."""

    def log_prob(self, parents: Parents, x: np.ndarray) -> np.ndarray:
        """Log density (or probability) of ``x`` given the parents, ``(n,)``."""


@saveable
class Root(Parameterised):
    """A node without parents: the noise is the value itself.

    Args:
        noise: ``"empirical"`` (drawn from the observed values), ``"gaussian"``, or a distribution
            such as :class:`~workbench.scm.noise.Gaussian`, which then needs no data.

    Example:
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
        self.noise_ = self.noise if self.known else _noise(self.noise, x)
        self.report_ = {"mechanism": "observed values" if self.noise == "empirical" else "known"}
        if feature.is_numeric:
            self.report_ |= {"noise_sd": float(x.std()), "normality_p": normality(x - x.mean())}
        return self

    def draw(self, rng, n):
        return _drawn(self._law, rng, n)[:, None]

    def apply(self, parents, noise):
        return noise[:, 0]

    def abduct(self, parents, x, uniforms):
        return x[:, None]

    def log_prob(self, parents, x):
        if not self.known and self.feature_.is_discrete:
            share = np.bincount(self.noise_.values.astype(int), minlength=len(self.feature_.levels))
            with np.errstate(divide="ignore"):
                return np.log(share / share.sum())[x.astype(int)]
        return _log_density(self._law, x, getattr(self, "feature_", None))

    @property
    def _law(self) -> Any:
        return self.noise if self.known else self.noise_


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
        self.noise_ = _noise(self.noise, residuals)
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
        e = _drawn(self.noise_, rng, n)
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
            raise _no_density(self.feature_, "a count has no density")
        return _log_density(self.noise_, x - self.predict(parents), self.feature_)


@saveable
class GumbelMax(Parameterised):
    """A level that is the largest of ``log p(level | parents) + g(level)``, g standard Gumbel.

    Levels then occur with the classifier's probabilities, and a counterfactual level is a fixed
    function of the noise. Abduction draws g from its posterior given the observed level:
    with exponentials E, ``g(seen) = -log(E0 p(seen))``, ``g(other) = -log(E0 p(other) +
    E(other))``. Raising the odds of the observed level against every other never makes the
    counterfactual leave it. Which noise couples the levels across worlds can't be learned from
    data: counterfactuals of discrete nodes rest on this choice, interventions don't.

    Args:
        classifier: ``"auto"``, ``"linear"`` (multinomial logit), ``"boosting"`` or a scikit-learn
            classifier.

    References:
        Oberst and Sontag, "Counterfactual off-policy evaluation with Gumbel-max structural
        causal models", ICML 2019. Maddison, Tarlow and Minka, "A* sampling", NIPS 2014.

    Example:
        >>> GumbelMax("linear")
        GumbelMax(classifier='linear')
    """

    known = False

    def __init__(self, classifier: Any = "auto"):
        self.classifier = classifier

    def fit(self, parents, x, feature, *, random_state=0, groups=None):
        self.feature_, self.width_ = feature, len(feature.levels)
        self.seen_, y = np.unique(x.astype(int), return_inverse=True)
        self.classifier_ = None
        if len(self.seen_) == 1:
            self.report_ = {"mechanism": "constant"}
            return self
        X, candidates = parents.encoded, self._candidates(len(self.seen_))
        choice = choose(
            candidates,
            X,
            y,
            _log_proba,
            _log_loss,
            random_state=random_state,
            groups=groups,
            strata=y,
        )
        self.classifier_ = candidates[choice.name]().fit(X, y, random_state)
        self.report_ = {
            "mechanism": "logit" if choice.name == "linear" else choice.name,
            "measure": "log-loss",
            "score": choice.losses.get(choice.name, np.nan),
            "runner_up": "logit" if choice.runner_up == "linear" else choice.runner_up,
            "runner_up_score": choice.losses.get(choice.runner_up, np.nan),
        }
        return self

    def _candidates(self, k: int) -> dict[str, Callable[[], Any]]:
        given = self.classifier
        if not isinstance(given, str):
            return {type(given).__name__: lambda: Foreign(given, k)}
        names = list(CLASSIFIERS) if given == "auto" else [given]
        return {name: lambda name=name: CLASSIFIERS[name](k) for name in names}

    def log_probabilities(self, parents: Parents) -> np.ndarray:
        """Log probability of every level, ``(n, n_levels)``; -inf for levels never seen."""
        out = np.full((len(parents), self.width_), -np.inf)
        out[:, self.seen_] = (
            0.0 if self.classifier_ is None else self.classifier_.log_proba(parents.encoded)
        )
        return out

    def draw(self, rng, n):
        return rng.gumbel(size=(n, self.width_))

    def apply(self, parents, noise):
        return np.argmax(self.log_probabilities(parents) + noise, axis=1).astype(float)

    def abduct(self, parents, x, uniforms):
        codes, rows = x.astype(int), np.arange(len(x))
        log_p = self.log_probabilities(parents)
        never = np.isneginf(log_p[rows, codes])
        if never.any():
            raise DataError(
                "has a level that did not occur in the rows the model was fitted to",
                column=self.feature_.name,
                row=int(never.argmax()),
                value=self.feature_.levels[codes[never.argmax()]],
                advice="Fit on rows that have it.",
            )
        # E(seen) is free once the level is given; its place holds E0, the time of the winner.
        E = -np.log(uniforms(self.width_))
        first = E[rows, codes]
        E[rows, codes] = 0.0
        return -np.log(first[:, None] * np.exp(log_p) + E)

    def log_prob(self, parents, x):
        return self.log_probabilities(parents)[np.arange(len(x)), x.astype(int)]


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
            self.noise_ = _noise(self.noise, e)
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
        return _drawn(self.noise if self.known else self.noise_, rng, n)[:, None]

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
            raise _no_density(feature, "its equation is not additive in the noise")
        law = self.noise if self.known else self.noise_
        return _log_density(law, x - self._call(self.function, parents), feature)

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


def resolve(spec: Any, feature: Feature, has_parents: bool) -> Mechanism:
    """The unfitted mechanism that a user's word, estimator, function or object stands for."""
    if spec is None or spec == "auto":
        if not has_parents:
            return Root()
        return AdditiveNoise() if feature.is_numeric else GumbelMax()
    if isinstance(spec, str):
        known = list(REGRESSORS) if feature.is_numeric else list(CLASSIFIERS)
        if spec == "empirical" and not has_parents:
            return Root()
        if spec not in known:
            raise ParameterError(
                f"{spec!r} is no mechanism for the {feature.kind} node {feature.name!r}",
                column="mechanisms",
                advice=did_you_mean(spec, known),
            )
        return AdditiveNoise(spec) if feature.is_numeric else GumbelMax(spec)
    if all(hasattr(spec, verb) for verb in ("fit", "draw", "apply", "abduct")):
        _require_match(spec, feature, has_parents)
        return type(spec)(**spec.get_params(deep=False)) if hasattr(spec, "get_params") else spec
    if hasattr(spec, "fit") and hasattr(spec, "predict"):
        if feature.is_numeric:
            return AdditiveNoise(spec)
        if hasattr(spec, "predict_proba"):
            return GumbelMax(spec)
    elif callable(spec) and feature.is_numeric:
        return Equation(spec)
    raise ParameterError(
        f"{type(spec).__name__} is no mechanism for the {feature.kind} node {feature.name!r}",
        column="mechanisms",
        advice="Give a name, a mechanism, a scikit-learn estimator, or a function for a number.",
    )


def _require_match(spec: Any, feature: Feature, has_parents: bool) -> None:
    wrong = None
    if isinstance(spec, AdditiveNoise | Equation) and feature.is_discrete:
        wrong = f"{type(spec).__name__} is for numbers, {feature.name!r} is {feature.kind}"
    elif isinstance(spec, GumbelMax) and feature.is_numeric:
        wrong = f"GumbelMax is for levels, {feature.name!r} is {feature.kind}"
    elif isinstance(spec, Root) and has_parents:
        wrong = f"Root is for nodes without parents, {feature.name!r} has some"
    if wrong:
        raise ParameterError(wrong, column="mechanisms")
    name = getattr(spec, "regressor", getattr(spec, "classifier", "auto"))
    allowed = ["auto", *(CLASSIFIERS if isinstance(spec, GumbelMax) else REGRESSORS)]
    if isinstance(name, str) and name not in allowed:
        raise ParameterError(
            f"{name!r} is not known", column="mechanisms", advice=did_you_mean(name, allowed)
        )


def _predict(model: Any, X: np.ndarray) -> np.ndarray:
    return model.predict(X)


def _log_proba(model: Any, X: np.ndarray) -> np.ndarray:
    return model.log_proba(X)


def _squared(y: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return (y - prediction) ** 2


def _log_loss(y: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    return -np.maximum(log_p[np.arange(len(y)), y], np.log(1e-6))


def _noise(kind: Any, values: np.ndarray) -> Any:
    if kind == "empirical":
        return Empirical(np.array(values, dtype=float))
    if kind == "gaussian":
        return Gaussian(float(values.std()), float(values.mean()))
    if isinstance(kind, str):
        raise ParameterError(
            f"{kind!r} is not known", column="noise", advice="Use 'empirical' or 'gaussian'."
        )
    return kind


def _drawn(law: Any, rng: np.random.Generator, n: int) -> np.ndarray:
    out = np.asarray(law.draw(rng, n) if hasattr(law, "draw") else law(rng, n), dtype=float)
    if out.shape != (n,):
        raise ParameterError(f"must give {n} numbers", column="noise", value=out.shape)
    return out


def _log_density(law: Any, e: np.ndarray, feature: Feature | None) -> np.ndarray:
    log_density = getattr(law, "log_density", None)
    out = None if log_density is None else log_density(e)
    if out is None:
        raise _no_density(feature, "its noise is a set of observed values, which has no density")
    return out


def _no_density(feature: Feature | None, why: str) -> QuestionError:
    return QuestionError(
        f"has no log_prob: {why}",
        column=None if feature is None else feature.name,
        advice="Give it a mechanism with noise='gaussian', if that is justified.",
    )

"""What a meta-learner is made of: any regression, fitted as one saveable prediction function."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..core.errors import ParameterError, WorkbenchError, did_you_mean, warn
from ..core.saving import saveable
from ..core.seeding import Seed, foreign_generators, integer, spawn
from .nuisance import Linear, Predict, Trees, fit_best

NAMES = ("lightgbm", "linear", "spline", "auto")
_RATE = 0.05


class BaseLearner(Protocol):
    """Fits a prediction function to rows; deterministic given ``seed``."""

    def fit(
        self, z: np.ndarray, y: np.ndarray, weight: np.ndarray, seed: Seed, binary: bool = False
    ) -> Predict:
        """E[y | z]: z (n, p), y (n,), weight (n,) -> a function (m, p) -> (m,)."""


def base_learner(choice: Any, parameter: str = "learner") -> BaseLearner:
    """The base learner that a parameter names.

    Args:
        choice: ``"lightgbm"``, ``"linear"`` (ridge or logistic), ``"spline"``, ``"auto"`` (the
            best of them by inner cross-validation), or an unfitted scikit-learn estimator.
        parameter: Its name, for messages.

    Raises:
        ParameterError: It is none of these.
    """
    if isinstance(choice, str):
        if choice not in NAMES:
            raise ParameterError(
                "is not the name of one", column=parameter, value=choice,
                advice=did_you_mean(choice, NAMES),
            )  # fmt: skip
        return Boosting() if choice == "lightgbm" else _Chosen(choice)
    if isinstance(choice, type) or not all(
        callable(getattr(choice, name, None)) for name in ("fit", "predict", "get_params")
    ):
        raise ParameterError(
            "must be a scikit-learn regressor or the name of a learner",
            column=parameter,
            value=choice.__name__ if isinstance(choice, type) else type(choice).__name__,
            advice=f"Names: {', '.join(NAMES)}.",
        )
    return _Foreign(choice, parameter)


def _constant(z: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Linear:
    level = float(np.average(y, weights=weight)) if len(y) else 0.0
    return Linear(None, level, np.zeros(z.shape[1]), False)


def _flat(y: np.ndarray) -> bool:
    return len(y) < 2 or y.min() == y.max()


@dataclass(frozen=True)
class Boosting:
    """LightGBM on one thread, deterministic."""

    trees: int = 200
    leaves: int = 15

    def fit(self, z, y, weight, seed, binary=False) -> Predict:
        if _flat(y) or not z.shape[1]:
            return _constant(z, y, weight)
        import lightgbm

        options = {
            "objective": "binary" if binary else "regression",
            "num_leaves": self.leaves,
            "learning_rate": _RATE,
            # Twenty rows to a leaf, but not more than a twentieth of them.
            "min_data_in_leaf": max(2, min(20, len(y) // 20)),
            "seed": integer(seed),
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(z, y, weight=weight / weight.mean(), free_raw_data=True)
        return Trees(lightgbm.train(options, rows, num_boost_round=self.trees), self.trees)


@dataclass(frozen=True)
class _Chosen:
    family: str

    def fit(self, z, y, weight, seed, binary=False) -> Predict:
        if _flat(y) or not z.shape[1]:
            return _constant(z, y, weight)
        family = None if self.family == "auto" else self.family
        strata = y.astype(int) if binary else None
        return fit_best(z, y, weight, binary, seed, family=family, strata=strata)[0]


@saveable
@dataclass(frozen=True)
class Fitted:
    """A fitted scikit-learn estimator: predictions, or the probability of the second class."""

    estimator: Any
    classifies: bool

    def __call__(self, z: np.ndarray) -> np.ndarray:
        if self.classifies:
            return self.estimator.predict_proba(z)[:, 1]
        return np.asarray(self.estimator.predict(z), dtype=float).reshape(len(z))


@dataclass(frozen=True)
class _Foreign:
    prototype: Any
    parameter: str

    def fit(self, z, y, weight, seed, binary=False) -> Predict:
        from sklearn.base import clone, is_classifier

        classifies = is_classifier(self.prototype)
        if classifies and not hasattr(self.prototype, "predict_proba"):
            raise self._refusal("is a classifier without predict_proba")
        if classifies and not binary:
            raise self._refusal("is a classifier, and what it has to predict is a number")
        if _flat(y) or not z.shape[1]:
            return _constant(z, y, weight)
        estimator = clone(self.prototype)
        states = [k for k in estimator.get_params() if k.split("__")[-1] == "random_state"]
        # One random_state rules all of them.
        seeds = spawn(seed, len(states))
        estimator.set_params(**{k: integer(s) for k, s in zip(sorted(states), seeds, strict=True)})
        target = y.astype(int) if classifies else y
        with foreign_generators(seed):
            try:
                estimator.fit(z, target, **self._weights(estimator, weight))
                fitted = Fitted(estimator, classifies)
                seen = fitted(z[:2])
            except WorkbenchError:
                raise
            except Exception as error:  # anybody's estimator may raise anything
                why = f"{type(error).__name__}: {error}".split("\n")[0]
                said = f"could not be fitted to {len(y)} rows: {why}"
                raise self._refusal(said) from error
        if not np.isfinite(seen).all():
            raise self._refusal("predicts what is not a number")
        return fitted

    def _weights(self, estimator: Any, weight: np.ndarray) -> dict[str, np.ndarray]:
        from sklearn.pipeline import Pipeline
        from sklearn.utils.validation import has_fit_parameter

        if np.allclose(weight, weight[0]):
            return {}
        prefix, last = "", estimator
        while isinstance(last, Pipeline):
            name, last = last.steps[-1]
            prefix += f"{name}__"
        if not has_fit_parameter(last, "sample_weight"):
            raise self._refusal("takes no sample_weight, and rows have weights here")
        return {f"{prefix}sample_weight": weight}

    def _refusal(self, message: str) -> ParameterError:
        return ParameterError(
            message,
            column=self.parameter,
            value=type(self.prototype).__name__,
            advice="Use another learner, e.g. 'lightgbm' or 'auto'.",
        )


@saveable
@dataclass(frozen=True)
class ArmChances:
    """P(arm | z) of K arms from one model per arm (from one alone for two arms)."""

    models: tuple[Predict, ...]
    n_arms: int
    floor: float

    def __call__(self, z: np.ndarray) -> np.ndarray:
        chance = np.column_stack([model(z) for model in self.models])
        if self.n_arms == 2:
            chance = np.hstack([1 - chance, chance])
        chance = np.clip(chance, self.floor, 1 - self.floor)
        return chance / chance.sum(axis=1, keepdims=True)


def fit_chances(
    z: np.ndarray,
    arm: np.ndarray,
    n_arms: int,
    weight: np.ndarray,
    seed: Seed,
    *,
    chosen: tuple[str, ...],
    propensity: Any = None,
    floor: float = 0.01,
) -> ArmChances:
    """Propensities of all arms, each against the rest.

    Args:
        z, arm, weight: The rows to learn from.
        n_arms: K.
        seed: Seed.
        chosen: The candidate for each arm (the second one for two arms), as
            :attr:`Overlap.chosen <workbench.effects.overlap.Overlap>`.
        propensity: A scikit-learn classifier to use instead.
        floor: Probabilities stay this far from 0 and 1.
    """
    models = []
    for k, name in zip(range(n_arms) if n_arms > 2 else (1,), chosen, strict=True):
        target = (arm == k).astype(float)
        if propensity is not None:
            model = base_learner(propensity, "propensity").fit(z, target, weight, seed, True)
        elif _flat(target) or not z.shape[1]:
            model = _constant(z, target, weight)
        else:
            model, _ = fit_best(z, target, weight, True, seed, chosen=name)
        models.append(model)
    return ArmChances(tuple(models), n_arms, floor)


@contextmanager
def told_once(parameter: str) -> Iterator[None]:
    """What libraries warn of inside becomes one ``learner`` warning for each text."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for text in sorted({str(h.message) for h in heard if _matters(h)}):
        warn("learner", text.split("\n")[0], [parameter])


def _matters(heard: warnings.WarningMessage) -> bool:
    return issubclass(heard.category, UserWarning | RuntimeWarning) and not issubclass(
        heard.category, DeprecationWarning | FutureWarning
    )

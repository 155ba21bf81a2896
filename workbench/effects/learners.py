"""The nuisance candidates as scikit-learn estimators, for libraries that cross-fit themselves."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from ..core.seeding import Seed
from .nuisance import fit_best


class _Chosen(BaseEstimator):
    """Standardise, choose a candidate by inner cross-validation unless told, fit it to all rows."""

    def _choose(self, X, y, weight, strata, binary, chosen):
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        z = self._scaled(X)
        return fit_best(z, y, weight, binary, self.random_state, chosen=chosen, strata=strata)

    def _learn_scale(self, X) -> None:
        X = np.asarray(X, dtype=float)
        spread = X.std(axis=0)
        self.center_, self.scale_ = X.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)

    def _scaled(self, X) -> np.ndarray:
        return (np.asarray(X, dtype=float) - self.center_) / self.scale_


class AutoRegressor(RegressorMixin, _Chosen):
    """E[y | X] by the best of ridge, splines and boosted trees (:mod:`.nuisance`).

    Args:
        chosen: The candidate to use; chosen by inner cross-validation if None.
        random_state: Seed of inner folds and trees.

    Example:
        >>> X = np.linspace(-2, 2, 200).reshape(-1, 1)
        >>> model = AutoRegressor().fit(X, X[:, 0] ** 2)
        >>> model.chosen_.partition(",")[0]
        'spline'
    """

    def __init__(self, chosen: str | None = None, random_state: Seed = 0):
        self.chosen = chosen
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None) -> Self:
        y = np.asarray(y, dtype=float)
        self.shape_ = y.shape[1:]
        columns = y.reshape(len(y), -1)
        self._learn_scale(X)
        # Standardised, so that the penalties mean the same in any unit.
        self.y_center_ = columns.mean(axis=0)
        self.y_scale_ = np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1.0)
        found = [
            self._choose(X, column, sample_weight, None, False, self.chosen)
            for column in ((columns - self.y_center_) / self.y_scale_).T
        ]
        self.models_ = [model for model, _ in found]
        self.chosen_ = "; ".join(name for _, name in found)
        return self

    def predict(self, X) -> np.ndarray:
        z = self._scaled(X)
        values = np.column_stack([model(z) for model in self.models_])
        return (values * self.y_scale_ + self.y_center_).reshape(len(z), *self.shape_)


class AutoClassifier(ClassifierMixin, _Chosen):
    """P(class | X) by the best of ridge-penalised logistic models and boosted trees.

    Args:
        floor: Probabilities stay this far from 0 and 1.
        chosen: The candidate of each class (of the second one for two classes), or None.
        random_state: Seed of inner folds and trees.
    """

    def __init__(
        self, floor: float = 0.01, chosen: tuple[str, ...] | None = None, random_state: Seed = 0
    ):
        self.floor = floor
        self.chosen = chosen
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None) -> Self:
        y = np.asarray(y).ravel()
        self.classes_, codes = np.unique(y, return_inverse=True)
        self._learn_scale(X)
        targets = range(len(self.classes_)) if len(self.classes_) > 2 else (1,)
        told = self.chosen or (None,) * len(targets)
        found = [
            self._choose(X, (codes == k).astype(float), sample_weight, codes, True, name)
            for k, name in zip(targets, told, strict=False)
            if len(self.classes_) > 1
        ]
        self.models_ = [model for model, _ in found]
        self.chosen_ = "; ".join(name for _, name in found)
        return self

    def predict_proba(self, X) -> np.ndarray:
        z = self._scaled(X)
        if not self.models_:
            return np.ones((len(z), 1))
        chance = np.column_stack([model(z) for model in self.models_])
        if len(self.classes_) == 2:
            chance = np.hstack([1 - chance, chance])
        chance = np.clip(chance, self.floor, 1 - self.floor)
        return chance / chance.sum(axis=1, keepdims=True)

    def predict(self, X) -> np.ndarray:
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

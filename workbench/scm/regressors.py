"""The functions a mechanism can be made of: linear, additive splines, boosted trees.

Each has ``fit(X, y, random_state)`` and ``predict(X)`` on encoded parents ``(n, p)``;
classifiers have ``log_proba(X) -> (n, k)`` instead. ``edf_`` is the number of parameters spent,
None where that is unknown and residuals must be cross-fitted.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..core.errors import DataError
from ..core.saving import saveable
from ..core.seeding import foreign_generators

_FLOOR = np.log(1e-6)  # of a level that a fold has never seen


@saveable
class Linear:
    """Least squares with an intercept: ``f(x) = intercept + x @ coef``.

    Collinear columns share their coefficient (minimum norm).
    """

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        centre = X.mean(axis=0)
        X = X - centre
        X[:, np.abs(X).max(axis=0, initial=0.0) < 1e-9] = 0.0  # rounding noise of a constant
        self.coef_, _, rank, _ = np.linalg.lstsq(X, y - y.mean(), rcond=1e-10)
        self.intercept_ = float(y.mean() - centre @ self.coef_)
        self.edf_ = float(rank + 1)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return X @ self.coef_ + self.intercept_


@saveable
class Splines:
    """Additive cubic P-splines: a smooth curve per numeric parent, linear in the others.

    The curves' roughness (second derivative) is penalised, with the weight that minimises
    generalised cross-validation; outside the data they continue as straight lines. No
    interactions: prefer :class:`Boosting` where parents act together.

    References:
        Eilers and Marx, "Flexible smoothing with B-splines and penalties", Statistical Science,
        1996. Craven and Wahba, "Smoothing noisy data with spline functions", Numerische
        Mathematik, 1979 (the weight).
    """

    def __init__(self, n_knots: int = 16):
        self.n_knots = n_knots

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        bases = [_spline_basis(column, self.n_knots) for column in X.T]
        B = _design(bases, X)
        centre = B.mean(axis=0)
        B -= centre
        gram, moment, total = B.T @ B, B.T @ (y - y.mean()), float(np.sum((y - y.mean()) ** 2))
        penalty = _roughness(bases)
        n, p = B.shape
        ridge = 1e-9 * max(np.trace(gram) / max(p, 1), 1.0) * np.eye(p)
        best = np.inf
        for weight in n * np.logspace(-6, 2, 9):
            system = gram + weight * penalty + ridge
            solved = np.linalg.solve(system, np.column_stack([moment, gram]))
            coef, edf = solved[:, 0], float(np.trace(solved[:, 1:])) + 1
            rss = total - 2 * coef @ moment + coef @ gram @ coef
            gcv = max(rss, 0.0) / max(n - edf, 0.5) ** 2
            if gcv < best:
                best, chosen, self.edf_ = gcv, coef, edf
        self.curves_ = _curves(bases, chosen)
        self.intercept_ = float(y.mean() - centre @ chosen)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        out = np.full(len(X), self.intercept_)
        for column, (knots, pieces) in zip(X.T, self.curves_, strict=True):
            piece = np.searchsorted(knots[1:], column, side="right")
            a, b, c, d = pieces[:, piece]
            step = column - knots[piece]
            out += ((a * step + b) * step + c) * step + d
        return out


def _design(bases: list, X: np.ndarray) -> np.ndarray:
    """The basis functions of every column, ``(n, sum of widths)``."""
    parts = [
        column[:, None] if basis is None else basis.transform(column[:, None])
        for column, basis in zip(X.T, bases, strict=True)
    ]
    return np.concatenate([*parts, np.empty((len(X), 0))], axis=1)


def _curves(bases: list, coef: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each column's curve as knots and cubic pieces ``(4, knots)``, highest power first.

    The first and the last piece are the straight lines outside the data. Searches evaluate a
    curve many thousand times: pieces cost a tenth of what basis functions do.
    """
    from scipy.interpolate import BSpline, PPoly

    curves, start = [], 0
    for basis in bases:
        if basis is None:
            line = np.array([[0.0], [0.0], [coef[start]], [0.0]])
            curves.append((np.zeros(1), line))
            start += 1
            continue
        spline = basis.bsplines_[0]
        width = basis.n_features_out_
        curve = PPoly.from_spline(BSpline(spline.t, coef[start : start + width], spline.k))
        low, high = spline.t[spline.k], spline.t[-spline.k - 1]
        inside = slice(spline.k, len(spline.t) - spline.k - 1)
        ends = [[0, 0, curve(x, 1), curve(x)] for x in (low, high)]
        pieces = np.column_stack([ends[0], curve.c[:, inside], ends[1]])
        curves.append((np.r_[low, curve.x[inside], high], pieces))
        start += width
    return curves


def _spline_basis(column: np.ndarray, n_knots: int) -> Any:
    """A fitted cubic basis, or None for a column with too few values to bend."""
    distinct = np.unique(column)
    if len(distinct) < 6:
        return None
    from sklearn.preprocessing import SplineTransformer

    # Quantiles bend the curve where the rows are, even steps where they are few.
    low, high = distinct[0], distinct[-1]
    inner = np.linspace(0, 1, n_knots // 2 + 1)[1:-1]
    inside = np.sort(np.r_[np.quantile(column, inner), low + inner * (high - low)])
    near = 0.05 * np.subtract(*np.quantile(column, [0.75, 0.25])) or 0.01 * (high - low)
    knots = [low]
    for knot in inside:
        if knot - knots[-1] > near and high - knot > near:
            knots.append(knot)
    knots = np.array([*knots, high])
    basis = SplineTransformer(degree=3, knots=knots[:, None], extrapolation="linear")
    return basis.fit(column[:, None])


def _roughness(bases: list) -> np.ndarray:
    """Block-diagonal penalty on second divided differences; straight lines cost nothing."""
    widths = [1 if basis is None else basis.n_features_out_ for basis in bases]
    penalty, start = np.zeros((sum(widths), sum(widths))), 0
    for basis, width in zip(bases, widths, strict=True):
        if basis is not None:
            t = basis.bsplines_[0].t
            # A spline whose coefficients are linear in these abscissae is a straight line.
            greville = (t[1 : width + 1] + t[2 : width + 2] + t[3 : width + 3]) / 3
            h = np.diff(greville)
            D = np.zeros((width - 2, width))
            for i, (a, b) in enumerate(zip(h[:-1], h[1:], strict=True)):
                D[i, i : i + 3] = np.array([1 / a, -1 / a - 1 / b, 1 / b]) * 2 / np.sqrt(a + b)
            penalty[start : start + width, start : start + width] = D.T @ D
        start += width
    return penalty


@saveable
class Boosting:
    """Additive splines and gradient-boosted trees on what they leave over.

    The trees add interactions and steps; outside the data only the splines continue.

    References:
        Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
    """

    edf_ = None

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        self.splines_ = Splines().fit(X, y)
        self.trees_ = _boost(X, y - self.splines_.predict(X), objective="regression")
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.splines_.predict(X) + _scores(self.trees_, X)


@saveable
class Logit:
    """Multinomial logistic regression with a weak ridge penalty: ``log p = log softmax(Xb + a)``.

    Args:
        n_levels: Number of levels; targets are ``0 .. n_levels - 1``.
    """

    def __init__(self, n_levels: int):
        self.n_levels = n_levels

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        seen = np.unique(y)
        self.coef_ = np.zeros((self.n_levels, X.shape[1]))
        self.intercept_ = np.full(self.n_levels, _FLOOR)
        if len(seen) == 1:
            self.intercept_[seen] = 0.0
            return self
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=500, tol=1e-5).fit(X, y)
        binary = len(seen) == 2
        self.coef_[seen] = np.vstack([0 * model.coef_, model.coef_]) if binary else model.coef_
        a = model.intercept_
        a = np.array([0.0, a[0]]) if binary else a
        # On the scale where the seen levels sum to one at the centre, so that the floor means it.
        self.intercept_[seen] = _log_softmax(a[None])[0]
        return self

    def log_proba(self, X: np.ndarray) -> np.ndarray:
        return _log_softmax(X @ self.coef_.T + self.intercept_)


@saveable
class BoostedLevels:
    """Gradient-boosted trees for levels.

    Args:
        n_levels: Number of levels; targets are ``0 .. n_levels - 1``.
    """

    def __init__(self, n_levels: int):
        self.n_levels = n_levels

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        extra = {"num_class": self.n_levels} if self.n_levels > 2 else {}
        objective = "multiclass" if self.n_levels > 2 else "binary"
        self.trees_ = _boost(X, y, objective=objective, **extra)
        return self

    def log_proba(self, X: np.ndarray) -> np.ndarray:
        scores = _scores(self.trees_, X)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros_like(scores), scores])
        return _log_softmax(scores)


@saveable
class Foreign:
    """A scikit-learn regressor or classifier as the function of a mechanism.

    It is cloned, and fitted with the global generators seeded, so that the same seed gives the
    same model even where the estimator's own ``random_state`` is None.
    """

    edf_ = None

    def __init__(self, estimator: Any, n_levels: int | None = None):
        self.estimator, self.n_levels = estimator, n_levels

    def fit(self, X: np.ndarray, y: np.ndarray, random_state: Any = 0) -> Self:
        from sklearn.base import clone

        with foreign_generators(random_state):
            self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        y = np.asarray(self.estimator_.predict(X), dtype=float).reshape(-1)
        if len(y) != len(X) or not np.isfinite(y).all():
            raise DataError(
                f"{type(self.estimator).__name__} did not predict one finite number per row"
            )
        return y

    def log_proba(self, X: np.ndarray) -> np.ndarray:
        out = np.full((len(X), self.n_levels), np.exp(_FLOOR))
        out[:, self.estimator_.classes_.astype(int)] += self.estimator_.predict_proba(X)
        return np.log(out / out.sum(axis=1, keepdims=True))


def _boost(X: np.ndarray, y: np.ndarray, **parameters: Any) -> Any:
    import lightgbm

    settings = {
        "num_leaves": 15,
        "learning_rate": 0.1,
        "min_data_in_leaf": 20,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
        **parameters,
    }
    data = lightgbm.Dataset(X, y, params={"verbose": -1, "num_threads": 1})
    return lightgbm.train(settings, data, num_boost_round=80)


def _scores(trees: Any, X: np.ndarray) -> np.ndarray:
    return trees.predict(X, raw_score=True, num_threads=1)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

"""Gaussian-process regression of outcomes on covariates and dose: learning and prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ...core.errors import DataError
from ...core.saving import saveable
from .kernel import Covariates, KernelForm, Parameters
from .rows import DoseRows

_ROWS_TO_LEARN = 800  # that decide the parameters of the covariance
_FEWEST_TO_LEARN, _EARLY = 200, 0.6  # rows that the first steps see, and their share
ROWS_EXACT = 2500  # up to which every row is conditioned on
_INDUCING, _INDUCING_OF_MANY, _MANY = 1000, 500, 20_000
_RATE = 0.15
_RATE_FROM_KNOWN, _FALL = 0.10, 0.95  # and the share by which the rate falls
_JITTER = 1e-6
_CELLS = 100_000  # of a matrix of covariances held at once
_BLOCK = 16_384  # the same while parameters are learned: a block stays in the cache
_ROWS_OF_MEANS = 600  # that stand for all in the covariance of an average


@saveable
@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior of mu(x, t), exact or on inducing points.

    The mean is k . alpha, the covariance k(a, b) - (L1 k_a)(L1 k_b) [+ (L2 k_a)(L2 k_b)] with L1
    and L2 the inverse factors kept here; the second term only with inducing points.

    Attributes:
        form: Shape of the covariance.
        parameters: Its parameters, arrays by name.
        z, t: The points conditioned on, (n, p) and (n,).
        alpha: (n,).
        first: Inverse factor L1, (n, n).
        second: Inverse factor L2, or None.
        loss: Minus the log marginal likelihood per row, priors included.

    References:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press, 2006.
        Seeger, Williams and Lawrence, "Fast forward selection to speed up sparse Gaussian
        process regression", AISTATS 2003 (inducing points).
    """

    form: KernelForm
    parameters: Parameters
    z: np.ndarray
    t: np.ndarray
    alpha: np.ndarray
    first: np.ndarray
    second: np.ndarray | None
    loss: float

    @property
    def noise(self) -> float:
        """Variance of outcomes around mu."""
        return float(np.exp(self.parameters["noise"]))

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""
        found = np.empty((len(z), t.shape[1]))
        for rows, parts in self._parts(z):
            for g in range(t.shape[1]):
                found[rows, g] = self._covariance(parts, rows, t[:, g]) @ self.alpha
        return found

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t, (m, G)."""
        found, (form, p) = np.empty((len(z), t.shape[1])), (self.form, self.parameters)
        r = form.position(p, self.z, self.t)
        for rows, parts in self._parts(z):
            for g in range(t.shape[1]):
                s = self._position(parts, rows, t[:, g])
                found[rows, g] = form.slopes(p, parts, s, r) @ self.alpha
        return found

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Posterior sd of mu(z, t), or of mu(z, t) - mu(z, base), (m, G)."""
        return self.moments(z, t, base)[1]

    def moments(
        self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Posterior mean and sd of mu(z, t), or of mu(z, t) - mu(z, base), (m, G) each."""
        form, p = self.form, self.parameters
        level, variance = np.empty((2, len(z), t.shape[1]))
        for rows, parts in self._parts(z):
            if base is not None:
                start = self._covariance(parts, rows, base[:, 0])
            for g in range(t.shape[1]):
                k, x = self._covariance(parts, rows, t[:, g]), parts.x
                prior = form.within(p, x, np.zeros(len(x)))
                if base is not None:
                    k = k - start
                    gap = np.broadcast_to(_own(t[:, g], rows) - _own(base[:, 0], rows), len(x))
                    prior = 2 * (prior - form.within(p, x, gap))
                level[rows, g] = k @ self.alpha
                variance[rows, g] = prior - self._explained(k)
        return level, np.sqrt(np.maximum(variance, 0))

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """Posterior sd of the weighted mean over rows of levels, or of contrasts, (G,)."""
        form, p = self.form, self.parameters
        few = rows_for_means(len(z))
        x, w = z[few], weight[few] / weight[few].sum()
        to_points, to_self = form.of_covariates(p, x, self.z), form.of_covariates(p, x, x)
        r = form.position(p, self.z, self.t)

        def at(dose: float) -> np.ndarray:
            return form.position(p, x, np.full(1, float(dose)))

        def between(a: np.ndarray, b: np.ndarray) -> float:
            return w @ form.at_doses(p, to_self, a, b) @ w

        found = np.empty(t.shape[1])
        for g, dose in enumerate(t[0]):
            s = at(dose)
            k, prior = w @ form.at_doses(p, to_points, s, r), between(s, s)
            if base is not None:
                v = at(base)
                k = k - w @ form.at_doses(p, to_points, v, r)
                prior = prior + between(v, v) - 2 * between(s, v)
            found[g] = prior - self._explained(k[None])[0]
        return np.sqrt(np.maximum(found, 0))

    def _explained(self, k: np.ndarray) -> np.ndarray:
        """What the data take off the prior variance of rows with covariances k, (m,)."""
        gone = ((k @ self.first.T) ** 2).sum(axis=1)
        if self.second is not None:
            gone = gone - ((k @ self.second.T) ** 2).sum(axis=1)
        return gone

    def _parts(self, z: np.ndarray) -> Iterator[tuple[np.ndarray, Covariates]]:
        """Rows a few at a time, with what their covariates contribute."""
        few = max(1, -(-len(z) * len(self.t) // _CELLS))
        for rows in np.array_split(np.arange(len(z)), few):
            yield rows, self.form.of_covariates(self.parameters, z[rows], self.z)

    def _position(self, parts: Covariates, rows: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.form.position(self.parameters, parts.x, _own(t, rows))

    def _covariance(self, parts: Covariates, rows: np.ndarray, t: np.ndarray) -> np.ndarray:
        s, p = self._position(parts, rows, t), self.parameters
        return self.form.at_doses(p, parts, s, self.form.position(p, self.z, self.t))


def rows_for_means(m: int) -> np.ndarray:
    """Positions of the rows, at most 600, that stand for all m in the errors of an average."""
    return np.linspace(0, m - 1, min(m, _ROWS_OF_MEANS)).astype(int)


def _own(t: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The doses of some rows, or the one (1,) that all share."""
    return t if len(t) == 1 else t[rows]


def learn(
    rows: DoseRows, form: KernelForm, steps: int, known: Parameters | None = None
) -> tuple[Parameters, float]:
    """Parameters of the covariance by marginal likelihood with sparse priors (Adam).

    The first steps see half of the rows: they find the region, an eighth of the work each. From
    parameters that are known already every step sees all rows, and steps get smaller.

    Args:
        rows: The rows.
        form: Shape of the covariance.
        steps: Steps.
        known: Parameters of a simpler form to start from; the result is never less likely.

    Returns:
        The parameters, and minus the log posterior density per row.
    """
    rows = some_rows(rows, _ROWS_TO_LEARN)
    start = form.start(rows.z.shape[1])
    if rows.groups is not None:
        start["cluster"] = np.array(math.log(0.1))
    start |= known or {}
    ends = np.cumsum([value.size for value in start.values()])
    theta = np.concatenate([value.ravel() for value in start.values()])

    def named(vector: np.ndarray) -> Parameters:
        parts = np.split(vector, ends[:-1])
        return {
            name: part.reshape(value.shape)
            for (name, value), part in zip(start.items(), parts, strict=True)
        }

    first, second = np.zeros_like(theta), np.zeros_like(theta)
    best, least = None, math.inf
    half = max(_FEWEST_TO_LEARN, len(rows) // 2)
    early = round(_EARLY * steps) if half < len(rows) and known is None else 0
    seen = Evidence(some_rows(rows, half) if early else rows, form)
    for step in range(steps + 1):
        if step == early:
            seen = Evidence(rows, form)
        loss, slopes = seen(named(theta))
        if not math.isfinite(loss):
            break
        if loss < least and step >= early:
            best, least = theta.copy(), loss
        if step == steps:
            break
        gradient = np.concatenate([np.ravel(slopes[name]) for name in start])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        along = (first / (1 - 0.9 ** (step + 1))) / (
            np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8
        )
        rate = _RATE if known is None else _RATE_FROM_KNOWN * (1 - _FALL * step / steps)
        theta -= rate * along
        noise = named(theta)["noise"]
        np.maximum(noise, math.log(1e-4), out=noise)
    if best is None:
        raise DataError("has a covariance that can't be inverted", column="outcome")
    return named(best), least / len(rows) + 0.5 * math.log(2 * math.pi)


class Evidence:
    """Minus the log marginal likelihood and priors of some rows, and its gradient.

    The gradient in the covariance matrix is (K^-1 - alpha alpha') / 2; its sum with the
    derivatives of the covariance has a closed form. Only the lower triangle is visited.
    """

    def __init__(self, rows: DoseRows, form: KernelForm):
        self.rows, self.form, self.same = rows, form, _same_cluster(rows)
        few = max(8, _BLOCK // len(rows))
        self.blocks = [(a, min(a + few, len(rows))) for a in range(0, len(rows), few)]

    def __call__(self, p: Parameters) -> tuple[float, Parameters]:
        """The value and the gradient, by name; not a number and zeros where K has no factor."""
        rows, form, n = self.rows, self.form, len(self.rows)
        s, k, parts = form.position(p, rows.z, rows.t), np.empty((n, n)), []
        for a, b in self.blocks:
            parts.append(form.of_covariates(p, rows.z[a:b], rows.z[:b]))
            k[a:b, :b] = form.at_doses(p, parts[-1], s[a:b], s[:b])
        if self.same is not None:
            k += np.exp(p["cluster"]) * self.same
        noise = np.exp(p["noise"]) / rows.weight
        factor = _factor(k, noise)
        penalty, slopes = form.penalty(p)
        if factor is None:
            return math.nan, {name: np.zeros_like(value) for name, value in p.items()}
        # LAPACK's columns are our rows: its upper triangle is the lower one here.
        alpha = lapack.dpotrs(factor.T, rows.y, lower=0)[0]
        half_log = np.log(factor.diagonal()).sum()
        pull = lapack.dpotri(factor.T, lower=0, overwrite_c=1)[0].T
        pull *= 0.5
        found = {name: np.zeros_like(value) for name, value in p.items()}
        for name, slope in slopes.items():
            found[name] = found[name] + slope
        for (a, b), part in zip(self.blocks, parts, strict=True):
            block = pull[a:b, :b] - 0.5 * alpha[a:b, None] * alpha[None, :b]
            found["noise"] = found["noise"] + block[:, a:].diagonal() @ noise[a:b]
            block *= 2  # for the pairs above the diagonal
            block[:, a:] = np.tril(block[:, a:]) - np.diag(0.5 * block[:, a:].diagonal())
            if self.same is not None:
                together = np.sum(block * self.same[a:b, :b])
                found["cluster"] = found["cluster"] + np.exp(p["cluster"]) * together
            for name, slope in form.gradient(p, part, s[a:b], s[:b], block).items():
                found[name] = found[name] + slope
        return float(0.5 * rows.y @ alpha + half_log + penalty), found


def condition(
    rows: DoseRows, form: KernelForm, p: Parameters, loss: float, points: int | None = None
) -> GaussianProcess:
    """The posterior given all rows: exact for few, on inducing points (``points``) for many."""
    exact = ROWS_EXACT if points is None else 2 * points
    points = points or (_INDUCING if len(rows) <= _MANY else _INDUCING_OF_MANY)
    inducing = None if len(rows) <= exact else some_rows(rows, points)
    kept = rows if inducing is None else inducing
    z, t = np.ascontiguousarray(kept.z), np.ascontiguousarray(kept.t)
    k = form.covariance(p, z, t, z, t)
    if inducing is None:
        same = _same_cluster(rows)
        if same is not None:
            k += np.exp(p["cluster"]) * same
        first = _inverse_factor(k, np.exp(p["noise"]) / rows.weight)
        alpha, second = first.T @ (first @ rows.y), None
    else:
        gram, right = _seen_from(rows, form, p, z, t)
        none = np.zeros(len(k))
        first, second = _inverse_factor(k, none), _inverse_factor(k + gram, none)
        alpha = second.T @ (second @ right)
    parameters = {name: value.copy() for name, value in p.items()}
    return GaussianProcess(form, parameters, z, t, alpha, first, second, loss)


def _seen_from(
    rows: DoseRows, form: KernelForm, p: Parameters, z: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """K' N^-1 K and K' N^-1 y, with K the covariances of all rows with the points (z, t).

    N is the noise, and what rows of one cluster share: by the Sherman-Morrison formula each
    cluster takes its own term off.
    """
    noise, size = np.exp(p["noise"]), len(z)
    gram, right = np.zeros((size, size)), np.zeros(size)
    if rows.groups is not None:
        labels, member = np.unique(rows.groups, return_inverse=True)
        shared = np.zeros((len(labels), size + 2))
    for part in np.array_split(np.arange(len(rows)), -(-len(rows) * size // _CELLS)):
        own = form.covariance(p, rows.z[part], rows.t[part], z, t)
        heavy, y = rows.weight[part] / noise, rows.y[part]
        gram += own.T @ (own * heavy[:, None])
        right += own.T @ (heavy * y)
        if rows.groups is not None:
            columns = np.column_stack([own, y, np.ones(len(y))])
            np.add.at(shared, member[part], columns * heavy[:, None])
    if rows.groups is not None:
        own, y, heavy = shared[:, :size], shared[:, size], shared[:, size + 1]
        off = np.exp(p["cluster"]) / (1 + np.exp(p["cluster"]) * heavy)
        gram -= own.T @ (own * off[:, None])
        right -= own.T @ (off * y)
    return gram, right


def _factor(k: np.ndarray, noise: np.ndarray) -> np.ndarray | None:
    """Lower Cholesky factor of k + diag(noise), with more jitter if needed; None if hopeless."""
    jitter = _JITTER * max(float(k.diagonal().mean()), 1e-12)
    for _ in range(8):
        matrix = k.copy()
        matrix[np.diag_indices(len(k))] += noise + jitter
        factor, failed = lapack.dpotrf(matrix.T, lower=0, overwrite_a=1)
        if not failed and np.isfinite(factor.diagonal()).all():
            return factor.T
        jitter *= 10
    return None


def _inverse_factor(k: np.ndarray, noise: np.ndarray) -> np.ndarray:
    factor = _factor(k, noise)
    if factor is None:
        raise DataError("has a covariance that can't be inverted", column="outcome")
    return np.ascontiguousarray(lapack.dtrtri(factor.T, lower=0)[0].T)


def some_rows(rows: DoseRows, most: int) -> DoseRows:
    """At most so many rows, spread evenly over whatever their content is."""
    if len(rows) <= most:
        return rows
    mixed = np.random.default_rng(0).permutation(len(rows))[:most]
    return rows.some(np.sort(np.argsort(rows.order, kind="stable")[mixed]))


def _same_cluster(rows: DoseRows) -> np.ndarray | None:
    """Whether two rows share a cluster, (n, n), or None where there are no clusters."""
    if rows.groups is None:
        return None
    return (rows.groups[:, None] == rows.groups[None]).astype(float)

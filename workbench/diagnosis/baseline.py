"""The fault-free rows and everything that methods ask of them, computed once and shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.saving import saveable

CONSTANT_SHARE = 0.003  # a constant metric: this share of its level counts as one sd
CONSTANT_JUMP = 10.0  # a metric that is always 0 has no scale: any departure counts as 10 sd
_MAD_TO_SD = 1.482602218505602
_IQR_TO_SD = 1 / 1.3489795003921634


@dataclass(frozen=True, eq=False)
class LinearMechanism:
    """x = mean + slopes (parents - their means) + noise, in standard deviations of each metric.

    Attributes:
        parents: Positions of the parents in the baseline, shape (k,).
        slopes: Standardised slopes, shape (k,); multiply by sd(child) / sd(parent) for units.
        noise: Standard deviation of the noise as a share of the metric's own.
        spread: Covariance of the slopes' estimation error, shape (k, k).
        n: Rows in which the metric and all parents are recorded (the fewest of any pair).
        dof: Degrees of freedom of ``noise``.
    """

    parents: np.ndarray
    slopes: np.ndarray
    noise: float
    spread: np.ndarray
    n: int
    dof: int


@saveable
class Baseline:
    """Fault-free values with cached moments; systems derived from one another share it.

    Args:
        names: Metric names.
        values: Shape (n, p), NaN where nothing was recorded. Kept in column order (Fortran).
    """

    def __init__(self, names: Sequence[str], values: np.ndarray):
        self.names = tuple(names)
        self.values = np.asfortranarray(values, dtype=float)
        self.values.flags.writeable = False
        self.position = {name: j for j, name in enumerate(self.names)}
        recorded = np.isfinite(self.values)
        self.count = recorded.sum(axis=0)
        self.complete = self.count == len(self.values)
        self.mean, self.sd = np.empty(len(names)), np.empty(len(names))
        self._skew, self.kurtosis = np.empty(len(names)), np.empty(len(names))
        for j in range(len(self.names)):
            x = self.values[:, j] if self.complete[j] else self.values[recorded[:, j], j]
            self.mean[j], self.sd[j], self._skew[j], self.kurtosis[j] = _moments(x)
        self.constant = self.sd == 0
        self._mechanisms: dict[tuple[int, tuple[int, ...]], LinearMechanism] = {}
        self._tails: dict[int, tuple] = {}

    # -- scale -----------------------------------------------------------------------------

    @cached_property
    def scale(self) -> np.ndarray:
        """What one standard deviation is, shape (p,): the sd; for a constant metric 0.3 % of its
        level, and 0 for one that is always 0."""
        return np.where(self.constant, CONSTANT_SHARE * np.abs(self.mean), self.sd)

    @cached_property
    def median(self) -> np.ndarray:
        """Medians, shape (p,)."""
        return self._by_column(np.median)

    @cached_property
    def mad(self) -> np.ndarray:
        """Median absolute deviation, not rescaled, shape (p,)."""
        return self._by_column(lambda x: np.median(np.abs(x - np.median(x))))

    @cached_property
    def iqr(self) -> np.ndarray:
        """Interquartile ranges, shape (p,)."""
        return self._by_column(lambda x: np.subtract(*np.percentile(x, [75, 25])))

    @cached_property
    def iqr_scale(self) -> np.ndarray:
        """IQR / 1.349; where half of the values agree the robust scale."""
        solid = (self.iqr > 1e-9 * self.sd) & ~self.constant
        return np.where(solid, _IQR_TO_SD * self.iqr, self.robust_scale)

    @cached_property
    def robust_scale(self) -> np.ndarray:
        """1.4826 MAD; where more than half of the values agree IQR / 1.349, else the sd."""
        mad = np.where(self.mad > 0, _MAD_TO_SD * self.mad, _IQR_TO_SD * self.iqr)
        return np.where((mad > 1e-9 * self.sd) & ~self.constant, mad, self.scale)

    def _by_column(self, statistic) -> np.ndarray:
        return np.array([statistic(self.column(j)) for j in range(len(self.names))])

    def column(self, j: int) -> np.ndarray:
        """The recorded values of one metric."""
        x = self.values[:, j]
        return x if self.complete[j] else x[np.isfinite(x)]

    def standardised(self, columns: Sequence[int]) -> np.ndarray:
        """(values - mean) / scale, shape (n, k), NaN where not recorded; constants are 0."""
        columns = np.asarray(columns, dtype=int)
        scale = np.where(self.scale[columns] > 0, self.scale[columns], 1.0)
        z = (self.values[:, columns] - self.mean[columns]) / scale
        z[:, self.constant[columns]] *= 0.0  # only rounding noise is left there
        return z

    @cached_property
    def key(self) -> np.ndarray:
        """A number per metric that no unit, name or order changes: breaks ties of canonical
        orders. Rounded, so that rounding errors can't reorder."""
        return np.round(self._skew, 6)

    # -- second moments --------------------------------------------------------------------

    def correlation(self, columns: Sequence[int]) -> np.ndarray:
        """Pairwise-complete correlation, shape (k, k); a constant has 0 with everything."""
        return self._correlation(np.asarray(columns, dtype=int))[0]

    def _correlation(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Correlation and the number of rows behind each entry.

        Entries with gaps are covariances over the common rows in units of each metric's own sd,
        so that slopes mean the same for every pair. Where such pairs contradict each other (no
        table has these correlations) gaps count as the mean, which shrinks entries towards 0.
        """
        z = self.standardised(columns)
        counts = np.full((len(columns), len(columns)), len(z))
        if self.complete[columns].all():
            return z.T @ z / len(z), counts
        mask = np.isfinite(z).astype(float)
        z = np.where(mask > 0, z, 0.0)
        counts = mask.T @ mask
        n = np.maximum(counts, 1)
        sums = z.T @ mask  # sum of row metric where the column metric is recorded too
        matrix = z.T @ z / n - sums * sums.T / n**2
        matrix[counts < 3] = 0.0
        np.fill_diagonal(matrix, np.where(self.constant[columns], 0.0, 1.0))
        if len(matrix) and np.linalg.eigvalsh(matrix)[0] < -1e-10:
            # The pairs contradict each other: a mechanism from such a matrix, or from the nearest
            # legal one, has no noise. With gaps at the mean the moments are those of a table.
            size = np.sqrt(np.maximum(np.diag(counts), 1))
            matrix = z.T @ z / (size[:, None] * size)
            np.fill_diagonal(matrix, np.where(self.constant[columns], 0.0, 1.0))
        return matrix, counts

    def mechanism(self, child: int, parents: Sequence[int]) -> LinearMechanism:
        """Linear mechanism of one metric given others, from the cached moments.

        Ridge with penalty noise²/n on standardised slopes (the posterior mean under slopes of
        size one): less bias than the standard error of a slope, no explosion when parents are
        collinear, weight 0 for constants, equal weights for equal parents.
        """
        where = (child, tuple(parents))
        if where not in self._mechanisms:
            self._mechanisms[where] = self._fit(child, np.asarray(parents, dtype=int))
        return self._mechanisms[where]

    def _fit(self, child: int, parents: np.ndarray) -> LinearMechanism:
        k = len(parents)
        moving = ~self.constant[parents]
        size = int(self.count[child])
        if self.constant[child] or not moving.any():
            noise = 0.0 if self.constant[child] else 1.0
            flat = np.zeros((k, k))
            return LinearMechanism(parents, np.zeros(k), noise, flat, size, size - 1)
        used = parents[moving]
        matrix, counts = self._correlation(np.r_[child, used])
        n = int(counts.min())
        cross, inner, total = matrix[1:, 0], matrix[1:, 1:], matrix[0, 0]
        values, vectors = np.linalg.eigh(inner)
        rotated = vectors.T @ cross
        solid = values > 1e-10 * values[-1]
        dof = n - 1 - int(solid.sum())
        left = total - float(np.sum(rotated[solid] ** 2 / values[solid]))
        variance = max(left, 0.0) * n / dof if dof > 0 else total
        penalty = max(variance / max(n, 1), 1e-10)
        slopes = vectors @ (rotated / (np.maximum(values, 0.0) + penalty))
        left = total - 2 * slopes @ cross + slopes @ inner @ slopes
        variance = max(left, 0.0) * n / dof if dof > 0 else total
        inverse = (vectors / (np.maximum(values, 0.0) + penalty)) @ vectors.T
        full_slopes, spread = np.zeros(k), np.zeros((k, k))
        full_slopes[moving] = slopes
        spread[np.ix_(moving, moving)] = variance * inverse / max(n, 1)
        return LinearMechanism(parents, full_slopes, variance**0.5, spread, n, max(dof, 1))

    # -- tails -----------------------------------------------------------------------------

    def tail(self, j: int) -> tuple[np.ndarray, float, float, float, float]:
        """Generalised Pareto fit to the largest tenth of |x - mean| / scale of one metric.

        See :func:`pareto_tail`.
        """
        if j not in self._tails:
            self._tails[j] = pareto_tail(np.abs(self.column(j) - self.mean[j]) / self.scale[j])
        return self._tails[j]

    def _state(self) -> dict:
        return {"names": list(self.names), "values": np.ascontiguousarray(self.values)}

    @classmethod
    def _from_state(cls, state: dict) -> Baseline:
        return cls(**state)


def pareto_tail(size: np.ndarray) -> tuple[np.ndarray, float, float, float, float]:
    """Generalised Pareto fit to the largest tenth of some sizes (at least ten).

    Returns the sorted sizes, the start of the tail, its probability, shape and scale
    (probability-weighted moments; the shape is kept in [0, 0.5]: no finite end point, and a
    finite variance).

    References:
        Hosking and Wallis, "Parameter and quantile estimation for the generalized Pareto
        distribution", Technometrics, 1987.
    """
    size = np.sort(size)
    k = min(max(10, len(size) // 10), len(size) - 1)
    start = float(size[-k - 1])
    excess = size[-k:] - start
    b0 = float(excess.mean())
    b1 = float(np.mean((1 - (np.arange(1, k + 1) - 0.35) / k) * excess))
    shape = 2 - b0 / (b0 - 2 * b1) if b0 > 2 * b1 > 0 else 0.0
    shape = min(max(shape, 0.0), 0.5)
    return size, start, k / len(size), shape, b0 * (1 - shape)


def _moments(x: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, population sd (exactly 0 if all values agree up to rounding), skewness, kurtosis."""
    low, high = x.min(), x.max()
    if low == high:
        return float(low), 0.0, 0.0, 3.0
    unit = max(abs(low), abs(high))
    y = x / unit  # against overflow, and so that a unit changes nothing but rounding
    mean = y.mean()
    centred = y - mean
    variance = np.dot(centred, centred) / len(x)
    if variance <= 1e-26:
        return float(mean * unit), 0.0, 0.0, 3.0
    sd = variance**0.5
    centred /= sd
    square = centred * centred
    skew, kurtosis = np.dot(square, centred) / len(x), np.dot(square, square) / len(x)
    return float(mean * unit), float(sd * unit), float(skew), float(kurtosis)

"""Tests of conditional independence, many at a time, from correlations alone."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .design import DETERMINED, Design

_CHUNK = 2_000_000


class IndependenceTest(Protocol):
    """What a constraint-based search asks: the log p-value of x ⊥ y | S for many S and y."""

    size: int

    def log_p(self, x: int, targets: np.ndarray, subsets: np.ndarray) -> np.ndarray: ...


class GaussianTest:
    """Partial correlation for single columns, Wilks' lambda where a category is involved.

    For single columns z = atanh(r) sqrt(n - |S| - 3) against the normal; for blocks of sizes a
    and b, -(n - 1 - |S| - (a + b + 1) / 2) log Λ with Λ = det Σ / (det Σ_x det Σ_y) of the
    residual covariance against chi-square with ab degrees of freedom; |S| counts encoded columns.

    Assumes residuals whose spread does not change with S: where those of x and y grow together
    (x, y = ±s + exp(s) noise), independent x and y are rejected more often than the level says.

    A question that can't be answered (no degrees of freedom, or a variable that S determines)
    gets -inf: it never separates a pair.

    References:
        Fisher, "The distribution of the partial correlation coefficient", Metron, 1924;
        Bartlett, "Further aspects of the theory of multiple regression", 1938;
        Andrews, Ramsey, Cooper, "Learning high-dimensional directed acyclic graphs with mixed
        data-types", KDD workshop on causal discovery, 2019.
    """

    def __init__(self, design: Design):
        self.rows = design.rows
        self.size = len(design.names)
        sizes = np.array([len(b) for b in design.blocks])
        self.simple = bool((sizes == 1).all())
        columns = np.concatenate(design.blocks)
        # Blocks say which columns a variable has, in whatever order the variables come.
        self.correlation = design.correlation
        if self.simple and (np.diff(columns) != 1).any():
            self.correlation = design.correlation.take(columns, 0).take(columns, 1)
        self._blocks = design.blocks
        self._columns = np.full((self.size, sizes.max(initial=1)), -1)
        for i, block in enumerate(design.blocks):
            self._columns[i, : len(block)] = block

    def log_p(self, x: int, targets: np.ndarray, subsets: np.ndarray) -> np.ndarray:
        """Log p-values of x ⊥ y | S.

        Args:
            x: A variable.
            targets: ``(t,)`` variables y.
            subsets: ``(m, l)`` conditioning sets S, without x.

        Returns:
            ``(m, t)``; -inf where y is in S.
        """
        out = np.empty((len(subsets), len(targets)))
        if not out.size:
            return out
        ends = np.concatenate([self._blocks[i] for i in (x, *targets)])
        depth = subsets.shape[1] * self._columns.shape[1]
        step = max(1, _CHUNK // max(1, (depth + 1) * (depth + len(ends))))
        for start in range(0, len(subsets), step):
            part = slice(start, start + step)
            out[part] = self._log_p(x, targets, subsets[part], ends)
        out[(subsets[:, :, None] == targets).any(axis=1)] = -np.inf
        return out

    def _log_p(
        self, x: int, targets: np.ndarray, subsets: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        given, used = self._given(subsets)
        loadings, bad = self._condition(given, ends)
        if self.simple:
            variance = 1 - np.einsum("mlc,mlc->mc", loadings, loadings)
            shared = self.correlation[ends[0], ends[1:]] - np.einsum(
                "ml,mlc->mc", loadings[:, :, 0], loadings[:, :, 1:]
            )
            out = _fisher(shared, variance[:, :1], variance[:, 1:], self.rows - used - 3)
        else:
            out = self._blockwise(x, targets, loadings, ends, used)
        out[bad] = -np.inf
        return out

    def _given(self, subsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encoded columns of each conditioning set, -1 as padding at the end; how many."""
        columns = self._columns[subsets].reshape(len(subsets), -1)
        if self.simple:
            return columns, np.full(len(subsets), columns.shape[1])
        used = (columns >= 0).sum(axis=1)
        order = np.argsort(columns < 0, axis=1, kind="stable")
        return np.take_along_axis(columns, order, axis=1)[:, : used.max(initial=0)], used

    def _condition(self, given: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loadings G ``(m, l, c)`` with cov(ends | S) = R - G'G, and where S is degenerate."""
        m, depth = given.shape
        bad = np.zeros(m, dtype=bool)
        if not depth:
            return np.zeros((m, 0, len(ends))), bad
        work = np.empty((m, depth, depth + len(ends)))
        work[:, :, :depth] = self.correlation[given[:, :, None], given[:, None, :]]
        work[:, :, depth:] = self.correlation[given[:, :, None], ends]
        if not self.simple:  # padding: columns of their own, unrelated to all others
            pad = given < 0
            work[pad] = 0.0
            work[:, :, :depth] *= ~pad[:, None, :]
            work[:, range(depth), range(depth)] = 1.0
        for k in range(depth):
            pivot = work[:, k, k].copy()
            bad |= pivot <= DETERMINED
            work[:, k, k:] /= np.sqrt(np.maximum(pivot, DETERMINED))[:, None]
            work[:, k + 1 :, k + 1 :] -= work[:, k, k + 1 : depth, None] * work[:, k, None, k + 1 :]
        return work[:, :, depth:], bad

    def _blockwise(
        self,
        x: int,
        targets: np.ndarray,
        loadings: np.ndarray,
        ends: np.ndarray,
        used: np.ndarray,
    ) -> np.ndarray:
        out = np.empty((len(loadings), len(targets)))
        a, start = len(self._blocks[x]), len(self._blocks[x])
        own = self._residual_covariance(ends, loadings, np.arange(a))
        own_volume = _log_volume(own)
        for t, y in enumerate(targets):
            b = len(self._blocks[y])
            pick = np.r_[0:a, start : start + b]
            start += b
            cov = self._residual_covariance(ends, loadings, pick)
            if a == b == 1:
                out[:, t] = _fisher(cov[:, 0, 1], cov[:, 0, 0], cov[:, 1, 1], self.rows - used - 3)
            else:
                factor = self.rows - 1 - used - (a + b + 1) / 2
                out[:, t] = _wilks(cov, own_volume, a, b, factor)
        return out

    def _residual_covariance(
        self, ends: np.ndarray, loadings: np.ndarray, pick: np.ndarray
    ) -> np.ndarray:
        part = loadings[:, :, pick]
        return self.correlation[np.ix_(ends[pick], ends[pick])] - part.transpose(0, 2, 1) @ part


def fisher_z(ratio: np.ndarray, freedom: int) -> np.ndarray:
    """|z| of squared partial correlations; inf where no test could be made."""
    if freedom <= 0:
        return np.full(ratio.shape, np.inf)
    r = np.minimum(np.sqrt(ratio), 1 - 1e-15)
    return np.where(np.isfinite(ratio), np.arctanh(r) * np.sqrt(freedom), np.inf)


def log_p_of_z(z: np.ndarray) -> np.ndarray:
    """Two-sided log p-values of |z|; -inf for inf."""
    from scipy.special import log_ndtr

    return np.log(2) + log_ndtr(-z)


def _fisher(
    shared: np.ndarray, var_x: np.ndarray, var_y: np.ndarray, freedom: np.ndarray
) -> np.ndarray:
    from scipy.special import log_ndtr

    freedom = freedom.reshape(-1, *[1] * (shared.ndim - 1))
    possible = (var_x > DETERMINED) & (var_y > DETERMINED) & (freedom > 0)
    scale = np.sqrt(np.where(possible, var_x * var_y, 1.0))
    r = np.clip(shared / scale, -1 + 1e-15, 1 - 1e-15)
    z = np.abs(np.arctanh(r)) * np.sqrt(np.maximum(freedom, 0))
    return np.where(possible, np.log(2) + log_ndtr(-z), -np.inf)


def _log_volume(cov: np.ndarray) -> np.ndarray:
    """``(m,)`` log det of covariances, -inf where they are singular."""
    sizes = np.linalg.eigvalsh(cov)
    regular = sizes[:, 0] > DETERMINED
    return np.where(regular, np.log(np.maximum(sizes, DETERMINED)).sum(axis=1), -np.inf)


def _wilks(
    cov: np.ndarray, own_volume: np.ndarray, a: int, b: int, factor: np.ndarray
) -> np.ndarray:
    other_volume = _log_volume(cov[:, a:, a:])
    possible = np.isfinite(own_volume) & np.isfinite(other_volume) & (factor > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_lambda = np.linalg.slogdet(cov)[1] - own_volume - other_volume
    statistic = np.where(possible, -factor * np.minimum(log_lambda, 0.0), 0.0)
    return np.where(possible, log_chi2_tail(statistic, a * b), -np.inf)


def log_chi2_tail(statistic: np.ndarray, freedom: int) -> np.ndarray:
    """Log of the upper tail of chi-square, also where the tail itself is zero to a float."""
    from scipy.special import gammaincc, gammaln

    half, x = freedom / 2, np.asarray(statistic) / 2
    with np.errstate(divide="ignore"):
        exact = np.log(gammaincc(half, x))
        far = -x + (half - 1) * np.log(np.maximum(x, 1e-300)) - gammaln(half)
    return np.where(np.isfinite(exact), exact, far)

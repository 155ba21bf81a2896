"""How common a row is: the plausibility of what is recommended."""

from __future__ import annotations

import numpy as np

from ..core.seeding import generator
from .space import Space

_NEIGHBOURS = 5
_MOST_POINTS = 5000
_COMPILED_FROM = 300_000_000  # differences; loading the compiler takes as long as fewer do


def placed(space: Space, codes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Codes as points: numbers in units of ``scale``, a changed level one unit away, ``(n, D)``."""
    return space.design(codes) / np.where(space.discrete, 2**0.5, scale)[space.owner]


class Density:
    """Share of the data that lies in sparser regions than a row: 1 is as common as it gets.

    By the distance to the fifth-nearest distinct row of the data, numbers in units of the cost's
    scale and a changed level as one unit; the data's own distances leave the row itself out.
    """

    def __init__(self, space: Space, data: np.ndarray, scale: np.ndarray):
        self.space, self.scale = space, scale
        points = np.unique(placed(space, data, scale), axis=0)
        if len(points) > _MOST_POINTS:
            points = points[generator(0).choice(len(points), _MOST_POINTS, replace=False)]
        # Single precision would see nothing of small differences between large numbers.
        self._center = points.mean(axis=0)
        self._points = np.ascontiguousarray((points - self._center).T, dtype=np.float32)
        self._usual = np.sort(self._distance(points, _NEIGHBOURS + 1))

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        if not len(codes):
            return np.empty(0)
        points = placed(self.space, codes, self.scale)
        rank = np.searchsorted(self._usual, self._distance(points, _NEIGHBOURS))
        return 1.0 - rank / len(self._usual)

    def _distance(self, points: np.ndarray, k: int) -> np.ndarray:
        """Squared distance to the k-th nearest point, or to the last; by brute force, which from
        ten columns on is quicker than any tree."""
        with np.errstate(over="ignore"):
            asked = (points - self._center).astype(np.float32)
        k = min(k, self._points.shape[1])
        if len(asked) * self._points.size < _COMPILED_FROM:
            return _kth_nearest(self._points, asked, k)
        from .density_kernel import kth_nearest

        out = np.empty(len(asked), dtype=np.float32)
        kth_nearest(self._points, asked, k, out)
        return out


def _kth_nearest(points: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    """The same bits as the compiled kernel: sums run over the columns in their order."""
    out = np.empty(len(asked), dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, row in enumerate(asked):
            total = np.zeros(points.shape[1], dtype=np.float32)
            for column, value in zip(points, row, strict=True):
                total += (column - value) ** 2
            out[i] = np.partition(total, k - 1)[k - 1]
    return out

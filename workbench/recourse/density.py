"""How common a row is: the plausibility of what is recommended."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ..core.seeding import generator
from .space import Space

_NEIGHBOURS = 5
_MOST_POINTS = 5000


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
        points = np.unique(self._place(data), axis=0)
        if len(points) > _MOST_POINTS:
            points = points[generator(0).choice(len(points), _MOST_POINTS, replace=False)]
        self._tree = cKDTree(points)
        self._usual = np.sort(self._distance(points, _NEIGHBOURS + 1))

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        if not len(codes):
            return np.empty(0)
        rank = np.searchsorted(self._usual, self._distance(self._place(codes), _NEIGHBOURS))
        return 1.0 - rank / len(self._usual)

    def _place(self, codes: np.ndarray) -> np.ndarray:
        return placed(self.space, codes, self.scale)

    def _distance(self, points: np.ndarray, k: int) -> np.ndarray:
        return self._tree.query(points, k=[min(k, self._tree.n)])[0][:, 0]

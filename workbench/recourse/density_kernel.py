"""Distances to near points, compiled; importing this module loads numba."""

from __future__ import annotations

import numpy as np

from .tree_kernels import compiled


@compiled
def kth_nearest(points, asked, k, out):
    """Squared distance of each row of ``asked`` (n, D) to its k-th nearest of ``points`` (D, N)."""
    total = np.empty(points.shape[1], dtype=np.float32)
    near = np.empty(k, dtype=np.float32)
    for i in range(len(asked)):
        total[:] = 0.0
        for j in range(len(points)):
            value = asked[i, j]
            for m in range(len(total)):
                step = points[j, m] - value
                total[m] += step * step
        near[:] = np.inf
        for m in range(len(total)):
            if total[m] < near[k - 1]:
                at = k - 1
                while at > 0 and near[at - 1] > total[m]:
                    near[at] = near[at - 1]
                    at -= 1
                near[at] = total[m]
        out[i] = near[k - 1]

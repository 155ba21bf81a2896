"""Sums over the trees of an ensemble, compiled; importing this module loads numba."""

from __future__ import annotations

import numpy as np

from .readers import RawTree
from .tree_kernels import compiled


class TreeSums:
    """Sum of the values of the leaves that rows fall into, over many trees.

    A forest asked for a few hundred rows at a time spends most of its seconds between the trees;
    this asks all of them in one pass.

    Args:
        members: Trees as :func:`~workbench.recourse.readers.trees` reads them.
    """

    def __init__(self, members: list[RawTree]):
        self._first = np.zeros(len(members), dtype=np.int64)
        self._depth = np.zeros(len(members), dtype=np.int64)
        parts, first = [], 0
        for k, tree in enumerate(members):
            levels = _levels(tree)
            self._first[k], self._depth[k] = first, len(levels) - 1
            parts.append(_by_level(tree, np.concatenate(levels), first))
            first += len(parts[-1][0])
        feature, threshold, left, value = (np.concatenate(p) for p in zip(*parts, strict=True))
        self._nodes = feature, threshold, left, value

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Sums at points ``(n, D)`` without empty cells, ``(n,)``."""
        out, at = np.zeros(len(points)), np.zeros(len(points), dtype=np.int32)
        points = np.ascontiguousarray(points, dtype=float)
        _add(points, self._first, self._depth, *self._nodes, at, out)
        return out


def _levels(tree: RawTree) -> list[np.ndarray]:
    """Nodes from the root down, level by level; the children of a node are neighbours."""
    levels = [np.zeros(1, dtype=int)]
    while len(inner := levels[-1][tree["left"][levels[-1]] >= 0]):
        levels.append(np.column_stack([tree["left"][inner], tree["right"][inner]]).ravel())
    return levels


def _by_level(tree: RawTree, order: np.ndarray, first: int) -> tuple[np.ndarray, ...]:
    """Feature, threshold, place of the left child and value of the nodes in an order.

    The right child comes after the left one; a leaf sends everything back to itself.
    """
    place = np.zeros(len(tree["left"]), dtype=int)
    place[order] = first + np.arange(len(order))
    inner = tree["left"][order] >= 0
    return (
        np.where(inner, tree["feature"][order], 0).astype(np.int32),
        np.where(inner, tree["threshold"][order], np.inf),
        np.where(inner, place[tree["left"][order]], place[order]).astype(np.int32),
        tree["value"][order].astype(float),
    )


@compiled
def _add(points, first, depth, feature, threshold, left, value, at, out):
    # One tree at a time, so that its nodes stay in the cache, and one level at a time: rows don't
    # wait for each other's memory.
    for t in range(len(first)):
        at[:] = first[t]
        for _ in range(depth[t]):
            for i in range(len(points)):
                node = at[i]
                at[i] = left[node] + (points[i, feature[node]] > threshold[node])
        for i in range(len(points)):
            out[i] += value[at[i]]

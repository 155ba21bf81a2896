"""What a finished search by tests must say about its table: columns that nearly determine others.

Tests of conditional independence take two nearly equal columns for one: given the first, little of
the second is left, and a third column that depends on both is independent of each given the other.
"""

from __future__ import annotations

import numpy as np

from ...core.errors import warn
from .design import Design
from .encoded import listed

# Share of a column's variance that others leave, below which tests given them see little of it.
_LEFT = 1e-3
_FEW = 3
# At most this many columns are looked at one by one and named.
_NAMED = 20
# No pair is called dependent at a larger p-value, whatever the level of the search.
_SURE = 1e-4


def warn_near_determined(
    design: Design, adjacent: np.ndarray, marginal: np.ndarray, alpha: float
) -> None:
    """Name columns of which few others leave almost nothing, and pairs that the graph parts
    although they depend on each other.

    Args:
        design: The searched columns.
        adjacent: ``(d, d)`` the skeleton that was found.
        marginal: ``(d, d)`` log p-values of pairs i < j given nothing, -inf where not asked.
        alpha: Level of the search.
    """
    names = design.names
    close = _close(design)
    if close:
        told = "; ".join(
            f"{names[i]!r} given {listed([names[j] for j in by])}" for i, by in close.items()
        )
        columns = sorted({names[k] for i, by in close.items() for k in (i, *by)})
        warn(
            "near-determined",
            f"less than {_LEFT:.1%} of the variance is left of {told}: tests can't tell such "
            "columns apart, and edges of what depends on them may be missing; leave one of them "
            'out, or use method="boss"',
            columns,
        )
    parted = _parted(adjacent, marginal, alpha)
    if len(parted):
        told = [f"{names[i]!r} and {names[j]!r}" for i, j in parted[:_NAMED].tolist()]
        more = f" and {len(parted) - _NAMED} more pairs" if len(parted) > _NAMED else ""
        warn(
            "lost-dependence",
            f"no path joins {', '.join(told)}{more}, although they depend on each other: each "
            "test given others found nothing left, as it happens where columns nearly determine "
            "one another or rows are few; leave one of such columns out, or use "
            'method="boss"',
            sorted({names[k] for k in parted.ravel().tolist()}),
        )


def _close(design: Design) -> dict[int, list[int]]:
    """Variable -> the few others that leave almost nothing of it."""
    correlation, blocks = design.correlation, design.blocks
    owner = np.empty(len(correlation), dtype=int)
    for i, block in enumerate(blocks):
        owner[block] = i
    if design.rows > len(correlation) + 1:
        try:
            candidates = _left_by_all(np.linalg.inv(correlation), blocks) < _LEFT
        except np.linalg.LinAlgError:
            candidates = np.ones(len(blocks), dtype=bool)
    else:  # all others leave nothing of any column: look at pairs
        shared = np.where(owner[:, None] == owner, 0.0, np.abs(correlation))
        candidates = np.zeros(len(blocks), dtype=bool)
        candidates[owner[(1 - shared.max(axis=1, initial=0.0) ** 2) < _LEFT]] = True
    out = {}
    for i in np.flatnonzero(candidates)[:_NAMED].tolist():
        by = _few_that_determine(i, correlation, blocks)
        if by:
            out[i] = by
    return out


def _left_by_all(precision: np.ndarray, blocks: tuple[np.ndarray, ...]) -> np.ndarray:
    """``(d,)`` share of each variable's variance that all others together leave."""
    if len(blocks) == len(precision):
        left = 1 / precision.diagonal()
        return left[np.concatenate(blocks)]
    return np.array([np.linalg.inv(precision[np.ix_(b, b)]).trace() / len(b) for b in blocks])


def _few_that_determine(
    i: int, correlation: np.ndarray, blocks: tuple[np.ndarray, ...]
) -> list[int]:
    """At most three other variables, the most telling first, that leave almost nothing of i."""
    left, own, by = correlation.copy(), blocks[i], []
    for _ in range(_FEW):
        gains = np.full(len(blocks), -1.0)
        for j, block in enumerate(blocks):
            if j != i and j not in by:
                part = left[np.ix_(block, own)]
                inside = left[np.ix_(block, block)] + 1e-9 * np.eye(len(block))
                gains[j] = (part * np.linalg.solve(inside, part)).sum()
        j = int(gains.argmax())
        if gains[j] <= 0:
            return []
        by.append(j)
        inside = left[np.ix_(blocks[j], blocks[j])] + 1e-9 * np.eye(len(blocks[j]))
        left = left - left[:, blocks[j]] @ np.linalg.solve(inside, left[blocks[j]])
        if left[own, own].mean() < _LEFT:
            return by
    return []


def _parted(adjacent: np.ndarray, marginal: np.ndarray, alpha: float) -> np.ndarray:
    """``(m, 2)`` pairs that depend on each other although no path of the skeleton joins them."""
    size = len(adjacent)
    part = np.where(adjacent.any(axis=1), -1, np.arange(size))
    while (part < 0).any():
        start = int((part < 0).argmax())
        front = np.zeros(size, dtype=bool)
        front[start] = True
        while front.any():
            part[front] = start
            front = adjacent[front].any(axis=0) & (part < 0)
    if (part == part[0]).all():
        return np.zeros((0, 2), dtype=int)
    bound = np.log(min(alpha, _SURE)) - np.log(size * (size - 1) / 2)
    apart = part[:, None] != part
    return np.argwhere(apart & np.isfinite(marginal) & (marginal < bound))

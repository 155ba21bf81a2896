"""Edges that tests of correlation see only because they take the scatter of columns as constant.

Where x and y scatter more at the same values of S, their partial correlation given S varies more
than Fisher's z reckons with, and an edge x - y is found too often. The sandwich estimate of the
variance allows for that: t = Σ e_x e_y / √(Σ e_x² e_y²) on residuals e given S.

References:
    White, "A heteroskedasticity-consistent covariance matrix estimator and a direct test for
    heteroskedasticity", Econometrica 48, 1980.
"""

from __future__ import annotations

import numpy as np

from ...core.errors import warn
from .design import Design
from .skeleton import Skeleton

# Chance that a table with constant spread is warned of.
_LEVEL = 1e-4
# Edges with a smaller log p-value are too strong to hang on the spread.
_STRONG = -25.0
# Residuals beyond three standard deviations count as that: no single row decides.
_FAR = 3.0
# Edges that are looked at and named.
_MOST = 20
# Wider tables are searched in milliseconds; looking at residuals would cost a tenth of that.
_COLUMNS = 60


def warn_uneven_spread(design: Design, found: Skeleton, alpha: float) -> None:
    """Name found edges that the sandwich test denies, where residuals scatter together.

    For up to 60 single columns without empty cells; the weakest edges, each given the set that
    came closest to separating it.
    """
    values, log_alpha = design.values, np.log(alpha)
    if values is None or not values.shape[1] == len(design.names) <= _COLUMNS:
        return
    weak = np.triu(found.adjacent & (found.log_p > _STRONG) & (found.log_p <= log_alpha))
    pairs = np.argwhere(weak)
    if not len(pairs):
        return
    pairs = pairs[np.argsort(-found.log_p[tuple(pairs.T)], kind="stable")][:_MOST]
    from scipy.special import ndtri

    least, bound = -ndtri(alpha / 2), -ndtri(_LEVEL / (2 * len(pairs)))
    sets = found.weakest_sets(pairs)
    asked = [(*pair, *given) for pair, given in zip(pairs.tolist(), sets, strict=True)]
    needed = sorted({k for each in asked for k in each})
    at = {k: row for row, k in enumerate(needed)}
    rows = np.ascontiguousarray(values[:, [int(design.blocks[k][0]) for k in needed]].T)
    told = []
    for each in asked:
        first, second = _residuals(rows[[at[k] for k in each]])
        shared = first * second
        # The sandwich test, and whether it has a reason to differ.
        if abs(shared.sum()) < least * np.sqrt(shared @ shared):
            if _together(first, second) > bound:
                told.append(each[:2])
    if told:
        names = design.names
        edges = ", ".join(sorted(" -- ".join(sorted((names[i], names[j]))) for i, j in told))
        warn(
            "uneven-spread",
            f"{edges}: found only as if the columns scattered alike everywhere; they scatter more "
            "at the same values of others, and tests that allow for it find no dependence; don't "
            'rely on such edges, transform the columns (logarithms) or use test="rcit"',
            sorted({names[k] for pair in told for k in pair}),
        )


def _residuals(rows: np.ndarray) -> np.ndarray:
    """``(2, n)`` the first two of ``(k, n)`` centred columns after regression on the others."""
    ends, given = rows[:2], rows[2:]
    if not len(given):
        return ends
    return ends - np.linalg.solve(given @ given.T, given @ ends.T).T @ given


def _together(first: np.ndarray, second: np.ndarray) -> float:
    """z of the correlation between the sizes of two residuals."""
    a, b = (np.minimum(np.abs(e), _FAR * e.std()) for e in (first, second))
    a, b = a - a.mean(), b - b.mean()
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)) * np.sqrt(len(a)))

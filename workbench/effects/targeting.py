"""Who comes first: how much larger effects are among those with the largest predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .base import quantile
from .sandwich import covariance

_SHARES = np.arange(1, 21) / 20


def ranks_within(values: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Rank of each value within its fold, from 0 to 1; equal values share their mean rank."""
    from scipy.stats import rankdata

    rank = np.empty(len(values))
    for k in np.unique(fold):
        inside = fold == k
        rank[inside] = (rankdata(values[inside]) - 0.5) / inside.sum()
    return rank


def among_the_first(priority: np.ndarray, share: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """How much of each row is among the shares ``reach`` with the highest priority, (n, reach).

    Rows of equal priority come in random order, so all of them are in by the same chance: which
    comes first in the table has no influence.

    Args:
        priority: Larger comes first (n,).
        share: Weights that sum to one (n,).
        reach: Shares, 0 to 1.
    """
    place = np.unique(-priority, return_inverse=True)[1]
    size = np.bincount(place, share)
    before = np.cumsum(size) - size
    return np.clip((reach - before[:, None]) / size[:, None], 0, 1)[place]


def area_under_toc(
    score: np.ndarray, priority: np.ndarray, share: np.ndarray
) -> tuple[float, np.ndarray]:
    """AUTOC and the influence of each row on it, (n,).

    AUTOC = integral over u of TOC(u), TOC(u) = mean score of the share u with the highest
    priority - mean score. Rows of equal priority come in random order, of which the mean is taken.
    The influence is the derivative with respect to the row's share (infinitesimal jackknife).

    Args:
        score: Doubly robust scores of the effect (n,).
        priority: Larger comes first (n,).
        share: Weights that sum to one (n,).
    """
    order = np.argsort(-priority, kind="stable")
    block = np.unique(-priority[order], return_inverse=True)[1]
    w, s = share[order], score[order]
    size = np.bincount(block, w)

    def level(values: np.ndarray) -> np.ndarray:
        return (np.bincount(block, w * values) / size)[block]

    flat = level(s)
    cumulated = np.cumsum(w)
    above = np.cumsum(w * flat) / cumulated  # mean score of all down to this row
    area = float(w @ above - w @ s)
    after = np.cumsum((w / cumulated)[::-1])[::-1]
    after_mean = np.cumsum((w * above / cumulated)[::-1])[::-1]
    pull = level(above - area + (after - 1) * flat - after_mean) + level(after - 1) * (s - flat)
    influence = np.empty(len(s))
    influence[order] = pull * w
    return area, influence


def toc(
    score: np.ndarray,
    priority: np.ndarray,
    share: np.ndarray,
    groups: np.ndarray | None,
    df: float,
    alpha: float,
) -> pd.DataFrame:
    """The TOC curve at each twentieth: ``share, value, low, high``, each point alone."""
    mean, rows = share @ score, []
    for u, first in zip(_SHARES, among_the_first(priority, share, _SHARES).T, strict=True):
        part = first * share / (first @ share)
        value = part @ score
        influence = part * (score - value) - share * (score - mean)
        error = np.sqrt(covariance(influence[:, None], groups)[0, 0])
        reach = quantile(alpha, df) * error
        rows.append((u, value - mean, value - mean - reach, value - mean + reach))
    return pd.DataFrame(rows, columns=["share", "value", "low", "high"])

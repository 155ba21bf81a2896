"""Rows that repeat others: by chance, or because a table was put together twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.errors import warn
from .gate import as_plain, count

_REPEATED = 0.05  # share of rows that repeat others from which it matters
_MEASURED = 20  # distinct values from which a number counts for itself
_ALIKE = 0.95  # rank correlation from which two columns tell rows apart no better than one


def warn_of_repeats(frame: pd.DataFrame) -> None:
    """Warn of rows that repeat others exactly, far more often than chance would have it: they
    count twice as evidence."""
    many = [n for n in frame.columns if frame[n].dtype.kind in "iuf"]
    many = [n for n in many if frame[n].nunique() > _MEASURED]
    if not many:
        return
    repeated = frame.duplicated().to_numpy()
    if repeated.mean() > _REPEATED and _repeats_by_chance(frame, many) < 0.1 * repeated.sum():
        warn(
            "duplicate-rows",
            f"{count(int(repeated.sum()), 'row')} of {len(frame):,} repeat earlier rows exactly "
            f"(first at row {as_plain(frame.index[int(repeated.argmax())])!r}): counted as "
            "independent they make every interval too narrow; drop them, or name a cluster",
        )


def _repeats_by_chance(frame: pd.DataFrame, many: Sequence[str]) -> float:
    """Pairs of equal rows to expect if numbers of many values are independent of the rest.

    With q(c) = Σ p² the chance that two rows agree in c, n (n - 1) / 2 Π q. All columns of few
    values count as one, whatever their dependence, and of numbers that nearly are each other's
    function only the first.
    """
    few = frame.columns.difference(list(many), sort=False)
    agree = (
        _agreement(frame.groupby(list(few), dropna=False, observed=True).size())
        if len(few)
        else 1.0
    )
    ranks = frame[list(many)].rank()
    alike = np.abs(ranks.fillna(ranks.mean()).corr().to_numpy())
    kept: list[int] = []
    for j, name in enumerate(many):
        if not (alike[j, kept] > _ALIKE).any():
            kept.append(j)
            agree *= _agreement(frame[name].value_counts(dropna=False))
    return 0.5 * len(frame) * (len(frame) - 1) * agree


def _agreement(counts: pd.Series) -> float:
    """The chance that two rows drawn at random fall into the same group."""
    return float(((counts / counts.sum()) ** 2).sum())

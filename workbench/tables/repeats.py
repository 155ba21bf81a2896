"""Rows that repeat others: by chance, or because a table was put together twice."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..core.errors import warn
from .gate import as_plain, count

_REPEATED = 0.05  # share of rows that repeat others from which it matters
_MEASURED = 20  # distinct values from which a number counts for itself
_MEASURED_FINELY = 50  # and from which it counts as measured, if most values have fractions
_RANKED = 5_000  # rows that tell how alike two columns are
_ALIKE = 0.95  # rank correlation from which two columns tell rows apart no better than one


def warn_of_repeats(frame: pd.DataFrame) -> bool:
    """Warn of rows that repeat others exactly, far more often than chance would have it: they
    count twice as evidence. Says whether there was reason to."""
    if not any(_has_many(frame[n]) for n in frame.columns):
        return False
    repeated = frame.duplicated().to_numpy()
    found = repeated.mean() > _REPEATED and (
        any(_has_fractions(frame[n]) for n in frame.columns)
        or _repeats_by_chance(frame) < 0.1 * repeated.sum()
    )
    if found:
        warn(
            "duplicate-rows",
            f"{count(int(repeated.sum()), 'row')} of {len(frame):,} repeat earlier rows exactly "
            f"(first at row {as_plain(frame.index[int(repeated.argmax())])!r}): counted as "
            "independent they make every interval too narrow; drop them, or name a cluster",
        )
    return bool(found)


def warn_of_units_seen_again(covariates: pd.DataFrame) -> None:
    """Warn of rows that agree in all covariates where a measured one never would by chance:
    they look like several records of one unit."""
    measured = [n for n in covariates.columns if _has_fractions(covariates[n])]
    # A value on which many rows pile up (no income) is no measurement.
    if not any(covariates[n].value_counts(normalize=True).iloc[0] < _REPEATED for n in measured):
        return
    repeated = covariates.duplicated().to_numpy()
    if repeated.mean() > _REPEATED and _repeats_by_chance(covariates) < 0.1 * repeated.sum():
        warn(
            "repeated-units",
            f"{count(int(repeated.sum()), 'row')} of {len(covariates):,} agree with earlier rows "
            f"in all covariates (first at row "
            f"{as_plain(covariates.index[int(repeated.argmax())])!r}), as several records of one "
            "unit do: counted as independent they make every interval too narrow; pass the units "
            "as groups",
        )


def _has_many(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf" and column.nunique() > _MEASURED


def _has_fractions(column: pd.Series) -> bool:
    """Whether it is a number that is measured: it alone hardly ever agrees in two rows."""
    if column.dtype.kind != "f" or column.nunique() <= _MEASURED_FINELY:
        return False
    return bool((column % 1 != 0).mean() > 0.5)


def _repeats_by_chance(frame: pd.DataFrame) -> float:
    """Pairs of equal rows to expect if numbers of many values are independent of the rest.

    With q(c) = Σ p² the chance that two rows agree in c, n (n - 1) / 2 Π q. All columns of few
    values count as one, whatever their dependence, and of numbers that nearly are each other's
    function only the first.
    """
    many = [n for n in frame.columns if _has_many(frame[n])]
    few = [n for n in frame.columns if n not in many]
    agree = _agreement(frame.groupby(few, dropna=False, observed=True).size()) if len(few) else 1.0
    ranks = frame[many].iloc[:: 1 + len(frame) // _RANKED].rank()
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

"""Columns that give the outcome away: they are known only when the outcome is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from ..core.errors import warn
from ..core.results import number
from .gate import Table, count

_MEASURED = 20  # distinct values from which a number counts as measured: a level may tell by right
_LOOKED_AT = 20_000  # rows that show which value of a column is its most frequent one
_EXPECTED = 20  # rows with another outcome that chance would put beside that value
_LEFT = 0.02  # share of them that may be there all the same
_COPY = 0.9995  # correlation of a copy with noise of 3 % of its spread


class Giveaway(NamedTuple):
    """The most frequent value of a column, and the one outcome that it (nearly) always has."""

    column: str
    value: float
    rows: int
    outcome: float

    def sentence(self, y_name: str) -> str:
        """What was seen, without what to do."""
        value = "of an empty cell" if np.isnan(self.value) else number(self.value)
        return (
            f"the value {value} ({count(self.rows, 'row')}) nearly always comes with "
            f"{y_name!r} = {number(self.outcome)}"
        )


def giveaways(y: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[Giveaway]:
    """Numbers whose most frequent value comes with one value of the outcome.

    A bill of 0 where there was no visit, a constant that fills gaps where a loan failed: with
    y0 the value of the outcome there and p its share of all rows, other outcomes must be 50 times
    as rare as the 1 - p of all rows, and at least 20 must be missing.

    Args:
        y: Outcome (n,), without empty cells.
        columns: Numbers (n,), empty cells as NaN; those of 20 values or less may have a right to
            tell and are left out, as is a column of which no value repeats.

    Example:
        >>> visits = np.repeat([0.0, 1.0, 2.0], [100, 50, 50])
        >>> bill = np.where(visits > 0, 20 * visits + np.arange(200) / 9, 0.0)
        >>> giveaways(visits, {"bill": bill})
        [Giveaway(column='bill', value=0.0, rows=100, outcome=0.0)]
    """
    step = 1 + len(y) // _LOOKED_AT
    found = []
    for name, values in columns.items():
        seen, times = np.unique(values[::step], return_counts=True)
        if len(seen) <= _MEASURED or times.max() < 2:
            continue
        usual = seen[times.argmax()]
        here = np.isnan(values) if np.isnan(usual) else values == usual
        levels, within = np.unique(y[here], return_counts=True)
        level = levels[within.argmax()]
        rest = 1 - np.mean(y == level)
        others = int(here.sum() - within.max())
        if rest * here.sum() >= _EXPECTED and others <= _LEFT * rest * here.sum():
            found.append(Giveaway(name, float(usual), int(here.sum()), float(level)))
    return found


def near_copies(y: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[str]:
    """Numbers that are the outcome, rounded or with a little noise.

    An outcome of many values: the correlation of the values and that of the ranks are both beyond
    .9995 (the first alone may be the work of one outlier, the second of a common trend). Of two
    values, 20 rows or more with each: so is 2 AUC - 1. Columns of 20 values or less are left out.

    Example:
        >>> score = np.random.default_rng(0).normal(size=200)
        >>> near_copies(score, {"score, rounded": score.round(2), "other": score**2})
        ['score, rounded']
    """
    from scipy.stats import rankdata

    step = 1 + len(y) // _LOOKED_AT
    levels, sizes = np.unique(y[::step], return_counts=True)
    two = len(levels) == 2
    if len(levels) <= _MEASURED and not (two and sizes.min() >= _EXPECTED):
        return []
    found = []
    for name, values in columns.items():
        known = ~np.isnan(values[::step])
        here, other = y[::step][known], values[::step][known]
        if len(np.unique(other)) <= _MEASURED or here.min() == here.max():
            continue
        if two:
            high = here == levels[1]
            ahead = rankdata(other)[high].mean() - rankdata(other)[~high].mean()
            alike = abs(2 * ahead / len(here))
        else:
            ranks = np.corrcoef(rankdata(here), rankdata(other))[0, 1]
            alike = min(abs(ranks), abs(np.corrcoef(here, other)[0, 1]))
        if alike >= _COPY:
            found.append(name)
    return found


def warn_of_giveaways(y: np.ndarray, y_name: str, parts: Iterable[Table | None]) -> None:
    """Warn of covariates that can't have been known before the outcome was."""
    columns = {
        name: part.frame[name].to_numpy(dtype=float)
        for part in parts
        if part is not None
        for name in part.names
        if part.schema[name].is_numeric
    }
    for told in giveaways(y, columns):
        warn(
            "post-treatment",
            f"{told.column!r} gives the outcome away: {told.sentence(y_name)}. If it was not known "
            "before the treatment, adjusting for it hides part of the effect: leave it out",
            [told.column],
        )
    for name in near_copies(y, columns):
        warn(
            "post-treatment",
            f"{name!r} tells the outcome {y_name!r} nearly without error. If it was not known "
            "before the treatment, adjusting for it hides the effect: leave it out",
            [name],
        )

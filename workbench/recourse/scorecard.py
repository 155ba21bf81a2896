"""A points table as a model: bins of every feature, their points, and what the total means."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, did_you_mean
from ..core.results import count
from ..core.saving import saveable
from ..tables.gate import as_frame
from ..tables.read import read_table
from .space import Space
from .structure import Tree, Trees

MISSING, OTHER, INTERCEPT = "(missing)", "(other)", "(intercept)"
_COLUMNS = ("feature", "lower", "upper", "level", "points")


@dataclass(frozen=True)
class Bin:
    """One row of a scorecard: a range of numbers, some levels, empty cells, or all other levels.

    Attributes:
        points: What a value in the bin is worth.
        lower, upper: Ends of a range, infinite where open; without levels only.
        levels: Texts of the levels; ``("(missing)",)`` and ``("(other)",)`` have their own meaning.
    """

    points: float
    lower: float = -math.inf
    upper: float = math.inf
    levels: tuple[str, ...] = ()


@saveable
class Scorecard:
    """Points for the bin that each feature falls into; more points make class 1 likelier.

    ``total = intercept + sum_j points_j(bin of x_j)``. Without ``pdo`` the total is the log-odds
    of class 1 (a sum of weights of evidence times coefficients). With it, the total is a scaled
    score: ``log-odds = (total - base_score) * ln 2 / pdo + ln base_odds``, so that the odds double
    every ``pdo`` points.

    A model like any other for :class:`RecourseProblem`: seen as one tree per feature, so that
    methods which read trees know it exactly, as does :func:`reasons`. A number is in the range
    ``lower <= x < upper`` (``closed="left"``) or ``lower < x <= upper`` (``"right"``).

    Args:
        table: Columns ``feature, lower, upper, level, points``, a row per bin. Ranges of a feature
            leave no gap and don't overlap; an empty ``lower`` or ``upper`` is open. ``level`` holds
            a level, several with ``|`` between them, ``(missing)`` for empty cells or ``(other)``
            for every level that is not listed. Instead of ``points`` there may be ``woe`` and
            ``coefficient``, which are multiplied. The feature ``(intercept)`` has points only.
        pdo, base_score, base_odds: The scaling, given together.
        closed: Which end belongs to a range.

    Raises:
        DataError: A gap, an overlap, a level twice, ranges mixed with levels, points that are no
            number; the feature and the row are named.

    References:
        Siddiqi, "Credit Risk Scorecards", Wiley, 2006 (points, odds and points to double them).

    Example:
        >>> card = Scorecard(pd.DataFrame({
        ...     "feature": ["age", "age", "home", "home"], "lower": [None, 30, None, None],
        ...     "upper": [30, None, None, None], "level": ["", "", "owner", "(other)"],
        ...     "points": [10, 35, 25, 5]}), pdo=20, base_score=50, base_odds=1)
        >>> people = pd.DataFrame({"age": [29.0, 30.0], "home": ["rent", "owner"]})
        >>> card.points(people).tolist(), card.predict_proba(people)[:, 1].round(3).tolist()
        ([15.0, 60.0], [0.229, 0.586])
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        pdo: float | None = None,
        base_score: float | None = None,
        base_odds: float | None = None,
        closed: str = "left",
    ):
        if closed not in ("left", "right"):
            raise ParameterError("must be 'left' or 'right'", column="closed", value=closed)
        self.closed, self.pdo = closed, pdo
        self.base_score, self.base_odds = base_score, base_odds
        self._check_scaling()
        self.intercept, self.bins = _read(table)
        for feature, bins in self.bins.items():
            _check(feature, bins)
        self.classes_ = np.array([0, 1])
        self.feature_names_in_ = np.array(list(self.bins), dtype=object)
        self.n_features_in_ = len(self.bins)

    @classmethod
    def read_csv(cls, path: str | Path, **more: Any) -> Scorecard:
        """From a file with the columns of ``table``; other arguments as for the class."""
        return cls(read_table(path), **more)

    def __repr__(self) -> str:
        shown = ", ".join([*self.bins][:6]) + (", ..." if len(self.bins) > 6 else "")
        scale = "points are log-odds" if self.pdo is None else f"odds double every {self.pdo:g}"
        return f"Scorecard({count(sum(map(len, self.bins.values())), 'bin')} of {shown}; {scale})"

    def to_frame(self) -> pd.DataFrame:
        """The table that makes the same scorecard again."""
        rows = [(INTERCEPT, None, None, "", self.intercept)] if self.intercept else []
        for feature, bins in self.bins.items():
            rows += [(feature, _end(b.lower), _end(b.upper), _text(b), b.points) for b in bins]
        frame = pd.DataFrame(rows, columns=list(_COLUMNS))
        return frame.astype({"lower": float, "upper": float, "points": float})

    def to_csv(self, path: str | Path) -> None:
        """Write the table; :meth:`read_csv` reads it back without loss."""
        self.to_frame().to_csv(path, index=False)

    def _state(self) -> dict[str, Any]:
        scaling = {n: getattr(self, n) for n in ("pdo", "base_score", "base_odds", "closed")}
        return {"table": self.to_frame(), **scaling}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Scorecard:
        return cls(**state)

    # -- as a model ------------------------------------------------------------------------

    def breakdown(self, df: pd.DataFrame) -> pd.DataFrame:
        """Points of every person and feature, ``(n, F)``.

        Raises:
            DataError: A missing column, or a value that no bin holds; column and row are named.
        """
        frame, _ = as_frame(df, "people", "x")
        for feature in self.bins:
            if feature not in frame.columns:
                raise DataError(
                    "is on the scorecard and is missing",
                    column=feature,
                    advice=did_you_mean(feature, frame.columns),
                )
        parts = {f: self._of_feature(f, frame[f]) for f in self.bins}
        return pd.DataFrame(parts, index=frame.index, columns=list(self.bins))

    def points(self, df: pd.DataFrame) -> np.ndarray:
        """Total of every person, intercept included, ``(n,)``."""
        return self.breakdown(df).to_numpy().sum(axis=1) + self.intercept

    def decision_function(self, df: pd.DataFrame) -> np.ndarray:
        """Log-odds of class 1, ``(n,)``."""
        slope, offset = self._scaling
        return slope * self.points(df) + offset

    def predict_proba(self, df: pd.DataFrame) -> np.ndarray:
        """Probabilities of classes 0 and 1, ``(n, 2)``."""
        yes = 1.0 / (1.0 + np.exp(-np.clip(self.decision_function(df), -700, 700)))
        return np.stack([1.0 - yes, yes], axis=1)

    def predict(self, df: pd.DataFrame) -> np.ndarray:
        """The likelier class, ``(n,)``."""
        return (self.decision_function(df) > 0).astype(int)

    def as_trees(self, space: Space, index: int) -> Trees:
        """One tree per feature over the codes of ``space``, for the log-odds of a class."""
        slope, offset = self._scaling
        sign = 1.0 if index else -1.0
        trees = tuple(self._tree(f, space, sign * slope) for f in self.bins)
        return Trees(trees, sign * (offset + slope * self.intercept), "logit")

    def probability(self, points: float) -> float:
        """The probability of class 1 at a total, e.g. to state a target in points."""
        slope, offset = self._scaling
        return 1.0 / (1.0 + math.exp(-(slope * points + offset)))

    # -- inside ----------------------------------------------------------------------------

    def _check_scaling(self) -> None:
        given = {"pdo": self.pdo, "base_score": self.base_score, "base_odds": self.base_odds}
        missing = [n for n, v in given.items() if v is None]
        if len(missing) in (1, 2):
            raise ParameterError(
                "is needed with the other two: pdo, base_score and base_odds are given together",
                column=missing[0],
            )
        for name in ("pdo", "base_odds") if not missing else ():
            if not 0 < given[name] < math.inf:
                raise ParameterError("must be positive", column=name, value=given[name])

    @property
    def _scaling(self) -> tuple[float, float]:
        """Slope and offset that turn a total into log-odds."""
        if self.pdo is None:
            return 1.0, 0.0
        slope = math.log(2) / self.pdo
        return slope, math.log(self.base_odds) - slope * self.base_score

    def _of_feature(self, feature: str, column: pd.Series) -> np.ndarray:
        bins, empty = self.bins[feature], column.isna().to_numpy()
        special = {b.levels[0]: b.points for b in bins if b.levels in ((MISSING,), (OTHER,))}
        out = np.full(len(column), special.get(MISSING, np.nan))
        if empty.any() and MISSING not in special:
            raise DataError(
                "has an empty cell and no bin '(missing)'",
                column=feature,
                row=column.index[int(empty.argmax())],
            )
        ranges = [b for b in bins if not b.levels]
        if ranges:
            try:
                numbers = column[~empty].to_numpy(dtype=float)
            except (TypeError, ValueError) as error:
                raise DataError(f"is binned by numbers: {error}", column=feature) from error
            ends = np.array([b.upper for b in ranges[:-1]])
            side = "right" if self.closed == "left" else "left"
            at = np.searchsorted(ends, numbers, side=side)
            out[~empty] = np.array([b.points for b in ranges])[at]
            return out
        worth = {level: b.points for b in bins for level in b.levels}
        texts = column[~empty].map(_plain)
        found = texts.map(worth).to_numpy(dtype=float, copy=True)
        unknown = np.isnan(found)
        if unknown.any() and OTHER not in special:
            i = int(unknown.argmax())
            raise DataError(
                "has a level that no bin holds",
                column=feature,
                row=texts.index[i],
                value=texts.iloc[i],
                advice=did_you_mean(texts.iloc[i], worth) + " A bin '(other)' takes all others.",
            )
        found[unknown] = special.get(OTHER, 0.0)
        out[~empty] = found
        return out

    def _tree(self, feature: str, space: Space, scale: float) -> Tree:
        """The steps of a feature as a chain of nodes: node 2k asks whether bin k holds."""
        j, bins = space.place(feature), self.bins[feature]
        levels = space.features[j].levels if space.discrete[j] else None
        empty = next((b.points for b in bins if b.levels == (MISSING,)), None)
        if levels is None:
            ranges = [b for b in bins if not b.levels]
            if not ranges:
                raise DataError(
                    "has levels on the scorecard and is a number in the schema",
                    column=feature,
                    advice="Make it categorical or ordinal.",
                )
            worth = np.array([b.points for b in ranges])
            ends = np.array([b.upper for b in ranges[:-1]])
            ends = np.nextafter(ends, -np.inf) if self.closed == "left" else ends
            tests: list[Any] = list(ends)
        else:
            values = np.empty(len(levels), dtype=object)
            values[:] = levels
            worth = self._of_feature(feature, pd.Series(values, dtype=object))
            tests = [np.arange(len(levels)) == k for k in range(len(levels) - 1)]
        worth = scale * worth
        if empty is not None:  # an own leaf at the end, which nothing but an empty cell reaches
            worth = np.append(worth, scale * empty)
            tests.append(np.inf if levels is None else np.ones(len(levels), dtype=bool))
        return _chain(j, worth, tests)


def _chain(j: int, worth: np.ndarray, tests: list[Any]) -> Tree:
    """Leaves one after the other: inner nodes 0, 2, ..., each with leaf 2k + 1 on its left."""
    inner = len(tests)
    size = 2 * inner + 1
    left, right = np.full(size, -1), np.full(size, -1)
    threshold, value, tables = np.zeros(size), np.zeros(size), {}
    for k, test in enumerate(tests):
        left[2 * k], right[2 * k], value[2 * k + 1] = 2 * k + 1, 2 * k + 2, worth[k]
        if np.ndim(test):
            tables[2 * k] = test
        else:
            threshold[2 * k] = test
    value[2 * inner] = worth[inner]
    feature, missing = np.full(size, j), np.zeros(size, dtype=bool)
    return Tree(feature, threshold, left, right, value, tables, missing=missing)


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(row: Bin) -> str:
    return "|".join(row.levels)


def _read(table: Any) -> tuple[float, dict[str, tuple[Bin, ...]]]:
    """Intercept and bins by feature, in the order of the table; ranges in increasing order."""
    frame, _ = as_frame(table, "scorecard", "x")
    frame = _with_points(frame.reset_index(drop=True))
    for name in ("feature", "points"):
        if name not in frame.columns:
            raise DataError(
                "is not on the scorecard",
                column=name,
                advice=f"It needs the columns {', '.join(_COLUMNS)}.",
            )
    intercept, found = 0.0, {}
    for row in frame.index:
        cells = {n: frame.at[row, n] if n in frame.columns else None for n in _COLUMNS}
        feature = "" if pd.isna(cells["feature"]) else str(cells["feature"])
        if not feature:
            raise DataError("has no name on the scorecard", column="feature", row=row)
        points = _number(cells["points"], feature, "points", row)
        if points is None:
            raise DataError("has no points", column=feature, row=row)
        low, high = (_number(cells[n], feature, n, row) for n in ("lower", "upper"))
        level = "" if cells["level"] is None or pd.isna(cells["level"]) else _plain(cells["level"])
        if feature == INTERCEPT:
            intercept += points
            continue
        if level and (low is not None or high is not None):
            raise DataError("has a range and a level in one bin", column=feature, row=row)
        ends = (-math.inf if low is None else low, math.inf if high is None else high)
        levels = tuple(level.split("|")) if level else ()
        found.setdefault(feature, []).append(Bin(points, *ends, levels))
    if not found:
        raise DataError("the scorecard has no bins")
    return intercept, {f: tuple(sorted(b, key=_order)) for f, b in found.items()}


def _order(row: Bin) -> tuple:
    return (bool(row.levels), row.lower if not row.levels else 0.0)


def _with_points(frame: pd.DataFrame) -> pd.DataFrame:
    """Points from weights of evidence and coefficients, where these are given instead."""
    if "points" in frame.columns or not {"woe", "feature"} <= set(frame.columns):
        return frame
    if "coefficient" not in frame.columns:
        raise DataError("is needed beside 'woe'", column="coefficient")
    points = []
    for row in frame.index:
        factors = [
            _number(frame.at[row, name], str(frame.at[row, "feature"]), name, row)
            for name in ("woe", "coefficient")
        ]
        # The intercept may carry its number in either column; a bin needs both.
        given = [f for f in factors if f is not None]
        if len(given) < 2 - (str(frame.at[row, "feature"]) == INTERCEPT):
            raise DataError(
                "needs both woe and coefficient", column=str(frame.at[row, "feature"]), row=row
            )
        points.append(math.prod(given))
    return frame.assign(points=points)


def _number(cell: Any, feature: str, column: str, row: Any) -> float | None:
    if cell is None or (isinstance(cell, str) and not cell.strip()) or pd.isna(cell):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError) as error:
        raise DataError(f"{column} is no number", column=feature, row=row, value=cell) from error
    if math.isnan(value) or (column not in ("lower", "upper") and math.isinf(value)):
        raise DataError(f"{column} is no number", column=feature, row=row, value=cell)
    return value


def _plain(level: Any) -> str:
    """A level as text; a whole number that the table turned into a float is whole again."""
    whole = isinstance(level, float | np.floating) and float(level).is_integer()
    return str(int(level)) if whole else str(level)


def _check(feature: str, bins: tuple[Bin, ...]) -> None:
    """Refuse gaps, overlaps, repeated levels and mixtures."""
    ranges = [b for b in bins if not b.levels]
    levels = [text for b in bins for text in b.levels]
    for text in levels:
        if levels.count(text) > 1:
            raise DataError("has a level in two bins", column=feature, value=text)
    if ranges and any(text != MISSING for text in levels):
        bad = next(text for text in levels if text != MISSING)
        raise DataError("mixes ranges and levels", column=feature, value=bad)
    if not ranges:
        return
    for b in ranges:
        if not b.lower < b.upper:
            raise DataError("has an empty range", column=feature, value=(b.lower, b.upper))
    _check_ends(feature, ranges)


def _check_ends(feature: str, ranges: Iterable[Bin]) -> None:
    ranges = list(ranges)
    if ranges[0].lower != -math.inf or ranges[-1].upper != math.inf:
        low = ranges[0].lower != -math.inf
        end = ranges[0].lower if low else ranges[-1].upper
        raise DataError(
            f"has no bin {'below' if low else 'above'} {end:g}",
            column=feature,
            advice=f"Leave {'lower' if low else 'upper'} empty in its {'first' if low else 'last'} "
            "bin.",
        )
    for before, after in zip(ranges, ranges[1:], strict=False):
        if before.upper != after.lower:
            word = "a gap" if before.upper < after.lower else "an overlap"
            ends = sorted((before.upper, after.lower))
            raise DataError(
                f"has {word} between its bins, from {ends[0]:g} to {ends[1]:g}", column=feature
            )

"""Covariates with heavy tails: what their ranks say, beside what their values say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.saving import saveable

_KURTOSIS = 15.0  # excess; an exponential law has 6, one row of 200 that is 8 sd out makes 17
_FEWEST_VALUES = 20  # a rare level is no tail


def with_normal_scores(z: np.ndarray) -> np.ndarray:
    """Columns with heavy tails are joined by the normal scores of their ranks.

    A few rows far out take all of a column's variance, and what is left to tell the others apart
    is shrunk away by any penalty. score = inverse normal of (rank - 1/2) / n, ties on average.

    Args:
        z: Standardised covariates, (n, p).

    Returns:
        ``z`` itself where no column has an excess kurtosis above 15; otherwise (n, p + heavy).
    """
    return NormalScores.fit(z).transform(z)


@saveable
@dataclass(frozen=True, eq=False)
class NormalScores:
    """The same for new rows: values between those seen have ranks between theirs.

    Attributes:
        columns: Positions of the columns with heavy tails.
        values: The values seen in each, increasing.
        scores: Their scores.
    """

    columns: list[int]
    values: list[np.ndarray]
    scores: list[np.ndarray]

    @classmethod
    def fit(cls, z: np.ndarray) -> NormalScores:
        from scipy.special import ndtri
        from scipy.stats import rankdata

        columns = heavy_columns(z)
        values, scores = [], []
        for j in columns:
            seen, first = np.unique(z[:, j], return_index=True)
            values.append(seen)
            scores.append(ndtri((rankdata(z[:, j])[first] - 0.5) / len(z)))
        return cls(columns, values, scores)

    def transform(self, z: np.ndarray) -> np.ndarray:
        """z, or (m, p + heavy)."""
        if not self.columns:
            return z
        found = [
            np.interp(z[:, j], values, scores)
            for j, values, scores in zip(self.columns, self.values, self.scores, strict=True)
        ]
        return np.column_stack([z, *found])


def heavy_columns(z: np.ndarray) -> list[int]:
    """Positions of the columns with an excess kurtosis above 15 and more than 20 values.

    Example:
        >>> z = np.random.default_rng(0).standard_t([30, 1.5], size=(300, 2))
        >>> heavy_columns(z)
        [1]
    """
    return [j for j in range(z.shape[1]) if _is_heavy(z[:, j])]


def _is_heavy(column: np.ndarray) -> bool:
    square = (column - column.mean()) ** 2
    variance = float(square.mean())
    if variance < 1e-12 or float(square @ square) / len(square) <= (_KURTOSIS + 3) * variance**2:
        return False
    return len(np.unique(column)) > _FEWEST_VALUES

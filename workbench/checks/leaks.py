"""Values that give the outcome away: fill-in constants, codes and columns known only afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_SURPRISE = 1e-6  # chance, after counting all values looked at, that purity is an accident


@dataclass(frozen=True)
class Leak:
    """A column whose single values determine the outcome.

    Attributes:
        column: The column.
        message: One sentence with the most frequent such value.
        rows: Mask of the rows whose outcome is given away.
    """

    column: str
    message: str
    rows: np.ndarray


def leaks(clean: dict[str, pd.Series], kinds: dict[str, Any], outcome: str) -> list[Leak]:
    """Columns in which single values determine the outcome, the most telling first.

    A value that appears k times and always with the same outcome level of base rate p has chance
    p^k to do so; it counts when that chance times the number of values looked at is below 1e-6.
    """
    codes = _outcome_codes(clean[outcome])
    if codes is None:
        return []
    columns = [n for n, f in kinds.items() if n != outcome and f.role is None]
    rates = np.bincount(codes[codes >= 0]) / max((codes >= 0).sum(), 1)
    # An empty cell is a value too: it may have been emptied because of the outcome.
    values = {n: pd.factorize(clean[n], use_na_sentinel=False)[0] for n in columns}
    looked_at = sum(int(v.max()) + 1 for v in values.values() if len(v)) or 1
    needed = math.log(looked_at / _SURPRISE)
    found = []
    for name in columns:
        known = (values[name] >= 0) & (codes >= 0)
        if not known.any():
            continue
        counts = _crosstab(values[name][known], codes[known], len(rates))
        total, best = counts.sum(axis=1), counts.argmax(axis=1)
        surprising = total * -np.log(np.clip(rates[best], 1e-300, 1)) > needed
        telling = (counts.max(axis=1) == total) & surprising
        if not telling.any():
            continue
        rows = known & telling[np.maximum(values[name], 0)]
        first = int(np.flatnonzero(telling)[np.argmax(total[telling])])
        value = clean[name].iloc[int(np.argmax(values[name] == first))]
        shown = repr(value) if isinstance(value, str) else f"{value:.6g}"
        shown = "of an empty cell" if pd.isna(value) else shown
        level = clean[outcome].iloc[int(np.argmax(codes == best[first]))]
        message = (
            f"the value {shown} ({total[first]:,} rows) always comes with {outcome!r} = {level}"
        )
        if telling.sum() > 1:
            message += (
                f"; {telling.sum()} such values give it away in {rows.mean():.0%} of the rows"
            )
        found.append(Leak(name, message, rows))
    return sorted(found, key=lambda leak: -leak.rows.sum())


def _outcome_codes(column: pd.Series) -> np.ndarray | None:
    """Levels of the outcome as integers (-1: missing); None for a number on a scale."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy().astype(int)
    if column.nunique() > 10:
        return None
    return pd.factorize(column, sort=True)[0]


def _crosstab(values: np.ndarray, codes: np.ndarray, levels: int) -> np.ndarray:
    size = int(values.max()) + 1
    return np.bincount(values * levels + codes, minlength=size * levels).reshape(size, levels)

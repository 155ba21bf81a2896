"""Tables of plain numbers: checked as a whole, where the gate would go through every column.

Most searches are asked about finite floats without gaps, and on those the checks of
:func:`~workbench.tables.gate.table` cost far more than the search. Here the same conditions are
verified on the whole array at once; a table that misses any of them goes the ordinary way, which
says what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...tables.schema import looks_like_id

# Rows looked at for three distinct values; a column that needs more goes the ordinary way.
_HEAD = 64
_SPREAD = 1e100
# Columns of which one must differ in this share of rows: well above where repeats are told.
_LOOKED_AT, _DISTINCT = 8, 0.97


@dataclass(frozen=True, eq=False)
class PlainTable:
    """Columns of finite floats, none constant, two-valued or of structural role; no repeated rows.

    Attributes:
        names: Columns as in the caller's table; ``x0, x1, ...`` for an array.
        named: Whether the names are the caller's.
        values: ``(n, d)`` centred columns, in an order of magnitude safe to square.
    """

    names: list[str]
    named: bool
    values: np.ndarray


def plain_table(data: Any, min_rows: int) -> PlainTable | None:
    """The table if it is plain, else None."""
    if type(data) is np.ndarray:
        if data.ndim != 2 or data.dtype != np.float64:
            return None
        array, names = data, [f"x{j}" for j in range(data.shape[1])]
    elif type(data) is pd.DataFrame:
        names = list(data.columns)
        texts = all(type(n) is str and n for n in names) and len(set(names)) == len(names)
        if not texts or any(dtype != np.float64 for dtype in data.dtypes):
            return None
        if any(map(looks_like_id, names)):
            return None
        array = data.to_numpy()
    else:
        return None
    if len(array) < min_rows or not array.shape[1]:
        return None
    # A NaN makes both ends NaN, an infinity one of them infinite.
    low, high = array.min(axis=0), array.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        size, spread = np.maximum(np.abs(low), np.abs(high)), high - low
    if not (spread > 4 * np.finfo(float).eps * size).all() or not _three_valued(array[:_HEAD]):
        return None
    if not ((spread < _SPREAD) & (spread > 1 / _SPREAD)).all() or not _mostly_distinct(array):
        return None
    values = array - low
    values -= values.mean(axis=0)
    return PlainTable(names, type(data) is pd.DataFrame, values)


def _mostly_distinct(array: np.ndarray) -> bool:
    """Whether some column shows that nearly all rows differ: none of them can be repeats."""
    for column in array.T[:_LOOKED_AT]:
        ordered = np.sort(column)
        if (ordered[1:] != ordered[:-1]).mean() > _DISTINCT:
            return True
    return False


def _three_valued(head: np.ndarray) -> bool:
    """Whether every column shows three distinct values."""
    other = head != head[0]
    second = head[other.argmax(axis=0), np.arange(head.shape[1])]
    return bool((other & (head != second)).any(axis=0).all())

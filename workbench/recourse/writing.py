"""Recommended values in the caller's own table: only what changes is overwritten."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .space import Space


def write(frame: pd.DataFrame, space: Space, x: np.ndarray, state: np.ndarray) -> pd.DataFrame:
    """A copy of the caller's rows with the cells replaced where ``state`` differs from ``x``.

    A column keeps its type where that can hold the new values.
    """
    changed = (state != x) & ~(np.isnan(state) & np.isnan(x))
    out = frame.copy()
    for j in np.flatnonzero(changed.any(axis=0)):
        name, rows = space.names[j], changed[:, j]
        column = frame[name]
        if space.discrete[j]:
            cells = column.astype(object).to_numpy(copy=True)
            cells[rows] = [space.value(j, c) for c in state[rows, j]]
            new = pd.Series(cells, index=column.index, name=name, dtype=object)
            out[name] = new.astype(column.dtype)
            continue
        numbers = column.to_numpy(dtype=float, na_value=np.nan, copy=True)
        numbers[rows] = state[rows, j]
        new = pd.Series(numbers, index=column.index, name=name)
        whole = pd.api.types.is_integer_dtype(column.dtype)
        full = ~np.isnan(numbers)
        if whole and (numbers[full] == np.rint(numbers[full])).all():
            new = new.astype(column.dtype)
        out[name] = new
    return out

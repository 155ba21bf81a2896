"""An instrument for any odd treatment: what each row was offered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_MOST_ARMS = 5


def offer(t: Any) -> Any:
    """What each row was offered: nine in ten take it, or the dose comes near; labelled as T is."""
    labels = t.index if isinstance(t, pd.DataFrame | pd.Series) else None
    column = pd.Series(np.ravel(np.asarray(t)), dtype=object if labels is None else None)
    if labels is not None:
        column = t.iloc[:, 0] if isinstance(t, pd.DataFrame) else t
    rng = np.random.default_rng(5)
    codes = pd.factorize(column.map(str) if column.dtype == object else column)[0]
    amounts = _amounts(column)
    if amounts is not None and len(np.unique(codes)) > _MOST_ARMS:
        finite = amounts[np.isfinite(amounts)]
        near = 0.2 * (finite / np.abs(finite).max()).std() * np.abs(finite).max()
        # Rows that are alike are offered the same.
        offered = amounts + near * rng.normal(size=codes.max() + 2)[codes]
    else:
        other = rng.integers(0, max(codes.max(initial=0) + 1, 2), len(codes))
        offered = np.where(rng.random(len(codes)) < 0.1, other, codes)
    return offered if labels is None else pd.DataFrame({"offer": offered}, index=labels)


def _amounts(column: pd.Series) -> np.ndarray | None:
    """The treatment as numbers, if it can be read so."""
    try:
        return column.astype(float).to_numpy()
    except (TypeError, ValueError):
        return None

"""Fill-in codes: numbers such as -999 that stand for an empty cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.errors import warn
from ..core.results import number

_CODES = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)


def fill_ins(values: np.ndarray) -> list[tuple[float, int, bool]]:
    """Codes that appear more than once apart from all other values: code, count, and whether it
    lies far from them (else it is the only negative number).

    Example:
        >>> fill_ins(np.array([31.0, 45.0, -999.0, 28.0, -999.0]))
        [(-999.0, 2, True)]
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    low, high = finite.min(), finite.max()
    found = []
    for code in _CODES:
        # Counting is far cheaper than sorting, and most columns hold no code at all.
        times = int(np.count_nonzero(finite == code)) if low <= code <= high else 0
        if times < 2:
            continue
        others = finite[finite != code]
        if not len(others) or others.min() == others.max():
            continue
        width = np.ptp(others)
        far = code < others.min() - width / 4 or code > others.max() + width / 2
        if far or code < 0 <= others.min():
            found.append((code, times, bool(far)))
    return found


def warn_of_fill_ins(columns: Mapping[str, Any]) -> None:
    """Warn of codes far from a column's other values: taken as numbers, they hide the others."""
    for name, column in columns.items():
        for code, times, far in fill_ins(np.asarray(column, dtype=float)):
            if far:
                warn(
                    "fill-in",
                    f"{number(code)} appears {times:,} times in {name!r}, away from its other "
                    "values, and was taken as a number: if it stands for a gap, make it one",
                    [name],
                )

"""What a fitted estimator is asked: one treatment against another, doses, rows to average over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import QuestionError
from ..tables.gate import Table


def scalar(value: Any) -> Any:
    """One side of a contrast as a plain value."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | dict | set | np.ndarray | pd.Series):
        raise QuestionError(
            "a contrast compares two treatments, one value each",
            column="T0, T1",
            value=type(value).__name__,
            advice="Call effect once per contrast.",
        )
    return value


def finite_doses(asked: Any, name: str) -> np.ndarray:
    """At least one finite dose, in the shape they were asked in.

    Args:
        asked: Numbers.
        name: The column or parameter for messages.
    """
    try:
        doses = np.asarray(asked, dtype=float)
    except (TypeError, ValueError):
        raise QuestionError("must hold numbers, one per dose", column=name, value=asked) from None
    if not doses.size:
        raise QuestionError("needs at least one dose, 0 were given", column=name)
    bad = ~np.isfinite(doses)
    if bad.any():
        raise QuestionError("must hold finite doses", column=name, value=float(doses[bad][0]))
    return doses


def doses_at(asked: Any, name: str, rows: int | None) -> np.ndarray:
    """One finite dose or one per row, (1,) or (rows,); any number of them if ``rows`` is None."""
    doses = finite_doses(asked, name).reshape(-1)
    if rows is not None and len(doses) not in (1, rows):
        raise QuestionError(
            f"needs one dose or one per row ({rows}), {len(doses)} were given", column=name
        )
    return doses


def refuse_nobody(x: Table | None) -> None:
    """An average needs rows to be taken over."""
    if x is not None and not len(x):
        raise QuestionError(
            "has 0 rows to average over",
            column="X",
            advice="Pass at least one row, or leave X out for the rows that were fitted.",
        )

"""What a fitted estimator is asked: one treatment against another, doses, rows to average over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import ParameterError, QuestionError
from ..tables.gate import Table

if TYPE_CHECKING:
    from .base import EffectEstimator


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


def better_is(maximise: Any) -> float:
    """1 if more of the outcome is better, -1 if less is; a text would count as true."""
    if not isinstance(maximise, bool | np.bool_):
        raise ParameterError("must be True or False", column="maximise", value=maximise)
    return 1.0 if maximise else -1.0


def finite_doses(asked: Any, name: str) -> np.ndarray:
    """At least one finite dose, in the shape they were asked in.

    Args:
        asked: Numbers.
        name: The column or parameter for messages.
    """
    try:
        doses = np.asarray(asked, dtype=float)
    except (TypeError, ValueError):
        given = "a table" if isinstance(asked, pd.DataFrame) else asked
        raise QuestionError("must hold numbers, one per dose", column=name, value=given) from None
    if not doses.size:
        raise QuestionError("needs at least one dose, 0 were given", column=name)
    bad = ~np.isfinite(doses)
    if bad.any():
        raise QuestionError("must hold finite doses", column=name, value=float(doses[bad][0]))
    return doses


def doses_of_rows(fitted: EffectEstimator, T: Any, X: Any, m: int | None) -> np.ndarray:
    """One finite dose for all or one per row, (1,) or (m,); any number of them for m = None.

    Doses outside the observed range are marked.

    Args:
        fitted: Whose doses they are.
        T: What was given; labelled doses are put in the order of the rows.
        X: The rows asked for, or None for those fitted.
        m: Their number.

    Raises:
        QuestionError: Another number of doses, or other labels than the rows have.
    """
    doses = finite_doses(in_order_of(T, X, fitted), fitted.t_name_).reshape(-1)
    if m is not None and len(doses) not in (1, m):
        raise QuestionError(
            f"needs one dose or one per row ({m}), {len(doses)} were given", column=fitted.t_name_
        )
    fitted._mark_extrapolation(float(doses.min()), float(doses.max()))
    return doses


def in_order_of(T: Any, X: Any, fitted: EffectEstimator) -> Any:
    """Labelled doses in the order of the rows of X, or (None) of those fitted; others as given."""
    if X is None:
        rows = fitted.x_ if fitted.labelled_ else None
    else:
        rows = X if isinstance(X, pd.DataFrame) else None
    if not isinstance(T, pd.Series | pd.DataFrame) or rows is None or len(T) == 1:
        return T
    if T.index.equals(rows.index):
        return T
    if len(T) != len(rows) or not rows.index.is_unique or set(T.index) != set(rows.index):
        raise QuestionError(
            "has other row labels than X",
            column=fitted.t_name_,
            advice="Take T and X from the same rows, or pass T as an array.",
        )
    return T.loc[rows.index]


def refuse_nobody(x: Table | None) -> None:
    """An average needs rows to be taken over."""
    if x is not None and not len(x):
        raise QuestionError(
            "has 0 rows to average over",
            column="X",
            advice="Pass at least one row, or leave X out for the rows that were fitted.",
        )

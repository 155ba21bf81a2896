"""Doses of a question: finite numbers, in the order of the rows they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import QuestionError

if TYPE_CHECKING:
    from .base import EffectEstimator


def finite_doses(given: Any, column: str) -> np.ndarray:
    """Doses as numbers, in the shape they came.

    Raises:
        QuestionError: They are no numbers, or not finite.
    """
    try:
        doses = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise QuestionError(
            "must hold numbers, one per dose", column=column, value=type(given).__name__
        ) from error
    if not np.isfinite(doses).all():
        raise QuestionError("must hold finite doses", column=column, value=given)
    return doses


def doses_of_rows(fitted: EffectEstimator, T: Any, X: Any, m: int) -> np.ndarray:
    """One dose for all, or one per row, (1,) or (m,); any number where there are no modifiers.

    Doses outside the observed range are marked.

    Args:
        fitted: Whose doses they are.
        T: What was given; labelled doses are put in the order of the rows.
        X: The rows asked for, or None for those fitted.
        m: Their number.

    Raises:
        QuestionError: Another number of doses, or other labels than the rows have.
    """
    doses = finite_doses(in_order_of(T, X, fitted), "T").reshape(-1)
    if not len(doses) or (fitted.x_ is not None and len(doses) not in (1, m)):
        raise QuestionError(
            f"needs one finite dose or one per row, ({m},)",
            column=fitted.t_name_,
            value=np.shape(T),
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

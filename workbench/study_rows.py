"""Which rows a question is about, and what they are to reach: the words that a study accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .core.errors import QuestionError, did_you_mean
from .tables import condition


def choose_rows(df: pd.DataFrame, rows: Any) -> pd.DataFrame:
    """Rows given as a table of their own, a condition, a mask or labels.

    Raises:
        QuestionError: No row fulfils the condition, or a label that is none.
    """
    if isinstance(rows, pd.DataFrame):
        return rows
    if isinstance(rows, str):
        chosen = df[condition.rows(df, rows)]
        if not len(chosen):
            raise QuestionError("no row fulfils the condition", value=rows)
        return chosen
    labels = list(rows)
    if len(labels) == len(df) and all(isinstance(v, bool | np.bool_) for v in labels):
        return df[np.asarray(labels, dtype=bool)]
    for label in labels:
        if label not in df.index:
            raise QuestionError(
                "is not the label of a row",
                value=label,
                advice=did_you_mean(label, df.index[:1000]),
            )
    return df.loc[labels]


def read_target(target: Any, columns: Iterable[str]) -> tuple[str, dict[str, float]]:
    """``"progression < 150"`` -> ("progression", {"below": 150.0}).

    Raises:
        QuestionError: Not one condition that orders a column by a number.
    """
    if not isinstance(target, str):
        raise QuestionError(
            "the target in the world is a condition, e.g. 'progression < 150'", value=target
        )
    parts = condition.parse(target, columns)
    if len(parts) != 1 or parts[0].operator not in ("<", "<=", ">", ">="):
        raise QuestionError("the target must be one condition with <, <=, > or >=", value=target)
    if isinstance(parts[0].value, bool | str):
        raise QuestionError("the target's threshold must be a number", value=target)
    side = "below" if parts[0].operator.startswith("<") else "above"
    return parts[0].column, {side: float(parts[0].value)}


def is_label(window: Any, df: pd.DataFrame) -> bool:
    """Whether a window is the label of one row."""
    return pd.api.types.is_hashable(window) and window in df.index


def as_plain(window: Any) -> Any:
    """Labels as a list, as a study file holds them."""
    if isinstance(window, str) or not isinstance(window, Iterable):
        return window
    return list(window)

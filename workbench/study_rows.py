"""Which rows a question is about, and what they are to reach: the words that a study accepts."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from .core.errors import ParameterError, QuestionError, did_you_mean
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
    if not isinstance(rows, Iterable):
        rows = [rows]
    labels = np.asarray(rows).tolist() if isinstance(rows, np.ndarray) else list(rows)
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


def read_target(target: Any, df: pd.DataFrame) -> tuple[str, dict[str, float]]:
    """``"progression < 150"`` -> ("progression", {"below": 150.0}).

    Raises:
        QuestionError: Not one condition that orders a column of numbers by a number.
    """
    if not isinstance(target, str):
        raise QuestionError(
            "the target in the world is a condition, e.g. 'progression < 150'", value=target
        )
    parts = condition.parse(target, df.columns)
    name = parts[0].column
    if not pd.api.types.is_numeric_dtype(df[name].dtype):
        raise QuestionError(
            "has levels; a plan in the world needs a number to move",
            column=name,
            advice="Code it as 0 and 1, or ask about a model's decision with model=.",
        )
    if len(parts) != 1 or parts[0].operator not in ("<", "<=", ">", ">="):
        raise QuestionError("the target must be one condition with <, <=, > or >=", value=target)
    if isinstance(parts[0].value, bool | str):
        raise QuestionError("the target's threshold must be a number", value=target)
    side = "below" if parts[0].operator.startswith("<") else "above"
    return name, {side: float(parts[0].value)}


def named_method(method: Any, room: str) -> Any:
    """A method given by the name of its class, as an instance with its defaults."""
    if not isinstance(method, str):
        return method
    package = import_module(f"workbench.{room}")
    classes = {n: getattr(package, n) for n in package.__all__}
    known = {n.casefold(): n for n, c in classes.items() if hasattr(c, "get_params")}
    known = {k: n for k, n in known.items() if n not in ("Diagnoser", "RecourseMethod")}
    name = known.get(method.casefold())
    if name is None:
        raise ParameterError(
            f"is not a method of {room}",
            column="method",
            value=method,
            advice=did_you_mean(method, known.values()),
        )
    return getattr(package, name)()


def is_label(window: Any, df: pd.DataFrame) -> bool:
    """Whether a window is the label of one row."""
    return pd.api.types.is_hashable(window) and window in df.index and not isinstance(window, bool)


def as_plain(value: Any) -> Any:
    """A value as a study file holds it: numpy's scalars and containers become plain ones."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | set | np.ndarray | pd.Index | pd.Series):
        return [as_plain(v) for v in value]
    return value

"""What really happened to the rows that a model knows: the labels that recourse is judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, warn
from .problem import RecourseProblem


def favourable(problem: RecourseProblem, labels: Any) -> np.ndarray:
    """Which rows of the problem's data had the wished outcome, ``(n,)`` bool.

    Args:
        problem: A problem with ``data``.
        labels: See :meth:`Acceptance.fit`.
    """
    if problem.data is None or not len(problem.data):
        raise ParameterError(
            "this method needs rows the model knows",
            column="data",
            advice="Pass data= to the problem.",
        )
    if labels is None:
        return problem.accepts(problem.scores)
    values = pd.Series(labels) if not isinstance(labels, pd.Series) else labels
    if isinstance(labels, pd.Series):
        missing = ~problem.rows.isin(values.index)
        if missing.any():
            raise DataError(
                "has no entry for a row of data", column="labels", row=problem.rows[missing][0]
            )
        if not values.index.is_unique:
            raise DataError(
                "has a repeated index",
                column="labels",
                row=values.index[values.index.duplicated()][0],
            )
        values = values.loc[problem.rows]
    elif len(values) != len(problem.data):
        raise DataError(
            f"has {len(values)} entries for {len(problem.data)} full rows of data",
            column="labels",
            advice="Give a Series with the index of the data.",
        )
    if values.isna().any():
        raise DataError("is empty", column="labels", row=problem.rows[values.isna().to_numpy()][0])
    classes = getattr(problem.model, "classes_", None)
    wished = 1 if classes is None else classes[problem.view.index]
    return values.to_numpy() == wished


def warn_of_own_labels() -> None:
    """Say that the model's decisions stood in for outcomes."""
    warn(
        "no-labels",
        "no outcomes were given, so the model's own decisions stand in for them: the plans are "
        "only as right as the model",
    )

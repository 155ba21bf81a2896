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
    good = _wished(problem, values)
    accepted = problem.accepts(problem.scores)
    if 0 < accepted.sum() < len(good) and good[accepted].mean() < good[~accepted].mean():
        warn(
            "labels-disagree",
            f"rows that the model accepts had the wished outcome less often "
            f"({good[accepted].mean():.0%}) than those it declines ({good[~accepted].mean():.0%}): "
            f"are labels and target ({problem.describe_target()}) the same way round?",
        )
    return good


def _wished(problem: RecourseProblem, values: pd.Series) -> np.ndarray:
    """Which labels are the wished outcome: a class of the model, or true."""
    classes, flags = getattr(problem.model, "classes_", None), pd.api.types.is_bool_dtype(values)
    known = [0, 1] if classes is None else np.asarray(classes).tolist()
    unknown = ~values.isin([False, True] if flags else known).to_numpy()
    if unknown.any():
        at, words = int(unknown.argmax()), [repr(k) for k in known]
        raise DataError(
            "is no class of the model, nor true or false",
            column="labels",
            row=problem.rows[at],
            value=values.iloc[at],
            advice=f"Known: {', '.join(words[:8])}.",
        )
    at_least = problem.target.direction == "above"
    if classes is None or (flags and not all(isinstance(k, bool) for k in known)):
        return values.to_numpy() == 1
    return (values.to_numpy() == classes[problem.view.index]) == at_least


def limits(problem: RecourseProblem) -> str:
    """The limits that a row of the data must keep to be within a person's reach, as text."""
    named = {"max_changes": problem.max_changes, "budget": problem.budget}
    given = [f"{name}={value:g}" for name, value in named.items() if value is not None]
    return f" within {' and '.join(given)}" if given else ""


def warn_of_own_labels() -> None:
    """Say that the model's decisions stood in for outcomes."""
    warn(
        "no-labels",
        "no outcomes were given, so the model's own decisions stand in for them: the plans are "
        "only as right as the model",
    )

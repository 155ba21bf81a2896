"""What really happened to the rows that a model knows: the labels that recourse is judged by."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, warn
from .problem import RecourseProblem

_CONTRARY = 4.0  # standard errors


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
    good = _wished(problem, values.astype(object))
    _warn_of_contrary(problem, good)
    return good


def _wished(problem: RecourseProblem, values: pd.Series) -> np.ndarray:
    """Which labels are the outcome that the target asks for: true, or a class of the model."""
    own = getattr(problem.model, "classes_", None)
    classes = [0, 1] if own is None else np.asarray(own).tolist()
    truths = bool, np.bool_
    if not all(isinstance(c, truths) for c in classes):
        if values.map(lambda v: isinstance(v, truths)).all():
            return values.to_numpy(dtype=bool)
    known = values.isin(classes)
    if not known.all():
        i = int((~known).to_numpy().argmax())
        shown = ", ".join(map(repr, classes[:8]))
        raise DataError(
            "is neither true or false nor a class of the model",
            column="labels",
            row=problem.rows[i],
            value=values.iloc[i],
            advice=f"The classes are {shown}." if own is not None else "Use true and false.",
        )
    if own is None and not problem.view.is_probability:
        return (values == 1).to_numpy(dtype=bool)
    # Where the class's probability must fall, the other classes are what is wished for.
    asked = (values == classes[problem.view.index]).to_numpy(dtype=bool)
    return asked if problem.target.sign > 0 else ~asked


def _warn_of_contrary(problem: RecourseProblem, good: np.ndarray) -> None:
    """Labels that are favourable where the model says no are probably the wrong way round."""
    accepted = problem.accepts(problem.scores)
    n, m = int(accepted.sum()), int((~accepted).sum())
    if not n or not m:
        return
    yes, no, share = good[accepted].mean(), good[~accepted].mean(), good.mean()
    if no - yes > _CONTRARY * np.sqrt(share * (1 - share) * (1 / n + 1 / m)):
        warn(
            "contrary-labels",
            f"outcomes are favourable for {yes:.0%} of the rows that the model accepts and for "
            f"{no:.0%} of the others: labels may be the wrong way round",
            ["labels"],
        )


def unlimited(problem: RecourseProblem) -> RecourseProblem:
    """The same question without ``max_changes`` and ``budget``.

    Rows of the data keep neither: with many numbers nobody is within a few changes of another.
    """
    other = copy.copy(problem)
    other.max_changes = other.budget = None
    return other


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

"""Nearest accepted neighbour: recourse without training, the baseline every method must beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.errors import ParameterError
from ..core.saving import saveable
from .method import Actions, RecourseMethod, Status
from .outcomes import favourable
from .problem import RecourseProblem

_CELLS = 2_000_000


@saveable
class NearestTarget(RecourseMethod):
    """Recommend the cheapest row of the data that the model accepts and the person may become.

    For a person x: argmin of cost(x, z) over rows z with score(z) beyond the threshold by
    ``margin``, that x can reach under the schema's constraints. With a causal model the person
    sets the actionable features to the row's values and the rest follows.

    Fitted with ``labels``, only rows whose outcome was favourable count.

    Plausible by construction (z is a real row) and hard to invalidate (z is rarely on the
    boundary), but it changes many features, reveals rows of the data, and finds nothing for people
    whose unchangeable features nobody shares. Prefer :class:`ExactRecourse` for linear
    models, trees and small ReLU networks.

    Args:
        margin: Required distance of the score from the threshold, in the score's unit.
        candidates: Rows tried per person, cheapest first, when a change must be verified with the
            model (through a causal model, where the result is not the row itself).

    References:
        Wexler et al., "The What-If Tool", IEEE TVCG 26(1), 2020 (nearest counterfactual).

    Example:
        >>> import pandas as pd
        >>> from workbench.recourse import RecourseProblem
        >>> df = pd.DataFrame({"hours": [1.0, 2.0, 6.0, 9.0], "late": [3.0, 1.0, 1.0, 3.0]})
        >>> problem = RecourseProblem(lambda d: d["hours"], data=df, target={"above": 5})
        >>> plan = NearestTarget().fit(problem).recommend(df)
        >>> plan.to_frame()["hours"].tolist()
        [9.0, 6.0, 6.0, 9.0]
    """

    def __init__(self, margin: float = 0.0, candidates: int = 20):
        self.margin = margin
        self.candidates = candidates

    _learns_from_labels = True

    def _fit(self, problem: RecourseProblem, labels: Any) -> None:
        if problem.data is None:
            raise ParameterError(
                "NearestTarget needs rows the model knows",
                column="data",
                advice="Pass data= to the problem.",
            )
        if not self.margin >= 0:
            raise ParameterError("must not be negative", column="margin", value=self.margin)
        self._require_at_least(candidates=1)
        accepted = problem.accepts(problem.scores)
        accepted &= problem.target.margin(problem.scores) >= self.margin
        if labels is not None:
            accepted &= favourable(problem, labels)
        self.targets_ = np.unique(problem.data[accepted], axis=0)  # (m, F)

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        problem, n, width = self.problem_, *x.shape
        if not len(self.targets_):
            why = "no row of the data is accepted"
            return Actions(np.zeros((n, width), bool), x, Status.where(np.zeros(n), why))
        keep = 1 if problem.world is None else min(self.candidates, len(self.targets_))
        nearest, cost = np.empty((n, keep), dtype=int), np.empty((n, keep))
        chunk = max(_CELLS // (len(self.targets_) * width), 1)
        for start in range(0, n, chunk):
            part = slice(start, start + chunk)
            distance = becoming(problem, x[part], self.targets_)
            nearest[part] = np.argsort(distance, axis=1, kind="stable")[:, :keep]
            cost[part] = np.take_along_axis(distance, nearest[part], axis=1)
        values = np.where(problem.movable, self.targets_[nearest], x[:, None, :])
        return Actions(
            mask=(values != x[:, None, :]) & problem.movable,
            values=values,
            status=Status.where(
                np.isfinite(cost[:, 0]), "no accepted row of the data can be reached"
            ),
        )


def becoming(
    problem: RecourseProblem, x: np.ndarray, targets: np.ndarray, kept: np.ndarray | None = None
) -> np.ndarray:
    """Cost for each person to become each target, ``(n, m)``; infinite where that is forbidden.

    Args:
        problem, x: Whose question, and the codes ``(n, F)`` of people.
        targets: Codes ``(m, F)``.
        kept: ``(F,)``, features in which the person stays as today, so that the state is not the
            target itself and couplings are not asked. All that can't be acted on with a causal
            model, none without, by default.
    """
    if kept is None:
        kept = ~problem.movable & (problem.world is not None)
    cost = problem.cost(x[:, None, :], ~kept, targets)
    cost[~reachable(problem, x, targets, kept)] = np.inf
    if problem.world is None and not kept.any():
        cost[:, ~problem.couplings.hold(targets, problem.cost.scale)] = np.inf
    return affordable(problem, cost)


def reachable(
    problem: RecourseProblem, x: np.ndarray, targets: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Whether directions, ranges and the number of changes let people become targets, ``(n, m)``.

    What is ``kept`` ``(F,)`` is not asked. Through a causal model changes can't be counted yet.
    """
    low, high = problem.reach(x)
    good = np.ones((len(x), len(targets)), dtype=bool)
    counted = problem.max_changes is not None and problem.world is None
    changes = np.zeros(good.shape, dtype=int) if counted else None
    # Feature by feature: a table of people by targets by features would be many times as large.
    for j in np.flatnonzero(~kept) if len(targets) else ():
        column = targets[:, j]
        if (low[:, j] > column.min()).any():
            good &= low[:, j, None] <= column
        if (high[:, j] < column.max()).any():
            good &= high[:, j, None] >= column
        if counted:
            changes += x[:, j, None] != column
    return good & (changes <= problem.max_changes) if counted else good


def affordable(problem: RecourseProblem, cost: np.ndarray) -> np.ndarray:
    """Costs of becoming targets, infinite over budget; with a causal model not known yet."""
    if problem.budget is not None and problem.world is None:
        cost[cost > problem.budget * (1 + 1e-9)] = np.inf
    return cost

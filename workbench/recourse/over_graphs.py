"""Advice under one or several causal models: the plan that works in most of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ..core.errors import ParameterError, QuestionError, recording, warn
from .exact import ExactRecourse
from .growing_spheres import GrowingSpheres
from .method import FOUND, RecourseMethod
from .problem import RecourseProblem
from .recommendations import Recommendations
from .wachter import Wachter

_SLOPED = ("linear", "relu", "differentiable")


def recommend_over_graphs(
    problems: Sequence[tuple[RecourseProblem, float]],
    people: pd.DataFrame,
    method: RecourseMethod | None = None,
) -> Recommendations:
    """Solve every problem, and give each person the plan that works under most of them.

    Ties go to the cheaper plan. ``validity`` is the share of the weight under which the plan
    reaches the target and respects the constraints.

    Args:
        problems: The same question under several causal models, with weights; one is fine.
        people: The rows.
        method: How to search; by default exact where the structure permits it, else gradients,
            else growing spheres.
    """
    plans = []
    for problem, _ in problems:
        solver = _default(problem) if method is None else _copy(method).fit(problem)
        plans.append(solver.recommend(people))
    if len(problems) == 1:
        return plans[0]
    weights = np.array([w for _, w in problems]) / sum(w for _, w in problems)
    with recording() as notes:
        share = np.array([_shares(plan, problems, weights, people) for plan in plans])
        cost = np.array([plan.outcomes["cost"].fillna(np.inf) for plan in plans])
        # Lexicographic: largest share (to rounding), then least cost, then first graph.
        order = np.lexsort((cost, -np.round(share, 9)), axis=0)
        picks = order[0]
        combined = _combine(plans, picks, share[picks, np.arange(len(people))], len(problems))
        found = (combined.status == FOUND).to_numpy()
        unsure = int((combined.outcomes["validity"].to_numpy()[found] < 0.999).sum())
        if unsure:
            warn(
                "graph-uncertainty",
                f"the plan of {unsure} of {int(found.sum())} people works under some of the "
                f"{len(problems)} graphs only; validity says in which share",
            )
    return replace(combined, warnings=tuple(dict.fromkeys((*combined.warnings, *notes))))


def _shares(
    plan: Recommendations,
    problems: Sequence[tuple[RecourseProblem, float]],
    weights: np.ndarray,
    people: pd.DataFrame,
) -> np.ndarray:
    """Share of the problems under which each person's plan works."""
    total = np.zeros(len(plan))
    asked = np.flatnonzero((plan.status == FOUND).to_numpy())
    if len(asked):
        for (problem, _), weight in zip(problems, weights, strict=True):
            names = problem.space.names
            x = problem.space.codes(people.iloc[asked])
            mask = plan.acted[list(names)].to_numpy()[asked]
            values = np.where(mask, problem.space.codes(plan.recommended.iloc[asked]), x)
            total[asked] += weight * problem.validity(x, mask, values)[0]
    total[(plan.status == "already accepted").to_numpy()] = 1.0
    return total


def _combine(
    plans: Sequence[Recommendations], picks: np.ndarray, share: np.ndarray, graphs: int
) -> Recommendations:
    def gather(name: str) -> pd.DataFrame:
        parts = [getattr(plan, name).iloc[[i]] for i, plan in _chosen(plans, picks)]
        return pd.concat(parts) if parts else getattr(plans[0], name)

    outcomes = gather("outcomes").assign(validity=share, bound=np.nan, gap=np.nan)
    return replace(
        plans[0],
        recommended=gather("recommended"),
        outcomes=outcomes,
        acted=gather("acted").reset_index(drop=True),
        changed=gather("changed").reset_index(drop=True),
        method=f"{plans[0].method} under {graphs} graphs",
        warnings=tuple(dict.fromkeys(w for plan in plans for w in plan.warnings)),
    )


def _chosen(
    plans: Sequence[Recommendations], picks: np.ndarray
) -> list[tuple[int, Recommendations]]:
    return [(i, plans[k]) for i, k in enumerate(picks)]


def _default(problem: RecourseProblem) -> RecourseMethod:
    """Exact where the structure permits; gradients where there are slopes; else spheres."""
    try:
        return ExactRecourse().fit(problem)
    except (QuestionError, ParameterError):
        sloped = problem.world is not None or problem.view.structure in _SLOPED
        # A level has no slope to follow.
        sloped &= not (problem.movable & problem.space.discrete).any()
        return (Wachter() if sloped else GrowingSpheres()).fit(problem)


def _copy(method: RecourseMethod) -> RecourseMethod:
    return type(method)(**method.get_params(deep=False))

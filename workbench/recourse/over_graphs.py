"""Advice under several causal models: the plan that works in most of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import ParameterError, QuestionError, merged, recording, warn
from ..graph.causal_graph import CausalGraph
from .exact import ExactRecourse
from .growing_spheres import GrowingSpheres
from .method import ACCEPTED, FOUND, RecourseMethod
from .problem import RecourseProblem
from .recommendations import Recommendations
from .wachter import Wachter

_SLOPED = ("linear", "relu", "differentiable")
_ROWS = 20_000  # actions tried at once


@dataclass(frozen=True)
class _World:
    """DAGs under which every action has the same consequences."""

    problem: RecourseProblem
    plan: Recommendations
    weight: float
    graphs: int


def recommend(
    problem: RecourseProblem,
    people: pd.DataFrame,
    method: RecourseMethod | None = None,
    progress: bool = True,
) -> Recommendations:
    """Solve one problem.

    Args:
        problem: The question.
        people: The rows.
        method: How to search; by default exact where the structure permits it, else gradients,
            else growing spheres.
        progress: Show a bar when it takes more than two seconds.
    """
    solver = _default(problem) if method is None else _copy(method).fit(problem)
    return solver.recommend(people, progress=progress)


def recommend_over_graphs(
    pose: Callable[[CausalGraph], RecourseProblem],
    dags: Sequence[tuple[CausalGraph, float]],
    people: pd.DataFrame,
    method: RecourseMethod | None = None,
) -> Recommendations:
    """Solve the problem under every DAG, and give each person the plan that works in most of them.

    ``validity`` is the share of the weight under which that plan reaches the target and respects
    the constraints; ``agreement`` the share of those whose own answer has the same status and acts
    on the same features in the same direction (to the same level). Ties go to the cheaper plan.
    ``by_graph`` has every graph's own answer. DAGs that differ only where no action is felt are
    solved once.

    Args:
        pose: The problem in the world of a DAG.
        dags: Pairs of a DAG and its weight, all on the same nodes.
        people: The rows.
        method: As in :func:`recommend`.
    """
    groups: dict[frozenset, list] = {}
    first = pose(dags[0][0])
    acted = [n for n, m in zip(first.space.names, first.movable, strict=True) if m]
    total = sum(weight for _, weight in dags)
    for dag, weight in dags:
        found = groups.setdefault(_felt(dag, acted), [dag, 0.0, 0])
        found[1] += weight / total
        found[2] += 1
    worlds = []
    ranked = sorted(groups.values(), key=lambda g: -round(g[1], 9))
    for dag, weight, graphs in tqdm(ranked, desc="graphs", delay=2, leave=False):
        problem = first if dag is dags[0][0] else pose(dag)
        plan = recommend(problem, people, method, progress=False)
        worlds.append(_World(problem, plan, weight, graphs))
    return _combined(worlds, people)


def _felt(dag: CausalGraph, acted: Sequence[str]) -> frozenset[tuple[str, tuple[str, ...]]]:
    """The mechanisms through which actions are felt: each node downstream, with its parents."""
    below = frozenset().union(*(dag.descendants(n) for n in acted))
    return frozenset((n, tuple(sorted(dag.parents(n)))) for n in below)


def _combined(worlds: Sequence[_World], people: pd.DataFrame) -> Recommendations:
    plans = [w.plan for w in worlds]
    weights, every = np.array([w.weight for w in worlds]), np.arange(len(people))
    works = _works(worlds, people)  # (plan, world, person)
    share = np.einsum("pwn,w->pn", works, weights)
    cost = np.array([plan.outcomes["cost"].fillna(np.inf) for plan in plans])
    # Lexicographic: largest share (to rounding), then least cost, then the weightiest world.
    picks = np.lexsort((cost, -np.round(share, 9)), axis=0)[0]
    gist = np.array([_gist(w, people) for w in worlds])  # (world, person)
    same = gist == gist[picks, every]
    chosen = _gathered(plans, picks)
    outcomes = chosen.outcomes.assign(validity=share[picks, every], agreement=weights @ same)
    if len(worlds) > 1:  # what one graph proves, the others don't
        outcomes = outcomes.assign(bound=np.nan, gap=np.nan)
    graphs = sum(w.graphs for w in worlds)
    with recording() as notes:
        found = (outcomes["status"] == FOUND).to_numpy()
        unsure = int((outcomes["validity"].to_numpy()[found] < 0.999).sum())
        if unsure:
            warn(
                "graph-uncertainty",
                f"the plan of {unsure} of {int(found.sum())} people works under some of the "
                f"{graphs} graphs only; validity says in which share",
            )
    known = tuple(w for plan in plans for w in plan.warnings)
    return replace(
        chosen,
        outcomes=outcomes,
        method=f"{chosen.method} under {graphs} graphs",
        by_graph=_by_graph(worlds, gist, works[picks, :, every].T, same),
        warnings=merged((*known, *notes)),
    )


def _works(worlds: Sequence[_World], people: pd.DataFrame) -> np.ndarray:
    """How surely the plan made in each world works in each world, ``(plan, world, person)``."""
    space = worlds[0].problem.space  # the same in every world: features sorted by name
    x = space.codes(people)
    out = np.zeros((len(worlds), len(worlds), len(people)))
    whose, actions = [], []
    for k, plan in enumerate(w.plan for w in worlds):
        out[k][:, (plan.status == ACCEPTED).to_numpy()] = 1.0
        asked = np.flatnonzero((plan.status == FOUND).to_numpy())
        if len(asked):
            mask = plan.acted[space.names].to_numpy()[asked]
            values = np.where(mask, space.codes(plan.recommended.iloc[asked]), x[asked])
            whose.append(np.column_stack([np.full(len(asked), k), asked]))
            actions.append(np.column_stack([asked, mask, values]))
    if not whose:
        return out
    # A person often gets the same plan in many worlds.
    tried, which = np.unique(np.concatenate(actions), axis=0, return_inverse=True)
    (plan, person), which = np.concatenate(whose).T, which.reshape(-1)
    of, mask, values = tried[:, 0].astype(int), *np.split(tried[:, 1:], 2, axis=1)
    parts = np.array_split(np.arange(len(of)), -(-len(of) // _ROWS))
    for w, world in enumerate(worlds):
        works = [world.problem.validity(x[of[i]], mask[i] > 0, values[i])[0] for i in parts]
        out[plan, w, person] = np.concatenate(works)[which]
    return out


def _gist(world: _World, people: pd.DataFrame) -> np.ndarray:
    """What each person is told in one world, without amounts, ``(n,)`` texts."""
    plan, space = world.plan, world.problem.space
    mask = plan.acted[space.names].to_numpy()
    before, after = space.codes(people), space.codes(plan.recommended)
    words = []
    for i, status in enumerate(plan.status):
        told = [] if status == FOUND else [status]
        for j in np.flatnonzero(mask[i]) if status == FOUND else ():
            name, move = space.names[j], after[i, j] - before[i, j]
            verb = "hold" if move == 0 else "raise" if move > 0 else "lower"
            if move and not space.ordered[j]:
                name, verb = f"{name} to {plan.recommended[name].iloc[i]}", "change"
            told.append(f"{verb} {name}")
        words.append(", ".join(sorted(told)))
    return np.array(words, dtype=object)


def _by_graph(
    worlds: Sequence[_World], gist: np.ndarray, works: np.ndarray, same: np.ndarray
) -> pd.DataFrame:
    """One row per person and world: people in order, worlds by falling weight."""
    outcomes = [w.plan.outcomes for w in worlds]
    people = len(outcomes[0])
    return pd.DataFrame(
        {
            "person": np.repeat(outcomes[0].index.to_numpy(), len(worlds)),
            "weight": np.tile([w.weight for w in worlds], people),
            "graphs": np.tile([w.graphs for w in worlds], people),
            "status": np.array([o["status"] for o in outcomes], dtype=object).T.ravel(),
            "plan": gist.T.ravel(),
            "cost": np.array([o["cost"] for o in outcomes]).T.ravel(),
            "works": works.T.ravel(),
            "agrees": same.T.ravel(),
        }
    )


def _gathered(plans: Sequence[Recommendations], picks: np.ndarray) -> Recommendations:
    """Each person's row of the plan picked for them."""

    def gather(name: str) -> pd.DataFrame:
        parts = [getattr(plans[k], name).iloc[[i]] for i, k in enumerate(picks)]
        return pd.concat(parts) if parts else getattr(plans[0], name)

    return replace(
        plans[0],
        recommended=gather("recommended"),
        outcomes=gather("outcomes"),
        acted=gather("acted").reset_index(drop=True),
        changed=gather("changed").reset_index(drop=True),
    )


def _default(problem: RecourseProblem) -> RecourseMethod:
    """Exact where it takes no time (linear); gradients where there are slopes; else spheres."""
    if problem.view.structure == "linear":
        with suppress(QuestionError, ParameterError):
            return ExactRecourse().fit(problem)
    sloped = problem.world is not None or problem.view.structure in _SLOPED
    # A level has no slope to follow.
    sloped &= not (problem.movable & problem.space.discrete).any()
    return (Wachter() if sloped else GrowingSpheres()).fit(problem)


def _copy(method: RecourseMethod) -> RecourseMethod:
    return type(method)(**method.get_params(deep=False))

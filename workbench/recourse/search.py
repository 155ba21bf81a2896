"""Moves that every search shares: check, shorten toward the person, drop what isn't needed.

Rows are independent: row r belongs to some person and holds a mask and values, codes ``(R, F)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from .method import Actions, Status
from .problem import RecourseProblem

Search = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
_HALVINGS = 24
_HAIR = 1e-8
_FAR = 30.0
_TRADED = 6
_STEPS = np.array([-1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0])
_STRETCH = (1.5, 3.0, 8.0)


def feasible(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Whether each action is permitted and leads to a state that is accepted, ``(R,)``."""
    state = problem.apply(x, mask, values)
    good = problem.permitted(x, mask, values, state)
    if good.any():
        good[good] = problem.accepts(problem.score(state[good]))
    return good


def shorten(
    problem: RecourseProblem,
    x: np.ndarray,
    mask: np.ndarray,
    values: np.ndarray,
    halvings: int = _HALVINGS,
    only: int | None = None,
) -> np.ndarray:
    """Values moved as far back toward the person as the target allows, by bisection.

    All numbers of a row go back together, or ``only`` one; levels stay. Rows must be feasible,
    and stay so.
    """
    near, far = np.zeros(len(x)), np.ones(len(x))
    best = values.copy()
    for _ in range(halvings):
        middle = 0.5 * (near + far)
        tried = _between(problem, x, values, middle)
        if only is not None:
            moved, tried = tried[:, only], values.copy()
            tried[:, only] = moved
        good = feasible(problem, x, mask, tried)
        best[good] = tried[good]
        far, near = np.where(good, middle, far), np.where(good, near, middle)
    return best


def _between(
    problem: RecourseProblem, x: np.ndarray, values: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """The given share of the way from the person to ``values``; counts rounded outward."""
    space = problem.space
    step = share[:, None] * (values - x)
    between = x + step
    outward = np.where(step > 0, np.ceil(between - 1e-9), np.floor(between + 1e-9))
    between = np.where(space.integer & (values != x), outward, between)
    return np.where(space.discrete | (values == x), values, between)


def prune(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Try to do without each acted feature, letting the others go further; keep what is cheaper.

    Through a causal model a feature is also tried at today's value, held. Rows must be feasible,
    and stay so.
    """
    mask, values = mask.copy(), values.copy()
    for rank in range(int(mask.sum(axis=1).max(initial=0))):
        # The features of each row by what they cost, dearest first.
        parts = np.where(mask, problem.cost.moves(x, values), -1.0)
        feature = np.argsort(-parts, axis=1, kind="stable")[:, rank]
        for hold in (False,) if problem.world is None else (False, True):
            _without(problem, x, mask, values, feature, hold)
    return mask, values


def _without(
    problem: RecourseProblem,
    x: np.ndarray,
    mask: np.ndarray,
    values: np.ndarray,
    feature: np.ndarray,
    hold: bool,
) -> None:
    """Leave one feature of each row alone, or hold it; in place where that is cheaper."""
    rows = np.flatnonzero(mask[np.arange(len(x)), feature])
    low, high = problem.reach(x[rows])
    cost = problem.cost(x, mask, values)
    fewer, start = mask[rows].copy(), values[rows].copy()
    pick = np.arange(len(rows)), feature[rows]
    fewer[pick], start[pick] = hold, x[rows, feature[rows]]
    for factor in (1.0, *_STRETCH):
        if not len(rows):
            return
        there = _between(problem, x[rows], start, np.full(len(rows), factor))
        there = np.clip(there, low, high)
        good = fewer.any(axis=1) & feasible(problem, x[rows], fewer, there)
        if good.any():
            short = shorten(problem, x[rows[good]], fewer[good], there[good])
            spent = problem.cost(x[rows[good]], fewer[good], short)
            better = spent <= cost[rows[good]]
            at = rows[good][better]
            mask[at], values[at] = fewer[good][better], short[better]
        rows, fewer, start, low, high = (a[~good] for a in (rows, fewer, start, low, high))


def trim(
    problem: RecourseProblem,
    x: np.ndarray,
    mask: np.ndarray,
    values: np.ndarray,
    halvings: int = _HALVINGS // 2,
) -> np.ndarray:
    """Move one feature after the other back toward the person, the dearest first.

    Rows must be feasible, and stay so.
    """
    values = values.copy()
    cost = problem.cost(x, mask, values)
    for rank in range(int(mask.sum(axis=1).max(initial=0))):
        parts = np.where(mask, problem.cost.moves(x, values), -1.0)
        feature = np.argsort(-parts, axis=1, kind="stable")[:, rank]
        near, far = np.zeros(len(x)), np.ones(len(x))
        start = values.copy()
        for _ in range(halvings):
            middle = 0.5 * (near + far)
            tried = start.copy()
            pick = np.arange(len(x)), feature
            tried[pick] = _between(problem, x, start, middle)[pick]
            good = feasible(problem, x, mask, tried)
            spent = problem.cost(x, mask, tried)
            better = good & (spent <= cost)
            values[better], cost[better] = tried[better], spent[better]
            far, near = np.where(good, middle, far), np.where(good, near, middle)
    return values


def alone(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray, cost: np.ndarray
) -> None:
    """Try every number by itself, as far as it may go, beside the levels that a row changes.

    In place where that is cheaper; rows that have nothing yet have an infinite cost.
    """
    space = problem.space
    for levels in (False, True):
        base_mask = mask & space.discrete if levels else np.zeros_like(mask)
        base = np.where(base_mask, values, x)
        candidates = np.flatnonzero(base_mask.any(axis=1) | (not levels))
        for j in np.flatnonzero(problem.movable & ~space.discrete):
            for end in _ends(problem, x[candidates], base[candidates], j):
                acted, tried = base_mask[candidates].copy(), base[candidates].copy()
                acted[:, j], tried[:, j] = True, end
                hits = np.flatnonzero(np.isfinite(end) & (end != x[candidates, j]))
                hits = hits[feasible(problem, x[candidates[hits]], acted[hits], tried[hits])]
                if not len(hits):
                    continue
                at = candidates[hits]
                short = shorten(problem, x[at], acted[hits], tried[hits])
                spent = problem.cost(x[at], acted[hits], short)
                better = spent < cost[at]
                rows = at[better]
                mask[rows], values[rows] = acted[hits][better], short[better]
                cost[rows] = spent[better]


def _ends(
    problem: RecourseProblem, x: np.ndarray, base: np.ndarray, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """How far down and up one number may go while the others stay at ``base``."""
    low, high = (side[:, j].copy() for side in problem.reach(x))
    far = _FAR * problem.cost.scale[j]
    low, high = np.maximum(low, x[:, j] - far), np.minimum(high, x[:, j] + far)
    couplings = problem.couplings
    for row, floor, ceiling in zip(couplings.matrix, couplings.low, couplings.high, strict=True):
        if row[j] and problem.world is None:
            rest = base @ row - row[j] * base[:, j]
            ends = np.sort(np.stack([(floor - rest) / row[j], (ceiling - rest) / row[j]]), axis=0)
            low, high = np.maximum(low, ends[0]), np.minimum(high, ends[1])
    if problem.space.integer[j]:
        low, high = np.ceil(low - 1e-9), np.floor(high + 1e-9)
    return low, high


def polish(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shorten, exchange levels, prune, trade and trim feasible rows."""
    values = shorten(problem, x, mask, values)
    mask, values = exchange(problem, x, mask, values)
    mask, values = prune(problem, x, mask, values)
    mask, values = trade(problem, x, mask, values)
    return mask, trim(problem, x, mask, values)


def trade(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move one number a little and another as far as is then needed, for every pair of numbers.

    Walks along the boundary, where neither alone can get cheaper; a count goes in whole steps.
    Only for up to six numbers. Rows must be feasible, and stay so.
    """
    mask, values = mask.copy(), values.copy()
    numbers = problem.movable & ~problem.space.discrete
    others = np.flatnonzero(numbers & ~problem.space.integer)
    firsts = np.flatnonzero(numbers)
    firsts = firsts if len(firsts) <= _TRADED else others
    if len(firsts) < 2 or len(others) > _TRADED:
        return mask, values
    for steps in (_STEPS, 0.1 * _STEPS):
        for first in firsts:
            for other in others:
                if other != first:
                    _trade(problem, x, mask, values, first, other, steps)
    return mask, values


def _trade(
    problem: RecourseProblem,
    x: np.ndarray,
    mask: np.ndarray,
    values: np.ndarray,
    first: int,
    other: int,
    steps: np.ndarray,
) -> None:
    rows = np.flatnonzero(mask[:, other] & (values[:, other] != x[:, other]))
    many = np.repeat(rows, len(steps))
    start, tried, acted = x[many], values[many].copy(), mask[many].copy()
    low, high = problem.reach(start)
    step = np.tile(steps, len(rows)) * problem.cost.scale[first]
    if problem.space.integer[first]:
        tried[:, first] = np.rint(tried[:, first] + np.sign(step) * np.maximum(np.abs(step), 1))
    else:
        tried[:, first] += step
    tried = np.clip(tried, low, high)
    acted[:, first] = True
    if problem.max_changes is not None:
        acted[:, first] = mask[many, first] | (mask[many].sum(axis=1) < problem.max_changes)
        tried[~acted[:, first], first] = start[~acted[:, first], first]
    # The other may go a scale further than it went, which is then taken back as far as possible.
    end = tried[:, other] + np.sign(tried[:, other] - start[:, other]) * problem.cost.scale[other]
    tried[:, other] = np.clip(end, low[:, other], high[:, other])
    good = feasible(problem, start, acted, tried)
    start, tried, acted, at = start[good], tried[good], acted[good], many[good]
    best = shorten(problem, start, acted, tried, only=other)
    spent = problem.cost(start, acted, best)
    lead = first_of_each(at, spent)
    lead = lead[spent[lead] < problem.cost(x, mask, values)[at[lead]]]
    mask[at[lead]], values[at[lead]] = acted[lead], best[lead]


def finish(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray, cost: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a search found, made as cheap as simple moves can make it.

    Args:
        cost: Of each row; infinite where nothing was found.

    Returns:
        Mask, values and whether anything was found.
    """
    mask, values, cost = mask.copy(), values.copy(), cost.copy()
    alone(problem, x, mask, values, cost)
    found = np.isfinite(cost)
    values[~found] = x[~found]
    if found.any():
        better = polish(problem, x[found], mask[found], values[found])
        spent = problem.cost(x[found], *better)
        mask[found], values[found], cost[found] = *better, spent
        alone(problem, x, mask, values, cost)
        # Without a causal model, setting a feature to today's value is no action.
        mask = mask if problem.world is not None else mask & (values != x)
    return mask, values, found


def exchange(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Try every level of every feature that has levels; keep what is cheaper once shortened.

    Rows must be feasible, and stay so.
    """
    mask, values = mask.copy(), values.copy()
    cost = problem.cost(x, mask, values)
    for j in np.flatnonzero(problem.movable & problem.space.discrete):
        for level in range(len(problem.space.features[j].levels)):
            tried, acted = values.copy(), mask.copy()
            tried[:, j], acted[:, j] = level, level != x[:, j]
            rows = np.flatnonzero((values[:, j] != level) & acted.any(axis=1))
            rows = rows[feasible(problem, x[rows], acted[rows], tried[rows])]
            if not len(rows):
                continue
            short = shorten(problem, x[rows], acted[rows], tried[rows])
            spent = problem.cost(x[rows], acted[rows], short)
            better = spent < cost[rows]
            at = rows[better]
            mask[at], values[at], cost[at] = acted[at], short[better], spent[better]
    return mask, values


def snap(problem: RecourseProblem, x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values inside each person's reach, with whole counts and levels, toward the couplings."""
    space = problem.space
    low, high = problem.reach(x)
    if len(problem.couplings):
        values = problem.couplings.project(values, low, high, problem.cost.scale)
    whole = (space.integer | space.discrete) & (values != x)
    values = np.clip(np.where(whole, np.rint(values), values), low, high)
    # A person's own fractional count is a limit that rounding may have been clipped to.
    odd = whole & (values != np.rint(values))
    return np.where(odd, x, values)


def ranks(size: np.ndarray) -> np.ndarray:
    """Rank of each column within its row, the largest first."""
    return np.argsort(np.argsort(-size, axis=1, kind="stable"), axis=1, kind="stable")


def first_of_each(group: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Positions of the cheapest member of each group."""
    order = np.lexsort((cost, group))
    return order[np.diff(group[order], prepend=-1) != 0]


def patterns(problem: RecourseProblem) -> np.ndarray:
    """Sets of features to try acting on, ``(K, F)``; with a causal model holding is acting too."""
    if problem.world is None:
        return problem.movable[None, :].copy()
    return problem.world.masks(problem.movable, problem.max_changes)


def in_parts(
    problem: RecourseProblem, x: np.ndarray, search: Search, chunk: int, why: str, progress: bool
) -> Actions:
    """Proposals for people ``(n, F)``, so many at a time.

    Args:
        search: Finds a mask, values and whether that is an answer, for some of the people.
        why: What is said to those who have none.
    """
    mask, values, found = np.zeros(x.shape, bool), x.copy(), np.zeros(len(x), dtype=bool)
    starts = range(0, len(x), max(chunk, 1))
    for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
        part = slice(start, start + max(chunk, 1))
        mask[part], values[part], found[part] = search(x[part])
    return Actions(*with_spare(problem, x, mask, values), Status.where(found, why))


def with_spare(
    problem: RecourseProblem, x: np.ndarray, mask: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks and values ``(n, 2, F)``: each action, and the same with its numbers a hair further.

    A search works with what is known of the model's inside, which agrees with the model up to
    rounding. Where rounding decides, the second candidate is the one that is accepted. An action
    that is accepted by no more than rounding comes second: models round a row alone otherwise than
    the same row in a table, and people are asked about alone.
    """
    low, high = problem.reach(x)
    free = mask & ~problem.space.discrete & ~problem.space.integer

    def further(rows: np.ndarray, hair: float) -> np.ndarray:
        start, end = x[rows], values[rows]
        moved = np.clip(end + hair * (end - start), low[rows], high[rows])
        return np.where(free[rows], moved, end)

    first, second = values.copy(), further(np.arange(len(x)), _HAIR)
    if not len(x):
        return np.stack([mask, mask], axis=1), np.stack([first, second], axis=1)
    rounding = problem.view.rounding * (1.0 + abs(problem.target.threshold))
    margin = problem.target.margin(problem.score(problem.apply(x, mask, values)))
    close = np.flatnonzero((np.abs(margin) < rounding) & free.any(axis=1))
    for hair in _HAIR * np.array([1.0, 1e2, 1e3, 1e4]):
        if not len(close):
            break
        tried = further(close, hair)
        state = problem.apply(x[close], mask[close], tried)
        sure = problem.target.margin(problem.score(state)) >= rounding
        sure &= problem.permitted(x[close], mask[close], tried, state)
        rows = close[sure]
        first[rows], second[rows], close = tried[sure], values[rows], close[~sure]
    return np.stack([mask, mask], axis=1), np.stack([first, second], axis=1)

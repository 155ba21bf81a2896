"""Trees as rows of a mixed-integer program: for couplings and causal models."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from .exact_plan import Plan
from .exact_trees import Leaves
from .problem import RecourseProblem
from .program import Terms
from .structure import Trees, inverse_link

_SLACK = 1e-9  # scores closer than this to the goal are asked of the model itself


class TreeCondition:
    """The sum of the trees beyond the threshold.

    For every threshold of a number a 0/1 variable says whether the number lies beyond it; they
    are ordered and bound the number from both sides. Of every tree the weights of its leaves add
    up to one, and the leaves that need a number beyond (or up to) a threshold have no more weight
    together than that variable (or its opposite) permits. So weights are whole where thresholds
    are decided, without any large constants.
    """

    def __init__(self, problem: RecourseProblem, trees: Trees):
        self.problem, sign = problem, problem.target.sign
        self.leaves = Leaves.of(trees, problem.space, sign)
        goal = inverse_link(trees.link, problem.target.threshold)
        self.goal = sign * (goal - trees.offset)
        size = np.abs(self.leaves.value).max(initial=0.0)
        self.slack = _SLACK * (1.0 + abs(goal) + abs(trees.offset) + size)

    def __call__(self, plan: Plan) -> None:
        """Add the rows of one person."""
        low, high, levels = self._range(plan)
        rows = np.flatnonzero(self._within(low, high, levels))
        program, space = plan.program, self.problem.space
        several = np.bincount(self.leaves.tree[rows])[self.leaves.tree[rows]] > 1
        need = self.goal - self.leaves.value[rows[~several]].sum()
        plan.certain = tuple(rows[~several].tolist())
        rows = rows[several]
        plan.leaves = {int(leaf): program.variable(high=1.0) for leaf in rows}
        of_tree = defaultdict(list)
        for leaf in rows:
            of_tree[int(self.leaves.tree[leaf])].append(int(leaf))
        for members in of_tree.values():
            program.row({plan.leaves[leaf]: 1.0 for leaf in members}, 1.0, 1.0)
        for j in range(len(space)):
            if space.discrete[j]:
                self._levels(plan, j, of_tree, levels[space.slots[j]])
            elif low[j] < high[j]:
                self._number(plan, j, of_tree, low[j], high[j])
        size = max(np.abs(self.leaves.value[rows]).max(initial=0.0), 1e-300)
        score = {plan.leaves[int(k)]: self.leaves.value[k] / size for k in rows}
        program.row(score, low=(need - self.slack) / size)
        for refused in plan.refused:
            terms = {plan.leaves[k]: 1.0 for k in refused if k in plan.leaves}
            program.row(terms, high=len(terms) - 1.0)

    def _range(self, plan: Plan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lowest and highest number of every feature, and the levels it may take."""
        space, scale = self.problem.space, self.problem.cost.scale
        low, high = plan.x.copy(), plan.x.copy()
        levels = space.design(plan.x[None])[0] > 0
        for j, slot in enumerate(space.slots):
            for column in range(slot.start, slot.stop):
                if column in plan.place and space.discrete[j]:
                    levels[column] = True
                elif column in plan.place:
                    ends = np.array(plan.program.interval(plan.place[column]))
                    if plan.effects is not None and not np.isfinite(ends).all():
                        ends = np.clip(ends, -plan.spans[j], plan.spans[j])
                    low[j], high[j] = plan.x[j] + scale[j] * ends
        return low, high, levels

    def _within(self, low: np.ndarray, high: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Leaves that somebody within these ranges can end in."""
        space, leaves = self.problem.space, self.leaves
        number = ~space.discrete
        good = ((leaves.low < high) & (leaves.high >= low))[:, number].all(axis=1)
        for j in np.flatnonzero(space.discrete):
            slot = space.slots[j]
            good &= (leaves.levels[:, slot] & levels[slot]).any(axis=1)
        return good

    def _number(self, plan: Plan, j: int, of_tree: dict, low: float, high: float) -> None:
        """Where a number lies among the thresholds, and which leaves that permits."""
        program, leaves, scale = plan.program, self.leaves, self.problem.cost.scale[j]
        rows = np.array([k for members in of_tree.values() for k in members], dtype=int)
        cuts = np.unique(np.concatenate([leaves.low[rows, j], leaves.high[rows, j]]))
        cuts = cuts[(cuts >= low) & (cuts < high)]
        if not len(cuts):
            return
        beyond = {float(cut): program.binary() for cut in cuts}
        order = list(beyond.values())
        for before, after in zip(order[:-1], order[1:], strict=True):
            program.row({before: 1.0, after: -1.0}, low=0.0)
        plan.finite(j, low), plan.finite(j, high)
        change = plan.place[self.problem.space.slots[j].start]
        at = (np.r_[low, cuts, high] - plan.x[j]) / scale
        # An open edge is passed by a hair where the plan asks for one, in narrow cells by less.
        passed = at[1:-1] + np.minimum(plan.margin, 0.5 * np.diff(at)[1:])
        floor, ceiling = np.diff(np.r_[at[0], passed]), np.diff(at[1:])
        steps = {v: -step for v, step in zip(order, floor, strict=True)}
        program.row({**change, **steps}, low=at[0])
        steps = {v: -step for v, step in zip(order, ceiling, strict=True)}
        program.row({**change, **steps}, high=at[1])
        self._charge(plan, change, order, at[1:-1])
        for members in of_tree.values():
            inside = np.array(members)
            for cut in np.unique(np.r_[leaves.low[inside, j], leaves.high[inside, j]]):
                if cut not in beyond:
                    continue
                up, down = (
                    inside[leaves.low[inside, j] >= cut],
                    inside[leaves.high[inside, j] <= cut],
                )
                self._permit(plan, up, {beyond[cut]: -1.0}, 0.0)
                self._permit(plan, down, {beyond[cut]: 1.0}, 1.0)

    def _charge(self, plan: Plan, change: Terms, order: list[int], at: np.ndarray) -> None:
        """What lies beyond a threshold costs the way there, also where variables are fractions."""
        ways = {c: v for v, c in change.items()}
        if set(ways) != {1.0, -1.0} or len(change) != 2:
            return  # moved by its causes
        up, down = np.maximum(at, 0.0), np.minimum(at, 0.0)
        rise, fall = np.diff(np.r_[0.0, up]), np.diff(np.r_[down, 0.0])
        terms = {v: -step for v, step in zip(order, rise, strict=True) if step}
        if terms:
            plan.program.row({ways[1.0]: 1.0, **terms}, low=0.0)
        terms = {v: step for v, step in zip(order, fall, strict=True) if step}
        if terms:
            plan.program.row({ways[-1.0]: 1.0, **terms}, low=float(sum(terms.values())))

    def _levels(self, plan: Plan, j: int, of_tree: dict, legal: np.ndarray) -> None:
        """Leaves that don't hold a level have no weight where it is picked."""
        slot = self.problem.space.slots[j]
        today = slot.start + int(plan.x[j])
        for level in np.flatnonzero(legal):
            column = slot.start + int(level)
            picked = plan.place.get(column, {})
            least = 1.0 if column == today else 0.0  # of today's level: 1 + its change
            for members in of_tree.values():
                inside = np.array(members)
                out = inside[~self.leaves.levels[inside, column]]
                self._permit(plan, out, picked, 1.0 - least)

    def _permit(self, plan: Plan, leaves: np.ndarray, terms: Terms, most: float) -> None:
        if len(leaves):
            plan.program.row({**{plan.leaves[int(k)]: 1.0 for k in leaves}, **terms}, high=most)

    def tie(self, plan: Plan, solution: np.ndarray) -> tuple[int, ...] | None:
        """The leaves of a solution whose score the model refuses; None if it accepts them.

        Solvers are exact to 1e-6 and the model to its last digit: leaves whose sum misses the
        goal, or meets it so closely that only the model can tell, are settled here for good.
        """
        chosen = tuple(k for k, v in plan.leaves.items() if solution[v] > 0.5)
        everything = np.array(chosen + plan.certain, dtype=int)
        score = self.leaves.value[everything].sum()
        if score < self.goal - self.slack:
            return chosen
        if score > self.goal + self.slack:
            return None
        low = self.leaves.low[everything].max(axis=0, initial=-np.inf)
        high = self.leaves.high[everything].min(axis=0, initial=np.inf)
        levels = self.leaves.levels[everything].all(axis=0)
        return None if self._accepts(plan, low, high, levels) else chosen

    def _accepts(self, plan: Plan, low: np.ndarray, high: np.ndarray, levels: np.ndarray) -> bool:
        """Whether the model accepts somebody in the middle of a box."""
        problem, space = self.problem, self.problem.space
        row = plan.x.copy()
        for j, slot in enumerate(space.slots):
            if space.discrete[j]:
                row[j] = row[j] if levels[slot][int(row[j])] else np.argmax(levels[slot])
            elif not low[j] < row[j] <= high[j]:
                reach = 2.0 * problem.cost.scale[j]
                a = low[j] if np.isfinite(low[j]) else high[j] - reach
                b = high[j] if np.isfinite(high[j]) else low[j] + reach
                row[j] = np.floor(b) if space.integer[j] else 0.5 * (a + b)
        return bool(problem.accepts(problem.score(row[None]))[0])

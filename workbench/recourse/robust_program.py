"""The same question as in ``robust_linear`` where rules tie features together: one program each.

Couplings, counts, a limit on the number of changes, inputs that mix features, many levels and
linear causal models are rows of the mixed-integer program that :class:`ExactRecourse` solves. The
worst-case score adds |m_i| as two rows each; what is convex and no polyhedron (an Lp ball, the
log loss) is replaced by supporting planes, added where the last solution violates them.
"""

from __future__ import annotations

import numpy as np

from .exact_plan import Plan
from .method import FOUND, INFEASIBLE, NOT_FOUND
from .problem import RecourseProblem
from .program import Terms
from .robust_linear import Ball, Box, Robust, Wish
from .world import LinearWorld

_ROUNDS = 60
_TIGHT = 1e-8  # planes are added until the loss is this close
_FURTHER = (2e-7, 2e-6, 2e-5, 2e-4)  # the solver is exact to 1e-7 of the largest weight
_FAR = 1e4


class RobustProgram:
    """Exact answers for one person after the other.

    Args:
        problem: Its cost must be ``"l1"`` with a linear scale.
        robust: The model and its margin.
        effects: The causal model, where there is one.
        time_limit: Seconds per program.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        robust: Robust,
        effects: LinearWorld | None,
        time_limit: float,
    ):
        self.problem, self.robust, self.time_limit = problem, robust, time_limit
        self.effects = effects

    def one(self, x: np.ndarray, wish: Wish) -> tuple[np.ndarray, np.ndarray, float, str, str]:
        """Mask, values, bound, status and reason of one person."""
        nothing = np.zeros(len(x), dtype=bool), x
        bound = np.nan
        for more in _FURTHER:
            answer = self._solve(x, wish, more)
            if isinstance(answer, tuple):
                word, why = answer
                return (*nothing, bound, word, why)
            mask, values, value = answer.mask, answer.values, answer.bound
            bound = value if np.isnan(bound) else bound
            worst = self.robust.worst(self.problem.space.design(self.state(x, mask, values)))[0]
            if not wish.hard or worst >= wish.floor:
                return mask, values, bound if wish.hard else np.nan, FOUND, ""
        return (*nothing, bound, NOT_FOUND, "the solver is not exact enough for this person")

    def state(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What one person becomes, ``(1, F)``."""
        world = self.effects or self.problem
        return world.apply(x[None], mask[None], values[None])

    def _solve(self, x: np.ndarray, wish: Wish, more: float):
        plan = _Robust(self.problem, self.robust, self.effects, x, wish, more)
        for _ in range(_ROUNDS):
            solution = plan.program.solve(self.time_limit)
            if solution.status == "infeasible":
                return INFEASIBLE, self._why_not(x, wish)
            if solution.values is None:
                return NOT_FOUND, f"the solver stopped ({solution.status}, {self.time_limit:g} s)"
            if not plan.cut(solution.values):
                break
        budget = self.problem.budget
        if wish.hard and budget is not None and solution.bound > budget * (1 + 1e-6):
            return (
                INFEASIBLE,
                f"every way costs at least {solution.bound:.4g}, the budget is {budget:g}",
            )
        plan.take(solution.values, max(solution.bound, 0.0))
        return plan

    def _why_not(self, x: np.ndarray, wish: Wish) -> str:
        """Tell rules that contradict each other from a score that is out of reach."""
        highest = Wish(hard=False, weight=0.0)
        plan = _Robust(self.problem, self.robust, self.effects, x, highest, 0.0, reach=True)
        for _ in range(_ROUNDS):
            solution = plan.program.solve(self.time_limit)
            if solution.status == "infeasible":
                return "no permitted action satisfies the constraints"
            if solution.values is None or not plan.cut(solution.values):
                break
        return out_of_reach(-solution.bound if np.isfinite(solution.bound) else np.inf, wish)


def out_of_reach(most: float, wish: Wish) -> str:
    """Why there is no robust recourse."""
    return (
        f"no permitted action keeps the worst-case score at {wish.floor:g} or more; "
        f"the largest that can be reached is {most:.4g}"
    )


def too_dear(cost: float, budget: float) -> str:
    """Why there is no robust recourse within the budget."""
    return f"every way costs at least {cost:.4g}, the budget is {budget:g}"


class _Robust(Plan):
    """The program of one person, with the worst case in place of the model's decision.

    Args:
        more: Worst-case score to ask for beyond the floor, in units of the largest weight.
        reach: Ask how high the worst-case score can get at all.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        robust: Robust,
        effects: LinearWorld | None,
        x: np.ndarray,
        wish: Wish,
        more: float,
        reach: bool = False,
    ):
        self.robust, self.wish, self.reach = robust, wish, reach
        self.mask, self.values, self.bound = np.zeros(len(x), dtype=bool), x, np.nan
        weights = None if effects is None else effects.weights
        super().__init__(problem, None, weights, x, more)
        self._worst_case()

    def _worst_case(self) -> None:
        robust, program, x = self.robust, self.program, self.x
        space, scale = self.problem.space, self.problem.cost.scale
        self.today = robust.inputs(space.design(x[None]))[0]
        self.changes: list[Terms] = []
        for row in robust.inputs.matrix:
            terms: Terms = {}
            for column in np.flatnonzero(row):
                j = space.owner[column]
                size = row[column] * (1.0 if space.discrete[j] else scale[j])
                for variable, c in self.place.get(int(column), {}).items():
                    terms[variable] = terms.get(variable, 0.0) + c * size
            self.changes.append(terms)
        self.score: Terms = {}
        for weight, terms in zip(robust.weights, self.changes, strict=True):
            _add(self.score, terms, weight)
        self.unit = max((abs(c) for c in self.score.values()), default=0.0) or 1.0
        self.base = float(robust.weights @ self.today) + robust.start
        if isinstance(robust.margin, Box):
            self._box(robust.margin.alpha)
        elif isinstance(robust.margin, Ball):
            self.size = program.variable(0.0, np.inf)
            self.score[self.size] = self.score.get(self.size, 0.0) - 1.0
        else:
            self.base -= robust.margin.amount
        if self.reach:
            program.costs = [0.0] * len(program.costs)
            self.top = program.variable(-np.inf, np.inf, cost=-1.0)
            # Without bounds there is no highest score.
            program.row({self.top: 1.0}, high=_FAR * (1.0 + abs(self.base)))
        elif self.wish.hard:
            need = (self.wish.floor - self.base) / self.unit + self.margin
            program.row({v: c / self.unit for v, c in self.score.items()}, low=need)
            return
        else:
            program.costs = [c * self.wish.weight for c in program.costs]
            self._limit_cost()
            self.loss = program.variable(0.0, np.inf, cost=1.0)
            self.top = program.variable(-np.inf, np.inf)
            for at in (-4.0, -1.0, 0.0, 1.0, 3.0, 6.0):
                self._tangent(at)
        program.row({self.top: -1.0, **self.score}, low=-self.base)

    def _box(self, alpha: float) -> None:
        """|m_i| for every input that can change; the others are a constant."""
        self.base -= alpha
        for value, terms in zip(self.today, self.changes, strict=True):
            if not terms:
                self.base -= alpha * abs(value)
                continue
            size = self.program.variable(0.0, np.inf)
            for sign in (1.0, -1.0):
                row = {size: 1.0}
                _add(row, terms, -sign)
                self.program.row(row, low=sign * value)
            self.score[size] = self.score.get(size, 0.0) - alpha

    def _limit_cost(self) -> None:
        """The budget as a row: the penalised form may stop anywhere below it."""
        if self.problem.budget is None:
            return
        weight = self.wish.weight
        terms = {v: c / weight for v, c in enumerate(self.program.costs) if c}
        self.program.row(terms, high=self.problem.budget)

    def _tangent(self, at: float) -> None:
        """loss >= softplus(-at) - sigma(-at) (top - at)."""
        slope = 1.0 / (1.0 + np.exp(at))
        self.program.row({self.loss: 1.0, self.top: slope}, low=np.logaddexp(0.0, -at) + slope * at)

    def cut(self, solution: np.ndarray) -> bool:
        """Add the planes that a solution violates; False where there are none."""
        found = False
        if isinstance(self.robust.margin, Ball):
            moved = [sum(c * solution[v] for v, c in t.items()) for t in self.changes]
            inputs = self.today + np.array(moved)
            truth = float(self.robust.margin(inputs))
            if truth > solution[self.size] + _TIGHT * (1.0 + truth):
                slope, row = self.robust.margin.slope(inputs), {self.size: 1.0}
                for weight, terms in zip(slope, self.changes, strict=True):
                    _add(row, terms, -weight)
                self.program.row(row, low=truth - float(slope @ np.array(moved)))
                found = True
        if not self.wish.hard and not self.reach:
            top = float(solution[self.top])
            if np.logaddexp(0.0, -top) > solution[self.loss] + _TIGHT:
                self._tangent(top)
                found = True
        return found

    def take(self, solution: np.ndarray, bound: float) -> None:
        """Keep a solution as an action."""
        self.mask, self.values = self.action(solution)
        self.bound = bound


def _add(terms: Terms, more: Terms, weight: float) -> None:
    for variable, c in more.items():
        terms[variable] = terms.get(variable, 0.0) + weight * c

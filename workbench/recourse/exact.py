"""Provably cheapest recourse by mixed-integer programming."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from tqdm import tqdm

from ..core.errors import ParameterError, QuestionError
from ..core.saving import saveable
from .method import FOUND, INFEASIBLE, NOT_FOUND, Actions, RecourseMethod, Status
from .problem import RecourseProblem
from .program import Program, Terms
from .search import trim, with_spare
from .structure import Linear, Unknown, inverse_link
from .world import LinearWorld

# The solver is exact to 1e-7: where that decides, a little more score is asked for.
_FURTHER = (1e-9, 1e-7, 1e-6)
_MARGINS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@saveable
class ExactRecourse(RecourseMethod):
    """The cheapest permitted action, with a proof: a bound that no other action can beat.

    minimise cost(x, a) subject to decision(state(a)) >= threshold, with levels as 0/1 variables,
    counts as whole numbers, directions and ranges as bounds, and couplings as rows. With a linear
    causal model the state solves dz = W dz + shift, where only acted features have a shift.

    For linear and logistic models (also in pipelines) and for outcomes of linear causal models;
    costs ``"l1"``, ``"l0"`` and ``"linf"``. For other models use :class:`Wachter` (gradients) or
    :class:`GrowingSpheres` (anything that gives a score).

    Args:
        time_limit: Seconds per person. When they are used up, the best action found so far is
            recommended with its bound, or the status says that none was found.

    References:
        Ustun, Spangher and Liu, "Actionable recourse in linear classification", FAT* 2019;
        Karimi, Schoelkopf and Valera, "Algorithmic recourse: from counterfactual explanations to
        interventions", FAccT 2021 (actions through a causal model).

    Example:
        >>> import pandas as pd
        >>> from sklearn.linear_model import LinearRegression
        >>> from workbench.recourse import RecourseProblem
        >>> df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 1.5]})
        >>> model = LinearRegression().fit(df, 3 * df["a"] + df["b"])
        >>> problem = RecourseProblem(model, data=df, target={"above": 10}, scale={"a": 1, "b": 1})
        >>> plan = ExactRecourse().fit(problem).recommend(df)
        >>> plan.to_frame()["a"].round(3).tolist(), plan.outcomes["bound"].round(3).tolist()
        ([3.0, 3.333, 2.0, 4.5], [3.0, 2.333, 0.0, 0.0])
    """

    def __init__(self, time_limit: float = 10.0):
        self.time_limit = time_limit

    def _fit(self, problem: RecourseProblem) -> None:
        if not self.time_limit > 0:
            raise ParameterError("must be positive", column="time_limit", value=self.time_limit)
        if problem.cost.norm not in ("l1", "l0", "linf") or problem.cost.curves:
            shown = problem.cost.norm if not problem.cost.curves else "percentile"
            raise QuestionError(
                f"a {shown!r} cost is not linear",
                advice="Use Wachter, or cost='l1' with scale 'sd', 'range' or 'mad'.",
            )
        try:
            self._model = problem.view.linear()
        except Unknown as error:
            raise QuestionError(
                f"ExactRecourse needs a linear model: {error.problem}",
                advice="Use Wachter."
                if problem.view.structure in ("relu", "differentiable")
                else "Use GrowingSpheres or NearestTarget.",
            ) from error
        self._effects = None
        if problem.world is not None:
            people = problem.probes() if problem.data is None else problem.data
            self._effects = LinearWorld.of(problem, people)
        self.weights_ = self._model.weights.copy()

    @property
    def _weights(self) -> np.ndarray | None:
        return None if self._effects is None else self._effects.weights

    def _state(self) -> dict:
        return {"time_limit": self.time_limit, "problem": getattr(self, "problem_", None)}

    @classmethod
    def _from_state(cls, state: dict) -> ExactRecourse:
        method = cls(state["time_limit"])
        return method if state["problem"] is None else method.fit(state["problem"])

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        n, width = x.shape
        mask, values = np.zeros((n, width), dtype=bool), x.copy()
        status = Status.where(np.ones(n), "")
        bound = np.full(n, np.nan)
        for i in tqdm(range(n), desc="recourse", delay=2, disable=not progress, leave=False):
            mask[i], values[i], bound[i], word, reason = self._one(x[i])
            status.words[i], status.reasons[i] = word, reason
        found = np.flatnonzero(status.words == FOUND)
        # The solver is exact to 1e-7; bisection takes the rest off, for everybody at once.
        values[found] = trim(self.problem_, x[found], mask[found], values[found], halvings=40)
        return Actions(*with_spare(self.problem_, x, mask, values), status, bound)

    def _one(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, str, str]:
        """Solve for one person; ask for a little more score until the true model agrees."""
        problem, bound = self.problem_, None
        nothing = np.zeros(len(x), dtype=bool), x
        for margin in _MARGINS:
            plan = _Plan(problem, self._model, self._weights, x, margin)
            solution = plan.program.solve(self.time_limit)
            if solution.status == "infeasible":
                word, reason = self._why_not(x)
                return (*nothing, np.nan, word, reason)
            if solution.values is None:
                why = f"the solver stopped ({solution.status}, {self.time_limit:g} s)"
                return (*nothing, max(solution.bound, 0.0), NOT_FOUND, why)
            # The first programme is the question itself; later ones ask for more.
            bound = max(solution.bound, 0.0) if bound is None else bound
            if problem.budget is not None and bound > problem.budget * (1 + 1e-6):
                why = f"every way costs at least {bound:.4g}, the budget is {problem.budget:g}"
                return (*nothing, bound, INFEASIBLE, why)
            mask, values = plan.action(solution.values)
            accepted = self._accepted(x, mask, values)
            if accepted is not None:
                return mask, accepted, bound, FOUND, ""
        return (*nothing, bound, NOT_FOUND, "the model disagrees with its own linear form")

    def _accepted(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray | None:
        """The values, or the values a hair further, if the model and the rules accept them."""
        world, space = self._effects or self.problem_, self.problem_.space
        free = mask & ~space.discrete & ~space.integer
        low, high = (side[0] for side in self.problem_.reach(x[None]))
        for more in (0.0, *_FURTHER):
            further = np.clip(values + more * np.sign(values - x) * self._scale, low, high)
            tried = np.where(free, further, values)
            action = x[None], mask[None], tried[None]
            state = world.apply(*action)
            accepted = self.problem_.accepts(self.problem_.score(state))
            if accepted[0] and self.problem_.permitted(*action, state)[0]:
                return tried
        return None

    @property
    def _scale(self) -> np.ndarray:
        return self.problem_.cost.scale

    def _why_not(self, x: np.ndarray) -> tuple[str, str]:
        """Tell an unreachable score from rules that contradict each other."""
        free = _Plan(self.problem_, None, self._weights, x, 0.0)
        if free.program.solve(self.time_limit).status == "infeasible":
            return INFEASIBLE, "no permitted action satisfies the constraints"
        return INFEASIBLE, "no permitted action reaches the target"


@dataclass
class _Plan:
    """The program of one person.

    Attributes:
        place: Design column -> terms that give its change, in scaled units for numbers; every
            piece speaks about these changes only, so that other models are other pieces.
        acts: Feature -> the 0/1 variable that says whether it is acted on, where that matters.
        shifts: Feature with causes -> how far an action takes it from where they put it.
    """

    problem: RecourseProblem
    model: Linear | None
    effects: np.ndarray | None
    x: np.ndarray
    margin: float
    program: Program = field(default_factory=Program)
    place: dict[int, Terms] = field(default_factory=dict)
    acts: dict[int, int] = field(default_factory=dict)
    shifts: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problem = self.problem
        low, high = (side[0] for side in problem.reach(self.x[None]))
        self.low, self.high = low, high
        self.counts = problem.cost.norm == "l0" or problem.max_changes is not None
        self.largest = self.program.variable(cost=1.0) if problem.cost.norm == "linf" else None
        for j in range(len(self.x)):
            if not problem.movable[j]:
                continue
            if self._is_caused(j):  # also where it can't move: it can still be held
                self._caused_number(j)
            elif low[j] < high[j]:
                self._level(j) if problem.space.discrete[j] else self._number(j)
        if self.effects is not None:
            self._causes()
        if problem.max_changes is not None:
            self.program.row(dict.fromkeys(self.acts.values(), 1.0), high=problem.max_changes)
        self._couplings()
        if self.model is not None:
            self._accepted(self.model)

    def _charge(self, terms: Terms) -> None:
        """Charge terms that add up to one feature's weighted move."""
        if self.problem.cost.norm == "l1":
            for variable, weight in terms.items():
                self.program.costs[variable] += weight
        elif self.largest is not None:
            self.program.row({self.largest: 1.0, **{v: -w for v, w in terms.items()}}, low=0.0)

    def _act(self, j: int) -> int:
        """The 0/1 variable that says whether feature j is acted on."""
        if j not in self.acts:
            weight = self.problem.cost.weights[j] if self.problem.cost.norm == "l0" else 0.0
            self.acts[j] = self.program.binary(cost=weight)
        return self.acts[j]

    def _number(self, j: int) -> None:
        """A number: change = up - down, both charged."""
        problem, program = self.problem, self.program
        scale, slot = problem.cost.scale[j], problem.space.slots[j].start
        rise, fall = (self.high[j] - self.x[j]) / scale, (self.x[j] - self.low[j]) / scale
        up, down = program.variable(high=rise), program.variable(high=fall)
        self._charge(dict.fromkeys((up, down), problem.cost.weights[j]))
        self.place[slot] = {up: 1.0, down: -1.0}
        if problem.space.integer[j]:
            self._whole(j, {up: -scale, down: scale})
        if self.counts or j in self.acts:
            act = self._act(j)
            program.row({up: 1.0, act: -self._finite(j, rise)}, high=0.0)
            program.row({down: 1.0, act: -self._finite(j, fall)}, high=0.0)

    def _whole(self, j: int, less_change: Terms) -> None:
        """A count that is changed becomes a whole number; left alone it stays what it is."""
        program, today = self.program, self.x[j]
        low, high = np.ceil(self.low[j]), np.floor(self.high[j])
        if today == np.rint(today):
            value = program.variable(low, high, whole=True)
            program.row({value: 1.0, **less_change}, today, today)
            return
        act = self._act(j)
        value = program.variable(min(low, 0.0), max(high, 0.0), whole=True)
        program.row({value: 1.0, **less_change, act: -today}, 0.0, 0.0)
        program.row({value: 1.0, act: -self._finite(j, high)}, high=0.0)

    def _level(self, j: int) -> None:
        """A level: one 0/1 variable each, charged by how far it is from today's."""
        problem, program, today = self.problem, self.program, int(self.x[j])
        slot = problem.space.slots[j]
        levels = np.arange(slot.stop - slot.start)
        row = np.repeat(self.x[None], len(levels), axis=0)
        row[:, j] = levels
        moves = problem.cost.moves(np.repeat(self.x[None], len(levels), axis=0), row)[:, j]
        legal = (levels >= self.low[j]) & (levels <= self.high[j])
        picks = {int(v): program.binary() for v in levels[legal] if v != today}
        if not picks:
            return
        program.row(dict.fromkeys(picks.values(), 1.0), high=1.0)
        self._charge({variable: moves[v] for v, variable in picks.items()})
        for v, variable in picks.items():
            self.place[slot.start + v] = {variable: 1.0}
        self.place[slot.start + today] = dict.fromkeys(picks.values(), -1.0)
        if self.counts:
            program.row({**dict.fromkeys(picks.values(), 1.0), self._act(j): -1.0}, high=0.0)

    # -- causes ----------------------------------------------------------------------------

    def _is_caused(self, j: int) -> bool:
        return self.effects is not None and bool(np.any(self.effects[j] != 0))

    def _legal_change(self, j: int) -> tuple[float, float]:
        """How far a feature's causes may take it, in its scale."""
        problem, scale = self.problem, self.problem.cost.scale[j]
        if problem.fixed[j]:
            return 0.0, 0.0
        down, up = problem.floor[j] - self.x[j], problem.ceiling[j] - self.x[j]
        return min(down / scale, 0.0), max(up / scale, 0.0)

    def _caused_number(self, j: int) -> None:
        """A number with causes: charged for its whole change, but only when it is acted on."""
        problem, program, act = self.problem, self.program, self._act(j)
        scale = problem.cost.scale[j]
        rise, fall = (self.high[j] - self.x[j]) / scale, (self.x[j] - self.low[j]) / scale
        charged, shift = program.variable(), program.variable(-np.inf)
        change = program.variable(*self._legal_change(j))
        most = self._finite(j, max(rise, fall, 0.0)) + self._spans[j]
        self._charge({charged: problem.cost.weights[j]})
        for sign in (1.0, -1.0):
            program.row({charged: 1.0, change: -sign, act: -most}, low=-most)
            program.row({shift: sign, act: -(most + self._spans[j])}, high=0.0)
        # When acted on, the new value is within reach; otherwise it goes where its causes say.
        program.row({change: 1.0, act: most}, high=rise + most)
        program.row({change: 1.0, act: -most}, low=-fall - most)
        if problem.space.integer[j]:
            raise QuestionError(
                "is a count with causes, which no linear model gives whole numbers",
                column=problem.space.names[j],
                advice="Make it continuous in the schema, or use GrowingSpheres.",
            )
        self.place[problem.space.slots[j].start] = {change: 1.0}
        self.shifts[j] = shift

    @cached_property
    def _spans(self) -> np.ndarray:
        """Largest possible change of every feature, in its scale, from ranges and effects."""
        scale, movable = self.problem.cost.scale, self.problem.movable
        own = np.where(movable, np.maximum(self.high - self.x, self.x - self.low) / scale, 0.0)
        for j in range(len(own)):
            self._finite(j, own[j])
        strength = np.abs(self.effects) * scale[None, :] / scale[:, None]
        total = own.copy()
        for _ in range(len(own)):  # along ever longer paths; a DAG ends
            total = np.maximum(total, own + strength @ total)
        return total

    def _causes(self) -> None:
        """``change_j = sum_k W_jk change_k (+ shift_j)`` for every feature with causes."""
        problem, scale = self.problem, self.problem.cost.scale
        for j in range(len(self.x)):
            if not self._is_caused(j):
                continue
            slot = problem.space.slots[j].start
            if slot not in self.place:
                self.place[slot] = {self.program.variable(*self._legal_change(j)): 1.0}
        for j in range(len(self.x)):
            if not self._is_caused(j):
                continue
            terms = dict(self.place[problem.space.slots[j].start])
            for k in np.flatnonzero(self.effects[j]):
                for variable, c in self.place.get(problem.space.slots[k].start, {}).items():
                    weight = self.effects[j, k] * scale[k] / scale[j]
                    terms[variable] = terms.get(variable, 0.0) - weight * c
            if j in self.shifts:
                terms[self.shifts[j]] = -1.0
            self.program.row(terms, 0.0, 0.0)

    # -- conditions ------------------------------------------------------------------------

    def _couplings(self) -> None:
        problem = self.problem
        for row, low, high in zip(
            problem.couplings.matrix, problem.couplings.low, problem.couplings.high, strict=True
        ):
            size = float(np.abs(row) @ problem.cost.scale)
            terms: Terms = {}
            for j in np.flatnonzero(row):
                for variable, c in self.place.get(problem.space.slots[j].start, {}).items():
                    weight = c * row[j] * problem.cost.scale[j] / size
                    terms[variable] = terms.get(variable, 0.0) + weight
            today = row @ self.x
            self.program.row(terms, (low - today) / size, (high - today) / size)

    def _accepted(self, model: Linear) -> None:
        """The model's decision beyond the threshold, in units of its largest weight."""
        problem, sign = self.problem, self.problem.target.sign
        scale = np.where(problem.space.discrete, 1.0, problem.cost.scale)[problem.space.owner]
        weights = sign * model.weights * scale
        terms: Terms = {}
        for column, change in self.place.items():
            for variable, c in change.items():
                terms[variable] = terms.get(variable, 0.0) + c * weights[column]
        size = max((abs(w) for w in terms.values()), default=0.0) or 1.0
        today = model.decision(problem.space.design(self.x[None]))[0]
        goal = inverse_link(model.link, problem.target.threshold)
        need = sign * (goal - today) / size + self.margin
        self.program.row({v: w / size for v, w in terms.items()}, low=need)

    def _finite(self, j: int, value: float) -> float:
        if not np.isfinite(value):
            raise ParameterError(
                "has no bounds, and counting changes or following causes needs them",
                column=self.problem.space.names[j],
                advice="Give bounds in the schema, or pass data=.",
            )
        return float(value)

    def action(self, solution: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mask and codes of a solution, with the solver's noise taken off."""
        problem, space = self.problem, self.problem.space
        values, mask = self.x.copy(), np.zeros(len(self.x), dtype=bool)
        for j in range(len(self.x)):
            slot = space.slots[j]
            if not problem.movable[j] or not any(
                c in self.place for c in range(slot.start, slot.stop)
            ):
                continue
            changes = [
                sum(c * solution[v] for v, c in self.place.get(column, {}).items())
                for column in range(slot.start, slot.stop)
            ]
            if space.discrete[j]:
                picked = int(np.argmax(changes))
                if changes[picked] > 0.5:
                    values[j], mask[j] = picked, True
                continue
            acted = j not in self.shifts or solution[self.acts[j]] > 0.5
            value = self.x[j] + changes[0] * problem.cost.scale[j]
            value = np.rint(value) if space.integer[j] and abs(changes[0]) > 1e-7 else value
            moved = abs(value - self.x[j]) > 1e-9 * problem.cost.scale[j]
            if moved and acted:
                values[j] = float(np.clip(value, self.low[j], self.high[j]))
            mask[j] = acted and (moved or j in self.shifts)
        return mask, values

"""The program of one person: moves, rules, causes and costs as rows of a mixed-integer program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..core.errors import ParameterError, QuestionError
from .problem import RecourseProblem
from .program import Program, Terms
from .structure import Linear, inverse_link

Condition = Callable[["Plan"], None]


@dataclass
class Plan:
    """The program of one person.

    minimise cost subject to the rules of the problem and a condition on what the person becomes.

    Attributes:
        place: Design column -> terms that give its change, in scaled units for numbers; every
            piece speaks about these changes only, so that other models are other pieces.
        margin: More score than needed, in units of the condition's largest weight.
        cutoff: What some action is known to cost; dearer ones are left out.
        refused: Leaves of trees, one of each, that the model is known not to accept together.
        until: Clock (``perf_counter``) when preparations should end.
        acts: Feature -> the 0/1 variable that says whether it is acted on, where that matters.
        shifts: Feature with causes -> how far an action takes it from where they put it.
        leaves: Leaf -> its variable, where the model is trees.
        certain: Leaves of the trees of which no other leaf is in reach.
    """

    problem: RecourseProblem
    condition: Condition | None
    effects: np.ndarray | None
    x: np.ndarray
    margin: float
    cutoff: float = np.inf
    refused: tuple = ()
    until: float = np.inf
    program: Program = field(default_factory=Program)
    place: dict[int, Terms] = field(default_factory=dict)
    acts: dict[int, int] = field(default_factory=dict)
    shifts: dict[int, int] = field(default_factory=dict)
    leaves: dict[int, int] = field(default_factory=dict)
    certain: tuple[int, ...] = ()

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
        if np.isfinite(self.cutoff):
            charged = {v: c for v, c in enumerate(self.program.costs) if c}
            self.program.row(charged, high=self.cutoff)
        if self.condition is not None:
            self.condition(self)

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
        if problem.cost.norm != "l0":  # no further than the whole cost allows
            most = self.cutoff / problem.cost.weights[j]
            rise, fall = min(rise, most), min(fall, most)
        up, down = program.variable(high=rise), program.variable(high=fall)
        self._charge(dict.fromkeys((up, down), problem.cost.weights[j]))
        self.place[slot] = {up: 1.0, down: -1.0}
        if problem.space.integer[j]:
            self._whole(j, {up: -scale, down: scale})
        if self.counts or j in self.acts:
            act = self._act(j)
            program.row({up: 1.0, act: -self.finite(j, rise)}, high=0.0)
            program.row({down: 1.0, act: -self.finite(j, fall)}, high=0.0)

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
        program.row({value: 1.0, act: -self.finite(j, high)}, high=0.0)

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
        most = self.finite(j, max(rise, fall, 0.0)) + self.spans[j]
        self._charge({charged: problem.cost.weights[j]})
        for sign in (1.0, -1.0):
            program.row({charged: 1.0, change: -sign, act: -most}, low=-most)
            program.row({shift: sign, act: -(most + self.spans[j])}, high=0.0)
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
    def spans(self) -> np.ndarray:
        """Largest possible change of every feature, in its scale, from ranges and effects."""
        scale, movable = self.problem.cost.scale, self.problem.movable
        own = np.where(movable, np.maximum(self.high - self.x, self.x - self.low) / scale, 0.0)
        for j in range(len(own)):
            self.finite(j, own[j])
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

    def combine(self, weights: np.ndarray) -> Terms:
        """``weights @ change`` of the design columns as terms; changes in scaled units."""
        terms: Terms = {}
        for column, change in self.place.items():
            for variable, c in change.items():
                terms[variable] = terms.get(variable, 0.0) + c * weights[column]
        return terms

    def finite(self, j: int, value: float) -> float:
        if not np.isfinite(value):
            raise ParameterError(
                "has no bounds, which counting changes, causes and models that are not linear need",
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


def linear_condition(model: Linear) -> Condition:
    """The model's decision beyond the threshold, in units of its largest weight."""

    def add(plan: Plan) -> None:
        problem, sign = plan.problem, plan.problem.target.sign
        scale = np.where(problem.space.discrete, 1.0, problem.cost.scale)[problem.space.owner]
        terms = plan.combine(sign * model.weights * scale)
        size = max((abs(w) for w in terms.values()), default=0.0) or 1.0
        today = model.decision(problem.space.design(plan.x[None]))[0]
        goal = inverse_link(model.link, problem.target.threshold)
        need = sign * (goal - today) / size + plan.margin
        plan.program.row({v: w / size for v, w in terms.items()}, low=need)

    return add

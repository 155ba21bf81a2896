"""A mixed-integer program put together from pieces: variables, rows, one call to the solver.

A piece (cost, linear model, couplings, causal model) adds variables and rows in units of the
features' scales, so that the solver's absolute tolerances mean the same for every feature.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

_WORDS = {0: "optimal", 1: "time limit", 2: "infeasible", 3: "unbounded"}
Terms = dict[int, float]


@dataclass(frozen=True)
class Solution:
    """What the solver says.

    Attributes:
        values: Best values found, or None.
        bound: Proven lower bound of the objective.
        status: ``"optimal"``, ``"infeasible"``, ``"time limit"`` or ``"unbounded"``.
    """

    values: np.ndarray | None
    bound: float
    status: str


@dataclass
class Program:
    """Minimise a linear objective over linear rows, some variables being whole numbers."""

    costs: list[float] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _columns: list[int] = field(default_factory=list)
    _values: list[float] = field(default_factory=list)
    _row_lows: list[float] = field(default_factory=list)
    _row_highs: list[float] = field(default_factory=list)

    def variable(
        self, low: float = 0.0, high: float = np.inf, cost: float = 0.0, whole: bool = False
    ) -> int:
        """A new variable; returns its number."""
        self.costs.append(cost)
        self.lows.append(low)
        self.highs.append(high)
        self.whole.append(whole)
        return len(self.costs) - 1

    def binary(self, cost: float = 0.0) -> int:
        """A new 0/1 variable."""
        return self.variable(0.0, 1.0, cost, whole=True)

    def row(self, terms: Terms, low: float = -np.inf, high: float = np.inf) -> None:
        """``low <= sum of coefficient * variable <= high``."""
        here = len(self._row_lows)
        for column, value in terms.items():
            self._rows.append(here)
            self._columns.append(column)
            self._values.append(value)
        self._row_lows.append(low)
        self._row_highs.append(high)

    def solve(self, time_limit: float) -> Solution:
        """Ask HiGHS for a solution that is proven optimal, or for the best within the time."""
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        if not self.costs:  # somebody who can do nothing at all: every row is the number zero
            holds = all(
                low <= 0 <= high for low, high in zip(self._row_lows, self._row_highs, strict=True)
            )
            return Solution(np.empty(0) if holds else None, 0.0, _WORDS[0 if holds else 2])
        costs = np.array(self.costs)
        shape = (len(self._row_lows), len(costs))
        matrix = csr_array((self._values, (self._rows, self._columns)), shape=shape)
        answer = milp(
            costs,
            integrality=np.array(self.whole, dtype=int),
            bounds=Bounds(np.array(self.lows), np.array(self.highs)),
            constraints=LinearConstraint(matrix, self._row_lows, self._row_highs),
            options={"time_limit": time_limit, "mip_rel_gap": 0.0},
        )
        word = _WORDS.get(answer.status, "infeasible")
        bound = getattr(answer, "mip_dual_bound", None)
        if bound is None:  # a program without whole numbers has its value as its bound
            bound = answer.fun if word == "optimal" else -np.inf
        return Solution(answer.x, float(bound), word)

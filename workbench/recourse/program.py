"""A mixed-integer program put together from pieces: variables, rows, one call to the solver.

A piece (cost, linear model, couplings, causal model) adds variables and rows in units of the
features' scales, so that the solver's absolute tolerances mean the same for every feature.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

Terms = dict[int, float]
_WORDS = {0: "optimal", 1: "time limit", 2: "infeasible", 3: "unbounded"}


@dataclass(frozen=True)
class Solution:
    """What the solver says.

    Attributes:
        values: Best values found, or None.
        bound: Proven lower bound of the objective.
        status: ``"optimal"``, ``"infeasible"`` (proven), ``"time limit"``, ``"unbounded"`` or
            ``"numerical trouble"``.
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

    def interval(self, terms: Terms) -> tuple[float, float]:
        """Least and largest value of terms by the ranges of their variables alone."""
        low = high = 0.0
        for v, c in terms.items():
            ends = c * self.lows[v], c * self.highs[v]
            low, high = low + min(ends), high + max(ends)
        return low, high

    def extremes(self, many: list[Terms], until: float = np.inf) -> np.ndarray:
        """Least and largest values ``(2, k)`` of terms by all rows so far, fractions allowed.

        NaN where the solver gives no answer, or ``until`` (``perf_counter``) has passed.
        """
        from scipy.optimize import milp

        out, parts = np.full((2, len(many)), np.nan), self._parts()
        for k, terms in enumerate(many):
            if time.perf_counter() > until:
                break
            goal = np.zeros(len(self.costs))
            goal[list(terms)] = list(terms.values())
            for side, sign in enumerate((1.0, -1.0)):
                answer = milp(sign * goal, **parts)
                if answer.status == 0:
                    out[side, k] = sign * answer.fun
        return out

    def _parts(self) -> dict:
        """Bounds and rows as the solver reads them."""
        from scipy.optimize import Bounds, LinearConstraint
        from scipy.sparse import csr_array

        shape = (len(self._row_lows), len(self.costs))
        matrix = csr_array((self._values, (self._rows, self._columns)), shape=shape)
        return {
            "bounds": Bounds(np.array(self.lows), np.array(self.highs)),
            "constraints": LinearConstraint(matrix, self._row_lows, self._row_highs),
        }

    def solve(self, time_limit: float) -> Solution:
        """Ask HiGHS for a solution that is proven optimal, or for the best within the time."""
        from scipy.optimize import milp

        if not self.costs:  # somebody who can do nothing at all: every row is the number zero
            holds = all(
                low <= 0 <= high for low, high in zip(self._row_lows, self._row_highs, strict=True)
            )
            return Solution(np.empty(0) if holds else None, 0.0, _WORDS[0 if holds else 2])
        limits = {"time_limit": time_limit, "mip_rel_gap": 0.0}
        whole, parts = np.array(self.whole, dtype=int), self._parts()
        answer = milp(np.array(self.costs), integrality=whole, **parts, options=limits)
        if answer.status not in _WORDS:  # presolve can't always tell infeasible from unbounded
            limits["presolve"] = False
            answer = milp(np.array(self.costs), integrality=whole, **parts, options=limits)
        word = _WORDS.get(answer.status, "numerical trouble")
        bound = getattr(answer, "mip_dual_bound", None)
        if bound is None:  # a program without whole numbers has its value as its bound
            bound = answer.fun if word == "optimal" else -np.inf
        bound = float(bound) if np.isfinite(bound) or word == "optimal" else -np.inf
        return Solution(answer.x, bound, word)

"""Provably cheapest recourse: which solver answers for which model."""

from __future__ import annotations

import time

import numpy as np
from tqdm import tqdm

from ..core.errors import QuestionError
from ..core.saving import saveable
from .exact_cells import TreeCondition
from .exact_plan import Condition, Plan, linear_condition
from .exact_relu import relu_condition
from .method import FOUND, INFEASIBLE, NOT_FOUND, Actions, RecourseMethod, Status
from .nearest_target import NearestTarget
from .problem import RecourseProblem
from .search import feasible, trim, with_spare
from .structure import Unknown
from .tree_search import Answer, TreeSearch
from .wachter import Wachter
from .world import LinearWorld

# The solver is exact to 1e-7: where that decides, a little more score is asked for.
_FURTHER = (1e-9, 1e-7, 1e-6)
_MARGINS = (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
_TIES = 100  # scores at the threshold itself that are refused before giving up
_Action = tuple[np.ndarray, np.ndarray]  # mask and values of one person


@saveable
class ExactRecourse(RecourseMethod):
    """The cheapest permitted action, with a proof: a bound that no other action can beat.

    minimise cost(x, a) subject to decision(state(a)) >= threshold, with levels as 0/1 variables,
    counts as whole numbers, directions and ranges as bounds, and couplings as rows. With a linear
    causal model the state solves dz = W dz + shift, where only acted features have a shift.

    Linear and logistic models, also in pipelines, outcomes of linear causal models, and small ReLU
    networks (scikit-learn, torch) are mixed-integer programs, solved by HiGHS; a unit of a network
    takes a 0/1 variable where its sign is open, within bounds sharpened by linear programs. Trees,
    forests and boosted trees (scikit-learn, LightGBM) are searched by branch and bound over the
    cells between thresholds, cut off by a dual bound in which every tree pays its share of the
    costs; with couplings or a linear causal model they are such programs too. A good action from a
    quick search limits the cost from above, which saves time and changes no result. A bound holds
    up to 1e-6, to which solvers compute. Costs ``"l1"``, ``"l0"`` and ``"linf"``.

    For other models use :class:`Wachter` (gradients), :class:`GrowingSpheres` (anything that gives
    a score) or :class:`NearestTarget`; for thousands of people and large forests too.

    Args:
        time_limit: Seconds per person. When they are used up, the best action found so far is
            recommended with its bound, or the status says that none was found. Compiling the
            search over trees takes some seconds more, once per machine.

    Raises:
        QuestionError: A cost that is not linear, a causal model that is not, or a model of
            unknown structure.
        ParameterError: ``time_limit`` is not positive; a range that a program needs is infinite.

    References:
        Ustun, Spangher and Liu, "Actionable recourse in linear classification", FAT* 2019;
        Karimi, Schoelkopf and Valera, "Algorithmic recourse: from counterfactual explanations to
        interventions", FAccT 2021 (actions through a causal model); Parmentier and Vidal, "Optimal
        counterfactual explanations in tree ensembles", ICML 2021 (the question for trees).

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
        self._require_positive("time_limit")
        if problem.cost.norm not in ("l1", "l0", "linf") or problem.cost.curves:
            shown = problem.cost.norm if not problem.cost.curves else "percentile"
            raise QuestionError(
                f"a {shown!r} cost is not linear",
                advice="Use Wachter, or cost='l1' with scale 'sd', 'range' or 'mad'.",
            )
        self._effects = LinearWorld.of(problem)
        self._search: TreeSearch | None = None
        self._start: RecourseMethod | None = None
        self._condition = self._read(problem)

    def _read(self, problem: RecourseProblem) -> Condition | None:
        """What the model asks of a program; None where trees are searched without one."""
        view, structure = problem.view, problem.view.structure
        if structure == "linear":
            return linear_condition(view.linear())
        if structure == "relu":
            self._start = Wachter().fit(problem)
            return relu_condition(view.relu())
        if structure == "trees":
            if problem.world is not None or len(problem.couplings):
                if problem.data is not None:
                    self._start = NearestTarget().fit(problem)
                return TreeCondition(problem, view.trees())
            self._search = TreeSearch(problem, view.trees())
            return None
        raise Unknown(
            f"ExactRecourse needs a linear model, trees or a ReLU network: {view.name} is not "
            "known to be one",
            advice="Use Wachter."
            if structure == "differentiable"
            else "Use GrowingSpheres or NearestTarget.",
        )

    @property
    def _weights(self) -> np.ndarray | None:
        return None if self._effects is None else self._effects.weights

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        n, width = x.shape
        mask, values = np.zeros((n, width), dtype=bool), x.copy()
        status = Status.where(np.ones(n), "")
        bound = np.full(n, np.nan)
        starts = self._starts(x)
        for i in tqdm(range(n), desc="recourse", delay=2, disable=not progress, leave=False):
            if self._search is not None:
                answer = self._search.solve(x[i], self.time_limit)
                mask[i] = answer.values is not None and answer.values != x[i]
            else:
                mask[i], answer = self._by_program(x[i], starts[i])
            values[i] = x[i] if answer.values is None else answer.values
            bound[i], status.words[i], status.reasons[i] = answer.bound, answer.word, answer.reason
        if self._search is not None:  # every change ends at the edge of a cell
            return Actions(mask, values, status, bound)
        found = np.flatnonzero(status.words == FOUND)
        # The solver is exact to 1e-7; bisection takes the rest off, for everybody at once.
        values[found] = trim(self.problem_, x[found], mask[found], values[found], halvings=40)
        return Actions(*with_spare(self.problem_, x, mask, values), status, bound)

    def _starts(self, x: np.ndarray) -> list[_Action | None]:
        """A good action of each person, where a search helps the solver."""
        if self._start is None:
            return [None] * len(x)
        actions = self._start._recommend(x, False)
        found = np.flatnonzero(actions.status.words == FOUND)
        starts: list[_Action | None] = [None] * len(x)
        for k in reversed(range(actions.mask.shape[1])):
            mask, values = actions.mask[found, k], actions.values[found, k]
            values = np.where(mask, values, x[found])
            for at in np.flatnonzero(feasible(self.problem_, x[found], mask, values)):
                starts[found[at]] = mask[at], values[at]
        return starts

    def _by_program(self, x: np.ndarray, start: _Action | None) -> tuple[np.ndarray, Answer]:
        """The solver's answer for one person, or the start where that is cheaper."""
        problem, cutoff, dearest = self.problem_, np.inf, np.inf
        if start is not None:
            dearest = float(problem.cost(x[None], start[0][None], start[1][None])[0])
            cutoff = dearest * (1 + 1e-6) + 1e-6
        end = time.perf_counter() + self.time_limit
        mask, answer = self._solved(x, cutoff, end)
        if answer.word == INFEASIBLE and start is not None:  # the limit was too tight to compute
            mask, answer = self._solved(x, np.inf, end)
        if start is None:
            return mask, answer
        values = x if answer.values is None else answer.values
        if answer.values is None or problem.cost(x[None], mask[None], values[None])[0] > dearest:
            proven = answer.bound if answer.word != INFEASIBLE else 0.0  # of what is possible
            return start[0], Answer(start[1], proven, FOUND)
        return mask, answer

    def _solved(self, x: np.ndarray, cutoff: float, end: float) -> tuple[np.ndarray, Answer]:
        """Solve for one person; ask for a little more score until the true model agrees."""
        problem, bound, step, refused = self.problem_, -np.inf, 0, []
        nothing = np.zeros(len(x), dtype=bool)
        while step < len(_MARGINS) and len(refused) < _TIES:
            # Half of the time may go into preparing the program.
            half = 0.5 * (end + time.perf_counter())
            more = {"cutoff": cutoff, "refused": tuple(refused), "until": half}
            plan = Plan(problem, self._condition, self._weights, x, _MARGINS[step], **more)
            solution = plan.program.solve(max(end - time.perf_counter(), 0.01))
            if solution.status == "infeasible" and step:
                break  # more score than needed can't be had, as much as needed can
            if solution.status == "infeasible":
                return nothing, Answer(None, np.nan, *self._why_not(x))
            if step == 0:  # the question itself; later programs ask for more
                bound = max(bound, solution.bound, 0.0)
            if solution.values is None:
                why = f"the solver stopped ({solution.status}, {self.time_limit:g} s)"
                return nothing, Answer(None, bound, NOT_FOUND, why)
            if problem.budget is not None and bound > problem.budget * (1 + 1e-6):
                why = f"every way costs at least {bound:.4g}, the budget is {problem.budget:g}"
                return nothing, Answer(None, bound, INFEASIBLE, why)
            mask, values = plan.action(solution.values)
            accepted = self._accepted(x, mask, values)
            if accepted is not None:
                return mask, Answer(accepted, bound, FOUND)
            tie = None
            if isinstance(self._condition, TreeCondition):
                tie = self._condition.tie(plan, solution.values)
            if tie is None:
                step += 1
            else:
                refused.append(tie)
        why = "the model disagrees with its own form as rows of a program"
        return nothing, Answer(None, bound, NOT_FOUND, why)

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
        free = Plan(self.problem_, None, self._weights, x, 0.0)
        if free.program.solve(self.time_limit).status == "infeasible":
            return INFEASIBLE, "no permitted action satisfies the constraints"
        return INFEASIBLE, "no permitted action reaches the target"

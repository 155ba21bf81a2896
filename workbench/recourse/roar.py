"""ROAR: recourse that still works after the model's weights have moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import ParameterError, QuestionError, did_you_mean
from ..core.parameters import require_one_of
from ..core.saving import saveable
from .method import FOUND, INFEASIBLE, NOT_FOUND, Actions, RecourseMethod, Status
from .problem import RecourseProblem
from .robust_linear import Ball, Box, Margin, Robust, Segments, Wish
from .robust_program import RobustProgram, out_of_reach, too_dear
from .structure import inverse_link
from .wachter import Wachter
from .world import LinearWorld

_OBJECTIVES = ("hard", "penalised")
_NORMS = ("linf", "l2")
_QUICK = 1  # starts of the attack while searching
# Rounds, starts and flips of the attack with which the search mends what it found, and of that
# which results must survive.
_MENDED, _CHECKED = (8, 8, True), (8, 16, True)


@saveable
class ROAR(RecourseMethod):
    """Recourse that the model still accepts after the worst shift of its weights.

    With w the weights (the intercept included) and Delta the shifts that are feared, ``"hard"``
    minimises cost(x, a) subject to min over delta in Delta of score_{w + delta}(state(a)) >=
    margin, and ``"penalised"`` minimises softplus(-worst score) + weight * cost(x, a), as
    published. Scores are decisions (logits) beyond the target's, over the model's *own* inputs,
    after the scaler and the encoder of its pipeline: the shift alpha |m|_1 depends on their unit
    and origin.

    - Linear models: the worst score is concave, so both forms are convex and solved exactly, for
      an L-infinity ball by sorting pieces (:mod:`~workbench.recourse.robust_linear`: whole tables
      at once). Couplings, counts, ``max_changes``, more than 512 combinations of levels, inputs
      that mix features, Lp balls and linear causal models go through one mixed-integer program per
      person (milliseconds each).
    - ReLU networks (``"hard"``, ``"linf"``): gradient search against the worst shift, which is
      itself searched in boxes of half-width ``delta_max`` * mean |W| per layer. It proves nothing,
      and neither does it for linear models with costs other than ``"l1"``, where the worst shift
      is exact but the search is not.

    "infeasible" says how high the worst score can get. Trees have no weights: ask for a higher
    threshold instead. Where shifts are not feared, :class:`ExactRecourse` is cheaper; where people
    miss what they were told to do, use :class:`PROBE`.

    Args:
        delta_max: Largest shift of a weight of a linear model (radius of an Lp ball); of networks,
            relative to the mean absolute weight of each layer.
        norm: ``"linf"`` (each weight on its own), ``"l2"``, or a number p > 1: the norm of shifts.
        objective: ``"hard"`` or ``"penalised"``.
        weight: Of the cost, where it is penalised.
        margin: Worst score to reach, in units of the decision, where it is hard.
        steps, learning_rate: Of the search, see :class:`Wachter`.
        attack_rounds: How often signs of a network's worst shift are asked again.
        time_limit: Seconds per program.

    Raises:
        QuestionError: A model without readable weights, a causal model that is not linear, a form
            that this model has not; each says what is possible.

    References:
        Upadhyay, Joshi and Lakkaraju, "Towards robust and reliable algorithmic recourse", NeurIPS
        2021. The exact linear solution, the worst case of networks by signs and the search are
        ours.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from sklearn.linear_model import LogisticRegression
        >>> from workbench.recourse import RecourseProblem
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
        >>> model = LogisticRegression().fit(df, df["a"] + 0.5 * df["b"] > 0)
        >>> problem = RecourseProblem(model, data=df, scale={"a": 1, "b": 1})
        >>> method = ROAR(delta_max=0.2).fit(problem)
        >>> plan = method.recommend(df)
        >>> bool((method.worst_case(plan.recommended)[plan.status == "found"] >= 0).all())
        True
    """

    def __init__(
        self,
        delta_max: float = 0.1,
        norm: str | float = "linf",
        objective: str = "hard",
        weight: float = 0.1,
        margin: float = 0.0,
        steps: int = 200,
        learning_rate: float = 0.05,
        attack_rounds: int = 2,
        time_limit: float = 10.0,
    ):
        self.delta_max, self.norm, self.objective = delta_max, norm, objective
        self.weight, self.margin = weight, margin
        self.steps, self.learning_rate = steps, learning_rate
        self.attack_rounds, self.time_limit = attack_rounds, time_limit

    _among = "that survives the worst shift of the model"

    # -- preparing -------------------------------------------------------------------------

    def _fit(self, problem: RecourseProblem) -> None:
        self._check()
        shift, self._asked = self._shift(), problem
        self._robust = self._solver = self._search = self._network = None
        if problem.view.inside.find("linear") is not None:
            self._robust = Robust.of(problem, shift)
            if problem.cost.norm == "l1" and not problem.cost.curves:
                self._solver = exact_solver(problem, self._robust, self.time_limit)
                return
        self._refuse_search(problem)
        from .robust_network import ShiftedNetwork, hardened

        if self._robust is not None:
            decide = _linear_decision(problem, self._robust)
            quick, sure = hardened(problem, self._robust.worst, decide, self.margin), None
        else:
            self._network = ShiftedNetwork.of(problem, self.delta_max)
            quick, sure = self._hardened(self.attack_rounds, _QUICK), self._hardened(*_MENDED)
            many = self._hardened(*_CHECKED)
            self._harder = search_for(quick, self.steps, self.learning_rate, many)
        self._search = search_for(quick, self.steps, self.learning_rate, sure)

    def _hardened(self, rounds: int, starts: int, flips: bool = False) -> RecourseProblem:
        from .robust_network import hardened

        network = self._network
        return hardened(
            self._asked,
            lambda design: network.worst(design, rounds, starts, flips),
            network.descend(rounds, starts),  # slopes don't need the last word
            self.margin,
        )

    def _check(self) -> None:
        for name in ("delta_max", "margin"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ParameterError("must be zero or more", column=name, value=value)
        self._require_positive("weight", "steps", "learning_rate", "attack_rounds", "time_limit")
        require_one_of("objective", self.objective, _OBJECTIVES)

    def _shift(self) -> Margin:
        if self.norm == "linf" or self.norm == np.inf:
            return Box(float(self.delta_max))
        if self.norm == "l2":
            return Ball(float(self.delta_max))
        if isinstance(self.norm, str) or not 1 < self.norm < np.inf:
            raise ParameterError(
                "must be 'linf', 'l2' or a number above 1",
                column="norm",
                value=self.norm,
                advice=did_you_mean(self.norm, _NORMS),
            )
        return Ball(float(self.delta_max), self.norm / (self.norm - 1.0))

    def _refuse_search(self, problem: RecourseProblem) -> None:
        """What a search can't answer is refused by name."""
        if self.objective == "penalised":
            raise QuestionError(
                "is solved for linear models with an 'l1' cost only",
                column="objective",
                value="penalised",
                advice="Use objective='hard'.",
            )
        if self._robust is not None:
            return
        if not isinstance(self._shift(), Box):
            raise QuestionError(
                "of the shift is followed through linear models only",
                column="norm",
                value=self.norm,
                advice="Use norm='linf'.",
            )

    # -- answering -------------------------------------------------------------------------

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        if self._solver is not None:
            wish = Wish(self.objective == "hard", float(self.margin), float(self.weight))
            return solve(self.problem_, self._solver, x, wish, progress)
        actions = self._search(x, progress)
        if self._network is None:
            return actions
        # What survived the attack of the search must survive a longer one, or is sought with it.
        weak = self._weak(x, actions)
        if len(weak):
            again = self._harder(x[weak], progress)
            actions.mask[weak], actions.values[weak] = again.mask, again.values
            actions.status.words[weak] = again.status.words
            actions.status.reasons[weak] = again.status.reasons
            weak = weak[np.isin(weak, self._weak(x, actions))]
        actions.status.words[weak] = NOT_FOUND
        actions.status.reasons[weak] = "a longer search found a shift that breaks the proposal"
        return actions

    def _weak(self, x: np.ndarray, actions: Actions) -> np.ndarray:
        """Those whose proposal a shift breaks."""
        found = np.flatnonzero(actions.status.words == FOUND)
        if not len(found):
            return found
        states = self.problem_.apply(x[found], actions.mask[found, 0], actions.values[found, 0])
        return found[self._beyond(states) < self.margin]

    def worst_case(self, df: pd.DataFrame) -> pd.Series:
        """Decision of each row beyond the target after the worst shift, by the caller's index.

        Zero or more means that no feared shift (for networks: none that was found) turns the row
        down. In units of the decision: logits, where the model gives probabilities.
        """
        self._require_fitted()
        codes = self.problem_.space.codes(df)
        full = ~np.isnan(codes).any(axis=1)
        worst = np.full(len(codes), np.nan)
        worst[full] = self._beyond(codes[full])
        return pd.Series(worst, index=df.index, name="worst case")

    def _beyond(self, codes: np.ndarray) -> np.ndarray:
        design = self.problem_.space.design(codes)
        if self._robust is not None:
            return self._robust.worst(design)
        return self._network.worst(design, *_CHECKED)


Solver = Segments | RobustProgram
Search = Callable[[np.ndarray, bool], Actions]


def search_for(
    problem: RecourseProblem, steps: int, rate: float, sure: RecourseProblem | None = None
) -> Search:
    """A search on a hardened problem: along the boundary, or where that can't go, by gradient."""
    if problem.world is None and problem.cost.norm == "l1" and not problem.cost.curves:
        from .robust_search import BoundarySearch

        why = "no permitted action was found that keeps the worst case on the right side"
        boundary = BoundarySearch(problem, steps, rate, sure)
        return lambda x, progress: boundary.recommend(x, progress, why)
    return Wachter(steps, rate).fit(problem)._recommend


def exact_solver(problem: RecourseProblem, robust: Robust, time_limit: float) -> Solver:
    """Sorted pieces where features don't depend on each other, else one program per person."""
    if not Segments.why_not(problem, robust):
        return Segments(problem, robust)
    return RobustProgram(problem, robust, LinearWorld.of(problem), time_limit)


def solve(
    problem: RecourseProblem, solver: Solver, x: np.ndarray, wish: Wish, progress: bool
) -> Actions:
    """Exact proposals for people ``(n, F)``."""
    if isinstance(solver, Segments):
        return _at_once(problem, solver, x, wish)
    mask, values, bound = np.zeros(x.shape, dtype=bool), x.copy(), np.full(len(x), np.nan)
    status = Status.where(np.ones(len(x)), "")
    for i in tqdm(range(len(x)), desc="recourse", delay=2, disable=not progress, leave=False):
        mask[i], values[i], bound[i], word, why = solver.one(x[i], wish)
        status.words[i], status.reasons[i] = word, why
    return Actions(mask, values, status, bound if wish.hard else None)


def _at_once(problem: RecourseProblem, solver: Segments, x: np.ndarray, wish: Wish) -> Actions:
    answer = solver.solve(x, wish)
    found = np.isfinite(answer.cost)
    status = Status.where(found, "", INFEASIBLE)
    if wish.hard:
        over = np.zeros(len(x), dtype=bool)
        if problem.budget is not None:
            over = found & (answer.cost > problem.budget * (1 + 1e-9))
        for i in np.flatnonzero(~found):
            status.reasons[i] = out_of_reach(answer.most[i], wish)
        for i in np.flatnonzero(over):
            status.words[i] = INFEASIBLE
            status.reasons[i] = too_dear(answer.cost[i], problem.budget)
    bound = np.where(found, answer.cost, np.nan) if wish.hard else None
    return Actions(answer.values != x, answer.values, status, bound)


def _linear_decision(problem: RecourseProblem, robust: Robust):
    """The worst decision of a linear model, differentiable, for searches."""
    import torch

    goal = inverse_link(problem.view.link, problem.target.threshold)
    matrix = torch.from_numpy(robust.inputs.matrix.T.copy())
    offset, weights = torch.from_numpy(robust.inputs.offset), torch.from_numpy(robust.weights)

    def decide(design: torch.Tensor) -> torch.Tensor:
        inputs = design @ matrix + offset
        margin = robust.margin
        beyond = inputs @ weights + robust.start
        if isinstance(margin, Box):
            beyond = beyond - margin.alpha * (inputs.abs().sum(-1) + 1.0)
        elif isinstance(margin, Ball):
            size = ((inputs.abs() ** margin.q).sum(-1) + 1.0) ** (1.0 / margin.q)
            beyond = beyond - margin.alpha * size
        else:
            beyond = beyond - margin.amount
        return problem.target.sign * beyond + goal

    return decide

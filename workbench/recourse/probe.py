"""PROBE: recourse that still works when people do roughly what they were told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ..core.errors import ParameterError
from ..core.saving import saveable
from .method import FOUND, NOT_FOUND, Actions, RecourseMethod
from .noise import Noise, turned_down
from .problem import RecourseProblem
from .roar import exact_solver, search_for, solve
from .robust_linear import Fixed, Robust, Wish
from .robust_network import hardened
from .structure import inverse_link

_SURE = 0.99
_SEARCHED = 128
_SHARES = (0.9, 0.7, 0.4)  # of the rate, on few draws: what fails on many is asked for less


@saveable
class PROBE(RecourseMethod):
    """Recourse whose chance of failing under noisy implementation is at most a chosen rate.

    minimise cost(x, a) subject to P(state(a) + noise is turned down) <= r, with independent
    Gaussian noise on every actionable number that is no count. The published form adds a hinge on
    the rate to a loss and hopes; here the rate is a constraint.

    - Linear models with an ``"l1"`` cost: score >= sd(score) * z_{1-r} with
      sd^2 = sum_j (slope_j sigma_j)^2, which is exact; solved exactly, as :class:`ROAR` does.
    - Other models with a gradient: a search with the same margin on the score's linearisation,
      mended where the quantile of 128 Sobol draws of noise says that it is not enough. The result
      is asked again with ``draws`` others and stays only if a one-sided 99 % Clopper-Pearson bound
      of its rate is at most ``rate``; else the search asks for a smaller rate.

    A range of a feature limits what is recommended, not what noise makes of it. Noise is not
    followed through a causal model. Where the model changes and people don't, use :class:`ROAR`.

    Args:
        rate: Largest chance r of being turned down, between 0 and 0.5.
        sigma: Standard deviation of the noise in units of the cost's scale (by default standard
            deviations of the data), or feature -> in its own unit.
        draws: Of noise, to verify with.
        steps, learning_rate: Of the search, see :class:`Wachter`.
        time_limit: Seconds per program, see :class:`ROAR`.
        random_state: Of the draws.

    References:
        Pawelczyk, Datta, van den Heuvel, Kasneci and Lakkaraju, "Probabilistically robust
        recourse: navigating the trade-offs between costs and robustness in algorithmic recourse",
        ICLR 2023.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from sklearn.linear_model import LogisticRegression
        >>> from workbench.recourse import RecourseProblem, invalidation_probability
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
        >>> model = LogisticRegression().fit(df, df["a"] + 0.5 * df["b"] > 0)
        >>> problem = RecourseProblem(model, data=df, scale={"a": 1, "b": 1})
        >>> plan = PROBE(rate=0.1, sigma=0.2).fit(problem).recommend(df)
        >>> rate = invalidation_probability(problem, plan.recommended, sigma=0.2)
        >>> rate[plan.status == "found"].max().round(6).item()
        0.1
    """

    def __init__(
        self,
        rate: float = 0.15,
        sigma: float | Mapping[str, float] = 0.1,
        draws: int = 8192,
        steps: int = 200,
        learning_rate: float = 0.05,
        time_limit: float = 10.0,
        random_state: int = 0,
    ):
        self.rate, self.sigma, self.draws = rate, sigma, draws
        self.steps, self.learning_rate = steps, learning_rate
        self.time_limit, self.random_state = time_limit, random_state

    _among = "that fails no more often than asked for"

    def _fit(self, problem: RecourseProblem) -> None:
        if not 0 < self.rate < 0.5:
            raise ParameterError("must lie between 0 and 0.5", column="rate", value=self.rate)
        self._require_positive("draws", "steps", "learning_rate", "time_limit")
        self._noise, self._solver = Noise.of(problem, self.sigma), None
        if problem.view.inside.find("linear") is not None:
            slope = problem.view.linear().weights[_columns(problem)]
            margin = float(np.sqrt(((slope * self._noise.sd) ** 2).sum())) * _normal(1 - self.rate)
            if problem.cost.norm == "l1" and not problem.cost.curves:
                robust = Robust.of(problem, Fixed(margin))
                self._solver = exact_solver(problem, robust, self.time_limit)
                return
        problem.view.score_encoded(torch.zeros((1, problem.space.width), dtype=torch.double))
        drawn = self._noise.draws(_SEARCHED, self.random_state)
        self._searches = [
            search_for(
                _first_order(problem, self._noise, _normal(1 - rate)),
                self.steps,
                self.learning_rate,
                _quantile(problem, drawn, rate),
            )
            for rate in (self.rate * share for share in _SHARES)
        ]

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        if self._solver is not None:
            return solve(self.problem_, self._solver, x, Wish(True), progress)
        return self._verified(x, progress)

    def _verified(self, x: np.ndarray, progress: bool) -> Actions:
        """Search; what fails on fresh noise is searched again with a smaller rate."""
        fresh = self._noise.draws(self.draws, self.random_state + 1)
        actions = self._searches[0](x, progress)
        mask, values = actions.mask.copy(), actions.values.copy()
        weak = self._weak(x, mask, values, np.flatnonzero(actions.status.words == FOUND), fresh)
        for search in self._searches[1:]:
            if not len(weak):
                break
            again = search(x[weak], progress)
            mask[weak], values[weak] = again.mask, again.values
            actions.status.words[weak] = again.status.words
            found = weak[again.status.words == FOUND]
            actions.status.reasons[weak] = again.status.reasons
            weak = self._weak(x, mask, values, found, fresh)
        actions.status.words[weak] = NOT_FOUND
        actions.status.reasons[weak] = (
            f"no proposal was found whose rate of failing is surely at most {self.rate:g}"
        )
        return Actions(mask, values, actions.status, None)

    def _weak(
        self,
        x: np.ndarray,
        mask: np.ndarray,
        values: np.ndarray,
        rows: np.ndarray,
        noise: np.ndarray,
    ) -> np.ndarray:
        """Rows whose rate may exceed what was asked for."""
        from scipy.stats import beta

        states = self.problem_.apply(x[rows], mask[rows, 0], values[rows, 0])
        failed = turned_down(self.problem_, states, noise)
        return rows[beta.ppf(_SURE, failed + 1, len(noise) - failed) > self.rate]


def _columns(problem: RecourseProblem) -> np.ndarray:
    """Design column of every feature, the first where there are levels (which have no noise)."""
    return np.array([slot.start for slot in problem.space.slots])


def _normal(share: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(share))


def _first_order(problem: RecourseProblem, noise: Noise, times: float) -> RecourseProblem:
    """The problem with score - times * sd(score) in the score's place.

    The sd is that of the score's linearisation, whose own slope is left out: for ReLU networks it
    is zero almost everywhere.
    """
    sd = np.zeros(problem.space.width)
    sd[_columns(problem)] = noise.sd
    size = torch.from_numpy(sd)
    sign, decide = problem.target.sign, problem.view.decision_encoded
    goal = inverse_link(problem.view.link, problem.target.threshold)

    def margin(design: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        asked = design.detach().requires_grad_()
        decision = decide(asked)
        (slope,) = torch.autograd.grad(decision.sum(), asked)
        return decision.detach(), times * ((slope * size) ** 2).sum(dim=1).sqrt()

    def beyond(design: np.ndarray) -> np.ndarray:
        decision, taken = margin(torch.from_numpy(design))
        return (sign * (decision - goal) - taken).numpy()

    def lowered(design: torch.Tensor) -> torch.Tensor:
        return decide(design) - sign * margin(design)[1]

    return hardened(problem, beyond, lowered)


def _quantile(problem: RecourseProblem, noise: np.ndarray, rate: float) -> RecourseProblem:
    """The problem with the rate's quantile of the noisy decision in the decision's place."""
    shift = np.zeros((len(noise), problem.space.width))
    shift[:, _columns(problem)] = noise
    moved = torch.from_numpy(shift)
    rank = int(np.floor(rate * len(noise)))  # so many may be turned down
    near = slice(max(rank - len(noise) // 32, 0), rank + len(noise) // 32 + 1)
    sign, decide = problem.target.sign, problem.view.decision_encoded
    goal = inverse_link(problem.view.link, problem.target.threshold)

    def ordered(design: torch.Tensor) -> torch.Tensor:
        noisy = (design[:, None, :] + moved).reshape(-1, design.shape[1])
        return (sign * decide(noisy)).reshape(len(design), -1).sort(dim=1).values

    def beyond(design: np.ndarray) -> np.ndarray:
        parts = [np.empty(0)]
        with torch.no_grad():
            for at in range(0, len(design), 64):
                parts.append(ordered(torch.from_numpy(design[at : at + 64]))[:, rank].numpy())
        return np.concatenate(parts) - sign * goal

    def smooth(design: torch.Tensor) -> torch.Tensor:
        """The value of the quantile with the slope of its neighbourhood."""
        decisions = ordered(design)
        mean = decisions[:, near].mean(dim=1)
        return sign * (mean + (decisions[:, rank] - mean).detach())

    return hardened(problem, beyond, smooth)

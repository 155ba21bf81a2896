"""TOCA: from the target upstream, whose noise must be redrawn for the anomaly to vanish?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.errors import ParameterError
from ..core.results import number
from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from .base import Diagnoser, Findings
from .counterfactual_attribution import decompose, log_exceedance, warn_of_misfit
from .incident import Case
from .scorers import Scorer
from .system import System

_LEAST_SHARE = 0.01  # of the target's score: less than that is not worth a name
_BY_ITSELF = np.log(2.0)  # nats: what redrawing a noise of 0 takes, as half its draws lie below
_UNUSUAL = 3.0  # sd of the target's noise


@saveable
class TOCA(Diagnoser):
    """Redraw the noise of the target, then also of its causes one by one against causal order.

    With P_i the probability that the target is at least as far out when the first i nodes of that
    order have fresh noise and the others keep theirs, score_i = log(P_{i-1} / P_i): what the
    noise of node i contributes given that everything upstream stays as it was. Scores sum to
    -log P(the target is this far out).

    One order instead of all of them: a pass through the graph costs as much as one permutation of
    :class:`CounterfactualAttribution`, but between nodes that don't cause one another the order,
    and so who gets the credit, is arbitrary (here: the order of ``system.metrics``, which no name
    or unit changes). Prefer that class unless time is short.

    Redrawing a noise that is as usual as can be takes log 2 already, as half of the draws fall
    short of it: blamed are scores above log 2 by two standard errors, the target only if its own
    noise is unusual (beyond 3 sd).

    Mechanisms are linear and noise is normal, so that P has a closed form and never runs into 0;
    the standard error comes from redrawn mechanisms.

    Args:
        threshold: Standard deviations from which the target is anomalous; a number or
            metric -> number.
        scorer: How the anomaly of the target is judged.
        n_draws: Redrawn mechanisms behind the standard error; at least 2.
        random_state: Seed.

    References:
        Okati, Mejia, Orchard, Blöbaum and Janzing, "Root cause analysis of outliers with missing
        structural knowledge", NeurIPS 2024.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(size=300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> window = pd.DataFrame({"db": [12.0], "api": [24.5]})
        >>> TOCA().fit(system).rank(Incident(window, "api")).nodes[0]
        'db'
    """

    unit = "nats"

    def __init__(
        self,
        threshold: float | Mapping[str, float] = 3.0,
        scorer: Scorer = "z",
        n_draws: int = 30,
        random_state: Seed = 0,
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.n_draws = n_draws
        self.random_state = random_state

    def _fit(self, system: System) -> None:
        n = self.n_draws
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
            raise ParameterError("must be an integer, at least 2", column="n_draws", value=n)
        spawn(self.random_state, 1)

    def _rank(self, case: Case) -> Findings:
        system, nodes = case.system, case.system.nodes
        blank = np.full(len(nodes), np.nan)
        if system.constant[system.position[case.target]]:
            why = f"{case.target!r} never changed before: what moves it can't be learned"
            return Findings(blank, np.zeros(len(nodes), bool), [""] * len(nodes), abstain=why)
        shares = decompose(case, self.n_draws, generator(self.random_state))
        warn_of_misfit(case, shares)
        gain = _gains(shares.push[:, ::-1], shares.variance[:, ::-1])[:, ::-1]
        phi, error = gain[0], gain[1:].std(axis=0, ddof=1)
        place = [nodes.index(n) for n in shares.nodes]
        score, se, blamed = blank, blank.copy(), np.zeros(len(nodes), bool)
        score[place], se[place] = phi, error
        clear = (phi > _BY_ITSELF + 2 * error) & (phi > _LEAST_SHARE * phi.sum())
        aim = shares.nodes.index(system.node_of[case.target])
        # Part of a loop it has no noise of its own, and nothing here says that it is usual.
        clear[aim] &= not abs(shares.noise[0, aim]) <= _UNUSUAL
        blamed[place] = clear
        reasons = ["not a cause of the target"] * len(nodes)
        for i, value in zip(place, phi, strict=True):
            reasons[i] = (
                f"redrawing its noise too takes {number(value)} of {number(phi.sum())} nats"
            )
        return Findings(score, blamed, reasons, se, details={"mechanisms": "linear, normal noise"})


def _gains(push: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """log(P_{i-1} / P_i) when noise is redrawn in the order of the columns, shape (B, m)."""
    redrawn = np.cumsum(variance, axis=1)
    kept = np.cumsum(push[:, ::-1], axis=1)[:, ::-1] - push
    values = log_exceedance(kept, redrawn, push.sum(axis=1))
    return -np.diff(values, axis=1, prepend=0.0)

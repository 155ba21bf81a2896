"""N-sigma: the metric that is furthest from usual; the baseline every method must beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.saving import saveable
from .base import Diagnoser, Findings, leaders
from .incident import Case
from .scorers import Scorer


@saveable
class NSigma(Diagnoser):
    """Rank the causes of the target by how many standard deviations they are from usual.

    score_j = |x_j - mean_j| / sd_j; blamed are the anomalous ones. With a graph only ancestors
    of the target are ranked, and the reason says which of them have no anomalous parent
    ("upstream-most"); without one all metrics but the target are.

    It needs no mechanism and no graph, but a symptom that deviates more than its cause is
    ranked before it. Prefer :class:`CounterfactualAttribution` where the graph is known.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: ``"z"``, ``"robust"`` (faults among the fault-free rows) or ``"tail"`` (heavy
            tails).

    References:
        Pham et al., "Root cause analysis for microservice system based on causal inference: how
        far are we?", ASE 2024 (N-Sigma and its robust form among 21 methods).

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench.diagnosis import Incident, System
        >>> from workbench import CausalGraph
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(0, 1, 300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> ranking = NSigma().fit(system).rank(Incident(normal.head(1) + 6.0, "api"))
        >>> ranking.nodes
        ('db',)
    """

    needs_graph = False

    def __init__(self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "z"):
        self.threshold = threshold
        self.scorer = scorer

    def _rank(self, case: Case) -> Findings:
        system, lead = case.system, leaders(case)
        size, over = np.abs(case.deviation[lead]), case.anomalous[lead]
        candidate = np.isin(system.nodes, system.candidates(case.target))
        se = np.full(len(size), np.nan)
        if self.scorer == "z":  # delta method: the mean and the sd are themselves estimated
            n = system.count[lead]
            spread = np.maximum(system.kurtosis[lead] - 1, 0) / 4
            se = np.where(system.constant[lead], np.nan, np.sqrt((1 + size**2 * spread) / n))
        return Findings(
            score=np.where(candidate, size, np.nan),
            blamed=candidate & over,
            reasons=[
                self._reason(case, node, system.metrics[j], may)
                for node, j, may in zip(system.nodes, lead, candidate, strict=True)
            ],
            se=np.where(candidate, se, np.nan),
        )

    def _reason(self, case: Case, node: str, metric: str, candidate: bool) -> str:
        system, members = case.system, case.system.members(node)
        text = case.describe(metric)
        text = f"{metric!r} {text}" if len(members) > 1 else text
        if node == system.node_of[case.target]:
            return f"the target: {text}"
        if not candidate:
            return f"not a cause of the target: {text}"
        if not case.anomalous[system.position[metric]]:
            return f"usual: {text}"
        if not system.has_graph:
            return text
        above = dict.fromkeys(p for m in members for p in system.parents(m))
        odd = [p for p in above if case.anomalous[system.position[p]]]
        if not odd:
            return f"upstream-most: {text}, no anomalous parent"
        return f"{text}; downstream of anomalous {', '.join(map(repr, odd[:3]))}"

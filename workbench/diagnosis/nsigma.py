"""N-sigma: the metric that is furthest from usual; the baseline every method must beat."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.saving import saveable
from .base import Diagnoser, Findings, largest
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
        system = case.system
        size = np.abs(largest(case, case.deviation))
        over = largest(case, case.anomalous.astype(float)) > 0
        candidate = np.isin(system.nodes, system.candidates(case.target))
        # Standard error of a standardised value: the mean and the sd are themselves estimated.
        n = np.array(
            [
                min(system.count[system.position[m]] for m in system.members(node))
                for node in system.nodes
            ]
        )
        se = np.sqrt(1 / n + size**2 / (2 * n))
        return Findings(
            score=np.where(candidate, size, np.nan),
            blamed=candidate & over,
            reasons=[
                self._reason(case, node, may, odd)
                for node, may, odd in zip(system.nodes, candidate, over, strict=True)
            ],
            se=np.where(candidate, se, np.nan),
        )

    def _reason(self, case: Case, node: str, candidate: bool, anomalous: bool) -> str:
        system, members = case.system, case.system.members(node)
        worst = max(members, key=lambda m: abs(case.deviation[system.position[m]]))
        text = case.describe(worst)
        text = f"{worst!r} {text}" if len(members) > 1 else text
        if node == system.node_of[case.target]:
            return f"the target: {text}"
        if not candidate:
            return f"not a cause of the target: {text}"
        if not anomalous:
            return f"usual: {text}"
        if not system.has_graph:
            return text
        above = dict.fromkeys(p for m in members for p in system.parents(m))
        odd = [p for p in above if case.anomalous[system.position[p]]]
        if not odd:
            return f"upstream-most: {text}, no anomalous parent"
        return f"{text}; downstream of anomalous {', '.join(map(repr, odd[:3]))}"

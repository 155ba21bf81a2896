"""CIRCA: which metric left the law that ties it to its parents?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.results import number
from ..core.saving import saveable
from .base import Diagnoser, Findings, by_node
from .incident import Case
from .scorers import Scorer, deviations
from .structure import children_of

_LEAST_NOISE = 1e-4  # sd of the metric: a broken identity is an outlier, not infinite


@saveable
class CIRCA(Diagnoser):
    """Blame the metrics whose regression on their parents fails during the incident.

    r_j = max over the rows of |x_j - f_j(parents)| / sd of the noise: a soft intervention on j
    changes its residual, an anomaly that is passed on does not. Since a nonlinear effect far from
    the fault-free rows leaves residuals downstream, a node with r_j > threshold adds the
    largest r among its children; a child below that is replaced by its own children
    (descendant adjustment). Blamed are nodes with r_j > threshold, the target included.

    All rows of the window count, so that the exact time of the fault doesn't matter, but one odd
    row of any metric is enough to be blamed: specificity is low in long windows. Prefer
    :class:`CounterfactualAttribution` when the size of the effect on the target matters; CIRCA
    blames residuals that never reach it.

    Args:
        threshold: Standard deviations from which a residual is a change, and from which the
            target is anomalous; a number or metric -> number.
        scorer: How the anomaly of the target is judged.

    References:
        Li et al., "Causal inference-based root cause analysis for online service systems with
        intervention recognition", KDD 2022.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(size=300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> window = pd.DataFrame({"db": [5.0, 12.0], "api": [10.0, 24.0]})
        >>> CIRCA().fit(system).rank(Incident(window, "api")).nodes
        ('db',)
    """

    unit = "standard deviations of noise"

    def __init__(self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "z"):
        self.threshold = threshold
        self.scorer = scorer

    def _rank(self, case: Case) -> Findings:
        system, place = case.system, case.system.position
        residual = _residuals(case)
        parents = {n: system.parents(n) for n in system.metrics}
        children = children_of(parents)
        below = np.zeros(len(residual))  # largest residual among the adjusted children
        heirs: dict[str, set[str]] = {}
        for metric in reversed(system.metrics):
            heirs[metric] = set(children[metric])
            for child in children[metric]:
                if residual[place[child]] < case.limits[place[child]]:
                    heirs[metric] |= heirs[child]
            below[place[metric]] = max((residual[place[c]] for c in heirs[metric]), default=0.0)
        changed = residual > case.limits
        score, lead = by_node(case, np.where(changed, residual + below, residual))
        return Findings(
            score=score,
            blamed=changed[lead],
            reasons=[self._reason(case, j, residual[j], below[j]) for j in lead],
            details={"mechanisms": "linear"},
        )

    def _reason(self, case: Case, j: int, residual: float, below: float) -> str:
        parents = case.system.parents(case.system.metrics[j])
        than = "given its parents" if parents else "and has no parents"
        text = f"up to {number(residual)} sd of its noise from usual {than}"
        if residual > case.limits[j] and below:
            return f"{text}, plus {number(below)} downstream"
        return text


def _residuals(case: Case) -> np.ndarray:
    """Largest |residual| of each metric over the window in sd of its noise, shape (p,)."""
    system = case.system
    z = deviations(system, case.window, "z")
    middle = np.nanmedian(z, axis=0)
    whole = np.where(np.isnan(z), middle, z)
    out = np.empty(len(system.metrics))
    for j, metric in enumerate(system.metrics):
        fit = system.mechanism(metric)
        places = [system.position[p] for p in system.parents(metric)]
        error = z[:, j] - z[:, places] @ fit.slopes
        if np.isnan(error).all():  # no row records all parents
            error = z[:, j] - whole[:, places] @ fit.slopes
        noise = 1.0 if system.constant[j] else max(fit.noise, _LEAST_NOISE)
        out[j] = np.nanmax(np.abs(error)) / noise
    return out

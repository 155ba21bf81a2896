"""Traversal: follow the anomalies upstream until they end. No mechanism is needed for that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.errors import ParameterError
from ..core.results import number
from ..core.saving import saveable
from .base import Diagnoser, Findings, by_node
from .incident import Case, first_row
from .scorers import Scorer, log_tail
from .structure import children_of
from .system import System


class _FromFirstRow(Diagnoser):
    """A method that explains the first row in which the target is anomalous."""

    skip: int

    def _fit(self, system: System) -> None:
        skip = self.skip
        if isinstance(skip, bool) or not isinstance(skip, int | np.integer) or skip < 0:
            raise ParameterError("must be a number of rows, at least 0", column="skip", value=skip)

    def _trigger(self, size: np.ndarray, limit: float) -> int:
        return first_row(size, limit, self.skip)


@saveable
class Traversal(_FromFirstRow):
    """Blame the anomalous metrics without an anomalous parent that reach the target.

    j is blamed if |z_j| > threshold, no parent is anomalous, and every metric on some path from j
    to the target is anomalous; its score is the largest sum of |z| along such a path, so that
    long paths win. The target itself is blamed if nothing upstream is anomalous.

    The row explained is the first from ``skip`` on in which the target is anomalous.

    Hard to beat where faults shift everything downstream, and blind to a cause that a load from
    below has made a symptom (a slow caller strains its database). A single metric below its
    threshold cuts the path: prefer :class:`SmoothTraversal` without clear thresholds,
    :class:`CIRCA` where normal values of a metric depend much on its parents.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: ``"z"``, ``"robust"`` or ``"tail"``.
        skip: Rows of the window before the fault is expected to show.

    References:
        Chen et al., "CauseInfer", INFOCOM 2014; Hardt et al., "The PetShop dataset", CLeaR 2024
        (the score).

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> db = np.random.default_rng(0).normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> Traversal().fit(system).rank(Incident(normal.head(1) + 12.0, "api")).nodes
        ('db',)
    """

    def __init__(
        self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "z", skip: int = 0
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.skip = skip

    def _rank(self, case: Case) -> Findings:
        system, size = case.system, np.abs(case.deviation)
        place = system.position
        parents = {n: system.parents(n) for n in system.metrics}
        children = children_of(parents)
        along = np.full(len(size), np.nan)  # largest sum of |z| on an anomalous way to the target
        along[place[case.target]] = size[place[case.target]]
        for metric in reversed(system.metrics):
            j = place[metric]
            ways = along[[place[c] for c in children[metric]]]
            if case.anomalous[j] and not np.isnan(ways).all():
                along[j] = size[j] + np.nanmax(ways)
        calm_above = np.array(
            [not any(case.anomalous[place[p]] for p in parents[n]) for n in system.metrics]
        )
        score, lead = by_node(case, along)
        return Findings(
            score=score,
            blamed=~np.isnan(score) & calm_above[lead],
            reasons=[self._reason(case, system.metrics[j], along[j], calm_above[j]) for j in lead],
        )

    def _reason(self, case: Case, metric: str, along: float, calm_above: bool) -> str:
        text = case.describe(metric)
        if not case.anomalous[case.system.position[metric]] and metric != case.target:
            return f"usual: {text}"
        if np.isnan(along):
            return f"no anomalous path to the target: {text}"
        if calm_above:
            return f"{text}; no anomalous parent, the path to the target sums to {number(along)} sd"
        return f"downstream of an anomalous parent: {text}"


@saveable
class SmoothTraversal(Diagnoser):
    """Rank causes by how much more unusual they are than the most unusual of their parents.

    s_j = -log P(|X_j - mean_j| >= |x_j - mean_j|) (information-theoretic score) and
    score_j = s_j - max over parents s_p (0 without parents), for the ancestors of the target, in
    the row in which the target is most anomalous. Blamed are anomalous ones with a positive
    score.

    With ``tail=True`` probabilities beyond the largest tenth come from a generalised Pareto fit.
    With ``tail=False`` they are counted, (#{larger} + 1/2) / (n + 1/2), as published: then all
    values beyond the largest fault-free one tie at log(2 n + 1), and the order among them is
    that of the columns.

    An effect that reacts more than its cause is ranked before it: prefer :class:`CIRCA` or
    :class:`CounterfactualAttribution` where mechanisms can be learned.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: How anomalies are judged; the ranking always uses tail probabilities.
        tail: Extrapolate the tail instead of counting.

    References:
        Okati, Mejia, Orchard, Blöbaum and Janzing, "Root cause analysis of outliers with missing
        structural knowledge", NeurIPS 2024.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": db + rng.normal(size=300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> SmoothTraversal().fit(system).rank(Incident(normal.head(1) + 7.0, "api")).nodes
        ('db',)
    """

    unit = "nats"

    def __init__(
        self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "z", tail: bool = True
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.tail = tail

    def _rank(self, case: Case) -> Findings:
        system, place = case.system, case.system.position
        surprise = np.array([self._surprise(case, j) for j in range(len(system.metrics))])
        above = np.array(
            [
                max((surprise[place[p]] for p in system.parents(n)), default=0.0)
                for n in system.metrics
            ]
        )
        score, lead = by_node(case, surprise - above)
        candidate = np.isin(system.nodes, system.candidates(case.target))
        reasons = [
            f"{case.describe(system.metrics[j])}: {number(surprise[j])} nats, its parents at most "
            f"{number(above[j])}"
            if may
            else "not a cause of the target"
            for j, may in zip(lead, candidate, strict=True)
        ]
        return Findings(
            score=np.where(candidate, score, np.nan),
            blamed=candidate & case.anomalous[lead] & (score > 0),
            reasons=reasons,
            details={"tails": "extrapolated" if self.tail else "counted"},
        )

    def _surprise(self, case: Case, j: int) -> float:
        """-log P(|X - mean| >= |x - mean|) of one metric in the trigger row."""
        from scipy.special import log_ndtr

        system, size = case.system, abs(case.z[j])
        if system.constant[j]:  # no sample of departures: as if they were bell-shaped
            return float(-log_ndtr(-size) - np.log(2.0))
        if self.tail:
            return float(-log_tail(system, j, size))
        body = system.tail(system.metrics[j])[0]
        larger = len(body) - np.searchsorted(body, size, side="left")
        return float(np.log(len(body) + 0.5) - np.log(larger + 0.5))

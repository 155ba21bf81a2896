"""Ranked correlation: which anomalous metric moves with the target during the incident?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.results import number
from ..core.saving import saveable
from .base import Findings, by_node
from .incident import Case
from .scorers import Scorer
from .traversal import _FromFirstRow

_FEWEST = 3  # rows: two points always lie on a line
_LEAST = 1e-9  # nats; a score below that is rounding


@saveable
class RankedCorrelation(_FromFirstRow):
    """Rank the anomalous metrics by the significance of their correlation with the target.

    score_j = -log p of Pearson's correlation between j and the target over the rows of the window
    in which both were recorded. Anomalous means: in the first row from ``skip`` on in which the
    target is; without any correlation a metric is not blamed. With a graph only ancestors of the
    target are ranked.

    Symptoms correlate with the target at least as much as the cause does, and with five rows a p
    value says little: a baseline, not an answer. Prefer :class:`Traversal` where a graph is known,
    :class:`BARO` where none is.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: ``"z"``, ``"robust"`` or ``"tail"``.
        skip: Rows of the window before the fault is expected to show.

    References:
        Hardt et al., "The PetShop dataset", CLeaR 2024 (as a baseline).

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench.diagnosis import Incident, System
        >>> rows = np.random.default_rng(0).normal(size=(99, 3))
        >>> system = System(None, pd.DataFrame(rows, columns=["a", "b", "y"]))
        >>> window = pd.DataFrame({"a": [4, 6, 9.0], "b": [9, 4, 7.0], "y": [8, 11, 19.0]})
        >>> RankedCorrelation().fit(system).rank(Incident(window, "y")).nodes
        ('a', 'b')
    """

    unit = "nats"
    needs_graph = False

    def __init__(
        self, threshold: float | Mapping[str, float] = 3.0, scorer: Scorer = "z", skip: int = 0
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.skip = skip

    def _rank(self, case: Case) -> Findings:
        system = case.system
        r, n = _correlations(case)
        score, lead = by_node(case, _surprise(r, n))
        candidate = np.isin(system.nodes, system.candidates(case.target))
        abstain = ""
        if np.isnan(score[candidate]).all():
            abstain = (
                f"no metric varies with {case.target!r} over at least {_FEWEST} common rows of the "
                "incident; give more rows"
            )
        return Findings(
            score=np.where(candidate, score, np.nan),
            blamed=candidate & case.anomalous[lead] & (score > _LEAST),
            reasons=[
                f"correlation {number(r[j])} with the target over {n[j]} rows; "
                f"{case.describe(system.metrics[j])}"
                if may
                else "not a cause of the target"
                for j, may in zip(lead, candidate, strict=True)
            ],
            abstain=abstain,
        )


def _correlations(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Correlation with the target and the number of common rows; NaN where it isn't defined."""
    target = case.window[:, case.system.position[case.target]]
    both = np.isfinite(case.window) & np.isfinite(target)[:, None]
    n = both.sum(axis=0)
    r = np.full(len(n), np.nan)
    for j in np.flatnonzero(n >= _FEWEST):
        x, y = case.window[both[:, j], j], target[both[:, j]]
        if np.ptp(x) > 0 and np.ptp(y) > 0:
            r[j] = np.clip(np.corrcoef(x, y)[0, 1], -1.0, 1.0)
    return r, n


def _surprise(r: np.ndarray, n: np.ndarray) -> np.ndarray:
    """-log of the two-sided p value of a correlation; under independence (r + 1) / 2 follows a
    Beta law with both parameters n / 2 - 1."""
    from scipy.special import betainc

    half = np.maximum(n / 2 - 1, 0.5)
    p = 2 * betainc(half, half, (1 - np.abs(r)) / 2)
    return np.abs(np.log(np.clip(p, 1e-300, 1.0)))

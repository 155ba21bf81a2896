"""Doubly robust scores of arms: one row per unit, from which every average is a mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..core.errors import QuestionError, warn
from ..core.results import number
from ..core.saving import saveable
from ..tables.effect_data import EffectData
from .base import Estimate
from .design import covariates, nuisance_inputs
from .sandwich import cluster_sums, covariance

_MOST_SCORES = 5_000_000  # of effects on the treated, kept for subgroups


@saveable
@dataclass(frozen=True)
class ArmScores:
    """Scores s_k of each arm k, whose means are the average outcomes under the arms.

    With m_k(z) = E[Y | z, T = k] and e_k(z) = P(T = k | z), both from other rows,

        s_k = m_k(z) + 1{T = k} / e_k(z) * (Y - m_k(z)).

    The weights of the residuals are scaled to mean one, which tames single large ones.

    Attributes:
        score: s_k, (n, K).
        received: The arm of each row, (n,).
        treated: For each arm j the scores whose means are the outcomes under every arm among
            those who received j, (n, K, K); None where they would fill the memory.
        mean, cov: Means of the scores, (K,), and their covariance, (K, K).
        att, att_se: Effects on those who received j against arm m, and standard errors, (K, K).
        df: Degrees of freedom of each arm's mean.
        weight, groups: Row weights (mean one) and clusters, or None.
        t_name: Name of the treatment.

    References:
        Robins, Rotnitzky and Zhao, "Estimation of regression coefficients when some regressors
        are not always observed", JASA 89, 1994.
    """

    score: np.ndarray
    received: np.ndarray
    treated: np.ndarray | None
    mean: np.ndarray
    cov: np.ndarray
    att: np.ndarray
    att_se: np.ndarray
    df: np.ndarray
    weight: np.ndarray | None
    groups: np.ndarray | None
    t_name: str

    @classmethod
    def of(cls, data: EffectData, chance: np.ndarray, outcome: np.ndarray, clip: float) -> Self:
        """The scores given P(arm | z) and E[Y | z, arm] of each row, both (n, K).

        Args:
            data: Outcome, treatment, weights, clusters.
            chance: Cross-fitted probabilities of the arms; raised to ``clip``.
            outcome: Cross-fitted outcomes under each arm.
            clip: Smallest probability that is believed.
        """
        return cls.averaged(data, [(chance, outcome)], clip)

    @classmethod
    def averaged(
        cls, data: EffectData, fits: list[tuple[np.ndarray, np.ndarray]], clip: float
    ) -> Self:
        """As :meth:`of`, with the scores averaged over several cross-fits."""
        n, k = len(data), len(data.arms)
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        member = (data.t[:, None] == np.arange(k)).astype(float)
        score, treated = np.zeros((n, k)), np.zeros((n, k, k))
        for chance, outcome in fits:
            chance = np.maximum(chance, clip)
            rest = data.y[:, None] - outcome
            score += outcome + _unit_mean(member / chance, weight) * rest
            for j in range(k):
                share = weight @ member[:, j] / n
                odds = _unit_mean(member * chance[:, [j]] / chance, weight)
                treated[:, j] += (member[:, [j]] / share - odds) * rest
        score, treated = score / len(fits), treated / len(fits)
        mean, att = weight @ score / n, np.einsum("n,njm->jm", weight, treated) / n
        share = weight @ member / n
        influence = treated - att[None] * (member / share)[:, :, None]
        flat = (influence * weight[:, None, None] / n).reshape(n, k * k)
        variance = (cluster_sums(flat, data.groups) ** 2).sum(axis=0)
        clusters = n if data.groups is None else len(np.unique(data.groups))
        # An arm's mean rests on that arm's rows, or on the clusters that have some.
        sizes = np.array([_units(data.t == a, data.groups) for a in range(k)])
        return cls(
            score=score,
            received=data.t,
            treated=treated if treated.size <= _MOST_SCORES else None,
            mean=mean,
            cov=covariance((score - mean) * weight[:, None] / n, data.groups),
            att=att,
            att_se=np.sqrt(variance * clusters / (clusters - 1)).reshape(k, k),
            df=sizes - 1.0,
            weight=None if data.weight is None else weight,
            groups=data.groups,
            t_name=data.t_name,
        )

    def freedom(self, t0: int, t1: int) -> float:
        """Degrees of freedom of a contrast of two arms."""
        return float(min(self.df[t0], self.df[t1]))

    def average(self, t0: int, t1: int) -> Estimate:
        """The mean of s_t1 - s_t0: the average effect."""
        variance = self.cov[t1, t1] + self.cov[t0, t0] - 2 * self.cov[t0, t1]
        value = float(self.mean[t1] - self.mean[t0])
        return Estimate(value, float(np.sqrt(max(variance, 0))), self.freedom(t0, t1))

    def compare(self, effects: np.ndarray) -> None:
        """Warn where held-out effects of units, (n, K), don't average to the average effect.

        A mean of (s_k - s_0 - effect_k) beyond four of its standard errors and a quarter of the
        average effect is no noise: the learner shrinks, or can't express what there is.
        """
        n = len(self.score)
        weight = np.ones(n) if self.weight is None else self.weight
        rest = self.score - self.score[:, :1] - effects + effects[:, :1]
        gap = weight @ rest / n
        error = np.sqrt(np.diag(covariance((rest - gap) * weight[:, None] / n, self.groups)))
        average = self.mean - self.mean[0]
        off = np.flatnonzero(np.abs(gap) > np.maximum(4 * error, np.abs(average) / 4))
        if len(off):
            k = int(off[0])
            warn(
                "average-differs",
                f"effects of {self.t_name!r} on single units average "
                f"{number(average[k] - gap[k])}, the doubly robust average effect is "
                f"{number(average[k])}: this learner shrinks or bends them; use another one, or "
                "the average alone",
                [self.t_name],
            )

    def on_treated(self, t0: int, t1: int) -> Estimate:
        """The average effect among those who received ``t1``."""
        value, error = self.att[t1, t0], self.att_se[t1, t0]
        return Estimate(float(value), float(error), self.freedom(t0, t1))

    def within(self, inside: np.ndarray, t0: int, t1: int, target: str = "ATE") -> Estimate:
        """The average among some rows (mask): a mean of their own scores, no form is assumed."""
        whole = np.ones(len(inside)) if self.weight is None else self.weight
        weight = inside * whole
        if target == "ATE":
            score, base = self.score[:, t1] - self.score[:, t0], weight
        else:
            if self.treated is None:
                raise QuestionError(
                    "has too many arms for effects on the treated of subgroups", column=self.t_name
                )
            member = (self.received == t1).astype(float)
            share = whole @ member / whole.sum()
            score, base = self.treated[:, t1, t0], weight * member / share
        if not base.sum() > 0:
            return Estimate(float("nan"))
        value = weight @ score / base.sum()
        influence = (weight * score - base * value) / base.sum()
        groups = None if self.groups is None else self.groups[inside]
        error = np.sqrt(covariance(influence[inside, None], groups)[0, 0])
        sizes = [_units(inside & (self.received == a), self.groups) for a in (t0, t1)]
        freedom = min(*sizes, self.freedom(t0, t1) + 1) - 1
        return Estimate(float(value), float(error), float(max(freedom, 1)))


def within_range(outcome: np.ndarray, data: EffectData) -> np.ndarray:
    """Outcomes (n, K) kept to what each arm has shown: beyond is extrapolation, no knowledge.

    Where a covariate has heavy tails the rows far out are so few that an arm may have none of
    them, and its own range would cut off what is known: there the range is that of all rows.
    """
    arms = [data.y[data.t == a] for a in range(outcome.shape[1])]
    if nuisance_inputs(data).shape[1] > covariates(data)[0].shape[1]:
        arms = [data.y] * len(arms)
    return np.clip(outcome, [y.min() for y in arms], [y.max() for y in arms])


def _units(rows: np.ndarray, groups: np.ndarray | None) -> int:
    """Independent units among some rows (mask): the rows themselves, or their clusters."""
    return int(rows.sum()) if groups is None else len(np.unique(groups[rows]))


def _unit_mean(ratio: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each column scaled to weighted mean 1."""
    mean = weight @ ratio / weight.sum()
    return ratio / np.where(mean > 0, mean, 1.0)

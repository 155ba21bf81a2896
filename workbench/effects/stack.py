"""Causal stacking: the default for individual effects of arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import ParameterError, QuestionError, did_you_mean
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .aipw import AIPW
from .arm_scores import ArmScores, within_range
from .design import covariate_table
from .folded import FoldedLearner, chunks, folded_rows, jackknife
from .second_stage import SECOND_STAGE, fit_second_stage
from .stack_members import FAMILIES, OutcomeMember, fit_outcomes
from .stack_weights import evidence, factual_weights, judge, stack_weights

_CLIP = 0.02
_TRUST = 0.25  # share of the members' disagreement (variance) that counts as uncertainty
_WINSOR = 0.005


@saveable
@dataclass(frozen=True, eq=False)
class StackModels:
    """All members with their weights, per fold left out.

    Attributes:
        outcomes_by: Outcome models; empty if there are columns that only need adjustment.
        shares: Weights of the outcome models for each arm, (K, members).
        second: For each arm but the first, each second stage and each fold a function of z.
        weights: Weights of all candidates for each arm but the first, (K - 1, J): the outcome
            models, their factual stack, the second stages.
        mixed: The weights before what is not shown to differ from a constant effect was drawn
            towards it, (K - 1, J): intervals rest on these.
        n_folds: F.
    """

    outcomes_by: tuple[OutcomeMember, ...]
    shares: np.ndarray
    second: tuple[tuple[tuple[Any, ...], ...], ...]
    weights: np.ndarray
    mixed: np.ndarray
    n_folds: int

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        """The factual stack of the outcome models, (F, m, K)."""
        levels = np.stack([m.models.outcomes(z) for m in self.outcomes_by], axis=-1)
        return (levels * self.shares).sum(axis=-1)

    def candidates(self, z: np.ndarray) -> np.ndarray:
        """The effect of each arm but the first by each candidate, (K - 1, J, F, m)."""
        first = []
        if self.outcomes_by:
            levels = np.stack([m.models.outcomes(z) for m in self.outcomes_by])
            joint = np.einsum("jfmk,kj->fmk", levels, self.shares)
            levels = np.concatenate([levels, joint[None]])
            first = list(np.moveaxis(levels[..., 1:] - levels[..., :1], -1, 0))
        found = []
        for k, stages in enumerate(self.second):
            second = np.stack([np.stack([fold(z) for fold in stage]) for stage in stages])
            found.append(np.concatenate([first[k], second]) if first else second)
        return np.stack(found)

    def effects(self, z: np.ndarray) -> np.ndarray:
        """Effect of each arm against the first, (F, m, K)."""
        return combined(self.candidates(z), self.weights)


def combined(candidates: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted candidates with a column of zeros for the first arm, (F, m, K)."""
    mixed = np.einsum("kjfm,kj->fmk", candidates, weights)
    return np.concatenate([np.zeros_like(mixed[..., :1]), mixed], axis=-1)


@saveable
class CausalStack(FoldedLearner):
    """Effects of arms from many learners, weighted by how well they predict held-out effects.

    Outcome models (networks with gated inputs and narrow representations of several widths,
    boosted trees for each arm and for all arms together, ridge on splines) predict every arm's
    outcome out of fold; their best non-negative mix gives m_k and doubly robust scores. A second
    stage learns the effect itself: a constant, a lasso and boosted trees on the scores, boosted
    trees on the R-loss. All of them are candidates tau_j(x); the answer is

        tau(x) = sum_j v_j tau_j(x),  v >= 0, sum v = 1,

    with v from the held-out R-loss and the squared distance to the held-out scores, averaged over
    bootstraps of the rows (half simplex least squares, half how often a candidate is the single
    best), and drawn towards the constant where the held-out rows don't prefer the mix to it by two
    standard errors. ``weights_`` shows v, :meth:`explain` says it in words.

    Averages over the fitted rows use the scores. The interval of an individual effect adds a
    quarter of the candidates' (weighted) variance to the delete-a-group jackknife, which knows
    nothing of what no candidate can express; drawing towards the constant makes it no narrower.

    With columns W that only need adjustment, effects as functions of X come from the second stage
    alone. Prefer :class:`AIPW` where one average is all you need, a single network or
    :class:`TLearner` where you want one model to look at.

    Args:
        families: Outcome models that take part: ``"net"``, ``"trees"``, ``"spline"``.
        widths: Widths of the networks' representations; None takes 1, 2 and 8 below 2,000 rows and
            8 and 32 beyond.
        n_folds: Folds; every model is trained without one of them.
        device: Of the networks: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        progress: Show a bar if training takes longer than two seconds.
        random_state: Seed of folds, networks, trees and bootstraps.

    Attributes:
        weights_: v, one row per candidate and a column per arm but the first.
        gain_: Held-out R-loss saved against a constant effect, the same shape: 1 - loss / base.
        scores_: The :class:`~workbench.effects.arm_scores.ArmScores` behind the averages.

    References:
        Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika
        108, 2021 (R-loss and stacking by it). Wolpert, "Stacked generalization", Neural Networks
        5, 1992. Kennedy, "Towards optimal doubly robust estimation of heterogeneous causal
        effects", Electronic Journal of Statistics 17, 2023 (the scores as targets).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 3))
        >>> t = (rng.random(400) < 1 / (1 + np.exp(-x[:, 0]))).astype(int)
        >>> y = x[:, 0] + t * (1 + x[:, 1]) + rng.normal(size=400) / 2
        >>> stack = CausalStack(families=["trees", "spline"], n_folds=3).fit(y, t, X=x)
        >>> bool(abs(stack.effect() - 1 - x[:, 1]).mean() < 0.3)
        True
    """

    adjusts_for_w = True

    def __init__(
        self,
        families: Sequence[Literal["net", "trees", "spline"]] = ("net", "trees", "spline"),
        widths: Sequence[int] | None = None,
        n_folds: int = 5,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.families = families
        self.widths = widths
        self.n_folds = n_folds
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        self._check_parameters()
        fold_seed, first_seed, second_seed, weight_seed = spawn(seed, 4)
        everything = replace(data, x=covariate_table(data), w=None)
        rows, encoder, self.shift_, self.unit_ = folded_rows(
            everything, self._folds(), self.overlap_.score, fold_seed
        )
        modifiers = rows.z
        if data.w is not None:
            encoder = type(encoder)(**encoder.get_params()).fit(data.x)
            modifiers = encoder.transform(data.x)
        self.encoder_ = encoder
        sort = np.argsort(rows.order, kind="stable")
        back = np.argsort(sort, kind="stable")
        modifiers, rows = modifiers[sort], rows.arranged()
        groups = None if data.groups is None else data.groups[sort]

        members = fit_outcomes(self, rows, first_seed)
        held_out = np.stack([rows.own(m.models.outcomes(rows.z)) for m in members])  # (J, n, K)
        shares = factual_weights(held_out, rows)
        outcome = np.einsum("jnk,kj->nk", held_out, shares)
        scaled = outcome[back] * self.unit_ + self.shift_
        self.scores_ = ArmScores.of(data, self.overlap_.score, within_range(scaled, data), _CLIP)

        score = (self.scores_.score - self.shift_)[sort] / self.unit_
        target = score[:, 1:] - score[:, :1]
        target = np.clip(target, *np.quantile(target, [_WINSOR, 1 - _WINSOR], axis=0))
        second = fit_second_stage(replace(rows, z=modifiers), target, outcome, _CLIP, second_seed)

        first = () if data.w is not None else tuple(members)
        blank = np.zeros((rows.n_arms - 1, 0))
        self.n_folds_ = rows.n_folds
        self.models_ = StackModels(first, shares, second, blank, blank, rows.n_folds)
        candidates = self.models_.candidates(modifiers)
        own = candidates[..., rows.fold, np.arange(len(rows.y))]  # (K - 1, J, n)
        weights, drawn, gains = [], [], []
        constant = len(own[0]) - len(SECOND_STAGE) + SECOND_STAGE.index("constant")
        for k, child in enumerate(spawn(weight_seed, rows.n_arms - 1)):
            loss = judge(rows, k + 1, target[:, k], outcome, _CLIP)
            weights.append(stack_weights(own[k], loss, groups, child))
            shown = evidence(weights[k] @ own[k], own[k][constant], loss, groups)
            drawn.append(shown * weights[k] + (1 - shown) * np.eye(len(own[k]))[constant])
            gains.append(loss.gain(own[k]))
        self.models_ = replace(self.models_, weights=np.stack(drawn), mixed=np.stack(weights))
        mixed = np.einsum("kjn,kj->nk", own, np.stack(weights))[back] * self.unit_
        self.scores_.compare(np.hstack([np.zeros((len(mixed), 1)), mixed]))
        names = [m.name for m in first] + (["all outcome models"] if first else [])
        index = pd.Index([*names, *SECOND_STAGE], name="candidate")
        arms = pd.Index([str(a) for a in data.arms[1:]], name=f"against {data.arms[0]}")
        self.weights_ = pd.DataFrame(np.transpose(drawn), index, arms)
        self.gain_ = pd.DataFrame(np.transpose(gains), index, arms)

    def _check_parameters(self) -> None:
        if isinstance(self.families, str) or not len(self.families):
            raise ParameterError(
                "must be a list of families", column="families", value=self.families
            )
        for family in self.families:
            if family not in FAMILIES:
                raise ParameterError(
                    "is not a family of outcome models",
                    column="families",
                    value=family,
                    advice=did_you_mean(str(family), FAMILIES),
                )
        if self.widths is not None and not all(
            isinstance(w, int) and not isinstance(w, bool) and w > 0 for w in self.widths
        ):
            raise ParameterError(
                "must be positive integers, or None", column="widths", value=self.widths
            )

    # ---- answers

    def predict_outcomes(self, X=None) -> np.ndarray:
        """E[Y | X, arm] by the mix of the outcome models, (m, K).

        Raises:
            QuestionError: Fitted with W, without whose values no outcome can be predicted.
        """
        self._require_fitted()
        if not self.models_.outcomes_by:
            raise QuestionError(
                "columns that only need adjustment have a say in the outcome",
                column="W",
                advice="Fit with all covariates in X.",
            )
        return super().predict_outcomes(X)

    def explain(self) -> str:
        """Which candidates the answer is made of, and whether effects differ between units.

        One sentence per arm.
        """
        self._require_fitted()
        told = []
        for arm, column in self.weights_.items():
            parts = column[column >= 0.05].sort_values(ascending=False)
            mix = ", ".join(f"{share:.0%} {name}" for name, share in parts.items())
            mixed = float(self.gain_[arm] @ column)
            gain = (
                f"their held-out R-loss is about {mixed:.1%} below that of a constant effect"
                if mixed > 0
                else "none is shown to predict held-out effects better than a constant"
            )
            told.append(
                f"The effect of {arm} against {self.arms_[0]} on {self.y_name_} is a mix of {mix}; "
                f"{gain}."
            )
        return " ".join(told)

    def for_refuting(self) -> AIPW:
        """:class:`AIPW`, whose average rests on the same scores with other outcome models."""
        return AIPW(n_folds=self.n_folds, random_state=self.random_state)

    def _spread(self, x: Table, t0: int, t1: int) -> tuple[np.ndarray, np.ndarray]:
        """The effect by fold, (F, m), and the weighted sd of the candidates around it, (m,)."""
        by_fold, spread = [], []
        for part in chunks(self._encoded(x)):
            found = self.models_.candidates(part)
            mixed = combined(found, self.models_.mixed)
            by_fold.append(mixed[..., t1] - mixed[..., t0])
            each = np.concatenate([np.zeros_like(found[:1]), found]).mean(axis=2)  # (K, J, m)
            away = each - combined(found, self.models_.weights).mean(axis=0).T[:, None]
            weights = np.vstack([np.zeros_like(self.models_.mixed[:1]), self.models_.mixed])
            variance = np.einsum("kjm,kj->km", away**2, weights)
            spread.append(np.sqrt(variance[t0] + variance[t1]))
        return np.concatenate(by_fold, axis=1) * self.unit_, np.concatenate(spread) * self.unit_

    def _effect_error(self, x: Table, t0: int, t1: int) -> tuple[np.ndarray, float]:
        by_fold, spread = self._spread(x, t0, t1)
        return np.sqrt(jackknife(by_fold) ** 2 + _TRUST * spread**2), self.n_folds_ - 1.0

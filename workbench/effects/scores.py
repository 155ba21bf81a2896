"""Which estimator predicts effects best? Held-out losses that need no true effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..core.captions import name_places
from ..core.errors import (
    CausalWarning,
    DataError,
    ParameterError,
    WorkbenchError,
    did_you_mean,
    recording,
    warn,
)
from ..core.results import Result, number
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData
from .base import EffectEstimator
from .dose_scores import DoseJudge
from .judge import (
    Judge,
    Stage,
    as_estimator,
    check_alpha,
    crossed,
    freedom,
    gate,
    held_out_effects,
    shares,
    span,
)
from .sandwich import covariance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCORES = {
    "r": "R-loss: (Y - m(z) - sum of effect_k (1{T = k} - e_k(z)))²",
    "dr": "DR-loss: sum over arms of (doubly robust score_k - score_0 - effect_k)²",
}
FACTUAL = "factual r"  # of doses
_LOSSES = SCORES | {
    FACTUAL: "R-loss at the doses received: (Y - m(z) - curve(x, T) + E[curve(x, T) | z])²"
}
_NAMES = {"r": "R-score", "dr": "DR-score", FACTUAL: "factual R-score"}


def r_losses(rest_y: np.ndarray, rest_t: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """(Y - m - <effects, T - e>)² per row; shapes (n,), (n, d), (n, d)."""
    return (rest_y - (rest_t * effects).sum(axis=1)) ** 2


def dr_losses(score: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Sum over arms of (score_k - score_0 - effect_k)² per row; shapes (n, arms), (n, arms - 1)."""
    return ((score[:, 1:] - score[:, :1] - effects) ** 2).sum(axis=1)


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Result):
    """The answer of :func:`compare_estimators`.

    Attributes:
        table: Per estimator, best first: ``score`` (1 - loss / loss of the best constant effect,
            for doses of the best straight line), ``se``, ``low``, ``high``; ``behind`` (how far
            behind the best), ``behind_low``, ``behind_high``; ``seconds``. The
            intervals of each kind hold jointly over the table.
        best: Name of the estimator with the highest score.
        tied: Names that can't be told from the best.
        beats_constant: Whether the best is better than one constant effect for all (for doses:
            one slope for all doses and units).
        score: ``"r"``, ``"dr"``, or for doses ``"factual r"``.
        failed: Name -> why it could not be compared.
        treatment, outcome, n, n_folds, alpha: What was compared, and how.
    """

    table: pd.DataFrame
    best: str
    tied: tuple[str, ...]
    beats_constant: bool
    score: str
    failed: dict[str, str]
    treatment: str
    outcome: str
    n: int
    n_folds: int
    alpha: float
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        top = self.table.loc[self.best]
        lead = (
            f"{self.best} predicts the effects of {self.treatment!r} on {self.outcome!r} best: "
            f"{_NAMES[self.score]} {_percent(top['score'])} ({_percent(top['low'])} to "
            f"{_percent(top['high'])}) over {self._plain()}, {self.n:,} held-out rows"
        )
        if len(self.table) == 1:
            return f"{lead}."
        if not self.tied:
            return f"{lead}; it is better than each of the others."
        return f"{lead}; it can't be told from {', '.join(self.tied)}."

    def _plain(self) -> str:
        """What scores are measured against."""
        return "one slope for all" if self.score == FACTUAL else "one constant effect"

    def verdict(self) -> str:
        if self.score == FACTUAL:
            if self.beats_constant:
                return (
                    "Curves bend or differ between units, and the best estimator sees it where "
                    "doses were received."
                )
            return "No estimator is shown to be better than one slope for all doses and units."
        if self.beats_constant:
            return "Effects differ between units, and the best estimator sees it."
        return (
            "No estimator is shown to be better than one constant effect for all: report the "
            "average effect."
        )

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per estimator, best first; ``long=True``: tidy."""
        if long:
            return self.table.reset_index().melt(
                id_vars=["estimator"], var_name="quantity", value_name="value"
            )
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        return self.table[["score", "low", "high", "behind", "seconds"]]

    def how(self) -> dict[str, Any]:
        return {
            "judged by": _LOSSES[self.score],
            "on": f"{self.n_folds} folds, each predicted by fits to the others",
            "intervals": f"{100 * (1 - self.alpha):g} %, jointly (Bonferroni), for these fits",
        } | {f"not compared: {name}": why for name, why in self.failed.items()}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Scores with joint intervals; zero is one constant effect (or one slope) for all."""
        import matplotlib.pyplot as plt
        from matplotlib.ticker import PercentFormatter

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        places = np.arange(len(self.table))[::-1]
        for place, (name, row) in zip(places, self.table.iterrows(), strict=True):
            near = name == self.best or name in self.tied
            ax.errorbar(
                row["score"],
                place,
                xerr=[[row["score"] - row["low"]], [row["high"] - row["score"]]],
                fmt="o",
                capsize=3,
                color="#2b6cb0" if near else "0.6",
            )
        ax.axvline(0, color="0.4", linewidth=0.8)
        ax.text(
            0,
            1.01,
            self._plain().removeprefix("one "),
            transform=ax.get_xaxis_transform(),
            ha="center",
            fontsize=8,
        )
        name_places(ax, places, self.table.index)
        ax.set_ylim(-0.6, len(places) - 0.4)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_xlabel(f"held-out {_NAMES[self.score]} (right is better)")
        return ax


def compare_estimators(
    estimators: Sequence[EffectEstimator | str] | Mapping[str, EffectEstimator | str],
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    score: Literal["r", "dr"] = "r",
    n_folds: int = 5,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> Comparison:
    """Compare estimators of conditional effects on rows they have not seen.

    Each estimator is fitted to all folds but one and predicts the effects of that one; the
    predictions are judged by a loss whose expectation is, up to a constant, the squared error of
    the effects. Its nuisances m(z) = E[Y | z] and e(z) = P(T | z) are cross-fitted. The score is
    1 - loss / loss of the best constant effect: at most one, zero for no gain, negative where an
    estimator invents differences.

    The R-loss weighs units by e (1 - e) and stays quiet where overlap is thin; the DR-loss weighs
    all alike, and is noisy there. Where W holds columns that X does not, only the DR-loss aims at
    the plain average of the effect given X. Intervals are those of the losses of these fits, not
    of other training sets; that the best was chosen on the same rows makes its own score look
    slightly too good, for which Bonferroni's correction more than pays.

    Curves of a dose are compared where an estimator takes doses only and none arms only. Their
    score is factual, the R-loss of the curve at the doses that held-out rows received, less its
    mean over the doses that people like them receive (:class:`DoseJudge`); zero is one slope for
    all doses and units. It says nothing of doses that people like each one hardly ever receive:
    of two estimators that differ only there, neither can be shown to be better.

    Args:
        estimators: Instances or names of the catalogue; a mapping gives them labels. They see
            only X (and W where a method has no use for W), and are copied, never changed.
        Y, T, X, W, sample_weight, groups: As for ``fit``; X is needed. Groups govern folds and
            standard errors.
        score: ``"r"`` or ``"dr"`` (arms only).
        n_folds: Folds.
        alpha: One minus the joint confidence level.
        random_state: Seed of folds, nuisances and of estimators given by name.

    Raises:
        QuestionError: No X, or a dose for estimators of arms.
        ParameterError: No estimators, unknown names or scores, ``"dr"`` for doses.

    References:
        Nie and Wager, "Quasi-oracle estimation of heterogeneous treatment effects", Biometrika
        108(2), 2021. Zhang, Kong and Yang, "Towards R-learner with continuous treatments", 2022
        (doses). Schuler, Baiocchi, Tibshirani and Shah, "A comparison of methods for model
        selection when estimating individual treatment effects", 2018. Saito and Yasui,
        "Counterfactual cross-validation", ICML 2020. Kennedy, "Towards optimal doubly robust
        estimation of heterogeneous causal effects", EJS 17(2), 2023.

    Example:
        >>> from workbench.effects import AIPW
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(600, 1))
        >>> t = rng.integers(0, 2, 600)
        >>> y = 2 * t * x[:, 0] + rng.normal(size=600)
        >>> found = compare_estimators([AIPW(n_folds=2)], y, t, X=x, n_folds=2)
        >>> found.beats_constant
        True
    """
    if score not in SCORES:
        raise ParameterError(
            "must be 'r' or 'dr'", column="score", value=score, advice=did_you_mean(score, SCORES)
        )
    check_alpha(alpha)
    with recording() as notes:
        fold_seed, judge_seed, own_seed = spawn(random_state, 3)
        named = _labelled(estimators, own_seed)
        doses = _of_doses(named)
        if doses and score != "r":
            raise ParameterError("must be 'r' for doses", column="score", value=score)
        data, _ = gate(Y, T, X, W, sample_weight, groups, doses=doses)
        stages = crossed(data, n_folds, fold_seed)
        judged_by, base = (
            _by_doses(data, stages, DoseJudge.fit(data, n_folds, judge_seed))
            if doses
            else _by_arms(data, stages, Judge(n_folds=n_folds, random_state=judge_seed), score)
        )
        losses, seconds, failed, refusals = {}, {}, {}, []
        for name, estimator in named.items():
            started = perf_counter()
            try:
                losses[name] = judged_by(estimator, name)
            except WorkbenchError as error:
                failed[name] = str(error)
                refusals.append(error)
                warn("not-compared", f"{name} could not be compared: {error}")
                continue
            seconds[name] = perf_counter() - started
        if not losses:
            raise refusals[0]
        table, best, tied, beats = _ranking(losses, base, seconds, data, alpha)
    return Comparison(
        table=table,
        best=best,
        tied=tied,
        beats_constant=beats,
        score=FACTUAL if doses else score,
        failed=failed,
        treatment=data.t_name,
        outcome=data.y_name,
        n=len(data),
        n_folds=len(stages),
        alpha=alpha,
        warnings=tuple(notes),
    )


_Losses = Callable[[EffectEstimator, str], np.ndarray]


def _of_doses(named: Mapping[str, EffectEstimator]) -> bool:
    """Whether one of the estimators takes doses only, and none arms only."""
    takes = {estimator.takes_arms() for estimator in named.values()}
    return False in takes and True not in takes


def _by_doses(
    data: EffectData, stages: list[Stage], judge: DoseJudge
) -> tuple[_Losses, np.ndarray]:
    """What gives an estimator's loss of each row, and the losses of the best straight line."""
    return lambda estimator, name: judge.losses(estimator, stages, name), judge.line_losses()


def _by_arms(
    data: EffectData, stages: list[Stage], judge: Judge, score: str
) -> tuple[_Losses, np.ndarray]:
    """What gives an estimator's loss of each row, and the losses of the best constant effects."""
    judge = judge.fit_data(data)
    (rest_y, rest_t), scores = judge.residuals(data), judge.scores_.score

    def losses(estimator: EffectEstimator, name: str) -> np.ndarray:
        effects = held_out_effects(estimator, data, stages, name)
        return r_losses(rest_y, rest_t, effects) if score == "r" else dr_losses(scores, effects)

    return losses, _constant_losses(score, rest_y, rest_t, scores, shares(data))


def _labelled(estimators: Any, seed: np.random.SeedSequence) -> dict[str, EffectEstimator]:
    if isinstance(estimators, str | EffectEstimator):
        estimators = [estimators]
    if isinstance(estimators, Mapping):
        found = {str(name): as_estimator(e, seed) for name, e in estimators.items()}
    else:
        found = {}
        for estimator in estimators:
            made = as_estimator(estimator, seed)
            label = estimator if isinstance(estimator, str) else repr(made)
            again = sum(k == label or k.startswith(f"{label} #") for k in found)
            found[f"{label} #{again + 1}" if again else label] = made
    if not found:
        raise ParameterError("is empty", column="estimators", advice="Give at least one.")
    return found


def _constant_losses(
    score: str, rest_y: np.ndarray, rest_t: np.ndarray, scores: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Losses of the constant effects that fit these rows best."""
    if score == "r":
        weighted = rest_t * share[:, None]
        constant = np.linalg.lstsq(weighted.T @ rest_t, weighted.T @ rest_y, rcond=None)[0]
        return r_losses(rest_y, rest_t, np.broadcast_to(constant, rest_t.shape))
    constant = share @ (scores[:, 1:] - scores[:, :1])
    return dr_losses(scores, np.broadcast_to(constant, (len(scores), len(constant))))


def _ranking(
    losses: dict[str, np.ndarray],
    base: np.ndarray,
    seconds: dict[str, float],
    data: Any,
    alpha: float,
) -> tuple[pd.DataFrame, str, tuple[str, ...], bool]:
    """Scores, paired differences to the best, and what can be told apart."""
    share, df = shares(data), freedom(data)
    names = list(losses)
    loss = np.column_stack([losses[n] for n in names])
    level = share @ base
    if not level > 0:
        raise DataError(
            "is explained without any error by its covariates and one constant effect",
            column=data.y_name,
            advice="There is nothing left to compare on; is a covariate a copy of it?",
        )
    score = 1 - share @ loss / level
    # Derivative of 1 - mean loss / mean base with respect to each row's share.
    pull = -(loss - (1 - score) * base[:, None]) * share[:, None] / level
    top = int(score.argmax())

    def error(rows: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(np.diag(covariance(rows, data.groups)), 0))

    se, gap_se = error(pull), error(pull[:, [top]] - pull)
    gap = score[top] - score
    low, high = span(score, se, df, alpha / len(names))
    gap_low, gap_high = span(gap, gap_se, df, alpha / max(len(names) - 1, 1))
    table = pd.DataFrame(
        {
            "score": score,
            "se": se,
            "low": low,
            "high": high,
            "behind": gap,
            "behind_low": gap_low,
            "behind_high": gap_high,
            "seconds": [seconds[n] for n in names],
        },
        index=pd.Index(names, name="estimator"),
    ).sort_values("score", ascending=False, kind="stable")
    tied = [n for n in table.index[1:] if table.loc[n, "behind_low"] <= 0]
    return table, names[top], tuple(tied), bool(low[top] > 0)


def _percent(value: float) -> str:
    return f"{number(100 * value)} %"

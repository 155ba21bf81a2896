"""What judges effects without knowing the truth: doubly robust scores, effects held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import DataError, ParameterError, QuestionError, unrecorded
from ..core.seeding import Seed
from ..tables.effect_data import EffectData, effect_data, two_arms
from ..tables.gate import Table, align, as_frame, as_plain, count
from .aipw import AIPW
from .base import EffectEstimator, fresh, quantile
from .catalogue import make
from .conditions import rows_that_weigh, some_rows
from .design import content_rank, covariate_table
from .nuisance import fold_ids
from .sandwich import covariance


class Judge(AIPW):
    """AIPW that keeps its cross-fitted nuisances, on which every judgement here rests.

    Attributes:
        chance_: P(arm | z), (n, arms).
        outcome_: E[Y | z, arm], (n, arms).
    """

    def _nuisances(self, *args: Any) -> tuple[np.ndarray, np.ndarray]:
        self.chance_, self.outcome_ = super()._nuisances(*args)
        return self.chance_, self.outcome_

    def residuals(self, data: EffectData) -> tuple[np.ndarray, np.ndarray]:
        """Y - E[Y | z], (n,), and 1{T = k} - P(k | z) for each arm but the first, (n, arms - 1)."""
        mean = (self.chance_ * self.outcome_).sum(axis=1)
        member = data.t[:, None] == np.arange(len(data.arms))
        return data.y - mean, (member - self.chance_)[:, 1:]


def gate(
    Y: Any,
    T: Any,
    X: Any,
    W: Any,
    sample_weight: Any,
    groups: Any,
    *,
    by_x: bool = True,
    doses: bool = False,
    **beside: Any,
) -> tuple[EffectData, dict[str, np.ndarray]]:
    """The data of a judgement: arms or doses, checked and aligned.

    Args:
        by_x: Modifiers are needed.
        doses: The treatment is a dose.
        **beside: Further values, one per row, aligned as the others are and given back.
    """
    data = effect_data(
        Y, T, X=X, W=W, sample_weight=sample_weight, groups=groups, discrete_treatment=not doses
    )
    if by_x and data.x is None:
        raise QuestionError(
            "is needed: without it every estimator gives one effect for all units",
            column="X",
            advice="Pass the columns by which effects may differ.",
        )
    rows, found = pd.DataFrame(index=data.index), {}
    for name, values in beside.items():
        frame, _ = as_frame(values, name, name)
        if frame.shape[1] != 1:
            raise DataError(f"has {frame.shape[1]} columns, one is needed", column=name)
        by_label = data.labelled and isinstance(values, pd.DataFrame | pd.Series)
        if by_label or len(frame) != len(rows):
            frame = align(rows, frame.set_axis([name], axis=1), name, "the data")
        found[name] = frame.iloc[:, 0].to_numpy()
    if data.weight is not None:
        found = {name: values[data.weight > 0] for name, values in found.items()}
    return rows_that_weigh(data), found


def ends(data: EffectData, T0: Any, T1: Any) -> tuple[int, int]:
    """Positions of the arms of a contrast; by default the first two."""
    t0, t1 = two_arms(data.arms, T0, T1, data.t_name)
    if t0 == t1:
        raise QuestionError(
            "is compared with itself",
            column=data.t_name,
            value=data.arms[t0],
            advice="Give two values.",
        )
    return t0, t1


def contrast_of(effects: np.ndarray, t0: int, t1: int) -> np.ndarray:
    """The effect of arm t1 against t0 from effects against the first arm, (n, arms - 1)."""
    against_first = np.hstack([np.zeros((len(effects), 1)), effects])
    return against_first[:, t1] - against_first[:, t0]


def refuse_gaps(values: np.ndarray, name: str, index: pd.Index) -> np.ndarray:
    """The values as floats; what is not a finite number is an error that names its row."""
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise DataError("must hold one number per row", column=name, value=values[0]) from None
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"holds no finite number in {count(int(bad.sum()), 'row')}",
            column=name,
            row=as_plain(index[row]),
            value=values[row],
            advice="Leave these rows out of all inputs, or see why they have no prediction.",
        )
    return values


Stage = tuple[np.ndarray, np.ndarray]


def crossed(data: EffectData, n_folds: int, seed: Seed) -> list[Stage]:
    """(rows to learn from, rows to predict), as masks: each fold is predicted by all others."""
    fold = _folds(data, n_folds, seed)
    return _stages(data, [(fold != k, fold == k) for k in np.unique(fold)])


def sequential(data: EffectData, n_folds: int, seed: Seed) -> list[Stage]:
    """Half of the rows teach the first fit; each part of the rest is predicted by all before it.

    Folds that are predicted from each other are not independent: what is noise in one has taught
    the others, and the sum of their results has up to twice the variance that it seems to have.
    Here nothing that is judged has taught an earlier judgement, so that errors add up as they
    should.

    Source: Wager, "Sequential validation of treatment heterogeneity", 2024.
    """
    fold = _folds(data, 2 * _at_least_two(n_folds), seed)
    size = int(fold.max()) + 1
    return _stages(data, [(fold < k, fold == k) for k in range(size // 2, size)])


def _at_least_two(n_folds: Any) -> int:
    if not isinstance(n_folds, int) or isinstance(n_folds, bool) or n_folds < 2:
        raise ParameterError("must be an integer from 2", column="n_folds", value=n_folds)
    return n_folds


def _folds(data: EffectData, n_folds: int, seed: Seed) -> np.ndarray:
    """Clusters together, arms spread evenly, whatever the order of the rows."""
    rank = content_rank(data)
    n_folds = _at_least_two(n_folds)
    arm = None if data.arms is None else data.t
    return fold_ids(len(data), n_folds, seed, groups=data.groups, strata=arm, rank=rank)


def _stages(data: EffectData, stages: list[Stage]) -> list[Stage]:
    """The stages, if each has rows of every arm to learn from."""
    if data.arms is None:
        return stages
    for learn, _ in stages:
        sizes = np.bincount(data.t[learn], minlength=len(data.arms))
        if sizes.min() < 2:
            raise DataError(
                f"has {count(int(sizes.min()), 'row')} outside a fold, at least 2 are needed to "
                "learn from",
                column=data.t_name,
                value=data.arms[int(sizes.argmin())],
                advice="Use fewer folds, or merge this arm with another.",
            )
    return stages


def part_of(stages: list[Stage]) -> np.ndarray:
    """Which stage predicts each row, (n,); -1 for rows that only teach."""
    part = np.full(len(stages[0][0]), -1)
    for k, (_, ask) in enumerate(stages):
        part[ask] = k
    return part


def as_estimator(estimator: EffectEstimator | str, random_state: Seed) -> EffectEstimator:
    """An unfitted copy of an estimator, or one by its name."""
    if isinstance(estimator, str):
        return make(estimator, random_state=random_state)
    if not isinstance(estimator, EffectEstimator):
        raise ParameterError(
            "must be an effect estimator of workbench or its name",
            column="estimator",
            value=type(estimator).__name__,
        )
    from sklearn.base import clone

    return clone(estimator)


def held_out_effects(
    estimator: EffectEstimator, data: EffectData, stages: list[Stage], label: str = ""
) -> np.ndarray:
    """Effects of each arm against the first for rows that the fit has not seen, (n, arms - 1)."""

    def answer(fitted: EffectEstimator, asked: Table) -> np.ndarray:
        return fitted.const_marginal_effect(asked)

    return held_out(estimator, data, stages, answer, len(data.arms) - 1, label)


def held_out(
    estimator: EffectEstimator,
    data: EffectData,
    stages: list[Stage],
    answer: Callable[[EffectEstimator, Table], np.ndarray],
    width: int,
    label: str = "",
) -> np.ndarray:
    """What fits answer about rows that they have not seen, (n, width).

    NaN for rows that no stage predicts. What the estimator says of the parts it learns from is
    nobody's answer, so its warnings are dropped.
    """
    if not estimator.adjusts_for_w and data.w is not None:
        data = replace(data, x=covariate_table(data), w=None)
    found = np.full((len(data), width), np.nan)
    for learn, ask in tqdm(stages, desc=f"fitting {label}", delay=2, leave=False):
        with unrecorded():
            fitted = fresh(estimator).fit_data(some_rows(data, learn))
            asked = Table(data.x.frame[ask], data.x.schema, data.x.named)
            found[ask] = answer(fitted, asked)
    said = f"effects of {label or type(estimator).__name__}"
    asked = part_of(stages) >= 0
    for k in range(width):
        refuse_gaps(found[asked, k], said, data.index[asked])
    return found


def shares(data: EffectData) -> np.ndarray:
    """Weights that sum to one, (n,)."""
    weight = np.ones(len(data)) if data.weight is None else data.weight
    return weight / weight.sum()


def mean_and_error(values: np.ndarray, data: EffectData) -> tuple[np.ndarray, np.ndarray, float]:
    """Weighted means of columns (n, p), their standard errors by cluster, degrees of freedom."""
    share = shares(data)
    mean = share @ values
    error = np.sqrt(np.diag(covariance((values - mean) * share[:, None], data.groups)))
    return mean, error, freedom(data)


def freedom(data: EffectData) -> float:
    """Independent units (clusters, or rows) less one."""
    return float((len(data) if data.groups is None else len(np.unique(data.groups))) - 1)


def check_alpha(alpha: Any) -> None:
    """Refuse what is no level."""
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1:
        raise ParameterError("must lie between 0 and 1", column="alpha", value=alpha)


def span(value: Any, error: Any, df: float, alpha: float) -> tuple[Any, Any]:
    """Ends of the interval value -+ t quantile * error."""
    reach = quantile(alpha, df) * error
    return value - reach, value + reach

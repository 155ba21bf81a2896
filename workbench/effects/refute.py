"""Attempts to overturn an estimate: dowhy's refuters on fresh copies, with one-word verdicts."""

from __future__ import annotations

import contextvars
import logging
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import (
    ParameterError,
    QuestionError,
    WorkbenchError,
    did_you_mean,
    unrecorded,
)
from ..core.results import Result, number
from ..core.saving import saveable
from ..core.seeding import Seed, foreign_generators, generator, integer, spawn
from ..tables.effect_data import EffectData, effect_data
from .base import EffectEstimator, Estimate, check_target, fresh
from .conditions import some_rows
from .judge import as_estimator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .effect_estimate import EffectEstimate

_MOST_ROWS, _FEWEST_OF_ARM = 5_000, 100
REFUTERS = {
    "placebo treatment": "the treatment is shuffled between rows: the effect should vanish",
    "random common cause": "a random column is adjusted for as well: nothing should change",
    "data subset": "80 % of the rows are drawn: the effect should stay",
    "dummy outcome": "the outcome is replaced by noise: the effect should vanish",
}


@saveable
@dataclass(frozen=True, repr=False)
class Refutation(Result):
    """One attempt to overturn an estimate.

    Attributes:
        name: Which refuter.
        outcome: ``"passed"``, ``"doubtful"`` or ``"failed"``.
        sentence: What was done, what should happen, and what happened.
        value: The estimate that was tested.
        expected: What the refuter should give.
        found: Mean of the refuter's estimates.
        spread: Their standard deviation.
        p_value: dowhy's p-value that the expected value belongs to their distribution.
    """

    name: str
    outcome: str
    sentence: str
    value: float
    expected: float
    found: float
    spread: float
    p_value: float

    def summary(self) -> str:
        return f"{self.name}: {self.outcome}. {self.sentence}"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        columns = ("outcome", "expected", "found", "spread", "p_value")
        return pd.DataFrame(
            [{c: getattr(self, c) for c in columns}], index=pd.Index([self.name], name="refuter")
        )


@saveable
@dataclass(frozen=True, repr=False)
class Refutations(Result):
    """All attempts; ``outcome`` is the worst of them.

    Attributes:
        items: The attempts.
        instead: What was attacked in place of the answer itself, if it was not: fewer rows, or a
            faster estimator of the same average.
    """

    items: tuple[Refutation, ...]
    instead: str = ""

    @property
    def outcome(self) -> str:
        found = {item.outcome for item in self.items}
        return next((o for o in ("failed", "doubtful") if o in found), "passed")

    def summary(self) -> str:
        listed = ", ".join(f"{item.name} {item.outcome}" for item in self.items)
        instead = f"Attacked was {self.instead}. " if self.instead else ""
        return (
            f"Refutations {self.outcome}: {listed}. {instead}None of them sees a hidden confounder."
        )

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        return pd.concat([item.to_frame() for item in self.items])

    def how(self) -> dict[str, Any]:
        return {item.name: item.sentence for item in self.items}

    def plot(self, ax: Axes | None = None) -> Axes:
        """What each refuter found against what it should have found."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        places = np.arange(len(self.items))[::-1]
        ax.errorbar(
            [i.found for i in self.items],
            places,
            xerr=[2 * i.spread for i in self.items],
            fmt="o",
            label="found",
        )
        ax.plot([i.expected for i in self.items], places, "x", label="expected")
        ax.set_yticks(places, [f"{i.name}: {i.outcome}" for i in self.items])
        ax.set_ylim(-0.6, len(places) - 0.4)
        ax.set_xlabel("effect (bars: twice the spread)")
        ax.legend()
        return ax

    def __iter__(self):
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def refute(
    estimator: EffectEstimator | EffectEstimate | str,
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    T0: Any = None,
    T1: Any = None,
    target: str | None = None,
    refuters: Iterable[str] = tuple(REFUTERS),
    simulations: int = 10,
    random_state: Seed = 0,
) -> Refutations:
    """Try to overturn an average effect with dowhy's refuters.

    Placebo treatment and dummy outcome should give no effect; a random common cause and a subset
    of the rows should change nothing. ``passed``: within one standard error of what is expected;
    ``doubtful``: within two; else ``failed``. None of them sees a hidden confounder; negative
    controls may (:func:`placebo_outcome`, :func:`placebo_treatment`). Of very many rows some
    5,000 are drawn (whole clusters), on which the effect is estimated and attacked.

    Args:
        estimator: Fitted or not, its name, or an :class:`~workbench.effects.EffectEstimate` (then
            contrast and target are its own); it is copied, never changed.
        Y, T, X, W, sample_weight, groups: As for ``fit``.
        T0, T1: The contrast.
        target: ``"ATE"`` (default) or ``"ATT"``.
        refuters: Some of ``placebo treatment, random common cause, data subset, dummy outcome``.
        simulations: Fits per refuter.
        random_state: Seed of the refuters.

    References:
        Sharma and Kiciman, "DoWhy: An end-to-end library for causal inference", 2020.

    Example:
        >>> from workbench.effects import AIPW
        >>> rng = np.random.default_rng(0)
        >>> t = rng.integers(0, 2, 200)
        >>> y = 2 * t + rng.normal(size=200)
        >>> refute(AIPW(), y, t, refuters=["placebo treatment"], simulations=4).outcome
        'passed'
    """
    if isinstance(estimator, str):
        estimator = as_estimator(estimator, random_state)
    if not isinstance(estimator, EffectEstimator):
        answer = estimator
        estimator = getattr(answer, "estimator", None)
        if not isinstance(estimator, EffectEstimator):
            raise QuestionError(
                "only what an effect estimator has answered can be fitted again",
                column="estimator",
                value=type(answer).__name__,
            )
        T0, T1 = (answer.t0 if T0 is None else T0), (answer.t1 if T1 is None else T1)
        target = target or answer.target
    data = effect_data(
        Y,
        T,
        X=X,
        W=W,
        sample_weight=sample_weight,
        groups=groups,
        discrete_treatment=estimator.takes_arms(),
    )
    return refute_data(
        estimator,
        data,
        contrast=(T0, T1),
        target=target or "ATE",
        refuters=refuters,
        simulations=simulations,
        random_state=random_state,
    )


def refute_data(
    estimator: EffectEstimator,
    data: EffectData,
    *,
    contrast: tuple[Any, Any] = (None, None),
    target: str = "ATE",
    refuters: Iterable[str] = tuple(REFUTERS),
    simulations: int = 10,
    random_state: Seed = 0,
    estimated: Estimate | None = None,
    progress: bool = True,
) -> Refutations:
    """:func:`refute` on checked data; ``estimated`` saves fitting the estimate once more."""
    check_target(target)
    names = list(refuters)
    if estimator.needs_instrument:
        raise QuestionError(
            "is identified by an instrument: there are no refuters for that",
            column=data.t_name,
            advice="Compare with an estimator that adjusts, or with another instrument.",
        )
    for name in names:
        if name not in REFUTERS:
            raise ParameterError(
                "is not a refuter", column=str(name), advice=did_you_mean(name, REFUTERS)
            )
    if not isinstance(simulations, int) or simulations < 2:
        raise ParameterError("must be an integer from 2", column="simulations", value=simulations)
    drawn = _drawn(data, spawn(random_state, len(names) + 1)[-1])
    asked, estimator = estimator, estimator.for_refuting()
    instead, answered = [], estimated
    if asked is not estimator:
        instead.append(f"{type(estimator).__name__}'s estimate of the same average")
    if len(drawn) < len(data):
        instead.append(f"the estimate from {len(drawn):,} of {len(data):,} rows")
    if estimated is None or instead:
        # What is to be said of the answer's own fit has been said there.
        with unrecorded() if estimated is not None else nullcontext():
            fitted = fresh(estimator).fit_data(drawn)
        data = drawn
        answer = fitted.average_effect_on_treated if target == "ATT" else fitted.average_effect
        estimated = answer(T0=contrast[0], T1=contrast[1])
    # A context of its own: conditions of the refuters' fits are not conditions of the answer.
    run = contextvars.Context().run
    seeds = spawn(random_state, len(names))
    bar = tqdm(names, desc="refuting", delay=2, leave=False, disable=not progress)
    items = [
        run(_attempt, name, estimator, data, contrast, target, simulations, seed, estimated)
        for name, seed in zip(bar, seeds, strict=True)
    ]
    if answered is not None and asked is not estimator:
        items += _disagreement(answered, estimated, type(estimator).__name__)
    return Refutations(tuple(items), " and ".join(instead))


def _disagreement(answer: Estimate, attacked: Estimate, name: str) -> list[Refutation]:
    """What is to be said where the faster estimator gives another effect than the answer."""
    spread = float(np.sqrt(np.nansum(np.square([answer.se, attacked.se]))))
    if abs(answer.value - attacked.value) <= 2 * spread:
        return []
    sentence = (
        f"{name} gives {number(attacked.value)} where the answer is {number(answer.value)}: "
        "attempts to overturn the one say nothing of the other."
    )
    values = (answer.value, answer.value, attacked.value, spread, float("nan"))
    return [Refutation("faster estimator", "doubtful", sentence, *values)]


def _drawn(data: EffectData, seed: Seed) -> EffectData:
    """At most some 5,000 rows: whole clusters, or the same share of each arm."""
    if len(data) <= _MOST_ROWS:
        return data
    rng, share = generator(seed), _MOST_ROWS / len(data)
    if data.groups is not None:
        kept = (rng.random(int(data.groups.max()) + 1) < share)[data.groups]
        if any((kept & inside).sum() < _FEWEST_OF_ARM for inside in _arms(data)):
            return data  # a few large clusters hold an arm
    else:
        kept = np.zeros(len(data), dtype=bool)
        for inside in _arms(data):
            rows = rng.permutation(np.flatnonzero(inside))
            kept[rows[: max(_FEWEST_OF_ARM, round(share * len(rows)))]] = True
    return some_rows(data, kept)


def _arms(data: EffectData) -> list[np.ndarray]:
    if data.arms is None:
        return [np.ones(len(data), dtype=bool)]
    return [data.t == k for k in range(len(data.arms))]


def _attempt(
    name: str,
    estimator: EffectEstimator,
    data: EffectData,
    contrast: tuple[Any, Any],
    target: str,
    simulations: int,
    seed: np.random.SeedSequence,
    estimated: Estimate,
) -> Refutation:
    with foreign_generators(seed), warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        from . import dowhy_bridge as bridge

        table, estimand = bridge.as_table(data), bridge.as_estimand(data)
        wrapped = bridge.BridgedEstimator(estimand, estimator, data, contrast, target)
        estimate = bridge.as_estimate(table, estimated.value, wrapped)
        try:
            refuted = _call(name, table, estimand, estimate, data, simulations, seed)
        except WorkbenchError as error:
            said = f"It could not be run: {error}"
            return Refutation(name, "doubtful", said, estimated.value, *[float("nan")] * 4)
    vanishes = name in ("placebo treatment", "dummy outcome")
    expected = 0.0 if vanishes else estimated.value
    seen = np.array(wrapped.seen)
    result = refuted.refutation_result or {}
    p_value = float(np.ravel(result.get("p_value", float("nan")))[0])
    found, spread = float(seen.mean()), float(seen.std(ddof=1))
    outcome = _judge(found, expected, spread, estimated, simulations, vanishes)
    sentence = (
        f"{REFUTERS[name][0].upper()}{REFUTERS[name][1:]}; it was {number(found)} where "
        f"{number(expected)} was expected."
    )
    return Refutation(name, outcome, sentence, estimated.value, expected, found, spread, p_value)


def _judge(
    found: float,
    expected: float,
    spread: float,
    estimated: Estimate,
    simulations: int,
    vanishes: bool,
) -> str:
    """How far off, in standard errors of the estimate (or of the refuter, if there are none).

    Effects that should vanish are also measured against the effect itself: a placebo effect of
    half the size is no small matter, however noisy.
    """
    scale = estimated.se if estimated.se > 0 else spread
    if not scale > 0:
        return "passed" if found == expected else "failed"
    off = abs(found - expected) / scale
    off -= 2 * spread / np.sqrt(simulations) / scale if vanishes else 0.0
    if off <= 1:
        return "passed"
    return "doubtful" if off <= 2 else "failed"


def _call(name, table, estimand, estimate, data, simulations, seed):
    from dowhy.causal_refuters import data_subset_refuter, dummy_outcome_refuter
    from dowhy.causal_refuters.placebo_treatment_refuter import (
        PlaceboType,
        refute_placebo_treatment,
    )
    from dowhy.causal_refuters.random_common_cause import refute_random_common_cause

    # A generator, not an integer: an integer gives every simulation the same draw.
    options = {
        "num_simulations": simulations,
        "random_state": np.random.RandomState(integer(seed)),
        "n_jobs": 1,
    }
    if name == "placebo treatment":
        return refute_placebo_treatment(
            table, estimand, estimate, ["t"], placebo_type=PlaceboType.PERMUTE, **options
        )
    if name == "random common cause":
        return refute_random_common_cause(table, estimand, estimate, **options)
    if name == "data subset":
        return data_subset_refuter.refute_data_subset(
            table, estimand, estimate, subset_fraction=0.8, **options
        )
    noise = [("zero", ""), ("noise", {"std_dev": float(data.y.std())})]
    return dummy_outcome_refuter.refute_dummy_outcome(
        table,
        estimand,
        estimate,
        ["t"],
        "y",
        required_variables=True,
        transformation_list=noise,
        num_simulations=simulations,
    )[0]


class _quiet:
    """dowhy explains itself in the log; its loggers are put back as they were."""

    def __enter__(self):
        self.logger = logging.getLogger("dowhy")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_):
        self.logger.setLevel(self.level)

"""What would a treatment rule achieve? Doubly robust values, against nobody and everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.captions import name_axes, name_places
from ..core.errors import (
    CausalWarning,
    DataError,
    ParameterError,
    QuestionError,
    recording,
    warn,
)
from ..core.results import Result, interval, number
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..tables.effect_data import EffectData, arm
from ..tables.gate import as_plain, count
from .asked import better_is
from .base import EffectEstimator
from .conditions import some_rows
from .judge import (
    Judge,
    as_estimator,
    check_alpha,
    gate,
    held_out_effects,
    mean_and_error,
    part_of,
    sequential,
    shares,
    span,
)
from .targeting import among_the_first

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rule = Callable[[pd.DataFrame], Any]


_GIVEN = "given by the caller"


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class PolicyValue(Result):
    """The answer of :func:`policy_value`.

    Attributes:
        values: Per rule (``the rule``, then everybody in each arm): ``share`` of units whose arm
            is not the first, ``value`` (mean outcome less costs), ``se``, ``low``, ``high``.
        gains: Per fixed rule: value of the rule less that of everybody in that arm, paired:
            ``gain, se, low, high``.
        curve: For two arms and predicted effects: value where the ``share`` with the largest
            predictions is treated, ``low``, ``high`` (each point alone), ``random`` (the same
            share drawn at random); else None.
        rule: What decided, as text.
        how_decided: Whether decisions were made for held-out rows, as text.
        treatment, outcome, n, alpha, maximise: The question.
        costs: Cost of each arm, in units of the outcome.
    """

    values: pd.DataFrame
    gains: pd.DataFrame
    curve: pd.DataFrame | None
    rule: str
    how_decided: str
    treatment: str
    outcome: str
    n: int
    alpha: float
    maximise: bool
    costs: dict[Any, float]
    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        top = self.values.iloc[0]
        costs = " with costs" if any(self.costs.values()) else ""
        worst, row = self._nearest()
        given = f"{100 * top['share']:.0f} % get {self._given()}"
        return (
            f"Under {self.rule} mean {self.outcome!r}{costs} is {number(top['value'])} "
            f"({interval(top['low'], top['high'])}; {given}), "
            f"{_less_or_more(row['gain'])} with {worst} "
            f"(difference {interval(row['low'], row['high'])})."
        )

    def _given(self) -> str:
        first, *others = self.costs
        return repr(others[0]) if len(others) == 1 else f"other than {first!r}"

    def _nearest(self) -> tuple[str, pd.Series]:
        """The fixed rule that is best by its own value: the one to beat."""
        fixed = self.values["value"].iloc[1:]
        name = fixed.idxmax() if self.maximise else fixed.idxmin()
        return name, self.gains.loc[name]

    def verdict(self) -> str:
        better = self.gains["low"] > 0 if self.maximise else self.gains["high"] < 0
        worse = self.gains["high"] < 0 if self.maximise else self.gains["low"] > 0
        if better.all():
            found = "Better than giving everybody the same"
            # Only the caller knows where these decisions come from.
            given = ", if these rows had no part in making the rule"
            return f"{found}{given if self.how_decided == _GIVEN else ''}."
        if worse.any():
            return f"Worse than {', '.join(self.gains.index[worse])}."
        open_ = self.gains.index[~better]
        return f"Not shown to be better than {', '.join(open_)}: the simpler rule will do."

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per rule with its value and the rule's gain over it; ``long=True``: tidy."""
        gains = self.gains[["gain", "low", "high"]].add_prefix("rule_")
        gains = gains.rename(columns={"rule_gain": "gain"})
        frame = self.values.join(gains.rename(columns={"rule_low": "gain_low"}))
        frame = frame.rename(columns={"rule_high": "gain_high"})
        if long:
            return frame.reset_index().melt(id_vars=["rule"], var_name="quantity", value_name="x")
        return frame

    def glance(self) -> pd.DataFrame:
        return self.to_frame()[["share", "value", "low", "high", "gain", "gain_low", "gain_high"]]

    def how(self) -> dict[str, Any]:
        found = {
            "decisions": self.how_decided,
            "better is": "higher" if self.maximise else "lower",
            "values": "means of doubly robust scores of the arm each unit would receive",
        }
        if any(self.costs.values()):
            found["costs"] = ", ".join(f"{a!r}: {number(c)}" for a, c in self.costs.items())
        return found

    def plot(self, ax: Axes | None = None) -> Axes:
        """The value against the share treated where effects were predicted, else each value."""
        import matplotlib.pyplot as plt

        ax = plt.subplots(layout="constrained")[1] if ax is None else ax
        label = f"mean {self.outcome}{' with costs' if any(self.costs.values()) else ''}"
        if self.curve is None:
            places = np.arange(len(self.values))[::-1]
            reach = [
                self.values["value"] - self.values["low"],
                self.values["high"] - self.values["value"],
            ]
            ax.errorbar(self.values["value"], places, xerr=np.array(reach), fmt="o", capsize=3)
            fixed = [f"everybody {arm!r}" for arm in self.costs]
            name_places(ax, places, ["the rule", *fixed])
            ax.set_ylim(-0.6, len(places) - 0.4)
            name_axes(ax, label, self.treatment)
            return ax
        curve, top = self.curve, self.values.iloc[0]
        ax.fill_between(curve["share"], curve["low"], curve["high"], alpha=0.2, lw=0, color="C0")
        ax.plot(curve["share"], curve["value"], color="C0", label="largest predicted gain first")
        ax.plot(curve["share"], curve["random"], "--", color="0.5", label="at random")
        reach = [[top["value"] - top["low"]], [top["high"] - top["value"]]]
        ax.errorbar(
            top["share"], top["value"], yerr=reach, fmt="o", capsize=3, color="C1", label="the rule"
        )
        name_axes(ax, f"share given {self.treatment} = {list(self.costs)[1]}", label)
        ax.legend(fontsize=8)
        return ax


def _less_or_more(gain: float) -> str:
    if gain == 0:
        return "the same as"
    return f"{number(abs(gain))} {'more' if gain > 0 else 'less'} than"


def policy_value(
    policy: Any,
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    cost: float | Mapping[Any, float] = 0.0,
    maximise: bool = True,
    n_folds: int = 5,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> PolicyValue:
    """The mean outcome that a treatment rule would achieve, with interval and paired differences.

    V(rule) = mean of s_rule(x) - cost_rule(x), with s_k the doubly robust score of arm k (see
    :class:`AIPW`); the differences to fixed rules come from the same rows, so that what they
    share cancels. A rule learned from rows must not be judged on them: an estimator decides for
    rows that its fit has not seen.

    Args:
        policy: The arm of each row, decided without these rows (array or Series; for two arms also
            true or false: whether to give the second); a function from the DataFrame of X to arms;
            or an effect estimator (or its name), which gives each unit the arm with the largest
            effect less cost. A fitted estimator decides as it is if none of the rows of X is one
            that it was fitted on; otherwise copies decide for half of the rows, part by part, each
            fitted to the rows before.
        Y, T, X, W, sample_weight, groups: As for ``fit``; T has arms. X is what a function or an
            estimator sees, W is adjusted for only.
        cost: Cost of each arm by name, in units of the outcome; or one number for every arm but
            the first, where arms are numbers.
        maximise: Whether more of the outcome is better; else costs are added to it.
        n_folds: Parts that an estimator decides for, and folds for the nuisances of the scores.
        alpha: One minus the confidence level.
        random_state: Seed of folds, nuisances and of estimators given by name.

    Raises:
        DataError: A policy without an arm for each row.
        QuestionError: An arm that the data do not have.

    References:
        Dudik, Erhan, Langford and Li, "Doubly robust policy evaluation and optimization",
        Statistical Science 29(4), 2014. Athey and Wager, "Policy learning with observational
        data", Econometrica 89(1), 2021.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, t = rng.normal(size=900), rng.integers(0, 2, 900)
        >>> y = t * x + rng.normal(size=900)
        >>> found = policy_value((x > 0).astype(int), y, t, X=x, n_folds=2)
        >>> found.verdict()
        'Better than giving everybody the same, if these rows had no part in making the rule.'
    """
    check_alpha(alpha)
    with recording() as notes:
        fold_seed, judge_seed, own_seed = spawn(random_state, 3)
        learns = isinstance(policy, EffectEstimator | str)
        beside = {} if learns or callable(policy) else {"policy": policy}
        by_x = learns or callable(policy)
        data, beside = gate(Y, T, X, W, sample_weight, groups, by_x=by_x, **beside)
        costs = arm_costs(cost, data)
        sign = better_is(maximise)
        judge = Judge(n_folds=n_folds, random_state=judge_seed).fit_data(data)
        net = judge.scores_.score - sign * costs
        rank, seen = None, np.ones(len(data), dtype=bool)
        if learns:
            gain, said = _gains(policy, data, n_folds, fold_seed, own_seed)
            seen = np.isfinite(gain).all(axis=1)
            gain = sign * gain[seen] - costs
            chosen, rule = gain.argmax(axis=1), f"the rule of {_name(policy)}"
            rank = gain[:, 1] - gain[:, 0]
        else:
            arms = policy(data.x.frame.copy()) if callable(policy) else beside["policy"]
            chosen, rule, said = _positions(arms, data), "the rule", _GIVEN
        data, net = some_rows(data, seen), net[seen]
        values, gains = valued(net, chosen, data, alpha)
        two = rank is not None and len(data.arms) == 2
    return PolicyValue(
        values=values,
        gains=gains,
        curve=_curve(net, rank, data, alpha) if two else None,
        rule=rule,
        how_decided=said,
        treatment=data.t_name,
        outcome=data.y_name,
        n=len(data),
        alpha=alpha,
        maximise=bool(maximise),
        costs=dict(zip(data.arms, map(float, costs), strict=True)),
        warnings=tuple(notes),
    )


def arm_costs(cost: Any, data: EffectData) -> np.ndarray:
    """Cost of each arm, (arms,)."""
    costs = np.zeros(len(data.arms))
    if isinstance(cost, Mapping):
        for name, value in cost.items():
            costs[arm(data.arms, name, data.t_name)] = _finite(value)
    elif _finite(cost):
        if any(isinstance(name, str) for name in data.arms):
            raise ParameterError(
                "is one number, and arms with names have no order that says which is free",
                column="cost",
                value=cost,
                advice=f"Say which arm costs what, e.g. cost={{{data.arms[-1]!r}: {cost}}}.",
            )
        costs[1:] = cost
    return costs


def _finite(cost: Any) -> float:
    if isinstance(cost, bool) or not isinstance(cost, Real) or not np.isfinite(cost):
        raise ParameterError("must be a finite number, or one per arm", column="cost", value=cost)
    return float(cost)


def _name(policy: Any) -> str:
    return policy if isinstance(policy, str) else repr(policy)


def _gains(
    policy: Any,
    data: EffectData,
    n_folds: int,
    fold_seed: np.random.SeedSequence,
    own_seed: np.random.SeedSequence,
) -> tuple[np.ndarray, str]:
    """Effects against the first arm, (n, arms) with zeros first, and how they were made."""
    zero = np.zeros((len(data), 1))
    fitted = isinstance(policy, EffectEstimator) and policy.__sklearn_is_fitted__()
    if fitted and policy.x_ is not None and policy.arms_ == data.arms:
        seen = set(pd.util.hash_pandas_object(policy.x_.astype(object), index=False))
        asked = data.x.frame.reindex(columns=policy.x_.columns).astype(object)
        rows = pd.util.hash_pandas_object(asked, index=False).isin(seen)
        if not rows.any():
            effects = policy.const_marginal_effect(data.x if data.x.named else data.x.frame)
            return np.hstack([zero, effects]), "by the fit given, for rows it has not seen"
        warn(
            "refitted",
            f"{int(rows.sum()):,} of the rows have values of X on which the estimator was fitted: "
            "copies of it, fitted to rows they don't decide for, decide instead",
        )
    estimator = as_estimator(policy, own_seed)
    stages = sequential(data, n_folds, fold_seed)
    effects = held_out_effects(estimator, data, stages, _name(policy))
    return np.hstack([zero, effects]), one_after_the_other(stages)


def one_after_the_other(stages: list[Any]) -> str:
    """How decisions were made, as text."""
    judged = int((part_of(stages) >= 0).sum())
    return (
        f"for {count(judged, 'row')} of {len(stages[0][0]):,} in {len(stages)} parts, each by a "
        "fit to the rows before it"
    )


def _positions(arms: Any, data: EffectData) -> np.ndarray:
    """The policy's arms as positions, (n,)."""
    values = np.asarray(arms)
    if values.shape == (len(data), 1):
        values = values[:, 0]
    if values.shape != (len(data),):
        raise DataError(
            f"has shape {values.shape}, not one arm for each of {count(len(data), 'row')}",
            column="policy",
        )
    missing = pd.isna(values)
    if missing.any():
        raise DataError(
            f"gives no arm to {count(int(missing.sum()), 'row')}",
            column="policy",
            row=as_plain(data.index[int(missing.argmax())]),
        )
    if len(data.arms) == 2 and all(isinstance(v, bool | np.bool_) for v in values):
        return values.astype(int)  # whether to treat
    found = np.empty(len(values), dtype=int)
    for value in pd.unique(pd.Series(values)):
        try:
            place = arm(data.arms, as_plain(value), data.t_name)
        except QuestionError as error:
            raise QuestionError(
                f"gives {data.t_name!r} a value that the data do not have",
                column="policy",
                row=as_plain(data.index[int((values == value).argmax())]),
                value=as_plain(value),
                advice=error.advice,
            ) from None
        found[values == value] = place
    return found


def valued(
    net: np.ndarray, chosen: np.ndarray, data: EffectData, alpha: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Values of the rule and of every fixed rule, and paired gains of the rule.

    Args:
        net: Doubly robust score of each arm less its cost, (n, arms).
        chosen: The arm's position for each row, (n,).
        data: Weights and clusters.
        alpha: One minus the confidence level.
    """
    own = net[np.arange(len(net)), chosen][:, None]
    value, se, df = mean_and_error(np.hstack([own, net]), data)
    gain, gain_se, _ = mean_and_error(own - net, data)
    fixed = [f"everybody {data.t_name} = {a}" for a in data.arms]
    treated = [float(shares(data) @ (chosen > 0)), *[float(k > 0) for k in range(net.shape[1])]]

    def frame(names: list[str], first: str, values: np.ndarray, errors: np.ndarray):
        low, high = span(values, errors, df, alpha)
        columns = {first: values, "se": errors, "low": low, "high": high}
        return pd.DataFrame(columns, index=pd.Index(names, name="rule"))

    values = frame(["the rule", *fixed], "value", value, se)
    values.insert(0, "share", treated)
    return values, frame(fixed, "gain", gain, gain_se)


def _curve(net: np.ndarray, rank: np.ndarray, data: EffectData, alpha: float) -> pd.DataFrame:
    """Value where the share with the largest predicted gain is treated, at each twentieth."""
    share = shares(data)
    treated = among_the_first(rank, share, np.arange(21) / 20)
    rows = treated * net[:, [1]] + (1 - treated) * net[:, [0]]
    value, se, df = mean_and_error(rows, data)
    low, high = span(value, se, df, alpha)
    columns = {"share": share @ treated, "value": value, "low": low, "high": high}
    found = pd.DataFrame(columns)
    return found.assign(random=value[0] + found["share"] * (value[-1] - value[0]))

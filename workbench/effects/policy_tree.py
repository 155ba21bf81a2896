"""Treatment rules that a person can read: a small tree, and its value on rows it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import CausalWarning, DataError, ParameterError, recording, unrecorded
from ..core.results import Result
from ..core.saving import saveable
from ..core.seeding import Seed, integer, spawn
from ..tables.effect_data import EffectData
from ..tables.encode import Encoder
from ..tables.gate import refuse_missing, table
from ..tables.schema import Schema
from .asked import better_is
from .conditions import some_rows
from .judge import Judge, check_alpha, gate, sequential, shares
from .policy import PolicyValue, arm_costs, one_after_the_other, valued

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_LEVELS = 50


@saveable
@dataclass(frozen=True)
class Leaf:
    """One rule: units inside all of its bounds get the arm.

    Attributes:
        arm: What they get.
        bounds: Column of numbers -> (low, high): low < value <= high, in raw units.
        levels: Column of levels -> the levels that belong here.
        but: Column of levels -> the other levels, for a shorter text.
        share: Share of the units.
        n: Rows.
    """

    arm: Any
    bounds: dict[str, tuple[float, float]]
    levels: dict[str, tuple[Any, ...]]
    but: dict[str, tuple[Any, ...]]
    share: float = float("nan")
    n: int = 0

    def mask(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows are inside."""
        inside = np.ones(len(frame), dtype=bool)
        for name, (low, high) in self.bounds.items():
            values = frame[name].to_numpy(dtype=float)
            inside &= (values > low) & (values <= high)
        for name, levels in self.levels.items():
            inside &= frame[name].isin(levels).to_numpy()
        return inside

    @property
    def who(self) -> str:
        """The conditions as text, e.g. ``age <= 40 and sex = f``."""
        parts = []
        for name, (low, high) in self.bounds.items():
            left, right = (_plain(v) if np.isfinite(v) else "" for v in (low, high))
            if left and right:
                parts.append(f"{left} < {name} <= {right}")
            else:
                parts.append(f"{name} > {left}" if left else f"{name} <= {right}")
        for name, inside in self.levels.items():
            outside = self.but[name]
            listed = inside if len(inside) <= len(outside) else outside
            sign = "=" if listed is inside else "not"
            parts.append(f"{name} {sign} {' or '.join(map(str, listed))}")
        return " and ".join(parts) or "everybody"

    def __str__(self) -> str:
        return f"{self.who}: {self.arm}"


def _plain(value: float) -> str:
    return f"{int(value)}" if float(value).is_integer() and abs(value) < 1e15 else f"{value!r}"


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class PolicyTree(Result):
    """The answer of :func:`policy_tree`.

    Attributes:
        leaves: The rules, which exclude each other and cover everybody.
        value: What rules learned this way achieve on rows they have not seen.
        agreement: Share of the rows to which a tree learned without them gives the same arm.
        schema: The columns of X.
        treatment, outcome, arms: The question.
    """

    leaves: tuple[Leaf, ...]
    value: PolicyValue
    agreement: float
    schema: Schema
    treatment: str
    outcome: str
    arms: tuple[Any, ...]
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules as text, e.g. ``"age <= 40 and sex = f: 1"``."""
        return tuple(map(str, self.leaves))

    def decide(self, X: Any) -> np.ndarray:
        """The arm for each row of X, matched by column name, (m,).

        Raises:
            DataError: Missing columns, or an empty cell in a column that decides.
        """
        if not isinstance(X, pd.DataFrame):
            array = np.asarray(X)
            if array.ndim == 1:
                array = array[:, None]
            if array.ndim != 2 or array.shape[1] != len(self.schema.names):
                raise DataError(
                    f"has shape {array.shape}, not (rows, {len(self.schema.names)})", column="X"
                )
            X = pd.DataFrame(array, columns=self.schema.names)
        names = self.schema.names
        frame = table(X, schema=self.schema, columns=names, what="X", drop=False).frame
        used = {c for leaf in self.leaves for c in (*leaf.bounds, *leaf.levels)}
        for name in sorted(used):
            refuse_missing(frame[name])
        return np.array([leaf.arm for leaf in self.leaves])[_apply(self.leaves, frame)]

    def summary(self) -> str:
        learned = "; ".join(self.rules)
        return f"Rule for {self.treatment!r}: {learned}. {self.value.summary()}"

    def verdict(self) -> str:
        if len({leaf.arm for leaf in self.leaves}) == 1:
            return f"The rule gives everybody {self.leaves[0].arm!r}. {self.value.verdict()}"
        return self.value.verdict()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per rule: who, arm, share, n."""
        rows = [(leaf.who, leaf.arm, leaf.share, leaf.n) for leaf in self.leaves]
        frame = pd.DataFrame(rows, columns=["who", "arm", "share", "n"])
        if long:
            return frame.melt(id_vars=["who"], var_name="quantity", value_name="value")
        return frame.set_index("who")

    def how(self) -> dict[str, Any]:
        return {
            "value": f"{self.value.how_decided}; never of this tree on the rows that taught it",
            "stability": f"those trees give {self.agreement:.0%} of the rows the same arm as this",
        } | {k: v for k, v in self.value.how().items() if k in ("better is", "costs")}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Held-out value of such rules beside giving everybody the same."""
        return self.value.plot(ax)


def policy_tree(
    Y: Any,
    T: Any,
    *,
    X: Any,
    W: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    max_depth: int = 2,
    min_leaf: int | None = None,
    cost: float | dict[Any, float] = 0.0,
    maximise: bool = True,
    n_folds: int = 5,
    alpha: float = 0.05,
    random_state: Seed = 0,
) -> PolicyTree:
    """Learn a readable treatment rule, and report its value on rows it has not seen.

    A tree on the raw columns of X chooses the arm with the largest mean doubly robust score less
    cost in each leaf (econml's policy tree on the scores of :class:`AIPW`). The value is that of
    trees learned in the same way, scores included, for rows that they have not seen: half of the
    rows teach the first tree, and each part of the rest is decided by a tree of all rows before
    it. The value of a rule on the rows that taught it is flattering and never reported.

    Splits are greedy, one level at a time: a rule that needs two columns at once may be missed.
    Where a rule need not be read, :func:`policy_value` of an estimator is better.

    Args:
        Y, T, X, W, sample_weight, groups: As for ``fit``; T has arms; the rule sees X alone.
        max_depth: Levels of the tree; ``2 ** max_depth`` rules at most.
        min_leaf: Fewest rows per rule; by default a twentieth of the rows, at least 10.
        cost, maximise, n_folds, alpha: As :func:`policy_value`.
        random_state: Seed of folds, nuisances and ties.

    Raises:
        QuestionError: A dose, or no X.
        ParameterError: Depth or leaf size that make no sense.

    References:
        Athey and Wager, "Policy learning with observational data", Econometrica 89(1), 2021.
        Zhou, Athey and Wager, "Offline multi-action policy learning", Operations Research 71(1),
        2023. econml (Battocchi et al., 2019).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame({"age": 10 * rng.integers(2, 9, 600)})
        >>> t = rng.integers(0, 2, 600)
        >>> y = np.where(df["age"] > 50, 2.0, -2.0) * t + rng.normal(size=600)
        >>> print("; ".join(policy_tree(y, t, X=df, max_depth=1, n_folds=2).rules))
        age <= 50: 0; age > 50: 1
    """
    check_alpha(alpha)
    with recording() as notes:
        fold_seed, judge_seed, tree_seed = spawn(random_state, 3)
        data, _ = gate(Y, T, X, W, sample_weight, groups)
        min_leaf = max(10, len(data) // 20) if min_leaf is None else min_leaf
        for name, value in (("max_depth", max_depth), ("min_leaf", min_leaf)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ParameterError("must be an integer from 1", column=name, value=value)
        costs, sign = arm_costs(cost, data), better_is(maximise)
        for name in data.x.names:
            refuse_missing(data.x.frame[name])
        judge = Judge(n_folds=n_folds, random_state=judge_seed).fit_data(data)
        net = judge.scores_.score - sign * costs
        options = (costs, sign, max_depth, min_leaf, tree_seed)
        leaves = _grown(data, judge, *options)
        chosen = np.full(len(data), -1)
        stages = sequential(data, n_folds, fold_seed)
        for learn, ask in tqdm(stages, desc="growing trees", delay=2, leave=False):
            part = some_rows(data, learn)
            with unrecorded():
                own = Judge(n_folds=n_folds, random_state=judge_seed).fit_data(part)
                others = _grown(part, own, *options)
            chosen[ask] = _decided(others, data, ask)
        seen = chosen >= 0
        judged, chosen = some_rows(data, seen), chosen[seen]
        values, gains = valued(net[seen], chosen, judged, alpha)
        same = _decided(leaves, data, seen) == chosen
    value = PolicyValue(
        values=values,
        gains=gains,
        curve=None,
        rule=f"trees of depth {max_depth}",
        how_decided=one_after_the_other(stages),
        treatment=data.t_name,
        outcome=data.y_name,
        n=len(judged),
        alpha=alpha,
        maximise=bool(maximise),
        costs=dict(zip(data.arms, map(float, costs), strict=True)),
    )
    return PolicyTree(
        leaves=leaves,
        value=value,
        agreement=float(shares(judged) @ same),
        schema=data.x.schema,
        treatment=data.t_name,
        outcome=data.y_name,
        arms=data.arms,
        warnings=tuple(notes),
    )


def _grown(
    data: EffectData,
    judge: Judge,
    costs: np.ndarray,
    sign: float,
    max_depth: int,
    min_leaf: int,
    seed: np.random.SeedSequence,
) -> tuple[Leaf, ...]:
    """The leaves of a tree that is learned from these rows alone."""
    from econml.policy import PolicyTree as Foreign

    encoder = Encoder(scale=None, max_levels=_MAX_LEVELS).fit(data.x)
    x = encoder.transform(data.x)
    reward = sign * judge.scores_.score - costs
    foreign = Foreign(
        max_depth=max_depth,
        min_samples_leaf=min_leaf,
        min_samples_split=2 * min_leaf,
        honest=False,  # the value is that of rows held out
        random_state=integer(seed),
    )
    weight = None if data.weight is None else data.weight / data.weight.mean()
    foreign.fit(x, reward - reward.mean(), sample_weight=weight)
    best = foreign.tree_.value.reshape(foreign.tree_.node_count, -1).argmax(axis=1)
    everywhere = Leaf(None, {}, {}, {})
    leaves = _walk(foreign.tree_, 0, best, everywhere, data, encoder, x)
    share = shares(data)
    found = []
    for leaf in leaves:
        inside = leaf.mask(data.x.frame)
        found.append(replace(leaf, share=float(share @ inside), n=int(inside.sum())))
    return tuple(found)


def _walk(
    tree: Any,
    node: int,
    best: np.ndarray,
    leaf: Leaf,
    data: EffectData,
    encoder: Encoder,
    x: np.ndarray,
) -> list[Leaf]:
    """Leaves below a node; a split whose sides decide the same is taken back."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left < 0:
        return [replace(leaf, arm=data.arms[int(best[node])])]
    column, threshold = int(tree.feature[node]), float(tree.threshold[node])
    below, above = _split(leaf, encoder, column, threshold, x[:, column])
    found = [
        *_walk(tree, left, best, below, data, encoder, x),
        *_walk(tree, right, best, above, data, encoder, x),
    ]
    arms = {end.arm for end in found}
    return [replace(leaf, arm=arms.pop())] if len(arms) == 1 else found


def _split(
    leaf: Leaf, encoder: Encoder, column: int, threshold: float, values: np.ndarray
) -> tuple[Leaf, Leaf]:
    """The two parts of a leaf: encoded column <= threshold, and above."""
    block = next(b for b in encoder.blocks_ if b.start <= column < b.stop)
    name = block.feature.name
    if block.feature.is_numeric:
        cut = _round_between(values[values <= threshold].max(), values[values > threshold].min())
        low, high = leaf.bounds.get(name, (-np.inf, np.inf))
        return (
            replace(leaf, bounds=leaf.bounds | {name: (low, min(cut, high))}),
            replace(leaf, bounds=leaf.bounds | {name: (max(cut, low), high)}),
        )
    every = tuple(block.feature.levels)
    codes = np.arange(len(every))
    # Which levels have this encoded column above the threshold?
    encoded = encoder.encode_values(name, codes)[:, column - block.start]
    here = leaf.levels.get(name, every)
    parts = []
    for side in (encoded <= threshold, encoded > threshold):
        inside = tuple(v for v, kept in zip(every, side, strict=True) if kept and v in here)
        outside = tuple(v for v in every if v not in inside)
        parts.append(
            replace(leaf, levels=leaf.levels | {name: inside}, but=leaf.but | {name: outside})
        )
    return parts[0], parts[1]


def _round_between(low: float, high: float) -> float:
    """The number with the fewest digits in [low, high)."""
    size = int(np.floor(np.log10(max(abs(low), abs(high), 1e-300))))
    for digits in range(-size, 18 - size):
        unit = 10.0**-digits
        cut = float(np.round(np.ceil(low / unit - 1e-12) * unit, max(digits, 0)))
        if low <= cut < high:
            return cut
    return float(low)


def _decided(leaves: tuple[Leaf, ...], data: EffectData, rows: np.ndarray) -> np.ndarray:
    """Positions of the arms that the leaves give to some rows."""
    arms = np.array([data.arms.index(leaf.arm) for leaf in leaves])
    return arms[_apply(leaves, data.x.frame[rows])]


def _apply(leaves: tuple[Leaf, ...], frame: pd.DataFrame) -> np.ndarray:
    """Which leaf each row is in, (n,)."""
    return np.argmax([leaf.mask(frame) for leaf in leaves], axis=0)

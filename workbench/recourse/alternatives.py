"""Several ways for each person that differ in what they act on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core import saving
from ..core.errors import CausalWarning, ParameterError
from ..core.results import Result, count, number
from ..core.saving import saveable
from .method import FOUND, RecourseMethod
from .people import position
from .recommendations import Recommendations

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def alternatives(
    method: RecourseMethod, df: pd.DataFrame, k: int = 3, *, tries: int = 9, progress: bool = True
) -> Alternatives:
    """Up to k options per person, none of which acts on all that an earlier one acts on.

    The first is what the method recommends. Each further one is the cheapest that the method
    finds when, of every option so far, one feature is left alone: over all choices of these
    features, up to ``tries``, the ones that leave the dearest parts alone first. Any set of
    features that contains no earlier set leaves such features alone, so that with
    :class:`ExactRecourse` and enough tries each option is the cheapest of its kind, with a proof,
    and costs rise from option to option; with a search a later option may be cheaper.

    Every option is verified with the model as any recommendation. Works with every method, through
    causal models too; methods that learn are fitted anew for every set of features left alone.

    Args:
        method: A fitted method.
        df: People, as for ``method.recommend``.
        k: Most options.
        tries: Most sets of features left alone per person and option.
        progress: Show a bar when it takes more than two seconds.

    Raises:
        ParameterError: The method is not fitted, or ``k`` or ``tries`` is not positive.

    References:
        Ustun, Spangher and Liu, "Actionable recourse in linear classification", FAT* 2019 (flip
        sets by excluding earlier sets of features).

    Example:
        >>> from workbench.recourse import ExactRecourse, RecourseProblem
        >>> from sklearn.linear_model import LinearRegression
        >>> df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 3.5]})
        >>> model = LinearRegression().fit(df, 3 * df["a"] + df["b"])
        >>> unit = {"a": 1, "b": 1}
        >>> problem = RecourseProblem(model, data=df, target={"above": 5}, scale=unit)
        >>> options = alternatives(ExactRecourse().fit(problem), df, k=2)
        >>> options.to_frame().loc[1, ["cost", "acts on"]].round(3).to_numpy().tolist()
        [[0.667, 'a'], [2.0, 'b']]
    """
    if not isinstance(method, RecourseMethod):
        raise ParameterError(
            "must be a fitted recourse method", column="method", value=type(method).__name__
        )
    method._require_fitted()
    for name, value in (("k", k), ("tries", tries)):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < 1:
            raise ParameterError("must be a positive integer", column=name, value=value)
    options = [method.recommend(df, progress=progress)]
    methods = {frozenset(): method}
    while len(options) < k:
        plan = _next(methods, options, df, tries, progress)
        if plan is None:
            break
        options.append(plan)
    notes = dict.fromkeys(note for plan in options for note in plan.warnings)
    return Alternatives(tuple(options), tuple(notes))


def _next(
    methods: dict[frozenset, RecourseMethod],
    options: list[Recommendations],
    df: pd.DataFrame,
    tries: int,
    progress: bool,
) -> Recommendations | None:
    """The next option of everybody who had one each time so far; None where nobody has one."""
    first = options[0]
    rows = np.flatnonzero((options[-1].status == FOUND).to_numpy())
    asked: dict[frozenset, list[int]] = {}
    for i in rows:
        for left_alone in _choices([_parts(plan, i) for plan in options], tries):
            asked.setdefault(left_alone, []).append(int(i))
    best = np.full(len(first), np.inf)
    found: dict[int, tuple[Recommendations, int]] = {}
    for left_alone in sorted(asked, key=sorted):
        solver = _without(methods, left_alone)
        if solver is None:
            continue
        who = asked[left_alone]
        plan = solver.recommend(df.iloc[who], progress=progress)
        for at, i in enumerate(who):
            cost = plan.outcomes["cost"].iloc[at]
            if plan.status.iloc[at] == FOUND and cost < best[i]:
                best[i], found[i] = cost, (plan, at)
    return _gather(first, found) if found else None


def _parts(plan: Recommendations, i: int) -> list[str]:
    """What an option acts on, by its size in the feature's scale, the largest first."""
    acted = [n for n, a in zip(plan.acted.columns, plan.acted.iloc[i], strict=True) if a]

    def size(name: str) -> float:
        today, new = plan.people[name].iloc[i], plan.recommended[name].iloc[i]
        try:
            return abs(float(new) - float(today)) / plan.scales[name]
        except (TypeError, ValueError):  # levels that are no numbers
            return float(new != today)

    return sorted(acted, key=lambda name: (-size(name), name))


def _choices(options: list[list[str]], tries: int) -> list[frozenset]:
    """Sets with one feature of every option; the first choose what comes first."""
    ranked = sorted(
        product(*(enumerate(names) for names in options)),
        key=lambda pick: (sum(rank for rank, _ in pick), pick),
    )
    sets = dict.fromkeys(frozenset(name for _, name in pick) for pick in ranked)
    # A set that leaves more alone than another can't do better.
    least = [s for s in sets if not any(other < s for other in sets)]
    return least[:tries]


def _without(
    methods: dict[frozenset, RecourseMethod], left_alone: frozenset
) -> RecourseMethod | None:
    """The method for the same question with some features left alone; None if none remains."""
    if left_alone not in methods:
        method = methods[frozenset()]
        problem = method.problem_.without(left_alone)
        fresh = type(method)(**method.get_params(deep=False))
        labels = getattr(method, "labels_", None)
        methods[left_alone] = fresh.fit(problem, labels) if problem.movable.any() else None
    return methods[left_alone]


def _gather(
    first: Recommendations, found: dict[int, tuple[Recommendations, int]]
) -> Recommendations:
    """One result in the order of the people; nobody is dropped."""
    n = len(first)
    tables = {}
    for name in ("recommended", "outcomes", "acted", "changed"):
        base = getattr(first, name)
        empty = name in ("acted", "changed")
        columns = {c: base[c].to_numpy(dtype=object, copy=True) for c in base.columns}
        for c, cells in columns.items():
            for i in range(n):
                if i in found:
                    plan, at = found[i]
                    cells[i] = getattr(plan, name)[c].iloc[at]
                elif empty:
                    cells[i] = False
                elif name == "recommended":
                    cells[i] = first.people[c].iloc[i]
        tables[name] = pd.DataFrame(columns, index=base.index).infer_objects()
    outcomes = tables["outcomes"]
    lost = (first.status == FOUND).to_numpy() & ~np.isin(np.arange(n), list(found))
    for c in ("cost", "bound", "gap", "plausibility", "score_after"):
        outcomes[c] = outcomes[c].astype(float).mask(lost)
    outcomes["status"] = outcomes["status"].mask(lost, "not found")
    outcomes["reason"] = outcomes["reason"].mask(lost, "no way that differs from those before")
    outcomes["validity"] = outcomes["validity"].astype(float).mask(lost, 0.0)
    for c, dtype in first.people.dtypes.items():
        if tables["recommended"][c].dtype != dtype:
            tables["recommended"][c] = _as(tables["recommended"][c], dtype)
    parts = {name: getattr(first, name) for name in _SHARED}
    notes = dict.fromkeys(note for plan, _ in found.values() for note in plan.warnings)
    return Recommendations(people=first.people, **tables, **parts, warnings=tuple(notes))


_SHARED = ("units", "scales", "target", "cost_unit", "score_name", "method", "quantity", "among")


def _as(column: pd.Series, dtype: Any) -> pd.Series:
    """The column in the caller's type where that holds its values."""
    try:
        out = column.astype(dtype)
    except (TypeError, ValueError):
        return column
    return out if (out.astype(object) == column.astype(object)).all() else column


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Alternatives(Result):
    """Several options per person that differ in what they act on.

    Attributes:
        options: The first, second, ... option of everybody, each a :class:`Recommendations` with
            all people in the caller's order; ``"not found"`` for people with fewer options.
    """

    options: tuple[Recommendations, ...]
    warnings: tuple[CausalWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.options[0])

    @property
    def counts(self) -> pd.Series:
        """How many options each person has."""
        found = [(plan.status == FOUND).to_numpy() for plan in self.options]
        return pd.Series(
            np.sum(found, axis=0), index=self.options[0].outcomes.index, name="options"
        )

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per person and option, by person: ``option, status, cost, acts on``, the values.

        People without any option have one row that says why. ``long``: one row per change.
        """
        if long:
            parts = [plan.changes() for plan in self.options]
            numbered = [p.assign(option=m + 1) for m, p in enumerate(parts)]
            order = ["option", *parts[0].columns]
            return pd.concat(numbered, ignore_index=True)[order]
        frames = []
        for m, plan in enumerate(self.options):
            frame = plan.to_frame()
            acts = [", ".join(sorted(_parts(plan, i))) for i in range(len(self))]
            frame.insert(0, "option", m + 1)
            frame.insert(frame.columns.get_loc("cost") + 1, "acts on", acts)
            keep = (plan.status == FOUND).to_numpy() | (m == 0)
            frames.append((np.flatnonzero(keep), frame[keep]))
        rows = np.concatenate([at for at, _ in frames])
        order = np.argsort(rows, kind="stable")
        return pd.concat([f for _, f in frames]).iloc[order]

    def glance(self) -> pd.DataFrame:
        """Option, status, cost and what it acts on."""
        frame = self.to_frame()
        return frame[["option", "status", "cost", "acts on"]].rename_axis(frame.index.name or "row")

    def summary(self) -> str:
        first = self.options[0]
        asked = (first.status != "already accepted").to_numpy()
        several = int((self.counts > 1).sum())
        text = f"{len(self)} people, {first.target}: {several} of {int(asked.sum())} who need a "
        text += "change have more than one option"
        ratio = self._second_over_first()
        if len(ratio):
            text += f"; the second costs {number(np.median(ratio))} times the first in the median"
        return text + "."

    def _second_over_first(self) -> np.ndarray:
        if len(self.options) < 2:
            return np.empty(0)
        both = (self.counts > 1).to_numpy()
        first, second = (plan.outcomes["cost"].to_numpy()[both] for plan in self.options[:2])
        return second / first

    def verdict(self) -> str:
        return "No option acts on all that an earlier one acts on; each is checked with the model."

    def how(self) -> dict[str, Any]:
        return self.options[0].how() | {"options": len(self.options)}

    def explain(self, person: Any) -> str:
        """Every option of one person in sentences."""
        i = position(self.options[0].outcomes, person)
        told = [p.explain(person) for p in self.options if p.status.iloc[i] == FOUND]
        if not told:
            return self.options[0].explain(person)
        head = f"Person {person} has {count(len(told), 'option')}."
        lines = [t.removeprefix(f"Person {person}: ") for t in told]
        return "\n".join([head, *(f"{m + 1}. {t}" for m, t in enumerate(lines))])

    def plot(self, person: Any, ax: Axes | None = None) -> Axes:
        """Cost of each option of one person, with what it acts on; returns the Axes."""
        import matplotlib.pyplot as plt

        i = position(self.options[0].outcomes, person)
        mine = [p for p in self.options if p.status.iloc[i] == FOUND]
        ax = plt.subplots(figsize=(6, 0.5 * len(mine) + 1.2))[1] if ax is None else ax
        costs = [p.outcomes["cost"].iloc[i] for p in mine]
        ax.barh(range(len(mine)), costs, color="#2b6cb0", height=0.6)
        labels = [", ".join(_parts(p, i)).replace("$", r"\$") for p in mine]
        ax.set_yticks(range(len(mine)), labels)
        ax.invert_yaxis()
        ax.set_xlabel(f"cost ({self.options[0].cost_unit})")
        ax.set_title(f"Person {person}: {count(len(mine), 'option')}")
        return ax

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write to a folder; :func:`workbench.load` reads it back."""
        return saving.save(self, path, force)

"""The question: which model, what counts as success, what a person may change, and at what cost."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from ..core import saving
from ..core.errors import DataError, ParameterError, QuestionError, SavedStateError, did_you_mean
from ..core.results import number
from ..core.saving import saveable
from ..core.seeding import generator
from ..tables.encode import Encoder
from ..tables.gate import Table, as_frame, table
from ..tables.schema import Schema
from .constraints import Coupling, Couplings
from .cost import Cost
from .density import Density
from .model_view import ModelView, column_names
from .space import Space
from .structure import OutcomeNode
from .target import Target
from .waiting import WAITING, Waiting
from .world import World, causal_model

_PROBES = 64
_FEW_RESPONSES, _RESPONSES = 8, 100  # draws that a search, and the final plan, are held to


@saveable
class RecourseProblem:
    """What would have to change, and for how little, so that a model (or the world) says yes.

    For a person x: minimise cost(x, a) over actions a that the schema permits, subject to
    score(state(a)) reaching the target. Without a causal model the state is x with the acted
    features replaced; with one, everything downstream of an action follows with the person's own
    noise (:meth:`in_world` asks about a node of that model instead of a separate model).

    Args:
        model: See :class:`ModelView`.
        schema: Kinds, bounds, units, what is actionable and in which direction, relative costs;
            guessed from ``data`` when left out. A feature that is not actionable changes only
            through its causes, and without a causal model never.
        target: None (the second of two classes, probability 0.5), a class, ``{"above": 0.7,
            "class": "yes"}``, ``{"below": 150}``, or a :class:`Target`.
        data: Rows the model knows: they give scales, ranges and plausibility.
        cost, scale: How moves add up and in which unit; see :class:`Cost`.
        graph_or_scm: A fitted structural causal model, or a DAG to fit one to ``data``.
        constraints: Linear couplings that hold afterwards, e.g. ``["a >= b"]``.
        encoder: See :class:`ModelView`.
        max_changes: Most features that may be acted on.
        budget: Highest cost.
        immutable: Features that must not change, not even through their causes.
        extrapolate: Whether actions may leave the range of ``data`` where the schema has no
            bounds. By default they may not: the model has seen nothing there.
        output: See :class:`ModelView`.
        waiting: How long people may wait while what has a ``drift`` in the schema drifts, and at
            what cost: a :class:`Waiting` or a dictionary, e.g. ``{"longest": 24, "cost": 0.1,
            "unit": "months"}``. Not beside a causal model.

    Raises:
        ParameterError, QuestionError, DataError, GraphError: What can't be asked, and why.

    Example:
        >>> import pandas as pd
        >>> from sklearn.linear_model import LinearRegression
        >>> df = pd.DataFrame({"dose": [1.0, 2.0, 3.0, 4.0], "age": [30.0, 50.0, 40.0, 60.0]})
        >>> model = LinearRegression().fit(df, 10 * df["dose"] + df["age"])
        >>> schema = Schema.infer(df).correct(age={"actionable": False})
        >>> problem = RecourseProblem(model, schema=schema, data=df, target={"below": 70})
        >>> problem.accepts(problem.score(problem.space.codes(df))).tolist()
        [True, True, True, False]
    """

    _needs_context = True

    def __init__(
        self,
        model: Any,
        *,
        schema: Schema | None = None,
        target: Any = None,
        data: pd.DataFrame | None = None,
        cost: str = "l1",
        scale: str | Mapping[str, float] = "sd",
        graph_or_scm: Any = None,
        constraints: Iterable[str | Coupling] = (),
        encoder: Encoder | None = None,
        max_changes: int | None = None,
        budget: float | None = None,
        immutable: Iterable[str] = (),
        extrapolate: bool = False,
        output: str | None = None,
        waiting: Waiting | Mapping[str, Any] | None = None,
    ):
        if schema is None and data is None:
            raise ParameterError(
                "needs to know the features", column="schema", advice="Pass schema= or data=."
            )
        self.model, self.cost_name, self.scale_name = model, cost, scale
        self.encoder, self.extrapolate, self.output = encoder, bool(extrapolate), output
        self.immutable = (immutable,) if isinstance(immutable, str) else tuple(immutable)
        self.max_changes, self.budget = _limits(max_changes, budget)
        self.columns = column_names(model, encoder, schema, data)
        self.waiting = None if waiting is None else Waiting.read(waiting)
        if self.waiting is not None:
            self.waiting.refuse(graph_or_scm, cost)
            schema, data, graph_or_scm = self.waiting.join(self.columns, schema, data, cost)
        self.scm = causal_model(graph_or_scm, data)
        names = list(dict.fromkeys([*self.columns, *_nodes(self.scm)]))
        checked = self._reference(data, schema, names)
        self.space = Space(
            _complete(schema, checked, names),
            None if data is None else {n: as_frame(data, "data", "x")[0].dtypes[n] for n in names},
            None if self.waiting is None else {WAITING: 0.0},
        )
        self.data, self.rows = None, None  # codes of the full rows of data, and their index labels
        if checked is not None:
            codes = self.space.read(checked.frame)
            full = ~np.isnan(codes).any(axis=1)
            self.data, self.rows = codes[full], checked.frame.index[full]
        self._set_reach()
        self.target = Target.read(target)
        self.view = ModelView(
            model,
            columns=self.columns,
            encoder=encoder,
            target_class=self.target.label,
            output=output,
            schema=self.space.schema,
            dtypes=self.space.dtypes,
            **self._typical(),
        )
        self.target = self._with_threshold()
        reach = self.movable, self.low, self.high
        own = None if self.waiting is None else {WAITING: self.waiting.size}
        self.cost = Cost(cost, scale, self.space, self.data, *reach, units=own)
        self.couplings = Couplings(constraints, self.space)
        self.world = None if self.scm is None else World(self.scm, self.space, self.cost.scale)

    @classmethod
    def in_world(
        cls,
        scm: Any,
        outcome: str,
        *,
        above: float | None = None,
        below: float | None = None,
        **more: Any,
    ) -> Self:
        """The question about the world: bring ``outcome`` itself across a threshold.

        Args:
            scm: A fitted structural causal model that contains the outcome.
            outcome: A node; it can't be acted on.
            above, below: The threshold, in the outcome's unit; give one.
            **more: ``schema``, ``data``, ``cost`` and the other arguments of the class.
        """
        if (above is None) == (below is None):
            raise ParameterError("give either above= or below=", column="target")
        scm.graph.require(outcome)
        target = {"above": above} if below is None else {"below": below}
        return cls(OutcomeNode(outcome), target=target, graph_or_scm=scm, **more)

    # -- construction ----------------------------------------------------------------------

    def _reference(
        self, data: pd.DataFrame | None, schema: Schema | None, names: list[str]
    ) -> Table | None:
        if data is not None:
            return table(data, schema=schema, columns=names)
        missing = [n for n in names if n not in schema]
        if missing:
            raise DataError(
                "is read by the model and is not in the schema",
                column=missing[0],
                advice=did_you_mean(missing[0], schema.names),
            )
        return None

    def _set_reach(self) -> None:
        """Ranges and directions of actions, ``(F,)`` each."""
        features = self.space.features
        for name in self.immutable:
            if name not in self.space.names:
                raise ParameterError(
                    f"names {name!r}, which is no feature of the problem",
                    column="immutable",
                    advice=did_you_mean(name, self.space.names),
                )
        acted = [f.actionable is not False and f.name not in self.immutable for f in features]
        self.movable = np.array(acted, dtype=bool)
        if isinstance(self.model, OutcomeNode):
            self.movable[self.space.place(self.model.name)] = False
        if not self.movable.any():
            raise QuestionError(
                "no feature is actionable", advice="Set actionable=True for some in the schema."
            )
        for j, feature in enumerate(features):
            if isinstance(feature.actionable, str) and not self.space.ordered[j]:
                raise DataError(
                    f"is categorical, so it can't {feature.actionable}",
                    column=feature.name,
                    advice="Make it ordinal, or actionable=True.",
                )
        self.up_only = np.array([f.actionable == "increase" for f in features])
        self.down_only = np.array([f.actionable == "decrease" for f in features])
        self.fixed = np.array([f.name in self.immutable for f in features])
        ranges = [self._range(j) for j in range(len(features))]
        self.low, self.high = (np.array(side, dtype=float) for side in zip(*ranges, strict=True))
        legal = [f.bounds or (None, None) for f in features]
        self.floor = np.array([-np.inf if b[0] is None else b[0] for b in legal])
        self.ceiling = np.array([np.inf if b[1] is None else b[1] for b in legal])

    def _range(self, j: int) -> tuple[float, float]:
        feature = self.space.features[j]
        if feature.is_discrete:
            return 0.0, len(feature.levels) - 1.0
        low, high = feature.bounds or (None, None)
        if self.data is not None and not self.extrapolate and len(self.data):
            low = self.data[:, j].min() if low is None else low
            high = self.data[:, j].max() if high is None else high
        low = (0.0 if feature.kind == "count" else -np.inf) if low is None else float(low)
        high = np.inf if high is None else float(high)
        return (np.ceil(low), np.floor(high)) if feature.kind == "count" else (low, high)

    def _typical(self) -> dict[str, np.ndarray]:
        if self.data is not None and len(self.data):
            center, spread = np.median(self.data, axis=0), self.data.std(axis=0)
        else:
            low = np.where(np.isfinite(self.low), self.low, np.minimum(self.high, 0.0))
            high = np.where(np.isfinite(self.high), self.high, np.maximum(self.low, 0.0) + 1.0)
            center, spread = 0.5 * (low + high), (high - low) / 4
        whole = self.space.integer | self.space.discrete
        return {
            "center": np.where(whole, np.floor(center), center),
            "spread": np.where(spread > 0, spread, 1.0),
        }

    def _with_threshold(self) -> Target:
        target, view = self.target, self.view
        if target.threshold is None:
            if not view.is_probability:
                raise ParameterError(
                    f"{view.name} gives no probabilities, so a threshold is needed",
                    column="target",
                    advice="Use {'above': number} or {'below': number}.",
                )
            target = replace(target, threshold=0.5)
        if view.is_probability and not 0 < target.threshold < 1:
            raise ParameterError(
                "a probability's threshold lies between 0 and 1",
                column="target",
                value=target.threshold,
            )
        return replace(target, strict=view.is_probability or hasattr(self.model, "classes_"))

    def without(self, names: Iterable[str]) -> Self:
        """The same question with some features left alone: they can't be acted on."""
        other = copy.copy(self)
        alone = [self.space.place(name) for name in names]
        other.movable = self.movable.copy()
        other.movable[alone] = False
        return other

    # -- what methods ask ------------------------------------------------------------------

    def reach(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest code that each person may take, ``(n, F)`` each.

        Staying is always possible, also for people outside the range.
        """
        still = ~self.movable
        low = np.where(still | self.up_only, x, np.minimum(self.low, x))
        high = np.where(still | self.down_only, x, np.maximum(self.high, x))
        return low, high

    def apply(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """The state ``(n, F)`` that actions lead to, downstream changes included.

        Where levels respond by chance it is the worst of several possible responses, so that no
        search can count on luck.
        """
        if self.world is None:
            return np.where(mask, values, x)
        state = self.world.apply(x, mask, values)
        rows = np.flatnonzero(self.world.unsure(mask).any(axis=1))
        if len(rows):
            worst = self.target.margin(self.score(state[rows]))
            for seed in range(1, _FEW_RESPONSES):
                other = self.world.apply(x[rows], mask[rows], values[rows], seed)
                margin = self.target.margin(self.score(other))
                worse = margin < worst
                state[rows[worse]], worst = other[worse], np.minimum(worst, margin)
        return state

    def advise(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, for actions that are recommended: warnings reach the caller."""
        if self.world is None:
            return np.where(mask, values, x)
        return self.world.advise(x, mask, values)

    def score(self, codes: np.ndarray) -> np.ndarray:
        """The model's score of codes ``(n, F)``, up to rounding."""
        return self.view.score_codes(codes)

    def accepts(self, scores: np.ndarray) -> np.ndarray:
        """Whether scores reach the target."""
        return self.target.accepts(scores)

    def permitted(
        self, x: np.ndarray, mask: np.ndarray, values: np.ndarray, state: np.ndarray
    ) -> np.ndarray:
        """Whether each action, and the state it leads to, respects every constraint, ``(n,)``."""
        low, high = self.reach(x)
        tolerance = 1e-9 * self.cost.scale
        acted = np.where(mask, values, x)
        whole = (self.space.integer | self.space.discrete) & (acted != x)
        good = ~(mask & ~self.movable)
        good &= (acted >= low) & (acted <= high)
        good &= ~whole | (acted == np.rint(acted))
        good &= ~self.fixed | (np.abs(state - x) <= tolerance)
        legal = (state >= self.floor - tolerance) & (state <= self.ceiling + tolerance)
        good &= legal | self.space.discrete
        good = good.all(axis=-1) & self.couplings.hold(state, self.cost.scale)
        if self.max_changes is not None:
            good &= mask.sum(axis=-1) <= self.max_changes
        if self.budget is not None:
            good &= self.cost(x, mask, values) <= self.budget * (1 + 1e-9)
        return good

    def validity(
        self, x: np.ndarray, mask: np.ndarray, values: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """How surely actions reach the target, ``(n,)``, and what it hangs on, ``(n, F)``.

        1 or 0 where the consequences follow; where levels respond by chance, the share of
        possible responses under which the target is reached and every constraint holds.
        """

        def works(state: np.ndarray, rows: Any) -> np.ndarray:
            good = self.accepts(self.score(state))
            return good & self.permitted(x[rows], mask[rows], values[rows], state)

        share = works(self.apply(x, mask, values), slice(None)).astype(float)
        unsure = np.zeros(mask.shape, bool) if self.world is None else self.world.unsure(mask)
        rows = np.flatnonzero(unsure.any(axis=1))
        if len(rows):
            asked = x[rows], mask[rows], values[rows]
            states = (self.world.apply(*asked, seed) for seed in range(_RESPONSES))
            share[rows] = np.mean([works(state, rows) for state in states], axis=0)
        return share, unsure

    @cached_property
    def scores(self) -> np.ndarray:
        """Scores of the rows of ``data``."""
        if self.data is None:
            raise ParameterError("this needs rows the model knows", column="data")
        return self.view.score(self.space.frame(self.data))

    def plausibility(self, codes: np.ndarray) -> np.ndarray:
        """Share of the data in sparser regions than each row; see :class:`Density`."""
        return self._density(codes)

    @cached_property
    def _density(self) -> Density:
        # Waiting itself makes nobody rarer; where it leads does.
        waits = np.array([self.waiting is not None and n == WAITING for n in self.space.names])
        return Density(self.space, self.data, np.where(waits, np.inf, self.cost.scale))

    @property
    def score_name(self) -> str:
        """What the score is called in sentences."""
        return self.model.name if isinstance(self.model, OutcomeNode) else "the score"

    @property
    def quantity(self) -> str:
        """What the score is: the outcome's name in the world, else ``"score"``."""
        return self.model.name if isinstance(self.model, OutcomeNode) else "score"

    def describe_target(self) -> str:
        """The target as text."""
        if isinstance(self.model, OutcomeNode):
            unit = self.space.features[self.space.place(self.model.name)].unit
            text = self.target.describe(self.model.name)
            return f"{text} {unit}" if unit else text
        classes = getattr(self.model, "classes_", None)
        if self.view.is_probability:
            label = self.view.index if classes is None else classes[self.view.index]
            label = label.item() if hasattr(label, "item") else label
            return self.target.describe(f"probability of {label!r}")
        return self.target.describe("score" if classes is not None else "prediction")

    # -- saving ----------------------------------------------------------------------------

    def save(self, path: Any, force: bool = False) -> Any:
        """Write to a folder; the model is not written, only how to recognise it."""
        return saving.save(self, path, force)

    @classmethod
    def load(cls, path: Any, model: Any = None) -> RecourseProblem:
        """Read what :meth:`save` wrote and verify that ``model`` is the one it was about."""
        return saving.load(path, model=model)

    def probes(self) -> np.ndarray:
        """Codes of rows to try the model on: the first of the data, else drawn in its range."""
        if self.data is not None and len(self.data):
            return self.data[:_PROBES]
        typical = self._typical()
        return self.space.draw(_PROBES, typical["center"], typical["spread"], generator(0))

    def _state(self) -> dict[str, Any]:
        probes = self.space.frame(self.probes())
        scale, data = self.scale_name, None
        if self.data is not None:
            data = self.space.frame(self.data, self.rows)
            data = data if self.waiting is None else data.drop(columns=WAITING)
        names = [n for n in self.space.names if self.waiting is None or n != WAITING]
        return {
            "schema": self.space.schema.select(names),
            "data": data,
            "target": self.target,
            "cost": self.cost_name,
            "scale": dict(scale) if isinstance(scale, Mapping) else scale,
            "graph_or_scm": self.scm if self.waiting is None else None,
            "waiting": self.waiting,
            "constraints": list(self.couplings.items),
            "encoder": self.encoder,
            "max_changes": self.max_changes,
            "budget": self.budget,
            "immutable": list(self.immutable),
            "extrapolate": self.extrapolate,
            "output": self.output,
            "outcome": self.model.name if isinstance(self.model, OutcomeNode) else None,
            "fingerprint": (self.view.name, probes, self.view.score(probes)),
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any], model: Any = None, **_: Any) -> RecourseProblem:
        outcome, (name, probes, expected) = state.pop("outcome"), state.pop("fingerprint")
        if outcome is not None:
            model = OutcomeNode(outcome)
        elif model is None:
            raise SavedStateError(
                f"the problem is about a model ({name}) that is not saved with it",
                advice="Pass it: load(path, model=...).",
            )
        problem = cls(model, **state)
        if problem.view.name != name:
            raise SavedStateError(
                f"the problem was saved with a {name}, not with a {problem.view.name}",
                advice="Pass the model that it was made with.",
            )
        scores = problem.view.score(probes)
        off = np.abs(scores - expected) > 1e-6 * (1.0 + np.abs(expected))
        if off.any():
            i = int(off.argmax())
            raise SavedStateError(
                f"this is not the model the problem was saved with: it scores {off.sum()} of "
                f"{len(off)} probe rows differently (first: {number(scores[i])} instead of "
                f"{number(expected[i])})",
                advice="Pass the model that it was made with.",
            )
        return problem

    def __repr__(self) -> str:
        acted = [n for n, m in zip(self.space.names, self.movable, strict=True) if m]
        shown = ", ".join(acted[:6]) + (", ..." if len(acted) > 6 else "")
        through = "" if self.scm is None else ", through a causal model"
        through = through if self.waiting is None else ", which moves what drifts"
        return f"RecourseProblem({self.describe_target()}; acting on {shown}{through})"


def _limits(max_changes: Any, budget: Any) -> tuple[int | None, float | None]:
    if max_changes is not None:
        whole = isinstance(max_changes, int | np.integer) and not isinstance(max_changes, bool)
        if not whole or max_changes < 1:
            raise ParameterError(
                "must be a positive integer", column="max_changes", value=max_changes
            )
    if budget is not None and not (isinstance(budget, int | float | np.number) and budget > 0):
        raise ParameterError("must be a positive number", column="budget", value=budget)
    return max_changes, budget


def _nodes(scm: Any) -> tuple[str, ...]:
    return () if scm is None else scm.graph.observed


def _complete(schema: Schema | None, checked: Table | None, names: list[str]) -> Schema:
    """The schema of the problem's features; levels that it leaves open come from the data."""
    if checked is None:
        return schema.select(names)
    return checked.schema.select(names)

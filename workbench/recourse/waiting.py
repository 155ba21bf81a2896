"""Waiting as an action: one more quantity to move, and features that drift with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, QuestionError, did_you_mean
from ..core.saving import saveable
from ..graph.causal_graph import CausalGraph
from ..tables.schema import Feature, Schema

WAITING = "waiting"


@saveable
@dataclass(frozen=True)
class Waiting:
    """How long a person may wait, and what that costs.

    Waiting t units of time takes every feature with a ``drift`` in the schema from x to
    ``x + drift * t``, unless it is acted on: then it has the value it is set to. To a problem,
    waiting is one more feature, called ``waiting`` and 0 today, and the cause of what drifts.

    Args:
        longest: Longest wait, in the unit of time of the drifts.
        cost: Of one unit of time, beside the costs of other actions; positive. Where changes are
            counted (``cost="l0"``), of waiting at all.
        unit: Name of the unit, e.g. ``"months"``.
        whole: Whether only whole units can be waited.

    Example:
        >>> Waiting.read({"longest": 24, "unit": "months", "cost": 0.1})
        Waiting(longest=24, cost=0.1, unit='months', whole=True)
    """

    longest: float
    cost: float
    unit: str | None = None
    whole: bool = True

    def __post_init__(self) -> None:
        for name in ("longest", "cost"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value < math.inf:
                raise ParameterError(f"{name} must be positive", column=WAITING, value=value)

    @classmethod
    def read(cls, waiting: Any) -> Waiting:
        """From an object of this class or a dictionary of its arguments."""
        if isinstance(waiting, Waiting):
            return waiting
        known = [f.name for f in fields(cls)]
        if not isinstance(waiting, Mapping):
            raise ParameterError(
                f"must be a dictionary with {', '.join(known)}", column=WAITING, value=waiting
            )
        for name in waiting:
            if name not in known:
                raise ParameterError(
                    f"has no part {name!r}", column=WAITING, advice=did_you_mean(name, known)
                )
        for name in known[:2]:
            if name not in waiting:
                raise ParameterError(f"needs {name!r}", column=WAITING)
        return cls(**waiting)

    def refuse(self, graph_or_scm: Any, cost: str) -> None:
        """Refuse what waiting can't be combined with."""
        if graph_or_scm is not None:
            raise QuestionError(
                "beside a causal model is not offered: what drifts would have two causes",
                column=WAITING,
                advice="Leave out one of the two.",
            )
        if cost == "carma":
            raise QuestionError(
                "has a cost per unit of time, and 'carma' charges squares",
                column=WAITING,
                advice="Use another cost, e.g. 'l1'.",
            )

    @property
    def size(self) -> float:
        """A typical wait, in which searches measure their steps: the spread of uniform waits."""
        return self.longest / 12**0.5

    def join(
        self, columns: list[str], schema: Schema | None, data: pd.DataFrame | None, cost: str
    ) -> tuple[Schema, pd.DataFrame | None, Drift]:
        """Schema, data and causes with waiting among them, for a model that reads ``columns``.

        The weight is per ``size`` waited, so that a unit of time costs ``cost``; a cost that counts
        changes charges it once.
        """
        drifting = [schema[n] for n in columns if n in schema and schema[n].drift] if schema else []
        if not drifting:
            raise QuestionError(
                "changes nothing: no feature that the model reads has a drift",
                column=WAITING,
                advice="Declare it, e.g. schema.correct(age={'drift': 1 / 12}) for months.",
            )
        if WAITING in schema or (data is not None and WAITING in data.columns):
            raise DataError("is the name of the action of waiting", column=WAITING)
        for feature in drifting:
            if feature.kind == "count" and not self.whole:
                raise QuestionError(
                    "is a count that drifts, so only whole units of time can be waited",
                    column=feature.name,
                    advice="Use whole=True, or make it continuous.",
                )
        kind = "count" if self.whole else "continuous"
        step = Feature(
            WAITING,
            kind,
            bounds=(0, self.longest),
            unit=self.unit,
            actionable="increase",
            cost=float(self.cost) * (1.0 if cost == "l0" else self.size),
        )
        schema = Schema([*schema, step], schema.reasons)
        data = None if data is None else data.assign(**{WAITING: 0.0})
        return schema, data, Drift(columns, {f.name: f.drift for f in drifting}, schema)


class Drift:
    """The causal model of waiting: each drifting feature moves by its rate times the time.

    Answers as a :class:`~workbench.StructuralCausalModel` does, so that every method which
    follows consequences follows these.
    """

    def __init__(self, columns: list[str], rates: Mapping[str, float], schema: Schema):
        self.graph = CausalGraph([*columns, WAITING], [(WAITING, name) for name in rates])
        self.schema_ = schema
        self._at = self.graph.nodes.index(WAITING)
        self._rates = np.array([rates.get(name, 0.0) for name in self.graph.nodes])

    def infer_noise(self, values: np.ndarray, random_state: Any = 0) -> np.ndarray:
        """What a row keeps however long is waited: nothing is random here."""
        return values - values[:, [self._at]] * self._rates

    def propagate(
        self, noise: np.ndarray, fixed: Mapping[str, np.ndarray], factual: np.ndarray
    ) -> np.ndarray:
        """Rows after setting ``fixed`` features (NaN: not set) and waiting."""
        time = fixed.get(WAITING, np.full(len(noise), np.nan))
        time = np.where(np.isnan(time), factual[:, self._at], time)
        out = noise + time[:, None] * self._rates
        for name, values in fixed.items():
            j = self.graph.nodes.index(name)
            out[:, j] = np.where(np.isnan(values), out[:, j], values)
        return out

    def counterfactual(self, df: pd.DataFrame, actions: Mapping[str, Any]) -> pd.DataFrame:
        """The table after actions, which are values or functions of the rows as they would be."""
        out = df.copy()
        order = [WAITING, *(n for n in actions if n != WAITING)]
        for name in order:
            rule = actions.get(name, df[name].to_numpy())
            out[name] = rule(out) if callable(rule) else rule
            if name == WAITING:
                time = out[name].to_numpy(dtype=float) - df[name].to_numpy(dtype=float)
                for j in np.flatnonzero(self._rates):
                    drifting = self.graph.nodes[j]
                    out[drifting] = df[drifting].to_numpy(dtype=float) + self._rates[j] * time
        return out

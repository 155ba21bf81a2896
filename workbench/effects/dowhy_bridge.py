"""Our estimators as dowhy estimators, so that dowhy's refuters can fit them again.

dowhy's refuters hand a changed table to a fresh estimator: a column ``placebo`` instead of the
treatment, a further adjustment column ``w_random``, fewer rows. Columns therefore travel under
names of our own (``x0``, ``w0``, ...), which can't collide with the caller's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from dowhy.causal_estimator import CausalEstimate, CausalEstimator
from dowhy.causal_identifier.identified_estimand import IdentifiedEstimand

from ..core.errors import DataError
from ..tables.effect_data import EffectData
from ..tables.gate import Table
from ..tables.schema import Feature, Schema
from .base import EffectEstimator, fresh

TREATMENT, OUTCOME, WEIGHT, GROUP = "t", "y", "weight", "group"


class BridgedEstimator(CausalEstimator):
    """A fresh copy of ``estimator`` per fit; ``seen`` collects the estimates of all copies."""

    def __init__(
        self,
        estimand: IdentifiedEstimand,
        estimator: EffectEstimator,
        data: EffectData,
        contrast: tuple[Any, Any],
        target: str,
    ):
        super().__init__(estimand)
        self.estimator, self.data, self.contrast, self.target = estimator, data, contrast, target
        self.seen: list[float] = []
        self._effect_modifier_names: list[str] = []
        self._target_units = target.lower()

    def get_new_estimator_object(self, identified_estimand, *_, **__):
        fresh = BridgedEstimator(
            identified_estimand, self.estimator, self.data, self.contrast, self.target
        )
        fresh.seen = self.seen
        return fresh

    def fit(self, data: pd.DataFrame, effect_modifier_names=None, **_):
        changed = self._changed(data)
        if changed.arms is not None:
            sizes = np.bincount(changed.t.astype(int), minlength=len(changed.arms))
            if sizes.min() < 2:
                raise DataError("a subset has too few rows of an arm", column=changed.t_name)
        self.fitted = fresh(self.estimator).fit_data(changed)
        return self

    def estimate_effect(self, data: pd.DataFrame, *_, **__) -> CausalEstimate:
        t0, t1 = self.contrast
        answer = (
            self.fitted.average_effect_on_treated
            if self.target == "ATT"
            else self.fitted.average_effect
        )
        found = answer(T0=t0, T1=t1)
        self.seen.append(found.value)
        return as_estimate(data, found.value, self)

    def _changed(self, data: pd.DataFrame) -> EffectData:
        estimand, old = self._target_estimand, self.data
        treatment = data[estimand.treatment_variable[0]].to_numpy()
        x, w = (_named(part, key, data) for part, key in ((old.x, "x"), (old.w, "w")))
        if "w_random" in estimand.get_adjustment_set():
            if self.estimator.adjusts_for_w:
                w = _with_random(w, data)
            else:
                x = _with_random(x, data)
        return replace(
            old,
            y=data[estimand.outcome_variable[0]].to_numpy(dtype=float),
            t=treatment.astype(int) if old.arms is not None else treatment.astype(float),
            x=x,
            w=w,
            weight=data[WEIGHT].to_numpy() if WEIGHT in data else None,
            groups=data[GROUP].to_numpy() if GROUP in data else None,
            index=data.index,
        )


def _named(part: Table | None, key: str, data: pd.DataFrame) -> Table | None:
    if part is None:
        return None
    frame = data[[f"{key}{j}" for j in range(len(part.names))]]
    return Table(frame.set_axis(part.names, axis=1), part.schema, part.named)


def _with_random(part: Table | None, data: pd.DataFrame) -> Table:
    column = data["w_random"].to_frame("a random cause")
    feature = Feature("a random cause")
    if part is None:
        return Table(column, Schema([feature]), True)
    joined = pd.concat([part.frame, column], axis=1)
    return Table(joined, Schema([*part.schema, feature]), part.named)


def as_table(data: EffectData) -> pd.DataFrame:
    """A fresh table under internal names, rows numbered from 0."""
    columns = {TREATMENT: data.t, OUTCOME: data.y}
    for part, key in ((data.x, "x"), (data.w, "w")):
        for j, name in enumerate(part.names if part is not None else ()):
            columns[f"{key}{j}"] = part.frame[name].reset_index(drop=True)
    if data.weight is not None:
        columns[WEIGHT] = data.weight
    if data.groups is not None:
        columns[GROUP] = data.groups
    return pd.DataFrame(columns)


def as_estimand(data: EffectData) -> IdentifiedEstimand:
    """The back-door estimand of the fit, in dowhy's words."""
    names = [
        f"{key}{j}"
        for part, key in ((data.x, "x"), (data.w, "w"))
        for j in range(len(part.names) if part is not None else 0)
    ]
    return IdentifiedEstimand(
        None,
        treatment_variable=[TREATMENT],
        outcome_variable=[OUTCOME],
        estimand_type="nonparametric-ate",
        backdoor_variables={"backdoor": names},
        instrumental_variables=[],
        default_backdoor_id="backdoor",
        identifier_method="backdoor",
    )


def as_estimate(data: pd.DataFrame, value: float, estimator: BridgedEstimator) -> CausalEstimate:
    """A number as dowhy's estimate object."""
    return CausalEstimate(
        data=data,
        treatment_name=[TREATMENT],
        outcome_name=[OUTCOME],
        estimate=value,
        target_estimand=estimator._target_estimand,
        realized_estimand_expr=None,
        control_value=estimator.contrast[0],
        treatment_value=estimator.contrast[1],
        estimator=estimator,
    )

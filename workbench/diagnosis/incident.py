"""Incident: what was observed when things went wrong, and Case: the same, seen by a System."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, QuestionError, did_you_mean, warn
from ..core.results import number
from ..core.saving import saveable
from ..tables import gate
from .scorers import Scorer, deviations, limits
from .system import System


@saveable
class Incident:
    """One or several anomalous rows, and the metric whose anomaly is to be explained.

    Columns are matched to a :class:`System` by name; the caller's table is copied.

    Args:
        window: The rows, in the order of time if there are several.
        target: The metric that raised the alarm.

    Raises:
        QuestionError: The target is not a column.
        DataError: Not a table, or no rows.

    Example:
        >>> Incident(pd.DataFrame({"api": [9.0], "db": [4.0]}, index=["12:05"]), "api")
        Incident(1 row, 2 columns, target 'api')
    """

    def __init__(self, window: pd.DataFrame, target: str):
        frame, _ = gate.as_frame(window, "incident", "x")
        if not len(frame):
            raise DataError(
                "the incident has no rows",
                column=str(target),
                advice="Pass the anomalous rows, at least one.",
            )
        if target not in frame.columns:
            raise QuestionError(
                "is not a column of the incident",
                column=str(target),
                advice=did_you_mean(target, frame.columns),
            )
        self.__dict__.update(_window=frame.copy(), target=target)

    @classmethod
    def from_row(cls, df: pd.DataFrame, label: Hashable, target: str) -> Incident:
        """One record of an ordinary table: why is its ``target`` unusual?

        Fit the method to a System without this record, ``System(graph, df.drop(label))``.

        Args:
            df: The table.
            label: Index label of the record.
            target: The column to explain.
        """
        frame, _ = gate.as_frame(df, "table", "x")
        places = np.flatnonzero(frame.index == label)
        if len(places) != 1:
            problem = "no row" if not len(places) else gate.count(len(places), "row")
            raise QuestionError(
                f"{problem} of the table has the index label {shown_row(label)}",
                column=str(target),
                advice="Use a label of df.index that occurs once; see df.reset_index(drop=True).",
            )
        return cls(frame.iloc[places], target)

    @property
    def window(self) -> pd.DataFrame:
        """The rows (a copy)."""
        return self._window.copy()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("an Incident is immutable; make a new one")

    def __len__(self) -> int:
        return len(self._window)

    def __repr__(self) -> str:
        rows, columns = self._window.shape
        sizes = f"{gate.count(rows, 'row')}, {gate.count(columns, 'column')}"
        return f"Incident({sizes}, target {self.target!r})"


@dataclass(frozen=True, eq=False)
class Case:
    """An incident in the terms of a system: what a method works on.

    Attributes:
        system: The system without the metrics that this incident did not record.
        target: The target metric.
        labels: Index labels of the window's rows.
        window: Values, shape (T, p), NaN where not recorded; p as in ``system.metrics``.
        deviations: Signed deviations of the window in standard deviations, shape (T, p).
        limits: Deviation from which a metric counts as anomalous, shape (p,).
        trigger: The row to explain, by default the one in which the target is most anomalous;
            None if the target was never recorded.
        missing: Metrics without any value in the anomalous rows (in all rows if the target is
            anomalous in none): quiet rows say nothing about what they did in the incident.
        filled: Metrics not recorded in the trigger row: the median of the window stands in.
        scorer: How deviations were measured.
    """

    system: System
    target: str
    labels: pd.Index
    window: np.ndarray
    deviations: np.ndarray
    limits: np.ndarray
    trigger: int | None
    missing: tuple[str, ...]
    filled: tuple[str, ...]
    scorer: Scorer

    @cached_property
    def values(self) -> np.ndarray:
        """The trigger row, shape (p,), without gaps."""
        return _filled(self.window, self.trigger)

    @cached_property
    def deviation(self) -> np.ndarray:
        """Signed deviations of the trigger row, shape (p,)."""
        return deviations(self.system, self.values, self.scorer)

    @cached_property
    def z(self) -> np.ndarray:
        """(value - mean) / scale of the trigger row, shape (p,): the units of linear mechanisms,
        whatever the scorer."""
        return deviations(self.system, self.values, "z")

    @cached_property
    def anomalous(self) -> np.ndarray:
        """Which metrics are anomalous in the trigger row, shape (p,)."""
        return np.abs(self.deviation) > self.limits

    @property
    def target_is_anomalous(self) -> bool:
        return bool(self.anomalous[self.system.position[self.target]])

    def describe(self, metric: str) -> str:
        """A value in words: ``12.3 ms, 8.1 sd above its usual 1.1 ms``."""
        j = self.system.position[metric]
        feature = self.system.schema[metric]
        unit = f" {feature.unit}" if feature.unit else ""
        if feature.levels is not None:
            usual = self.system.mean[j] / max(len(feature.levels) - 1, 1)
            level = feature.levels[int(round(self.values[j]))]
            return f"{level!r} ({number(100 * usual)} % of the way up is usual)"
        usual = self.system.median[j] if self.scorer == "robust" else self.system.mean[j]
        side = "above" if self.deviation[j] > 0 else "below"
        size = f"{number(abs(self.deviation[j]))} sd {side}" if self.deviation[j] else "at"
        text = f"{number(self.values[j])}{unit}, {size} its usual {number(usual)}{unit}"
        return text + (" (constant until then)" if self.system.constant[j] else "")


def shown_row(row: Any) -> str:
    """A row's label as a person writes it."""
    if isinstance(row, pd.Timestamp):
        return str(row)
    return repr(row.item() if isinstance(row, np.generic) else row)


def worst_row(size: np.ndarray, limit: float) -> int:
    """The row in which the target is most anomalous."""
    return int(np.nanargmax(size))


def first_row(size: np.ndarray, limit: float, skip: int = 0) -> int:
    """The first row from ``skip`` on in which the target is anomalous.

    If there is none, the worst of these rows; a window of fewer rows ends with its last.

    Example:
        >>> first_row(np.array([0.0, 6.0, 1.0, 4.0, 9.0]), limit=3.0, skip=2)
        3
    """
    start = min(skip, len(size) - 1)
    later = size[start:]
    if np.isnan(later).all():
        return worst_row(size, limit)
    over = np.flatnonzero(later > limit)
    return start + int(over[0] if len(over) else np.nanargmax(later))


def align(
    system: System,
    incident: Incident,
    scorer: Scorer,
    threshold: Any,
    trigger: Callable[[np.ndarray, float], int] = worst_row,
) -> Case:
    """Match an incident to a system: by name, without unrecorded metrics, at the trigger row.

    Args:
        system: What is usual.
        incident: What was observed.
        scorer: How deviations are measured.
        threshold: From which deviation on a metric is anomalous.
        trigger: (|deviation| of the target per row, its limit) -> the row to explain.

    Raises:
        QuestionError: The target is not a metric of the system.
    """
    target = incident.target
    system.require(target)
    bounds = limits(system, threshold)
    window = system.encode(incident._window)
    aim = np.abs(deviations(system, window, scorer)[:, system.position[target]])
    anomalous = aim > bounds[system.position[target]]
    recorded = np.isfinite(window[anomalous] if anomalous.any() else window).any(axis=0)
    recorded[system.position[target]] = True  # the target stays, even if it can't be judged
    missing = tuple(n for n, seen in zip(system.metrics, recorded, strict=True) if not seen)
    if missing:
        known = dict(zip(system.metrics, bounds, strict=True))
        places = {n: j for j, n in enumerate(system.metrics)}
        system = system.without(missing, "not recorded in the incident")
        window = window[:, [places[n] for n in system.metrics]]
        bounds = np.array([known[n] for n in system.metrics])
        shown = ", ".join(map(repr, missing[:5])) + (" ..." if len(missing) > 5 else "")
        warn(
            "not-recorded",
            f"{gate.count(len(missing), 'metric')} without a value in the incident: {shown}; a "
            "fault there lands on its neighbours, and a service that stops reporting is itself a "
            "suspect",
            missing,
        )
    deviation = deviations(system, window, scorer)
    row = None
    if not np.isnan(aim).all():
        row = trigger(aim, float(bounds[system.position[target]]))
    gaps = () if row is None else np.flatnonzero(np.isnan(window[row]))
    case = Case(
        system=system,
        target=target,
        labels=incident._window.index,
        window=window,
        deviations=deviation,
        limits=bounds,
        trigger=row,
        missing=missing,
        filled=tuple(system.metrics[j] for j in gaps),
        scorer=scorer,
    )
    if row is not None:
        _warn_of_oddities(case)
    return case


def _warn_of_oddities(case: Case) -> None:
    if case.filled:
        warn(
            "filled",
            f"{', '.join(map(repr, case.filled[:5]))} not recorded at "
            f"{shown_row(case.labels[case.trigger])}: the median of the window stands in",
            case.filled,
        )
    system = case.system
    moved = [n for j, n in enumerate(system.metrics) if system.constant[j] and case.anomalous[j]]
    moved = [n for n in moved if n != case.target]
    if moved:
        warn(
            "constant-moved",
            f"{', '.join(map(repr, moved[:5]))} never changed before and moved in the incident: "
            "no method can learn from the fault-free rows what that does to the target",
            moved,
        )
    offset = permanent_offsets(case)
    if offset:
        warn(
            "permanent-offset",
            f"{', '.join(map(repr, offset[:5]))} as unusual while the target was quiet as "
            "during its anomaly: probably a lasting change that is not this incident",
            offset,
        )


def permanent_offsets(case: Case) -> tuple[str, ...]:
    """Metrics that are as anomalous in the quiet rows as in the target's worst row.

    Quiet rows are those in which the target's anomaly score is below half of its largest. Such
    an offset (a sensor replaced, a counter reset) is there all the time and explains nothing.
    """
    aim = np.abs(case.deviations[:, case.system.position[case.target]])
    # Not the row to explain: a method that explains the first anomalous row has no quieter ones.
    worst = int(np.nanargmax(aim))
    quiet = aim < 0.5 * aim[worst]
    if quiet.sum() < 2:
        return ()
    calm = case.deviations[quiet]
    with np.errstate(invalid="ignore"):
        outside = (np.abs(calm) > case.limits).all(axis=0)
        one_side = np.abs(np.sign(calm).sum(axis=0)) == quiet.sum()
    at_worst = case.deviations[worst]
    at_worst = np.where(np.isnan(at_worst), case.deviation, at_worst)
    lasting = np.abs(at_worst) < 2 * np.abs(calm).min(axis=0)
    flags = outside & one_side & lasting
    return tuple(n for n, flag in zip(case.system.metrics, flags, strict=True) if flag)


def _filled(window: np.ndarray, trigger: int) -> np.ndarray:
    row = window[trigger].copy()
    for j in np.flatnonzero(np.isnan(row)):
        row[j] = np.median(window[np.isfinite(window[:, j]), j])
    return row

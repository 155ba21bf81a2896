"""What the target would have been, had the cause stayed healthy."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from .blame import USUAL
from .system import System


def had_been_healthy(
    system: System,
    target: str,
    causes: Collection[str],
    values: np.ndarray,
    units: Mapping[str, str] | None = None,
) -> np.ndarray:
    """The target without the own change of some metrics, shape (T,), in its unit.

    For linear mechanisms the counterfactual is exact arithmetic: the own change of a cause,
    x - f(parents), is taken back, and the difference follows the slopes down to the target; all
    else (load, noise of others) stays as it was. A cause that never moved in the fault-free rows
    has no slope to follow, so taking it back changes nothing.

    Args:
        system: The fitted system.
        target: The metric that raised the alarm.
        causes: Metrics whose own change is taken back.
        values: Rows in the order of ``system.metrics``, shape (T, p); NaN counts as usual.
        units: Metric -> unit. What spreads only in an incident has no slope in quiet times: with
            units an unusual metric moves another in its unit at least one to one. A bound, no
            estimate.
    """
    deviation = np.nan_to_num((values - system.mean) / np.where(system.scale > 0, system.scale, 1))
    causes = set(causes)
    away: dict[str, np.ndarray] = {}
    for name in (*system.ancestors(target), target):
        above = system.parents(name)
        if name not in causes and not any(p in away for p in above):
            continue
        fit = system.mechanism(name)
        shift = np.zeros(len(values))
        for slope, parent in zip(fit.slopes, above, strict=True):
            if parent in away:
                shift += slope * away[parent]
                if units is not None and units[parent] == units[name]:
                    at, sd = system.position[parent], system.scale[system.position[name]]
                    more = (system.scale[at] / sd if sd > 0 else 0.0) - slope
                    shift += max(more, 0.0) * away[parent] * (np.abs(deviation[:, at]) > USUAL)
        if name in causes:
            places = [system.position[p] for p in above]
            shift -= deviation[:, system.position[name]] - deviation[:, places] @ fit.slopes
        if shift.any():
            away[name] = shift
    at = system.position[target]
    return values[:, at] + away.get(target, np.zeros(len(values))) * system.scale[at]

"""When did it begin, and which rows say what is usual? Robust to an alarm that is a step off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import DataError, QuestionError, warn
from ..core.results import number
from ..tables.gate import count
from .baseline import CONSTANT_JUMP, CONSTANT_SHARE
from .telemetry.series import Telemetry, shown_span

MIN_BASELINE = 20
FEW_ROWS = 100
THRESHOLD = 4.0  # robust sd from which a row of the target belongs to an incident
_ALARM = 3.0  # what the row of an incident may fall back to without ending it
_EARLIER = 6.0  # robust sd that count as an earlier incident of any metric
_SHARE = 0.1  # ... if that many of the moving metrics are there at once
_GUARD = 2  # steps around incidents that are neither usual nor unusual
_QUIET = 5  # rows before the onset that the incident shows for comparison
_MOST = 30  # rows of an incident that are looked at
_MAD, _IQR = 1.482602218505602, 1 / 1.3489795003921634


@dataclass(frozen=True, eq=False)
class Onset:
    """When the target left its usual range, and what that was judged by.

    Attributes:
        target: The column that is explained.
        onset: First anomalous time; None if the target was never anomalous around the alarm.
        alarm: The time that was asked about.
        usual: Fault-free rows, a mask over the rows of the telemetry.
        window: Rows of the incident, a mask: the anomalous ones and some quiet ones before them.
        during: The anomalous rows among them.
        excluded: Times of earlier incidents that are not part of what is usual.
        deviation: Of the target at its worst, in robust standard deviations.
        candidates: The columns that were looked at -> their largest deviation.
        centre: Median of every column over all rows before the incident.
        scale: Robust standard deviation of every column.
    """

    target: str
    onset: pd.Timestamp | None
    alarm: pd.Timestamp
    usual: np.ndarray
    window: np.ndarray
    during: np.ndarray
    excluded: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]
    deviation: float
    candidates: dict[str, float]
    centre: np.ndarray
    scale: np.ndarray


def find_onset(
    telemetry: Telemetry,
    columns: Sequence[str],
    at: pd.Timestamp,
    *,
    baseline: tuple[pd.Timestamp, pd.Timestamp] | None = None,
    known: Onset | None = None,
) -> Onset:
    """The incident around an alarm and the fault-free rows before it.

    A row is anomalous when the target is more than 4 robust standard deviations (1.4826 MAD)
    from its median in the bad direction (latency and errors up, availability down, requests
    either way). The incident is the run of such rows that touches the alarm ± the larger of one
    minute and one step; the onset is its first row. Usual are all rows that end two steps before
    it, without earlier incidents of the target and without times at which a tenth of all metrics
    stood beyond 6 robust standard deviations.

    Args:
        telemetry: The metrics.
        columns: Metrics that may have raised the alarm; the most anomalous one is the target.
        at: Time of the alarm.
        baseline: Start and end of the fault-free rows, instead of all before the incident.
        known: An earlier incident of the same telemetry: what was usual then still is, as long as
            this incident begins after those rows, less than a day later.

    Raises:
        QuestionError: The alarm lies outside the data.
        DataError: Fewer than 20 fault-free rows; a target without a value around the alarm.
    """
    times, step = telemetry.frame.index, telemetry.step
    slack = max(pd.Timedelta(minutes=1), step)
    _require_inside(times, at, slack, step)
    values = telemetry.frame.to_numpy()
    before = np.asarray(times < at - slack)
    if baseline is not None:
        before = np.asarray((times >= baseline[0]) & (times <= baseline[1]))
    if before.sum() < MIN_BASELINE:
        raise _too_short(int(before.sum()), times, at, step)
    if known is not None and not _still_holds(known, times, at - slack, step):
        known = None
    if known is not None:
        centre, scale = known.centre, known.scale
    else:
        centre, scale = robust_yardstick(values[before])
    near = np.asarray((times >= at - slack) & (times <= at + slack))
    best: tuple[float, str, np.ndarray] | None = None
    candidates = {}
    for column in columns:
        j = telemetry.frame.columns.get_loc(column)
        z = _badness(values[:, j], centre[j], scale[j], telemetry.series.loc[column, "kind"])
        run = _run(z, near)
        around = z[near | run]
        top = float(np.nanmax(around)) if np.isfinite(around).any() else np.nan
        candidates[column] = top
        if np.isfinite(top) and (best is None or (run.any(), top) > (best[2].any(), best[0])):
            best = top, column, run
    if best is None:
        raise DataError(
            f"has no value around the alarm at {at:%Y-%m-%d %H:%M:%S} UTC",
            column=columns[0],
            advice="Name another target, or check the export.",
        )
    top, target, run = best
    empty = np.zeros(len(times), dtype=bool)
    first = int(np.flatnonzero(run)[0]) if run.any() else None
    end = np.flatnonzero(near)[0] if first is None else first
    if known is not None and known.usual[max(end - _GUARD, 0) :].any():
        return find_onset(telemetry, columns, at, baseline=baseline)
    if known is not None:
        usual, excluded = known.usual, known.excluded
    else:
        usual = before & (np.arange(len(times)) < max(end - _GUARD, 0))
        usual, excluded = _without_earlier(telemetry, values, target, usual, centre, scale)
    if usual.sum() < MIN_BASELINE:
        raise _too_short(int(usual.sum()), times, at, step)
    window = run.copy()
    if first is not None:
        window[np.flatnonzero(run)[_MOST:]] = False
        window[max(first - _GUARD - _QUIET, 0) : max(first - _GUARD, 0)] = True
        if known is None:
            usual = usual & ~window
    else:
        window = near.copy()
    if usual.sum() < MIN_BASELINE:
        raise _too_short(int(usual.sum()), times, at, step)
    _report(telemetry, target, usual, step)
    return Onset(
        target=target,
        onset=None if first is None else times[first],
        alarm=at,
        usual=usual,
        window=window,
        during=(run & window) if first is not None else empty,
        excluded=excluded,
        deviation=top,
        candidates=candidates,
        centre=centre,
        scale=scale,
    )


def _still_holds(
    known: Onset, times: pd.DatetimeIndex, at: pd.Timestamp, step: pd.Timedelta
) -> bool:
    last = times[np.flatnonzero(known.usual)[-1]]
    return last < at <= last + max(pd.Timedelta(days=1), 100 * step)


def robust_yardstick(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and robust standard deviation of every column, shape (p,) each.

    1.4826 MAD; where more than half of the values agree IQR / 1.349, else the plain standard
    deviation; 0.3 % of the level for a constant, 0 where there is no value.
    """
    n, p = values.shape
    centre, scale = np.full(p, np.nan), np.zeros(p)
    for j in range(p):
        x = values[:, j]
        x = x if np.isfinite(x).all() else x[np.isfinite(x)]
        if not len(x):
            continue
        centre[j] = np.median(x)
        spread = _MAD * np.median(np.abs(x - centre[j]))
        if spread <= 1e-9 * abs(centre[j]):
            low, high = np.percentile(x, [25, 75])
            spread = _IQR * (high - low) or x.std()
        scale[j] = spread if spread > 1e-12 * abs(centre[j]) else CONSTANT_SHARE * abs(centre[j])
    return centre, scale


def deviations_of(values: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Signed robust deviations; a departure from a constant 0 counts as ten."""
    difference = values - centre
    jump = CONSTANT_JUMP * np.sign(difference)
    return np.where(scale > 0, difference / np.where(scale > 0, scale, 1.0), jump)


def sign_of(kind: str) -> int:
    """1 if more is worse, -1 if less is, 0 if both may be."""
    return {"latency": 1, "errors": 1, "saturation": 1, "availability": -1}.get(kind, 0)


def _badness(x: np.ndarray, centre: float, scale: float, kind: str) -> np.ndarray:
    z = deviations_of(x, np.asarray(centre), np.asarray(scale))
    return np.abs(z) if sign_of(kind) == 0 else sign_of(kind) * z


def _run(z: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The anomalous rows that belong together and touch the alarm; one quiet row may lie between."""
    bad = np.nan_to_num(z, nan=-np.inf) > THRESHOLD
    run = np.zeros(len(z), dtype=bool)
    seeds = np.flatnonzero(bad & near)
    if not len(seeds):
        return run
    weak = np.nan_to_num(z, nan=-np.inf) > _ALARM
    for direction in (-1, 1):
        i, misses = int(seeds[0]), 0
        while 0 <= i < len(z) and misses < 2:
            misses = 0 if weak[i] else misses + 1
            run[i] |= bool(bad[i])
            i += direction
    return run


def _without_earlier(
    telemetry: Telemetry,
    values: np.ndarray,
    target: str,
    usual: np.ndarray,
    centre: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, tuple[tuple[pd.Timestamp, pd.Timestamp], ...]]:
    """Drop earlier incidents, and two steps around each."""
    if not usual.any():
        return usual, ()
    rows = np.flatnonzero(usual)
    moving = np.flatnonzero(scale > CONSTANT_SHARE * np.abs(centre))
    far = np.zeros(len(rows))
    for j in moving:
        far += np.abs(values[rows, j] - centre[j]) > _EARLIER * scale[j]
    j = telemetry.frame.columns.get_loc(target)
    z = _badness(values[:, j], centre[j], scale[j], telemetry.series.loc[target, "kind"])[rows]
    high = np.nan_to_num(z) > THRESHOLD
    together = high & (np.r_[False, high[:-1]] | np.r_[high[1:], False])
    odd = together | (far >= max(3, _SHARE * len(moving)))
    if not odd.any() or odd.mean() > 0.4:  # that much is no incident but how things are
        return usual, ()
    marked = np.zeros(len(usual), dtype=bool)
    marked[rows[odd]] = True
    wide = np.convolve(marked, np.ones(2 * _GUARD + 1), mode="same") > 0.5
    edges = np.flatnonzero(np.diff(np.r_[0, (wide & usual).astype(int), 0]))
    times = telemetry.frame.index
    spans = tuple((times[a], times[b - 1]) for a, b in edges.reshape(-1, 2))
    return usual & ~wide, spans


def _report(telemetry: Telemetry, target: str, usual: np.ndarray, step: pd.Timedelta) -> None:
    n = int(usual.sum())
    if n < FEW_ROWS:
        warn(
            "few-rows",
            f"only {count(n, 'fault-free row')} ({shown_span(n * step)}): what is usual is known "
            "roughly",
        )
    share = seasonality(telemetry.frame.index[usual], telemetry.frame[target].to_numpy()[usual])
    if share is not None and share > 0.3:
        warn(
            "seasonality",
            f"the hour of the day explains {share:.0%} of how {target!r} varies: its usual range "
            "is that of the whole day, and an anomaly in quiet hours may be missed",
            [target],
        )


def seasonality(times: pd.DatetimeIndex, values: np.ndarray) -> float | None:
    """Share of the variance that the hour of the day explains, adjusted for the number of hours;
    None if less than a day and a half was recorded."""
    ok = np.isfinite(values)
    if ok.sum() < 72 or times[-1] - times[0] < pd.Timedelta(hours=36):
        return None
    hour, x = np.asarray(times.hour)[ok], values[ok]
    total = x.var()
    if total <= 0:
        return None
    means = np.bincount(hour, x, minlength=24) / np.maximum(np.bincount(hour, minlength=24), 1)
    inside = np.var(x - means[hour]) * len(x) / max(len(x) - len(np.unique(hour)), 1)
    return max(0.0, 1 - inside / total)


def _require_inside(
    times: pd.DatetimeIndex, at: pd.Timestamp, slack: pd.Timedelta, step: pd.Timedelta
) -> None:
    if times[0] - slack <= at <= times[-1] + max(slack, 2 * step):
        return
    raise QuestionError(
        f"the alarm at {at:%Y-%m-%d %H:%M:%S} UTC lies outside the metrics, which run from "
        f"{times[0]:%Y-%m-%d %H:%M:%S} to {times[-1]:%Y-%m-%d %H:%M:%S} UTC",
        advice="Write the zone if it is not UTC, e.g. 2026-03-01T14:32+01:00, or export more.",
    )


def _too_short(n: int, times: pd.DatetimeIndex, at: pd.Timestamp, step: pd.Timedelta) -> DataError:
    return DataError(
        f"only {count(n, 'fault-free row')} before the alarm at {at:%Y-%m-%d %H:%M} UTC, at least "
        f"{MIN_BASELINE} are needed ({number(MIN_BASELINE * step.total_seconds() / 60)} min)",
        advice=f"Export from earlier on; the metrics begin at {times[0]:%Y-%m-%d %H:%M} UTC.",
    )

"""When did it begin, and which rows say what is usual? Robust to an alarm that is a step off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import DataError, QuestionError, warn
from ..tables.gate import count
from .baseline import CONSTANT_JUMP, CONSTANT_SHARE
from .telemetry.series import Telemetry, shown_span

MIN_BASELINE = 20
FEW_ROWS = 100
THRESHOLD = 4.0  # robust sd from which a row of the target belongs to an incident
_ALARM = 3.0  # what the row of an incident may fall back to without ending it
_EARLIER = 6.0  # robust sd that count as an earlier incident of any metric
_LASTING = 8.0  # robust sd, three rows running, of any latency, errors or availability
_SHARE = 0.1  # ... if that many of the moving metrics are there at once
_GUARD = 2  # steps around incidents that are neither usual nor unusual
_QUIET = 5  # rows before the onset that the incident shows for comparison
_MOST = 30  # rows of an incident that are looked at
_MAD, _IQR = 1.482602218505602, 1 / 1.3489795003921634


@dataclass(frozen=True, eq=False)
class Usual:
    """Which rows are fault-free, and what is usual in them.

    Attributes:
        rows: A mask over the rows of the telemetry.
        excluded: First and last time of each earlier incident that is left out.
        centre: Median of every column, shape (p,).
        scale: Robust standard deviation of every column, shape (p,).
    """

    rows: np.ndarray
    excluded: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]
    centre: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True, eq=False)
class Onset:
    """When the target left its usual range, and what that was judged by.

    Attributes:
        target: The column that is explained.
        onset: First anomalous time; None if the target was never anomalous around the alarm.
        alarm: The time that was asked about.
        usual: The fault-free rows.
        window: Rows of the incident, a mask: the anomalous ones and some quiet ones before them.
        during: The anomalous rows among them.
        deviation: Of the target at its worst, in robust standard deviations.
        candidates: The columns that were looked at -> their largest deviation.
        nearest: The unusual stretch of the target nearest to the alarm, if the alarm met none.
    """

    target: str
    onset: pd.Timestamp | None
    alarm: pd.Timestamp
    usual: Usual
    window: np.ndarray
    during: np.ndarray
    deviation: float
    candidates: dict[str, float]
    nearest: tuple[pd.Timestamp, pd.Timestamp] | None = None


def find_onset(
    telemetry: Telemetry,
    columns: Sequence[str],
    at: pd.Timestamp,
    *,
    baseline: tuple[pd.Timestamp, pd.Timestamp] | None = None,
    usual: Usual | None = None,
) -> Onset:
    """The incident around an alarm and the fault-free rows before it.

    A row is anomalous when the target is more than 4 robust standard deviations (1.4826 MAD)
    from its median in the bad direction (latency and errors up, availability down, requests
    either way). The incident is the run of such rows that touches the alarm ± the larger of one
    minute and one step; the onset is its first row. Usual are all rows that end two steps before
    it, without earlier incidents (see :func:`usual_rows`).

    Args:
        telemetry: The metrics.
        columns: Metrics that may have raised the alarm; the most anomalous one is the target.
        at: Time of the alarm.
        baseline: Start and end of the fault-free rows, instead of all before the incident.
        usual: What is usual, if that is known already.

    Raises:
        QuestionError: The alarm lies outside the data, or the baseline not before it.
        DataError: Fewer than 20 fault-free rows; a target without a value around the alarm.
    """
    times, step = telemetry.frame.index, telemetry.step
    slack = max(pd.Timedelta(minutes=1), step)
    _require_inside(times, at, slack, step)
    values = telemetry.frame.to_numpy()
    before = np.asarray(times < at - slack)
    if baseline is not None:
        if baseline[0] >= at - slack:
            raise QuestionError(
                f"the baseline is not before the incident: it starts at "
                f"{baseline[0]:%Y-%m-%d %H:%M} UTC, the alarm was at {at:%Y-%m-%d %H:%M} UTC",
                advice="Pass the start and end of rows that were recorded before the alarm.",
            )
        before &= np.asarray((times >= baseline[0]) & (times <= baseline[1]))
    _require_rows(int((usual.rows if usual is not None else before).sum()), times, at, step)
    if usual is None:
        centre, scale = robust_yardstick(values[before])
    else:
        centre, scale = usual.centre, usual.scale
    near = np.asarray((times >= at - slack) & (times <= at + slack))
    best: tuple[bool, float, str] | None = None
    candidates, runs, badness = {}, {}, {}
    for column in columns:
        j = telemetry.frame.columns.get_loc(column)
        z = _badness(values[:, j], centre[j], scale[j], telemetry.series.loc[column, "kind"])
        run = _run(z, near)
        around = z[near | run]
        top = float(np.nanmax(around)) if np.isfinite(around).any() else np.nan
        candidates[column], runs[column], badness[column] = top, run, z
        if np.isfinite(top) and (best is None or (bool(run.any()), top) > best[:2]):
            best = bool(run.any()), top, column
    if best is None:
        raise DataError(
            f"has no value around the alarm at {at:%Y-%m-%d %H:%M:%S} UTC",
            column=columns[0],
            advice="Name another target, or check the export.",
        )
    any_run, top, target = best
    run = runs[target]
    first = int(np.flatnonzero(run if any_run else near)[0])
    if usual is None:
        rows = before & (np.arange(len(times)) < max(first - _GUARD, 0))
        usual = usual_rows(telemetry, rows, centre, scale, target)
        _require_rows(int(usual.rows.sum()), times, at, step)
    window = near.copy()
    if any_run:
        window = run.copy()
        window[np.flatnonzero(run)[_MOST:]] = False
        window[max(first - _GUARD - _QUIET, 0) : max(first - _GUARD, 0)] = True
    _report(telemetry, target, usual.rows, step)
    return Onset(
        target=target,
        onset=times[first] if any_run else None,
        alarm=at,
        usual=usual,
        window=window,
        during=run & window,
        deviation=top,
        candidates=candidates,
        nearest=None if any_run else _nearest(badness.values(), times, at),
    )


def usual_rows(
    telemetry: Telemetry,
    rows: np.ndarray,
    centre: np.ndarray,
    scale: np.ndarray,
    target: str | None = None,
) -> Usual:
    """Rows without the incidents among them, and two steps around each.

    An incident is where the target is anomalous in two rows running, where any latency, errors
    or availability stays beyond 8 robust standard deviations for three rows, or where a tenth of
    all metrics (at least three) stand beyond 6 at once. If that were more than 40 % of the rows
    it is how things are, and nothing is left out.
    """
    if not rows.any():
        return Usual(rows, (), centre, scale)
    values, kinds = telemetry.frame.to_numpy(), telemetry.series["kind"].to_numpy()
    last = int(np.flatnonzero(rows)[-1]) + 1
    moving = np.flatnonzero(scale > CONSTANT_SHARE * np.abs(centre))
    far, odd = np.zeros(last), np.zeros(last, dtype=bool)
    for j in moving:
        size = np.abs(values[:last, j] - centre[j])
        far += size > _EARLIER * scale[j]
        if sign_of(kinds[j]) and kinds[j] != "saturation":
            beyond = size > _LASTING * scale[j]
            if beyond.any():
                odd |= _lasting(beyond, 3)
    if target is not None:
        j = telemetry.frame.columns.get_loc(target)
        z = _badness(values[:last, j], centre[j], scale[j], kinds[j])
        odd |= _lasting(np.nan_to_num(z) > THRESHOLD, 2)
    odd |= far >= max(3, _SHARE * len(moving))
    odd &= rows[:last]
    if not odd.any() or odd.sum() > 0.4 * rows.sum():
        return Usual(rows, (), centre, scale)
    wide = np.zeros(len(rows), dtype=bool)
    wide[:last] = np.convolve(odd, np.ones(2 * _GUARD + 1), mode="same") > 0.5
    edges = np.flatnonzero(np.diff(np.r_[0, (wide & rows).astype(int), 0]))
    times = telemetry.frame.index
    spans = tuple((times[a], times[b - 1]) for a, b in edges.reshape(-1, 2))
    return Usual(rows & ~wide, spans, centre, scale)


def learn_usual(telemetry: Telemetry, until: pd.Timestamp) -> Usual:
    """What is usual in all rows before a time, without the incidents among them.

    Raises:
        DataError: Fewer than 20 fault-free rows.
    """
    times = telemetry.frame.index
    rows = np.asarray(times < until)
    _require_rows(int(rows.sum()), times, until, telemetry.step)
    centre, scale = robust_yardstick(telemetry.frame.to_numpy()[rows])
    found = usual_rows(telemetry, rows, centre, scale)
    _require_rows(int(found.rows.sum()), times, until, telemetry.step)
    return found


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
    """The anomalous rows that touch the alarm, one quiet row in between at most."""
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


def _lasting(flags: np.ndarray, rows: int) -> np.ndarray:
    """Flags that are part of at least that many in a row."""
    edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0])).reshape(-1, 2)
    out = np.zeros(len(flags), dtype=bool)
    for start, end in edges[edges[:, 1] - edges[:, 0] >= rows]:
        out[start:end] = True
    return out


def _nearest(
    badness: Iterable[np.ndarray], times: pd.DatetimeIndex, at: pd.Timestamp
) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """The unusual stretch nearest to the alarm, at least two rows long."""
    spans = []
    for z in badness:
        flags = _lasting(np.nan_to_num(z, nan=-np.inf) > THRESHOLD, 2)
        edges = np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0])).reshape(-1, 2)
        spans += [(times[a], times[b - 1]) for a, b in edges]
    return min(spans, key=lambda span: min(abs(span[0] - at), abs(span[1] - at)), default=None)


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


def _require_rows(n: int, times: pd.DatetimeIndex, at: pd.Timestamp, step: pd.Timedelta) -> None:
    if n >= MIN_BASELINE:
        return
    raise DataError(
        f"only {count(n, 'fault-free row')} before {at:%Y-%m-%d %H:%M} UTC, at least "
        f"{MIN_BASELINE} are needed ({shown_span(MIN_BASELINE * step)})",
        advice=f"Export from earlier on; the metrics begin at {times[0]:%Y-%m-%d %H:%M} UTC.",
    )

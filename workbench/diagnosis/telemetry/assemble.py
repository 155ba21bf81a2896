"""From the series of several files to one grid: duplicates, jitter, counters, histograms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ...core.errors import DataError, warn
from ...tables.gate import count
from .kinds import Kind, kind_of, unit_of
from .series import Series, Telemetry, describe_columns

_COUNTER = ("_total", "_count", "_sum")
_SUMMED: tuple[Kind, ...] = ("requests", "errors")
_MOST_CELLS = 400_000_000


def assemble(
    found: Sequence[Series],
    kinds: Mapping[str, Kind] | None = None,
    unused: Mapping[str, str] | None = None,
) -> Telemetry:
    """All series on one grid of times.

    Series whose times differ are put on the coarsest step among them; several series of one
    service and metric (instances, status codes) are summed where they count something and
    averaged where they don't; counters become rates per second, and ``x_sum`` with ``x_count``
    the mean of x.

    Raises:
        DataError: No series, or more cells than memory should hold.
    """
    if not found:
        raise DataError("there are no metrics", advice="Pass at least one file with series.")
    unused = dict(unused or {})
    kept = []
    for one in found:
        if one.metric.endswith("_bucket") and "le" in one.labels:
            unused[one.source] = "a histogram bucket; query histogram_quantile(...) instead"
        else:
            kept.append(one)
    if not kept:
        raise DataError(
            "all series are buckets of histograms",
            value=found[0].source,
            advice="Query histogram_quantile(0.95, sum by (service, le) (rate(...))) instead.",
        )
    times = _grid(kept)
    if len(times) * len(kept) > _MOST_CELLS:
        raise DataError(
            f"{len(kept):,} series on {len(times):,} times are too many",
            advice="Ask for a shorter range or a longer step.",
        )
    repeated: list[str] = []
    columns: dict[tuple[str, str], list[tuple[Series, np.ndarray, str]]] = defaultdict(list)
    for one in kept:
        values, note = _as_rate(one.metric, times, _on_grid(one, times, repeated))
        columns[one.service, one.metric].append((one, values, note))
    if repeated:
        warn(
            "duplicate-times",
            f"{repeated[0]}{_more(repeated)} hold two values for one time; the last one is used",
            repeated,
        )
    names, values, notes_, sources = [], [], [], []
    for (service, metric), parts in columns.items():
        together, note = _together(metric, parts, kinds)
        names.append((service, metric))
        values.append(together)
        notes_.append("; ".join(dict.fromkeys(n for n in (parts[0][2], note) if n)))
        sources.append(parts[0][0].source)
    names, values, notes_, sources = _means(names, values, notes_, sources)
    units = [_unit(metric, note) for (_, metric), note in zip(names, notes_, strict=True)]
    series = describe_columns(names, sources, notes_, kinds, units)
    full = [j for j, v in enumerate(values) if np.isfinite(v).any()]
    _report_empty([series.index[j] for j in set(range(len(values))).difference(full)], unused)
    if not full:
        raise DataError("no metric has a value", column=series.index[0], advice="Check the export.")
    matrix = np.empty((len(times), len(full)), order="F")
    for k, j in enumerate(full):
        matrix[:, k] = values[j]
    series = series.iloc[full]
    index = pd.DatetimeIndex(times, tz="UTC", name="time")
    frame = pd.DataFrame(matrix, index=index, columns=series.index, copy=False)
    return Telemetry(frame, series, unused)


def _report_empty(names: list[str], unused: dict[str, str]) -> None:
    if names:
        names = sorted(names)
        shown = ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")
        warn("empty-metric", f"no value was ever recorded for {shown}", names)
        unused.update(dict.fromkeys(names, "no value in any row"))


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _grid(found: Sequence[Series]) -> np.ndarray:
    """Times of the rows: those of the series if they agree, else steps of the coarsest one."""
    first = np.unique(found[0].times)
    others = list({id(one.times): one.times for one in found}.values())
    if all(len(t) == len(first) and np.array_equal(np.sort(t), first) for t in others):
        return first
    union = first
    for t in others:
        if not np.isin(t, union, assume_unique=False).all():
            union = np.union1d(union, t)
    distinct = [np.unique(t) for t in others]
    steps = [np.median(np.diff(t)) for t in distinct if len(t) > 2]
    if not steps:
        return union
    step = int(max(steps))
    if len(union) < 2 or np.median(np.diff(union)) >= step:
        return union  # gaps, but one step
    start = union[0] // step * step
    return start + step * np.arange((union[-1] - start) // step + 1)


def _on_grid(one: Series, times: np.ndarray, repeated: list[str]) -> np.ndarray:
    if len(one.times) == len(times) and np.array_equal(one.times, times):
        return one.values
    order = np.argsort(one.times, kind="stable")
    at, values = one.times[order], one.values[order]
    last = np.r_[at[1:] != at[:-1], True]
    if not last.all():
        again = np.flatnonzero(~last)
        if not np.array_equal(values[again], values[again + 1], equal_nan=True):
            repeated.append(one.source or f"{one.service} {one.metric}")
        at, values = at[last], values[last]
    slot = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 1)
    out = np.full(len(times), np.nan)
    if len(np.unique(slot)) == len(slot):
        out[slot] = values
        return out
    ok = np.isfinite(values)
    sums = np.bincount(slot[ok], values[ok], minlength=len(times))
    n = np.bincount(slot[ok], minlength=len(times))
    if one.metric.endswith(_COUNTER):  # of a counter the last value in a slot counts
        out[slot[ok]] = values[ok]
        return out
    out[n > 0] = sums[n > 0] / n[n > 0]
    return out


def _as_rate(metric: str, times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, str]:
    """A counter as a rate per second; a reset starts again from 0, as in Prometheus."""
    if not metric.lower().endswith(_COUNTER):
        return values, ""
    seen = np.flatnonzero(np.isfinite(values))
    if len(seen) < 3:
        return values, ""
    steps = np.diff(values[seen])
    if (steps < 0).sum() > max(1, 0.05 * len(steps)):
        return values, "falls too often for a counter: taken as it is"
    out = np.full(len(values), np.nan)
    rise = np.where(steps < 0, values[seen[1:]], steps)
    out[seen[1:]] = rise / (np.diff(times[seen]) / 1e9)
    resets = int((steps < 0).sum())
    return out, "counter as a rate per second" + (f", {count(resets, 'reset')}" if resets else "")


def _together(
    metric: str, parts: Sequence[tuple[Series, np.ndarray, str]], kinds: Mapping[str, Kind] | None
) -> tuple[np.ndarray, str]:
    if len(parts) == 1:
        return parts[0][1], ""
    labels = [set(p[0].labels.items()) for p in parts]
    varying = sorted({k for k, _ in set.union(*labels) - set.intersection(*labels)})
    values = np.stack([p[1] for p in parts])
    known = np.isfinite(values).any(axis=0)
    summed = kind_of(metric, kinds) in _SUMMED or metric.endswith(("_sum", "_count"))
    totals, n = np.nansum(values, axis=0), np.isfinite(values).sum(axis=0)
    out = np.where(known, totals if summed else totals / np.maximum(n, 1), np.nan)
    how = "sum" if summed else "mean"
    over = f" over {', '.join(varying[:3])}" if varying else ""
    return out, f"{how} of {len(parts)} series{over}"


def _means(names: list, values: list, notes: list, sources: list) -> tuple[list, list, list, list]:
    """``x_sum`` and ``x_count`` of one service as the mean of x (and x_count as requests)."""
    place = {name: j for j, name in enumerate(names)}
    gone = set()
    for (service, metric), j in list(place.items()):
        other = place.get((service, metric.removesuffix("_sum") + "_count"))
        if not metric.endswith("_sum") or other is None:
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            values[j] = np.where(values[other] > 0, values[j] / values[other], np.nan)
        names[j] = (service, metric.removesuffix("_sum"))
        notes[j] = f"mean: rate of {metric} / rate of its count"
        base = metric.removesuffix("_sum")
        if any(s == service and kind_of(m) == "requests" for s, m in names):
            gone.add(other)
        else:
            names[other] = (service, f"requests ({base})")
            notes[other] = "counter as a rate per second"
    keep = [j for j in range(len(names)) if j not in gone]
    return tuple([part[j] for j in keep] for part in (names, values, notes, sources))


def _unit(metric: str, note: str) -> str:
    if "rate per second" in note:
        base = unit_of(metric)
        return f"{base}/s" if base else "1/s"
    return unit_of(metric)

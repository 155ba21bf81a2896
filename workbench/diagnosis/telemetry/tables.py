"""Metrics in tables: long (time, service, metric, value) and wide (a column per metric)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ...core.errors import DataError, FileFormatError, did_you_mean, warn
from ...tables.gate import count
from ...tables.read import read_table
from .series import Series
from .times import utc_nanoseconds

TIME = ("timestamp", "time", "datetime", "date", "ts", "_time", "@timestamp")
SERVICE = ("service", "service_name", "app", "node", "component", "entity")
METRIC = ("metric", "metric_name", "name", "kpi")
VALUE = ("value", "_value", "val")
_SEPARATORS = ("|", "::", "/", " ", ":", ".")


def role_of(names: Iterable[str], known: Sequence[str]) -> str | None:
    """The column that plays a role, by its usual names."""
    folded = {str(n).strip().lower(): n for n in reversed(list(names))}
    return next((folded[k] for k in known if k in folded), None)


def is_long(names: Iterable[str]) -> bool:
    names = list(names)
    return all(role_of(names, known) is not None for known in (SERVICE, METRIC, VALUE))


def read_long(path: str | Path) -> list[Series]:
    """Metrics from one row per time, service and metric.

    A parquet file is read batch by batch into the grid, so that memory holds the grid and one
    batch, whatever the file's length.

    Raises:
        FileFormatError: A column is missing; a value is not a number, with its place.
    """
    if Path(path).suffix.lower() in (".parquet", ".pq"):
        return _gathered(path, lambda: _parquet_batches(path), False)
    frame = read_table(path)
    return _gathered(path, lambda: iter([frame]), is_text(path))


def is_text(path: str | Path) -> bool:
    """Whether rows of the table are lines of a text."""
    return str(path).lower().removesuffix(".gz").endswith((".csv", ".tsv", ".txt"))


def _parquet_batches(path: str | Path) -> Iterator[pd.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        texts = [c for c in (role_of(names, SERVICE), role_of(names, METRIC)) if c is not None]
        file = pq.ParquetFile(path, read_dictionary=texts)
        for batch in file.iter_batches(1_000_000, use_threads=False):
            yield batch.to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise FileFormatError(f"is not a readable parquet file: {error}", path=path) from None


def _gathered(
    path: str | Path, batches: Callable[[], Iterator[pd.DataFrame]], text_lines: bool
) -> list[Series]:
    """Two passes over the rows: which times and series there are, then their values."""
    rows, pairs = [], set()
    for batch in batches():
        roles = _roles(batch, path)
        if len(batch):
            rows.append(pd.unique(utc_nanoseconds(batch[roles["time"]], path, text_lines)))
            pairs.update(_codes(batch, roles)[1])
    if not pairs:
        raise FileFormatError("holds no rows", path=path, advice="Was the export empty?")
    times = np.unique(np.concatenate(rows))
    place = {pair: j for j, pair in enumerate(sorted(pairs))}
    matrix = np.full((len(times), len(place)), np.nan, order="F")
    filled = np.zeros(matrix.shape, dtype=bool, order="F")

    def cells() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for batch in batches():
            if len(batch):
                roles = _roles(batch, path)
                stamps = utc_nanoseconds(batch[roles["time"]], path, text_lines)
                codes, found = _codes(batch, roles)
                columns = np.array([place[pair] for pair in found])[codes]
                values = _numbers(batch[roles["value"]], path, text_lines)
                yield np.searchsorted(times, stamps), columns, values

    n, infinite = 0, 0
    for at, column, values in cells():
        wrong = np.isinf(values)
        infinite += int(wrong.sum())
        matrix[at, column] = np.where(wrong, np.nan, values) if wrong.any() else values
        filled[at, column] = True
        n += len(at)
    name = Path(path).name
    if n > filled.sum():
        # The last value stands; a repeat is only worth a word if it said something else.
        others = sum(int((~_same(matrix[at, c], v) & ~np.isinf(v)).sum()) for at, c, v in cells())
        if others:
            warn(
                "duplicate-times",
                f"{name}: {count(others, 'row')} repeat a time, service and metric with another "
                "value; the last one is used",
            )
    if infinite:
        warn("infinite-values", f"{name}: {infinite:,} infinite values count as not recorded")
    return [
        Series(service, metric, times, matrix[:, j], f"{name}: {service}, {metric}")
        for (service, metric), j in place.items()
    ]


def _roles(batch: pd.DataFrame, path: str | Path) -> dict[str, str]:
    known = {"time": TIME, "service": SERVICE, "metric": METRIC, "value": VALUE}
    out = {role: role_of(batch.columns, names) for role, names in known.items()}
    lost = [role for role, name in out.items() if name is None]
    if lost:
        raise FileFormatError(
            f"has no column for the {lost[0]}; its columns are "
            f"{', '.join(map(repr, list(batch.columns)[:8]))}",
            path=path,
            advice=f"Name it one of {', '.join(known[lost[0]][:4])}.",
        )
    return out


def _codes(batch: pd.DataFrame, roles: dict[str, str]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """The pairs (service, metric) that occur, and for every row the place of its own."""
    service = batch[roles["service"]].astype("category")
    metric = batch[roles["metric"]].astype("category")
    s, m = service.cat.codes.to_numpy(), metric.cat.codes.to_numpy()
    if (s < 0).any() or (m < 0).any():
        row = int(np.flatnonzero((s < 0) | (m < 0))[0])
        raise DataError("a row names no service or no metric", column=roles["service"], row=row)
    width = len(metric.cat.categories)
    flat = s.astype("int64") * width + m
    used = np.flatnonzero(np.bincount(flat, minlength=1))
    code = np.zeros(used[-1] + 1, dtype="int64")
    code[used] = np.arange(len(used))
    services, metrics = service.cat.categories, metric.cat.categories
    return code[flat], [(str(services[k // width]), str(metrics[k % width])) for k in used]


def _numbers(column: pd.Series, path: str | Path, text_lines: bool) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    values = pd.to_numeric(column, errors="coerce")
    bad = values.isna() & column.notna() & ~column.astype(str).str.fullmatch(r"(?i)\s*nan\s*|\s*")
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FileFormatError(
            f"column {column.name!r}: {str(column.iloc[row])[:40]!r} is not a number",
            path=path,
            line=row + 2 if text_lines else None,
            advice="Leave the cell empty where nothing was recorded.",
        )
    return values.to_numpy(dtype=float)


def _same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a == b) | (np.isnan(a) & np.isnan(b))


# -- wide ----------------------------------------------------------------------------------


def from_wide(
    frame: pd.DataFrame, path: str | Path, services: Iterable[str] | None
) -> tuple[list[Series], dict[str, str]]:
    """Metrics from a wide table; times in a column (``time``, ``timestamp``, ...) or the index.

    A column's name holds service and metric: ``cart|latency_ms``, ``cart/latency_ms``,
    ``cart latency_ms``, ``cart:latency_ms``, ``cart.latency_ms``; with ``services`` known also
    ``cart_latency_ms``.

    Returns:
        The series, and the columns that are none -> why.

    Raises:
        FileFormatError: No times, or times that can't be read.
        DataError: No column names a service and a metric.
    """
    text_lines = is_text(path)
    name = role_of(frame.columns, TIME)
    if name is not None:
        times = utc_nanoseconds(frame[name], path, text_lines)
    elif isinstance(frame.index, pd.DatetimeIndex):
        times = utc_nanoseconds(frame.index.to_series(name="index"), path)
    else:
        listed = ", ".join(map(repr, list(frame.columns)[:6]))
        raise FileFormatError(
            f"has no column with times; its columns are {listed}",
            path=path,
            advice=f"Name it one of {', '.join(TIME[:4])}.",
        )
    if not len(frame):
        raise FileFormatError("holds no rows", path=path, advice="Was the export empty?")
    columns = [str(c) for c in frame.columns if c != name]
    split = split_names(columns, services)
    unused = {c: "names no service and metric" for c in columns if c not in split}
    if not split:
        known = list(services or ())
        advice = (
            "Name columns 'service|metric', e.g. 'cart|latency_ms'; a long table has the columns "
            "time, service, metric and value."
        )
        if known and columns:
            advice += f" {did_you_mean(columns[0], known)}"
        raise DataError(
            "no column names a service and a metric", column=(columns or [None])[0], advice=advice
        )
    order = np.argsort(times, kind="stable")
    at = times[order]
    last = np.r_[at[1:] != at[:-1], True]
    if not last.all():
        again = np.flatnonzero(~last)
        stamp = pd.Timestamp(int(at[again[0]]), tz="UTC")
        warn(
            "duplicate-times",
            f"{Path(path).name}: {len(again)} rows repeat a time (first {stamp:%Y-%m-%d %H:%M:%S} "
            "UTC); the last row of each time is used",
        )
        order, at = order[last], at[last]
    sorted_already = len(order) == len(frame) and (order == np.arange(len(order))).all()
    found, infinite = [], []
    for column, (service, metric) in split.items():
        values = _numbers(frame[column], path, text_lines)
        values = values if sorted_already else values[order]
        wrong = np.isinf(values)
        if wrong.any():
            infinite.append(column)
            values = np.where(wrong, np.nan, values)
        found.append(Series(service, metric, at, values, f"{Path(path).name}: {column}"))
    if infinite:
        more = f" and {len(infinite) - 1} more columns" if len(infinite) > 1 else ""
        warn(
            "infinite-values",
            f"{Path(path).name}: infinite values in {infinite[0]!r}{more} count as not recorded",
            infinite,
        )
    return found, unused


def split_names(
    columns: Sequence[str], services: Iterable[str] | None = None
) -> dict[str, tuple[str, str]]:
    """Column -> (service, metric) for those whose name holds both.

    Example:
        >>> split_names(["cart|latency|p99", "cart|cpu"])
        {'cart|latency|p99': ('cart', 'latency|p99'), 'cart|cpu': ('cart', 'cpu')}
        >>> split_names(["shopping_cart_cpu", "note"], ["shopping_cart", "shopping"])
        {'shopping_cart_cpu': ('shopping_cart', 'cpu')}
    """
    out = {}
    known = sorted(map(str, services or ()), key=len, reverse=True)
    if known:
        pattern = re.compile(f"({'|'.join(map(re.escape, known))})(?:::|[|/ :._-])(.+)")
        for column in columns:
            found = pattern.fullmatch(column)
            if found:
                out[column] = (found[1], found[2])
    counts = {s: sum(s in c for c in columns) for s in _SEPARATORS}
    best = next((s for s in _SEPARATORS if counts[s] == max(counts.values()) > 0), None)
    for column in columns:
        if column not in out and best is not None and best in column:
            service, metric = column.split(best, 1)
            if service.strip() and metric.strip():
                out[column] = (service.strip(), metric.strip())
    return {c: out[c] for c in columns if c in out}

"""Columns of a table as numbers: what a metric is, and what can't be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..tables import gate
from ..tables.schema import Feature, Schema
from ..tables.sentinels import warn_of_fill_ins

MIN_ROWS = 10


def as_numbers(
    frame: pd.DataFrame, names: Sequence[str], schema: Schema | None
) -> tuple[dict[str, np.ndarray], dict[str, Feature], dict[str, str]]:
    """Fault-free columns as numbers, what they mean, and why some are no usable metrics."""
    features = [f for n in names if (f := _meaning(frame[n], n, schema)) is not None]
    table = gate.table(
        frame,
        schema=Schema(features, None if schema is None else schema.reasons),
        columns=list(names),
        what="fault-free rows",
        min_rows=MIN_ROWS,
    )
    codes, unusable = {}, {}
    for feature in table.schema:
        name = feature.name
        if feature.role is not None:
            why = "holds dates" if feature.role == "time" else f"has role {feature.role!r}"
            unusable[name] = why
        elif feature.kind == "categorical":
            unusable[name] = "has unordered levels; diagnosis works on numbers"
        else:
            codes[name] = _coded(table.frame[name], feature)
            n = int(np.isfinite(codes[name]).sum())
            if n < MIN_ROWS:
                unusable[name] = f"only {gate.count(n, 'value')}" if n else "no value in any row"
    measured = {n: pd.Series(x, table.frame.index) for n, x in codes.items() if n not in unusable}
    gate.warn_of_lone_values(measured)
    warn_of_fill_ins(measured)
    return codes, {f.name: f for f in table.schema}, unusable


def incident_numbers(frame: pd.DataFrame, schema: Schema) -> np.ndarray:
    """The columns of an incident as numbers, shape (T, k), read as the fault-free rows were.

    Columns of plain finite numbers without bounds are what the gate would make of them, so they
    are taken at once (an alarm with thousands of metrics can't wait); it judges all others.
    """
    out = np.empty(frame.shape)
    plain = np.array([_is_plain(d, schema[n]) for n, d in frame.dtypes.items()])
    out[:, plain] = frame.loc[:, plain].to_numpy(dtype=float, na_value=np.nan)
    plain[plain] = ~np.isinf(out[:, plain]).any(axis=0)
    if not plain.all():
        others = frame.loc[:, ~plain]
        table = gate.table(
            others, schema=schema.select(others.columns), what="incident", drop=False
        )
        coded = [_coded(table.frame[f.name], f) for f in table.schema]
        out[:, ~plain] = np.column_stack(coded)
    return out


def _is_plain(dtype: Any, feature: Feature) -> bool:
    is_number = dtype.kind in "fiu"
    return (
        is_number
        and feature.is_numeric
        and feature.bounds is None
        and feature.missing == "indicate"
    )


def _coded(column: pd.Series, feature: Feature) -> np.ndarray:
    """Numbers as they are, levels by their place; NaN for empty cells."""
    if feature.is_numeric:
        return column.to_numpy(dtype=float)
    level = column.cat.codes.to_numpy(dtype=float)
    return np.where(level < 0, np.nan, level)


def _meaning(column: pd.Series, name: str, schema: Schema | None) -> Feature | None:
    """The feature of a fault-free column; None to let the gate guess."""
    known = schema[name] if schema is not None and name in schema else None
    if known is not None and known.role is not None:
        return known
    if _is_number(column):
        # A metric is a number whatever its distinct values are: two of them are no levels.
        bounds = known.bounds if known is not None else None
        unit, missing = (known.unit, known.missing) if known is not None else (None, "indicate")
        return Feature(name, bounds=bounds, unit=unit, missing=missing)
    if known is None and not column.notna().any():
        return Feature(name)
    return known


def with_guesses(frame: pd.DataFrame, schema: Schema | None) -> Schema:
    """The schema, with guesses for the columns that it doesn't mention."""
    known = schema if schema is not None else Schema([])
    guessed = Schema.infer(frame)
    features = [known[f.name] if f.name in known else f for f in guessed]
    kept = {n: why for n, why in guessed.reasons.items() if n not in known}
    return Schema(features, {**kept, **known.reasons})


def _is_number(column: pd.Series) -> bool:
    dtype = column.dtype
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)

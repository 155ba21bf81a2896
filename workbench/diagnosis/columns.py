"""Columns of a table as numbers: what a metric is, and what can't be one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..tables import gate
from ..tables.schema import Feature, Schema

MIN_ROWS = 10


def as_numbers(
    frame: pd.DataFrame, names: Sequence[str], schema: Schema | None, *, fault_free: bool
) -> tuple[dict[str, np.ndarray], dict[str, Feature], dict[str, str]]:
    """Columns as numbers, what they mean, and why some of them are no usable metrics.

    Fault-free rows decide what a column means (``schema`` corrects the guesses); the rows of an
    incident are read with the ``schema`` that came out of that.
    """
    features = [f for n in names if (f := _meaning(frame[n], n, schema, fault_free)) is not None]
    table = gate.table(
        frame,
        schema=Schema(features),
        columns=list(names),
        what="fault-free rows" if fault_free else "incident",
        min_rows=MIN_ROWS if fault_free else 1,
        drop=fault_free,
    )
    codes, unusable = {}, {}
    for name in names:
        column, feature = table.frame[name], table.schema[name]
        if feature.role is not None:
            why = "holds dates" if feature.role == "time" else f"has role {feature.role!r}"
            unusable[name] = why
        elif feature.kind == "categorical":
            unusable[name] = "has unordered levels; diagnosis works on numbers"
        else:
            if feature.is_numeric:
                codes[name] = column.to_numpy(dtype=float)
            else:
                level = column.cat.codes.to_numpy(dtype=float)
                codes[name] = np.where(level < 0, np.nan, level)
            n = int(np.isfinite(codes[name]).sum())
            if fault_free and n < MIN_ROWS:
                unusable[name] = f"only {gate.count(n, 'value')}" if n else "no value in any row"
    return codes, {f.name: f for f in table.schema}, unusable


def _meaning(
    column: pd.Series, name: str, schema: Schema | None, fault_free: bool
) -> Feature | None:
    """The feature of a column; None to let the gate guess."""
    known = schema[name] if schema is not None and name in schema else None
    if not fault_free or known is not None and known.role is not None:
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
    return Schema([known[f.name] if f.name in known else f for f in Schema.infer(frame)])


def _is_number(column: pd.Series) -> bool:
    dtype = column.dtype
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)

"""Columns of a table as numbers: what a metric is, and what can't be one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..tables import gate
from ..tables.schema import Feature, Schema

MIN_ROWS = 10


def as_numbers(
    frame: pd.DataFrame,
    names: Sequence[str],
    schema: Schema | None,
    what: str,
    least: int = MIN_ROWS,
) -> tuple[dict[str, np.ndarray], dict[str, Feature], dict[str, str]]:
    """Columns as numbers, their features, and the columns that have no usable numbers."""
    features = []
    for name in names:
        known = schema[name] if schema is not None and name in schema else None
        if least and _is_number(frame[name]) and (known is None or known.role is None):
            # A metric is a number whatever its distinct values are: two of them are no levels.
            kept = known if known is not None and known.is_numeric else None
            features.append(
                Feature(
                    name,
                    bounds=kept.bounds if kept else None,
                    unit=known.unit if known else None,
                    missing=known.missing if known else "indicate",
                )
            )
        elif known is not None:
            features.append(known)
        elif not frame[name].notna().any():
            features.append(Feature(name))
    table = gate.table(
        frame,
        schema=Schema(features),
        columns=list(names),
        what=what,
        min_rows=max(least, 1),
        drop=least > 0,
    )
    codes, unusable = {}, {}
    for name in names:
        column, feature = table.frame[name], table.schema[name]
        if feature.role == "time":
            unusable[name] = "holds dates"
        elif feature.role is not None:
            unusable[name] = f"has role {feature.role!r}"
        elif feature.is_numeric:
            codes[name] = column.to_numpy(dtype=float)
        elif feature.kind == "categorical":
            unusable[name] = "has unordered levels; diagnosis works on numbers"
        else:
            level = column.cat.codes.to_numpy(dtype=float)
            codes[name] = np.where(level < 0, np.nan, level)
        if name in codes and least:
            n = int(np.isfinite(codes[name]).sum())
            if n < least:
                unusable[name] = "no value in any row" if n == 0 else f"only {n} values"
    return codes, {f.name: f for f in table.schema}, unusable


def with_guesses(frame: pd.DataFrame, schema: Schema | None) -> Schema:
    """The schema, with guesses for the columns that it doesn't mention."""
    known = schema if schema is not None else Schema([])
    return Schema([known[f.name] if f.name in known else f for f in Schema.infer(frame)])


def _is_number(column: pd.Series) -> bool:
    dtype = column.dtype
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)

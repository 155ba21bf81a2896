"""Tables to the arrays a model works on, and back: numbers as they are, levels as positions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, did_you_mean, warn
from ..tables.gate import Table, refuse_missing, refuse_scale, table
from ..tables.repeats import warn_of_repeats
from ..tables.schema import Feature, Schema
from .parents import decode_levels


def training_table(
    df: Any, schema: Schema | None, nodes: Iterable[str]
) -> tuple[Table, np.ndarray | None]:
    """The nodes' columns, complete rows only, and the cluster of each row."""
    nodes = list(nodes)
    cluster = _cluster(df, schema, nodes)
    weight = None if schema is None else schema.role("weight")
    if weight is not None:
        warn("weights-ignored", f"the weights {weight!r} are not used in fitting", [weight])
    _require_columns(df, nodes)
    extra = [cluster] if cluster is not None and cluster not in nodes else []
    checked = table(df, schema=schema, columns=nodes + extra, min_rows=2)
    for node in nodes:
        if checked.schema[node].role is not None:
            raise DataError(
                f"has the role {checked.schema[node].role!r} and can't be a node",
                column=node,
                advice="Give it role=None in the schema, or drop it from the graph.",
            )
    _require_complete(checked, nodes)
    for node in nodes:
        if checked.schema[node].is_numeric:
            refuse_scale(checked.frame[node])
    if cluster is None:
        warn_of_repeats(checked.frame)
    groups = (
        None if cluster is None else pd.factorize(checked.frame[cluster], use_na_sentinel=False)[0]
    )
    return Table(checked.frame[nodes], checked.schema.select(nodes), checked.named), groups


def _cluster(df: Any, schema: Schema | None, nodes: list[str]) -> str | None:
    """The column whose rows belong together: the schema's cluster, else an id that repeats."""
    if schema is not None and schema.role("cluster") is not None:
        return schema.role("cluster")
    if not isinstance(df, pd.DataFrame):
        return None
    known = schema if schema is not None else Schema([])
    others = [c for c in df.columns if str(c) not in nodes]
    guessed = Schema.infer(df[[c for c in others if str(c) not in known]])
    name = known.role("id") or guessed.role("id")
    column = next((df[c] for c in others if str(c) == name), None)
    if column is None or column.is_unique:
        return None
    warn(
        "repeated-ids",
        f"{name!r} repeats: its rows are held out together. Their noises are still drawn as if "
        "independent; name a cluster in the schema if another column says what belongs together",
        [name],
    )
    return name


def complete_table(df: Any, schema: Schema) -> Table:
    """The schema's columns of any number of rows, none of them dropped."""
    _require_columns(df, schema.names)
    checked = table(df, schema=schema, columns=schema.names, min_rows=0, drop=False)
    _require_complete(checked, schema.names)
    return checked


def as_array(data: Table) -> np.ndarray:
    """Numbers as they are, levels as positions, ``(n, d)``."""
    columns = [
        data.frame[f.name].to_numpy(dtype=float)
        if f.is_numeric
        else data.frame[f.name].cat.codes.to_numpy(dtype=float)
        for f in data.schema
    ]
    return np.column_stack(columns) if columns else np.empty((len(data), 0))


def categorical_columns(df: Any) -> frozenset[str]:
    """The columns that are pandas categories."""
    if not isinstance(df, pd.DataFrame):
        return frozenset()
    kinds = df.dtypes.items()
    return frozenset(str(c) for c, dtype in kinds if isinstance(dtype, pd.CategoricalDtype))


def as_frame(
    values: np.ndarray, schema: Schema, categorical: frozenset[str], index: pd.Index
) -> pd.DataFrame:
    """The inverse of :func:`as_array`; says when numbers lie outside their bounds."""
    columns = {}
    for j, feature in enumerate(schema):
        columns[feature.name] = decode(values[:, j], feature, feature.name in categorical, index)
        low, high = feature.bounds or (None, None)
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if feature.is_numeric and ((values[:, j] < low) | (values[:, j] > high)).any():
            warn(
                "outside-bounds",
                f"some simulated {feature.name!r} lie outside its bounds {low} to {high}",
                [feature.name],
            )
    return pd.DataFrame(columns, index=index, columns=list(schema.names))


def decode(values: np.ndarray, feature: Feature, categorical: bool, index: pd.Index) -> pd.Series:
    """One column as the user knows it."""
    if categorical and feature.is_discrete:
        values = pd.Categorical.from_codes(
            values.astype(int), list(feature.levels), ordered=feature.kind == "ordinal"
        )
        return pd.Series(values, index=index, name=feature.name)
    column = pd.Series(decode_levels(values, feature), index=index, name=feature.name)
    return column.infer_objects()


def overwrite(
    given: pd.DataFrame, before: np.ndarray, after: np.ndarray, new: pd.DataFrame
) -> pd.DataFrame:
    """The caller's columns of the nodes, with the new values in those that changed."""
    columns, position = {}, {name: j for j, name in enumerate(new.columns)}
    for label in given.columns:
        j = position.get(str(label))
        if j is None:
            continue
        same = np.array_equal(before[:, j], after[:, j])
        old = given[label]
        columns[label] = old.copy() if same else _like(new.iloc[:, j], old)
    return pd.DataFrame(columns, index=given.index)


def _like(new: pd.Series, old: pd.Series) -> pd.Series:
    """The new column in the old one's type, where that loses nothing."""
    if isinstance(old.dtype, pd.CategoricalDtype):
        return new.astype(old.dtype) if set(new.unique()) <= set(old.dtype.categories) else new
    if pd.api.types.is_float_dtype(old.dtype):
        return new
    try:
        cast = new.astype(old.dtype)
    except (TypeError, ValueError):
        return new
    return cast if (cast == new).all() else new


def _require_columns(df: Any, nodes: Iterable[str]) -> None:
    if not isinstance(df, pd.DataFrame):
        return
    names = [str(c) for c in df.columns]
    for node in nodes:
        if node not in names:
            raise DataError(
                "is a node of the graph but not a column of the data",
                column=node,
                advice=did_you_mean(node, names),
            )


def _require_complete(data: Table, nodes: Iterable[str]) -> None:
    for node in nodes:
        refuse_missing(data.frame[node])
        _require_whole(data.frame[node], data.schema[node])


def _require_whole(column: pd.Series, feature: Feature) -> None:
    if feature.kind != "count":
        return
    x = column.to_numpy(dtype=float)
    bad = (x != np.floor(x)) | (x < 0)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            "is a count but has a value that is no whole number from 0",
            column=feature.name,
            row=column.index[at],
            value=float(x[at]),
            advice="Set kind='continuous' in the schema.",
        )

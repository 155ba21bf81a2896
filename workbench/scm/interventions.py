"""What users write for an intervention, as arrays or as rules over whole columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import QuestionError, did_you_mean
from ..graph.causal_graph import CausalGraph
from ..tables.gate import align
from ..tables.schema import Feature, Schema
from .parents import Parents, decode_levels

Rule = np.ndarray | Callable[[Parents, np.ndarray], np.ndarray]


def rules(
    do: Mapping[str, Any] | None,
    shift: Mapping[str, Any] | None,
    graph: CausalGraph,
    schema: Schema,
    index: pd.Index,
) -> tuple[dict[str, Rule], dict[str, Rule]]:
    """Hard interventions and shifts as ``{node: array or rule}``, both checked.

    Raises:
        QuestionError: Unknown nodes or levels, a node in both, a shift of levels, values that
            don't fit the rows.
    """
    do, shift = _named(do, "do", graph), _named(shift, "shift", graph)
    for node in shift:
        if node in do:
            raise QuestionError(
                "is both set and shifted", column=node, advice="Choose one of do and shift."
            )
        if schema[node].is_discrete:
            raise QuestionError(
                f"is {schema[node].kind} and can't be shifted",
                column=node,
                advice="Set it to a level with do.",
            )
    return tuple(
        {node: _rule(value, schema[node], schema, index) for node, value in given.items()}
        for given in (do, shift)
    )


def _named(given: Mapping[str, Any] | None, what: str, graph: CausalGraph) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise QuestionError(
            f"{what} must be a dictionary from nodes to values", value=type(given).__name__
        )
    for node in given:
        if node not in graph.nodes:
            raise QuestionError(
                "is not in the graph", column=str(node), advice=did_you_mean(node, graph.nodes)
            )
    return dict(given)


def _rule(value: Any, feature: Feature, schema: Schema, index: pd.Index) -> Rule:
    if not callable(value):
        return _column(value, feature, index)

    def rule(parents: Parents, natural: np.ndarray) -> np.ndarray:
        columns = {name: parents[name] for name in parents.names}
        columns[feature.name] = decode_levels(natural, feature)
        now = pd.DataFrame(columns, index=index).infer_objects()
        try:
            return _column(value(now), feature, index)
        except KeyError as error:
            raise QuestionError(
                f"the function asks for {error}, it is given the node's parents and its own "
                "natural value",
                column=feature.name,
                advice=did_you_mean(error.args[0] if error.args else "", list(now.columns)),
            ) from error

    return rule


def _column(value: Any, feature: Feature, index: pd.Index) -> np.ndarray:
    """A scalar, array or Series as a float column; levels as their positions."""
    n, name = len(index), feature.name
    if isinstance(value, pd.DataFrame):
        raise QuestionError("must be set to one value per row, not to a table", column=name)
    if isinstance(value, pd.Series):
        frame = value.rename(name).to_frame()
        value = align(pd.DataFrame(index=index), frame, f"the values for {name!r}", "the rows")
        value = value[name]
    array = np.asarray(value, dtype=object if feature.is_discrete else None)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n):
        raise QuestionError(
            f"is set to values of shape {array.shape}, there are {n} rows",
            column=name,
            advice="Give one value, or one per row.",
        )
    if feature.is_discrete:
        return _positions(array, feature, index)
    try:
        numbers = array.astype(float)
    except (TypeError, ValueError) as error:
        raise QuestionError(
            "must be set to numbers", column=name, value=array.ravel()[0] if array.size else None
        ) from error
    numbers = np.broadcast_to(numbers, (n,))
    bad = ~np.isfinite(numbers)
    if bad.any():
        at = int(bad.argmax())
        raise QuestionError(
            "must be set to finite numbers", column=name, row=index[at], value=float(numbers[at])
        )
    return numbers


def _positions(array: np.ndarray, feature: Feature, index: pd.Index) -> np.ndarray:
    flat = array.reshape(-1)
    place = {level: i for i, level in enumerate(feature.levels)}
    try:
        codes = pd.Series(flat, dtype=object).map(place)
    except TypeError as error:
        raise QuestionError("must be set to levels", column=feature.name) from error
    if codes.isna().any():
        at = int(codes.isna().to_numpy().argmax())
        raise QuestionError(
            "is set to a level that is not known",
            column=feature.name,
            row=index[at] if array.ndim else None,
            value=flat[at],
            advice=did_you_mean(flat[at], feature.levels),
        )
    return np.broadcast_to(codes.to_numpy(dtype=float).reshape(array.shape), (len(index),))

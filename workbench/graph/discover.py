"""The front door of stage 1: a table in, a causal graph out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..core.errors import ParameterError, did_you_mean
from ..core.seeding import Seed, sequence
from ..tables.schema import Schema
from . import discovery
from .causal_graph import CausalGraph
from .knowledge import Knowledge


def discover(
    df: Any,
    method: str = "boss",
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    random_state: Seed = 0,
    time_limit: float | None = None,
    **parameters: Any,
) -> CausalGraph:
    """Learn a causal graph from a table.

    Columns that name a unit, a time, a cluster or a weight are no nodes; constants and exact
    linear functions of other columns are left out with a warning. ``info`` says what was done and
    why: ``explanation``, ``left_out``, ``warnings``, ``conflicts`` and the method's own
    diagnostics. Trust single edges only after :func:`workbench.graph.bootstrap`.

    Args:
        df: A table, or an array (nodes ``x0, x1, ...``). The order of named columns has no
            influence.
        method: A name in ``workbench.graph.discovery.METHODS``.
        knowledge: Tiers, required and forbidden edges; the result agrees with it.
        schema: What the columns mean; guessed when left out.
        random_state: Seed of methods that draw random numbers.
        time_limit: Seconds after which a search stops with the best it has, and says so.
        **parameters: Those of the method, e.g. ``alpha`` of
            :func:`~workbench.graph.discovery.pc`.

    Raises:
        ParameterError: Unknown method or parameter.
        DataError, QuestionError: The table or the knowledge can't be used.

    Example:
        >>> import numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> age, noise = rng.normal(size=(2, 500))
        >>> df = pd.DataFrame({"age": age, "pressure": age + noise})
        >>> discover(df, knowledge=Knowledge(tiers=["age", "pressure"])).edges
        (('age', 'pressure', 'tail', 'arrow'),)
    """
    sequence(random_state)
    function = method_named(method)
    accepted = accepted_parameters(function)
    for name in parameters:
        if name not in accepted:
            raise ParameterError(
                f"is not a parameter of {method}",
                column=name,
                advice=did_you_mean(name, [n for n in accepted if n not in _COMMON]),
            )
    if "random_state" in accepted:
        parameters["random_state"] = random_state
    if "time_limit" in accepted:
        parameters["time_limit"] = time_limit
    elif time_limit is not None:
        raise ParameterError(f"{method} can't be stopped", column="time_limit", value=time_limit)
    return function(df, knowledge=knowledge, schema=schema, **parameters)


_COMMON = ("data", "knowledge", "schema", "random_state", "time_limit")


def method_named(method: str) -> Callable[..., CausalGraph]:
    """The function of a method; an unknown name is refused with the closest known ones."""
    if not isinstance(method, str) or method not in discovery.METHODS:
        raise ParameterError(
            "is not a method of discovery",
            column="method",
            value=method,
            advice=did_you_mean(method, discovery.METHODS),
        )
    return getattr(discovery, method)


def accepted_parameters(function: Callable[..., CausalGraph]) -> list[str]:
    """The names of a method's parameters."""
    return list(inspect.signature(function).parameters)

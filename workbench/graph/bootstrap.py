"""How stable a learned graph is: the search repeated on resampled rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from inspect import signature
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import GraphError, ParameterError, WorkbenchError, recording, warn
from ..core.seeding import Seed, generator, spawn
from ..tables.gate import Table, as_frame, count, table
from ..tables.schema import Schema
from .causal_graph import CausalGraph
from .discover import accepted_parameters, discover, method_named
from .discovery.design import checked_knowledge, reduce
from .discovery.encoded import MIN_ROWS, Encoded, encode
from .ensemble import GraphEnsemble
from .knowledge import Knowledge


def bootstrap(
    df: Any,
    method: str = "boss",
    n_boot: int = 100,
    knowledge: Knowledge | None = None,
    schema: Schema | None = None,
    random_state: Seed = 0,
    n_jobs: int = 1,
    resample: Literal["bootstrap", "half"] = "bootstrap",
    progress: bool = True,
    **parameters: Any,
) -> GraphEnsemble:
    """Repeat a search on resampled rows: how often does each edge come back?

    Rows that share the schema's cluster (or a repeated id) are drawn together. The result is the
    same for any number of workers.

    Args:
        df: A table, as for :func:`workbench.discover`.
        method: A method of :func:`workbench.discover`.
        n_boot: Number of resamples.
        knowledge: As for :func:`workbench.discover`; every graph agrees with it.
        schema: What the columns mean; guessed once, on the whole table.
        random_state: Seed.
        n_jobs: Worker processes of joblib; any of its backends may be set around the call.
        resample: ``"bootstrap"`` (as many rows, with replacement) or ``"half"`` (half of the rows,
            without: no repeated rows, which make dependence look stronger than it is).
        progress: Show a bar when it takes over two seconds.
        **parameters: Those of the method.

    Raises:
        ParameterError: ``n_boot`` below 1, ``n_jobs`` of 0, unknown ``resample``, halves of fewer
            than 10 rows, and those of :func:`workbench.discover`; its other errors too.

    References:
        Friedman, Goldszmidt, Wyner, UAI 1999; Meinshausen and Buehlmann, "Stability selection",
        JRSS B 72, 2010 (half-sampling).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> a, noise = rng.normal(size=(2, 300))
        >>> ensemble = bootstrap(pd.DataFrame({"a": a, "b": a + noise}), n_boot=20)
        >>> ensemble.edge_confidence("a", "b", "any")
        1.0
    """
    from joblib import Parallel, delayed

    if isinstance(n_boot, bool) or not isinstance(n_boot, int | np.integer) or n_boot < 1:
        raise ParameterError("must be 1 or more", column="n_boot", value=n_boot)
    if resample not in ("bootstrap", "half"):
        raise ParameterError("must be 'bootstrap' or 'half'", column="resample", value=resample)
    if n_jobs is not None and (
        isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0
    ):
        raise ParameterError(
            "must be 1, 2, ..., or -1 for all cores", column="n_jobs", value=n_jobs
        )
    function = method_named(method)
    with recording() as notes:
        # The search on the whole table meets every refusal and warning once.
        whole = discover(df, method, knowledge, schema, random_state, **parameters)
        # A test that is chosen by the number of rows is chosen once, on all of them.
        settled = dict(parameters)
        if "test" in accepted_parameters(function):
            settled["test"] = whole.info["parameters"]["test"]
        given = schema
        frame, schema = _settled(df, schema)
        groups = _groups(frame, schema)
        _refuse_small_halves(len(frame), groups, resample)
        if hasattr(function, "on_design"):
            encoded = _encoded(df, given, knowledge, function, parameters)
            task = _OnDesign(encoded, knowledge, function, settled)
        else:
            task = _OnTable(frame, method, knowledge, schema, settled)
        seeds = spawn(random_state, int(n_boot))
        runs = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(_replicate)(task, len(frame), groups, resample, seed) for seed in seeds
        )
        found = list(_bar(runs, int(n_boot), progress))
        graphs = [g for g in found if g is not None]
        if not graphs:
            raise GraphError("the search failed on every resample", advice="Are there few rows?")
        if len(graphs) < n_boot:
            warn(
                "failed-resamples",
                f"the search failed on {n_boot - len(graphs)} of {n_boot} resamples, which do not "
                "count",
            )
    info = {
        "method": method,
        "n_boot": int(n_boot),
        "resample": resample,
        "parameters": dict(parameters),
        "rows": len(frame),
        "clusters": None if groups is None else int(groups.max()) + 1,
        "knowledge": knowledge,
        "whole_table": whole,
    }
    return GraphEnsemble(graphs, info=info, warnings=notes)


def _settled(df: Any, schema: Schema | None) -> tuple[pd.DataFrame, Schema]:
    """The caller's table and one schema for all resamples: kinds must not be guessed anew."""
    # In a context of its own: the search on the whole table has said what there is to say.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checked: Table = Context().run(table, df, schema=schema)
    return as_frame(df, "data", "x")[0], checked.schema


def _refuse_small_halves(n: int, groups: np.ndarray | None, resample: str) -> None:
    if resample == "half" and groups is None and n // 2 < MIN_ROWS:
        raise ParameterError(
            f"half of {count(n, 'row')} is {n // 2}, at least {MIN_ROWS} are needed",
            column="resample",
            value=resample,
            advice="Use resample='bootstrap', or collect more rows.",
        )


def _groups(frame: pd.DataFrame, schema: Schema) -> np.ndarray | None:
    """Number of each row's cluster, or None where rows stand alone."""
    name = schema.role("cluster") or schema.role("id")
    if name is None or not frame[name].duplicated().any():
        return None
    return pd.factorize(frame[name], use_na_sentinel=False)[0]


@dataclass(frozen=True)
class _OnTable:
    """A search that starts from the table each time."""

    frame: pd.DataFrame
    method: str
    knowledge: Knowledge | None
    schema: Schema
    parameters: dict[str, Any]

    def __call__(self, rows: np.ndarray, seed: np.random.SeedSequence) -> CausalGraph:
        part = self.frame.iloc[rows].reset_index(drop=True)
        return discover(part, self.method, self.knowledge, self.schema, seed, **self.parameters)


@dataclass(frozen=True)
class _OnDesign:
    """A search that needs correlations only: the table is checked and encoded once."""

    encoded: Encoded
    knowledge: Knowledge | None
    function: Callable[..., CausalGraph]
    parameters: dict[str, Any]

    def __call__(self, rows: np.ndarray, seed: np.random.SeedSequence) -> CausalGraph:
        design = reduce(self.encoded.take(rows), checked_knowledge(self.knowledge))
        search, own = self.function.on_design, {}
        if "random_state" in accepted_parameters(search):
            own["random_state"] = seed
        return search(design, **self.parameters, **own)


def _encoded(
    df: Any,
    schema: Schema | None,
    knowledge: Knowledge | None,
    function: Callable[..., CausalGraph],
    parameters: dict[str, Any],
) -> Encoded:
    policy = signature(function).parameters.get("missing")
    missing = parameters.get("missing", policy.default if policy else "complete")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Context().run(encode, df, schema, checked_knowledge(knowledge), missing)


def _replicate(
    task: _OnTable | _OnDesign,
    n: int,
    groups: np.ndarray | None,
    resample: str,
    seed: np.random.SeedSequence,
) -> CausalGraph | None:
    draw, search = spawn(seed, 2)
    rows = _rows(n, groups, resample, generator(draw))

    def run() -> CausalGraph | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return task(rows, search).without_info()
            except WorkbenchError:
                return None

    # A context of its own: what one resample warns of says nothing about the whole table.
    return Context().run(run)


def _rows(n: int, groups: np.ndarray | None, resample: str, rng: np.random.Generator) -> np.ndarray:
    units = n if groups is None else int(groups.max()) + 1
    if resample == "half":
        drawn = np.sort(rng.permutation(units)[: max(1, units // 2)])
    else:
        drawn = rng.integers(units, size=units)
    if groups is None:
        return drawn
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups, minlength=units))
    return np.concatenate([order[ends[g - 1] if g else 0 : ends[g]] for g in drawn])


def _bar(runs: Any, total: int, progress: bool) -> Any:
    if not progress:
        return runs
    from tqdm import tqdm

    return tqdm(runs, total=total, desc="resamples", delay=2, leave=False)

"""PetShop: who finds the injected fault? Every method of diagnosis beside the published ones.

``clean``: the graph is fresh for every incident, the only sound protocol. ``leaky``: nodes that one
incident didn't record stay away in all later ones, as in the published evaluation. Rows "as
released" replay what the published code does. Specificity: five-row windows of the second half
of the fault-free rows, fitted on the first half, and the other way round; right is an empty answer.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np

import workbench.diagnosis as diagnosis
from benchmarks._petshop import Cell, Fault, cells, fault_free
from benchmarks._replays import REPLAYS, TAU, Tables, tables
from benchmarks._runner import Record, main
from workbench.core.seeding import foreign_generators
from workbench.diagnosis import CounterfactualAttribution, System, Traversal, calibrate, evaluate
from workbench.diagnosis.base import Diagnoser

# The alarm is given from outside, except where the published method judges the target itself.
OWN_ALARM = {"Traversal", "RankedCorrelation"}
PARAMETERS = {"Traversal": {"skip": 2}, "RankedCorrelation": {"skip": 2}}
THRESHOLDS = {"CIRCA": 3.0}
OWN_DEFAULTS = {"BlameFlow"}  # frozen before this table was first made
LATENCY_PUBLISHED = {  # recall@1 and @3 on low, then on high traffic
    "random walk": (0.0, 0.1, 0.0, 0.2),
    "ranked correlation": (0.4, 0.6, 0.7, 0.9),
    "epsilon-diagnosis": (0.0, 0.0, 0.0, 0.0),
    "CIRCA": (0.6, 0.8, 0.6, 1.0),
    "traversal": (0.8, 0.8, 0.9, 0.9),
    "smooth traversal": (0.4, 0.6, 0.0, 0.6),
    "TOCA": (0.4, 0.4, 0.2, 0.2),
    "counterfactual attribution": (0.4, 0.6, 0.4, 0.7),
    "IDI": (0.9, 0.9, 0.9, 0.9),
}


def run(quick: bool, seed: int) -> Iterator[Record]:
    warnings.simplefilter("ignore")
    for cell in cells("test"):
        for leaky in (False, True):
            yield from ours(cell, leaky, quick)
            yield from replays(cell, leaky, seed, draws=1 if quick else 8)
        for backwards in (False, True):
            yield from specificity(cell, 15 if quick else 60, backwards)
        if cell.metric == "latency":
            if not quick:
                yield from dowhy(cell, seed)
            yield from published(cell)


# -- methods of the package ------------------------------------------------------------------


def methods() -> dict[str, Callable[[System, str], Diagnoser]]:
    """Name -> a maker of the unfitted method for a System and a target."""
    found: dict[str, Callable[[System, str], Diagnoser]] = {}
    for name in diagnosis.__all__:
        kind = getattr(diagnosis, name)
        if isinstance(kind, type) and issubclass(kind, Diagnoser) and kind is not Diagnoser:
            found[name] = _maker(kind)
    found["Traversal, calibrated"] = lambda system, target: Traversal(calibrate(system), skip=2)
    return found


def _maker(kind: type[Diagnoser]) -> Callable[[System, str], Diagnoser]:
    name = kind.__name__

    def make(system: System, target: str) -> Diagnoser:
        if name in OWN_DEFAULTS:
            return kind()
        limits = dict.fromkeys(system.metrics, THRESHOLDS.get(name, TAU))
        limits[target] = limits[target] if name in OWN_ALARM else 0.0
        return kind(threshold=limits, **PARAMETERS.get(name, {}))

    return make


def ours(cell: Cell, leaky: bool, quick: bool) -> Iterator[Record]:
    systems = [cell.leaky_system(f) if leaky else cell.system() for f in cell.faults]
    for name, make in methods().items():
        if quick and name == "CounterfactualAttribution":
            continue

        def answer(k: int, fault: Fault, make=make) -> diagnosis.Ranking:
            method = make(systems[k], cell.target).fit(systems[k])
            return method.rank(cell.incident(fault))

        yield from recalls(cell, leaky, name, lambda k, f, answer=answer: [answer(k, f)])


def specificity(cell: Cell, windows: int, backwards: bool) -> Iterator[Record]:
    system, incidents = fault_free(cell, rows=5, most=windows, backwards=backwards)
    for name, make in methods().items():
        if windows < 60 and name == "CounterfactualAttribution":
            continue
        method = make(system, cell.target).fit(system)
        right = np.array([not method.rank(incident).nodes for incident in incidents], dtype=float)
        se = float(right.std(ddof=1) / len(right) ** 0.5)
        yield Record(
            "petshop",
            f"{cell.name}/clean",
            name,
            "specificity, fitted on the second half" if backwards else "specificity",
            float(right.mean()),
            se=se,
            n=len(right),
        )


# -- peers -----------------------------------------------------------------------------------


def replays(cell: Cell, leaky: bool, seed: int, draws: int) -> Iterator[Record]:
    prepared = [tables(cell, fault, leaky) for fault in cell.faults]
    for t in prepared:
        _ = t.fits, t.moments, t.window  # what all of them share is not timed
    for name, call in REPLAYS.items():
        repeats = draws if name.startswith("IDI as released") else 1

        def answers(k: int, fault: Fault, call=call, repeats=repeats) -> list[list[str]]:
            out = []
            for draw in range(repeats):
                prepared[k].rng = np.random.default_rng([seed, draw, k])
                out.append(call(prepared[k]))
            return out

        yield from recalls(cell, leaky, name, answers)


def dowhy(cell: Cell, seed: int) -> Iterator[Record]:
    """The peer and ours at the same row, with few permutations: its samplers are slow."""

    def theirs(k: int, fault: Fault) -> list[list[str]]:
        context = multiprocessing.get_context("fork")
        with context.Pool(1) as pool:
            return [pool.apply(attribute_anomalies, (tables(cell, fault, False), seed))]

    yield from recalls(cell, False, "dowhy.gcm.attribute_anomalies, 10 permutations", theirs)

    def same(k: int, fault: Fault) -> list[diagnosis.Ranking]:
        system = cell.system()
        limits = dict.fromkeys(system.metrics, 0.0)
        method = CounterfactualAttribution(limits, n_permutations=10).fit(system)
        return [method.rank(diagnosis.Incident(fault.window.iloc[[2]], cell.target))]

    yield from recalls(cell, False, "CounterfactualAttribution, third row", same)


def attribute_anomalies(t: Tables, seed: int) -> list[str]:
    import networkx as nx
    from dowhy import gcm
    from dowhy.gcm.shapley import ShapleyApproximationMethods, ShapleyConfig

    gcm.config.disable_progress_bars()
    graph = nx.DiGraph()
    graph.add_nodes_from(t.parents)
    graph.add_edges_from((p, n) for n, above in t.parents.items() for p in above)
    model = gcm.InvertibleStructuralCausalModel(graph)
    for node, above in t.parents.items():
        linear = gcm.AdditiveNoiseModel(gcm.ml.create_linear_regressor())
        model.set_causal_mechanism(node, linear if above else gcm.EmpiricalDistribution())
    config = ShapleyConfig(ShapleyApproximationMethods.PERMUTATION, num_permutations=10, n_jobs=1)
    with foreign_generators(seed):
        gcm.fit(model, t.normal)
        shares = gcm.attribute_anomalies(
            model,
            t.target,
            t.window.iloc[[2]],
            num_distribution_samples=1000,
            shapley_config=config,
        )
    return sorted(shares, key=lambda n: float(shares[n][0]), reverse=True)


def published(cell: Cell) -> Iterator[Record]:
    for method, values in LATENCY_PUBLISHED.items():
        pair = values[:2] if cell.level == "low" else values[2:]
        for k, value in zip((1, 3), pair, strict=True):
            yield Record(
                "petshop",
                f"{cell.name}/leaky",
                method,
                f"recall@{k}",
                value,
                n=10,
                source="published",
            )


def recalls(
    cell: Cell, leaky: bool, method: str, answers: Callable[[int, Fault], list]
) -> Iterator[Record]:
    """Recall over the faults of a cell; a method with draws answers several times."""
    start = time.perf_counter()
    every = [answers(k, fault) for k, fault in enumerate(cell.faults)]
    seconds = (time.perf_counter() - start) / sum(map(len, every))
    causes = [fault.cause for fault in cell.faults for _ in every[0]]
    result = evaluate([ranking for some in every for ranking in some], causes)
    for measure in ("recall@1", "recall@3", "Avg@5"):
        per_fault = result.cases[measure].to_numpy(dtype=float).reshape(len(cell.faults), -1)
        value = per_fault.mean(axis=1)
        yield Record(
            "petshop",
            f"{cell.name}/{'leaky' if leaky else 'clean'}",
            method,
            measure,
            float(value.mean()),
            se=float(value.std(ddof=1) / len(value) ** 0.5),
            n=len(value),
            seconds=seconds,
        )


if __name__ == "__main__":
    main("petshop", __doc__.split("\n")[0], run)

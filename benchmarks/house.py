"""How long the daily work takes, beside the peers on the same input in the same run.

Identification, reading of graphs, structural causal models, discovery and intervals.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import networkx as nx
import numpy as np
import pandas as pd

from benchmarks._runner import Record, best_time, main
from workbench import CausalGraph, StructuralCausalModel, discover, identify, read_graph


def run(quick: bool, seed: int) -> Iterator[Record]:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    yield from identification(quick, seed)
    yield from reading(seed)
    yield from models(quick, seed)
    yield from discovery(quick, seed)
    yield from coverage(quick, seed)


def sparse(d: int, seed: int, degree: int = 2) -> CausalGraph:
    """A random DAG: every node gets ``degree`` parents among the earlier ones."""
    r = np.random.default_rng(seed)
    names = [f"v{i}" for i in range(d)]
    edges = [
        (names[p], names[i])
        for i in range(1, d)
        for p in r.choice(i, size=min(i, degree), replace=False)
    ]
    return CausalGraph(names, edges)


def linear_table(graph: CausalGraph, rows: int, seed: int) -> pd.DataFrame:
    """Standardised rows of a linear Gaussian model on the graph."""
    r = np.random.default_rng(seed)
    b = {edge: float(r.uniform(0.5, 1)) for edge in graph.directed_edges()}
    df = StructuralCausalModel.linear_gaussian(graph, b).sample(rows)
    return (df - df.mean()) / df.std()


def identification(quick: bool, seed: int) -> Iterator[Record]:
    """dowhy enumerates sets of columns: it is asked about few confounders only."""
    from dowhy.causal_identifier import EstimandType, identify_effect_auto

    for k in (8, 10, 12) if quick else (8, 10, 12, 14):
        names = [f"c{i}" for i in range(k)]
        edges = [(c, x) for c in names for x in ("t", "y")] + [("t", "y")]
        graph = CausalGraph([*names, "t", "y"], edges)

        def ours(graph=graph):
            # A new graph: nothing is cached.
            return identify(CausalGraph(graph.nodes, graph.edges), "t", "y")

        def peer(graph=graph):
            with contextlib.redirect_stdout(io.StringIO()):
                plain = graph.to_networkx()
                return identify_effect_auto(
                    plain, ["t"], ["y"], list(plain), EstimandType.NONPARAMETRIC_ATE
                )

        for method, call in (("workbench", ours), ("dowhy", peer)):
            seconds, _ = best_time(call, 3 if method == "workbench" else 1)
            yield Record("house", f"{k} confounders", method, "identify", seconds, seconds=seconds)
    graph = sparse(1000, seed)
    outcome = graph.topological_order()[-1]
    early = [n for n in graph.topological_order() if n in graph.ancestors(outcome)]
    treatment = early[len(early) // 2]
    seconds, _ = best_time(
        lambda: identify(CausalGraph(graph.nodes, graph.edges), treatment, outcome)
    )
    yield Record("house", "1000 nodes", "workbench", "identify", seconds, seconds=seconds)


def reading(seed: int) -> Iterator[Record]:
    for d, peer in ((2000, False), (200, True)):
        graph = sparse(d, seed, 10)
        edges = "".join(f'"{u}" -> "{v}";\n' for u, v in graph.directed_edges())
        text = f"digraph {{\n{edges}}}"
        name = f"{len(graph.edges)} edges of DOT"
        seconds, read = best_time(lambda text=text: read_graph(text, format="dot"))
        assert read == graph
        yield Record("house", name, "workbench", "read", seconds, seconds=seconds)
        if peer:
            import pydot

            seconds, _ = best_time(
                lambda text=text: nx.nx_pydot.from_pydot(pydot.graph_from_dot_data(text)[0]), 1
            )
            yield Record("house", name, "pydot", "read", seconds, seconds=seconds)


def models(quick: bool, seed: int) -> Iterator[Record]:
    import dowhy.gcm as gcm

    graph = sparse(10, seed)
    df = linear_table(graph, 1000 if quick else 10_000, seed)
    name = f"10 nodes x {len(df)} rows"
    start = graph.topological_order()[0]

    def ours():
        model = StructuralCausalModel(graph).fit(df, progress=False)
        return model.counterfactual(df, {start: 1.0})

    def peer():
        model = gcm.InvertibleStructuralCausalModel(graph.to_networkx())
        gcm.auto.assign_causal_mechanisms(model, df)
        gcm.fit(model, df)
        return gcm.counterfactual_samples(model, {start: lambda x: 1.0}, observed_data=df)

    gcm.config.disable_progress_bars()
    for method, call in (("workbench", ours), ("dowhy.gcm", peer)):
        seconds, _ = best_time(call, 1)
        yield Record("house", name, method, "fit + counterfactual", seconds, seconds=seconds)


def discovery(quick: bool, seed: int) -> Iterator[Record]:
    from causallearn.search.ConstraintBased.PC import pc as peer

    for d in (20,) if quick else (20, 50):
        df = linear_table(sparse(d, seed), 2000, seed)
        seconds, _ = best_time(lambda df=df: discover(df, "pc", alpha=0.01))
        yield Record("house", f"{d} columns", "workbench", "pc", seconds, seconds=seconds)
        seconds, _ = best_time(lambda df=df: peer(df.to_numpy(), 0.01, show_progress=False), 1)
        yield Record("house", f"{d} columns", "causal-learn", "pc", seconds, seconds=seconds)


def coverage(quick: bool, seed: int) -> Iterator[Record]:
    """Share of 95 % intervals that hold the truth, in small samples with linear confounding."""
    from econml.dml import LinearDML as Peer

    from workbench.effects import AIPW

    runs, n = (20, 400) if quick else (400, 400)
    hits = {"workbench AIPW": 0, "econml LinearDML, defaults": 0}
    spent = dict.fromkeys(hits, 0.0)
    for k in range(runs):
        r = np.random.default_rng([seed, k])
        x = pd.DataFrame(r.normal(size=(n, 5)), columns=[f"x{i}" for i in range(5)])
        t = (r.random(n) < 1 / (1 + np.exp(-0.7 * x["x0"] + 0.5 * x["x1"]))).astype(int)
        y = 1.0 * t + x["x0"] + 0.5 * x["x2"] + r.normal(size=n)

        def ours(y=y, t=t, x=x, k=k):
            return AIPW(random_state=k).fit(y, t, W=x).ate_interval()

        def theirs(y=y, t=t, x=x, k=k):
            model = Peer(discrete_treatment=True, random_state=k)
            return model.fit(y, t, X=None, W=x).ate_interval()

        for name, call in zip(hits, (ours, theirs), strict=True):
            seconds, (low, high) = best_time(call, 1)
            hits[name] += bool(low <= 1.0 <= high)
            spent[name] += seconds
    for name, count in hits.items():
        share = count / runs
        yield Record(
            "house",
            f"linear law, {n} rows",
            name,
            "coverage of 95 % intervals",
            share,
            se=float(np.sqrt(share * (1 - share) / runs)),
            n=runs,
            seconds=spent[name] / runs,
        )


if __name__ == "__main__":
    main("house", __doc__.split("\n")[0], run)

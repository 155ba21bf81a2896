"""How long our searches take, and how much memory: linear Gaussian rows, graphs of degree 4.

Best and median of repeated calls on five graphs each, one thread; the first call in a fresh
process; resamples; a thousand columns; and on how many true graphs the p-values of the
falsification are uniform.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks._runner import Record, main
from benchmarks.discovery import law
from workbench import CausalGraph, discover
from workbench.graph import bootstrap, compare, falsify

FIRST = """
import time, numpy as np
from workbench.graph.discovery import pc
rows = np.random.default_rng(0).normal(size=(2000, 100))
start = time.perf_counter()
pc(rows)
print(time.perf_counter() - start)
"""


def run(quick: bool, seed: int) -> Iterator[Record]:
    warnings.simplefilter("ignore")
    graphs = range(seed, seed + (2 if quick else 5))
    for method, calls in (("pc", 60), ("boss", 3), ("ges", 3)):
        for d in (100, 200):
            times = [
                _times(lambda a=a, m=method: discover(a, m), calls) for a in _arrays(d, graphs)
            ]
            for name, reduce in (("best", np.min), ("median", np.median)):
                each = [float(reduce(t)) for t in times]
                yield _record(d, method, f"seconds, {name}, middle graph", float(np.median(each)))
                yield _record(d, method, f"seconds, {name}, slowest graph", max(each))
    said = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    yield _record(100, "pc", "seconds, first call in a process", float(said.stdout))
    df, _ = law("random", 50, seed)
    for method in ("pc", "boss"):
        again = _times(lambda m=method: bootstrap(df, m, progress=False), 1 if quick else 3)
        yield _record(50, method, "seconds, 100 resamples", float(np.min(again)))
    if not quick:
        df, true = law("random", 1000, seed)
        start = time.perf_counter()
        row = compare(discover(df), true)
        yield _record(1000, "boss", "seconds", time.perf_counter() - start)
        yield _record(1000, "boss", "shd / edges", row["shd"] / row["true_edges"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Record("discovery_speed", "all of the above", "workbench", "GB at most", peak)
    yield uniform(20 if quick else 100, seed)


def _arrays(d: int, seeds: range) -> list[np.ndarray]:
    return [law("random", d, s)[0].to_numpy() for s in seeds]


def _times(call: Callable[[], Any], repeats: int) -> np.ndarray:
    """Seconds of each of some calls after a first one that loads what is compiled."""
    call()
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        out.append(time.perf_counter() - start)
    return np.array(out)


def _record(d: int, method: str, metric: str, value: float) -> Record:
    return Record("discovery_speed", f"random, {d} columns", f"workbench {method}", metric, value)


def uniform(graphs: int, seed: int) -> Record:
    """Share of true graphs whose implied independencies have uniform p-values (KS, 1 %)."""
    from scipy.stats import kstest

    passed = 0
    for s in range(graphs):
        r = np.random.default_rng([seed, s])
        names = [f"v{i}" for i in range(10)]
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        graph = CausalGraph(names, [p for p in pairs if r.random() < 0.25])
        columns: dict[str, np.ndarray] = {}
        for v in names:
            columns[v] = r.normal(size=500) + sum(0.8 * columns[p] for p in graph.parents(v))
        p = falsify(graph, pd.DataFrame(columns), n_permutations=1).implied["p"]
        passed += kstest(p, "uniform").pvalue > 0.01
    share = passed / graphs
    return Record(
        "discovery_speed", "true graphs", "falsify", "share with uniform p", share, n=graphs
    )


if __name__ == "__main__":
    main("discovery_speed", __doc__.split("\n")[0], run)

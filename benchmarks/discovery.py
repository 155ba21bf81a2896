"""Discovery: our searches beside causal-learn's on the same data in the same run.

Linear Gaussian laws (all columns standardised) on random graphs of degree 4, on scale-free graphs
with hubs, and standardised during generation, so that neither variances nor shares of explained
variance grow along the causal order; samples of discrete networks; protein data; our own scaling.
Truth and guess are compared as equivalence classes. An empty graph and regression on the
predecessors in an order by R² are the baselines that every method must beat.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import multiprocessing
import os
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._runner import Record, main
from workbench import CausalGraph, Knowledge, discover, read_graph
from workbench.core.seeding import foreign_generators
from workbench.graph import compare

ROWS = 2000
LAWS = {
    "causes": "hubs are causes",
    "effects": "hubs are effects",
    "internal": "internally standardised",
}
METRICS = ("shd", "skeleton_f1", "arrow_f1", "parent_aid")


def run(quick: bool, seed: int) -> Iterator[Record]:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    # Compile, or load what is compiled, before anything is timed.
    for method in ("boss", "ges", "grasp", "pc"):
        discover(np.random.default_rng(0).normal(size=(50, 4)), method)
    seeds = range(seed, seed + (2 if quick else 10))
    for d in (20, 50) if quick else (20, 50, 100, 200):
        peers = {"boss", "pc"} | ({"ges"} if d <= 20 else set())
        if d <= 50 and not quick:
            peers.add("grasp")
        some = seeds[:1] if quick and d > 20 else seeds
        yield from beside(f"random, {d} columns", "random", d, some, peers)
    for kind, name in LAWS.items():
        yield from beside(f"{name}, 20 columns", kind, 20, seeds, {"boss", "pc"})
        if not quick:
            yield from beside(f"{name}, 50 columns", kind, 50, seeds, {"boss", "pc"})
    yield from networks(quick, seed)
    yield from proteins()
    yield from scaling(quick, seed)


# -- laws ------------------------------------------------------------------------------------


def law(kind: str, d: int, seed: int, degree: float = 4.0) -> tuple[pd.DataFrame, CausalGraph]:
    """Rows and the class of the graph that made them."""
    r = np.random.default_rng([seed, d])
    weights = np.zeros((d, d))
    order = r.permutation(d)
    for j in range(1, d):
        if kind in ("causes", "effects"):  # two each, in proportion to the edges that they have
            part = weights[np.ix_(order[:j], order[:j])] != 0
            share = part.sum(axis=0) + part.sum(axis=1) + (j <= 2)
            chosen = r.choice(j, size=min(2, j), replace=False, p=share / share.sum())
        else:
            chosen = np.flatnonzero(r.random(j) < degree / (d - 1))
        for i in chosen:
            edge = (order[j], order[i]) if kind == "effects" else (order[i], order[j])
            weights[edge] = r.uniform(0.5, 1) * r.choice([-1, 1])
    rows = np.zeros((ROWS, d))
    for v in order[::-1] if kind == "effects" else order:
        rows[:, v] = rows @ weights[:, v] + r.normal(size=ROWS)
        if kind == "internal":
            rows[:, v] = (rows[:, v] - rows[:, v].mean()) / rows[:, v].std()
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    names = [f"x{i:04}" for i in range(d)]
    edges = [(names[i], names[j]) for i, j in np.argwhere(weights)]
    return pd.DataFrame(rows, columns=names), CausalGraph(names, edges).cpdag()


# -- peers -----------------------------------------------------------------------------------


def causal_learn(df: pd.DataFrame, method: str, seed: int, test: str = "fisherz") -> CausalGraph:
    from causallearn.search.ConstraintBased.PC import pc
    from causallearn.search.PermutationBased.BOSS import boss
    from causallearn.search.PermutationBased.GRaSP import grasp
    from causallearn.search.ScoreBased.GES import ges

    array = df.to_numpy()
    bic = {"score_func": "local_score_BIC_from_cov", "parameters": {"lambda_value": 0.5}}
    with foreign_generators(seed), contextlib.redirect_stdout(io.StringIO()):
        if method == "pc":
            found = pc(array, 0.05 if test == "chisq" else 0.01, test, show_progress=False).G
        elif method == "ges":
            found = ges(array, "local_score_BIC_from_cov")["G"]
        else:
            found = {"boss": boss, "grasp": grasp}[method](array, verbose=False, **bic)
    # -1 at (i, j) and 1 at (j, i): i → j; -1 at both: undirected.
    marks = found.graph
    names, edges = list(df.columns), []
    for i, j in np.argwhere(np.triu((marks != 0) | (marks.T != 0))):
        pair = (marks[i, j], marks[j, i])
        if pair == (-1, 1):
            edges.append((names[i], names[j]))
        elif pair == (1, -1):
            edges.append((names[j], names[i]))
        else:
            edges.append((names[i], names[j], "tail", "tail"))
    return _legal(names, edges)


def _legal(names: list[str], edges: list[tuple]) -> CausalGraph:
    """The graph; without arrows where they make a cycle, which some searches return."""
    try:
        return CausalGraph(names, edges)
    except ValueError:
        return CausalGraph(names, [(u, v, "tail", "tail") for u, v, *_ in edges])


def sort_and_regress(df: pd.DataFrame) -> CausalGraph:
    """Order by R² on all others, then regress each column on its predecessors by lasso and BIC."""
    from sklearn.linear_model import LassoLarsIC

    inverse = np.linalg.inv(np.corrcoef(df.to_numpy().T))
    order = np.argsort(1 - 1 / inverse.diagonal(), kind="stable")
    names, edges = list(df.columns), []
    for k in range(1, len(order)):
        model = LassoLarsIC("bic").fit(df.iloc[:, order[:k]].to_numpy(), df.iloc[:, order[k]])
        edges += [(names[order[i]], names[order[k]]) for i in np.flatnonzero(model.coef_)]
    return CausalGraph(names, edges)


def _answer(pipe: multiprocessing.connection.Connection, call: Callable, args: tuple) -> None:
    warnings.simplefilter("ignore")
    start = time.process_time()
    graph = call(*args)
    pipe.send((time.process_time() - start, graph.nodes, graph.edges))


def within(seconds: float, call: Callable, *args: object) -> tuple[float, CausalGraph] | None:
    """Processor time and result of a call in a process of its own, or None if it takes longer."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=_answer, args=(there, call, args))
    worker.start()
    out = None
    if here.poll(seconds):
        spent, nodes, edges = here.recv()
        out = spent, CausalGraph(nodes, edges)
    worker.terminate()
    worker.join()
    return out


# -- comparisons -----------------------------------------------------------------------------


def timed(call: Callable[[], CausalGraph]) -> tuple[float, CausalGraph]:
    start = time.process_time()
    graph = call()
    return time.process_time() - start, graph


def beside(name: str, kind: str, d: int, seeds: range, peers: set[str]) -> Iterator[Record]:
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    limit, given_up = 240.0, set()
    for seed in seeds:
        df, true = law(kind, d, seed)
        runs: dict[str, tuple[float, CausalGraph] | None] = {
            "workbench boss": timed(lambda df=df: discover(df, "boss")),
            "workbench boss, BIC": timed(lambda df=df: discover(df, "boss", penalty=0.5)),
            "workbench ges": timed(lambda df=df: discover(df, "ges")),
            "workbench pc": timed(lambda df=df: discover(df, "pc", alpha=0.01)),
            "sort and regress": timed(lambda df=df: sort_and_regress(df)),
            "empty graph": timed(lambda true=true: CausalGraph(true.nodes, [])),
        }
        if d <= 50:
            runs["workbench grasp"] = timed(lambda df=df: discover(df, "grasp"))
        for method in sorted(peers - given_up):
            runs[f"causal-learn {method}"] = answer = within(limit, causal_learn, df, method, seed)
            if answer is None:
                given_up.add(method)
        for method, answer in runs.items():
            if answer is not None:
                found[method].append({"seconds": answer[0]} | compare(answer[1], true).to_dict())
    yield from summary(name, found)
    for method in sorted(given_up):
        yield Record("discovery", name, f"causal-learn {method}", f"stopped after {limit:g} s", 1.0)


def summary(name: str, found: dict[str, list[dict[str, float]]]) -> Iterator[Record]:
    seconds = {m: float(np.median([row["seconds"] for row in rows])) for m, rows in found.items()}
    for method, rows in found.items():
        for metric in METRICS:
            values = np.array([row[metric] for row in rows], dtype=float)
            values = values[~np.isnan(values)]
            if len(values):
                se = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
                yield Record(
                    "discovery",
                    name,
                    method,
                    metric,
                    float(values.mean()),
                    se=se,
                    n=len(values),
                    seconds=seconds[method],
                )
        ours = f"workbench {method.removeprefix('causal-learn ')}"
        if method.startswith("causal-learn") and seconds.get(ours):
            yield Record(
                "discovery",
                name,
                ours,
                "times faster than causal-learn",
                seconds[method] / seconds[ours],
                n=len(rows),
            )


# -- discrete networks, real data, scaling ---------------------------------------------------


def data_folder() -> Path | None:
    folder = os.environ.get("WORKBENCH_DATA")
    return Path(folder) if folder and Path(folder).is_dir() else None


def network(text: str) -> tuple[dict[str, list[str]], dict[str, tuple[list[str], np.ndarray]]]:
    """Levels of each variable, and its parents with a table of probabilities, from BIF text."""
    levels = {
        name: [s.strip() for s in states.split(",")]
        for name, states in re.findall(r"variable\s+(\S+)\s*\{[^{]*\{([^}]*)\}", text)
    }
    tables = {}
    for head, body in re.findall(r"probability\s*\(([^)]*)\)\s*\{([^}]*)\}", text):
        child, _, rest = head.partition("|")
        child, parents = child.strip(), [p.strip() for p in rest.split(",") if p.strip()]
        shape = [len(levels[p]) for p in parents] + [len(levels[child])]
        table = np.zeros(shape)
        whole = re.search(r"table\s+([^;]*);", body)
        if whole:
            table[...] = np.array(whole[1].split(","), dtype=float).reshape(shape)
        for states, row in re.findall(r"\(([^)]*)\)\s*([^;]*);", body):
            names = [s.strip() for s in states.split(",")]
            at = tuple(levels[p].index(s) for p, s in zip(parents, names, strict=True))
            table[at] = np.array(row.split(","), dtype=float)
        tables[child] = (parents, table)
    return levels, tables


def forward_sample(levels: dict, tables: dict, graph: CausalGraph, n: int, seed: int):
    r = np.random.default_rng(seed)
    codes: dict[str, np.ndarray] = {}
    for v in graph.topological_order():
        parents, table = tables[v]
        share = np.cumsum(table[tuple(codes[p] for p in parents)].reshape(-1, len(levels[v])), 1)
        codes[v] = (r.random((n, 1)) * share[:, -1:] > share).sum(axis=1)
    return pd.DataFrame({v: pd.Categorical.from_codes(codes[v], levels[v]) for v in tables})


def networks(quick: bool, seed: int) -> Iterator[Record]:
    searches = {
        "workbench boss": lambda df, k: discover(df, "boss"),
        "workbench ges": lambda df, k: discover(df, "ges"),
        "workbench pc": lambda df, k: discover(df, "pc"),
        "causal-learn pc": lambda df, k: causal_learn(
            df.apply(lambda column: column.cat.codes), "pc", k, "chisq"
        ),
    }
    for name in ("child", "insurance", "alarm"):
        yield from network_samples(name, 5000, range(seed, seed + (1 if quick else 5)), searches)
    # Which test of independence suits tables of levels, on networks of their own.
    searches = {
        f"workbench pc, {test}": lambda df, k, test=test: discover(df, "pc", test=test)
        for test in ("gaussian", "g2")
    }
    small = ("asia", "cancer", "earthquake", "sachs", "survey")
    for name in small[:1] if quick else (*small, "hepar2", "win95pts"):
        for rows in (1000, 5000):
            count = 2 if quick else 20 if name in small else 6
            yield from network_samples(name, rows, range(seed, seed + count), searches)


def network_samples(
    name: str, rows: int, seeds: range, searches: dict[str, Callable]
) -> Iterator[Record]:
    folder = data_folder()
    if folder is None:
        return
    path = folder / "bnlearn" / f"{name}.bif.gz"
    levels, tables = network(gzip.open(path, "rt").read())
    graph = read_graph(path)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for k in seeds:
        df = forward_sample(levels, tables, graph, rows, k)
        for method, search in searches.items():
            seconds, guess = timed(lambda df=df, k=k, search=search: search(df, k))
            # Columns that a search had to leave out count as unjoined.
            whole = CausalGraph(graph.nodes, guess.edges)
            found[method].append({"seconds": seconds} | compare(whole, graph.cpdag()).to_dict())
    yield from summary(f"{name}, {rows} rows", found)


def proteins() -> Iterator[Record]:
    """853 cells: a sanity check against a consensus of the literature, not a leaderboard."""
    folder = data_folder()
    if folder is None:
        return
    df = pd.read_csv(folder / "sachs" / "sachs_observational.csv.gz")
    true = read_graph(folder / "sachs" / "consensus_graph.tetrad.txt").cpdag()
    df = np.log(df[list(true.nodes)] + 1)
    knowledge = Knowledge.from_file(folder / "sachs" / "tiers.tetrad-knowledge.txt")
    knowledge = knowledge.restrict(df.columns)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    runs = {f"workbench {m}": timed(lambda m=m: discover(df, m)) for m in ("boss", "ges", "pc")}
    runs["workbench boss, tiers"] = timed(lambda: discover(df, "boss", knowledge=knowledge))
    runs["empty graph"] = timed(lambda: CausalGraph(true.nodes, []))
    runs["sort and regress"] = timed(lambda: sort_and_regress(df))
    for method in ("pc", "boss"):
        runs[f"causal-learn {method}"] = timed(lambda m=method: causal_learn(df, m, 0))
    for method, (seconds, guess) in runs.items():
        found[method].append({"seconds": seconds} | compare(guess, true).to_dict())
    yield from summary("proteins, 853 rows", found)


def scaling(quick: bool, seed: int) -> Iterator[Record]:
    for d in (200,) if quick else (200, 500, 1000, 2000):
        df, true = law("random", d, seed)
        seconds, graph = timed(lambda df=df: discover(df, "boss"))
        row = compare(graph, true)
        for metric, value in (
            ("shd", row["shd"]),
            ("shd / edges", row["shd"] / row["true_edges"]),
            ("arrow_f1", row["arrow_f1"]),
        ):
            yield Record(
                "discovery",
                f"random, {d} columns",
                "workbench boss",
                metric,
                value,
                seconds=seconds,
            )


if __name__ == "__main__":
    main("discovery", __doc__.split("\n")[0], run)
